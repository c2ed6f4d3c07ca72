//! What is said to a caller, or told to an agent, outside of the agent's own words.

use crate::Patient;

/// Spoken to a caller whose number belongs to no patient, before hanging up. Says nothing about anybody.
pub const UNKNOWN_CALLER: &str = "Thank you for calling the automated check-in line. \
    We could not match your phone number to a patient. \
    Please call your clinic directly. If this is an emergency, hang up and call your local emergency number. Goodbye.";

/// Spoken when the check-in cannot go on for a technical reason.
pub const TECHNICAL_APOLOGY: &str = "We are sorry, the automated check-in cannot continue right now. \
    Your care team will be told. If you feel worse, or this is an emergency, please call your clinic or your local \
    emergency number. Goodbye.";

/// Spoken when all lines are taken.
pub const ALL_LINES_BUSY: &str = "We are sorry, all lines of the automated check-in are busy. \
    Please call again in a few minutes. If this is an emergency, hang up and call your local emergency number. Goodbye.";

/// Spoken when a check-in cannot begin because something of ours does not work, to somebody who called us.
pub const CALL_BACK_LATER: &str = "We are sorry, the automated check-in is not available right now. \
    If you are one of our patients, we will call you back. If this is an emergency, hang up and call your local emergency \
    number. Goodbye.";

/// Sent to a patient whose call broke off: neutral, because others may read it.
pub const CALL_BACK_TEXT: &str = "Your clinic's check-in call was interrupted. We will call again. \
    In an emergency call your local emergency number.";

/// Left on an answering machine, and said to whoever answers a call of ours that cannot be held: anybody may hear it, so
/// it names neither a patient nor who calls nor why.
pub const NEUTRAL_MESSAGE: &str = "Hello. This is an automated call. Nobody needs to call back: \
    we will try again at another time. Goodbye.";

/// The variables an agent needs to speak with this patient: names and values, nothing it does not need.
#[must_use]
pub fn dynamic_variables(patient: &Patient, call_id: &crate::CallId) -> Vec<(&'static str, String)> {
    vec![
        ("patient_name", patient.given_name().to_owned()),
        ("language", patient.details.language.clone()),
        ("call_ref", call_id.to_string()),
    ]
}
