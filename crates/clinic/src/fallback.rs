//! What is done for a patient whose call broke off for a technical reason: they are called again, get a text, or a nurse is
//! asked to telephone, in the order that the clinic has set.
//!
//! Everything here is a plain function of what is known; the server asks it again after every step, so that a crash
//! between two steps loses none and repeats none.

use crate::CallOutcome;
use crate::visit::{IdentityStatus, VisitRecord};
use std::str::FromStr;

/// Attempts at a call-back, at most.
pub const MAX_ATTEMPTS: u32 = 10;

/// A way to reach the patient, or somebody who will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The patient is telephoned again.
    CallAgain,
    /// The patient gets a neutral text message.
    Sms,
    /// A nurse is asked to telephone.
    Nurse,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 3] = [Self::CallAgain, Self::Sms, Self::Nurse];

    /// The name used in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallAgain => "call-again",
            Self::Sms => "sms",
            Self::Nurse => "nurse",
        }
    }
}

/// What the clinic wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In this order, each once.
    pub steps: Vec<Step>,
    /// Minutes between the end of the call and the call-back.
    pub after_min: u32,
    /// Attempts at the call-back, the first included.
    pub attempts: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { steps: vec![Step::CallAgain, Step::Nurse], after_min: 2, attempts: 2 }
    }
}

/// Why a text is no list of steps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected some of call-again, sms, nurse in the order in which they are tried, each once, separated by commas")]
pub struct InvalidSteps;

/// The steps of a policy, as they are set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps(pub Vec<Step>);

impl FromStr for Steps {
    type Err = InvalidSteps;

    /// Reads `call-again,sms,nurse`.
    fn from_str(text: &str) -> Result<Self, InvalidSteps> {
        let mut steps = Vec::new();
        for name in text.split(',').map(str::trim) {
            let step = Step::ALL.into_iter().find(|step| step.as_str() == name).ok_or(InvalidSteps)?;
            if steps.contains(&step) {
                return Err(InvalidSteps);
            }
            steps.push(step);
        }
        Ok(Self(steps))
    }
}

/// Why a patient has to be contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Our process ended in mid-call.
    Interrupted,
    /// The call failed.
    Failed,
    /// All lines were taken.
    Overloaded,
    /// The server was being stopped.
    Stopping,
    /// The records could not be reached.
    NoRecords,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Interrupted, Self::Failed, Self::Overloaded, Self::Stopping, Self::NoRecords];

    /// The code used in records and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Overloaded => "overloaded",
            Self::Stopping => "stopping",
            Self::NoRecords => "no_records",
        }
    }

    /// The reason with that code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == text)
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Became {
    /// It is under way: the call-back is planned or being made.
    UnderWay,
    /// It reached whom it was meant for.
    Reached,
    /// It did not, or cannot be done.
    Failed,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Take this step.
    Take(Step),
    /// Wait for what is under way.
    Wait,
    /// Nothing is left to do.
    Done,
}

/// The next step by this policy, after those that were taken. A text says that somebody will call and does not replace it,
/// so what follows it is done all the same.
#[must_use]
pub fn next(policy: &Policy, taken: &[(Step, Became)]) -> Next {
    for step in &policy.steps {
        let became = taken.iter().find(|(known, _)| known == step).map(|(_, became)| *became);
        match (step, became) {
            (_, None) => return Next::Take(*step),
            (Step::CallAgain, Some(Became::UnderWay)) => return Next::Wait,
            (Step::CallAgain | Step::Nurse, Some(Became::Reached)) => return Next::Done,
            // Nobody else would tell the nurse.
            (Step::Nurse, Some(_)) => return Next::Take(Step::Nurse),
            (Step::CallAgain, Some(Became::Failed)) | (Step::Sms, Some(_)) => {}
        }
    }
    Next::Done
}

/// Whether a call that ended so leaves a patient who has to be contacted: it broke off for a technical reason, before
/// everything was asked, and nobody has taken over. `record` is what was learned, where there was a conversation.
#[must_use]
pub fn is_needed(outcome: CallOutcome, record: Option<&VisitRecord>) -> bool {
    if !matches!(outcome, CallOutcome::Failed | CallOutcome::Interrupted) {
        return false;
    }
    record.is_none_or(|record| {
        let somebody_else = matches!(record.identity.status, IdentityStatus::WrongPerson | IdentityStatus::Voicemail);
        !record.complete && record.transferred != Some(true) && !somebody_else
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Became::{Failed, Reached, UnderWay};
    use Step::{CallAgain, Nurse, Sms};

    fn policy(steps: &str) -> Policy {
        Policy { steps: steps.parse::<Steps>().unwrap().0, ..Policy::default() }
    }

    #[test]
    fn steps_are_read_in_order_and_each_once() {
        assert_eq!("call-again, sms,nurse".parse(), Ok(Steps(vec![CallAgain, Sms, Nurse])));
        assert_eq!("nurse".parse(), Ok(Steps(vec![Nurse])));
        for wrong in ["", "nurse,nurse", "fax", "call-again;nurse", "nurse,"] {
            assert_eq!(wrong.parse::<Steps>(), Err(InvalidSteps), "{wrong:?}");
        }
        assert_eq!(Policy::default(), policy("call-again,nurse"));
    }

    #[test]
    fn what_comes_next_follows_from_the_policy_and_what_became_of_the_steps() {
        type Case<'a> = (&'a str, &'a [(Step, Became)], Next);
        let table: [Case<'_>; 14] = [
            ("call-again,nurse", &[], Next::Take(CallAgain)),
            ("call-again,nurse", &[(CallAgain, UnderWay)], Next::Wait),
            ("call-again,nurse", &[(CallAgain, Reached)], Next::Done),
            ("call-again,nurse", &[(CallAgain, Failed)], Next::Take(Nurse)),
            ("call-again,nurse", &[(CallAgain, Failed), (Nurse, Failed)], Next::Take(Nurse)),
            ("call-again,nurse", &[(CallAgain, Failed), (Nurse, Reached)], Next::Done),
            ("sms,call-again,nurse", &[], Next::Take(Sms)),
            ("sms,call-again,nurse", &[(Sms, Reached)], Next::Take(CallAgain)),
            ("sms,call-again,nurse", &[(Sms, Failed)], Next::Take(CallAgain)),
            ("sms,call-again,nurse", &[(Sms, Reached), (CallAgain, UnderWay)], Next::Wait),
            ("call-again,sms,nurse", &[(CallAgain, Failed), (Sms, Reached)], Next::Take(Nurse)),
            ("call-again", &[(CallAgain, Failed)], Next::Done),
            ("sms", &[(Sms, Failed)], Next::Done),
            ("nurse,call-again", &[(Nurse, Reached)], Next::Done),
        ];
        for (steps, taken, expected) in table {
            assert_eq!(next(&policy(steps), taken), expected, "{steps} {taken:?}");
        }
    }

    #[test]
    fn every_policy_comes_to_an_end() {
        for steps in ["call-again,nurse", "sms,call-again,nurse", "nurse", "call-again,sms", "sms"] {
            for became in [Reached, Failed] {
                let (policy, mut taken) = (policy(steps), Vec::new());
                while let Next::Take(step) = next(&policy, &taken) {
                    // A nurse is told until somebody has taken it down.
                    taken.push((step, if step == Nurse { Reached } else { became }));
                    assert!(taken.len() <= 3);
                }
            }
        }
    }
}
