//! Whom to tell of an alert, and whom next when nobody acknowledges it.
//!
//! Contacts stand in an order. The first is told at once on all of their channels, or when the quiet hours end; if nobody
//! acknowledges in time, or none of the messages could be delivered, the next one is told, then, after the usual time,
//! the first one again, up to a bound, and in the end everybody at once. [`next_actions`] computes this from what was sent so far, so that it can be
//! asked again after a restart, and asking twice changes nothing.

use super::quiet::{QuietHours, moment};
use super::{AlertStatus, Severity};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A way to reach a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A text message.
    Sms,
    /// A signed request to a program of the clinic.
    Webhook,
    /// Electronic mail.
    Email,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Sms, Self::Webhook, Self::Email];

    /// The name used in JSON, in the database and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Webhook => "webhook",
            Self::Email => "email",
        }
    }

    /// The channel with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text)
    }
}

/// Somebody to be told, known by their place in the order. Numbers and addresses stand in the settings only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// The ways to reach them; all are used.
    pub channels: Vec<Channel>,
}

/// What became of a message to a contact. A state only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be sent.
    Waiting,
    /// Being sent. After a crash: perhaps sent.
    Sending,
    /// Taken over by the service that delivers it.
    Sent,
    /// Delivered, as far as the service can tell.
    Delivered,
    /// It will not arrive.
    Failed,
    /// Not needed any more.
    Cancelled,
}

impl DeliveryState {
    /// Every state, in order.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Sending, Self::Sent, Self::Delivered, Self::Failed, Self::Cancelled];

    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True when nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }

    /// Whether a report that says `next` may follow this state; late and repeated reports may not.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        !self.is_final() && next as u8 > self as u8
    }
}

/// A message about an alert, as far as the ladder cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Step of the ladder, from 0.
    pub step: u32,
    /// Place of the contact, from 0.
    pub contact: u32,
    /// Way.
    pub channel: Channel,
    /// What became of it.
    pub state: DeliveryState,
    /// When it was decided on, in microseconds since the Unix epoch.
    pub made_at_us: i64,
    /// When it reached a final state.
    pub settled_at_us: Option<i64>,
}

/// How long to wait, when to be quiet, how often to go round.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Time to acknowledge what is critical.
    pub critical_wait: Duration,
    /// Time to acknowledge what is urgent.
    pub urgent_wait: Duration,
    /// Until this time of day something to review may wait.
    pub morning: Time,
    /// When only what is critical may ring.
    pub quiet: Option<QuietHours>,
    /// The staff's clock.
    pub zone: TimeZone,
    /// How often each contact is told before everybody is.
    pub rounds: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            critical_wait: Duration::from_secs(2 * 60),
            urgent_wait: Duration::from_secs(15 * 60),
            morning: Time::constant(8, 0, 0, 0),
            quiet: None,
            zone: TimeZone::UTC,
            rounds: 3,
        }
    }
}

/// Contacts beyond this many are not told: a mistyped setting must not text half a town.
pub const MAX_CONTACTS: usize = 20;
/// Rounds, at most.
pub const MAX_ROUNDS: u32 = 10;
/// A review that is told shortly before the morning has until the next one.
const REVIEW_LEAST: Duration = Duration::from_secs(4 * 3_600);

impl Policy {
    /// The first moment from `at_us` on at which an alert of `severity` may ring.
    #[must_use]
    pub fn release_us(&self, severity: Severity, at_us: i64) -> i64 {
        let Some(quiet) = self.quiet.filter(|_| severity < Severity::Critical) else { return at_us };
        let Ok(at) = Timestamp::from_microsecond(at_us) else { return at_us };
        quiet.until(at, &self.zone).map_or(at_us, Timestamp::as_microsecond)
    }

    /// Until when somebody told at `told_us` may take to acknowledge.
    fn patience_us(&self, severity: Severity, told_us: i64) -> i64 {
        match severity {
            Severity::Critical => later(told_us, self.critical_wait),
            Severity::Urgent => later(told_us, self.urgent_wait),
            Severity::Review | Severity::Info => self.morning_after_us(later(told_us, REVIEW_LEAST)),
        }
    }

    /// The first morning from `at_us` on.
    fn morning_after_us(&self, at_us: i64) -> i64 {
        let morning = || {
            let date = Timestamp::from_microsecond(at_us).ok()?.to_zoned(self.zone.clone()).date();
            [Some(date), date.tomorrow().ok()]
                .into_iter()
                .flatten()
                .filter_map(|date| moment(date, self.morning, &self.zone))
                .map(Timestamp::as_microsecond)
                .find(|morning| *morning >= at_us)
        };
        morning().unwrap_or_else(|| later(at_us, Duration::from_secs(24 * 3_600)))
    }
}

/// A message to be sent. Each is made once: step, contact and channel name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action {
    /// Step of the ladder.
    pub step: u32,
    /// Place of the contact.
    pub contact: u32,
    /// Way.
    pub channel: Channel,
}

/// What to do now, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Next {
    /// Messages to be sent now.
    pub actions: Vec<Action>,
    /// When to ask again, in microseconds since the Unix epoch, unless something happens first. `None`: never.
    pub deadline_us: Option<i64>,
    /// Everybody was told, and nobody has acknowledged: the ladder has no more steps.
    pub exhausted: bool,
}

/// An alert, as far as the ladder cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How urgent it is.
    pub severity: Severity,
    /// Whether somebody has taken it up.
    pub status: AlertStatus,
    /// When the climb began, in microseconds since the Unix epoch.
    pub from_us: i64,
}

/// Whom to tell now. `deliveries` are the messages of this climb so far, in any order.
#[must_use]
pub fn next_actions(
    alert: &Standing,
    deliveries: &[Delivery],
    contacts: &[Contact],
    policy: &Policy,
    now_us: i64,
) -> Next {
    if alert.status != AlertStatus::Open || alert.severity == Severity::Info {
        return Next::default();
    }
    let reachable = reachable(contacts.get(..MAX_CONTACTS).unwrap_or(contacts));
    let steps = ladder(&reachable, policy.rounds);
    let mut due_us = policy.release_us(alert.severity, alert.from_us);
    for (step, targets) in (0..).zip(&steps) {
        if due_us > now_us {
            return Next { deadline_us: Some(due_us), ..Next::default() };
        }
        let told: Vec<&Delivery> = deliveries.iter().filter(|delivery| u32_of(step) == delivery.step).collect();
        if told.is_empty() {
            // Never more than one step at a time: after a standstill of ours the second contact is not told because the
            // first had no chance to answer.
            let release_us = policy.release_us(alert.severity, now_us);
            if release_us > now_us {
                return Next { deadline_us: Some(release_us), ..Next::default() };
            }
            let action = |&(contact, channel)| Action { step: u32_of(step), contact, channel };
            let actions = targets.iter().map(action).collect();
            let deadline_us = Some(policy.release_us(alert.severity, policy.patience_us(alert.severity, now_us)));
            return Next { actions, deadline_us, exhausted: false };
        }
        // Somebody else may be told at once when nothing gets through. The same people may not: whatever keeps all the
        // messages from them needs time to be mended.
        let next_are_others = (step + 1) % reachable.len() != 0 || step + 1 == steps.len();
        let ends_us = step_ends_us(alert.severity, &told, policy, next_are_others);
        due_us = policy.release_us(alert.severity, ends_us);
    }
    if due_us > now_us {
        return Next { deadline_us: Some(due_us), ..Next::default() };
    }
    Next { exhausted: true, ..Next::default() }
}

/// When the step after `told` may begin: when the time to acknowledge is over, or, with `at_once`, as soon as every
/// message has failed.
fn step_ends_us(severity: Severity, told: &[&Delivery], policy: &Policy, at_once: bool) -> i64 {
    let made_us = told.iter().map(|delivery| delivery.made_at_us).max().unwrap_or_default();
    let lost = |delivery: &&Delivery| matches!(delivery.state, DeliveryState::Failed | DeliveryState::Cancelled);
    if at_once && told.iter().all(lost) {
        return told.iter().filter_map(|delivery| delivery.settled_at_us).max().unwrap_or(made_us);
    }
    policy.patience_us(severity, made_us)
}

/// The ways to each contact. A contact without any has no step, and keeps its place.
fn reachable(contacts: &[Contact]) -> Vec<Vec<(u32, Channel)>> {
    let ways =
        (0..).zip(contacts).map(|(place, contact)| contact.channels.iter().map(move |way| (place, *way)).collect());
    ways.filter(|ways: &Vec<_>| !ways.is_empty()).collect()
}

/// The steps: each contact in turn, round after round, then everybody.
fn ladder(reachable: &[Vec<(u32, Channel)>], rounds: u32) -> Vec<Vec<(u32, Channel)>> {
    let rounds = usize::try_from(rounds.clamp(1, MAX_ROUNDS)).unwrap_or(1);
    let mut steps: Vec<_> = reachable.iter().cycle().take(rounds * reachable.len()).cloned().collect();
    // With one contact a last call to everybody would only be another call to them.
    if reachable.len() > 1 {
        steps.push(reachable.iter().flatten().copied().collect());
    }
    steps
}

fn u32_of(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}

fn later(at_us: i64, by: Duration) -> i64 {
    at_us.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "escalation_tests.rs"]
mod tests;
