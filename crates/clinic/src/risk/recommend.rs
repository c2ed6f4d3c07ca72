//! What to do, looked up from the band and what drove it.
//!
//! Every sentence stands in this file. None changes a dose, none names a diagnosis.

use super::assessment::{Note, RiskBand};

/// What is known of a call when its recommendations are looked up.
pub(super) struct Situation<'a> {
    pub(super) band: RiskBand,
    pub(super) identified: bool,
    /// Codes of what contributed to the overall risk.
    pub(super) factors: &'a [&'a str],
    pub(super) weight_open: bool,
    pub(super) questions_open: bool,
    pub(super) conflicts: bool,
    pub(super) weight_doubtful: bool,
    pub(super) voice_missing: bool,
    /// A rise by the voice alone that has not held long enough.
    pub(super) unconfirmed: bool,
    /// The open questions decide over the band.
    pub(super) interval_crosses: bool,
}

pub(super) fn recommendations(s: &Situation<'_>) -> Vec<Note> {
    let has = |factor: &str| s.factors.contains(&factor);
    let concern = s.band >= RiskBand::Watch;
    let voice = has("voice_change") || has("voice_shift_lasting");
    let mut notes = vec![for_band(s)];
    let mut add = |when: bool, code, text| {
        if when {
            notes.push(Note { code, text });
        }
    };
    add(
        has("dyspnea_at_rest") && s.band < RiskBand::Emergency,
        "assess_breathlessness_now",
        "Breathless at rest: a clinician should speak with the patient before anything else.",
    );
    add(
        has("weight_gain"),
        "weigh_tomorrow",
        "Ask the patient to weigh tomorrow morning after getting up, and to call if it is up another 1 kg.",
    );
    add(
        s.weight_open && s.identified,
        "obtain_weight",
        "No weight was given: ask for it, and whether there is a scale at home.",
    );
    add(s.weight_doubtful, "check_weight", "The weight does not fit earlier ones: ask again, with the unit.");
    add(
        has("missed_medication"),
        "ask_about_medicines",
        "Doses were missed: ask what stood in the way; changes are for the treating clinician.",
    );
    add(
        has("dizziness"),
        "ask_about_dizziness",
        "Dizziness: ask about falls, standing up and home blood pressure readings.",
    );
    add(
        concern && voice,
        "check_voice_change",
        "The voice has changed: ask about breath, and about a cold, a new telephone or new dentures, which do the same.",
    );
    add(s.unconfirmed, "confirm_by_next_call", "Only the voice rose, and not for long enough: the next call decides.");
    add(
        s.interval_crosses && s.questions_open,
        "ask_open_questions",
        "The open questions decide how urgent this is: ask them.",
    );
    add(s.conflicts, "clarify_answers", "Sources disagree about an answer: listen to the call or ask again.");
    add(
        s.voice_missing && s.identified && s.band < RiskBand::Emergency,
        "repeat_voice_tasks",
        "No usable voice: repeat the voice tasks in a quiet room, with the handset at the ear.",
    );
    notes
}

fn for_band(s: &Situation<'_>) -> Note {
    let (code, text) = match s.band {
        RiskBand::Emergency => (
            "emergency_procedure",
            "A sign of an emergency was reported: follow the site's emergency procedure and reach the patient now.",
        ),
        RiskBand::Urgent => ("nurse_call_now", "Nurse or clinician call now; do not wait for the next planned call."),
        RiskBand::Review => ("nurse_call_today", "Nurse or clinician call today."),
        RiskBand::Watch => ("call_again_48h", "Call again in 24 to 48 hours."),
        RiskBand::Routine => ("continue_plan", "Next call as planned."),
        RiskBand::NotInterpretable if !s.identified => {
            ("confirm_identity", "The patient was not identified: call again and confirm who is speaking.")
        }
        RiskBand::NotInterpretable => (
            "call_again",
            "Neither answers nor a usable voice: call again; this says nothing about the patient's state.",
        ),
    };
    Note { code, text }
}
