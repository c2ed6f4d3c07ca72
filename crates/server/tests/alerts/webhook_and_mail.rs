//! Alerts told to a program of the clinic and by mail.

use crate::clinic_side::{MailServer, Receiver};
use crate::house::{Ground, assert_discreet, quick, until};
use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use clinic::alerts::{Channel, DeliveryState, Severity};
use secrecy::SecretString;
use serde_json::Value;
use server::{SmtpSettings, StaffContact, StaffSettings, StaffWebhook};

const NOWHERE: &str = "http://127.0.0.1:9";
const SECRET: &str = "secret of the clinic";

fn hooked(receiver: &Receiver) -> StaffSettings {
    StaffSettings {
        contacts: vec![StaffContact { webhook: true, ..StaffContact::default() }],
        webhook: Some(StaffWebhook {
            url: SecretString::from(format!("{}/alerts?token=x", receiver.base)),
            secret: Some(SecretString::from(SECRET)),
        }),
        ..quick()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap().to_str().unwrap()
}

/// What a careful receiver does: checks time and signature.
fn verify(headers: &HeaderMap, body: &[u8]) {
    let (time, signature) = header(headers, "HeartVoice-Signature").split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
    assert!((0..300).contains(&age), "{age}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag: Vec<u8> =
        (0..signature.len()).step_by(2).map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap()).collect();
    hmac::verify(&key, &[time.as_bytes(), b".", body].concat(), &tag).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_a_failed_one_repeated_under_the_same_key() {
    let receiver = Receiver::start(&[500]).await;
    let house = Ground::new().await.open(NOWHERE, hooked(&receiver)).await;
    let id = house.raise(Severity::Critical).await;
    house.until_first(&id, DeliveryState::Delivered).await;
    assert_eq!(house.messages(&id).await, [(0, Channel::Webhook, DeliveryState::Delivered, 2)]);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    for (headers, body) in &heard {
        verify(headers, body);
        assert_eq!(header(headers, "content-type"), "application/json");
        assert_discreet(std::str::from_utf8(body).unwrap());
    }
    let keys: Vec<&str> = heard.iter().map(|(headers, _)| header(headers, "Idempotency-Key")).collect();
    assert!(!keys[0].is_empty() && keys[0] == keys[1]);
    assert_eq!(heard[0].1, heard[1].1, "a repetition says the same");
    let message: Value = serde_json::from_slice(&heard[1].1).unwrap();
    assert_eq!((&message["severity"], &message["kind"]), (&"critical".into(), &"red_flag".into()));
    assert_eq!(message["alert_id"], id.as_str());
    assert_eq!(message["url"], format!("{}/alerts/{id}", house.base));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_says_no_is_not_repeated_and_one_that_always_fails_not_for_ever() {
    let receiver = Receiver::start(&[404]).await;
    let house = Ground::new().await.open(NOWHERE, hooked(&receiver)).await;
    let id = house.raise(Severity::Urgent).await;
    house.until_first(&id, DeliveryState::Failed).await;
    assert_eq!(receiver.heard().len(), 1);

    let receiver = Receiver::start(&[503; 100]).await;
    let mut staff = hooked(&receiver);
    staff.policy.rounds = 1;
    staff.first_retry = std::time::Duration::from_millis(1);
    let house = Ground::new().await.open(NOWHERE, staff).await;
    let id = house.raise(Severity::Urgent).await;
    house.until_first(&id, DeliveryState::Failed).await;
    assert_eq!(receiver.heard().len(), usize::try_from(server::limits::ALERT_ATTEMPTS).unwrap());
    // Nobody is left to be told, and that is said.
    until("the metric", async || {
        let text = house.http.get(format!("{}/metrics", house.base)).send().await.unwrap().text().await.unwrap();
        text.contains("heartvoice_alerts_unanswered_total{severity=\"urgent\"}")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_and_a_server_that_is_busy_asked_again() {
    let mail = MailServer::start(1).await;
    let staff = StaffSettings {
        contacts: vec![StaffContact { email: Some("nurse@example.org".into()), ..StaffContact::default() }],
        smtp: Some(SmtpSettings { url: mail.url.as_str().into(), from: "heartvoice@example.org".into() }),
        ..quick()
    };
    let house = Ground::new().await.open(NOWHERE, staff).await;
    let id = house.raise(Severity::Urgent).await;
    house.until_first(&id, DeliveryState::Delivered).await;
    assert_eq!(house.messages(&id).await, [(0, Channel::Email, DeliveryState::Delivered, 2)]);
    let mails = mail.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("Subject: HeartVoice: urgent alert"), "{}", mails[0]);
    assert!(mails[0].contains("To: nurse@example.org") && mails[0].contains(&format!("/alerts/{id}")), "{}", mails[0]);
    let delivery = house.store().alert_deliveries(&id).await.unwrap().remove(0).id;
    assert!(mails[0].contains(&format!("Message-ID: <{delivery}@heartvoice>")), "{}", mails[0]);
    assert_discreet(&mails[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_does_not_hold_up_mail() {
    // Accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mail = MailServer::start(0).await;
    let url = SecretString::from(format!("http://{}/x", silent.local_addr().unwrap()));
    let staff = StaffSettings {
        contacts: vec![StaffContact { email: Some("nurse@example.org".into()), webhook: true, phone: None }],
        webhook: Some(StaffWebhook { url, secret: None }),
        smtp: Some(SmtpSettings { url: mail.url.as_str().into(), from: "heartvoice@example.org".into() }),
        ..quick()
    };
    let house = Ground::new().await.open(NOWHERE, staff).await;
    house.raise(Severity::Critical).await;
    until("the mail", async || mail.mails().len() == 1).await;
}
