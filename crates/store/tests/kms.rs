//! Keys wrapped by Vault's Transit engine: what opens, what does not, and what the operator is told.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/vault.rs"]
mod vault;

use secrecy::SecretString;
use std::time::Duration;
use store::{KeyService, KeyServiceError, MasterKey, StoreError, TransitConfig, TransitKey, VaultToken, VaultTransit};
use vault::Vault;

const PLAIN: [u8; 32] = [0x5a; 32];

fn config(vault: &Vault) -> TransitConfig {
    TransitConfig {
        address: vault.address.clone(),
        mount: "transit".to_owned(),
        key: "heartvoice".to_owned(),
        namespace: None,
        token: VaultToken::Fixed(SecretString::from(vault::TOKEN)),
        ca_file: None,
        retry_pause: Duration::from_millis(1),
    }
}

fn service(config: TransitConfig) -> KeyService {
    KeyService::Transit(VaultTransit::new(config).unwrap())
}

fn code<T>(result: Result<T, KeyServiceError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn a_wrapped_key_opens_for_its_context_only() {
    for derived in [false, true] {
        let vault = Vault::start().await;
        vault.change_key(|key| key.derived = derived);
        let service = service(config(&vault));
        service.check().await.unwrap();
        let wrapped = service.wrap(&PLAIN, "kek|1").await.unwrap();
        assert_eq!(service.wrapped_version(&wrapped), Some(1));
        assert_eq!(*service.unwrap(&wrapped, "kek|1").await.unwrap(), PLAIN);
        assert_eq!(code(service.unwrap(&wrapped, "kek|2").await), "does_not_open");
        let mut damaged = wrapped.clone();
        let last = damaged.len() - 6;
        damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(code(service.unwrap(&damaged, "kek|1").await), "does_not_open");
    }
}

#[tokio::test]
async fn rotation_keeps_old_keys_readable_until_their_version_is_retired() {
    let vault = Vault::start().await;
    let service = service(config(&vault));
    let old = service.wrap(&PLAIN, "kek|1").await.unwrap();
    let id = service.id();
    vault.change_key(vault::Key::rotate);
    assert_eq!(service.id(), id);
    assert_eq!(*service.unwrap(&old, "kek|1").await.unwrap(), PLAIN);

    let new = service.rewrap(&old, "kek|1").await.unwrap();
    assert_eq!((service.wrapped_version(&old), service.wrapped_version(&new)), (Some(1), Some(2)));
    vault.change_key(|key| key.min_decryption_version = 2);
    let KeyService::Transit(transit) = &service else { panic!() };
    let expected = TransitKey { latest_version: 2, min_decryption_version: 2, derived: false };
    assert_eq!(transit.key().await.unwrap(), expected);
    assert_eq!(code(service.unwrap(&old, "kek|1").await), "retired");
    assert_eq!(code(service.rewrap(&old, "kek|1").await), "retired");
    assert_eq!(*service.unwrap(&new, "kek|1").await.unwrap(), PLAIN);

    // A destroyed version does not come back by lowering the minimum; the new wrapping does not care.
    vault.change_key(|key| {
        key.versions.remove(&1);
        key.min_decryption_version = 1;
    });
    assert!(service.unwrap(&old, "kek|1").await.is_err());
    assert_eq!(*service.unwrap(&new, "kek|1").await.unwrap(), PLAIN);
    service.check().await.unwrap();
}

#[tokio::test]
async fn a_sealed_or_busy_service_is_waited_for_and_then_named() {
    let vault = Vault::start().await;
    let service = service(config(&vault));
    let wrapped = service.wrap(&PLAIN, "kek|1").await.unwrap();
    for statuses in [[503, 500, 429, 412], [502, 473, 504, 503]] {
        vault.change(|server| server.next = statuses.to_vec());
        assert_eq!(*service.unwrap(&wrapped, "kek|1").await.unwrap(), PLAIN);
    }
    vault.change(|server| {
        server.sealed = true;
        server.requests.clear();
    });
    let error = service.unwrap(&wrapped, "kek|1").await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert!(error.to_string().contains("503") && error.to_string().contains("unseal"), "{error}");
    assert_eq!(vault.change(|server| server.requests.len()), 5);
    assert_eq!(StoreError::from(error).code(), "unavailable");
}

#[tokio::test]
async fn a_refused_token_is_not_tried_again() {
    let vault = Vault::start().await;
    let mut wrong = config(&vault);
    wrong.token = VaultToken::Fixed(SecretString::from("hvs.wrong"));
    let service = service(wrong);
    let error = service.check().await.unwrap_err();
    assert_eq!(error.code(), "forbidden");
    assert_eq!(vault.change(|server| server.requests.len()), 1);
    assert!(!format!("{error:?} {error} {service:?}").contains("hvs."));
}

#[tokio::test]
async fn a_renewed_token_file_is_taken_up() {
    let vault = Vault::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let mut with_file = config(&vault);
    with_file.token = VaultToken::File(file.clone());
    let service = service(with_file);
    assert_eq!(code(service.wrap(&PLAIN, "kek|1").await), "local");
    std::fs::write(&file, format!("{}\n", vault::TOKEN)).unwrap();
    let wrapped = service.wrap(&PLAIN, "kek|1").await.unwrap();
    vault.change(|server| server.token = "hvs.second".to_owned());
    assert_eq!(code(service.unwrap(&wrapped, "kek|1").await), "forbidden");
    std::fs::write(&file, "hvs.second").unwrap();
    assert_eq!(code(service.unwrap(&wrapped, "kek|1").await), "ok");
}

#[tokio::test]
async fn a_key_that_does_not_protect_is_refused_before_it_is_used() {
    let vault = Vault::start().await;
    let mut other = config(&vault);
    other.key = "heartvioce".to_owned();
    assert_eq!(code(service(other).check().await), "no_such_key");
    assert!(vault.change(|server| !server.keys.contains_key("heartvioce")), "a misspelt key was created");

    let service = service(config(&vault));
    vault.change_key(|key| key.exportable = true);
    assert_eq!(code(service.check().await), "unsuitable");
    vault.change_key(|key| (key.exportable, key.kind) = (false, "rsa-4096"));
    assert_eq!(code(service.check().await), "unsuitable");
    vault.change_key(|key| (key.kind, key.ignores_associated_data) = ("aes256-gcm96", true));
    assert_eq!(code(service.check().await), "unsuitable");
    vault.change_key(|key| key.ignores_associated_data = false);
    assert_eq!(code(service.check().await), "ok");
}

#[tokio::test]
async fn a_namespace_is_sent() {
    let vault = Vault::start().await;
    vault.change(|server| server.namespace = Some("clinic/east".to_owned()));
    assert_eq!(code(service(config(&vault)).check().await), "forbidden");
    let mut named = config(&vault);
    named.namespace = Some("clinic/east".to_owned());
    assert_eq!(code(service(named).check().await), "ok");
}

#[tokio::test]
async fn what_is_no_answer_of_vault_is_told_and_bounded() {
    let vault = Vault::start().await;
    let service = service(config(&vault));
    vault.change(|server| server.flood = true);
    assert_eq!(code(service.check().await), "unreadable");
    vault.change(|server| server.flood = false);
    let mut elsewhere = config(&vault);
    elsewhere.mount = "secret".to_owned();
    assert_eq!(code(self::service(elsewhere).check().await), "no_such_key");
    // A port at which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nobody = config(&vault);
    nobody.address = format!("http://{free}");
    let error = self::service(nobody).check().await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(!format!("{error:?}").contains("/v1/transit"), "{error:?}");
}

#[tokio::test]
async fn what_one_service_wrapped_another_does_not_open() {
    let vault = Vault::start().await;
    let (transit, local) = (service(config(&vault)), KeyService::Local(MasterKey::random().unwrap()));
    let (by_vault, by_us) = (transit.wrap(&PLAIN, "k").await.unwrap(), local.wrap(&PLAIN, "k").await.unwrap());
    assert_eq!(code(transit.unwrap(&by_us, "k").await), "does_not_open");
    assert_eq!(code(local.unwrap(&by_vault, "k").await), "does_not_open");
    assert_eq!(transit.id(), "vault:transit/heartvoice");
    assert!(local.id().starts_with("local:"));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let read = |settings: &[(&str, &str)]| {
        TransitConfig::from_settings(|name| {
            settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let what = |result: Result<(), KeyServiceError>| match result {
        Err(KeyServiceError::Invalid { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert!(read(&[]).unwrap().is_none());
    let (key, token) = (("VAULT_TRANSIT_KEY", "k"), ("VAULT_TOKEN", "hvs.secret"));
    assert_eq!(what(read(&[key]).map(drop)), "VAULT_ADDR");
    assert_eq!(what(read(&[key, ("VAULT_ADDR", "https://v")]).map(drop)), "VAULT_TOKEN");
    let refused = |name: &str, value: &str| {
        let mut settings = vec![key, token, ("VAULT_ADDR", "https://vault.example.org:8200")];
        settings.retain(|(key, _)| *key != name);
        settings.push((name, value));
        let config = read(&settings).unwrap().unwrap();
        assert!(!format!("{config:?}").contains("hvs.secret"));
        what(VaultTransit::new(config).map(drop))
    };
    assert_eq!(refused("VAULT_ADDR", "http://vault.example.org:8200"), "VAULT_ADDR");
    assert_eq!(refused("VAULT_ADDR", "https://vault.example.org/path"), "VAULT_ADDR");
    assert_eq!(refused("VAULT_TRANSIT_KEY", "../sys/seal"), "VAULT_TRANSIT_KEY");
    assert_eq!(refused("VAULT_TRANSIT_MOUNT", "transit/../sys"), "VAULT_TRANSIT_MOUNT");
    assert_eq!(refused("VAULT_CACERT", "/nonexistent"), "VAULT_CACERT");
}
