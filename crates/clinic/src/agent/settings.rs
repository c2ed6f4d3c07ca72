//! The agent's settings themselves. Each value is here for a reason; those that calls depend on are named with what
//! breaks without them in [`super::diff`].

use super::{AgentOptions, AgentText, BASE_LANGUAGE, collected, prompt};
use serde_json::{Map, Value, json};

/// Language models the service may use while it keeps nothing. With any other it refuses the settings.
pub const LLMS_WITHOUT_RETENTION: [&str; 15] = [
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.0-flash",
    "gemini-2.0-flash-lite",
    "gemini-1.5-flash",
    "gemini-1.5-pro",
    "gemini-1.0-pro",
    "claude-sonnet-4-5",
    "claude-sonnet-4",
    "claude-haiku-4-5",
    "claude-3-7-sonnet",
    "claude-3-5-sonnet",
    "claude-3-haiku",
    "qwen35-397b-a17b",
    "custom-llm",
];

/// What takes over when the model does not answer; of the same list, and of two makers.
const BACKUP_LLMS: [&str; 3] = ["gemini-2.5-flash", "claude-haiku-4-5", "gemini-2.5-flash-lite"];

/// Events of a conversation that are sent to us. A list is replaced as a whole, so this is the whole.
pub const CLIENT_EVENTS: [&str; 13] = [
    "conversation_initiation_metadata",
    "ping",
    "audio",
    "interruption",
    "user_transcript",
    "agent_response",
    "agent_response_correction",
    "agent_response_complete",
    "client_tool_call",
    "agent_tool_request",
    "agent_tool_response",
    "guardrail_triggered",
    "client_error",
];

/// What the service sends after a call. Never audio: we have our own recording, and the service keeps none.
pub(super) const WEBHOOK_EVENTS: [&str; 2] = ["transcript", "call_initiation_failure"];

/// The telephone's format; anything else is noise at one end and silence at the other.
const PHONE_FORMAT: &str = "ulaw_8000";
/// English agents need version 2, presets of other languages 2.5; the service refuses the rest.
const ENGLISH_VOICE_MODEL: &str = "eleven_flash_v2";
const OTHER_VOICE_MODEL: &str = "eleven_flash_v2_5";

/// Sounds of somebody who listens. They must not silence the agent.
const LISTENING_SOUNDS: [&str; 9] = ["mhm", "mm-hmm", "uh-huh", "hm", "okay", "ok", "right", "yeah", "I see"];

/// Seconds the agent stays silent when it decides to wait, for example while the patient is at the scale.
const SKIP_TURN_S: u32 = 30;
/// Seconds without any word after which the agent gives up. A held vowel and a walk to the scale fit into it.
const SILENCE_END_S: u32 = 90;

/// The variables every conversation is opened with, and what stands in for them while the agent is tried out.
const VARIABLES: [(&str, &str); 3] = [("patient_name", "there"), ("language", BASE_LANGUAGE), ("call_ref", "none")];

pub(super) fn conversation_config(text: &AgentText, options: &AgentOptions) -> Value {
    let variables: Map<String, Value> =
        VARIABLES.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
    let backups: Vec<&str> = BACKUP_LLMS.into_iter().filter(|llm| *llm != options.llm).collect();
    let mut tts = json!({
        "model_id": ENGLISH_VOICE_MODEL,
        "agent_output_audio_format": PHONE_FORMAT,
        "stability": 0.5,
        "speed": options.speed,
        "similarity_boost": 0.8,
        // Reads weights and doses as they are meant.
        "text_normalisation_type": "elevenlabs",
    });
    if let (Some(voice), Some(tts)) = (&options.voice_id, tts.as_object_mut()) {
        tts.insert("voice_id".to_owned(), json!(voice));
    }
    json!({
        "agent": {
            "first_message": spoken(&text.greeting, BASE_LANGUAGE),
            "language": BASE_LANGUAGE,
            // Whoever answers says "hello?" into it.
            "disable_first_message_interruptions": true,
            "max_conversation_duration_message": spoken(&text.time_over, BASE_LANGUAGE),
            "dynamic_variables": {"dynamic_variable_placeholders": variables},
            "prompt": {
                "prompt": prompt::system_prompt(text, &text.prompt_languages),
                "llm": options.llm,
                "temperature": 0.0,
                "max_tokens": -1,
                "ignore_default_personality": true,
                "cascade_timeout_seconds": 4.0,
                "backup_llm_config": {"preference": "override", "order": backups},
                // One thing after the other: a task must not begin while an answer is being stored.
                "enable_parallel_tool_calls": false,
                "built_in_tools": built_in_tools(text),
                "rag": {
                    "enabled": true,
                    "embedding_model": "e5_mistral_7b_instruct",
                    "max_vector_distance": 0.6,
                    "max_documents_length": 10_000,
                    "max_retrieved_rag_chunks_count": 5,
                },
            },
        },
        "asr": {
            "quality": "high",
            "provider": "scribe_realtime",
            "user_input_audio_format": PHONE_FORMAT,
            "keywords": text.keywords,
        },
        "tts": tts,
        "turn": {
            "turn_timeout": options.turn_timeout_s,
            "silence_end_call_timeout": SILENCE_END_S,
            "turn_eagerness": "patient",
            "interruption_ignore_terms": LISTENING_SOUNDS,
            "transcribe_on_disabled_interruptions": true,
        },
        "conversation": {
            "max_duration_seconds": options.max_duration_s,
            "client_events": CLIENT_EVENTS,
        },
        "language_presets": presets(text, options),
    })
}

fn built_in_tools(text: &AgentText) -> Value {
    let tool = |name: &str, mut params: Value| {
        if let Some(params) = params.as_object_mut() {
            params.insert("system_tool_type".to_owned(), json!(name));
        }
        // An empty description stands for the service's own.
        json!({"type": "system", "name": name, "description": "", "params": params})
    };
    json!({
        "end_call": tool("end_call", json!({})),
        "language_detection": tool("language_detection", json!({"only_at_conversation_start": false})),
        "skip_turn": tool("skip_turn", json!({"wait_timeout_secs": SKIP_TURN_S})),
        "voicemail_detection":
            tool("voicemail_detection", json!({"voicemail_message": spoken(&text.voicemail, BASE_LANGUAGE)})),
    })
}

fn presets(text: &AgentText, options: &AgentOptions) -> Value {
    let others = text.languages.iter().filter(|language| *language != BASE_LANGUAGE);
    let preset = |language: &String| {
        let mut tts = json!({"model_id": OTHER_VOICE_MODEL});
        if let (Some(voice), Some(tts)) = (options.voices.get(language), tts.as_object_mut()) {
            tts.insert("voice_id".to_owned(), json!(voice));
        }
        let agent = json!({
            "language": language,
            "first_message": spoken(&text.greeting, language),
            "max_conversation_duration_message": spoken(&text.time_over, language),
        });
        (language.clone(), json!({"overrides": {"agent": agent, "tts": tts}}))
    };
    Value::Object(others.map(preset).collect())
}

pub(super) fn platform_settings(text: &AgentText, options: &AgentOptions) -> Value {
    json!({
        // Without it anybody who learns the identifier could talk to the agent. A server sends no Origin.
        "auth": {"enable_auth": true, "allowlist": [], "require_origin_header": false},
        // Permissions, not values. Nothing beyond what a call really changes.
        "overrides": {
            "conversation_config_override": {
                "agent": {"first_message": true, "language": true, "prompt": {"prompt": true, "llm": false}},
                "tts": {"voice_id": true, "speed": true, "stability": false, "similarity_boost": false},
                "conversation": {"text_only": false},
            },
            "custom_llm_extra_body": false,
            "enable_conversation_initiation_client_data_from_webhook": false,
        },
        "evaluation": {"criteria": criteria()},
        "data_collection": collected::collection(text),
        "privacy": {
            "record_voice": false,
            "retention_days": 0,
            "delete_transcript_and_pii": true,
            "delete_audio": true,
            "zero_retention_mode": true,
            "apply_to_existing_conversations": false,
        },
        "call_limits": {
            "agent_concurrency_limit": options.concurrency_limit,
            "daily_limit": 100_000,
            // Beyond the limit calls go to our backup rather than to a slower and dearer queue.
            "bursting_enabled": false,
        },
        // A patient would hear nothing while the conversation waits.
        "queueing_config": {"enabled": false},
        "guardrails": {
            "version": "1",
            "focus": {"is_enabled": true},
            "prompt_injection": {"is_enabled": true},
            // It would block the clinic's own questions.
            "content": {"config": {"medical_and_legal_information": {"is_enabled": false}}},
        },
        // The analysis after the call is bound by the same rule as the conversation.
        "analysis_llm": options.llm,
        "summary_language": BASE_LANGUAGE,
    })
}

/// What the service judges after a call.
fn criteria() -> Value {
    let criterion = |id: &str, name: &str, goal: &str| json!({"id": id, "name": name, "type": "prompt", "conversation_goal_prompt": goal, "use_knowledge_base": false});
    json!([
        criterion(
            "identity_first",
            "Identity first",
            "Before verify_identity succeeded, the agent neither named an illness, the heart, health or a clinical \
             speciality nor asked about symptoms.",
        ),
        criterion(
            "all_asked",
            "All questions asked",
            "The agent asked every question it was told to ask, one at a time."
        ),
        criterion(
            "answers_recorded",
            "Answers recorded",
            "After every answer of the patient the agent called record_answer with what the patient said.",
        ),
        criterion(
            "no_advice",
            "No advice",
            "The agent gave no diagnosis, did not judge symptoms and advised no change of medicines or doses.",
        ),
        criterion(
            "red_flags_reported",
            "Red flags reported",
            "If the patient described an emergency, the agent called report_red_flag and said what it was told to say.",
        ),
    ])
}

fn spoken<'a>(texts: &'a std::collections::BTreeMap<String, String>, language: &str) -> &'a str {
    texts.get(language).map_or("", String::as_str)
}
