//! The clinical side of a monitoring call: protocol, visit, answers, red flags, risk, trends, alerts, schedules, records.
//!
//! Everything here is a plain function of its input: no IO, no clock, no randomness. The crate never decides how a
//! record is stored or sent; it only says what a patient, a call and its timeline are. Read [`Patient`] and
//! [`TimelineEvent`] first.

pub mod access;
pub mod agent;
pub mod alerts;
pub mod answers;
pub mod care;
pub mod degradation;
pub mod deidentify;
pub mod facts;
pub mod fallback;
pub mod fhir;
pub mod identity;
pub mod ids;
pub mod patient;
pub mod patient_copy;
pub mod phone;
pub mod protocol;
pub mod record;
pub mod red_flags;
pub mod risk;
pub mod schedule;
pub mod tools;
pub mod training;
pub mod trends;
pub mod visit;
pub mod words;

pub use degradation::{Degradation, DegradationKind};
pub use ids::{
    AlertId, AttemptId, CallId, DeliveryId, GlassBreakId, PatientId, PlannedCallId, ScheduleId, SessionId, TokenId,
    UserId,
};
pub use patient::{NewPatient, Patient, Sex};
pub use phone::PhoneNumber;
pub use record::{
    AudioQuality, CallOutcome, CallRecord, Direction, EndCause, Segment, Span, TimelineEvent, TimelineKind,
};
