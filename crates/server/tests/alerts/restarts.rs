//! A process that dies between deciding, claiming and sending loses no message and doubles none.

use crate::clinic_side::LosingTwilio;
use crate::house::{FIRST, Ground, alert, phones, until};
use clinic::AlertId;
use clinic::alerts::{Channel, Contact, DeliveryState, Policy, Severity, next_actions};
use store::ClaimedDelivery;

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// What a process did that died while sending: raised, decided, claimed.
async fn died_sending(ground: &Ground) -> (AlertId, ClaimedDelivery) {
    let (store, now_us) = (&ground.store, now_us());
    let id = store.raise_alert(&alert(&ground.patient, Severity::Urgent), now_us).await.unwrap().id;
    let (contacts, policy) = ([Contact { channels: vec![Channel::Sms] }], Policy::default());
    let decide = |alert: &_, so_far: &[_]| next_actions(alert, so_far, &contacts, &policy, now_us);
    store.climb_alerts(now_us, 10, decide).await.unwrap();
    let claimed = store.claim_deliveries(Channel::Sms, now_us, 300_000, 10).await.unwrap().remove(0);
    (id, claimed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_claimed_and_never_sent_is_sent_by_the_next_process() {
    let twilio = LosingTwilio::start(0, 0).await;
    let ground = Ground::new().await;
    let (id, _) = died_sending(&ground).await;
    let house = ground.open(&twilio.base, phones(&[FIRST])).await;
    house.until_first(&id, DeliveryState::Sent).await;
    assert_eq!(twilio.texts().len(), 1);
    assert_eq!(house.messages(&id).await, [(0, Channel::Sms, DeliveryState::Sent, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_by_a_process_that_died_before_noting_it_is_not_sent_again() {
    let twilio = LosingTwilio::start(0, 0).await;
    let ground = Ground::new().await;
    let (id, claimed) = died_sending(&ground).await;
    let reference = &claimed.id.as_str()[claimed.id.as_str().len() - 8..];
    twilio.texts.lock().unwrap().push(format!("HeartVoice: urgent alert. Open … (ref {reference})"));
    let house = ground.open(&twilio.base, phones(&[FIRST])).await;
    house.until_first(&id, DeliveryState::Sent).await;
    assert_eq!(twilio.texts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_raised_while_no_server_ran_is_told_by_the_next() {
    let twilio = LosingTwilio::start(0, 0).await;
    let ground = Ground::new().await;
    let id = ground.store.raise_alert(&alert(&ground.patient, Severity::Critical), now_us()).await.unwrap().id;
    // A server without contacts finds nobody to tell; one with contacts tells them.
    let house = ground.open(&twilio.base, phones(&[])).await;
    until("a look", async || house.store().next_alert_work_us().await.unwrap().is_none()).await;
    assert_eq!(house.messages(&id).await, []);
    let store = house.store().clone();
    let server = server_with_phone(&twilio.base, store.clone()).await;
    until("a text", async || !twilio.texts().is_empty()).await;
    server.shutdown(std::time::Duration::ZERO, std::future::pending()).await;
}

/// A second server on the same store, as after a restart.
async fn server_with_phone(twilio: &str, store: store::Store) -> server::Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = server::Settings {
        public_base_url: "http://127.0.0.1:1".into(),
        twilio: server::TwilioSettings {
            account_sid: Some(crate::house::ACCOUNT.into()),
            auth_token: Some(crate::house::TOKEN.into()),
            api_key: None,
            base_url: twilio.to_owned(),
            phone_number: crate::house::number("+15005550010"),
        },
        staff: phones(&[FIRST]),
        ..server::Settings::local(listener.local_addr().unwrap())
    };
    server::Server::start_on(listener, settings, store).unwrap()
}
