//! Clinical records of a monitoring call, the tools an agent may call, and the texts spoken to a caller.
//!
//! Everything here is a plain function of its input: no IO, no clock, no randomness. The crate never decides how a
//! record is stored or sent; it only says what a patient, a call and its timeline are. Read [`Patient`] and
//! [`TimelineEvent`] first.

pub mod ids;
pub mod patient;
pub mod phone;
pub mod record;
pub mod tools;
pub mod words;

pub use ids::{CallId, PatientId};
pub use patient::{NewPatient, Patient, Sex};
pub use phone::PhoneNumber;
pub use record::{CallOutcome, CallRecord, Direction, EndCause, Segment, Span, TimelineEvent, TimelineKind};
