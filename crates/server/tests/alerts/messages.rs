//! Text messages: who gets one, when, and what is in it.

use crate::clinic_side::LosingTwilio;
use crate::house::{FIRST, Ground, SECOND, assert_discreet, phones, until};
use clinic::alerts::{Channel, DeliveryState, Severity};
use sim::twilio::{TwilioConfig, TwilioRunning, TwilioSim};
use std::time::{Duration, Instant};

async fn twilio(config: TwilioConfig) -> TwilioRunning {
    TwilioSim::start(config).await.unwrap()
}

fn told(twilio: &TwilioRunning) -> Vec<String> {
    twilio.messages().into_iter().map(|message| message.to).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_flag_is_texted_at_once_without_health_information() {
    let twilio = twilio(TwilioConfig::default()).await;
    let house = Ground::new().await.open(&twilio.base_url(), phones(&[FIRST, SECOND])).await;
    let raised = Instant::now();
    let id = house.raise(Severity::Critical).await;
    until("a text", async || !twilio.messages().is_empty()).await;
    assert!(raised.elapsed() < Duration::from_secs(2), "{:?}", raised.elapsed());
    let text = twilio.messages().remove(0);
    assert_eq!((text.to.as_str(), text.from.as_str()), (FIRST, "+15005550010"));
    assert!(text.body.starts_with("HeartVoice: critical alert. Open "), "{}", text.body);
    assert!(text.body.contains(&format!("{}/alerts/{id}", house.base)) && text.body.len() <= 160, "{}", text.body);
    assert_discreet(&text.body);
    // Twilio's signed reports move it on to its end.
    house.until_first(&id, DeliveryState::Delivered).await;
    assert_eq!(house.messages(&id).await, [(0, Channel::Sms, DeliveryState::Delivered, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_acknowledges_the_next_one_is_told_until_somebody_does() {
    let twilio = twilio(TwilioConfig::default()).await;
    let mut staff = phones(&[FIRST, SECOND]);
    staff.policy.critical_wait = Duration::from_millis(700);
    let house = Ground::new().await.open(&twilio.base_url(), staff).await;
    let id = house.raise(Severity::Critical).await;
    until("three texts", async || twilio.messages().len() >= 3).await;
    house.store().acknowledge_alert(&id, "nurse", None, 1_800_000_000_000_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let texts = told(&twilio);
    assert_eq!(texts[..3], [FIRST, SECOND, FIRST]);
    assert!(texts.len() <= 4, "told after the acknowledgement: {texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_text_cannot_be_delivered_the_next_contact_is_told_at_once() {
    let config = TwilioConfig { undeliverable: vec![(FIRST.into(), 30_003)], ..TwilioConfig::default() };
    let twilio = twilio(config).await;
    let house = Ground::new().await.open(&twilio.base_url(), phones(&[FIRST, SECOND])).await;
    let id = house.raise(Severity::Critical).await;
    until("the second contact", async || told(&twilio).contains(&SECOND.to_owned())).await;
    assert_eq!(house.messages(&id).await[0].2, DeliveryState::Failed);
    let found = house.store().alert_deliveries(&id).await.unwrap();
    assert_eq!(found[0].error.as_deref(), Some("undelivered_30003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_twilio_refuses_is_not_tried_again() {
    let twilio = twilio(TwilioConfig::default()).await;
    let house = Ground::new().await.open(&twilio.base_url(), phones(&["+15005550001", SECOND])).await;
    let id = house.raise(Severity::Urgent).await;
    until("the second contact", async || told(&twilio) == [SECOND]).await;
    assert_eq!(house.messages(&id).await[0], (0, Channel::Sms, DeliveryState::Failed, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_twilio_is_asked_again() {
    let twilio = twilio(TwilioConfig { throttle_every: Some(2), ..TwilioConfig::default() }).await;
    let house = Ground::new().await.open(&twilio.base_url(), phones(&[FIRST])).await;
    for _ in 0..3 {
        let id = house.raise(Severity::Critical).await;
        until("a text", async || {
            house
                .messages(&id)
                .await
                .first()
                .is_some_and(|message| matches!(message.2, DeliveryState::Sent | DeliveryState::Delivered))
        })
        .await;
        house.store().resolve_alert(&id, "nurse", None, 1_800_000_000_000_000).await.unwrap();
    }
    assert_eq!(told(&twilio).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() {
    let twilio = LosingTwilio::start(1, 0).await;
    let house = Ground::new().await.open(&twilio.base, phones(&[FIRST])).await;
    let id = house.raise(Severity::Urgent).await;
    house.until_first(&id, DeliveryState::Sent).await;
    assert_eq!(house.messages(&id).await, [(0, Channel::Sms, DeliveryState::Sent, 2)]);
    assert_eq!(twilio.texts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_critical_text_is_sent_blindly_a_second_time() {
    let twilio = LosingTwilio::start(1, 100).await;
    let house = Ground::new().await.open(&twilio.base, phones(&[FIRST])).await;
    let id = house.raise(Severity::Critical).await;
    house.until_first(&id, DeliveryState::Sent).await;
    assert_eq!(twilio.texts().len(), 2);

    let twilio = LosingTwilio::start(1, 100).await;
    let mut staff = phones(&[FIRST]);
    staff.first_retry = Duration::from_millis(1);
    let house = Ground::new().await.open(&twilio.base, staff).await;
    let id = house.raise(Severity::Urgent).await;
    house.until_first(&id, DeliveryState::Failed).await;
    assert_eq!(twilio.texts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_hours_hold_back_what_is_not_critical() {
    let twilio = twilio(TwilioConfig::default()).await;
    let mut staff = phones(&[FIRST]);
    // From two hours ago until two hours from now, whenever the test runs.
    let clock = |hours: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%H:%M").to_string()
    };
    staff.policy.quiet = Some(format!("{}-{}", clock(-2), clock(2)).parse().unwrap());
    let house = Ground::new().await.open(&twilio.base_url(), staff).await;
    let urgent = house.raise(Severity::Urgent).await;
    let critical = house.raise(Severity::Critical).await;
    house.until_first(&critical, DeliveryState::Delivered).await;
    assert_eq!(house.messages(&urgent).await, []);
    assert_eq!(told(&twilio).len(), 1);
    let due_us = house.store().next_alert_work_us().await.unwrap().unwrap();
    let minutes = (due_us - jiff::Timestamp::now().as_microsecond()) / 60_000_000;
    assert!(minutes < 2, "the critical alert escalates within minutes, {minutes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_report_is_refused() {
    let twilio = twilio(TwilioConfig { message_step: Duration::from_secs(60), ..TwilioConfig::default() }).await;
    let house = Ground::new().await.open(&twilio.base_url(), phones(&[FIRST])).await;
    let id = house.raise(Severity::Critical).await;
    house.until_first(&id, DeliveryState::Sent).await;
    let delivery = house.store().alert_deliveries(&id).await.unwrap().remove(0).id;
    let sid = twilio.messages().remove(0).sid;
    let form = |sid: &str| {
        [("MessageSid", sid), ("MessageStatus", "delivered"), ("AccountSid", crate::house::ACCOUNT)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let url = format!("{}/twilio/sms-status?delivery={delivery}", house.base);
    let post = async |token: &str, form: &[(String, String)]| {
        let signed = call::twilio::signature::sign(token, &url, form);
        let request = house.http.post(&url).header("X-Twilio-Signature", signed).form(form);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("another token", &form(&sid)).await, 403);
    assert_eq!(post(crate::house::TOKEN, &form("SM00112233445566778899aabbccddeeff")).await, 403);
    assert_eq!(house.messages(&id).await[0].2, DeliveryState::Sent);
    assert_eq!(post(crate::house::TOKEN, &form(&sid)).await, 204);
    assert_eq!(house.messages(&id).await[0].2, DeliveryState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_critical_is_told_once_though_the_database_takes_nothing() {
    let twilio = twilio(TwilioConfig::default()).await;
    let house = Ground::new().await.open(&twilio.base_url(), phones(&[FIRST, SECOND])).await;
    house.ground.execute("ALTER TABLE alerts RENAME TO elsewhere").await;
    let back = async {
        until("a text", async || !twilio.messages().is_empty()).await;
        house.ground.execute("ALTER TABLE elsewhere RENAME TO alerts").await;
    };
    let (id, ()) = tokio::join!(house.raise(Severity::Critical), back);
    let text = twilio.messages().remove(0);
    assert_eq!(text.to, FIRST);
    assert!(text.body.starts_with("HeartVoice: critical alert. Open "), "{}", text.body);
    assert!(text.body.contains(&format!("/alerts/{id}")), "the alert has the address that was told: {}", text.body);
    assert_discreet(&text.body);
    // Two looks of the job later nobody was told a second time.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(told(&twilio), [FIRST]);
    let messages = house.messages(&id).await;
    assert_eq!(messages.iter().map(|message| (message.0, message.1)).collect::<Vec<_>>(), [(0, Channel::Sms)]);
}
