//! The simulated agent under another protocol: what drives it from outside instead of its own socket.
//!
//! Script, ear, voice and obedience are the same whichever service is simulated. What differs is who decides when the
//! agent may act: an ElevenLabs agent does so by itself, a model behind a Realtime session only inside a response. So a
//! driven conversation is *held* until somebody lets it go on.

use super::conversation::{Conversation, State};
use super::init::Init;
use super::script::Beat;
use super::{AudioFormat, ConversationStats, Faults, Script, SimConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any call: what the other protocol has no time limit for.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3_600);

impl Conversation {
    /// An agent that hears and speaks mu-law, and is held.
    pub(crate) fn driven(script: Script, scripts_by_patient: Vec<(String, Script)>, trickle: bool, seed: u64) -> Self {
        let config = SimConfig {
            seed,
            script,
            scripts_by_patient,
            output_format: AudioFormat::Ulaw8000,
            input_format: AudioFormat::Ulaw8000,
            ping_interval: NEVER,
            init_timeout: NEVER,
            input_timeout: NEVER,
            tool_timeout: NEVER,
            max_duration: NEVER,
            // Everything, and the end of a reply, which is only sent when asked for.
            client_events: Some(
                [
                    "user_transcript",
                    "agent_response",
                    "agent_response_complete",
                    "interruption",
                    "client_tool_call",
                    "agent_tool_request",
                ]
                .map(str::to_owned)
                .into(),
            ),
            ..SimConfig::default()
        };
        let faults = if trickle { Faults::one(super::Fault::Trickle) } else { Faults::none() };
        let mut conversation = Self::new(Arc::new(config), faults, ConversationStats::default(), seed);
        conversation.held = true;
        conversation
    }

    /// Begins, with words of the client's where it has some.
    pub(crate) fn open(&mut self, now: u64, language: &str, patient_name: &str, first: Option<String>) {
        if self.started.is_some() {
            return;
        }
        let told = self.told.next.is_some();
        let variables = [("patient_name".to_owned(), json!(patient_name)), ("language".to_owned(), json!(language))];
        let init = Init {
            first_message: first.clone().filter(|_| !told),
            language: Some(language.to_owned()),
            text_only: false,
            variables: variables.into_iter().collect(),
        };
        self.begin(now, init);
        if told && self.script.follows() {
            // The client said already where the visit stands: it goes on there.
            let mut beats = self.follow();
            if let Some(first) = first {
                match beats.first_mut() {
                    Some(Beat::Say { text, .. }) if first.contains(text.as_str()) => *text = first,
                    _ => beats.insert(0, Beat::Say { text: first, clip: None, interruptible: true }),
                }
            }
            self.script.beats = beats;
            self.beat = 0;
        }
    }

    /// Holds the agent, or lets it speak and act.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.started.is_some()
    }

    /// True while it waits for the caller's words.
    pub(crate) fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening { .. })
    }

    /// True while nothing will come of it without something from outside.
    pub(crate) fn is_waiting(&self) -> bool {
        let patient = match &self.state {
            State::Listening { .. } | State::Tool { .. } | State::Mute | State::Ended => true,
            State::AwaitInit { .. } | State::Ready | State::Until(_) | State::Ending => false,
        };
        patient && !self.has_planned()
    }

    /// When what it said last will have been heard.
    pub(crate) fn speaks_until(&self) -> u64 {
        self.reply.until
    }

    /// True when it acts right after what it is saying, which then belongs to the same response.
    pub(crate) fn acts_next(&self) -> bool {
        matches!(self.script.beats.get(self.beat), Some(Beat::Tool { .. } | Beat::EndCall))
    }

    /// Whether it would speak or act now.
    pub(super) fn would_act(&self) -> bool {
        match self.script.beats.get(self.beat) {
            None => true,
            Some(beat) => {
                matches!(
                    beat,
                    Beat::Say { .. } | Beat::Tool { .. } | Beat::EndCall | Beat::Audio { .. } | Beat::Interrupt
                )
            }
        }
    }

    /// These words next; what it listened for, it listens for again.
    pub(crate) fn say_next(&mut self, words: &str) {
        if self.is_listening() {
            self.beat = self.beat.saturating_sub(1);
        }
        let say = Beat::Say { text: words.to_owned(), clip: None, interruptible: true };
        self.script.beats.insert(self.beat.min(self.script.beats.len()), say);
        if !matches!(self.state, State::AwaitInit { .. } | State::Ended) {
            self.state = State::Ready;
        }
    }

    /// The caller spoke over it.
    pub(crate) fn cut_off(&mut self, now: u64) {
        if now < self.reply.until {
            self.interrupt(now);
        }
    }

    /// What was said in the turn so far, as far as it is known.
    pub(crate) fn heard_words(&self) -> Option<String> {
        self.ear.words().text
    }

    /// The answer to a tool.
    pub(crate) fn tool_answered(&mut self, now: u64, id: &str, result: &str) {
        let message = json!({"type": "client_tool_result", "tool_call_id": id, "result": result, "is_error": false});
        self.handle_message(now, &message);
    }

    /// Words of the client: `user_message` or `contextual_update`.
    pub(crate) fn told(&mut self, now: u64, kind: &str, text: &str) {
        self.handle_message(now, &json!({"type": kind, "text": text}));
    }

    fn handle_message(&mut self, now: u64, message: &Value) {
        self.handle_text(now, &message.to_string());
    }
}
