//! What the simulated agent says and does, as a list of beats.

use clinic::protocol::Protocol;
use serde_json::{Value, json};

/// One thing the agent does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Beat {
    /// Say something: `agent_response`, then audio in bursts.
    Say {
        /// The words.
        text: String,
        /// Name of an embedded clip to speak with; synthetic babble of fitting length without one.
        clip: Option<String>,
        /// Whether the caller may interrupt.
        interruptible: bool,
    },
    /// Wait until the agent's words have been played and the caller has answered.
    Listen(Listen),
    /// Call a tool of the client and wait for its result.
    Tool {
        /// Tool name.
        name: String,
        /// Parameters. The text `$answer` as a value is replaced by what the caller's last words mean.
        parameters: Value,
    },
    /// Do nothing for a while, in milliseconds.
    Wait(u64),
    /// Send an event as it stands; the text `$id` is replaced by the current event id, `$next` by a new one.
    Event(Value),
    /// Interrupt oneself as if the caller had spoken: `interruption` and a correction.
    Interrupt,
    /// Audio of silence.
    Audio {
        /// Length in milliseconds.
        ms: u64,
        /// Added to the current event id.
        id_offset: i64,
        /// Whether to add `alignment`.
        alignment: bool,
        /// Whether to add `is_final`, which real servers send though their contract does not have it.
        is_final: bool,
    },
    /// Do what the client's last answer said comes next.
    Follow,
    /// Do this when the caller's last words meant yes.
    IfYes(Box<Beat>),
    /// End the call as the `end_call` tool does: request, response, close 1000.
    EndCall,
}

/// How long to wait for the caller, and what to make of what was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// Transcript when the words are not recognised.
    pub transcript: String,
    /// Meaning of the answer when the words are not recognised; goes into `$answer`.
    pub meaning: String,
    /// Silence that ends the caller's turn, in milliseconds.
    pub end_silence_ms: u64,
    /// How long to wait for the caller to begin, in milliseconds.
    pub patience_ms: u64,
}

impl Default for Listen {
    fn default() -> Self {
        Self { transcript: "...".to_owned(), meaning: "unclear".to_owned(), end_silence_ms: 700, patience_ms: 6_000 }
    }
}

/// A conversation: beats in order, then close 1000.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Name of the script.
    pub name: String,
    /// What the agent does.
    pub beats: Vec<Beat>,
}

/// Names of the scripts [`Script::named`] knows.
pub const SCRIPT_NAMES: &[&str] = &["visit", "check-in", "sdk-check", "parrot"];

impl Script {
    /// A visit: the greeting and the question who is speaking, then whatever the client says comes next.
    #[must_use]
    pub fn visit() -> Self {
        let protocol = Protocol::shipped();
        let mut beats = Vec::new();
        beats.push(Beat::Say { text: protocol.text("en", "greeting", ""), clip: None, interruptible: true });
        beats.push(Beat::Listen(Listen { end_silence_ms: 600, ..Listen::default() }));
        beats.push(Beat::Wait(100));
        let parameters = json!({"birth_date": "$answer"});
        beats.push(Beat::Tool { name: "verify_identity".to_owned(), parameters });
        beats.push(Beat::Follow);
        Self { name: "visit".to_owned(), beats }
    }

    /// True for a script that does what the client tells it.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.beats.contains(&Beat::Follow)
    }

    /// Greets in this language by this name.
    pub(super) fn greet(&mut self, language: &str, name: &str) {
        let protocol = Protocol::shipped();
        let words =
            format!("{} {}", protocol.text(language, "greeting", name), protocol.text(language, "identify", name));
        if let Some(Beat::Say { text, .. }) = self.beats.first_mut() {
            *text = words;
        }
    }

    /// The check-in: greeting and breathing, weight, reading, counting, sustained vowel, goodbye.
    #[must_use]
    pub fn check_in() -> Self {
        let mut beats = Vec::new();
        ask(&mut beats, "agent_greeting", "My breathing is fine.", "none", 600);
        record(&mut beats, "dyspnea");
        ask(&mut beats, "agent_weight", "One hundred and eighty two pounds.", "182", 600);
        record(&mut beats, "weight");
        // Reading and counting have pauses in them; a patient who is short of breath makes long ones.
        task(&mut beats, "speech", "agent_reading", "He was not an ill-disposed young man.", 1_200);
        task(&mut beats, "counting", "agent_counting", "One, two, three, four, five.", 1_300);
        task(&mut beats, "sustained-vowel", "agent_vowel", "Ahhh.", 600);
        beats.push(say("agent_goodbye", false));
        beats.push(Beat::EndCall);
        Self { name: "check-in".to_owned(), beats }
    }

    /// A conversation of about five seconds that touches every event the official clients know.
    #[must_use]
    pub fn sdk_check() -> Self {
        let audio = |ms, id_offset| Beat::Audio { ms, id_offset, alignment: false, is_final: false };
        let speak = |text: &str| Beat::Say { text: text.to_owned(), clip: None, interruptible: true };
        let beats = vec![
            // The first reply has event id 0, which is a valid id.
            speak("Hello there."),
            Beat::Audio { ms: 200, id_offset: 0, alignment: true, is_final: false },
            audio(0, 0),
            Beat::Wait(300),
            Beat::Event(json!({"type": "vad_score", "vad_score_event": {"vad_score": 0.91}})),
            Beat::Event(json!({"type": "tentative_user_transcript",
                "tentative_user_transcription_event": {"user_transcript": "I fe", "event_id": "$next"}})),
            Beat::Event(json!({"type": "user_transcript",
                "user_transcription_event": {"user_transcript": " I feel fine. ", "event_id": "$id"}})),
            Beat::Event(json!({"type": "internal_tentative_agent_response",
                "tentative_agent_response_internal_event": {"tentative_agent_response": "Good"}})),
            Beat::Event(json!({"type": "internal_turn_probability",
                "turn_probability_internal_event": {"turn_probability": 0.41}})),
            speak("Good to hear it."),
            Beat::Wait(100),
            Beat::Interrupt,
            audio(60, -1),
            audio(60, 0),
            audio(60, 1),
            Beat::Event(json!({"type": "some_future_event", "x": 1})),
            Beat::Wait(600),
            Beat::Tool { name: "record_weight".to_owned(), parameters: json!({"weight_lb": 182.5}) },
            Beat::Tool { name: "no_such_tool".to_owned(), parameters: json!({}) },
            Beat::Event(json!({"type": "agent_tool_response_full_payload", "agent_tool_response_full_payload": {
                "tool_name": "lookup", "tool_call_id": "tc_lookup", "tool_type": "webhook", "is_error": false,
                "is_blocked": false, "is_called": true, "event_id": "$id", "full_tool_result": "{\"ok\":true}",
                "truncated": false}})),
            Beat::Event(json!({"type": "context_usage", "context_usage_event": {
                "event_id": "$id", "model": "simulated", "context_tokens": 2100, "context_limit_tokens": 1_000_000}})),
            Beat::Event(json!({"type": "asr_initiation_metadata", "asr_initiation_metadata_event": {}})),
            Beat::Event(json!({"type": "guardrail_triggered"})),
            Beat::Event(json!({"type": "error", "error_event": {
                "code": 1002, "error_type": "llm_timeout", "reason": "LLM timeout", "message": "simulated"}})),
            Beat::Event(json!({"type": "agent_chat_response_part",
                "text_response_part": {"text": "", "type": "start", "event_id": "$next"}})),
            Beat::Event(json!({"type": "agent_chat_response_part",
                "text_response_part": {"text": "Bye", "type": "delta", "event_id": "$id"}})),
            Beat::Event(json!({"type": "agent_chat_response_part",
                "text_response_part": {"text": "", "type": "stop", "event_id": "$id"}})),
            speak("Goodbye."),
            Beat::Wait(1_200),
            Beat::EndCall,
        ];
        Self { name: "sdk-check".to_owned(), beats }
    }

    /// Sends what real servers send beside their contract: `is_final`, empty audio, unknown events. Ends with 1000.
    #[must_use]
    pub fn parrot() -> Self {
        let beats = vec![
            say("agent_greeting", true),
            Beat::Audio { ms: 0, id_offset: 0, alignment: false, is_final: true },
            Beat::Event(
                json!({"type": "agent_response_complete", "agent_response_complete_event": {"event_id": "$id"}}),
            ),
            Beat::Event(json!({"type": "agent_response_metadata",
                "agent_response_metadata_event": {"metadata": {"k": "v"}, "event_id": "$id"}})),
            Beat::Listen(Listen::default()),
            Beat::Wait(300),
            say("agent_goodbye", false),
            Beat::EndCall,
        ];
        Self { name: "parrot".to_owned(), beats }
    }

    /// The script with that name, see [`SCRIPT_NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "visit" => Some(Self::visit()),
            "check-in" => Some(Self::check_in()),
            "sdk-check" => Some(Self::sdk_check()),
            "parrot" => Some(Self::parrot()),
            _ => None,
        }
    }
}

fn say(clip: &str, interruptible: bool) -> Beat {
    let text = crate::assets::clip(clip).map(|clip| clip.text.into_owned()).unwrap_or_default();
    Beat::Say { text, clip: Some(clip.to_owned()), interruptible }
}

fn ask(beats: &mut Vec<Beat>, prompt: &str, transcript: &str, meaning: &str, end_silence_ms: u64) {
    beats.push(say(prompt, true));
    beats.push(Beat::Listen(Listen {
        transcript: transcript.to_owned(),
        meaning: meaning.to_owned(),
        end_silence_ms,
        ..Listen::default()
    }));
    beats.push(Beat::Wait(100));
}

fn record(beats: &mut Vec<Beat>, question: &str) {
    beats.push(Beat::Tool {
        name: "record_answer".to_owned(),
        parameters: json!({"question": question, "value": "$answer"}),
    });
}

fn task(beats: &mut Vec<Beat>, task: &str, prompt: &str, transcript: &str, end_silence_ms: u64) {
    beats.push(Beat::Tool { name: "start_task".to_owned(), parameters: json!({"task": task}) });
    ask(beats, prompt, transcript, "done", end_silence_ms);
    beats.push(Beat::Tool { name: "end_task".to_owned(), parameters: json!({}) });
}
