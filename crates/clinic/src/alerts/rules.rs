//! Which finding raises which alert. The rules are tables; the functions only look them up and write what the nurse reads.
//!
//! Where a table does not know a word, the alert is raised rather than left out: a nurse who looks in vain loses a minute.

use super::{AlertKind, NewAlert, Severity};
use crate::red_flags::RedFlag;
use crate::{CallId, Degradation, DegradationKind, PatientId};

/// Bands of risk. What a nurse need not see raises nothing.
const BANDS: [(&str, Option<Severity>); 6] = [
    ("routine", None),
    ("watch", None),
    ("review", Some(Severity::Review)),
    ("not-interpretable", Some(Severity::Review)),
    ("urgent", Some(Severity::Urgent)),
    ("emergency", Some(Severity::Critical)),
];

/// Technical failures. One that stops every call goes to a person within minutes; one that a retry mends is listed.
const FAILURES: [(&str, Severity); 13] = [
    ("call_back_needed", Severity::Urgent),
    ("spool_damaged", Severity::Urgent),
    ("spool_orphaned", Severity::Urgent),
    ("emergency_words_not_spoken", Severity::Urgent),
    ("nurse_not_reached", Severity::Urgent),
    ("agent_configuration", Severity::Urgent),
    ("agent_unavailable", Severity::Urgent),
    ("audit_trail_changed", Severity::Urgent),
    ("visit_lost", Severity::Urgent),
    ("recording_failed", Severity::Review),
    ("analysis_failed", Severity::Review),
    ("call_failed", Severity::Review),
    ("call_interrupted", Severity::Info),
];

/// So many calls in a row that the patient did not take are urgent.
pub const MISSED_URGENT: u32 = 3;

/// Characters of a summary, at most. A patient's words are cut, never a code.
pub const MAX_SUMMARY_CHARS: usize = 500;
/// Reasons of a risk that are repeated in the summary.
const MAX_REASONS: usize = 3;

/// What an assessment says, as far as alerts care.
#[derive(Debug, Clone, Copy)]
pub struct RiskFinding<'a> {
    /// The patient.
    pub patient_id: &'a PatientId,
    /// The call.
    pub call_id: &'a CallId,
    /// Band, as in the outer contract.
    pub risk_band: &'a str,
    /// Score from 0 to 100; `None` when it could not be computed.
    pub overall_risk: Option<f64>,
    /// What the score is made of, weightiest first, in words.
    pub reasons: &'a [String],
    /// Red flags of the call, raised during it or found afterwards.
    pub red_flags: &'a [RedFlag],
}

/// The alerts of one red flag: to be raised the moment it is heard.
#[must_use]
pub fn red_flag(patient_id: &PatientId, call_id: &CallId, flag: &RedFlag) -> NewAlert {
    let summary = format!("Red flag {}: \"{}\"", words(&flag.code), flag.evidence.trim());
    NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: Some(call_id.clone()),
        kind: AlertKind::RedFlag,
        code: code(&flag.code),
        severity: Severity::Critical,
        summary: cut(&summary),
    }
}

/// The alerts of an assessment: every red flag (those raised during the call are known by then and tell nobody twice),
/// and the risk itself. A risk that is an emergency only by its red flags is told by them.
#[must_use]
pub fn assessment(finding: &RiskFinding<'_>) -> Vec<NewAlert> {
    let flags = finding.red_flags.iter().map(|flag| red_flag(finding.patient_id, finding.call_id, flag));
    let mut alerts: Vec<NewAlert> = flags.collect();
    let severity = match BANDS.iter().find(|(band, _)| *band == finding.risk_band) {
        Some((_, severity)) => *severity,
        None => Some(Severity::Review),
    };
    let told_by_flags = severity == Some(Severity::Critical) && !alerts.is_empty();
    let Some(severity) = severity.filter(|_| !told_by_flags) else { return alerts };
    let mut summary = match finding.overall_risk {
        Some(score) => format!("Risk {}: {score:.0} of 100", words(finding.risk_band)),
        None => format!("Risk {}", words(finding.risk_band)),
    };
    let reasons: Vec<&str> = finding.reasons.iter().take(MAX_REASONS).map(String::as_str).collect();
    if !reasons.is_empty() {
        summary = format!("{summary}; {}", reasons.join("; "));
    }
    alerts.push(NewAlert {
        patient_id: Some(finding.patient_id.clone()),
        call_id: Some(finding.call_id.clone()),
        kind: AlertKind::Risk,
        code: code(finding.risk_band),
        severity,
        summary: cut(&summary),
    });
    alerts
}

/// The patient did not take a scheduled call, for the `in_a_row`th time (from 1), after all its attempts.
#[must_use]
pub fn missed_call(patient_id: &PatientId, call_id: Option<&CallId>, in_a_row: u32) -> NewAlert {
    let severity = if in_a_row >= MISSED_URGENT { Severity::Urgent } else { Severity::Review };
    let summary = match in_a_row {
        0 | 1 => "Could not be reached for the scheduled call".to_owned(),
        count => format!("Could not be reached for {count} scheduled calls in a row"),
    };
    NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: call_id.cloned(),
        kind: AlertKind::MissedCall,
        code: "missed_call".to_owned(),
        severity,
        summary,
    }
}

/// Something of ours failed. `patient_id` only where the patient has to be called again because of it.
#[must_use]
pub fn technical(patient_id: Option<&PatientId>, call_id: Option<&CallId>, failure: &str) -> NewAlert {
    let known = FAILURES.iter().find(|(code, _)| *code == failure);
    NewAlert {
        patient_id: patient_id.cloned(),
        call_id: call_id.cloned(),
        kind: AlertKind::Technical,
        code: code(failure),
        severity: known.map_or(Severity::Review, |(_, severity)| *severity),
        summary: cut(&format!("Technical failure: {}", words(failure))),
    }
}

/// What staff have to know of a call that a technical failure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TechnicalFailure<'a> {
    /// What gave way.
    pub kind: DegradationKind,
    /// How soon a person has to look.
    pub severity: Severity,
    /// What was lost, in words without PHI.
    pub lost: &'a str,
    /// What was done about it, in words without PHI.
    pub done: &'a str,
}

/// A technical failure ended this call. Told again of the same call, after a retry or a crash, it counts once.
#[must_use]
pub fn technical_call(patient_id: &PatientId, call_id: &CallId, failure: &TechnicalFailure<'_>) -> NewAlert {
    let TechnicalFailure { kind, severity, lost, done } = *failure;
    let summary = format!("The call ended for a technical reason ({}). Lost: {lost}. Done: {done}.", kind.as_str());
    NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: Some(call_id.clone()),
        kind: AlertKind::Technical,
        code: "call_failed".to_owned(),
        severity,
        summary: cut(&summary),
    }
}

/// Something of ours failed in a call that went on all the same: one alert for the call, as grave as the worst of it.
/// `None` when nothing failed.
#[must_use]
pub fn degraded_call(patient_id: &PatientId, call_id: &CallId, degradations: &[Degradation]) -> Option<NewAlert> {
    let severity = degradations.iter().map(|known| known.severity).max()?;
    let told =
        degradations.iter().map(|known| format!("{}: {} (lost: {})", known.kind.as_str(), known.done, known.lost));
    let told: Vec<String> = told.collect();
    Some(NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: Some(call_id.clone()),
        kind: AlertKind::Technical,
        code: "call_degraded".to_owned(),
        severity,
        summary: cut(&format!("The call went on in spite of a technical failure. {}", told.join("; "))),
    })
}

/// A patient whose call broke off for a technical reason was not reached again: somebody has to telephone.
#[must_use]
pub fn call_back_needed(patient_id: &PatientId, call_id: Option<&CallId>) -> NewAlert {
    NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: call_id.cloned(),
        kind: AlertKind::Technical,
        code: "call_back_needed".to_owned(),
        severity: Severity::Urgent,
        summary: "A check-in call broke off for a technical reason and could not be made up for: please telephone the \
                  patient"
            .to_owned(),
    }
}

/// Somebody answered and could not be shown to be the patient.
#[must_use]
pub fn not_identified(patient_id: &PatientId, call_id: &CallId) -> NewAlert {
    NewAlert {
        patient_id: Some(patient_id.clone()),
        call_id: Some(call_id.clone()),
        kind: AlertKind::NotIdentified,
        code: "not_identified".to_owned(),
        severity: Severity::Review,
        summary: "Whoever answered the call could not be shown to be the patient".to_owned(),
    }
}

/// A code as the store and the interface take it: short, of plain characters.
fn code(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
    let code: String = text.chars().take(64).map(plain).collect();
    if code.is_empty() { "unknown".to_owned() } else { code }
}

/// A code in words.
fn words(code: &str) -> String {
    code.replace('_', " ")
}

fn cut(text: &str) -> String {
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= MAX_SUMMARY_CHARS {
        return text.chars().map(one_line).collect();
    }
    text.chars().take(MAX_SUMMARY_CHARS - 1).map(one_line).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn patient() -> PatientId {
        PatientId::parse("p-1").unwrap()
    }

    fn call() -> CallId {
        CallId::parse("c-1").unwrap()
    }

    fn flag(code: &str) -> RedFlag {
        RedFlag { code: code.into(), evidence: "my chest hurts".into() }
    }

    fn assess(band: &str, score: Option<f64>, red_flags: &[RedFlag]) -> Vec<NewAlert> {
        let reasons = ["+2.3 kg in 5 days".to_owned(), "breathless at rest".into(), "a".into(), "b".into()];
        let (patient_id, call_id) = (&patient(), &call());
        assessment(&RiskFinding {
            patient_id,
            call_id,
            risk_band: band,
            overall_risk: score,
            reasons: &reasons,
            red_flags,
        })
    }

    #[test]
    fn each_band_of_the_contract_has_its_alert() {
        for (band, expected) in [
            ("routine", None),
            ("watch", None),
            ("review", Some(Severity::Review)),
            ("urgent", Some(Severity::Urgent)),
            ("emergency", Some(Severity::Critical)),
            ("not-interpretable", Some(Severity::Review)),
            ("a band of a later version", Some(Severity::Review)),
        ] {
            assert_eq!(assess(band, Some(61.4), &[]).first().map(|alert| alert.severity), expected, "{band}");
        }
    }

    #[test]
    fn the_summary_says_score_and_weightiest_reasons() {
        let urgent = assess("urgent", Some(61.4), &[]);
        assert_eq!(urgent[0].summary, "Risk urgent: 61 of 100; +2.3 kg in 5 days; breathless at rest; a");
        assert_eq!(assess("not-interpretable", None, &[])[0].summary.split(';').next(), Some("Risk not-interpretable"));
    }

    #[test]
    fn red_flags_are_critical_and_tell_the_emergency_themselves() {
        let alerts = assess("emergency", Some(90.0), &[flag("chest_pain"), flag("syncope")]);
        let seen: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.code.as_str(), alert.severity)).collect();
        assert_eq!(
            seen,
            [
                (AlertKind::RedFlag, "chest_pain", Severity::Critical),
                (AlertKind::RedFlag, "syncope", Severity::Critical)
            ]
        );
        assert_eq!(alerts[0].summary, "Red flag chest pain: \"my chest hurts\"");
        // A risk beside a red flag that is not an emergency by itself is still told.
        assert_eq!(assess("urgent", Some(60.0), &[flag("chest_pain")]).len(), 2);
    }

    #[test]
    fn missed_calls_become_urgent() {
        let severities: Vec<Severity> = (1..=4).map(|n| missed_call(&patient(), None, n).severity).collect();
        assert_eq!(severities, [Severity::Review, Severity::Review, Severity::Urgent, Severity::Urgent]);
        assert!(missed_call(&patient(), None, 3).summary.contains("3 scheduled calls"));
    }

    #[test]
    fn what_stops_every_call_goes_to_the_operator() {
        assert_eq!(technical(None, None, "agent_configuration").severity, Severity::Urgent);
        assert_eq!(technical(None, None, "call_interrupted").severity, Severity::Info);
        assert_eq!(technical(None, None, "something new").severity, Severity::Review);
        assert_eq!(technical(None, None, "something new").code, "something_new");
    }

    #[test]
    fn a_call_that_failed_says_what_was_lost_and_done() {
        let failure = TechnicalFailure {
            kind: DegradationKind::Crash,
            severity: Severity::Review,
            lost: "less than a second of sound",
            done: "the patient will be called again",
        };
        let alert = technical_call(&patient(), &call(), &failure);
        assert_eq!(
            (alert.kind, alert.topic(), alert.severity),
            (AlertKind::Technical, "call_failed", Severity::Review)
        );
        assert_eq!(
            alert.summary,
            "The call ended for a technical reason (crash). Lost: less than a second of sound. \
             Done: the patient will be called again."
        );
        assert_eq!(call_back_needed(&patient(), None).severity, Severity::Urgent);
    }

    #[test]
    fn a_call_that_went_on_in_spite_of_failures_is_told_once_as_grave_as_the_worst() {
        let gave_way = |severity, done: &str| Degradation::new(DegradationKind::Agent, severity, 5, "nothing", done);
        let both = [gave_way(Severity::Info, "opened anew"), gave_way(Severity::Review, "the script took over")];
        let alert = degraded_call(&patient(), &call(), &both).unwrap();
        assert_eq!((alert.topic(), alert.severity), ("call_degraded", Severity::Review));
        assert!(alert.summary.contains("opened anew") && alert.summary.contains("the script took over"));
        assert_eq!(degraded_call(&patient(), &call(), &[]), None);
    }

    #[test]
    fn a_long_tale_is_cut_and_stays_on_one_line() {
        let tale = RedFlag { code: "chest_pain".into(), evidence: "ä\n".repeat(1_000) };
        let summary = red_flag(&patient(), &call(), &tale).summary;
        assert_eq!(summary.chars().count(), MAX_SUMMARY_CHARS);
        assert!(summary.ends_with('…') && !summary.contains('\n'));
    }
}
