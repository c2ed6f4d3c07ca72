//! Alerts: when one is raised, to whom it goes, and what happens until somebody acknowledges it.
//!
//! An alert says that a person has to look at something: a red flag, a high risk, a patient who cannot be reached, a
//! technical failure. The [`rules`] turn findings into [`NewAlert`]s. The same finding again does not make a second alert
//! while the first is unresolved: it is counted as a further occurrence (see [`NewAlert::topic`] and [`repeat`]). From
//! its beginning until somebody acknowledges it, an alert climbs a ladder of contacts; [`escalation::next_actions`]
//! says whom to tell next and when to ask again. Nothing here sends anything or reads a clock.

pub mod escalation;
pub mod quiet;
pub mod rules;

pub use escalation::{Action, Channel, Contact, Delivery, DeliveryState, Next, Policy, Standing, next_actions};
pub use quiet::QuietHours;

use crate::{CallId, PatientId};
use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Words of the patient that mean an emergency.
    RedFlag,
    /// The assessment of a call.
    Risk,
    /// The patient could not be reached.
    MissedCall,
    /// Something of ours, or of a service we use, does not work.
    Technical,
    /// Somebody answered who could not be shown to be the patient.
    NotIdentified,
    /// Somebody opened the record of a patient who is not theirs.
    BreakGlass,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::RedFlag, Self::Risk, Self::MissedCall, Self::Technical, Self::NotIdentified, Self::BreakGlass];

    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RedFlag => "red_flag",
            Self::Risk => "risk",
            Self::MissedCall => "missed_call",
            Self::Technical => "technical",
            Self::NotIdentified => "not_identified",
            Self::BreakGlass => "break_glass",
        }
    }

    /// The kind with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How soon a person has to look. Ordered: the more urgent is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Listed, and nobody is told.
    Info,
    /// By the next morning.
    Review,
    /// Within minutes, in waking hours.
    Urgent,
    /// At once, at any hour.
    Critical,
}

impl Severity {
    /// Every severity, least urgent first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Review, Self::Urgent, Self::Critical];

    /// The name used in JSON, in the database and in messages to staff.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Review => "review",
            Self::Urgent => "urgent",
            Self::Critical => "critical",
        }
    }

    /// The severity with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }

    /// Its place in the order, from 0 for the least urgent.
    #[must_use]
    pub fn rank(self) -> u8 {
        self as u8
    }
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// Nobody has taken it up.
    Open,
    /// Somebody has taken it up; nobody else is told.
    Acknowledged,
    /// Done with. The same finding makes a new alert.
    Resolved,
}

impl AlertStatus {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The status with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A finding that a person has to see.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// Whom it is about; `None` when it is about the installation.
    pub patient_id: Option<PatientId>,
    /// The call it comes from.
    pub call_id: Option<CallId>,
    /// What it is about.
    pub kind: AlertKind,
    /// Stable code, such as `chest_pain`. Letters, digits, `_` and `-`.
    pub code: String,
    /// How soon a person has to look.
    pub severity: Severity,
    /// What the nurse reads. PHI.
    pub summary: String,
}

impl NewAlert {
    /// What an unresolved alert must share, beside patient and kind, for this to be its repetition.
    ///
    /// Red flags and technical failures are told apart by their code: chest pain after a faint is news. A second call
    /// missed, or another band of risk, is the same matter. Every record that is opened in an emergency has a code of its
    /// own, so each is told.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self.kind {
            AlertKind::RedFlag | AlertKind::Technical | AlertKind::BreakGlass => &self.code,
            AlertKind::Risk | AlertKind::MissedCall | AlertKind::NotIdentified => "",
        }
    }
}

impl std::fmt::Debug for NewAlert {
    /// Leaves the summary out, and the code, which may name a symptom.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAlert")
            .field("patient_id", &self.patient_id)
            .field("call_id", &self.call_id)
            .field("kind", &self.kind)
            .field("severity", &self.severity)
            .finish_non_exhaustive()
    }
}

/// What a repetition does to an unresolved alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The severity from now on; it never falls.
    pub severity: Severity,
    /// Whether it is open again and everybody is told anew, from the first contact on.
    pub notifies: bool,
    /// Whether it counts as a further occurrence. The same call saying the same thing twice does not.
    pub counts: bool,
}

/// What `new` does to an unresolved alert of `severity`. `same_call` says that the alert has heard of this code from this
/// call already, as it does when a raise is tried again after an error.
#[must_use]
pub fn repeat(severity: Severity, new: &NewAlert, same_call: bool) -> Repeat {
    let rises = new.severity > severity;
    let red_flag = new.kind == AlertKind::RedFlag && !same_call;
    Repeat { severity: severity.max(new.severity), notifies: rises || red_flag, counts: !same_call || rises }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn alert(kind: AlertKind, severity: Severity) -> NewAlert {
        NewAlert { patient_id: None, call_id: None, kind, code: "c".into(), severity, summary: "Ada fell".into() }
    }

    #[test]
    fn names_round_trip_and_agree_with_json() {
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(severity));
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
            assert_eq!(usize::from(severity.rank()), Severity::ALL.iter().position(|s| *s == severity).unwrap());
        }
        for status in AlertStatus::ALL {
            assert_eq!(AlertStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!(Severity::Critical > Severity::Urgent && Severity::Review > Severity::Info);
    }

    #[test]
    fn a_repetition_is_told_only_when_it_is_worse_or_a_red_flag() {
        let risk = |severity| alert(AlertKind::Risk, severity);
        assert!(!repeat(Severity::Urgent, &risk(Severity::Urgent), false).notifies);
        assert!(!repeat(Severity::Urgent, &risk(Severity::Review), false).notifies);
        let worse = repeat(Severity::Review, &risk(Severity::Urgent), false);
        assert_eq!(worse, Repeat { severity: Severity::Urgent, notifies: true, counts: true });
        assert_eq!(repeat(Severity::Urgent, &risk(Severity::Review), false).severity, Severity::Urgent);
        let flag = alert(AlertKind::RedFlag, Severity::Critical);
        assert!(repeat(Severity::Critical, &flag, false).notifies);
        let again = repeat(Severity::Critical, &flag, true);
        assert!(!again.notifies && !again.counts);
    }

    #[test]
    fn what_the_nurse_reads_is_not_in_debug_output() {
        let shown = format!("{:?}", alert(AlertKind::RedFlag, Severity::Critical));
        assert!(!shown.contains("Ada") && !shown.contains("\"c\""), "{shown}");
    }
}
