//! Who listens on the line and knows the rules: no silence where the system has to speak, nothing that was answered asked
//! again, nothing asked twice in a breath. It also writes down what happens, where somebody wants to read it.

use super::agent::Reply;
use super::line::Line;
use super::patient::Asked;
use super::sound::STEP_MS;

/// Longest silence on the line while it is the system's turn to speak.
const DEAD_AIR_MAX_MS: u64 = 7_000;
/// Nobody asks the same again so soon after the end of their words.
const BREATH_MS: u64 = 2_000;

impl Line {
    pub(super) fn break_rule(&mut self, now: u64, what: &str) {
        let at = (now - self.origin) / 100;
        self.broken.get_or_insert_with(|| format!("{what} (call {}, at {}.{} s)", self.id, at / 10, at % 10));
    }

    /// Somebody is about to say this: nothing that was answered may be in it.
    pub(super) fn reply_decided(&mut self, now: u64, reply: Reply) {
        self.check_question(now, &reply.text);
        let asks = self.patient.asked_in(&reply.text);
        let said = self.patient.said.len();
        let breath = (asks, reply.conversation, said);
        let repeated = self.replies.last().is_some_and(|last| last.text.ends_with(&reply.text));
        let same = self.breath.is_some_and(|(until, last)| now < until && last == breath);
        // Whom to call in an emergency is insisted upon.
        let insisted = reply.text.contains(&self.setup.protocol.text("en", "red_flag", "Ada"));
        let twice = asks != Asked::Nothing && !insisted && repeated && same;
        // Words into those of the patient are cut off, and have to be said once more.
        let heard = self.patient.speaking().is_none();
        self.breath = heard.then_some((now + reply.ms + BREATH_MS, breath));
        if twice {
            self.break_rule(now, &format!("the same is asked twice in a breath: {}", reply.text));
        }
        self.understood.remove(&reply.byte);
        self.replies.push(reply);
    }

    pub(super) fn check_question(&mut self, now: u64, text: &str) {
        if let Asked::Item(index) = self.patient.asked_in(text)
            && self.measured.answered.get(&index).is_some_and(|at| at + 2_000 < now)
        {
            self.break_rule(now, &format!("an answered question is asked again: {text}"));
        }
    }

    /// Writes down what happens, where somebody wants to read it.
    pub(super) fn note(&mut self, now: u64, what: impl FnOnce() -> String) {
        let at = (now - self.origin) / 100;
        if let Some(trace) = &mut self.trace {
            let what: String = what().chars().take(400).collect();
            trace.push(format!("call {} {:4}.{} s  {what}", self.id, at / 10, at % 10));
        }
    }

    /// Writes down when something else is to be heard, and when the patient does something else.
    pub(super) fn note_changes(&mut self, now: u64) {
        if self.trace.is_none() {
            return;
        }
        let heard = self.playing.front().map(|(byte, _)| *byte);
        let does = self.patient.doing();
        if heard != self.traced.0 {
            let words = match heard {
                None => "nothing in the queue".to_owned(),
                Some(None) => "a phrase of our own".to_owned(),
                Some(byte) => self.reply_of(byte).map_or_else(String::new, |reply| format!("agent: {}", reply.text)),
            };
            self.note(now, || format!("phone: {words}"));
        }
        if does != self.traced.1 {
            self.note(now, || format!("patient: {does}"));
        }
        self.traced = (heard, does);
    }

    /// How long nothing was to be heard although the system had to speak.
    pub(super) fn watch_silence(&mut self, now: u64) {
        let stalled = now < self.stalled_until.max(self.unread_until);
        if stalled {
            self.allowance_ms += STEP_MS;
        }
        if !self.phone.is_connected() || self.patient.owes() || self.phone.patient_owes() || self.phone_sounds() {
            (self.silence_ms, self.allowance_ms) = (0, if stalled { STEP_MS } else { 0 });
            return;
        }
        self.silence_ms += STEP_MS;
        self.measured.dead_air_ms = self.measured.dead_air_ms.max(self.silence_ms);
        if self.silence_ms > DEAD_AIR_MAX_MS + self.allowance_ms {
            self.break_rule(now, "dead air of more than seven seconds");
        }
    }
}
