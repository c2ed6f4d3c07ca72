//! An agent fails in mid-call, in every way it can, and another one carries the call on.

use crate::world::World;
use call::agent::{AgentClose, AgentLeg, Chain, ConnectFailure, Init, Member};
use call::{CallConfig, Input, Tick};
use clinic::{CallOutcome, EndCause, TimelineKind};
use serde_json::json;

fn leg(member: Member) -> AgentLeg {
    AgentLeg::ElevenLabs { member, init: Init::default() }
}

/// A call in conversation with its first agent, whose backup and script stand by.
fn guarded() -> World {
    let chain = Chain::new([leg(Member::ElevenLabs), leg(Member::ElevenLabsBackup)], true);
    let mut world = World::of(CallConfig { resumes: true, ..CallConfig::default() }, chain);
    world.call.speak("en");
    connected(&mut world);
    world.phone_starts();
    world.agent_audio(1, 500, 0x11);
    world.caller_silent(1_000);
    world
}

fn connected(world: &mut World) {
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
}

/// The failures recorded: service, reason, action.
fn failures(world: &World) -> Vec<(String, String, String)> {
    let failed = world.records.iter().filter_map(|event| match &event.kind {
        TimelineKind::AgentFailed { service, reason, action } => {
            Some((service.clone(), reason.clone(), action.clone()))
        }
        _ => None,
    });
    failed.collect()
}

fn last_failure(world: &World) -> (String, String) {
    failures(world).last().map(|(_, reason, action)| (reason.clone(), action.clone())).unwrap_or_default()
}

#[test]
fn the_backup_carries_the_same_call_on_and_the_patient_hears_a_phrase_within_a_second() {
    let mut world = guarded();
    world.user_transcript("I am fine");
    let heard = world.caller_heard_ms();
    world.agent_closes_with(1011);
    assert_eq!(failures(&world), [("elevenlabs".into(), "close_1011".into(), "switch".into())]);
    assert_eq!(world.call.member(), Member::ElevenLabsBackup);
    world.caller_silent(1_000);
    assert!(world.caller_heard_ms() - heard > 300, "no dead air");
    connected(&mut world);
    world.agent_audio(1, 500, 0x22);
    world.caller_silent(3_000);
    assert_eq!(world.ended(), None);
    assert!(world.caller_heard().ends_with(&[0x22; 4_000]), "the new agent is heard after the phrase");
    world.input(Input::CallEnded);
    assert_eq!(world.done[0].agents, ["elevenlabs", "elevenlabs-backup"]);
    assert_eq!(world.done[0].outcome, CallOutcome::Completed);
}

#[test]
fn half_a_sentence_of_the_dead_agent_is_not_played_on() {
    let mut world = guarded();
    world.agent_audio(2, 20_000, 0x33);
    world.caller_silent(1_000);
    world.agent_closes_with(1011);
    let (clears, played) = (world.sent_to_phone("clear"), world.heard.len());
    assert_eq!(clears, 1);
    world.caller_silent(5_000);
    let of_the_dead = |(_, bytes): &&(Tick, Vec<u8>)| bytes.iter().all(|byte| *byte == 0x33);
    assert_eq!(world.heard.iter().skip(played).filter(of_the_dead).count(), 0);
}

#[test]
fn a_broken_line_is_reconnected_once_and_then_the_next_takes_over() {
    let mut world = guarded();
    world.user_transcript("I am fine");
    world.input(Input::AgentClosed(AgentClose::NoFrame));
    assert_eq!(last_failure(&world), ("close_1006".into(), "retry".into()));
    assert_eq!(world.call.member(), Member::ElevenLabs);
    connected(&mut world);
    world.agent_audio(1, 500, 0x22);
    world.caller_silent(1_000);
    world.input(Input::AgentClosed(AgentClose::NoFrame));
    assert_eq!(last_failure(&world), ("close_1006".into(), "switch".into()));
}

#[test]
fn a_configuration_error_is_never_tried_again_but_the_next_takes_over() {
    for failure in [ConnectFailure::Http { status: 401 }, ConnectFailure::Http { status: 404 }] {
        let chain = Chain::new([leg(Member::ElevenLabs), leg(Member::ElevenLabsBackup)], true);
        let mut world = World::of(CallConfig::default(), chain);
        world.agent_unreachable(failure);
        assert_eq!(world.alerts.len(), 1);
        assert_eq!(world.call.member(), Member::ElevenLabsBackup);
        assert_eq!(world.connects.len(), 2);
    }
}

#[test]
fn when_nobody_is_left_the_script_takes_over() {
    let mut world = guarded();
    world.agent_closes_with(1008);
    world.agent_unreachable(ConnectFailure::Timeout);
    world.run_ms(400);
    world.agent_unreachable(ConnectFailure::Timeout);
    assert!(world.to_script.is_some() && world.call.is_scripted());
    assert_eq!(last_failure(&world), ("connect_timeout".into(), "script".into()));
    // Twilio closes the stream that was closed, and says so in every way it has.
    world.input(Input::PhoneClosed);
    world.input(Input::StreamStopped);
    assert_eq!(world.ended(), None, "the call goes on");
    world.input(Input::PageAsked { goodbye: false });
    world.run_ms(20_000);
    world.input(Input::PageAsked { goodbye: true });
    world.run_ms(5_000);
    world.input(Input::CallEnded);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
    assert_eq!(world.done[0].outcome, CallOutcome::Completed);
    assert_eq!(world.done[0].agents, ["elevenlabs", "script"]);
}

#[test]
fn a_caller_who_hangs_up_in_the_script_ends_the_call() {
    let mut world = guarded();
    world.agent_closes_with(1008);
    world.agent_unreachable(ConnectFailure::Skipped);
    world.input(Input::PageAsked { goodbye: false });
    world.input(Input::CallEnded);
    assert_eq!(world.ended(), Some(EndCause::CallStatus));
}

#[test]
fn a_scripted_call_that_nobody_asks_about_ends_by_itself() {
    let mut world = World::of(CallConfig::default(), Chain::new([], true));
    assert!(world.call.is_scripted() && world.connects.is_empty());
    world.run_ms(19_000);
    assert_eq!(world.ended(), None);
    world.run_ms(2_000);
    assert_eq!(world.done[0].outcome, CallOutcome::NoAnswer);
    let mut world = World::of(CallConfig::default(), Chain::new([], true));
    world.input(Input::PageAsked { goodbye: false });
    world.run_ms(61_000);
    assert!(world.ended().is_some());
}

#[test]
fn an_agent_that_owes_an_answer_is_covered_for_and_then_replaced() {
    let mut world = guarded();
    world.user_transcript("I am fine");
    world.caller_silent(3_500);
    let heard = world.caller_heard_ms();
    world.caller_silent(1_500);
    assert!(world.caller_heard_ms() > heard, "after four seconds something is said");
    assert_eq!(failures(&world), []);
    world.caller_silent(7_500);
    assert_eq!(last_failure(&world), ("silent".into(), "switch".into()));
}

#[test]
fn an_agent_that_listens_to_a_voice_task_owes_nothing() {
    let mut world = guarded();
    world.user_transcript("ready");
    world.agent_says(&json!({"type": "client_tool_call", "client_tool_call": {
        "tool_name": "start_task", "tool_call_id": "tc_1", "parameters": {"task": "counting"}, "event_id": 1}}));
    let (id, name, parameters) = world.tool_calls.remove(0);
    world.input(Input::ToolDone { id: &id, outcome: crate::world::run_tool(&name, &parameters) });
    let heard = world.caller_heard_ms();
    world.caller_silent(40_000);
    assert_eq!(failures(&world), []);
    assert_eq!(world.caller_heard_ms(), heard, "nothing is said into a voice task");
}

#[test]
fn pings_that_stop_mean_a_dead_socket_and_a_quiet_one_without_pings_does_not() {
    let ping = |world: &mut World, id: i64| {
        world.agent_says(&json!({"type": "ping", "ping_event": {"event_id": id, "ping_ms": null}}));
    };
    let mut world = guarded();
    for id in 0..3 {
        ping(&mut world, id);
        world.caller_silent(2_000);
    }
    world.caller_silent(10_000);
    assert_eq!(last_failure(&world).0, "pings_missing");
    let mut world = guarded();
    world.caller_silent(40_000);
    assert_eq!(failures(&world), [], "no event for long is no failure by itself");
}

#[test]
fn a_conversation_that_waits_for_capacity_too_long_goes_to_the_next() {
    let mut world = guarded();
    world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": "waiting"}}));
    world.caller_silent(8_100);
    assert_eq!(last_failure(&world), ("queue_waiting".into(), "switch".into()));
}

#[test]
fn garbage_and_announced_errors_are_failures_unless_the_agent_goes_on() {
    let mut world = guarded();
    for _ in 0..20 {
        world.input(Input::AgentText("not json"));
    }
    world.run_ms(20);
    assert_eq!(last_failure(&world).0, "garbage");
    let error = json!({"type": "error", "error_event": {"code": 1002, "error_type": "llm_timeout", "message": "x"}});
    let mut world = guarded();
    world.agent_says(&error);
    world.agent_audio(2, 300, 0x44);
    world.caller_silent(4_000);
    assert_eq!(failures(&world), [], "it went on");
    world.agent_says(&error);
    world.caller_silent(2_100);
    assert_eq!(last_failure(&world).0, "error_llm_timeout");
}

#[test]
fn slow_answers_three_times_in_a_row_are_enough() {
    let mut world = guarded();
    for reply in 2..4 {
        world.user_transcript("yes");
        world.caller_silent(7_000);
        world.agent_audio(reply, 500, 0x22);
        world.caller_silent(3_000);
    }
    assert_eq!(failures(&world), []);
    world.user_transcript("yes");
    world.caller_silent(6_100);
    assert_eq!(last_failure(&world), ("slow_replies".into(), "switch".into()));
}

#[test]
fn while_agents_fail_one_after_the_other_the_patient_never_waits_in_silence() {
    let mut world = guarded();
    world.user_transcript("I am fine");
    world.agent_closes_with(1011);
    let mut silence = 0;
    for _ in 0..10 {
        let before = world.caller_heard_ms();
        world.caller_silent(1_000);
        silence = if world.caller_heard_ms() > before { 0 } else { silence + 1 };
        assert!(silence <= 6, "{silence} s of silence");
    }
    world.agent_unreachable(ConnectFailure::Timeout);
    world.caller_silent(6_000);
    world.agent_unreachable(ConnectFailure::Timeout);
    assert!(world.call.is_scripted(), "time is up for agents");
}

#[test]
fn calls_that_fail_together_do_not_come_back_together() {
    let second_try = |seed: u64| {
        let config = CallConfig { jitter_seed: seed, ..CallConfig::default() };
        let mut world = World::of(config, leg(Member::ElevenLabs).into());
        world.agent_unreachable(ConnectFailure::Network);
        world.connects[1].1
    };
    let mut times: Vec<Tick> = (1..=100).map(second_try).collect();
    times.sort();
    times.dedup();
    assert!(times.len() > 50, "{} different moments", times.len());
    assert!(times.iter().all(|at| (125..=375).contains(&at.as_ms())));
}

#[test]
fn a_stream_that_is_gone_unheard_is_followed_by_the_script() {
    // It died without a word to us.
    let mut world = guarded();
    world.call.set_unfinished(true);
    world.input(Input::StreamGone);
    assert!(world.call.is_scripted() && world.ended().is_none());
    // It never came, as the phone company asks, or as it tells.
    for told in [Input::StreamGone, Input::StreamFailed] {
        let mut world = World::of(CallConfig::default(), Chain::new([leg(Member::ElevenLabs)], true));
        world.call.set_unfinished(true);
        world.input(told);
        assert!(world.call.is_scripted() && world.ended().is_none());
        world.input(Input::PageAsked { goodbye: false });
        world.run_ms(30_000);
        assert_eq!(world.ended(), None, "a page is being answered");
    }
}

#[test]
fn a_stream_that_never_came_and_that_nobody_asks_about_is_a_failure() {
    let mut world = World::of(CallConfig::default(), Chain::new([leg(Member::ElevenLabs)], true));
    world.call.set_unfinished(true);
    world.input(Input::StreamFailed);
    world.run_ms(120_000);
    assert_eq!((world.ended(), world.done[0].outcome), (Some(EndCause::StreamFailed), CallOutcome::Failed));
}

#[test]
fn a_stream_that_is_gone_without_a_script_is_a_failure_unless_all_was_asked() {
    let without = || {
        let chain = Chain::new([leg(Member::ElevenLabs)], false);
        let mut world = World::of(CallConfig::default(), chain);
        connected(&mut world);
        world.phone_starts();
        world.agent_audio(1, 500, 0x11);
        world.caller_silent(1_000);
        world
    };
    let mut world = without();
    world.call.set_unfinished(true);
    world.input(Input::StreamGone);
    assert_eq!((world.ended(), world.done[0].outcome), (Some(EndCause::StreamFailed), CallOutcome::Failed));
    let mut world = without();
    world.call.set_unfinished(false);
    world.input(Input::StreamGone);
    assert_eq!((world.ended(), world.done[0].outcome), (Some(EndCause::StreamClosed), CallOutcome::Completed));
}
