#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::f64::consts::TAU;

use super::*;
use crate::g711;
use crate::pauses;
use crate::pitch::{PitchMethod, PitchSettings, track};
use crate::spectrum;
use crate::synth::{CountingSpec, TalkSpec, Tract, VoiceSpec, counting, sustained_vowel, talk};
use crate::units::SampleRate;

const RATE: SampleRate = SampleRate::TELEPHONE;

fn contour(sound: &Sound<'_>) -> Option<PitchTrack> {
    track(sound, &PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0))
}

fn through_ulaw(samples: &[f64]) -> Vec<f64> {
    let code = |s: &f64| g711::ulaw_encode((s * g711::FULL_SCALE) as i16);
    samples.iter().map(|s| f64::from(g711::ulaw_decode(code(s))) / g711::FULL_SCALE).collect()
}

/// The gate's verdict on samples that went through a telephone.
fn verdict(samples: &[f64], task: Task, gaps: &[Interval]) -> Verdict {
    let samples = through_ulaw(samples);
    let sound = Sound::new(&samples, RATE);
    let (pitch, speech) = (contour(&sound), pauses::detect(&sound));
    let cross = track(&sound, &PitchSettings::praat(PitchMethod::CrossCorrelation, 75.0, 500.0));
    let damage = damage(&sound, Channel::Telephone);
    assess(&Evidence {
        sound: &sound,
        pitch: pitch.as_ref(),
        cross: cross.as_ref(),
        low_floor: None,
        speech: &speech,
        task,
        gaps,
        damage: &damage,
    })
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.quality.reasons.iter().filter_map(|r| r.split(':').next()).collect()
}

/// Which of some measures are left.
fn left(verdict: &Verdict) -> Vec<&'static str> {
    let mut measures = Measures {
        f0_mean_hz: Some(1.0),
        jitter_local_percent: Some(1.0),
        shimmer_local_percent: Some(1.0),
        hnr_mean_db: Some(1.0),
        cpps_db: Some(1.0),
        h1_h2_db: Some(1.0),
        intensity_mean_db: Some(1.0),
        pause_count: Some(1),
        maximum_phonation_time_s: Some(1.0),
        ..Measures::default()
    };
    verdict.apply(&mut measures);
    measures.entries().into_iter().filter(|(_, v)| v.is_some()).map(|(name, _)| name).collect()
}

const ALL: [&str; 9] = [
    "f0_mean_hz",
    "jitter_local_percent",
    "shimmer_local_percent",
    "hnr_mean_db",
    "cpps_db",
    "h1_h2_db",
    "intensity_mean_db",
    "maximum_phonation_time_s",
    "pause_count",
];

fn without(lost: &[&str]) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| !lost.contains(name)).collect()
}

fn voice() -> VoiceSpec {
    VoiceSpec { f0_hz: 130.0, ..VoiceSpec::default() }
}

fn speech(voice: &VoiceSpec) -> Vec<f64> {
    talk(voice, &TalkSpec::default(), RATE).samples
}

/// White noise of an RMS level on the scale of 1.
fn noise(count: usize, rms: f64, mut state: u32) -> Vec<f64> {
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            3_f64.sqrt() * rms * (f64::from(state >> 8) / f64::from(1 << 23) - 1.0)
        })
        .collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn dbfs(level: f64) -> f64 {
    10_f64.powf(level / 20.0)
}

#[test]
fn a_good_call_passes_whole() {
    for (f0_hz, tract) in [(95.0, Tract::Male), (130.0, Tract::Male), (210.0, Tract::Female)] {
        let voice = VoiceSpec { f0_hz, tract, ..voice() };
        let counted = counting(&voice, &CountingSpec::default(), RATE).samples;
        let held = sustained_vowel(&voice, 5.0, RATE).samples;
        for (samples, task) in [(speech(&voice), Task::Speech), (counted, Task::Counting), (held, Task::SustainedVowel)]
        {
            let verdict = verdict(&samples, task, &[]);
            assert!(verdict.quality.usable && verdict.quality.reasons.is_empty(), "{f0_hz} {task}: {verdict:?}");
            assert_eq!(left(&verdict), ALL);
            assert_eq!(verdict.facts.low_band_present, Some(true));
            assert!(!verdict.facts.agc_suspected && !verdict.facts.octave_suspect);
            assert_ne!(verdict.facts.background, Some(true));
        }
    }
}

#[test]
fn too_little_voice_loses_the_task() {
    let short = talk(&voice(), &TalkSpec { seconds: 8.0, ..TalkSpec::default() }, RATE).samples;
    let verdict = verdict(&short, Task::Speech, &[]);
    assert_eq!(codes(&verdict), ["too-little-voice", "too-short"]);
    assert!(!verdict.quality.usable && left(&verdict).is_empty());
}

#[test]
fn noise_costs_voice_quality_first_and_everything_last() {
    let quality = ["jitter_local_percent", "shimmer_local_percent", "hnr_mean_db", "cpps_db", "h1_h2_db"].as_slice();
    for (level, code, lost) in [(-48.0, "some-noise", [].as_slice()), (-36.0, "noisy", quality), (-22.0, "noisy", &ALL)]
    {
        let voice = VoiceSpec { background_dbfs: Some(level), ..voice() };
        let verdict = verdict(&speech(&voice), Task::Speech, &[]);
        assert!(codes(&verdict).contains(&code), "{level}: {:?}", verdict.quality);
        assert_eq!(left(&verdict), without(lost), "{level}: {:?}", verdict.quality);
    }
    // f0 and phonation time of a vowel stand noise that its timbre does not.
    let voice = VoiceSpec { background_dbfs: None, ..voice() };
    let mut held = vec![0.0; 4000];
    held.extend(sustained_vowel(&voice, 5.0, RATE).samples);
    held.resize(held.len() + 4000, 0.0);
    let verdict = verdict(&sum(&held, &noise(held.len(), dbfs(-34.0), 4)), Task::SustainedVowel, &[]);
    assert!(verdict.quality.usable, "{verdict:?}");
    assert_eq!(left(&verdict), without(quality));
}

#[test]
fn clipping_costs_shimmer_and_cpps_wherever_it_happened() {
    let clean = speech(&VoiceSpec { peak_dbfs: -6.0, ..voice() });
    assert!(verdict(&clean, Task::Speech, &[]).quality.clipped_fraction < 0.001);
    // In the coder, and in the telephone before it at 12 dB below the coder's full scale.
    for (gain, limit, after) in [(8.0, 1.0, 1.0), (8.0, 1.0, 0.25)] {
        let clipped: Vec<f64> = clean.iter().map(|s| after * (gain * s).clamp(-limit, limit)).collect();
        let verdict = verdict(&clipped, Task::Speech, &[]);
        assert!(codes(&verdict).contains(&"clipped"), "{after}: {:?}", verdict.quality);
        assert_eq!(left(&verdict), without(&["shimmer_local_percent", "cpps_db"]));
    }
}

#[test]
fn a_level_near_nothing_is_refused() {
    let quiet = speech(&VoiceSpec { peak_dbfs: -35.0, background_dbfs: Some(-75.0), ..voice() });
    let low = verdict(&quiet, Task::Speech, &[]);
    assert!(codes(&low).contains(&"quiet") && left(&low) == ALL, "{:?}", low.quality);
    let faint = speech(&VoiceSpec { peak_dbfs: -45.0, background_dbfs: Some(-75.0), ..voice() });
    let verdict = verdict(&faint, Task::Speech, &[]);
    assert!(codes(&verdict).contains(&"too-quiet") && left(&verdict).is_empty());
}

#[test]
fn packets_repeated_or_left_empty_are_found_where_they_are() {
    let clean = speech(&voice());
    assert_eq!(verdict(&clean, Task::Speech, &[]).facts.lost_s, 0.0);
    for empty in [false, true] {
        let mut samples = through_ulaw(&clean);
        let packets = samples.len() / 160;
        let lost: Vec<usize> = (5..packets).step_by(25).collect();
        for &k in &lost {
            for n in 160 * k..160 * (k + 1) {
                samples[n] = if empty { 0.0 } else { samples[n - 160] };
            }
        }
        let verdict = verdict(&samples, Task::Speech, &[]);
        let found = verdict.facts.lost_s / (0.02 * lost.len() as f64);
        // An empty packet in a pause or at a weak moment is no different from silence.
        assert!((if empty { 0.5 } else { 0.9 }..1.05).contains(&found), "empty {empty}: {found}");
        assert!(codes(&verdict).contains(&"lost-audio"), "{:?}", verdict.quality);
        assert_eq!(left(&verdict), ALL);
    }
    // What the caller knows is not counted twice.
    let mut samples = through_ulaw(&sustained_vowel(&voice(), 4.0, RATE).samples);
    samples[16_000..16_800].fill(0.0);
    let gap = Interval { start_s: 2.0, end_s: 2.1 };
    let verdict = verdict(&samples, Task::SustainedVowel, &[gap]);
    assert!((verdict.facts.lost_s - 0.1).abs() < 1e-3, "{}", verdict.facts.lost_s);
    let sound = Sound::new(&samples, RATE);
    let spoiled = damage(&sound, Channel::Telephone).spoiled(&[]);
    assert!(matches!(spoiled.as_slice(), [one] if (one.start_s - 2.0).abs() < 1e-3), "{spoiled:?}");
}

#[test]
fn a_tone_that_repeats_by_nature_is_no_lost_packet() {
    let tone: Vec<f64> = (0..24_000).map(|n| 0.3 * (TAU * f64::from(n % 40) / 40.0).sin()).collect();
    assert!(damage(&Sound::new(&tone, RATE), Channel::Telephone).concealed.is_empty());
    assert!(damage(&Sound::new(&[0.0; 8000], RATE), Channel::Telephone).concealed.is_empty());
}

#[test]
fn a_handset_without_low_notes_costs_h1_h2() {
    let clean = speech(&voice());
    let sound = Sound::new(&clean, RATE);
    let band = spectrum::band_pass(&sound, 300.0, 3400.0, 50.0);
    // The line's own noise comes after the handset.
    let verdict = verdict(&sum(&band, &noise(band.len(), dbfs(-65.0), 3)), Task::Speech, &[]);
    assert_eq!(codes(&verdict), ["no-low-band"]);
    assert_eq!(verdict.facts.low_band_present, Some(false));
    assert_eq!(left(&verdict), without(&["h1_h2_db"]));
}

#[test]
fn contours_an_octave_apart_cost_f0_and_jitter() {
    let samples = sustained_vowel(&voice(), 5.0, RATE).samples;
    let other = sustained_vowel(&VoiceSpec { f0_hz: 260.0, ..voice() }, 5.0, RATE).samples;
    let (sound, other) = (Sound::new(&samples, RATE), Sound::new(&other, RATE));
    let (pitch, cross, speech) = (contour(&sound), contour(&other), pauses::detect(&sound));
    let damage = damage(&sound, Channel::Telephone);
    let mut evidence = Evidence {
        sound: &sound,
        pitch: pitch.as_ref(),
        cross: pitch.as_ref(),
        low_floor: pitch.as_ref(),
        speech: &speech,
        task: Task::SustainedVowel,
        gaps: &[],
        damage: &damage,
    };
    assert_eq!(assess(&evidence).facts.octave_disagreement, Some(0.0));
    evidence.cross = cross.as_ref();
    let verdict = assess(&evidence);
    assert_eq!(codes(&verdict), ["octave-doubt"]);
    assert_eq!(left(&verdict), without(&["f0_mean_hz", "jitter_local_percent"]));
}

#[test]
fn gain_control_and_noise_suppression_cost_intensity() {
    let spec = VoiceSpec { background_dbfs: None, ..voice() };
    let recording = talk(&spec, &TalkSpec::default(), RATE);
    let clean = &recording.samples;
    let count = clean.len();
    let loud = |n: usize| recording.truth.phrases.iter().any(|p| (p.start_s..p.end_s).contains(&(n as f64 / 8000.0)));
    // A background that jumps in mid-call.
    let jump: Vec<f64> = noise(count, dbfs(-65.0), 5)
        .into_iter()
        .enumerate()
        .map(|(n, s)| if n > count / 2 { 6.0 * s } else { s })
        .collect();
    // A gain that rises by 14 dB within a third of a second of silence and falls at once when
    // somebody speaks.
    let mut gain = 1.0;
    let swell: Vec<f64> = noise(count, dbfs(-70.0), 6)
        .into_iter()
        .enumerate()
        .map(|(n, s)| {
            gain = if loud(n) { 1.0 } else { f64::min(gain * 5_f64.powf(1.0 / 2700.0), 5.0) };
            s * gain
        })
        .collect();
    let lost = ["intensity_mean_db"];
    for (name, samples) in [("jump", sum(clean, &jump)), ("swell", sum(clean, &swell))] {
        let verdict = verdict(&samples, Task::Speech, &[]);
        assert!(codes(&verdict).contains(&"gain-control"), "{name}: {:?} {:?}", verdict.quality, verdict.facts);
        assert_eq!(left(&verdict), without(&lost), "{name}: {:?}", verdict.quality);
        assert!(verdict.facts.agc_suspected);
    }
    // A gate that makes every pause exactly silent.
    let verdict = verdict(clean, Task::Speech, &[]);
    assert_eq!(codes(&verdict), ["digital-silence"]);
    assert_eq!(left(&verdict), without(&lost));
    assert_eq!(verdict.quality.snr_db, None);
}

#[test]
fn other_voices_and_music_are_heard_in_the_pauses() {
    let own = speech(&voice());
    let count = own.len();
    let other = VoiceSpec { f0_hz: 200.0, tract: Tract::Female, background_dbfs: None, seed: 77, ..voice() };
    let television =
        talk(&other, &TalkSpec { syllables_per_breath: 30, breath_pause_s: 0.4, ..TalkSpec::default() }, RATE);
    // Chords of three notes, half a second each, dying away.
    let music: Vec<f64> = (0..count)
        .map(|n| {
            let (t, chord) = (f64::from((n % 4000) as u32) / 8000.0, (n / 4000) % 4);
            let root = [262.0, 349.0, 392.0, 294.0][chord];
            (-4.0 * t).exp() * [1.0, 1.26, 1.5].iter().map(|r| (TAU * root * r * t).sin()).sum::<f64>()
        })
        .collect();
    for below_db in [15.0, 20.0, 25.0] {
        for (name, sound) in [("television", &television.samples), ("music", &music)] {
            let peak = sound.iter().fold(0.0, |p: f64, s| p.max(s.abs()));
            let gain = dbfs(-9.0 - below_db) / peak;
            let mixed: Vec<f64> = own.iter().zip(sound).map(|(a, b)| a + gain * b).collect();
            let verdict = verdict(&mixed, Task::Speech, &[]);
            assert!(
                codes(&verdict).contains(&"background-voice-or-music"),
                "{name} {below_db} dB: {:?} {:?}",
                verdict.quality,
                verdict.facts
            );
            assert_eq!(verdict.facts.background, Some(true));
        }
    }
}

#[test]
fn noises_of_rooms_lines_and_lungs_are_no_company() {
    let recording = talk(&voice(), &TalkSpec::default(), RATE);
    let own = &recording.samples;
    let count = own.len();
    let mut rumble = 0.0;
    let car: Vec<f64> = noise(count, 1.0, 8)
        .into_iter()
        .map(|s| {
            // Below 200 Hz, as in a car.
            rumble += 0.15 * (s - rumble);
            rumble
        })
        .collect();
    let hum: Vec<f64> = (0..count)
        .map(|n| {
            let t = n as f64 / 8000.0;
            (TAU * 50.0 * t).sin() + 0.5 * (TAU * 150.0 * t).sin() + 0.3 * (TAU * 250.0 * t).sin()
        })
        .collect();
    let breath_noise = noise(count, 1.0, 9);
    let breaths: Vec<f64> = (0..count)
        .map(|n| {
            let t = n as f64 / 8000.0;
            let inhaling = recording.truth.pauses.iter().any(|p| (p.start_s + 0.15..p.end_s - 0.1).contains(&t));
            if inhaling { breath_noise[n] } else { 0.0 }
        })
        .collect();
    let white = noise(count, 1.0, 10);
    for (name, sound, level) in [
        ("white", &white, -45.0),
        ("car", &car, -40.0),
        ("hum", &hum, -45.0),
        ("breath", &breaths, -40.0),
        ("loud breath", &breaths, -33.0),
    ] {
        let rms = (sound.iter().map(|s| s * s).sum::<f64>() / count as f64).sqrt();
        let gain = dbfs(level) / rms;
        let mixed: Vec<f64> = own.iter().zip(sound).map(|(a, b)| a + gain * b).collect();
        let verdict = verdict(&mixed, Task::Speech, &[]);
        assert_ne!(verdict.facts.background, Some(true), "{name}: {:?} {:?}", verdict.quality, verdict.facts);
    }
}

#[test]
fn marks_follow_channel_and_noise() {
    let telephone = |name, snr| mark(name, Channel::Telephone, snr);
    assert_eq!(telephone("shimmer_apq3_percent", None), Some("telephone-limited"));
    assert_eq!(telephone("hnr_mean_db", Some(25.0)), Some("telephone-limited"));
    assert_eq!(telephone("hnr_mean_db", Some(15.0)), Some("noise-limited"));
    assert_eq!(telephone("jitter_local_percent", Some(25.0)), Some("noise-limited"));
    assert_eq!(telephone("f0_mean_hz", Some(5.0)), None);
    assert_eq!(telephone("pause_count", None), None);
    assert_eq!(mark("shimmer_apq3_percent", Channel::Wideband, None), None);
}
