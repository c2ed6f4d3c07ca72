//! The job: whom to tell, and sending what is to be sent.

use super::{Attempt, sms};
use crate::app::App;
use crate::clock;
use crate::limits;
use crate::metrics;
use clinic::alerts::{Channel, Severity, next_actions};
use std::sync::Arc;
use std::time::Duration;
use store::{ClaimedDelivery, Outcome, StoreError};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// Between two looks when work is due that cannot be begun yet, because all places of a channel are taken.
const BREATH: Duration = Duration::from_millis(200);

/// Delivers until `stop`.
pub(crate) async fn deliver(app: Arc<App>, stop: CancellationToken) {
    let mut looked_again = false;
    loop {
        // After a start the contacts may be others than those the alerts were told.
        if !looked_again {
            looked_again = app.store.look_at_alerts_again(clock::unix_us()).await.is_ok();
        }
        let wait = match pass(&app).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(code = error.code(), "the store gives no alerts");
                limits::ALERT_POLL
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.alerts.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    app.alerts.sending.close();
    app.alerts.sending.wait().await;
}

/// One look. Returns how long nothing more is to be done.
async fn pass(app: &Arc<App>) -> Result<Duration, StoreError> {
    let now_us = clock::unix_us();
    let (contacts, policy) = (&app.alerts.contacts, &app.settings.staff.policy);
    let decide = |alert: &_, so_far: &[_]| next_actions(alert, so_far, contacts, policy, now_us);
    let report = app.store.climb_alerts(now_us, limits::ALERT_BATCH, decide).await?;
    for (alert_id, severity) in &report.exhausted {
        metrics::alert_unanswered(severity.as_str());
        tracing::error!(%alert_id, severity = severity.as_str(), "nobody is left to be told of an alert");
    }
    for (channel, slots) in &app.alerts.slots {
        let free = slots.available_permits();
        let Some(limit) = u32::try_from(free).ok().filter(|free| *free > 0) else { continue };
        let lease_us = micros(limits::ALERT_LEASE);
        for delivery in app.store.claim_deliveries(*channel, clock::unix_us(), lease_us, limit).await? {
            let Ok(slot) = slots.clone().acquire_owned().await else { continue };
            app.alerts.sending.spawn(attend(app.clone(), delivery, slot));
        }
    }
    let Some(next_us) = app.store.next_alert_work_us().await? else { return Ok(limits::ALERT_POLL) };
    let left = u64::try_from(next_us.saturating_sub(clock::unix_us())).unwrap_or(0);
    Ok(Duration::from_micros(left).clamp(BREATH, limits::ALERT_POLL))
}

/// Sends one message and notes what came of it.
async fn attend(app: Arc<App>, delivery: ClaimedDelivery, slot: OwnedSemaphorePermit) {
    let channel = delivery.channel.as_str();
    let now_us = clock::unix_us();
    let release_us = app.settings.staff.policy.release_us(delivery.severity, now_us);
    let outcome = if release_us > now_us {
        Outcome::Hold { until_us: release_us }
    } else {
        let attempt = tokio::time::timeout(limits::ALERT_ATTEMPT, send(&app, &delivery)).await;
        let attempt = attempt.unwrap_or(Attempt::Unsure("timeout"));
        outcome(&app, &delivery, attempt)
    };
    let result = match &outcome {
        Outcome::Sent { .. } => "sent",
        Outcome::Delivered => "delivered",
        Outcome::Retry { .. } => "retry",
        Outcome::Hold { .. } => "held",
        Outcome::Failed { .. } => "failed",
    };
    metrics::alert_message(channel, result);
    let (alert_id, delivery_id, attempt) = (&delivery.alert_id, &delivery.id, delivery.attempt);
    match &outcome {
        Outcome::Retry { error, .. } | Outcome::Failed { error } => {
            tracing::warn!(%alert_id, %delivery_id, channel, attempt, result, error, "message about an alert");
        }
        _ => tracing::info!(%alert_id, %delivery_id, channel, attempt, result, "message about an alert"),
    }
    if matches!(outcome, Outcome::Sent { .. } | Outcome::Delivered) {
        let after_us = u64::try_from(clock::unix_us().saturating_sub(delivery.made_at_us)).unwrap_or(0);
        metrics::alert_message_out(channel, Duration::from_micros(after_us));
    }
    settle(&app, &delivery, &outcome).await;
    drop(slot);
    // A place is free, or the next contact is due.
    app.alerts.wake();
}

pub(super) async fn send(app: &App, delivery: &ClaimedDelivery) -> Attempt {
    let index = usize::try_from(delivery.contact).unwrap_or(usize::MAX);
    // The settings may have been changed since the message was decided on.
    let Some(contact) = app.settings.staff.contacts.get(index) else {
        return Attempt::Never("no_such_contact".to_owned());
    };
    let gone = Attempt::Never("no_such_channel".to_owned());
    match delivery.channel {
        Channel::Sms => match &contact.phone {
            Some(phone) => sms::send(app, delivery, phone).await,
            None => gone,
        },
        Channel::Webhook => match app.alerts.hook.as_ref().filter(|_| contact.webhook) {
            Some(hook) => hook.send(delivery, &app.alert_url(&delivery.alert_id)).await,
            None => gone,
        },
        Channel::Email => match (&app.alerts.mailer, &contact.email) {
            (Some(mailer), Some(email)) => mailer.send(delivery, email, &app.alert_url(&delivery.alert_id)).await,
            _ => gone,
        },
    }
}

fn outcome(app: &App, delivery: &ClaimedDelivery, attempt: Attempt) -> Outcome {
    let (error, unsure) = match attempt {
        Attempt::Sent(service_id) => return Outcome::Sent { service_id },
        Attempt::Delivered => return Outcome::Delivered,
        Attempt::Never(error) => return Outcome::Failed { error },
        Attempt::Later(error) => (error.to_owned(), delivery.unsure),
        Attempt::Unsure(error) => (error.to_owned(), true),
    };
    if delivery.attempt >= limits::ALERT_ATTEMPTS {
        return Outcome::Failed { error };
    }
    let wait = app.settings.staff.first_retry.saturating_mul(3_u32.saturating_pow(delivery.attempt.saturating_sub(1)));
    Outcome::Retry { at_us: clock::unix_us().saturating_add(micros(wait)), error, unsure }
}

/// Notes what came of an attempt. When the store does not take the note, the claim runs out, and the message is looked at
/// again as one that may have been sent.
async fn settle(app: &App, delivery: &ClaimedDelivery, outcome: &Outcome) {
    for wait in limits::STORE_RETRIES.iter().map(Some).chain([None]) {
        match app.store.settle_delivery(&delivery.id, outcome, clock::unix_us()).await {
            Err(StoreError::Unavailable { .. }) => {}
            _ => return,
        }
        if let Some(wait) = wait {
            tokio::time::sleep(*wait).await;
        }
    }
    tracing::error!(delivery_id = %delivery.id, "what came of a message could not be noted");
}

/// A doubled text is a lesser evil than none when a life may depend on it.
pub(super) fn may_be_doubled(delivery: &ClaimedDelivery) -> bool {
    delivery.severity == Severity::Critical
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
