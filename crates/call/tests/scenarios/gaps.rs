//! Silences and ends that nobody meant: found by breaking things in simulated calls, one scenario for each.

use crate::world::World;
use call::agent::{AgentClose, AgentLeg, Chain, ConnectFailure, Init, Member};
use call::{CallConfig, Input};
use clinic::tools::{Effect, VoiceTask};
use clinic::{EndCause, TimelineKind};
use serde_json::json;

fn leg(member: Member) -> AgentLeg {
    AgentLeg::ElevenLabs { member, init: Init::default() }
}

/// A call in conversation, in the middle of a visit, whose backup and script stand by.
fn visiting() -> World {
    let chain = Chain::new([leg(Member::ElevenLabs), leg(Member::ElevenLabsBackup)], true);
    let mut world = World::of(CallConfig { resumes: true, ..CallConfig::default() }, chain);
    world.call.speak("xx");
    world.call.set_unfinished(true);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.phone_starts();
    world.agent_audio(1, 500, 0x11);
    world.caller_silent(1_000);
    world
}

/// Whether something is heard within so many milliseconds of silence of the caller's.
fn hears_within(world: &mut World, ms: u64) -> bool {
    let before = world.caller_heard_ms();
    world.caller_silent(ms);
    world.caller_heard_ms() > before
}

fn last_reason(world: &World) -> Option<String> {
    world.records.iter().rev().find_map(|event| match &event.kind {
        TimelineKind::AgentFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

#[test]
fn an_agent_that_dies_before_it_shows_that_it_has_heard_is_covered_for() {
    let mut world = visiting();
    world.caller_speaks(1_500);
    assert!(hears_within(&mut world, 5_500), "no transcript, no answer, and something is said all the same");
    world.caller_silent(20_000);
    assert_eq!(last_reason(&world).as_deref(), Some("deaf"));
}

#[test]
fn a_voice_task_that_is_announced_and_never_asked_for_is_not_waited_for() {
    let mut world = visiting();
    world.caller_silent(2_000);
    world.input(Input::Task(Effect::StartTask(VoiceTask::Counting)));
    assert!(hears_within(&mut world, 5_000));
    world.caller_silent(9_000);
    assert_eq!(last_reason(&world).as_deref(), Some("silent"));
}

#[test]
fn who_has_finished_a_voice_task_does_not_wait_in_silence_for_its_window_to_end() {
    let mut world = visiting();
    world.input(Input::Task(Effect::StartTask(VoiceTask::Counting)));
    world.agent_audio(2, 1_000, 0x22);
    world.caller_silent(1_500);
    world.caller_speaks(4_000);
    assert!(!hears_within(&mut world, 4_500), "a pause is no end");
    assert!(hears_within(&mut world, 2_000));
}

#[test]
fn nobody_has_to_begin_while_the_caller_speaks() {
    let mut world = visiting();
    world.user_transcript("I am fine");
    world.agent_closes_with(1011);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    world.caller_speaks(9_000);
    assert_eq!(world.call.member(), Member::ElevenLabsBackup);
    world.agent_audio(1, 500, 0x33);
    world.caller_silent(3_000);
    assert_eq!(last_reason(&world).as_deref(), Some("close_1011"));
}

#[test]
fn the_script_waits_for_nothing_that_an_agent_owed() {
    let mut world = visiting();
    world.agent_closes_with(1011);
    world.agent_opens();
    world.metadata("ulaw_8000", "ulaw_8000");
    // The first word does not come. That every deadline is in the future is asserted by the world.
    world.caller_silent(8_500);
    world.agent_unreachable(ConnectFailure::Timeout);
    world.run_ms(16_000);
    world.agent_unreachable(ConnectFailure::Timeout);
    assert!(world.call.is_scripted());
}

#[test]
fn a_conversation_that_ends_normally_in_the_middle_of_a_visit_goes_to_the_next_agent() {
    let close = || Input::AgentClosed(AgentClose::Frame { code: 1000, reason: String::new() });
    let mut world = visiting();
    world.input(close());
    assert_eq!(last_reason(&world).as_deref(), Some("ended_early"));
    assert_eq!(world.call.member(), Member::ElevenLabsBackup);
    let mut world = visiting();
    world.call.set_unfinished(false);
    world.input(close());
    world.caller_silent(4_000);
    assert_eq!(world.ended(), Some(EndCause::AgentFinished));
}

#[test]
fn a_stream_that_breaks_is_followed_by_the_script_and_nothing_is_played_into_the_new_one() {
    let mut world = visiting();
    world.agent_audio(2, 20_000, 0x33);
    world.caller_silent(1_000);
    world.input(Input::PhoneClosed);
    assert_eq!(world.ended(), None);
    assert!(world.to_script.is_some());
    world.input(Input::PageAsked { goodbye: false });
    let media = world.sent_to_phone("media");
    world.phone_starts();
    world.caller_silent(2_000);
    assert_eq!(world.sent_to_phone("media"), media, "the stream only listens");
    let mut world = visiting();
    world.call.set_unfinished(false);
    world.input(Input::PhoneClosed);
    assert_eq!(world.ended(), Some(EndCause::StreamClosed));
}

#[test]
fn half_a_reply_is_no_answer() {
    let text = "Have you noticed any swelling in your legs, ankles or feet? Please tell me which of them it is.";
    let mut world = visiting();
    world.agent_says(&json!({"type": "agent_response",
        "agent_response_event": {"agent_response": text, "event_id": 2}}));
    world.agent_audio(2, 900, 0x22);
    world.caller_silent(1_500);
    assert!(hears_within(&mut world, 5_000));
    world.caller_silent(10_000);
    assert_eq!(last_reason(&world).as_deref(), Some("silent"));
}

#[test]
fn a_caller_who_answers_our_own_phrases_does_not_keep_a_dead_agent_alive() {
    let mut world = visiting();
    world.caller_speaks(1_500);
    for _ in 0..8 {
        world.caller_silent(4_500);
        world.caller_speaks(600);
    }
    assert_eq!(last_reason(&world).as_deref(), Some("deaf"));
}

#[test]
fn an_agent_that_never_asks_again_is_lost_and_one_that_is_not_replaceable_stays() {
    let mut world = visiting();
    world.caller_silent(50_000);
    assert_eq!(last_reason(&world).as_deref(), Some("idle"));
    let mut alone = World::of(CallConfig::default(), Chain::new([leg(Member::ElevenLabs)], false));
    alone.agent_opens();
    alone.metadata("ulaw_8000", "ulaw_8000");
    alone.phone_starts();
    alone.agent_audio(1, 500, 0x11);
    alone.caller_silent(50_000);
    assert_eq!(last_reason(&alone), None);
}
