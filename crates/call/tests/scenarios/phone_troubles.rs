//! Gaps, bursts, odd frames and nonsense from the phone.

use crate::world::World;
use call::Input;
use call::engine::{AnalysisStep, Capture};
use serde_json::json;

fn patient_frames(world: &World) -> Vec<(u64, Vec<u8>)> {
    world
        .captures
        .iter()
        .filter_map(|capture| match capture {
            Capture::Patient { position_samples, ulaw, .. } => Some((*position_samples, ulaw.to_vec())),
            _ => None,
        })
        .collect()
}

#[test]
fn caller_audio_is_kept_bit_exact_and_in_place() {
    let mut world = World::bridged();
    for n in 0..10 {
        world.run_ms(20);
        world.frame(&[n * 3; 160]);
    }
    let frames = patient_frames(&world);
    assert_eq!(frames.len(), 10);
    for (n, (position, bytes)) in frames.iter().enumerate() {
        assert_eq!((*position, bytes), (n as u64 * 160, &vec![n as u8 * 3; 160]));
    }
}

#[test]
fn a_timestamp_gap_is_padded_for_the_agent_and_left_open_in_the_recording() {
    let mut world = World::bridged();
    world.frame(&[1; 160]);
    world.lose_ms(200);
    world.frame(&[2; 160]);
    let heard = world.agent_heard();
    assert_eq!(heard.len(), 160 + 1_600 + 160);
    assert_eq!(&heard[160..1_760], vec![0xFF; 1_600], "silence, never zeros");
    assert_eq!(patient_frames(&world)[1].0, 160 + 1_600);
    assert_eq!(world.count("gap_padded"), 1);
}

#[test]
fn a_long_stall_is_bridged_with_silence_at_real_time() {
    let mut world = World::bridged();
    world.caller_silent(100);
    let before = world.agent_heard().len();
    world.run_ms(5_000);
    let filled_ms = (world.agent_heard().len() - before) / 8;
    assert!((4_800..=5_000).contains(&filled_ms), "{filled_ms}");
}

#[test]
fn a_stall_that_was_bridged_is_not_padded_twice() {
    let mut world = World::bridged();
    world.caller_silent(100);
    world.lose_ms(2_000);
    world.caller_silent(100);
    let heard_ms = world.agent_heard().len() / 8;
    assert!((2_180..=2_220).contains(&heard_ms), "{heard_ms}");
}

#[test]
fn a_burst_after_a_pause_loses_and_adds_nothing() {
    let mut world = World::bridged();
    world.caller_silent(200);
    world.run_ms(233);
    for n in 0..11 {
        world.frame(&[n; 160]);
    }
    assert_eq!(world.agent_heard().len(), (200 + 220) * 8);
    assert_eq!(world.count("gap_padded"), 0);
}

#[test]
fn frames_of_any_size_are_taken() {
    let mut world = World::bridged();
    for size in [1, 80, 160, 320, 1_000] {
        world.frame_at(None, &vec![5; size]);
    }
    assert_eq!(world.agent_heard(), vec![5; 1_561]);
}

#[test]
fn odd_frame_sizes_with_whole_millisecond_timestamps_make_no_gaps() {
    let mut world = World::bridged();
    let mut samples = 0;
    for _ in 0..500 {
        world.frame_at(Some(samples / 8), &[5; 163]);
        samples += 163;
    }
    assert_eq!(world.count("gap_padded"), 0);
    assert_eq!(world.agent_heard().len(), 500 * 163);
}

#[test]
fn numbers_may_be_strings_or_numbers_or_missing() {
    let mut world = World::bridged();
    world.phone_text(r#"{"event":"media","media":{"payload":"/////w=="}}"#);
    world.phone_text(r#"{"event":"media","sequenceNumber":4,"media":{"timestamp":92,"chunk":3,"payload":"/////w=="}}"#);
    world.phone_text(
        r#"{"event":"media","sequenceNumber":"5","media":{"timestamp":"93","chunk":"4","payload":"/////w=="}}"#,
    );
    assert_eq!(world.done.len(), 0);
    assert_eq!(world.count("peer_problem"), 0);
    assert!(world.agent_heard().len() >= 12);
}

#[test]
fn malformed_messages_are_counted_and_the_call_goes_on() {
    let mut world = World::bridged();
    for text in [
        "",
        "not json",
        "[]",
        "{}",
        r#"{"event":"media"}"#,
        r#"{"event":"media","media":{"payload":"*"}}"#,
        r#"{"event":7}"#,
    ] {
        world.phone_text(text);
    }
    world.input(Input::PhoneBinary);
    world.frame(&[1; 160]);
    assert_eq!(world.agent_heard().len(), 160);
    assert!(world.count("peer_problem") >= 2);
    world.input(Input::PhoneClosed);
    assert_eq!(world.done.len(), 1);
}

#[test]
fn unknown_events_and_fields_are_ignored() {
    let mut world = World::bridged();
    world.phone_says(json!({"event": "weather", "weather": "fine"}));
    world.agent_says(&json!({"type": "weather", "weather_event": {}}));
    assert_eq!(world.count("peer_problem"), 0);
}

#[test]
fn media_before_start_is_counted_not_used() {
    let mut world = World::new();
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.frame(&[1; 160]);
    assert!(world.agent_heard().is_empty());
    assert!(world.captures.is_empty());
    assert_eq!(world.count("peer_problem"), 1);
}

#[test]
fn a_second_start_on_the_same_socket_changes_nothing() {
    let mut world = World::bridged();
    world.phone_starts();
    world.agent_audio(1, 100, 1);
    world.run_ms(300);
    assert_eq!(world.caller_heard_ms(), 100);
    assert_eq!(world.count("phone_connected"), 1);
}

#[test]
fn a_stream_in_another_format_is_refused_rather_than_decoded() {
    let mut world = World::new();
    world.phone_text(
        &json!({"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1",
        "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000, "channels": 1}}})
        .to_string(),
    );
    assert_eq!(world.done.len(), 1);
    assert!(world.to_phone.is_empty());
}

#[test]
fn keys_are_told_together_after_a_pause() {
    let mut world = World::bridged();
    for digit in ["1", "8", "2"] {
        world.caller_silent(400);
        world.phone_says(json!({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit}}));
    }
    assert!(world.keys.is_empty());
    world.caller_silent(1_600);
    assert_eq!(world.keys, ["182"]);
    assert_eq!(world.count("dtmf"), 3);
}

#[test]
fn the_hash_key_ends_the_waiting() {
    let mut world = World::bridged();
    for digit in ["4", "#"] {
        world.phone_says(json!({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit}}));
    }
    assert_eq!(world.keys, ["4"]);
}

#[test]
fn lost_audio_is_a_gap_for_the_analysis_not_voice() {
    let mut world = World::bridged();
    world.frame(&[1; 160]);
    world.lose_ms(200);
    world.frame(&[2; 160]);
    assert!(world.analysis.iter().any(|step| matches!(step, AnalysisStep::Gap { samples: 1_600, .. })));
}

#[test]
fn a_caller_who_is_muted_from_the_start_is_silence_for_the_agent() {
    let mut world = World::bridged();
    world.run_ms(5_000);
    let silent_ms = world.agent_heard().len() / 8;
    assert!((4_800..=5_000).contains(&silent_ms), "{silent_ms}");
    assert!(world.agent_heard().iter().all(|byte| *byte == 0xFF));
    assert!(patient_frames(&world).is_empty(), "the recording keeps only what was received");
    world.frame(&[1; 160]);
    assert_eq!(patient_frames(&world)[0].0, 0);
}

#[test]
fn a_pause_of_our_own_machine_does_not_flood_the_agent() {
    let mut world = World::bridged();
    world.caller_silent(100);
    let before = world.to_agent.len();
    world.now = world.now.plus_ms(45_000);
    world.input(Input::Timeout);
    assert!(world.to_agent.len() - before <= 50, "{} messages at once", world.to_agent.len() - before);
}
