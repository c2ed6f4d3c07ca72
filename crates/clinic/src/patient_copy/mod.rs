//! A patient's own copy of everything that is kept about them (45 CFR 164.524), with the list of who saw it (164.528).
//!
//! [`PatientRecord`] holds the parts, as they are stored. [`PatientRecord::to_json`] is the complete copy for programs,
//! [`PatientRecord::to_html`] the same for reading and printing, in English or Spanish, in one file that loads nothing from
//! anywhere. Recordings are files beside the two; whoever writes them names them in [`CallCopy::audio_files`].
//!
//! The PIN is left out of both: it opens the telephone line to whoever finds the paper. All else is there.

mod html;
mod texts;
mod writer;

#[cfg(test)]
mod tests;

use crate::alerts::{AlertKind, AlertStatus, Severity};
use crate::care::CareProfile;
use crate::schedule::Schedule;
use crate::visit::VisitRecord;
use crate::{AlertId, CallRecord, Patient, Segment};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The form of `record.json`; changes when something in it changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything kept about one patient. PHI.
#[derive(Clone)]
pub struct PatientRecord {
    /// When the copy was made, in microseconds since the Unix epoch.
    pub prepared_at_us: i64,
    /// The registry's details.
    pub patient: Patient,
    /// The profile of care.
    pub profile: CareProfile,
    /// Calls, in any order.
    pub calls: Vec<CallCopy>,
    /// Alerts about the patient.
    pub alerts: Vec<AlertCopy>,
    /// When the patient is telephoned.
    pub schedules: Vec<Schedule>,
    /// What the patient agreed to, and did not.
    pub consents: Vec<ConsentCopy>,
    /// Who saw the record, and to whom it was given.
    pub disclosures: Vec<Disclosure>,
}

impl std::fmt::Debug for PatientRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PatientRecord(redacted)")
    }
}

/// One call. PHI.
#[derive(Clone)]
pub struct CallCopy {
    /// The call.
    pub record: CallRecord,
    /// What was said.
    pub transcript: Vec<SaidTurn>,
    /// What was learned.
    pub visit: Option<VisitRecord>,
    /// How it was assessed, in the form of the outer contract.
    pub assessment: Option<Value>,
    /// What was measured.
    pub segments: Vec<Segment>,
    /// Names of the recordings beside the copy.
    pub audio_files: Vec<String>,
}

/// Something one of the two said. PHI.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SaidTurn {
    /// Seconds since the call began.
    pub at_s: f64,
    /// Whether the automated voice said it, and not the patient.
    pub is_agent: bool,
    /// The words.
    pub text: String,
}

/// An alert about the patient. PHI.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertCopy {
    /// Opaque identifier.
    pub id: AlertId,
    /// What it was about.
    pub kind: AlertKind,
    /// Its code.
    pub code: Option<String>,
    /// How soon a person had to look.
    pub severity: Severity,
    /// Where it is in its life.
    pub status: AlertStatus,
    /// What the nurse read.
    pub summary: Option<String>,
    /// When it was raised, in microseconds since the Unix epoch.
    pub raised_at_us: i64,
    /// When it was taken up.
    pub acknowledged_at_us: Option<i64>,
    /// What was noted then.
    pub acknowledged_note: Option<String>,
    /// When it was resolved.
    pub resolved_at_us: Option<i64>,
    /// What was noted then.
    pub resolved_note: Option<String>,
}

/// What the patient was asked to agree to.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsentCopy {
    /// To what, such as `recording`.
    pub purpose: String,
    /// The answer.
    pub given: bool,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
}

/// An access to the record.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Disclosure {
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// Who: the name of the person or of the program, as the clinic gives it to patients.
    pub who: String,
    /// In which role.
    pub role: Option<String>,
    /// What was done, such as `call.read`.
    pub action: String,
    /// What for, where a reason was given.
    pub reason: Option<String>,
}

/// Language of the readable copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyLanguage {
    /// English.
    English,
    /// Spanish.
    Spanish,
}

impl CopyLanguage {
    /// The language for a patient's language code: Spanish where the patient speaks it, English otherwise.
    #[must_use]
    pub fn of(code: &str) -> Self {
        if code == "es" || code.starts_with("es-") { Self::Spanish } else { Self::English }
    }
}

/// A time as programs read it; `None` for what is no time.
fn time(at_us: i64) -> Option<String> {
    Timestamp::from_microsecond(at_us).ok().map(|at| at.to_string())
}

impl PatientRecord {
    /// Calls from the first to the last.
    fn calls_in_order(&self) -> Vec<&CallCopy> {
        let mut calls: Vec<&CallCopy> = self.calls.iter().collect();
        calls.sort_by(|a, b| (a.record.started_at_us, &a.record.id).cmp(&(b.record.started_at_us, &b.record.id)));
        calls
    }

    /// The copy for programs. Times are RFC 3339 in UTC; the rest has the names of the programming interface.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let details = &self.patient.details;
        let calls: Vec<Value> = self.calls_in_order().into_iter().map(call_json).collect();
        let alerts: Vec<Value> = self
            .alerts
            .iter()
            .map(|alert| {
                json!({
                    "id": alert.id,
                    "kind": alert.kind,
                    "code": alert.code,
                    "severity": alert.severity,
                    "status": alert.status,
                    "summary": alert.summary,
                    "raised_at": time(alert.raised_at_us),
                    "acknowledged_at": alert.acknowledged_at_us.and_then(time),
                    "acknowledged_note": alert.acknowledged_note,
                    "resolved_at": alert.resolved_at_us.and_then(time),
                    "resolved_note": alert.resolved_note,
                })
            })
            .collect();
        let consents = self.consents.iter();
        let disclosures = self.disclosures.iter();
        json!({
            "schema": "heartvoice-patient-record",
            "schema_version": SCHEMA_VERSION,
            "program_version": env!("CARGO_PKG_VERSION"),
            "prepared_at": time(self.prepared_at_us),
            "notice": texts::ENGLISH.not_a_diagnosis,
            "patient": {
                "id": self.patient.id,
                "external_id": details.external_id,
                "name": details.name,
                "phone": details.phone,
                "birth_date": details.birth_date,
                "sex": details.sex,
                "language": details.language,
                "timezone": details.timezone,
            },
            "profile": self.profile.to_json(),
            "calls": calls,
            "alerts": alerts,
            "schedules": self.schedules,
            "consents": consents
                .map(|c| json!({"purpose": c.purpose, "given": c.given, "at": time(c.at_us)}))
                .collect::<Vec<_>>(),
            "disclosures": disclosures
                .map(|d| {
                    json!({"at": time(d.at_us), "who": d.who, "role": d.role, "action": d.action, "reason": d.reason})
                })
                .collect::<Vec<_>>(),
        })
    }

    /// The copy for reading and printing.
    #[must_use]
    pub fn to_html(&self, language: CopyLanguage) -> String {
        html::page(self, language)
    }
}

fn call_json(call: &CallCopy) -> Value {
    let record = &call.record;
    let transcript: Vec<Value> = call
        .transcript
        .iter()
        .map(|turn| {
            let role = if turn.is_agent { "agent" } else { "patient" };
            json!({"at_s": turn.at_s, "role": role, "text": turn.text})
        })
        .collect();
    json!({
        "id": record.id,
        "direction": record.direction,
        "outcome": record.outcome,
        "end_cause": record.end_cause,
        "started_at": time(record.started_at_us),
        "ended_at": record.ended_at_us.and_then(time),
        "agents": record.agents,
        "turns": record.turns,
        "interruptions": record.interruptions,
        "transcript": transcript,
        "visit": call.visit,
        "assessment": call.assessment,
        "biomarkers": call.segments,
        "audio_files": call.audio_files,
    })
}
