//! Only a signed socket with the fresh ticket of an announced call becomes its media stream.

use crate::house::{ACCOUNT, House, TOKEN};
use sim::elevenlabs::SimConfig;

const CALL: &str = "CAfedcba9876543210fedcba98765432b0";
const OTHER: &str = "CAfedcba9876543210fedcba98765432b1";

#[tokio::test]
async fn a_handshake_without_twilios_signature_is_refused_before_the_upgrade() {
    let house = House::open(SimConfig::default()).await;
    assert_eq!(house.socket(None, None).await.err(), Some(403));
    assert_eq!(house.socket(Some("another token"), None).await.err(), Some(403));
    let https = format!("{}/twilio/media-stream", house.base);
    assert_eq!(house.socket(Some(TOKEN), Some(&https)).await.err(), Some(403), "the signed address starts with ws");
}

#[tokio::test]
async fn a_signature_over_the_address_with_a_final_slash_is_accepted() {
    let house = House::open(SimConfig::default()).await;
    let url = format!("{}/twilio/media-stream/", house.base.replace("http", "ws"));
    assert!(house.socket(Some(TOKEN), Some(&url)).await.is_ok());
}

#[tokio::test]
async fn a_ticket_works_once() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut first = house.phone(CALL, &ticket).await;
    assert_eq!(first.listen_ms(300).await, None);
    let mut second = house.phone(CALL, &ticket).await;
    assert_eq!(second.listen_ms(2_000).await, Some(1008));
    assert_eq!(first.listen_ms(200).await, None, "the call that has its stream goes on");
}

#[tokio::test]
async fn a_stream_that_reaches_another_server_than_its_call_is_refused_as_such() {
    let house = House::open(SimConfig::default()).await;
    let (other, base) = house.beside().await;
    let ticket = house.announce(CALL).await;
    let mut astray = House::socket_at(&base, Some(TOKEN), None).await.unwrap();
    astray.start(ACCOUNT, CALL, &ticket).await;
    assert_eq!(astray.listen_ms(2_000).await, Some(1008));
    let refused = "heartvoice_media_sockets_total{result=\"call_of_another_server\"}";
    assert_eq!(house.metric(refused).await, Some(1.0));
    // The ticket is not used up by it.
    let mut phone = house.phone(CALL, &ticket).await;
    assert_eq!(phone.listen_ms(300).await, None);
    drop(other);
}

#[tokio::test]
async fn strangers_are_refused() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let other_ticket = house.announce(OTHER).await;
    let elsewhere = ACCOUNT.replace('0', "9");
    let forged = {
        let mut bytes = ticket.clone().into_bytes();
        let last = bytes.last_mut().unwrap();
        *last = if *last == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for (account, call, shown) in [
        (ACCOUNT, CALL, ""),
        (ACCOUNT, CALL, "nonsense"),
        (ACCOUNT, CALL, forged.as_str()),
        (ACCOUNT, CALL, other_ticket.as_str()),
        (ACCOUNT, "CAffffffffffffffffffffffffffffffff", ticket.as_str()),
        (elsewhere.as_str(), CALL, ticket.as_str()),
    ] {
        let mut phone = house.socket(Some(TOKEN), None).await.unwrap();
        phone.start(account, call, shown).await;
        assert_eq!(phone.listen_ms(2_000).await, Some(1008), "{account} {call}");
    }
    let mut phone = house.phone(CALL, &ticket).await;
    assert_eq!(phone.listen_ms(300).await, None, "the real one still gets in");
}

#[tokio::test]
async fn a_socket_that_sends_audio_before_start_is_closed() {
    let house = House::open(SimConfig::default()).await;
    house.announce(CALL).await;
    let mut phone = house.socket(Some(TOKEN), None).await.unwrap();
    phone.frame(&[0xFF; 160]).await;
    assert_eq!(phone.listen_ms(2_000).await, Some(1008));
}

#[tokio::test]
async fn a_ticket_of_a_call_that_is_over_is_worth_nothing() {
    let house = House::open(SimConfig::default()).await;
    let ticket = house.announce(CALL).await;
    let mut ended = House::call_form(CALL, crate::house::NUMBER);
    ended[4].1 = "completed".into();
    house.post("/twilio/status", &ended).await;
    house.finished(CALL).await;
    let mut phone = house.phone(CALL, &ticket).await;
    assert_eq!(phone.listen_ms(2_000).await, Some(1008));
}
