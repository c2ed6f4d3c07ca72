#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::answers::{AnswerValue, Source, WeightReport};
use crate::protocol::Protocol;

fn shipped() -> AgentText {
    AgentText::from_protocol(&Protocol::shipped())
}

fn bound() -> Bound {
    Bound {
        tool_ids: vec!["tool_1".into(), "tool_2".into()],
        documents: vec![("doc_1".into(), "one".into()), ("doc_2".into(), "two".into())],
        post_call_webhook_id: Some("wh_1".into()),
    }
}

fn body() -> Value {
    desired(&shipped(), &AgentOptions::default()).unwrap().body(&bound())
}

fn at<'a>(body: &'a Value, path: &str) -> &'a Value {
    body.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null)
}

#[test]
fn what_calls_depend_on_is_set() {
    let body = body();
    for (path, value) in [
        ("conversation_config.asr.user_input_audio_format", json!("ulaw_8000")),
        ("conversation_config.tts.agent_output_audio_format", json!("ulaw_8000")),
        ("conversation_config.tts.model_id", json!("eleven_flash_v2")),
        ("conversation_config.language_presets.es.overrides.tts.model_id", json!("eleven_flash_v2_5")),
        ("conversation_config.language_presets.es.overrides.agent.language", json!("es")),
        ("conversation_config.turn.turn_eagerness", json!("patient")),
        ("conversation_config.agent.prompt.built_in_tools.end_call.params.system_tool_type", json!("end_call")),
        ("conversation_config.agent.prompt.tool_ids", json!(["tool_1", "tool_2"])),
        ("platform_settings.auth.enable_auth", json!(true)),
        ("platform_settings.privacy.zero_retention_mode", json!(true)),
        ("platform_settings.privacy.record_voice", json!(false)),
        ("platform_settings.privacy.retention_days", json!(0)),
        ("platform_settings.queueing_config.enabled", json!(false)),
        ("platform_settings.workspace_overrides.webhooks.post_call_webhook_id", json!("wh_1")),
        ("platform_settings.workspace_overrides.webhooks.events", json!(["transcript", "call_initiation_failure"])),
    ] {
        assert_eq!(at(&body, path), &value, "{path}");
    }
    let mut permitted = Vec::new();
    leaves(at(&body, "platform_settings.overrides"), String::new(), &mut permitted);
    permitted.sort();
    assert_eq!(
        permitted,
        ["agent.first_message", "agent.language", "agent.prompt.prompt", "tts.speed", "tts.voice_id"]
    );
    let events = at(&body, "conversation_config.conversation.client_events").as_array().unwrap().len();
    assert_eq!(events, CLIENT_EVENTS.len());
    for path in ["agent.prompt.llm", "agent.prompt.backup_llm_config.order"] {
        let used = at(&body, &format!("conversation_config.{path}"));
        let used = used.as_array().map_or_else(|| vec![used.clone()], Clone::clone);
        assert!(used.iter().all(|llm| LLMS_WITHOUT_RETENTION.contains(&llm.as_str().unwrap())), "{used:?}");
    }
}

fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let below = if key == "conversation_config_override" { String::new() } else { format!("{path}.{key}") };
                leaves(value, below, out);
            }
        }
        Value::Bool(true) => out.push(path.trim_start_matches('.').to_owned()),
        _ => {}
    }
}

#[test]
fn tools_wait_for_our_answer_and_offer_only_what_the_protocol_has() {
    let agent = desired(&shipped(), &AgentOptions::default()).unwrap();
    let find = |name: &str| agent.tools.iter().find(|tool| tool["name"] == name);
    for name in [
        "verify_identity",
        "record_consent",
        "record_answer",
        "start_task",
        "end_task",
        "report_red_flag",
        "transfer_to_nurse",
        "mark_wrong_person",
    ] {
        let tool = find(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(tool["expects_response"], true, "{name}");
        assert!((1..=120).contains(&tool["response_timeout_secs"].as_i64().unwrap()), "{name}");
        assert!(tool["description"].as_str().unwrap().starts_with(TOOL_MARK), "{name}");
        for (property, definition) in tool["parameters"]["properties"].as_object().unwrap() {
            assert!(definition.get("description").is_some(), "{name}.{property}: the model must know what to fill in");
            assert!(definition.get("enum").is_none() || definition["type"] == "string", "{name}.{property}");
        }
    }
    let questions = &find("record_answer").unwrap()["parameters"]["properties"]["question"]["enum"];
    assert!(questions.as_array().unwrap().contains(&json!("weight")));
    assert!(!questions.as_array().unwrap().contains(&json!("vowel")), "a task is no question");
    assert_eq!(
        find("start_task").unwrap()["parameters"]["properties"]["task"]["enum"],
        json!(["counting", "sustained-vowel"])
    );
    let mut only_questions = shipped();
    only_questions.items.retain(|item| item.task.is_none());
    let agent = desired(&only_questions, &AgentOptions::default()).unwrap();
    assert!(agent.tools.iter().all(|tool| tool["name"] != "start_task"), "nothing to start");
}

#[test]
fn the_prompt_has_every_question_and_the_rules() {
    let text = shipped();
    assert_eq!(text.prompt_languages, ["en", "es"], "drafts come with the answers of our tools");
    let prompt = system_prompt(&text, &text.prompt_languages);
    for item in &text.items {
        for language in ["en", "es"] {
            assert!(prompt.contains(item.prompts[language].as_str()), "{language} {}", item.id);
        }
        assert!(!prompt.contains(item.prompts["fr"].as_str()), "{}", item.id);
        assert!(system_prompt(&text, &["fr".to_owned()]).contains(item.prompts["fr"].as_str()));
    }
    for rule in
        ["verify_identity", "begins with \"Next:\"", "exactly the words", "never diagnose", "never advise on medicines"]
    {
        assert!(prompt.contains(rule), "{rule}");
    }
    for (code, _) in &text.red_flags {
        assert!(prompt.contains(code.as_str()), "{code}");
    }
    assert!(!prompt.contains("  \n") && !prompt.contains("\n\n\n"));
}

#[test]
fn what_would_fail_or_tell_too_much_is_refused_with_its_place() {
    let fails = |change: &dyn Fn(&mut AgentText, &mut AgentOptions)| {
        let (mut text, mut options) = (shipped(), AgentOptions::default());
        change(&mut text, &mut options);
        desired(&text, &options).unwrap_err().to_string()
    };
    let said = fails(&|text, _| {
        text.greeting.insert("es".into(), "Hola, llamamos de la clínica del Corazón".into());
    });
    assert!(said.contains("greeting") && said.contains("es") && said.contains("neutrally"), "{said}");
    let said = fails(&|text, _| {
        text.voicemail.insert("en".into(), "This is the heart failure clinic".into());
    });
    assert!(said.contains("voicemail"), "{said}");
    let said = fails(&|_, options| options.llm = "gpt-4o".into());
    assert!(said.contains("gpt-4o") && said.contains("gemini-2.5-flash"), "{said}");
    assert!(fails(&|text, _| text.languages.push("tlh".into())).contains("tlh"));
    assert!(fails(&|text, _| text.languages.push("ja".into())).contains("language ja"));
    assert!(fails(&|text, _| text.languages.clear()).contains("en"));
    assert!(fails(&|text, _| text.items.clear()).contains("items"));
    assert!(fails(&|text, _| text.items.push(text.items[0].clone())).contains("items"));
    assert!(fails(&|_, options| options.turn_timeout_s = 7).contains("turn_timeout_s"));
    assert!(fails(&|_, options| options.speed = 2.0).contains("speed"));
}

#[test]
fn an_agent_equal_to_the_protocol_has_no_difference_whatever_the_service_adds() {
    let desired = body();
    let mut live = desired.clone();
    live["agent_id"] = json!("agent_1");
    live["conversation_config"]["vad"] = json!({});
    live["conversation_config"]["turn"]["turn_timeout"] = json!(12.0);
    live["conversation_config"]["tts"]["speed"] = json!(0.949_999_988);
    live["conversation_config"]["agent"]["prompt"]["built_in_tools"]["transfer_to_number"] = json!(null);
    live["conversation_config"]["agent"]["prompt"]["tool_ids"] = json!(["tool_2", "tool_1"]);
    live["conversation_config"]["agent"]["prompt"]["knowledge_base"].as_array_mut().unwrap().reverse();
    live["conversation_config"]["conversation"]["client_events"].as_array_mut().unwrap().reverse();
    live["platform_settings"]["auth"]["allowlist"] = json!(null);
    live["conversation_config"]["agent"]["prompt"]["built_in_tools"]["end_call"]["description"] =
        json!("Its own words");
    live["platform_settings"]["evaluation"]["criteria"][0]["scope"] = json!("conversation");
    assert_eq!(diff(&live, &desired), []);
}

#[test]
fn each_difference_names_its_place_and_what_breaks() {
    let desired = body();
    let mut live = desired.clone();
    live["conversation_config"]["tts"]["agent_output_audio_format"] = json!("pcm_16000");
    live["conversation_config"]["conversation"]["client_events"] = json!(["audio", "interruption"]);
    live["conversation_config"]["agent"]["prompt"]["tool_ids"] = json!(["tool_1", "tool_2", "tool_3"]);
    live["conversation_config"]["agent"]["prompt"]["knowledge_base"] = json!([]);
    live["platform_settings"]["evaluation"]["criteria"][1]["name"] = json!("Something else");
    live["platform_settings"].as_object_mut().unwrap().remove("privacy");
    live["platform_settings"]["queueing_config"] = json!(null);
    let changes = diff(&live, &desired);
    let find = |path: &str| {
        changes.iter().find(|change| change.path == path).unwrap_or_else(|| panic!("{path}: {changes:#?}"))
    };
    assert!(find("conversation_config.tts.agent_output_audio_format").breaks.contains("patient hears noise"));
    assert!(find("conversation_config.conversation.client_events").breaks.contains("transcripts"));
    assert!(find("conversation_config.agent.prompt.tool_ids").breaks.contains("answers are not recorded"));
    assert!(find("conversation_config.agent.prompt.knowledge_base").breaks.contains("general knowledge"));
    assert_eq!(find("platform_settings.evaluation.criteria[all_asked].name").live, Some(json!("Something else")));
    assert!(find("platform_settings.privacy.zero_retention_mode").breaks.contains("keeps"));
    assert_eq!(find("platform_settings.queueing_config.enabled").live, None);
    assert!(changes.iter().all(|change| !change.breaks.is_empty()));
    assert!(diff(&json!({}), &desired).len() > 60, "everything is missing");
}

#[test]
fn values_found_after_the_call_become_answers_where_they_can_be_meant() {
    let text = shipped();
    let collection = collection(&text);
    assert_eq!(collection["dyspnea"]["enum"], json!(["none", "usual", "exertion", "rest"]));
    assert_eq!(collection["orthopnea"]["type"], "boolean");
    let found: Vec<(String, Value)> = [
        ("dyspnea", json!("Rest")),
        ("orthopnea", json!("yes")),
        ("nocturnal_dyspnea", json!(null)),
        ("swelling", json!("enormous")),
        ("weight_value", json!(182.5)),
        ("weight_unit", json!("lb")),
        ("weight_change", json!("5")),
        ("weight_days", json!(3)),
        ("invented", json!(true)),
    ]
    .map(|(id, value)| (id.to_owned(), value))
    .into();
    let answers = collected_answers(&text, &found);
    let ids: Vec<&str> = answers.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["dyspnea", "orthopnea", "weight"]);
    assert_eq!(answers[0].1.value, AnswerValue::Text("rest".into()));
    assert_eq!(answers[1].1.value, AnswerValue::YesNo(true));
    let AnswerValue::Weight(WeightReport { weight_kg: Some(kg), change_kg: Some(change), days: Some(3) }) =
        answers[2].1.value
    else {
        panic!("{:?}", answers[2])
    };
    assert!((kg - 82.78).abs() < 0.01 && (change - 2.27).abs() < 0.01, "{kg} {change}");
    assert!(answers.iter().all(|(_, sourced)| sourced.source == Source::PostCall));
    // Without a unit nobody knows what 82.5 means, and nobody weighs 900 kg.
    for (value, unit) in [(82.5, json!(null)), (82.5, json!("stone")), (900.0, json!("kg"))] {
        let found = vec![("weight_value".to_owned(), json!(value)), ("weight_unit".to_owned(), unit)];
        assert_eq!(collected_answers(&text, &found), []);
    }
}
