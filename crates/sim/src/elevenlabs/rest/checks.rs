//! What the service refuses in the settings of agents and tools, and what it fills in.

use super::account::{Answer, invalid};
use serde_json::{Value, json};

/// Models that index documents.
pub(super) const EMBEDDING_MODELS: [&str; 3] =
    ["e5_mistral_7b_instruct", "multilingual_e5_large_instruct", "qwen3_embedding_4b"];

/// Models there are, and whether they may be used while nothing is retained.
const LLMS: [(&str, bool); 20] = [
    ("gemini-2.5-flash", true),
    ("gemini-2.5-flash-lite", true),
    ("gemini-2.0-flash", true),
    ("gemini-2.0-flash-lite", true),
    ("gemini-1.5-flash", true),
    ("gemini-1.5-pro", true),
    ("gemini-1.0-pro", true),
    ("claude-sonnet-4-5", true),
    ("claude-sonnet-4", true),
    ("claude-haiku-4-5", true),
    ("claude-3-7-sonnet", true),
    ("claude-3-5-sonnet", true),
    ("claude-3-haiku", true),
    ("qwen35-397b-a17b", true),
    ("custom-llm", true),
    ("gpt-4o", false),
    ("gpt-4o-mini", false),
    ("gpt-4.1", false),
    ("gpt-5", false),
    ("gemini-3-flash-preview", false),
];

/// Voice models that speak English only, and those for all other languages.
const ENGLISH_MODELS: [&str; 3] = ["eleven_turbo_v2", "eleven_flash_v2", "eleven_v3_conversational"];
const OTHER_MODELS: [&str; 3] = ["eleven_turbo_v2_5", "eleven_flash_v2_5", "eleven_v3_conversational"];

const AUDIO_FORMATS: [&str; 7] =
    ["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"];

const CLIENT_EVENTS: [&str; 25] = [
    "conversation_initiation_metadata",
    "asr_initiation_metadata",
    "ping",
    "audio",
    "interruption",
    "user_transcript",
    "tentative_user_transcript",
    "agent_response",
    "agent_response_correction",
    "client_tool_call",
    "mcp_tool_call",
    "mcp_connection_status",
    "agent_tool_request",
    "agent_tool_response",
    "agent_tool_response_full_payload",
    "agent_response_metadata",
    "vad_score",
    "agent_chat_response_part",
    "client_error",
    "guardrail_triggered",
    "dtmf_request",
    "agent_response_complete",
    "context_usage",
    "internal_turn_probability",
    "internal_tentative_agent_response",
];

/// What an agent is when nobody said anything about it.
pub(super) fn new_agent() -> Value {
    json!({
        "name": "New agent",
        "tags": [],
        "conversation_config": {
            "agent": {
                "first_message": "", "language": "en", "disable_first_message_interruptions": false,
                "dynamic_variables": {"dynamic_variable_placeholders": {}},
                "prompt": {"prompt": "", "llm": "gemini-2.5-flash", "temperature": 0.0, "max_tokens": -1, "tool_ids": [],
                    "built_in_tools": {"end_call": null, "language_detection": null, "transfer_to_agent": null,
                        "transfer_to_number": null, "skip_turn": null, "play_keypad_touch_tone": null,
                        "voicemail_detection": null},
                    "knowledge_base": [], "ignore_default_personality": false,
                    "rag": {"enabled": false, "embedding_model": "e5_mistral_7b_instruct"}},
            },
            "asr": {"quality": "high", "provider": "scribe_realtime", "user_input_audio_format": "pcm_16000", "keywords": []},
            "tts": {"model_id": "eleven_flash_v2", "voice_id": "cjVigY5qzO86Huf0OWal",
                "agent_output_audio_format": "pcm_16000", "stability": 0.5, "speed": 1.0, "similarity_boost": 0.8},
            "turn": {"turn_timeout": 7.0, "silence_end_call_timeout": -1.0, "turn_eagerness": "normal"},
            "conversation": {"text_only": false, "max_duration_seconds": 600,
                "client_events": ["conversation_initiation_metadata", "ping", "audio", "interruption", "user_transcript",
                    "tentative_user_transcript", "agent_response"]},
            "language_presets": {},
        },
        "platform_settings": {
            "auth": {"enable_auth": false, "allowlist": [], "require_origin_header": false},
            "overrides": {"conversation_config_override": {
                "agent": {"first_message": false, "language": false, "prompt": {"prompt": false, "llm": false}},
                "tts": {"voice_id": false, "speed": false, "stability": false, "similarity_boost": false},
                "conversation": {"text_only": true}},
                "custom_llm_extra_body": false, "enable_conversation_initiation_client_data_from_webhook": false},
            "evaluation": {"criteria": []},
            "data_collection": {},
            "privacy": {"record_voice": true, "retention_days": -1, "delete_transcript_and_pii": false,
                "delete_audio": false, "zero_retention_mode": false, "apply_to_existing_conversations": false},
            "call_limits": {"agent_concurrency_limit": -1, "daily_limit": 100_000, "bursting_enabled": true},
            // On for new agents.
            "queueing_config": {"enabled": true, "wait_timeout_seconds": 30},
            "workspace_overrides": {"webhooks": null},
        },
    })
}

/// What a tool is when nobody said anything about it.
pub(super) fn new_tool() -> Value {
    json!({"expects_response": false, "response_timeout_secs": 20, "interruption_mode": "allow", "pre_tool_speech": "auto",
        "execution_mode": "immediate", "assignments": [], "tool_error_handling_mode": "auto"})
}

/// Checks the settings of an agent.
pub(super) fn agent(content: &Value) -> Result<(), Answer> {
    let at = |pointer: &str| content.pointer(&format!("/conversation_config{pointer}"));
    let text = |pointer: &str| at(pointer).and_then(Value::as_str).unwrap_or_default();
    one_of(
        text("/asr/user_input_audio_format"),
        &AUDIO_FORMATS,
        &["conversation_config", "asr", "user_input_audio_format"],
    )?;
    one_of(
        text("/tts/agent_output_audio_format"),
        &AUDIO_FORMATS,
        &["conversation_config", "tts", "agent_output_audio_format"],
    )?;
    one_of(
        text("/turn/turn_eagerness"),
        &["patient", "normal", "eager"],
        &["conversation_config", "turn", "turn_eagerness"],
    )?;
    for event in at("/conversation/client_events").and_then(Value::as_array).into_iter().flatten() {
        one_of(
            event.as_str().unwrap_or("?"),
            &CLIENT_EVENTS,
            &["conversation_config", "conversation", "client_events"],
        )?;
    }
    let range = |pointer: &str, low: f64, high: f64, loc: &[&str]| match at(pointer).and_then(Value::as_f64) {
        Some(value) if value != -1.0 && !(low..=high).contains(&value) => {
            Err(invalid(loc, &format!("Input should be between {low} and {high}"), "value_error"))
        }
        _ => Ok(()),
    };
    range("/turn/turn_timeout", 1.0, 30.0, &["conversation_config", "turn", "turn_timeout"])?;
    range("/tts/speed", 0.7, 1.2, &["conversation_config", "tts", "speed"])?;
    let (language, model) = (text("/agent/language"), text("/tts/model_id"));
    if language == "en" && !ENGLISH_MODELS.contains(&model) {
        return Err(refused("English Agents must use turbo or flash v2."));
    }
    if language != "en" && !OTHER_MODELS.contains(&model) {
        return Err(refused("Non-english Agents must use turbo or flash v2_5."));
    }
    llms(content)
}

/// While nothing is retained, only some models may be used anywhere in the agent.
fn llms(content: &Value) -> Result<(), Answer> {
    let prompt = content.pointer("/conversation_config/agent/prompt");
    let mut used: Vec<&str> = Vec::new();
    used.extend(prompt.and_then(|prompt| prompt.get("llm")?.as_str()));
    let backups = prompt.and_then(|prompt| prompt.pointer("/backup_llm_config/order")?.as_array());
    used.extend(backups.into_iter().flatten().filter_map(Value::as_str));
    used.extend(content.pointer("/platform_settings/analysis_llm").and_then(Value::as_str));
    let zero_retention = content.pointer("/platform_settings/privacy/zero_retention_mode") == Some(&Value::Bool(true));
    for llm in used {
        match LLMS.iter().find(|(name, _)| *name == llm) {
            None => return Err(invalid(&["conversation_config", "agent", "prompt", "llm"], "Unknown LLM", "enum")),
            Some((_, false)) if zero_retention => {
                return Err(refused(&format!("LLM {llm} is not available in zero retention mode.")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks the settings of a tool.
pub(super) fn tool(config: &Value) -> Result<(), Answer> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default();
    one_of(text("type"), &["client", "webhook", "system", "mcp"], &["body", "tool_config", "type"])?;
    let name = text("name");
    let good = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    if !good(name) {
        return Err(invalid(&["body", "tool_config", "name"], "String should match a name", "string_pattern_mismatch"));
    }
    if text("description").is_empty() {
        return Err(invalid(&["body", "tool_config", "description"], "Field required", "missing"));
    }
    match config.get("response_timeout_secs").and_then(Value::as_i64) {
        Some(-1 | 1..=120) => {}
        _ => {
            let loc = ["body", "tool_config", "response_timeout_secs"];
            return Err(invalid(&loc, "Input should be between 1 and 120", "value_error"));
        }
    }
    for (name, property) in config.pointer("/parameters/properties").and_then(Value::as_object).into_iter().flatten() {
        let loc = ["body", "tool_config", "parameters", "properties", name.as_str()];
        let sources = ["description", "dynamic_variable", "constant_value", "is_omitted"];
        let given = sources.into_iter().filter(|source| property.get(source).is_some_and(|value| !value.is_null()));
        if given.count() != 1 {
            return Err(invalid(&loc, "Exactly one source of the value must be given", "value_error"));
        }
        let kind = property.get("type").and_then(Value::as_str).unwrap_or_default();
        one_of(kind, &["boolean", "string", "integer", "number", "object", "array"], &loc)?;
        if kind != "string" && property.get("enum").is_some_and(|value| !value.is_null()) {
            return Err(invalid(&loc, "Only strings may be enumerated", "value_error"));
        }
    }
    Ok(())
}

/// Answer of `GET /v1/convai/llm/list`.
pub(super) fn llm_list() -> Value {
    let info = |(name, _): &(&str, bool)| {
        json!({"llm": name, "is_checkpoint": false, "max_tokens_limit": 8192, "max_context_limit": 1_000_000,
            "supports_image_input": false, "supports_document_input": false, "supports_parallel_tool_calls": true,
            "available_reasoning_efforts": null, "available_service_tiers": [], "deprecation_info": null})
    };
    json!({"llms": LLMS.iter().map(info).collect::<Vec<_>>(), "default_deprecation_config": {
        "warning_start_days": 30, "fallback_start_days": 15, "fallback_complete_days": 0}})
}

fn one_of(value: &str, known: &[&str], loc: &[&str]) -> Result<(), Answer> {
    if known.contains(&value) { Ok(()) } else { Err(invalid(loc, "Input is not one of the known values", "enum")) }
}

fn refused(message: &str) -> Answer {
    (400, json!({"detail": {"status": "bad_request", "message": message}}))
}
