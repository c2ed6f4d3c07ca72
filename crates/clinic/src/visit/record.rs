//! What is known after a visit.

use super::{RaisedFlag, Visit};
use crate::answers::{Answer, Source, Sourced};
use crate::facts::{CallFacts, TaskFacts};
use crate::protocol::{Protocol, name_of};
use crate::record::Segment;
use crate::red_flags::RedFlag;
use crate::{CallId, CallOutcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who was on the line, as far as could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityStatus {
    /// The patient proved who they are.
    Identified,
    /// Nobody did.
    NotIdentified,
    /// Somebody else.
    WrongPerson,
    /// A machine.
    Voicemail,
}

/// How the patient was identified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// What came of it.
    pub status: IdentityStatus,
    /// `spoken`, `dtmf` or `agent_tool`, when identified.
    pub how: Option<String>,
    /// Attempts that did not match.
    pub failed_attempts: u32,
}

/// One attempt at a voice task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The protocol's item; `None` for a task the protocol does not have.
    pub item: Option<String>,
    /// `speech`, `counting` or `sustained-vowel`.
    pub task: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Number of the analysed segment.
    pub segment: Option<u32>,
    /// Whether the quality gates passed, once known.
    pub usable: Option<bool>,
}

/// What was learned in a visit. PHI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisitRecord {
    /// Name of the protocol.
    pub protocol: String,
    /// Its version.
    pub protocol_version: String,
    /// Languages spoken, in order.
    pub languages: Vec<String>,
    /// Who was on the line.
    pub identity: IdentityRecord,
    /// Whether recording was agreed to; `None` when it was not asked.
    pub recording_consent: Option<bool>,
    /// Every question that applied, answered or not.
    pub answers: Vec<Answer>,
    /// Attempts at voice tasks.
    pub tasks: Vec<TaskRecord>,
    /// Red flags.
    pub red_flags: Vec<RaisedFlag>,
    /// Whether the agent spoke the words of the red flags, with the number to call, and was not cut short; `None`
    /// without red flags. Where it is false, the patient may have been left without advice.
    #[serde(default)]
    pub emergency_words_spoken: Option<bool>,
    /// Whether the patient was connected with the nurse; `None` when it did not come to that.
    pub transferred: Option<bool>,
    /// Every applicable item was done or left unanswered after being asked.
    pub complete: bool,
    /// What gave way around the call, in the order in which it did.
    #[serde(default)]
    pub degradations: Vec<crate::Degradation>,
}

pub(super) fn of(visit: &Visit) -> VisitRecord {
    // A follow-up that was answered stays, even where the answer it followed was corrected later.
    let answered = |index: usize| visit.items.get(index).is_some_and(|state| !state.values.is_empty());
    let applicable =
        visit.protocol.items.iter().enumerate().filter(|(index, item)| visit.applies(item) || answered(*index));
    VisitRecord {
        protocol: visit.protocol.name.clone(),
        protocol_version: visit.protocol.version.clone(),
        languages: visit.languages.clone(),
        identity: IdentityRecord {
            status: visit.identification.status,
            how: visit.identification.how.map(str::to_owned),
            failed_attempts: visit.identification.attempts(),
        },
        recording_consent: visit.consent,
        answers: applicable.filter_map(|(index, _)| visit.answer(index)).collect(),
        tasks: visit.tasks.clone(),
        red_flags: visit.flags.clone(),
        emergency_words_spoken: (!visit.flags.is_empty()).then_some(visit.flag_words.spoken),
        transferred: visit.transfer,
        complete: visit.next_item().is_none(),
        degradations: Vec::new(),
    }
}

impl VisitRecord {
    /// Raises the red flags of answers that only the service's report gave. What was said in the call has raised its own.
    pub fn flag_answers(&mut self, protocol: &Protocol) {
        for answer in &self.answers {
            let reported = answer.conflicts.iter().filter(|other| other.source == Source::PostCall).map(|o| &o.value);
            let own = answer.value.iter().filter(|_| answer.source == Some(Source::PostCall));
            let names: Vec<&str> = own.chain(reported).filter_map(name_of).collect();
            let rules = protocol.item(&answer.question).map(|item| item.red_flags.as_slice()).unwrap_or_default();
            for rule in rules.iter().filter(|rule| rule.when.iter().any(|when| names.contains(&when.as_str()))) {
                if self.red_flags.iter().all(|raised| raised.flag.code != rule.code) {
                    let flag = RedFlag {
                        code: rule.code.clone(),
                        evidence: format!("{}: reported after the call", answer.question),
                    };
                    self.red_flags.push(RaisedFlag { flag, at_ms: 0, noticed_by: "post_call".to_owned() });
                }
            }
        }
    }

    /// Takes in answers of a less trusted source by question; true when they changed anything.
    pub fn add_answers(&mut self, found: &[(String, Sourced)]) -> bool {
        let mut changed = false;
        for (question, sourced) in found {
            if let Some(answer) = self.answers.iter_mut().find(|answer| answer.question == *question) {
                changed |= answer.add(sourced);
            }
        }
        changed
    }

    /// What the call contributed to the patient's history, with the segments that were analysed.
    #[must_use]
    pub fn facts(&self, call_id: &CallId, at_us: i64, outcome: CallOutcome, segments: &[Segment]) -> CallFacts {
        let tasks = segments.iter().map(|segment| {
            let known = self.tasks.iter().find(|task| task.segment == Some(segment.index));
            let usable = segment.report.pointer("/quality/usable").and_then(Value::as_bool) == Some(true);
            TaskFacts {
                item: known.and_then(|task| task.item.clone()),
                task: segment.task.clone(),
                segment: segment.index,
                attempt: known.map_or(1, |task| task.attempt),
                usable,
                report: segment.report.clone(),
            }
        });
        CallFacts {
            call_id: call_id.clone(),
            at_us,
            outcome,
            language: self.languages.last().cloned().unwrap_or_default(),
            identified: self.identity.status == IdentityStatus::Identified,
            answers: self.answers.clone(),
            red_flags: self.red_flags.iter().map(|raised| raised.flag.clone()).collect(),
            tasks: tasks.collect(),
            dry_confirmed: false,
            alert_open: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{AnswerValue, Topic};

    fn record(answers: Vec<Answer>) -> VisitRecord {
        VisitRecord {
            protocol: String::new(),
            protocol_version: String::new(),
            languages: vec!["en".to_owned()],
            identity: IdentityRecord { status: IdentityStatus::Identified, how: None, failed_attempts: 0 },
            recording_consent: Some(true),
            answers,
            tasks: Vec::new(),
            red_flags: Vec::new(),
            emergency_words_spoken: None,
            transferred: None,
            complete: true,
            degradations: Vec::new(),
        }
    }

    fn said(value: &str, source: Source) -> Sourced {
        Sourced { value: AnswerValue::Text(value.to_owned()), source }
    }

    #[test]
    fn a_red_flag_that_only_the_report_has_is_raised_once() {
        let protocol = Protocol::shipped();
        let reported = [("dyspnea".to_owned(), said("rest", Source::PostCall))];
        let unanswered = Answer::unanswered("dyspnea", Topic::Dyspnea);
        let contradicted = Answer::from_sources("dyspnea", Topic::Dyspnea, &[said("none", Source::AgentTool)]);
        for before in [unanswered, contradicted] {
            let mut record = record(vec![before]);
            assert!(record.add_answers(&reported));
            for _ in 0..2 {
                record.flag_answers(&protocol);
            }
            let codes: Vec<&str> = record.red_flags.iter().map(|raised| raised.flag.code.as_str()).collect();
            assert_eq!(codes, ["breathless_at_rest"]);
            assert!(!record.add_answers(&reported), "said again it changes nothing");
        }
    }

    #[test]
    fn what_was_said_in_the_call_is_not_raised_again() {
        let heard = Answer::from_sources("dyspnea", Topic::Dyspnea, &[said("rest", Source::AgentTool)]);
        let mut record = record(vec![heard]);
        record.flag_answers(&Protocol::shipped());
        assert!(record.red_flags.is_empty());
    }
}
