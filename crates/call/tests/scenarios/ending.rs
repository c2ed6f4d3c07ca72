//! A call has many signals of its end and exactly one end.

use crate::world::World;
use call::agent::AgentClose;
use call::{CallConfig, Input};
use clinic::{CallOutcome, EndCause};
use serde_json::json;

fn stop(world: &mut World) {
    world.phone_says(json!({"event": "stop", "stop": {"accountSid": "AC0123456789abcdef0123456789abcdef",
        "callSid": "CAfedcba9876543210fedcba9876543210"}}));
}

#[test]
fn the_goodbye_is_played_out_before_hanging_up() {
    let mut world = World::bridged();
    world.agent_audio(1, 2_000, 1);
    world.end_call_tool();
    world.agent_closes_with(1000);
    world.caller_silent(1_000);
    assert_eq!(world.ended(), None, "the goodbye still plays");
    world.caller_silent(1_500);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
    assert_eq!(world.caller_heard_ms(), 2_000);
    assert_eq!(world.done[0].outcome, CallOutcome::Completed);
    assert_eq!(world.played(), [(1, 2_000, 2_000, false)]);
}

#[test]
fn the_drain_ends_even_when_marks_never_come_back() {
    let mut world = World::bridged();
    world.echoes_marks = false;
    world.agent_audio(1, 1_000, 1);
    world.agent_closes_with(1000);
    world.caller_silent(3_500);
    assert_eq!(world.ended(), None);
    world.caller_silent(1_000);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
}

#[test]
fn end_call_does_not_cut_the_goodbye_that_follows_it() {
    let mut world = World::bridged();
    world.end_call_tool();
    world.run_ms(200);
    world.agent_audio(7, 1_500, 7);
    world.caller_silent(1_700);
    world.agent_closes_with(1000);
    world.caller_silent(500);
    assert_eq!(world.caller_heard_ms(), 1_500);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
}

#[test]
fn an_agent_that_says_goodbye_and_stays_is_closed_by_us() {
    let mut world = World::bridged();
    world.agent_audio(1, 500, 1);
    world.end_call_tool();
    world.caller_silent(6_000);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
    assert_eq!(world.agent_closes.len(), 1);
}

#[test]
fn stop_ends_the_call_at_once() {
    let mut world = World::bridged();
    world.agent_audio(1, 2_000, 1);
    world.caller_silent(300);
    stop(&mut world);
    assert_eq!(world.ended(), Some(EndCause::StreamStopped));
    assert_eq!(world.done[0].outcome, CallOutcome::Completed);
    let (_, _, heard_ms, interrupted) = world.played()[0];
    assert!(interrupted && heard_ms < 400, "hanging up does not make the rest heard");
}

#[test]
fn every_order_of_end_signals_ends_once() {
    let signals: [fn(&mut World); 4] = [
        stop,
        |world| world.input(Input::PhoneClosed),
        |world| world.input(Input::CallEnded),
        |world| world.input(Input::StreamStopped),
    ];
    let causes = [EndCause::StreamStopped, EndCause::StreamClosed, EndCause::CallStatus, EndCause::StreamStopped];
    for (first, cause) in causes.into_iter().enumerate() {
        for second in 0..4 {
            for third in 0..4 {
                let mut world = World::bridged();
                for signal in [first, second, third] {
                    signals[signal](&mut world);
                }
                world.agent_closes_with(1000);
                world.run_ms(1_000);
                assert_eq!(world.ended(), Some(cause));
                assert_eq!((world.phone_closes.len(), world.agent_closes.len()), (1, 1));
            }
        }
    }
}

#[test]
fn a_status_callback_ends_a_call_whose_socket_looks_alive() {
    let mut world = World::bridged();
    world.caller_silent(500);
    world.input(Input::CallEnded);
    assert_eq!(world.ended(), Some(EndCause::CallStatus));
}

#[test]
fn a_dead_stream_ends_by_the_idle_timer() {
    let mut world = World::bridged();
    world.caller_silent(500);
    world.run_ms(59_000);
    assert_eq!(world.ended(), None, "a minute without frames may be a muted caller");
    world.run_ms(2_000);
    assert_eq!(world.ended(), Some(EndCause::StreamIdle));
}

#[test]
fn media_after_the_end_changes_nothing() {
    let mut world = World::bridged();
    world.caller_silent(100);
    world.input(Input::PhoneClosed);
    let (phone, agent, records) = (world.to_phone.len(), world.to_agent.len(), world.records.len());
    world.frame(&[1; 160]);
    world.agent_audio(1, 500, 1);
    world.input(Input::Timeout);
    assert_eq!((world.to_phone.len(), world.to_agent.len(), world.records.len()), (phone, agent, records));
}

#[test]
fn stop_before_the_last_mark_is_no_problem() {
    let mut world = World::bridged();
    world.agent_audio(1, 1_000, 1);
    world.run_ms(100);
    stop(&mut world);
    world.phone_says(json!({"event": "mark", "mark": {"name": "t1:100"}}));
    assert_eq!(world.ended(), Some(EndCause::StreamStopped));
}

#[test]
fn a_crashed_agent_leaves_no_half_sentence_playing() {
    let mut world = World::bridged();
    world.user_transcript("My legs are swollen.");
    world.agent_audio(1, 3_000, 1);
    world.caller_silent(300);
    world.agent_closes_with(1011);
    assert_eq!(world.sent_to_phone("clear"), 1);
    assert_eq!(world.ended(), Some(EndCause::AgentFailed));
    assert_eq!(world.done[0].outcome, CallOutcome::Failed);
    assert_eq!(world.phone_closes.len(), 1, "the call goes on with its next step");
}

#[test]
fn close_codes_are_told_apart() {
    for (code, cause, alerts) in [
        (1000, None, 0),
        (1002, Some(EndCause::AgentFailed), 0),
        (1008, Some(EndCause::AgentFailed), 1),
        (1011, Some(EndCause::AgentFailed), 0),
        (3008, Some(EndCause::AgentFailed), 0),
    ] {
        let mut world = World::bridged();
        world.user_transcript("yes");
        world.agent_audio(1, 1_000, 1);
        world.run_ms(100);
        world.agent_closes_with(code);
        assert_eq!(world.ended(), cause, "{code}");
        assert_eq!(world.alerts.len(), alerts, "{code}");
    }
}

#[test]
fn an_older_server_ends_at_the_maximum_duration_with_1011() {
    let mut world = World::bridged();
    world.user_transcript("yes");
    world.agent_audio(1, 500, 1);
    world.input(Input::AgentClosed(AgentClose::Frame { code: 1011, reason: "maximum duration reached".into() }));
    world.caller_silent(1_000);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
}

#[test]
fn the_longest_duration_ends_a_call() {
    let mut world = World::with(CallConfig { max_call_ms: 60_000, ..CallConfig::default() });
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.phone_starts();
    world.caller_silent(61_000);
    assert_eq!(world.ended(), Some(EndCause::MaximumDuration));
}

#[test]
fn an_operator_can_end_a_call() {
    let mut world = World::bridged();
    world.input(Input::HangUp);
    assert_eq!(world.ended(), Some(EndCause::HungUpByUs));
    assert_eq!(world.done[0].outcome, CallOutcome::Interrupted);
}

#[test]
fn the_summary_counts_what_happened() {
    let mut world = World::bridged();
    world.agent_audio(1, 400, 1);
    world.caller_silent(1_000);
    world.user_transcript("Fine.");
    world.agent_audio(3, 400, 3);
    world.caller_silent(1_000);
    stop(&mut world);
    let summary = &world.done[0];
    assert_eq!((summary.turns, summary.transcript_turns, summary.frames_in), (2, 1, 100));
    assert_eq!(summary.agents, ["elevenlabs"]);
    assert_eq!(summary.duration_us, world.now.as_us());
}

#[test]
fn a_goodbye_longer_than_half_a_minute_is_played_to_its_end() {
    for closes in [true, false] {
        let mut world = World::bridged();
        world.agent_audio(1, 45_000, 1);
        world.end_call_tool();
        if closes {
            world.agent_closes_with(1000);
        }
        world.caller_silent(44_000);
        assert_eq!(world.ended(), None, "the instructions still play (closes: {closes})");
        world.caller_silent(6_000);
        assert_eq!(world.ended(), Some(EndCause::AgentFinished));
        assert_eq!(world.caller_heard_ms(), 45_000);
    }
}

#[test]
fn an_agent_that_talks_on_and_on_after_its_goodbye_is_ended() {
    let mut world = World::bridged();
    world.end_call_tool();
    for _ in 0..40 {
        world.agent_audio(1, 1_000, 1);
        world.caller_silent(1_000);
    }
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
}

#[test]
fn a_line_that_breaks_after_the_announced_end_is_a_normal_end() {
    for close in [
        AgentClose::NoFrame,
        AgentClose::Frame { code: 1005, reason: String::new() },
        AgentClose::Frame { code: 1011, reason: String::new() },
    ] {
        let mut world = World::bridged();
        world.user_transcript("Bye.");
        world.agent_audio(1, 2_000, 1);
        world.end_call_tool();
        world.caller_silent(200);
        world.input(Input::AgentClosed(close));
        assert_eq!(world.ended(), None, "the goodbye still plays");
        world.caller_silent(2_500);
        assert_eq!(world.ended(), Some(EndCause::AgentFinished));
        assert_eq!(world.done[0].outcome, CallOutcome::Completed);
        assert_eq!(world.caller_heard_ms(), 2_000);
    }
}

#[test]
fn a_stream_that_failed_before_it_began_is_our_failure_not_the_callers_absence() {
    let mut world = World::new();
    world.input(Input::StreamStopped);
    assert_eq!(world.ended(), Some(EndCause::StreamStopped));
    assert_eq!(world.done[0].outcome, CallOutcome::Failed);
}

#[test]
fn what_the_caller_says_over_the_goodbye_is_not_counted_as_lost() {
    let mut world = World::bridged();
    world.agent_audio(1, 15_000, 1);
    world.agent_closes_with(1000);
    world.caller_speaks(16_000);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
    assert_eq!(world.done[0].to_agent_dropped_ms, 0, "there was no agent left to hear it");
    assert_eq!(world.count("audio_dropped"), 0);
}

#[test]
fn a_stream_error_ends_a_call_only_if_its_stream_never_came() {
    let mut world = World::new();
    world.input(Input::StreamFailed);
    assert_eq!(world.ended(), Some(EndCause::StreamFailed));
    assert_eq!(world.done[0].outcome, CallOutcome::Failed);
    let mut world = World::bridged();
    world.input(Input::StreamFailed);
    world.caller_silent(1_000);
    assert_eq!(world.ended(), None, "the socket is there, and it speaks");
    assert_eq!(world.count("peer_problem"), 1);
}
