//! Server processes that share a database: who lives, who is gone, and who holds a lease.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/vault.rs"]
mod vault;

use common::{STARTED, open};
use secrecy::SecretString;
use std::time::{Duration, Instant};
use store::audit::Actor;
use store::{RotationStep, SERVER_LEASE_US, Store, TransitConfig, VaultToken, VaultTransit};
use vault::Vault;

const SECOND: i64 = 1_000_000;

#[tokio::test]
async fn a_server_that_stops_beating_is_stale_and_is_forgotten_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    one.announce_server(STARTED).await.unwrap();
    other.announce_server(STARTED + SECOND).await.unwrap();
    assert_eq!(one.live_servers(STARTED + SECOND).await.unwrap().len(), 2);
    let later = STARTED + SERVER_LEASE_US;
    assert!(!other.beat(later).await.unwrap().was_forgotten);
    let live = other.live_servers(later).await.unwrap();
    assert_eq!(live.iter().map(|server| server.id.as_str()).collect::<Vec<_>>(), [other.server_id()]);
    assert_eq!(live[0].keys_seen, live[0].keys_used);
    let stale = other.stale_servers(later).await.unwrap();
    assert_eq!((stale.len(), stale[0].id.as_str()), (1, one.server_id()));
    assert!(!one.forget_server(other.server_id(), later).await.unwrap(), "a living server is not forgotten by others");
    assert!(other.forget_server(one.server_id(), later).await.unwrap());
    assert!(!other.forget_server(one.server_id(), later).await.unwrap(), "only once");
    let beat = one.beat(later).await.unwrap();
    assert!(beat.was_forgotten && beat.keys_behind.is_none());
    assert_eq!(other.live_servers(later).await.unwrap().len(), 2);
    assert!(one.forget_server(one.server_id(), later).await.unwrap(), "a server that ends says so");
    assert_eq!(other.live_servers(later).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    assert!(one.take_lease("sweep", STARTED, SECOND).await.unwrap());
    assert!(!other.take_lease("sweep", STARTED, SECOND).await.unwrap());
    assert!(other.take_lease("another", STARTED, SECOND).await.unwrap());
    assert!(one.take_lease("sweep", STARTED + SECOND / 2, SECOND).await.unwrap(), "the holder may make it longer");
    assert!(!other.take_lease("sweep", STARTED + SECOND, SECOND).await.unwrap());
    assert!(other.take_lease("sweep", STARTED + SECOND * 3 / 2, SECOND).await.unwrap(), "it has ended");
    one.release_lease("sweep").await.unwrap();
    assert!(!one.take_lease("sweep", STARTED + SECOND * 3 / 2, SECOND).await.unwrap(), "not its to give back");
    other.release_lease("sweep").await.unwrap();
    assert!(one.take_lease("sweep", STARTED + SECOND * 3 / 2, SECOND).await.unwrap());
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let mut stores = Vec::new();
    for _ in 0..6 {
        stores.push(open(dir.path()).await);
    }
    for round in 0..10 {
        let name = format!("work {round}");
        let mut asked = tokio::task::JoinSet::new();
        for store in &stores {
            let (store, name) = (store.clone(), name.clone());
            asked.spawn(async move { store.take_lease(&name, STARTED, SECOND).await.unwrap() });
        }
        assert_eq!(asked.join_all().await.into_iter().filter(|got| *got).count(), 1);
    }
}

#[tokio::test]
async fn a_server_whose_key_service_hangs_is_seen_to_live_and_a_rotation_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    common::create_database(dir.path()).await;
    let vault = Vault::start().await;
    let open = async || {
        let config = TransitConfig {
            address: vault.address.clone(),
            mount: "transit".to_owned(),
            key: "heartvoice".to_owned(),
            namespace: None,
            token: VaultToken::Fixed(SecretString::from(vault::TOKEN)),
            ca_file: None,
            retry_pause: Duration::from_millis(1),
        };
        Store::open(common::config(dir.path()), VaultTransit::new(config).unwrap()).await.unwrap()
    };
    let (server, command) = (open().await, open().await);
    server.announce_server(STARTED).await.unwrap();
    let mut rotation = command.begin_rotation(Actor::operator("tests")).await.unwrap();
    let mut step = async |now| command.rotate_step(&mut rotation, now).await.unwrap();
    assert!(matches!(step(STARTED).await, RotationStep::Announced { .. }));

    vault.change(|vault| vault.hangs = true);
    let later = STARTED + SERVER_LEASE_US - SECOND;
    let (beating, began) = (server.clone(), Instant::now());
    let beating = tokio::spawn(async move { beating.beat(later).await.unwrap() });
    while server.live_servers(later).await.unwrap()[0].seen_at_us != later {
        assert!(began.elapsed() < Duration::from_secs(3), "the beat waits for the key service");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let RotationStep::Waiting { servers } = step(later).await else { panic!("it did not wait") };
    assert_eq!(servers[0].id, server.server_id());
    let beat = beating.await.unwrap();
    assert!(!beat.was_forgotten);
    assert_eq!(beat.keys_behind.unwrap().code(), "unavailable");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    vault.change(|vault| vault.hangs = false);
    assert!(server.beat(later).await.unwrap().keys_behind.is_none());
    assert!(matches!(step(later).await, RotationStep::Activated { .. }), "one beat says that it has the key");
}
