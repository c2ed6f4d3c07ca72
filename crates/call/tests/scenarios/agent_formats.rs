//! Agents that do not speak the telephone's own format.

use crate::world::World;
use call::engine::Alert;
use clinic::EndCause;

/// A 440 Hz tone as 16-bit little-endian PCM.
fn tone(rate: u32, ms: u32) -> Vec<u8> {
    (0..rate * ms / 1_000)
        .flat_map(|n| {
            let phase = f64::from(n) * 440.0 / f64::from(rate) * std::f64::consts::TAU;
            ((phase.sin() * 8_000.0) as i16).to_le_bytes()
        })
        .collect()
}

fn frequency(ulaw: &[u8]) -> f64 {
    let samples: Vec<i16> = ulaw.iter().map(|b| voice::g711::ulaw_decode(*b)).collect();
    let crossings = samples.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
    crossings as f64 / (samples.len() as f64 / 8_000.0)
}

fn bridged(output: &str, input: &str) -> World {
    let mut world = World::new();
    world.agent_opens();
    world.metadata(output, input);
    world.phone_starts();
    world
}

#[test]
fn every_pcm_rate_is_heard_at_the_right_pitch_and_length() {
    for rate in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
        let mut world = bridged(&format!("pcm_{rate}"), "ulaw_8000");
        world.agent_bytes(1, &tone(rate, 1_000));
        world.run_ms(1_500);
        let heard = world.caller_heard();
        assert!((7_950..=8_000).contains(&heard.len()), "{rate}: {} samples", heard.len());
        let hz = frequency(&heard[800..7_200]);
        assert!((435.0..445.0).contains(&hz), "{rate}: {hz} Hz");
    }
}

#[test]
fn chunks_split_inside_a_sample_make_no_noise() {
    let bytes = tone(16_000, 500);
    let whole = {
        let mut world = bridged("pcm_16000", "ulaw_8000");
        world.agent_bytes(1, &bytes);
        world.run_ms(1_000);
        world.caller_heard()
    };
    let mut world = bridged("pcm_16000", "ulaw_8000");
    for chunk in bytes.chunks(333) {
        world.agent_bytes(1, chunk);
    }
    world.run_ms(1_000);
    assert_eq!(world.caller_heard(), whole);
}

#[test]
fn caller_audio_reaches_a_pcm_agent_as_pcm() {
    for rate in [8_000_usize, 16_000, 24_000, 48_000] {
        let mut world = bridged("ulaw_8000", &format!("pcm_{rate}"));
        world.caller_speaks(1_000);
        let bytes = world.agent_heard().len();
        assert!(bytes.abs_diff(rate * 2) <= rate / 100, "{rate}: {bytes} bytes");
    }
}

#[test]
fn a_missing_input_format_means_what_the_services_own_client_assumes() {
    let mut world = World::new();
    world.agent_opens();
    world.agent_says(&serde_json::json!({"type": "conversation_initiation_metadata",
        "conversation_initiation_metadata_event": {"conversation_id": "c", "agent_output_audio_format": "ulaw_8000"}}));
    world.phone_starts();
    world.caller_speaks(200);
    assert!(world.agent_heard().len() > 6_000, "pcm_16000 is four bytes for each of ours");
}

#[test]
fn a_format_we_cannot_play_is_a_clear_error_never_noise() {
    for format in ["mp3_44100", "pcm_12345", "opus_48000", ""] {
        let mut world = bridged(format, "ulaw_8000");
        world.agent_audio(1, 500, 0x55);
        world.run_ms(1_000);
        assert_eq!(world.sent_to_phone("media"), 0, "{format}");
        assert_eq!(
            world.alerts,
            [Alert::AgentConfiguration { service: "elevenlabs", reason: "unsupported_audio_format".into() }]
        );
        assert_eq!(world.ended(), Some(EndCause::AgentFailed));
    }
}

#[test]
fn an_interruption_leaves_nothing_of_the_old_reply_in_the_resampler() {
    let mut world = bridged("pcm_16000", "ulaw_8000");
    world.agent_bytes(1, &tone(16_000, 500));
    world.run_ms(100);
    world.interruption(1);
    world.run_ms(100);
    let before = world.caller_heard().len();
    world.agent_bytes(2, &vec![0; 6_400]);
    world.run_ms(500);
    let heard = world.caller_heard();
    let loud = heard[before..].iter().filter(|b| voice::g711::ulaw_decode(**b).abs() > 16).count();
    assert_eq!(loud, 0, "silence was sent, silence is heard");
}

#[test]
fn half_a_sample_at_the_end_of_a_reply_does_not_turn_the_next_one_into_noise() {
    let mut world = World::new();
    world.agent_opens();
    world.metadata("pcm_8000", "ulaw_8000");
    world.phone_starts();
    world.agent_bytes(1, &[0; 1_601]);
    world.run_ms(1_000);
    let before = world.caller_heard().len();
    let tone: Vec<u8> = (0..800).flat_map(|_| 0x0100_i16.to_le_bytes()).collect();
    world.agent_bytes(2, &tone);
    world.run_ms(1_000);
    let expected = voice::g711::ulaw_encode(0x0100);
    assert!(world.caller_heard()[before..].iter().all(|byte| *byte == expected));
}

#[test]
fn a_first_piece_too_short_for_a_sample_does_not_turn_the_reply_into_noise() {
    for (rate, first) in [(8_000, 1), (16_000, 1), (16_000, 33), (48_000, 51), (22_050, 1)] {
        let bytes = tone(rate, 1_000);
        let mut world = bridged(&format!("pcm_{rate}"), "ulaw_8000");
        world.agent_bytes(1, &bytes[..first]);
        world.agent_bytes(1, &bytes[first..]);
        world.run_ms(1_500);
        let hz = frequency(&world.caller_heard()[800..7_200]);
        assert!((435.0..445.0).contains(&hz), "{rate} Hz, first piece of {first} bytes: {hz} Hz");
    }
}
