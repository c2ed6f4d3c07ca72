//! The agent's speech on its way to the caller.

use crate::world::World;
use call::Input;
use call::engine::{Capture, Measure};
use serde_json::json;

#[test]
fn bursty_speech_is_paced_with_a_bounded_lead() {
    let mut world = World::bridged();
    for _ in 0..10 {
        world.agent_audio(1, 500, 3);
    }
    let mut sent_ms = 0;
    let start = world.now;
    while world.now.ms_since(start) < 6_000 {
        world.caller_silent(20);
        let sent: usize = world.to_phone.iter().filter(|s| s.event() == "media").map(|s| s.audio().len()).sum();
        sent_ms = sent as u64 / 8;
        let lead = sent_ms.saturating_sub(world.now.ms_since(start));
        assert!(lead <= 340, "lead {lead} ms");
    }
    assert_eq!(sent_ms, 5_000);
    assert_eq!(world.caller_heard_ms(), 5_000);
}

#[test]
fn paced_speech_has_no_holes() {
    let mut world = World::bridged();
    world.agent_audio(1, 3_000, 3);
    world.run_ms(3_500);
    for pair in world.heard.windows(2) {
        let end = pair[0].0.plus_us(pair[0].1.len() as u64 * 125);
        assert_eq!(pair[1].0, end, "the next piece begins where the last one ended");
    }
}

#[test]
fn ulaw_passes_through_untouched() {
    let mut world = World::bridged();
    let bytes: Vec<u8> = (0..4_000).map(|n| (n * 7 % 251) as u8).collect();
    world.agent_bytes(1, &bytes);
    world.run_ms(1_000);
    assert_eq!(world.caller_heard(), bytes);
}

#[test]
fn every_message_carries_a_mark_with_a_unique_name() {
    let mut world = World::bridged();
    world.agent_audio(1, 1_000, 3);
    world.run_ms(1_500);
    let mut names: Vec<_> =
        world.to_phone.iter().filter(|s| s.event() == "mark").map(|s| s.message["mark"]["name"].to_string()).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(count, world.sent_to_phone("media"));
}

#[test]
fn a_reply_counts_as_heard_by_marks_not_by_sending() {
    let mut world = World::bridged();
    world.agent_audio(1, 500, 3);
    world.agent_says(&json!({"type": "agent_response_complete", "agent_response_complete_event": {"event_id": 1}}));
    world.run_ms(400);
    assert!(world.played().is_empty(), "sent, but not all of it was played");
    world.run_ms(300);
    assert_eq!(world.played(), [(1, 500, 500, false)]);
}

#[test]
fn the_next_reply_completes_the_one_before() {
    let mut world = World::bridged();
    world.agent_audio(1, 200, 1);
    world.agent_audio(3, 200, 3);
    world.run_ms(700);
    assert_eq!(world.played()[0], (1, 200, 200, false));
    assert_eq!(world.caller_heard_ms(), 400);
}

#[test]
fn event_id_zero_is_a_valid_reply() {
    let mut world = World::bridged();
    world.agent_audio(0, 200, 9);
    world.run_ms(400);
    assert_eq!(world.caller_heard(), vec![9; 1_600]);
}

#[test]
fn empty_audio_is_accepted_and_not_forwarded() {
    let mut world = World::bridged();
    world.agent_says(&json!({"type": "audio", "audio_event": {"audio_base_64": "", "event_id": 1, "is_final": true}}));
    world.run_ms(500);
    assert_eq!(world.sent_to_phone("media"), 0);
    assert_eq!(world.count("peer_problem"), 0);
}

#[test]
fn uneven_audio_is_smoothed_after_the_first_hole() {
    let mut world = World::bridged();
    // 40 ms of audio every 40 ms, but each fifth piece is 150 ms late.
    for n in 0..50 {
        world.run_ms(if n % 5 == 4 { 190 } else { 40 });
        for _ in 0..if n % 5 == 4 { 5 } else { 1 } {
            world.agent_audio(1, 40, 5);
        }
    }
    world.run_ms(1_500);
    let gaps: Vec<_> = world.measures.iter().filter(|m| matches!(m, Measure::PlayoutGap { .. })).collect();
    assert!(!gaps.is_empty(), "the first hole cannot be foreseen");
    assert!(gaps.len() <= 3, "the buffer grew: {gaps:?}");
}

#[test]
fn a_smooth_agent_is_not_delayed() {
    let mut world = World::bridged();
    world.agent_audio(1, 400, 5);
    assert_eq!(world.to_phone[0].at, world.now, "the first piece goes out at once");
}

#[test]
fn an_unintelligible_audio_payload_is_counted_and_the_call_goes_on() {
    let mut world = World::bridged();
    world.agent_says(&json!({"type": "audio", "audio_event": {"audio_base_64": "***", "event_id": 1}}));
    world.agent_audio(1, 100, 5);
    world.run_ms(400);
    assert_eq!(world.caller_heard_ms(), 100);
    assert_eq!(world.count("peer_problem"), 1);
}

#[test]
fn two_minutes_of_agent_audio_are_the_bound() {
    let mut world = World::bridged();
    for _ in 0..13 {
        world.agent_audio(1, 10_000, 5);
    }
    assert_eq!(world.count("audio_dropped"), 1);
    world.input(Input::PhoneClosed);
    assert_eq!(world.done[0].to_phone_dropped_ms, 10_000);
}

#[test]
fn a_phone_that_never_echoes_marks_still_hears_everything() {
    let mut world = World::bridged();
    world.echoes_marks = false;
    world.agent_audio(1, 3_000, 5);
    world.caller_silent(4_000);
    assert_eq!(world.caller_heard_ms(), 3_000);
}

#[test]
fn a_reply_is_known_to_be_over_two_seconds_after_its_last_mark() {
    let mut world = World::bridged();
    world.agent_audio(1, 500, 3);
    world.caller_silent(2_300);
    assert!(world.played().is_empty(), "more of it may come");
    world.caller_silent(400);
    assert_eq!(world.played(), [(1, 500, 500, false)]);
    world.agent_audio(1, 300, 3);
    world.caller_silent(3_000);
    assert_eq!(world.played()[1], (2, 300, 300, false), "what comes later counts as a turn of its own");
}

#[test]
fn late_echoes_do_not_make_the_agent_stutter() {
    for echo_delay_ms in [0, 35, 250, 500, 1_000] {
        let mut world = World::bridged();
        world.echo_delay_ms = echo_delay_ms;
        world.agent_audio(1, 4_000, 3);
        world.caller_silent(6_000);
        assert_eq!(world.caller_heard_ms(), 4_000);
        for pair in world.heard.windows(2) {
            assert_eq!(pair[1].0, pair[0].0.plus_us(pair[0].1.len() as u64 * 125), "echo after {echo_delay_ms} ms");
        }
    }
}

#[test]
fn the_recording_has_the_agents_speech_without_holes_it_did_not_have() {
    let mut world = World::bridged();
    world.echo_delay_ms = 150;
    world.agent_audio(1, 3_000, 3);
    world.caller_silent(4_000);
    let mut end = None;
    for capture in &world.captures {
        if let Capture::Agent { play_at, ulaw } = capture {
            assert!(end.is_none_or(|end| end == *play_at));
            end = Some(play_at.plus_us(ulaw.len() as u64 * 125));
        }
    }
    assert!(end.is_some());
}
