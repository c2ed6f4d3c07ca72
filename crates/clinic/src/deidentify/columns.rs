//! The dictionary: every table and column of an export, what it holds and what was done to it.
//!
//! Files are written by these lists. A value without a column here does not reach a file.

use super::measures::{ALLOWED, Rounding};

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word of a fixed list, a pseudonym or a version.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Kind {
    /// The name in the dictionary.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Unit; empty for words and counts.
    pub unit: &'static str,
    /// What it holds.
    pub meaning: &'static str,
    /// What was done to the values.
    pub treatment: String,
}

/// A table of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Patients.
    Patients,
    /// Calls.
    Calls,
    /// Answers.
    Answers,
    /// Red flags.
    RedFlags,
    /// Assessments.
    Assessments,
    /// Parts of scores.
    Contributions,
    /// Inputs of fitted models.
    Features,
    /// Voice tasks.
    Voice,
    /// Alerts.
    Alerts,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 9] = [
        Self::Patients,
        Self::Calls,
        Self::Answers,
        Self::RedFlags,
        Self::Assessments,
        Self::Contributions,
        Self::Features,
        Self::Voice,
        Self::Alerts,
    ];

    /// The name of its files, without the ending.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patients => "patients",
            Self::Calls => "calls",
            Self::Answers => "answers",
            Self::RedFlags => "red_flags",
            Self::Assessments => "assessments",
            Self::Contributions => "contributions",
            Self::Features => "features",
            Self::Voice => "voice",
            Self::Alerts => "alerts",
        }
    }

    /// Its columns, in order.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        let fixed: &[Fixed] = match self {
            Self::Patients => &PATIENTS,
            Self::Calls => &CALLS,
            Self::Answers => &ANSWERS,
            Self::RedFlags => &RED_FLAGS,
            Self::Assessments => &ASSESSMENTS,
            Self::Contributions => &CONTRIBUTIONS,
            Self::Features => &FEATURES,
            Self::Voice => &VOICE,
            Self::Alerts => &ALERTS,
        };
        let fixed = fixed.iter().map(|&(name, kind, unit, meaning, treatment)| Column {
            name,
            kind,
            unit,
            meaning,
            treatment: treatment.to_owned(),
        });
        let measures = ALLOWED.iter().filter(|_| self == Self::Voice).map(|measure| Column {
            name: measure.name,
            kind: if measure.rounding == Rounding::Count { Kind::Integer } else { Kind::Number },
            unit: measure.unit,
            meaning: measure.meaning,
            treatment: match measure.rounding {
                Rounding::Step(step) => format!("rounded to {step} {}", measure.unit),
                Rounding::ThreeDigits => "rounded to three digits".to_owned(),
                Rounding::Count => String::new(),
            },
        });
        fixed.chain(measures).collect()
    }
}

type Fixed = (&'static str, Kind, &'static str, &'static str, &'static str);

use Kind::{Boolean, Integer, Number, Text};

const PATIENT: Fixed = ("patient", Text, "", "pseudonym", "random, made for this export only");
const CALL: Fixed =
    ("call", Integer, "", "number of the call among the patient's", "counted from 1; replaces every identifier");
const DAYS: &str = "moved by a random number of days, one for each patient; only differences mean anything";
const LISTED: &str = "a word of a fixed list, else other or empty";
const TENTH: &str = "rounded to 0.1";

const PATIENTS: [Fixed; 7] = [
    PATIENT,
    (
        "age_years",
        Integer,
        "years",
        "age at enrolment",
        "90 means 90 or older, at enrolment or by the last date in the export",
    ),
    ("sex", Text, "", "sex as recorded: female, male, other", "empty where too few patients share it"),
    ("language", Text, "", "language of the patient", "other where too few patients share it"),
    (
        "dry_weight_kg",
        Number,
        "kg",
        "weight without congestion",
        "rounded to 1 kg; 40 means 40 or less, 160 means 160 or more",
    ),
    ("discharged_day", Integer, "d", "day of the last discharge from hospital", DAYS),
    ("calls", Integer, "", "number of calls", ""),
];

const CALLS: [Fixed; 16] = [
    PATIENT,
    CALL,
    ("day", Integer, "d", "days from enrolment to the call, on the patient's calendar", DAYS),
    (
        "time_of_day",
        Text,
        "",
        "night, morning, afternoon, evening: quarters of the local day from midnight on",
        "clock time left out",
    ),
    ("direction", Text, "", "inbound: the patient called", ""),
    ("outcome", Text, "", "how the call ended up", ""),
    ("duration_s", Number, "s", "length of the call", "rounded to 10 s"),
    ("turns", Integer, "", "replies the agent began to speak", ""),
    ("interruptions", Integer, "", "times the patient talked over the agent", ""),
    (
        "identified",
        Boolean,
        "",
        "whether the patient proved who they are; otherwise nothing more of the call is here",
        "",
    ),
    ("recording_consent", Boolean, "", "whether recording was agreed to", ""),
    ("complete", Boolean, "", "whether every applicable item was gone through", ""),
    ("transferred", Boolean, "", "whether the patient was connected with the nurse", ""),
    ("emergency_words_spoken", Boolean, "", "whether the words of a red flag were spoken to the end", ""),
    ("dry_confirmed", Boolean, "", "whether a clinician confirmed that the patient was free of congestion", ""),
    ("alert_open", Boolean, "", "whether an alert was open when the call ended", ""),
];

const ANSWERS: [Fixed; 11] = [
    PATIENT,
    CALL,
    ("topic", Text, "", "what the question is about", ""),
    ("answered", Boolean, "", "whether there is an answer", ""),
    ("choice", Text, "", "the answer, for topics with a list of answers", "answers in own words left out"),
    ("yes", Boolean, "", "the answer, for questions answered by yes or no", ""),
    ("weight_kg", Number, "kg", "weight as the patient says", TENTH),
    ("weight_change_kg", Number, "kg", "change of weight as the patient says; positive is gain", TENTH),
    ("change_days", Integer, "d", "days over which the weight changed", ""),
    ("source", Text, "", "dtmf, agent_tool, transcript or post_call", ""),
    ("conflicts", Integer, "", "other sources that say something else", ""),
];

const RED_FLAGS: [Fixed; 4] = [
    PATIENT,
    CALL,
    ("code", Text, "", "which emergency the words mean", LISTED),
    ("noticed_by", Text, "", "transcript, agent_tool, answer, keys, post_call", LISTED),
];

const ASSESSMENTS: [Fixed; 13] = [
    PATIENT,
    CALL,
    ("model_version", Text, "", "version of the risk model", "only where it has the form 1.2.3"),
    ("overall_risk", Number, "", "0 to 100; not a probability", TENTH),
    ("risk_low", Number, "", "the score if every open question were answered no", TENTH),
    ("risk_high", Number, "", "the score if every open question were answered yes", TENTH),
    ("risk_band", Text, "", "not-interpretable, routine, watch, review, urgent, emergency", ""),
    ("fluid_retention_risk", Number, "", "0 to 100", TENTH),
    ("breathlessness_score", Number, "", "0 to 100", TENTH),
    ("speech_effort_score", Number, "", "0 to 100", TENTH),
    ("confidence", Text, "", "low, medium, high", ""),
    ("baseline_calls", Integer, "", "calls in the patient's own baseline", ""),
    ("baseline_state", Text, "", "none, forming, established", ""),
];

const CONTRIBUTIONS: [Fixed; 5] = [
    PATIENT,
    CALL,
    ("score", Text, "", "overall, fluid_retention, breathlessness, speech_effort", ""),
    ("factor", Text, "", "what contributed", LISTED),
    ("points", Number, "", "how many points", TENTH),
];

const FEATURES: [Fixed; 4] = [
    PATIENT,
    CALL,
    ("feature", Text, "", "input of a fitted model, as the model card names them", "z_f0_median_hz left out"),
    ("value", Number, "", "its value", "rounded to three digits"),
];

const VOICE: [Fixed; 14] = [
    PATIENT,
    CALL,
    ("segment", Integer, "", "number of the voice task within the call", "counted from 1"),
    ("task", Text, "", "speech, counting, sustained-vowel", ""),
    ("attempt", Integer, "", "number of the attempt at it", ""),
    ("usable", Boolean, "", "whether the quality gates passed", ""),
    ("engine_version", Text, "", "version of the voice analysis", "only where it has the form 1.2.3"),
    ("channel", Text, "", "telephone, wideband", ""),
    ("sample_rate_hz", Integer, "Hz", "rate of the audio", ""),
    ("duration_s", Number, "s", "length of the analysed span", TENTH),
    ("voiced_s", Number, "s", "voiced time in it", TENTH),
    ("snr_db", Number, "dB", "level of the voice over the background", "rounded to three digits"),
    ("clipped_fraction", Number, "1", "share of samples at full scale", "rounded to three digits"),
    ("quality_reasons", Text, "", "codes of what was wrong or doubtful, with blanks between", LISTED),
];

const ALERTS: [Fixed; 10] = [
    PATIENT,
    CALL,
    ("day", Integer, "d", "day on which it was raised", DAYS),
    ("kind", Text, "", "red_flag, risk, missed_call, technical, not_identified", ""),
    ("code", Text, "", "the red flag, for alerts about one", LISTED),
    ("severity", Text, "", "info, review, urgent, critical", ""),
    ("status", Text, "", "open, acknowledged, resolved", ""),
    ("occurrences", Integer, "", "how often the matter was found", ""),
    ("acknowledged_after_min", Integer, "min", "minutes until somebody took it up", "whole minutes"),
    ("resolved_after_min", Integer, "min", "minutes until it was resolved", "whole minutes"),
];
