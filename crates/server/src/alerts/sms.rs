//! Text messages to staff, through Twilio.
//!
//! Twilio takes no idempotency key. Each text carries a short reference of its own, so that after an attempt whose answer
//! was lost the account's messages can be searched for it before the text is sent again.

use super::job::may_be_doubled;
use super::{Attempt, sentence};
use crate::app::App;
use crate::clock;
use crate::metrics;
use crate::twilio_rest::TwilioError;
use crate::webhook::{Refusal, check_account, paths, signed_form};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use call::twilio::webhook::MessageStatus;
use clinic::alerts::DeliveryState;
use clinic::{DeliveryId, PhoneNumber};
use std::sync::Arc;
use store::{ClaimedDelivery, StoreError};

/// Attempts whose answer was lost, after which a critical text is sent again though the search for it fails too.
const BLIND_AFTER: u32 = 2;

pub(super) async fn send(app: &App, delivery: &ClaimedDelivery, to: &PhoneNumber) -> Attempt {
    let Some(from) = &app.settings.twilio.phone_number else { return Attempt::Never("no_sender".to_owned()) };
    let reference = reference(&delivery.id);
    if delivery.unsure {
        match find(app, to, &reference).await {
            Ok(Some(sid)) => return Attempt::Sent(sid),
            Ok(None) => {}
            Err(_) if may_be_doubled(delivery) && delivery.attempt > BLIND_AFTER => {}
            Err(_) => return Attempt::Unsure("unknown"),
        }
    }
    let url = app.alert_url(&delivery.alert_id);
    let body = format!("{} Open {url} (ref {reference})", sentence(delivery));
    let callback = app.settings.public_url(&format!("{}?delivery={}", paths::SMS_STATUS, delivery.id));
    let form =
        [("To", to.expose()), ("From", from.expose()), ("Body", body.as_str()), ("StatusCallback", callback.as_str())];
    match app.twilio.post("/Messages.json", &form).await {
        Ok(message) => match message.get("sid").and_then(serde_json::Value::as_str) {
            Some(sid) => Attempt::Sent(sid.to_owned()),
            None => Attempt::Unsure("bad_answer"),
        },
        Err(TwilioError::Unreachable) => Attempt::Later("unreachable"),
        Err(TwilioError::Busy) => Attempt::Later("busy"),
        Err(TwilioError::Unknown) => Attempt::Unsure("unknown"),
        // A wrong token may be mended while we wait; a wrong number may not.
        Err(TwilioError::Refused { status: 401 | 403, .. }) => Attempt::Later("unauthorized"),
        Err(TwilioError::Refused { status, code }) => Attempt::Never(format!("refused_{status}_{code}")),
        Err(TwilioError::NotConfigured) => Attempt::Never("not_configured".to_owned()),
    }
}

/// The message with this reference that Twilio already has.
async fn find(app: &App, to: &PhoneNumber, reference: &str) -> Result<Option<String>, TwilioError> {
    let found = app.twilio.get("/Messages.json", &[("To", to.expose()), ("PageSize", "100")]).await?;
    let messages = found.get("messages").and_then(serde_json::Value::as_array).ok_or(TwilioError::Unknown)?;
    let ours = messages.iter().find(|message| {
        message.get("body").and_then(serde_json::Value::as_str).is_some_and(|body| body.contains(reference))
    });
    Ok(ours.and_then(|message| Some(message.get("sid")?.as_str()?.to_owned())))
}

/// Eight digits that no other recent message has: the random end of its identifier.
fn reference(id: &DeliveryId) -> String {
    let digits: Vec<char> = id.as_str().chars().rev().filter(char::is_ascii_alphanumeric).take(8).collect();
    digits.into_iter().rev().collect()
}

/// `POST /twilio/sms-status`: a text message changed its state.
pub(crate) async fn sms_status(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let status = signed_form(&app, &uri, &headers, &body)
        .and_then(|form| MessageStatus::from_form(&form).map_err(|_| Refusal::Malformed))
        .and_then(|status| match &status.account_sid {
            Some(account) => check_account(&app, account).map(|()| status),
            None => Err(Refusal::Malformed),
        });
    let delivery = uri.query().and_then(|query| query.split('&').find_map(|field| field.strip_prefix("delivery=")));
    let delivery = delivery.and_then(|id| DeliveryId::parse(id).ok()).ok_or(Refusal::Malformed);
    let (status, delivery) = match status.and_then(|status| Ok((status, delivery?))) {
        Ok(both) => both,
        Err(refusal) => return refusal.respond("sms_status"),
    };
    let state = match status.status.as_str() {
        _ if status.is_failure() => DeliveryState::Failed,
        "delivered" | "read" => DeliveryState::Delivered,
        _ => DeliveryState::Sent,
    };
    let error = status.error_code.map(|code| format!("{}_{code}", status.status));
    let error = (state == DeliveryState::Failed).then(|| error.unwrap_or_else(|| status.status.clone()));
    let sid = status.message_sid.as_str();
    let noted = app.store.report_delivery(&delivery, sid, state, error.as_deref(), clock::unix_us()).await;
    match noted {
        Ok(moved) => {
            if moved && state == DeliveryState::Failed {
                metrics::alert_message("sms", "undelivered");
                tracing::warn!(delivery_id = %delivery, error, "a text message was not delivered");
                app.alerts.wake();
            }
            metrics::webhook("sms_status", "accepted");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(StoreError::NotFound { .. }) => Refusal::Forbidden("unknown_message").respond("sms_status"),
        Err(_) => Refusal::Unavailable("store").respond("sms_status"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_reference_is_the_random_end_of_the_identifier() {
        let id = DeliveryId::parse("0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b").unwrap();
        assert_eq!(reference(&id), "1f2e3a4b");
    }
}
