//! Who may do what: roles and rights, as plain data.
//!
//! A person has one role. A role has rights; a right says what may be done, and [`Reach`] whose records it may be done to.
//! A program's token has rights of its own, never more than the role `service`. Nothing here knows of sessions, tokens or
//! requests: whoever serves a request asks [`Role::reach`] and denies when there is none (45 CFR 164.312(a)(1)).

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What kind of person, or program, an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the installation: people, patients' registry, schedules, erasure. Hears no recordings and reads no transcripts.
    Admin,
    /// Nurse or physician: everything about the patients of their care team.
    Clinician,
    /// Sees de-identified data only.
    Researcher,
    /// Sees who did what, and no patient's data.
    Auditor,
    /// A program, such as the clinic's scheduling; it shows a token and cannot sign in.
    Service,
}

/// What can be permitted. The names are used in tokens' scopes and in the programming interface's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Who the patients are: names, numbers, dates of birth.
    PatientRead,
    /// Adding patients and changing what is noted about them, their care team included.
    PatientWrite,
    /// Destroying everything about a patient; legal holds.
    PatientErase,
    /// Everything about a patient in one file, for the patient. It holds what was said, word by word.
    PatientExport,
    /// Calls, assessments, measures, answers, trends.
    CallRead,
    /// Having a patient called.
    CallPlace,
    /// What was said, word by word.
    TranscriptRead,
    /// Recordings.
    AudioRead,
    /// Alerts.
    AlertRead,
    /// Taking alerts up and resolving them.
    AlertHandle,
    /// Timetables of calls.
    ScheduleRead,
    /// Changing timetables.
    ScheduleWrite,
    /// De-identified data of all patients.
    ResearchExport,
    /// Who has an account.
    UserRead,
    /// Accounts and tokens of others.
    UserManage,
    /// The audit trail.
    AuditRead,
    /// Opening the record of a patient who is not of one's care team, with a reason.
    BreakGlass,
    /// One's own account and sessions.
    OwnAccount,
}

/// Whose records a right reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Every patient's, or the right does not concern patients.
    All,
    /// Patients whose care team one belongs to, and those opened by breaking the glass.
    CareTeam,
}

impl Role {
    /// Every role, in the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Clinician, Self::Researcher, Self::Auditor, Self::Service];

    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Clinician => "clinician",
            Self::Researcher => "researcher",
            Self::Auditor => "auditor",
            Self::Service => "service",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whose records this role may do this to; `None`: it may not.
    #[must_use]
    pub fn reach(self, right: Right) -> Option<Reach> {
        use Right::{
            AlertHandle, AlertRead, AudioRead, AuditRead, BreakGlass, CallPlace, CallRead, OwnAccount, PatientErase,
            PatientExport, PatientRead, PatientWrite, ResearchExport, ScheduleRead, ScheduleWrite, TranscriptRead,
            UserManage, UserRead,
        };
        match (self, right) {
            (Self::Service, OwnAccount) => None,
            (_, OwnAccount) => Some(Reach::All),
            (
                Self::Admin,
                PatientRead | PatientWrite | PatientErase | CallRead | CallPlace | AlertRead | AlertHandle
                | ScheduleRead | ScheduleWrite | ResearchExport | UserRead | UserManage | AuditRead,
            ) => Some(Reach::All),
            (
                Self::Clinician,
                PatientRead | PatientWrite | PatientExport | CallRead | CallPlace | TranscriptRead | AudioRead
                | AlertRead | AlertHandle | ScheduleRead | ScheduleWrite,
            ) => Some(Reach::CareTeam),
            (Self::Clinician, BreakGlass) => Some(Reach::All),
            (Self::Researcher, ResearchExport) => Some(Reach::All),
            (Self::Auditor, AuditRead | UserRead) => Some(Reach::All),
            (
                Self::Service,
                PatientRead | PatientWrite | CallRead | CallPlace | TranscriptRead | AudioRead | AlertRead
                | AlertHandle | ScheduleRead | ScheduleWrite | ResearchExport | AuditRead,
            ) => Some(Reach::All),
            _ => None,
        }
    }

    /// Whether accounts with this role sign in with a password and a second factor; the others show a token.
    #[must_use]
    pub fn signs_in(self) -> bool {
        self != Self::Service
    }
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 18] = [
        Self::PatientRead,
        Self::PatientWrite,
        Self::PatientErase,
        Self::PatientExport,
        Self::CallRead,
        Self::CallPlace,
        Self::TranscriptRead,
        Self::AudioRead,
        Self::AlertRead,
        Self::AlertHandle,
        Self::ScheduleRead,
        Self::ScheduleWrite,
        Self::ResearchExport,
        Self::UserRead,
        Self::UserManage,
        Self::AuditRead,
        Self::BreakGlass,
        Self::OwnAccount,
    ];

    /// The name in scopes and in the description of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PatientRead => "patient:read",
            Self::PatientWrite => "patient:write",
            Self::PatientErase => "patient:erase",
            Self::PatientExport => "patient:export",
            Self::CallRead => "call:read",
            Self::CallPlace => "call:place",
            Self::TranscriptRead => "transcript:read",
            Self::AudioRead => "audio:read",
            Self::AlertRead => "alert:read",
            Self::AlertHandle => "alert:handle",
            Self::ScheduleRead => "schedule:read",
            Self::ScheduleWrite => "schedule:write",
            Self::ResearchExport => "research:export",
            Self::UserRead => "user:read",
            Self::UserManage => "user:manage",
            Self::AuditRead => "audit:read",
            Self::BreakGlass => "break-glass",
            Self::OwnAccount => "account:own",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }
}

/// What a token permits: all that the role `service` may do, or some of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Option<BTreeSet<Right>>);

/// A text that names no scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected * or names of rights that programs can have, separated by spaces, such as: call:read alert:read")]
pub struct NotScopes;

impl Scopes {
    /// All that a program may do.
    #[must_use]
    pub fn all() -> Self {
        Self(None)
    }

    /// Reads `*`, or names of rights separated by spaces. No name at all permits nothing.
    ///
    /// # Errors
    /// [`NotScopes`] for an unknown name and for a right that no program has.
    pub fn parse(text: &str) -> Result<Self, NotScopes> {
        if text.trim() == "*" {
            return Ok(Self::all());
        }
        let right = |name| Right::parse(name).filter(|right| Role::Service.reach(*right).is_some()).ok_or(NotScopes);
        text.split_ascii_whitespace().map(right).collect::<Result<_, _>>().map(|rights| Self(Some(rights)))
    }

    /// Whether a token with these scopes may do this.
    #[must_use]
    pub fn allows(&self, right: Right) -> bool {
        Role::Service.reach(right).is_some() && self.0.as_ref().is_none_or(|rights| rights.contains(&right))
    }
}

/// As [`Scopes::parse`] reads it.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("*"),
            Some(rights) => f.write_str(&rights.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_read_back() {
        let names: HashSet<_> = Right::ALL.iter().map(|right| right.as_str()).collect();
        assert_eq!(names.len(), Right::ALL.len());
        assert!(Right::ALL.iter().all(|right| Right::parse(right.as_str()) == Some(*right)));
        assert!(Role::ALL.iter().all(|role| Role::parse(role.as_str()) == Some(*role)));
    }

    #[test]
    fn a_researcher_and_an_auditor_reach_no_patient() {
        let phi = Right::ALL.iter().filter(|right| {
            let name = right.as_str();
            ["patient:", "call:", "transcript:", "audio:", "alert:", "schedule:"]
                .iter()
                .any(|kind| name.starts_with(kind))
        });
        for right in phi {
            assert_eq!(Role::Researcher.reach(*right), None);
            assert_eq!(Role::Auditor.reach(*right), None);
            assert_ne!(Role::Clinician.reach(*right), Some(Reach::All));
        }
        assert_eq!(Role::Admin.reach(Right::AudioRead), None);
    }

    #[test]
    fn a_token_may_do_what_its_scopes_say_and_never_more_than_a_program() {
        let some = Scopes::parse(" call:read  alert:read ").unwrap();
        assert!(some.allows(Right::CallRead) && some.allows(Right::AlertRead) && !some.allows(Right::AlertHandle));
        assert_eq!(Scopes::parse(&some.to_string()), Ok(some));
        for right in Right::ALL {
            assert_eq!(Scopes::all().allows(right), Role::Service.reach(right).is_some(), "{right:?}");
            assert!(!Scopes::parse("").unwrap().allows(right));
        }
        assert_eq!(Scopes::parse("*").unwrap(), Scopes::all());
        for bad in ["call:write", "user:manage", "patient:erase", "* call:read", "call:read,alert:read"] {
            assert_eq!(Scopes::parse(bad), Err(NotScopes), "{bad}");
        }
    }
}
