//! The caller talks over the agent.

use crate::world::World;
use call::engine::{Capture, Measure};
use call::{CallConfig, Input};
use clinic::TimelineKind;
use serde_json::json;

#[test]
fn an_interruption_clears_the_phone_at_once() {
    let mut world = World::bridged();
    world.agent_audio(1, 3_000, 1);
    world.caller_silent(500);
    world.interruption(1);
    assert_eq!(world.to_phone.last().unwrap().event(), "clear");
    assert_eq!(world.to_phone.last().unwrap().at, world.now);
    let heard = world.caller_heard_ms();
    world.caller_silent(2_000);
    assert_eq!(world.caller_heard_ms(), heard, "nothing of the interrupted reply is heard after the clear");
}

#[test]
fn audio_of_an_older_id_after_the_interruption_is_stale() {
    let mut world = World::bridged();
    world.agent_audio(4, 1_000, 4);
    world.caller_silent(200);
    world.interruption(5);
    let before = world.sent_to_phone("media");
    world.agent_audio(4, 500, 4);
    world.caller_silent(1_000);
    assert_eq!(world.sent_to_phone("media"), before);
}

#[test]
fn audio_of_the_same_id_after_the_interruption_is_played() {
    let mut world = World::bridged();
    world.agent_audio(5, 1_000, 5);
    world.caller_silent(200);
    world.interruption(5);
    let before = world.caller_heard_ms();
    world.agent_audio(5, 400, 6);
    world.caller_silent(1_000);
    assert_eq!(world.caller_heard_ms() - before, 400);
}

#[test]
fn audio_of_a_newer_id_after_the_interruption_is_played() {
    let mut world = World::bridged();
    world.agent_audio(5, 1_000, 5);
    world.caller_silent(200);
    world.interruption(5);
    world.agent_audio(6, 400, 6);
    world.caller_silent(1_000);
    assert!(world.caller_heard().ends_with(&vec![6; 3_200]));
}

#[test]
fn marks_returned_by_a_clear_do_not_count_as_heard() {
    let mut world = World::bridged();
    world.agent_audio(1, 3_000, 1);
    world.caller_silent(500);
    world.interruption(1);
    world.caller_silent(200);
    let (_, sent_ms, heard_ms, interrupted) = world.played()[0];
    assert!(interrupted);
    assert!(sent_ms >= 700, "{sent_ms}");
    assert!((400..=560).contains(&heard_ms), "{heard_ms} ms of {sent_ms} ms");
    let truth = world.caller_heard_ms();
    assert!(heard_ms.abs_diff(truth) <= 60, "we say {heard_ms}, the phone played {truth}");
}

#[test]
fn an_interruption_without_an_id_voids_the_newest_reply() {
    let mut world = World::bridged();
    world.agent_audio(3, 2_000, 3);
    world.caller_silent(200);
    world.agent_says(&json!({"type": "interruption", "interruption_event": {}}));
    let before = world.caller_heard_ms();
    world.caller_silent(1_000);
    assert_eq!(world.caller_heard_ms(), before);
}

#[test]
fn the_reaction_time_is_measured_from_the_callers_first_sound() {
    let mut world = World::bridged();
    world.agent_audio(1, 5_000, 1);
    world.caller_silent(1_000);
    world.caller_speaks(400);
    world.interruption(1);
    let reaction = world
        .measures
        .iter()
        .find_map(|m| if let Measure::BargeIn { reaction_ms } = m { Some(*reaction_ms) } else { None });
    assert!(reaction.is_some_and(|ms| (300..=420).contains(&ms)), "{reaction:?}");
}

#[test]
fn the_agent_decides_so_a_cough_does_not_cut_it() {
    let mut world = World::bridged();
    world.agent_audio(1, 3_000, 1);
    world.caller_silent(500);
    world.caller_speaks(600);
    world.caller_silent(2_500);
    assert_eq!(world.sent_to_phone("clear"), 0);
    assert_eq!(world.caller_heard_ms(), 3_000);
}

#[test]
fn where_configured_our_own_detector_interrupts() {
    let mut world = World::with(CallConfig { local_barge_in: true, ..CallConfig::default() });
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.phone_starts();
    world.agent_audio(1, 5_000, 1);
    world.caller_silent(500);
    world.caller_speaks(600);
    assert_eq!(world.sent_to_phone("clear"), 1);
    let heard = world.caller_heard_ms();
    world.agent_audio(1, 1_000, 1);
    world.caller_silent(1_500);
    assert_eq!(world.caller_heard_ms(), heard, "the rest of the reply is stale");
    world.agent_audio(2, 200, 2);
    world.caller_silent(500);
    assert_eq!(world.caller_heard_ms(), heard + 200, "the next reply is not");
}

#[test]
fn barge_in_works_while_audio_only_waits_in_the_phones_queue() {
    // Everything was sent, the last of it still plays: the agent counts as speaking until the mark.
    let mut world = World::bridged();
    world.agent_audio(1, 300, 1);
    world.caller_silent(100);
    world.interruption(1);
    assert_eq!(world.sent_to_phone("clear"), 1);
    assert!(world.caller_heard_ms() < 200);
}

#[test]
fn both_texts_of_a_corrected_reply_are_kept() {
    let mut world = World::bridged();
    world.agent_says(&json!({"type": "agent_response", "agent_response_event": {"agent_response": "When did that start? And", "event_id": 5}}));
    world.agent_says(&json!({"type": "agent_response_correction", "agent_response_correction_event": {
        "original_agent_response": "When did that start? And", "corrected_agent_response": "When did that start?", "event_id": 5}}));
    let corrected = world.records.iter().any(|event| {
        matches!(&event.kind, TimelineKind::AgentCorrection { original, corrected, .. }
            if original == "When did that start? And" && corrected == "When did that start?")
    });
    assert!(corrected);
    assert_eq!(world.count("agent_response"), 1);
}

#[test]
fn the_recording_knows_where_the_agent_was_cut() {
    let mut world = World::bridged();
    world.agent_audio(1, 2_000, 1);
    world.caller_silent(300);
    world.interruption(1);
    assert!(matches!(world.captures.last(), Some(Capture::AgentCleared { at }) if *at == world.now));
}

#[test]
fn an_interruption_before_the_phone_is_there_sends_nothing() {
    let mut world = World::new();
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.agent_audio(1, 500, 1);
    world.interruption(1);
    world.phone_starts();
    world.caller_silent(1_000);
    assert_eq!(world.sent_to_phone("media"), 0, "the voided greeting is not played later");
}

#[test]
fn interruptions_are_counted_in_the_summary() {
    let mut world = World::bridged();
    for id in [1, 3] {
        world.agent_audio(id, 1_000, 1);
        world.caller_silent(200);
        world.interruption(id);
    }
    world.input(Input::PhoneClosed);
    assert_eq!(world.done[0].interruptions, 2);
    assert_eq!(world.done[0].turns, 2);
}

#[test]
fn an_interruption_before_the_format_is_known_voids_what_came_before_it() {
    let mut world = World::new();
    world.phone_starts();
    world.agent_opens();
    world.agent_audio(1, 500, 1);
    world.interruption(1);
    world.metadata("ulaw_8000", "ulaw_8000");
    world.caller_silent(1_000);
    assert_eq!(world.sent_to_phone("media"), 0);
}
