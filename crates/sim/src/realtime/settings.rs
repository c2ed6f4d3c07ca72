//! The settings of a session: what it begins with, and what a client may make of them.

use serde_json::{Value, json};

/// Voices there are.
const VOICES: [&str; 10] = ["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"];
/// Models that write down what the caller says.
const TRANSCRIPTION_MODELS: [&str; 7] = [
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-realtime-whisper",
];
/// Fields of a session that a client may set.
const FIELDS: [&str; 13] = [
    "type",
    "audio",
    "include",
    "instructions",
    "max_output_tokens",
    "model",
    "output_modalities",
    "parallel_tool_calls",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
    "tracing",
];

/// Why settings are refused: code, explanation, parameter.
pub(super) type Refusal = (&'static str, String, String);

/// A session nobody has set anything of.
pub(super) fn fresh(id: &str, model: &str, expires_at: u64) -> Value {
    json!({
        "id": id, "object": "realtime.session", "type": "realtime", "model": model, "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": "Your knowledge cutoff is 2023-10. You are a helpful, witty, and friendly AI.",
        "tools": [], "tool_choice": "auto", "max_output_tokens": "inf", "tracing": null, "truncation": "auto",
        "prompt": null, "include": null,
        "audio": {
            "input": {"format": {"type": "audio/pcm", "rate": 24_000}, "transcription": null, "noise_reduction": null,
                "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                    "silence_duration_ms": 500, "idle_timeout_ms": null, "create_response": true,
                    "interrupt_response": true}},
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy", "speed": 1.0},
        },
    })
}

/// The settings after an update, or why they stay.
pub(super) fn updated(session: &Value, update: &Value, has_spoken: bool) -> Result<Value, Refusal> {
    let Some(fields) = update.as_object() else {
        return Err(("missing_required_parameter", "Missing required parameter: 'session'.".into(), "session".into()));
    };
    if update.get("type").and_then(Value::as_str) != Some("realtime") {
        let text = "Missing required parameter: 'session.type'.".to_owned();
        return Err(("missing_required_parameter", text, "session.type".to_owned()));
    }
    if let Some(field) = fields.keys().find(|field| !FIELDS.contains(&field.as_str()) && *field != "truncation") {
        let param = format!("session.{field}");
        return Err(("unknown_parameter", format!("Unknown parameter: '{param}'."), param));
    }
    if update.get("model").is_some_and(|model| Some(model) != session.get("model")) {
        return Err(("cannot_update_model", "The model cannot be changed.".into(), "session.model".into()));
    }
    check(update)?;
    let voice = "/audio/output/voice";
    if has_spoken && update.pointer(voice).is_some_and(|new| Some(new) != session.pointer(voice)) {
        let text = "Cannot update a conversation's voice if assistant audio is present.".to_owned();
        return Err(("cannot_update_voice", text, "session.audio.output.voice".to_owned()));
    }
    let mut merged = session.clone();
    merge(&mut merged, update);
    Ok(merged)
}

fn invalid(param: &str, value: &Value, expected: &str) -> Refusal {
    let text = format!("Invalid value: {value}. Supported values are: {expected}.");
    ("invalid_value", text, format!("session.{param}"))
}

fn check(update: &Value) -> Result<(), Refusal> {
    let at = |path: &str| update.pointer(path).filter(|value| !value.is_null());
    for (path, param) in [
        ("/audio/input/format/type", "audio.input.format.type"),
        ("/audio/output/format/type", "audio.output.format.type"),
    ] {
        let known = ["audio/pcm", "audio/pcmu", "audio/pcma"];
        if let Some(value) = at(path).filter(|value| !value.as_str().is_some_and(|name| known.contains(&name))) {
            return Err(invalid(param, value, "'audio/pcm', 'audio/pcmu', and 'audio/pcma'"));
        }
    }
    let known = |names: &[&str], value: &Value| value.as_str().is_some_and(|name| names.contains(&name));
    if let Some(value) = at("/audio/output/voice").filter(|value| !known(&VOICES, value)) {
        return Err(invalid("audio.output.voice", value, &VOICES.join(", ")));
    }
    if let Some(value) = at("/audio/input/transcription/model").filter(|value| !known(&TRANSCRIPTION_MODELS, value)) {
        return Err(invalid("audio.input.transcription.model", value, &TRANSCRIPTION_MODELS.join(", ")));
    }
    if let Some(value) =
        at("/audio/input/turn_detection/type").filter(|value| !known(&["server_vad", "semantic_vad"], value))
    {
        return Err(invalid("audio.input.turn_detection.type", value, "'server_vad' and 'semantic_vad'"));
    }
    if let Some(value) = at("/audio/input/turn_detection/idle_timeout_ms")
        .filter(|value| !value.as_u64().is_some_and(|ms| (5_000..=30_000).contains(&ms)))
    {
        return Err(invalid("audio.input.turn_detection.idle_timeout_ms", value, "5000 to 30000"));
    }
    if let Some(value) =
        at("/output_modalities").filter(|value| **value != json!(["audio"]) && **value != json!(["text"]))
    {
        return Err(invalid("output_modalities", value, "['text'] and ['audio']"));
    }
    for (number, tool) in at("/tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
        let is_name = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let has_schema = tool.pointer("/parameters/type").is_none_or(|kind| kind == "object");
        if tool.get("type").and_then(Value::as_str) != Some("function") || !is_name || !has_schema {
            return Err(invalid(&format!("tools[{number}]"), tool, "functions with a name and a schema of an object"));
        }
    }
    Ok(())
}

/// Puts the fields of `update` into `whole`; lists and nulls replace.
fn merge(whole: &mut Value, update: &Value) {
    match (whole.as_object_mut(), update.as_object()) {
        (Some(whole), Some(update)) => {
            // Another format is another object, not a mixture of both.
            if update.get("type").is_some_and(|kind| Some(kind) != whole.get("type")) {
                whole.clear();
            }
            for (name, value) in update {
                merge(whole.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        _ => *whole = update.clone(),
    }
}
