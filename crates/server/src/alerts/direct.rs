//! Staff is told of what is critical also while the database does not take the alert: once, by the ways that need none, and
//! in the same words without health information. The alert follows when the database is back, together with the note of
//! whom was told, so nobody is told twice.

use super::{Attempt, job};
use crate::app::App;
use crate::clock;
use crate::limits;
use crate::metrics;
use clinic::alerts::{AlertKind, NewAlert};
use clinic::{CallId, PatientId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{ClaimedDelivery, SentBefore, ToldBefore};

/// What was told of one alert; `None` when nobody could be told yet. Locked while somebody is being told.
type Told = Arc<tokio::sync::Mutex<Option<ToldBefore>>>;

/// What tells alerts apart that are not stored.
type Matter = (Option<PatientId>, Option<CallId>, AlertKind, String);

/// Alerts that staff was told of before they were stored.
#[derive(Debug, Default)]
pub(super) struct Direct {
    told: Mutex<VecDeque<(Matter, Told)>>,
}

impl Direct {
    /// The lock is held for a few lines only, and none of them panics.
    fn all(&self) -> MutexGuard<'_, VecDeque<(Matter, Told)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was told of this alert, if it was.
    pub(super) fn known(&self, new: &NewAlert) -> Option<Told> {
        let matter = matter(new);
        self.all().iter().find(|(known, _)| *known == matter).map(|(_, told)| told.clone())
    }

    fn begin(&self, new: &NewAlert) -> Told {
        if let Some(told) = self.known(new) {
            return told;
        }
        let (mut all, told) = (self.all(), Told::default());
        if all.len() >= limits::TOLD_BEFORE {
            all.pop_front();
        }
        all.push_back((matter(new), told.clone()));
        told
    }

    /// The alert is stored.
    pub(super) fn forget(&self, new: &NewAlert) {
        let matter = matter(new);
        self.all().retain(|(known, _)| *known != matter);
    }
}

fn matter(new: &NewAlert) -> Matter {
    (new.patient_id.clone(), new.call_id.clone(), new.kind, new.code.clone())
}

/// Tells the first contact who can be reached, unless somebody was told of this alert already.
pub(super) async fn tell(app: &App, new: &NewAlert, raised_at_us: i64) {
    let told = app.alerts.direct.begin(new);
    let mut told = told.lock().await;
    if told.is_some() {
        return;
    }
    let Ok(mut before) = ToldBefore::new() else { return };
    let reachable = (0..).zip(&app.alerts.contacts).filter(|(_, contact)| !contact.channels.is_empty());
    for (step, (contact, ways)) in (0..).zip(reachable) {
        for channel in &ways.channels {
            let Ok(id) = ToldBefore::message_id() else { return };
            let at_us = clock::unix_us();
            let delivery = ClaimedDelivery {
                id: id.clone(),
                alert_id: before.alert_id.clone(),
                step,
                contact,
                channel: *channel,
                attempt: 1,
                unsure: false,
                made_at_us: at_us,
                kind: new.kind,
                severity: new.severity,
                raised_at_us,
                occurrences: 1,
            };
            let attempt = tokio::time::timeout(limits::ALERT_ATTEMPT, job::send(app, &delivery)).await;
            let service_id = match attempt.unwrap_or(Attempt::Unsure("timeout")) {
                Attempt::Sent(service_id) => Some(service_id),
                Attempt::Delivered => None,
                // It is sent anew when the alert is stored, or by another way.
                Attempt::Unsure(_) | Attempt::Later(_) | Attempt::Never(_) => continue,
            };
            metrics::alert_message(channel.as_str(), "direct");
            before.messages.push(SentBefore { id, step, contact, channel: *channel, service_id, at_us });
        }
        if !before.messages.is_empty() {
            break;
        }
    }
    let (severity, messages) = (new.severity.as_str(), before.messages.len());
    if messages == 0 {
        return tracing::error!(severity, "an alert cannot be stored, and nobody could be told of it yet");
    }
    tracing::warn!(severity, messages, "staff was told of an alert that cannot be stored yet");
    *told = Some(before);
}
