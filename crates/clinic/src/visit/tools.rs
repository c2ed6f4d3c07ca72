//! The tools an agent may call. Names may be invented and parameters may be anything: a language model writes them.

use super::{IDENTITY_ATTEMPTS, IdentityStatus, Step, Visit, VisitOutput};
use crate::answers::{NumberLimits, Source, validate};
use crate::identity::Verdict;
use crate::protocol::ItemKind;
use crate::record::TimelineKind;
use crate::tools::VoiceTask;
use serde_json::{Map, Value, json};

/// Longest text taken from a parameter.
const TEXT_MAX_CHARS: usize = 300;
/// Longest parameters that are read at all.
const PARAMETERS_MAX_BYTES: usize = 16 * 1024;

impl Visit {
    /// Answers a tool request.
    pub(super) fn reply(&mut self, id: &str, result: &Value, is_error: bool) {
        self.emit(VisitOutput::ToolResult { id: id.to_owned(), result: result.to_string(), is_error });
    }

    fn refuse(&mut self, id: &str, why: &str) {
        let next = self.next_json();
        self.reply(id, &json!({"error": why, "next": next}), true);
    }

    fn accept(&mut self, id: &str, name: &str) {
        let next = self.next_json();
        let mut result = Map::new();
        result.insert(name.to_owned(), Value::Bool(true));
        result.insert("next".to_owned(), next);
        self.reply(id, &Value::Object(result), false);
    }

    pub(super) fn tool(&mut self, id: &str, name: &str, parameters: &str) {
        if parameters.len() > PARAMETERS_MAX_BYTES {
            return self.refuse(id, "parameters are too long");
        }
        let parsed = match serde_json::from_str(parameters) {
            Ok(Value::Object(map)) => map,
            Ok(Value::Null) => Map::new(),
            Ok(_) => return self.refuse(id, "parameters must be an object"),
            Err(_) => return self.refuse(id, "parameters are not JSON"),
        };
        match name {
            "verify_identity" => self.verify_identity(id, &parsed),
            "record_consent" => self.record_consent(id, &parsed),
            "record_answer" => self.record_answer(id, &parsed),
            "start_task" => self.start_task(id, &parsed),
            "end_task" => self.end_task(id),
            "report_red_flag" => self.report_red_flag(id, &parsed),
            "transfer_to_nurse" => self.transfer_to_nurse(id, &parsed),
            "mark_wrong_person" if self.is_identified() => self.refuse(id, "the patient was identified"),
            "mark_wrong_person" => {
                self.wrong_person();
                self.accept(id, "noted");
            }
            _ => self.refuse(id, "unknown tool"),
        }
    }

    fn verify_identity(&mut self, id: &str, parameters: &Map<String, Value>) {
        if self.is_identified() {
            return self.accept(id, "identified");
        }
        if self.neutral.is_some() {
            // Decided already: neither right nor wrong is told to somebody who goes on guessing.
            let next = self.next_json();
            return self.reply(id, &json!({"identified": false, "next": next}), false);
        }
        match self.setup.identity.check_tool(&Value::Object(parameters.clone())) {
            Verdict::Match => {
                self.identified("agent_tool");
                self.accept(id, "identified");
            }
            Verdict::Mismatch => {
                self.identification.told += 1;
                self.check_attempts();
                let next = self.next_json();
                self.reply(id, &json!({"identified": false, "next": next}), false);
            }
            Verdict::Unclear => {
                let next = self.next_json();
                let why = "birth_date must be the date the caller said, as YYYY-MM-DD, or pin the digits";
                self.reply(id, &json!({"identified": false, "error": why, "next": next}), true);
            }
        }
    }

    /// The patient is who they are said to be.
    pub(super) fn identified(&mut self, how: &'static str) {
        if self.is_identified() || self.neutral.is_some() {
            return;
        }
        self.identification.status = IdentityStatus::Identified;
        self.identification.how = Some(how);
        self.silent_questions = 0;
        self.note(TimelineKind::Identified { how: how.to_owned() });
    }

    /// Nobody gets to guess.
    pub(super) fn check_attempts(&mut self) {
        self.last_told = None;
        if self.identification.attempts() >= IDENTITY_ATTEMPTS {
            self.neutral = Some("not_identified");
        }
    }

    pub(super) fn wrong_person(&mut self) {
        if self.is_identified() || self.neutral.is_some() {
            return;
        }
        self.identification.status = IdentityStatus::WrongPerson;
        self.neutral = Some("wrong_person");
        self.last_told = None;
    }

    fn record_consent(&mut self, id: &str, parameters: &Map<String, Value>) {
        let given = match parameters.get("given") {
            Some(Value::Bool(given)) => *given,
            Some(Value::String(text)) if matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "yes") => true,
            Some(Value::String(text)) if matches!(text.trim().to_ascii_lowercase().as_str(), "false" | "no") => false,
            _ => return self.refuse(id, "given must be true or false"),
        };
        if given && !self.is_identified() {
            // Nobody agrees for the patient; to say no is anybody's right who is heard.
            return self.refuse(id, "identify the caller first");
        }
        self.consent_given(given);
        self.accept(id, "noted");
    }

    /// The patient was asked whether the call may be recorded.
    pub(super) fn consent_given(&mut self, given: bool) {
        if self.consent == Some(given) {
            return;
        }
        self.consent = Some(given);
        self.silent_questions = 0;
        self.note(TimelineKind::Consent { given });
        if given {
            self.emit(VisitOutput::ConsentGiven);
        } else {
            if self.window.is_some() {
                self.close_window();
            }
            self.emit(VisitOutput::EraseRecording);
        }
    }

    fn record_answer(&mut self, id: &str, parameters: &Map<String, Value>) {
        if !self.is_identified() {
            // What somebody else says is no answer of the patient; and the names of the questions tell an illness.
            return self.refuse(id, "identify the caller first");
        }
        let named = parameters.get("question").and_then(Value::as_str).unwrap_or_default().trim().to_ascii_lowercase();
        let index = self.protocol.items.iter().position(|item| item.id == named);
        let question = index.and_then(|index| Some((index, self.protocol.items.get(index)?.clone())));
        let Some((index, item)) = question else {
            let known = self.protocol.items.iter().filter(|item| item.topic().is_some());
            let known: Vec<&str> = known.map(|item| item.id.as_str()).collect();
            return self.refuse(id, &format!("question must be one of {}", known.join(", ")));
        };
        let Some(topic) = item.topic() else {
            return self.refuse(id, "this is a voice task: use start_task and end_task");
        };
        let mut limits = NumberLimits { default_weight_unit: self.setup.weight_unit, ..NumberLimits::default() };
        if let ItemKind::Question { range: Some((smallest, largest)), .. } = item.kind {
            (limits.min, limits.max) = (smallest, largest);
        }
        match validate(topic, parameters.get("value").unwrap_or(&Value::Null), &limits) {
            Ok(value) => {
                self.learn(index, value, Source::AgentTool);
                self.accept(id, "recorded");
            }
            Err(refusal) => {
                // What cannot be true is asked again, as often as the protocol allows.
                if let Some(state) = self.items.get_mut(index) {
                    state.refused = state.refused.saturating_add(1);
                }
                self.give_up_if_asked_enough(index);
                let next = self.next_json();
                self.reply(id, &json!({"recorded": false, "error": refusal.to_string(), "next": next}), true);
            }
        }
    }

    fn start_task(&mut self, id: &str, parameters: &Map<String, Value>) {
        let Some(task) = parameters.get("task").and_then(Value::as_str).and_then(VoiceTask::parse) else {
            return self.refuse(id, "task must be speech, counting or sustained-vowel");
        };
        if self.may_measure() && self.open_window(task, false) {
            if let Some(window) = &mut self.window {
                window.by_prompt = false;
            }
            self.reply(id, &json!({"started": task.as_str(), "then": "say the prompt, then listen; end_task when the patient has finished"}), false);
        } else {
            let next = self.next_json();
            self.reply(id, &json!({"started": false, "next": next}), false);
        }
    }

    fn report_red_flag(&mut self, id: &str, parameters: &Map<String, Value>) {
        let text = |name: &str| {
            let text = parameters.get(name).and_then(Value::as_str).unwrap_or_default().trim();
            text.chars().take(TEXT_MAX_CHARS).collect::<String>()
        };
        let (code, evidence) = (text("code"), text("evidence"));
        // Models write "Chest pain" for chest_pain.
        let code = code.to_lowercase().replace([' ', '-'], "_");
        let is_code = !code.is_empty() && code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        // Whatever it was meant to be, an agent that saw an emergency is believed.
        let code = if is_code { code } else { "other".to_owned() };
        self.raise(&code, &evidence, "agent_tool");
        self.accept(id, "staff_alerted");
    }

    fn transfer_to_nurse(&mut self, id: &str, parameters: &Map<String, Value>) {
        if !self.setup.nurse_line {
            self.transfer = Some(false);
            let next = self.next_json();
            return self.reply(id, &json!({"transferring": false, "error": "no nurse line", "next": next}), false);
        }
        if self.neutral.is_some() && self.flags.is_empty() {
            return self.refuse(id, "the call is not with the patient");
        }
        let asked = parameters.get("reason").and_then(Value::as_str).unwrap_or_default();
        let reason = self
            .flags
            .first()
            .map_or_else(|| asked.chars().take(TEXT_MAX_CHARS).collect::<String>(), |raised| raised.flag.code.clone());
        if self.transfer != Some(true) {
            self.transfer = Some(true);
            self.note(TimelineKind::TransferRequested);
            self.emit(VisitOutput::Transfer { reason });
        }
        let say = self.protocol.text(&self.language, "transfer", &self.setup.given_name);
        self.reply(id, &json!({"transferring": true, "say": say}), false);
    }

    pub(super) fn transfer_failed(&mut self) {
        self.transfer = Some(false);
        self.note(TimelineKind::TransferFailed);
        self.last_told = None;
        self.flag_words.spoken = false;
        if self.flags.is_empty() {
            self.tell_next();
        } else {
            self.flag_words.told = 1;
            self.insist_on_flag_words();
        }
    }

    pub(super) fn system_tool(&mut self, name: &str) {
        match name {
            "language_detection" => self.language_may_change = true,
            "voicemail_detection" => self.machine_answered(),
            _ => {}
        }
    }

    /// Whether the agent is at a step that takes answers to questions.
    pub(super) fn takes_answers(&self) -> bool {
        matches!(self.step(), Step::Consent | Step::Item(_) | Step::Closing)
    }
}
