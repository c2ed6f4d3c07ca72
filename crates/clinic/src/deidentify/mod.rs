//! De-identified data for research, by the Safe Harbor method of 45 CFR 164.514(b)(2).
//!
//! Nothing is taken out of a record here: an export begins empty, and only what this module names is put in. A field that
//! somebody adds to a record later is therefore not exported until somebody decides that it may be. Texts leave only
//! where they are one of a fixed list of words; numbers only where they lie in the range of what they measure. What has
//! no fixed form (names, transcripts, notes, evidence, recordings) is never read.
//!
//! Whose row is whose is said by a [`Pseudonym`], which can only be made of random bytes: a hash of a telephone number
//! is undone in minutes. Dates become days since enrolment, moved by a random number of days for each patient
//! ([`shift_days`]), so that no calendar date and no weekday can be read off them. Whoever calls this makes the random
//! numbers and forgets them: the link back to the patient exists nowhere afterwards.
//!
//! Begin with [`deidentify`]; [`Dataset::files`] gives the files of an export, the dictionary of every column among them.

mod calls;
mod columns;
mod files;
mod measures;
mod people;
mod rows;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use columns::{Column, Kind, Table};
pub use files::{ExportFile, METHOD_VERSION, dictionary};
pub use rows::{
    AlertRow, AnswerRow, AssessmentRow, CallRow, ContributionRow, FeatureRow, PatientRow, RedFlagRow, VoiceRow,
};

use crate::alerts::{AlertKind, AlertStatus, Severity};
use crate::care::CareProfile;
use crate::facts::CallFacts;
use crate::visit::VisitRecord;
use crate::{CallId, CallRecord, Patient};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Ages from here on are one: "90 or older".
pub const OLDEST_AGE_YEARS: i64 = 90;
/// Days by which a patient's days are moved are fewer than this.
pub const MAX_SHIFT_DAYS: u16 = 365;
/// Random bytes of a pseudonym.
pub const PSEUDONYM_BYTES: usize = 10;

/// Letters of a pseudonym: 32 that are not mistaken for each other.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The name of a patient within one export.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// Made of random bytes, and of nothing else. Make new ones for each export, so that two exports cannot be joined.
    #[must_use]
    pub fn from_random(bytes: [u8; PSEUDONYM_BYTES]) -> Self {
        let mut text = String::with_capacity(1 + PSEUDONYM_BYTES * 8 / 5);
        text.push('p');
        let (mut held, mut bits) = (0_u32, 0_u32);
        for byte in bytes {
            held = (held << 8) | u32::from(byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                let letter = ALPHABET.get(((held >> bits) & 31) as usize).copied().unwrap_or(b'0');
                text.push(char::from(letter));
            }
        }
        Self(text)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A number of days to move a patient's days by, from random bits: 0 to 364.
#[must_use]
pub fn shift_days(random: u64) -> u16 {
    u16::try_from(random % u64::from(MAX_SHIFT_DAYS)).unwrap_or_default()
}

/// One patient with everything an export looks at.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The name in the export.
    pub pseudonym: Pseudonym,
    /// From [`shift_days`], one for each patient and export.
    pub shift_days: u16,
    /// The patient.
    pub patient: &'a Patient,
    /// The profile of care.
    pub profile: &'a CareProfile,
    /// When the patient was enrolled, in microseconds since the Unix epoch.
    pub enrolled_at_us: i64,
    /// The patient's calls, in any order.
    pub calls: Vec<SubjectCall<'a>>,
    /// Alerts about the patient, in any order.
    pub alerts: Vec<SubjectAlert<'a>>,
}

/// One call of a patient.
#[derive(Debug, Clone, Copy)]
pub struct SubjectCall<'a> {
    /// The call itself.
    pub record: &'a CallRecord,
    /// What it contributed; `None` when nobody was talked to.
    pub facts: Option<&'a CallFacts>,
    /// What was learned.
    pub visit: Option<&'a VisitRecord>,
    /// How it was assessed, in the form of the outer contract.
    pub assessment: Option<&'a Value>,
}

/// One alert about a patient. What it says in words is not needed, and so not asked for.
#[derive(Debug, Clone, Copy)]
pub struct SubjectAlert<'a> {
    /// The call of its latest occurrence.
    pub call_id: Option<&'a CallId>,
    /// What it is about.
    pub kind: AlertKind,
    /// Its code, where it can still be read.
    pub code: Option<&'a str>,
    /// How soon a person had to look.
    pub severity: Severity,
    /// Where it is in its life.
    pub status: AlertStatus,
    /// When it was raised, in microseconds since the Unix epoch.
    pub raised_at_us: i64,
    /// How often the matter was found.
    pub occurrences: u32,
    /// When it was taken up.
    pub acknowledged_at_us: Option<i64>,
    /// When it was resolved.
    pub resolved_at_us: Option<i64>,
}

/// How an export is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Languages and sexes that fewer patients share are not told: a cell of one person may be recognised by somebody
    /// who knows who takes part. 0 and 1 tell all.
    pub smallest_cell: usize,
    /// The year of the export, the only date in it.
    pub year: i16,
}

/// Why there is no export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeidentifyError {
    /// Two patients would be taken for one.
    #[error("two patients have the same pseudonym: make every pseudonym of fresh random bytes")]
    SamePseudonym,
    /// A shift that [`shift_days`] does not give.
    #[error("a patient's days are moved by {given}: expected 0 to 364 days, as `shift_days` gives them")]
    Shift {
        /// What was given.
        given: u16,
    },
}

/// De-identified rows. Patients stand in the order of their pseudonyms, which is random.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// One row for each patient.
    pub patients: Vec<PatientRow>,
    /// One row for each call.
    pub calls: Vec<CallRow>,
    /// One row for each question of a call.
    pub answers: Vec<AnswerRow>,
    /// One row for each red flag of a call.
    pub red_flags: Vec<RedFlagRow>,
    /// One row for each assessed call.
    pub assessments: Vec<AssessmentRow>,
    /// What the scores were made of.
    pub contributions: Vec<ContributionRow>,
    /// What a fitted model looks at.
    pub features: Vec<FeatureRow>,
    /// One row for each analysed voice task.
    pub voice: Vec<VoiceRow>,
    /// One row for each alert.
    pub alerts: Vec<AlertRow>,
    options: Options,
}

/// Builds the de-identified rows of `subjects`.
///
/// Only calls in which the patient was identified contribute answers, voice and assessments: what somebody else said on
/// the patient's telephone belongs to nobody in the export.
///
/// # Errors
/// [`DeidentifyError`] when pseudonyms or shifts are not what they have to be.
pub fn deidentify(subjects: &[Subject<'_>], options: Options) -> Result<Dataset, DeidentifyError> {
    let mut names = BTreeSet::new();
    for subject in subjects {
        if !names.insert(&subject.pseudonym) {
            return Err(DeidentifyError::SamePseudonym);
        }
        if subject.shift_days >= MAX_SHIFT_DAYS {
            return Err(DeidentifyError::Shift { given: subject.shift_days });
        }
    }
    let mut dataset = Dataset {
        patients: Vec::new(),
        calls: Vec::new(),
        answers: Vec::new(),
        red_flags: Vec::new(),
        assessments: Vec::new(),
        contributions: Vec::new(),
        features: Vec::new(),
        voice: Vec::new(),
        alerts: Vec::new(),
        options,
    };
    // The order of enrolment would tell who is who.
    let mut ordered: Vec<&Subject<'_>> = subjects.iter().collect();
    ordered.sort_by(|a, b| a.pseudonym.cmp(&b.pseudonym));
    for subject in ordered {
        let calendar = people::Calendar::of(subject);
        dataset.patients.push(people::patient(subject, &calendar));
        calls::add(&mut dataset, subject, &calendar);
    }
    people::hide_small_cells(&mut dataset.patients, options.smallest_cell);
    Ok(dataset)
}
