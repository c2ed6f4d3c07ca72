//! Telling the agent what comes next, and noticing what it asks.

use super::tasks::Window;
use super::{FlagWords, RED_FLAG_TOLD_MAX, RED_FLAG_WORDS_MS, RED_FLAGS_MAX, RaisedFlag, Visit, VisitOutput};
use crate::protocol::languages;
use crate::record::TimelineKind;
use crate::red_flags::{RedFlag, SELF_HARM};
use serde_json::Value;
use std::collections::BTreeSet;

/// Share of a prompt's words that the agent has to use for having asked it.
const PROMPT_WORDS_SHARE: f64 = 0.6;
/// What an agent says sooner than this after the prompt of a task is encouragement ("take your time").
const ENCOURAGED_MS: u64 = 6_000;
/// For an agent whose first message asked already.
const JUST_SAID: &str = " Your first message has just said this: do not say it again, and take what the patient says for \
                         the answer. If start_task is named here, call it now.";
/// Changes of language kept; the last one always is.
const LANGUAGES_MAX: usize = 16;
/// Longest evidence kept of a red flag.
const EVIDENCE_MAX_CHARS: usize = 300;

impl Visit {
    pub(super) fn text(&self, name: &str) -> String {
        self.protocol.text(&self.language, name, &self.setup.given_name)
    }

    /// The language somebody fell back into when they spoke of the emergency.
    pub(super) fn emergency_language(&self) -> &str {
        self.flag_language.unwrap_or(&self.language)
    }

    /// A text for somebody in an emergency: in the language they spoke of it.
    pub(super) fn emergency_text(&self, name: &str) -> String {
        self.protocol.text(self.emergency_language(), name, &self.setup.given_name)
    }

    /// What the patient has to hear: about the body, about harming themself, or both.
    pub(super) fn flag_text(&self) -> String {
        let harm = self.flags.iter().any(|raised| raised.flag.code == SELF_HARM);
        let body = self.flags.iter().any(|raised| raised.flag.code != SELF_HARM);
        let said = [(body, "red_flag"), (harm, "self_harm")].into_iter().filter(|(wanted, _)| *wanted);
        said.map(|(_, name)| self.emergency_text(name)).collect::<Vec<_>>().join(" ")
    }

    /// Whether a text has the substance of the red flag's words, and every number in it that is to be called.
    fn says_flag_words(&self, text: &str) -> bool {
        let wanted = self.flag_text();
        let numbers = [&self.protocol.emergency_number, &self.protocol.crisis_number];
        let (said, needed) = (spoken_digits(text), spoken_digits(&wanted));
        self.says(text, &wanted) && numbers.iter().all(|number| !needed.contains(*number) || said.contains(*number))
    }

    /// What another agent has to begin with to go on where this visit stands; `None` while nothing was said, so that it
    /// greets.
    pub fn opening(&mut self) -> Option<String> {
        if !self.greeted {
            return None;
        }
        let next = self.next_json();
        let say = next.get("say").and_then(Value::as_str)?;
        let words = format!("{} {say}", self.text("sorry_continue"));
        self.opened_with = Some(self.step());
        Some(words)
    }

    /// The agent that is being called cannot be told how to begin: it says words of its own.
    pub fn opening_refused(&mut self) {
        self.opened_with = None;
    }

    /// Tells the agent the next step, unless it was told.
    pub(super) fn tell_next(&mut self) {
        self.tell_step(false);
    }

    /// Tells a new agent where the visit stands. Who begins with the words of that step must not say them twice.
    pub(super) fn tell_newcomer(&mut self) {
        self.last_told = None;
        let just_said = self.opened_with.take() == Some(self.step());
        self.tell_step(just_said);
    }

    fn tell_step(&mut self, just_said: bool) {
        if self.last_told == Some(self.step()) {
            return;
        }
        let next = self.next_json();
        let field = |name: &str| next.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut text = format!("Next: {} Say: \"{}\" Then: {}.", field("step"), field("say"), field("then"));
        if just_said {
            text.push_str(JUST_SAID);
        }
        self.emit(VisitOutput::Context { id: "next", text });
    }

    /// Raises a red flag: once per code and visit.
    pub(super) fn raise(&mut self, code: &str, evidence: &str, noticed_by: &str) {
        if self.flags.len() >= RED_FLAGS_MAX || !self.flag_codes.insert(code.to_owned()) {
            return;
        }
        let evidence: String = evidence.chars().take(EVIDENCE_MAX_CHARS).collect();
        let flag = RedFlag { code: code.to_owned(), evidence };
        self.flags.push(RaisedFlag { flag: flag.clone(), at_ms: self.now_ms, noticed_by: noticed_by.to_owned() });
        self.note(TimelineKind::RedFlag {
            code: flag.code.clone(),
            evidence: flag.evidence.clone(),
            noticed_by: noticed_by.into(),
        });
        self.emit(VisitOutput::RedFlag(flag));
        // Words of another flag may have been spoken; this one's have not.
        let due_ms = Some(self.now_ms + RED_FLAG_WORDS_MS);
        self.flag_words = FlagWords { told: 1, spoken: false, in_last: false, due_ms };
        if self.window.is_some() {
            self.close_window();
        }
        // "Yes" and "no" are about the emergency from here on.
        self.asked = None;
        let next = self.next_json();
        let say = next.get("say").and_then(Value::as_str).unwrap_or_default();
        // Codes name illnesses, and an agent may say what it reads.
        let named = if self.is_identified() { format!("Red flag ({code}).") } else { "Red flag.".to_owned() };
        let text = format!("{named} Stop the check-in. Say now, exactly: \"{say}\"");
        self.emit(VisitOutput::Context { id: "red_flag", text });
    }

    /// The agent has not said what the patient must hear: it is made to.
    pub(super) fn insist_on_flag_words(&mut self) {
        self.flag_words.due_ms = None;
        if self.flag_words.spoken || self.flag_words.told > RED_FLAG_TOLD_MAX {
            return;
        }
        self.flag_words.told += 1;
        self.flag_words.due_ms = Some(self.now_ms + RED_FLAG_WORDS_MS);
        let next = self.next_json();
        let say = next.get("say").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.emit(VisitOutput::Prompt(format!(
            "(Automatic notice, not the patient: red flag. Say now, exactly: \"{say}\")"
        )));
    }

    pub(super) fn agent_said(&mut self, text: &str) {
        self.notice_language(text);
        (self.agent_spoke, self.keys_told) = (true, false);
        self.notice_flag_words(text);
        let asked = self.asked_in(text);
        if self.says(text, &self.text("closing")) {
            self.closing_said = true;
            self.asked = None;
        } else if asked.is_none() && self.asks_something_else(text) {
            // What the patient says next answers a question we do not know: "no" must not undo an answer.
            self.asked = None;
        }
        if self.window.as_ref().is_some_and(|window| went_on(window, asked, self.now_ms)) {
            self.close_window();
        }
        if let Some(index) = asked {
            self.agent_asked(index);
        }
        self.asked_at_ms = Some(self.now_ms);
    }

    /// Whether the words of the red flag are in what is being said.
    pub(super) fn notice_flag_words(&mut self, text: &str) {
        self.flag_words.in_last = !self.flags.is_empty() && self.says_flag_words(text);
        if self.flag_words.in_last {
            self.flag_words.spoken = true;
            self.flag_words.due_ms = None;
            if !self.setup.nurse_line && self.transfer.is_none() {
                self.transfer = Some(false);
            }
        }
    }

    fn agent_asked(&mut self, index: usize) {
        let retries = self.protocol.items.get(index).map_or(0, |item| item.retries);
        let Some(state) = self.items.get_mut(index) else { return };
        let repeated = self.asked == Some(index) && state.asked > 0;
        state.asked = state.asked.saturating_add(1);
        let pestered = state.asked > retries.saturating_add(1) && state.values.is_empty();
        state.asked_last = pestered && !state.given_up;
        state.given_up |= pestered;
        self.asked = Some(index);
        if repeated {
            self.last_told = None;
        }
        self.open_forgotten_window(index);
        if pestered {
            self.tell_next();
        }
    }

    /// Whether the agent asks for consent, or anything of its own after the question it asked was answered.
    fn asks_something_else(&self, text: &str) -> bool {
        let answered = self.asked.and_then(|index| self.items.get(index)).is_some_and(|state| !state.values.is_empty());
        (answered && text.contains(['?', '？', '؟'])) || self.says(text, &self.text("consent"))
    }

    /// The patient talked over the agent. Who did not hear the number to call has to be told again.
    pub(super) fn agent_cut_short(&mut self, heard: &str) {
        if std::mem::take(&mut self.flag_words.in_last) && !self.says_flag_words(heard) {
            self.flag_words.spoken = false;
            self.flag_words.due_ms = Some(self.now_ms + RED_FLAG_WORDS_MS);
        }
    }

    /// The item whose prompt a text contains.
    fn asked_in(&self, text: &str) -> Option<usize> {
        let said = words(text);
        let share = |index: usize| {
            let item = self.protocol.items.get(index)?;
            let prompt = words(self.protocol.prompt(&self.language, &item.id));
            let found = prompt.iter().filter(|word| said.contains(*word)).count();
            let share = found as f64 / prompt.len().max(1) as f64;
            (share >= PROMPT_WORDS_SHARE).then_some((share, index))
        };
        let best = (0..self.protocol.items.len()).filter_map(share).max_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, index)| index)
    }

    /// Whether the agent says the substance of `wanted`.
    pub(super) fn says(&self, text: &str, wanted: &str) -> bool {
        let (said, wanted) = (words(text), words(wanted));
        let found = wanted.iter().filter(|word| said.contains(*word)).count();
        found as f64 / wanted.len().max(1) as f64 >= PROMPT_WORDS_SHARE
    }

    /// Follows the agent into another language when its words show it.
    fn notice_language(&mut self, text: &str) {
        let Some(guess) = languages::guess(text) else { return };
        let same = self.language == guess || self.language.starts_with(&format!("{guess}-"));
        let twice = self.last_guess == Some(guess);
        self.last_guess = Some(guess);
        if same || !(self.language_may_change || twice) {
            return;
        }
        self.language_may_change = false;
        self.language = guess.to_owned();
        if self.languages.len() >= LANGUAGES_MAX {
            self.languages.pop();
        }
        self.languages.push(guess.to_owned());
        self.note(TimelineKind::LanguageChanged { language: guess.to_owned() });
        self.last_told = None;
        self.tell_next();
    }
}

/// Whether an agent that asks for the item `asked` has left a window behind. An announced one ends early only when the
/// agent asks for something else; one that it forgot to announce also when it speaks after the patient had their turn.
fn went_on(window: &Window, asked: Option<usize>, now_ms: u64) -> bool {
    let other = window.item.is_some() && asked.is_some() && asked != window.item;
    let had_turn = window.heard || now_ms.saturating_sub(window.opened_ms) >= ENCOURAGED_MS;
    other || (window.by_prompt && had_turn && asked != window.item)
}

/// The digits of a text in order, also where an agent writes them as English or Spanish words.
fn spoken_digits(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let digits = words.map(|word| match word {
        "zero" | "oh" | "cero" => "0",
        "one" | "uno" => "1",
        "two" | "dos" => "2",
        "three" | "tres" => "3",
        "four" | "cuatro" => "4",
        "five" | "cinco" => "5",
        "six" | "seis" => "6",
        "seven" | "siete" => "7",
        "eight" | "ocho" => "8",
        "nine" | "nueve" => "9",
        "eleven" => "11",
        word if word.bytes().all(|b| b.is_ascii_digit()) => word,
        _ => "",
    });
    digits.collect()
}

/// The words of a text, without case, accents aside, punctuation gone.
fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let mut found: BTreeSet<String> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if found.len() <= 2 && lower.chars().any(|c| c as u32 > 0x2E80) {
        // Scripts without blanks: characters do for words.
        found = lower.chars().filter(|c| c.is_alphanumeric()).map(String::from).collect();
    }
    found
}
