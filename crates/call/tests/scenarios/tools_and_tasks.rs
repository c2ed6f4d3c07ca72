//! Tool requests, and the voice tasks they open and close.

use crate::world::{World, run_tool};
use call::Input;
use call::engine::AnalysisStep;
use clinic::TimelineKind;
use clinic::tools::VoiceTask;
use serde_json::json;

fn request(world: &mut World, id: &str, name: &str, parameters: serde_json::Value) {
    world.agent_says(&json!({"type": "client_tool_call", "client_tool_call": {
        "tool_name": name, "tool_call_id": id, "parameters": parameters, "event_id": 7}}));
}

/// Does what the shell does: runs what was asked for and hands the answer back.
fn answer_all(world: &mut World) {
    for (id, name, parameters) in std::mem::take(&mut world.tool_calls) {
        let outcome = run_tool(&name, &parameters);
        world.input(Input::ToolDone { id: &id, outcome });
    }
}

#[test]
fn a_tool_request_is_answered_with_its_id() {
    let mut world = World::bridged();
    request(&mut world, "tc_1", "record_answer", json!({"question": "swelling", "value": "no"}));
    answer_all(&mut world);
    let results = world.sent_to_agent("client_tool_result");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["tool_call_id"], "tc_1");
    assert_eq!(results[0]["is_error"], false);
    assert!(results[0]["result"].is_string(), "objects travel as JSON text");
    assert_eq!((world.count("tool_call"), world.count("tool_result")), (1, 1));
}

#[test]
fn an_unknown_tool_is_answered_too() {
    let mut world = World::bridged();
    request(&mut world, "tc_1", "order_pizza", json!({}));
    answer_all(&mut world);
    assert_eq!(world.sent_to_agent("client_tool_result")[0]["is_error"], true);
}

#[test]
fn a_repeated_request_is_answered_once() {
    let mut world = World::bridged();
    for _ in 0..3 {
        request(&mut world, "tc_1", "end_task", json!({}));
        answer_all(&mut world);
    }
    assert_eq!(world.sent_to_agent("client_tool_result").len(), 1);
}

#[test]
fn a_slow_tool_does_not_hold_up_audio_and_is_given_up() {
    let mut world = World::bridged();
    world.agent_audio(1, 100, 1);
    request(&mut world, "tc_1", "record_answer", json!({"question": "weight", "value": 182}));
    let before = world.agent_heard().len();
    world.caller_speaks(1_000);
    assert_eq!(world.agent_heard().len() - before, 8_000);
    world.caller_silent(8_000);
    let results = world.sent_to_agent("client_tool_result");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["is_error"], true);
    answer_all(&mut world);
    assert_eq!(world.sent_to_agent("client_tool_result").len(), 1, "the late answer is not sent");
}

#[test]
fn a_flood_of_requests_is_bounded_and_each_is_answered() {
    let mut world = World::bridged();
    for n in 0..40 {
        request(&mut world, &format!("tc_{n}"), "end_task", json!({}));
    }
    assert_eq!(world.tool_calls.len(), 16);
    answer_all(&mut world);
    assert_eq!(world.sent_to_agent("client_tool_result").len(), 40);
}

#[test]
fn a_voice_task_gets_a_segment_of_its_own() {
    let mut world = World::bridged();
    world.caller_speaks(500);
    request(&mut world, "tc_1", "start_task", json!({"task": "sustained-vowel"}));
    answer_all(&mut world);
    world.caller_speaks(2_000);
    request(&mut world, "tc_2", "end_task", json!({}));
    answer_all(&mut world);
    world.caller_speaks(500);
    world.input(Input::PhoneClosed);
    let opened: Vec<_> = world
        .analysis
        .iter()
        .filter_map(|step| if let AnalysisStep::Open { segment, task } = step { Some((*segment, *task)) } else { None })
        .collect();
    assert_eq!(opened, [(0, VoiceTask::Speech), (1, VoiceTask::SustainedVowel)]);
    let spans = |wanted: u32| {
        world
            .analysis
            .iter()
            .find_map(|step| match step {
                AnalysisStep::Close { segment, spans } if *segment == wanted => Some(spans.clone()),
                _ => None,
            })
            .unwrap()
    };
    assert_eq!(spans(1).iter().map(|s| s.end_ms - s.start_ms).sum::<u64>(), 2_000);
    assert_eq!(spans(0).len(), 2, "before and after the task");
    assert_eq!(spans(0).iter().map(|s| s.end_ms - s.start_ms).sum::<u64>(), 1_000);
}

#[test]
fn a_new_task_closes_the_one_before() {
    let mut world = World::bridged();
    for (id, task) in [("a", "counting"), ("b", "sustained-vowel")] {
        request(&mut world, id, "start_task", json!({"task": task}));
        answer_all(&mut world);
        world.caller_speaks(400);
    }
    assert_eq!((world.count("task_started"), world.count("task_ended")), (2, 1));
}

#[test]
fn a_task_that_nobody_ends_is_closed_in_time_and_at_hang_up() {
    let mut world = World::bridged();
    world.agent_audio(1, 100, 1);
    request(&mut world, "a", "start_task", json!({"task": "counting"}));
    answer_all(&mut world);
    world.caller_silent(121_000);
    assert_eq!(world.count("task_ended"), 1);
    request(&mut world, "b", "start_task", json!({"task": "counting"}));
    answer_all(&mut world);
    world.caller_speaks(400);
    world.input(Input::PhoneClosed);
    assert_eq!(world.count("task_ended"), 2);
}

#[test]
fn what_the_caller_sends_while_the_agent_speaks_is_not_open_speech() {
    let mut world = World::bridged();
    world.agent_audio(1, 1_000, 1);
    world.caller_silent(1_040);
    world.caller_speaks(1_000);
    world.input(Input::PhoneClosed);
    let pushed: usize =
        world.analysis.iter().map(|step| if let AnalysisStep::Push { ulaw, .. } = step { ulaw.len() } else { 0 }).sum();
    assert!((980..=1_040).contains(&(pushed / 8)), "{} ms", pushed / 8);
}

#[test]
fn transcripts_are_kept_word_for_word() {
    let mut world = World::bridged();
    world.user_transcript("  I weigh 182 pounds. ");
    let kept = world
        .records
        .iter()
        .any(|event| matches!(&event.kind, TimelineKind::UserTranscript { text } if text == "I weigh 182 pounds."));
    assert!(kept);
}

#[test]
fn whoever_refuses_to_be_recorded_is_neither_kept_nor_measured() {
    let mut world = World::bridged();
    world.caller_speaks(400);
    assert!(!world.captures.is_empty());
    world.input(Input::StopRecording);
    let (kept, steps) = (world.captures.len(), world.analysis.len());
    request(&mut world, "tc_1", "start_task", json!({"task": "counting"}));
    answer_all(&mut world);
    world.agent_audio(1, 400, 1);
    world.caller_speaks(1_000);
    world.input(Input::PhoneClosed);
    assert_eq!((world.captures.len(), world.analysis.len()), (kept, steps));
    assert!(!world.agent_heard().is_empty(), "the conversation goes on");
}
