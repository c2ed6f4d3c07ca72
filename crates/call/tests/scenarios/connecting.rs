//! Reaching the agent while the phone rings, and what happens when that does not work.

use crate::world::World;
use call::agent::{AgentClose, ConnectFailure};
use call::engine::Alert;
use call::{CallConfig, Input, Tick};
use clinic::{CallOutcome, EndCause};
use serde_json::json;

#[test]
fn the_agent_is_called_before_the_phone_is_there() {
    let world = World::new();
    assert_eq!(world.connects, [(1, Tick::ZERO)]);
}

#[test]
fn the_first_frame_is_init_with_the_patients_variables() {
    let mut world = World::new();
    world.agent_opens();
    let first = &world.to_agent[0].message;
    assert_eq!(first["type"], "conversation_initiation_client_data");
    assert_eq!(first["dynamic_variables"]["patient_name"], "Ada");
    assert_eq!(world.to_agent.len(), 1);
}

#[test]
fn an_agent_that_takes_300_ms_costs_not_one_frame() {
    let mut world = World::new();
    world.phone_starts();
    for n in 0..15 {
        world.run_ms(20);
        world.frame(&[n; 160]);
    }
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    for n in 15..20 {
        world.run_ms(20);
        world.frame(&[n; 160]);
    }
    let expected: Vec<u8> = (0..20).flat_map(|n| [n; 160]).collect();
    assert_eq!(world.agent_heard(), expected);
}

#[test]
fn ten_seconds_of_caller_audio_wait_for_a_slow_agent() {
    let mut world = World::new();
    world.phone_starts();
    world.caller_speaks(9_900);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    assert_eq!(world.agent_heard().len(), 9_900 * 8);
    assert_eq!(world.count("audio_dropped"), 0);
}

#[test]
fn audio_beyond_the_bound_is_dropped_oldest_first_and_counted() {
    let mut world = World::new();
    world.phone_starts();
    world.caller_speaks(12_000);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    assert_eq!(world.agent_heard().len(), 10_000 * 8);
    assert_eq!(world.count("audio_dropped"), 1);
    world.input(Input::PhoneClosed);
    assert_eq!(world.done[0].to_agent_dropped_ms, 2_000);
}

#[test]
fn no_audio_is_sent_before_the_formats_are_known() {
    let mut world = World::new();
    world.phone_starts();
    world.agent_opens();
    world.caller_speaks(200);
    assert!(world.agent_heard().is_empty());
    world.metadata("ulaw_8000", "ulaw_8000");
    assert_eq!(world.agent_heard().len(), 200 * 8);
}

#[test]
fn pings_and_queue_events_may_come_before_metadata() {
    let mut world = World::new();
    world.phone_starts();
    world.agent_opens();
    world.agent_says(&json!({"type": "ping", "ping_event": {"event_id": 0, "ping_ms": null}}));
    assert_eq!(world.sent_to_agent("pong")[0]["event_id"], 0, "an id of 0 is an id");
    world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": "waiting"}}));
    world.metadata("ulaw_8000", "ulaw_8000");
    world.caller_speaks(100);
    assert!(world.agent_heard().is_empty(), "a waiting conversation discards what we send");
    world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": "admitted"}}));
    assert_eq!(world.agent_heard().len(), 800);
}

#[test]
fn the_first_agent_audio_also_ends_waiting_in_the_queue() {
    let mut world = World::bridged();
    world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": "waiting"}}));
    world.caller_speaks(100);
    world.agent_audio(1, 100, 1);
    assert_eq!(world.agent_heard().len(), 800);
}

#[test]
fn a_greeting_that_comes_before_the_phone_waits_for_it_whole() {
    let mut world = World::new();
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.agent_audio(1, 700, 0x11);
    world.run_ms(600);
    world.phone_starts();
    world.run_ms(1_000);
    assert_eq!(world.caller_heard(), vec![0x11; 5_600]);
}

#[test]
fn audio_before_metadata_is_kept_until_its_format_is_known() {
    let mut world = World::new();
    world.phone_starts();
    world.agent_opens();
    world.agent_audio(1, 200, 0x22);
    assert_eq!(world.sent_to_phone("media"), 0);
    world.metadata("ulaw_8000", "ulaw_8000");
    world.run_ms(400);
    assert_eq!(world.caller_heard(), vec![0x22; 1_600]);
}

#[test]
fn a_passing_failure_is_tried_again_with_a_pause() {
    let mut world = World::new();
    world.agent_unreachable(ConnectFailure::Http { status: 503 });
    assert_eq!(world.connects[1], (2, Tick::from_ms(250)));
    world.run_ms(300);
    world.agent_unreachable(ConnectFailure::Timeout);
    assert_eq!(world.connects[2].0, 3);
    world.agent_unreachable(ConnectFailure::Network);
    assert_eq!(world.connects.len(), 3, "three attempts are enough");
    assert_eq!(world.count("agent_failed"), 3);
}

#[test]
fn the_caller_loses_nothing_while_the_agent_is_tried_again() {
    let mut world = World::new();
    world.phone_starts();
    world.caller_speaks(400);
    world.agent_unreachable(ConnectFailure::Network);
    world.caller_speaks(400);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    assert_eq!(world.agent_heard().len(), 800 * 8);
}

#[test]
fn a_configuration_error_is_not_tried_again_and_raises_an_alert() {
    for failure in [
        ConnectFailure::Http { status: 401 },
        ConnectFailure::Http { status: 404 },
        ConnectFailure::ClosedAtOnce { code: 1008 },
    ] {
        let mut world = World::new();
        world.phone_starts();
        world.agent_unreachable(failure);
        assert_eq!(world.connects.len(), 1, "{failure:?}");
        assert!(matches!(world.alerts[..], [Alert::AgentConfiguration { .. }]), "{failure:?}");
        assert_eq!(world.ended(), Some(EndCause::AgentFailed));
        assert_eq!(world.done[0].outcome, CallOutcome::Failed);
    }
}

#[test]
fn too_many_conversations_back_off_longer() {
    let mut world = World::new();
    world.agent_opens();
    world.agent_closes_with(3008);
    assert_eq!(world.connects[1], (2, Tick::from_ms(1_000)));
}

#[test]
fn a_failed_agent_ends_the_call_when_the_phone_comes() {
    let mut world = World::new();
    world.agent_unreachable(ConnectFailure::Http { status: 401 });
    assert_eq!(world.ended(), None, "the phone still has to hear that it cannot go on");
    world.phone_starts();
    assert_eq!(world.ended(), Some(EndCause::AgentFailed));
    assert_eq!(world.phone_closes.len(), 1);
}

#[test]
fn an_agent_that_never_sends_metadata_is_given_up() {
    let mut world = World::new();
    world.phone_starts();
    world.agent_opens();
    world.caller_silent(9_000);
    assert_eq!(world.connects.len(), 2);
    assert_eq!(world.agent_closes.len(), 1, "the silent socket is closed");
}

#[test]
fn metadata_twice_is_counted_and_changes_nothing() {
    let mut world = World::bridged();
    world.metadata("pcm_16000", "pcm_16000");
    world.agent_audio(1, 100, 7);
    world.run_ms(300);
    assert_eq!(world.caller_heard(), vec![7; 800]);
    assert_eq!(world.count("peer_problem"), 1);
}

#[test]
fn a_conversation_that_closes_normally_before_it_began_is_tried_again() {
    let mut world = World::new();
    world.agent_opens();
    world.agent_closes_with(1000);
    assert_eq!(world.connects.len(), 2);
}

#[test]
fn a_broken_line_before_the_first_word_is_reconnected_once_more() {
    let mut world = World::bridged();
    world.caller_speaks(200);
    world.input(Input::AgentClosed(AgentClose::NoFrame));
    assert_eq!(world.connects.len(), 2);
    world.caller_speaks(200);
    let before = world.agent_heard().len();
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    assert_eq!(world.agent_heard().len() - before, 200 * 8, "what was said meanwhile is kept");
    assert_eq!(world.sent_to_agent("conversation_initiation_client_data").len(), 2);
}

#[test]
fn after_clinical_content_there_is_no_reconnect() {
    let mut world = World::bridged();
    world.user_transcript("I feel short of breath.");
    world.input(Input::AgentClosed(AgentClose::NoFrame));
    assert_eq!(world.connects.len(), 1);
    assert_eq!(world.ended(), Some(EndCause::AgentFailed));
}

#[test]
fn a_caller_who_never_arrives_ends_the_waiting() {
    let mut world = World::new();
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.run_ms(25_000);
    assert_eq!(world.ended(), Some(EndCause::NeverConnected));
    assert_eq!(world.done[0].outcome, CallOutcome::NoAnswer);
    assert_eq!(world.agent_closes.len(), 1, "the agent's socket does not stay open");
}

#[test]
fn a_conversation_that_ends_normally_before_a_word_was_spoken_is_tried_again() {
    let mut world = World::bridged();
    world.caller_silent(200);
    world.agent_closes_with(1000);
    assert_eq!(world.ended(), None);
    assert_eq!(world.connects.len(), 2);
    for _ in 0..2 {
        world.caller_silent(2_000);
        world.agent_opens();
        world.metadata("ulaw_8000", "ulaw_8000");
        world.agent_closes_with(1000);
    }
    assert_eq!(world.ended(), Some(EndCause::AgentFailed), "silence is no check-in");
    assert_eq!(world.done[0].outcome, CallOutcome::Failed);
}

#[test]
fn a_silent_caller_who_waited_long_does_not_flood_the_agent() {
    let mut world = World::with(CallConfig { agent_queue_ms: 60_000, ..CallConfig::default() });
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.phone_starts();
    world.caller_silent(200);
    world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": "waiting"}}));
    world.lose_ms(40_000);
    let before = world.to_agent.len();
    world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": "admitted"}}));
    assert!(world.to_agent.len() - before <= 50, "{} messages at once", world.to_agent.len() - before);
    let heard = world.agent_heard().len();
    world.frame(&[1; 160]);
    assert_eq!(world.agent_heard().len() - heard, 160, "the silence is not sent a second time");
}

#[test]
fn a_tool_asked_for_before_the_metadata_is_answered() {
    let mut world = World::new();
    world.phone_starts();
    world.agent_opens();
    world.agent_says(&json!({"type": "client_tool_call", "client_tool_call": {
        "tool_name": "end_task", "tool_call_id": "tc_1", "parameters": {}, "event_id": 1}}));
    let (id, name, parameters) = world.tool_calls.remove(0);
    world.input(Input::ToolDone { id: &id, outcome: crate::world::run_tool(&name, &parameters) });
    assert_eq!(world.sent_to_agent("client_tool_result").len(), 1);
}

#[test]
fn a_new_conversation_is_not_told_answers_of_the_one_before() {
    let mut world = World::bridged();
    world.agent_says(&json!({"type": "client_tool_call", "client_tool_call": {
        "tool_name": "start_task", "tool_call_id": "tc_1", "parameters": {"task": "counting"}, "event_id": 1}}));
    world.input(Input::AgentClosed(AgentClose::NoFrame));
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    let (id, name, parameters) = world.tool_calls.remove(0);
    world.input(Input::ToolDone { id: &id, outcome: crate::world::run_tool(&name, &parameters) });
    world.caller_silent(9_000);
    assert!(world.sent_to_agent("client_tool_result").is_empty());
    assert_eq!(world.count("task_started"), 0, "nobody asked the caller to count");
}

#[test]
fn an_agent_that_never_says_a_word_is_replaced() {
    let mut world = World::bridged();
    world.caller_silent(7_900);
    assert_eq!(world.connects.len(), 1);
    world.caller_silent(200);
    assert_eq!(world.connects.len(), 2, "eight seconds without a word are enough");
    assert_eq!(world.agent_closes.len(), 1);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.agent_audio(1, 500, 1);
    world.caller_silent(30_000);
    assert_eq!(world.ended(), None);
    assert_eq!(world.caller_heard_ms(), 500);
}

#[test]
fn a_greeting_that_waited_for_the_phone_is_a_first_word() {
    let mut world = World::new();
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.agent_audio(1, 500, 1);
    world.phone_starts();
    world.caller_silent(25_000);
    assert_eq!(world.connects.len(), 1);
}

#[test]
fn a_line_that_breaks_during_the_greeting_is_reconnected_and_greets_again() {
    let mut world = World::bridged();
    world.agent_audio(7, 3_000, 7);
    world.caller_silent(500);
    world.interruption(7);
    world.user_transcript("...");
    world.input(Input::AgentClosed(AgentClose::NoFrame));
    assert_eq!(world.connects.len(), 2, "nothing clinical was said yet");
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    let before = world.caller_heard_ms();
    world.agent_audio(1, 400, 1);
    world.caller_silent(1_000);
    assert_eq!(world.caller_heard_ms() - before, 400, "ids of the old conversation do not make the new one stale");
    world.input(Input::PhoneClosed);
    assert_eq!(world.done[0].agents, ["elevenlabs"]);
}
