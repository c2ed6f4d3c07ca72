//! FHIR R4 (4.0.1) forms of what is stored, as plain JSON.

pub mod audit_event;

pub use audit_event::{AuditFacts, AuditOutcome, AuditSource, audit_event, audit_events_ndjson};
