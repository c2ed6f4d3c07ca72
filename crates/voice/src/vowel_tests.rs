#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::g711;
use crate::pitch::{PitchMethod, PitchSettings, track};
use crate::sound::Sound;
use crate::synth::{VoiceSpec, sustained_vowel};
use crate::units::SampleRate;

fn contour(samples: &[f64]) -> PitchTrack {
    let sound = Sound::new(samples, SampleRate::TELEPHONE);
    let settings = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
    track(&sound, &settings).unwrap()
}

/// A voice whose pitch and loudness follow functions of time, on a noisy mu-law line.
fn voice(seconds: f64, noise_db: f64, f0: impl Fn(f64) -> f64, loudness: impl Fn(f64) -> f64) -> Vec<f64> {
    let noise = 0.3 * 10_f64.powf(noise_db / 20.0);
    let (mut phase, mut state) = (0.0, 9_u32);
    (0..(seconds * 8000.0) as usize)
        .map(|n| {
            let t = n as f64 / 8000.0;
            phase += std::f64::consts::TAU * f0(t) / 8000.0;
            // Formants of "ah" as weights of the harmonics.
            let tone: f64 = (1..=24)
                .map(|k| (f64::from(k), f64::from(k) * f0(t)))
                .filter(|&(_, hz)| hz < 3600.0)
                .map(|(k, hz)| (k * phase).sin() / (1.0 + ((hz - 800.0) / 500.0).powi(2)))
                .sum();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let white = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
            let value = 0.1 * loudness(t) * tone + 1.7 * noise * white;
            f64::from(g711::ulaw_decode(g711::ulaw_encode((value * 32_768.0) as i16))) / 32_768.0
        })
        .collect()
}

/// 1 inside, 0 outside, with ramps of 30 ms.
fn between(t: f64, from: f64, to: f64) -> f64 {
    ((t - from) / 0.03).min((to - t) / 0.03).clamp(0.0, 1.0)
}

fn assert_inside(window: Option<Interval>, from: f64, to: f64, at_least: f64, what: &str) {
    let window = window.unwrap_or_else(|| panic!("{what}: no window"));
    assert!(window.start_s >= from - 0.02 && window.end_s <= to + 0.02, "{what}: {window:?} not in {from}-{to}");
    assert!(window.duration_s() >= at_least - 1e-6, "{what}: {window:?} shorter than {at_least}");
}

#[test]
fn the_window_keeps_clear_of_edges_and_of_lost_audio() {
    let vowel = sustained_vowel(&VoiceSpec::default(), 6.0, SampleRate::TELEPHONE);
    let pitch = contour(&vowel.samples);
    let window = steady_window(&pitch, &[]).unwrap();
    assert!((window.duration_s() - 3.0).abs() < 1e-9);
    assert!(window.start_s > 0.4 && window.end_s < 6.0);
    let lost = Interval { start_s: 2.5, end_s: 2.6 };
    let window = steady_window(&pitch, &[lost]).unwrap();
    assert!(window.start_s >= 2.62 && window.end_s < 6.0, "{window:?}");
    // Too little is left on either side.
    let lost: Vec<Interval> =
        (1..13).map(|k| Interval { start_s: 0.5 * f64::from(k), end_s: 0.5 * f64::from(k) + 0.1 }).collect();
    assert_eq!(steady_window(&pitch, &lost), None);
}

#[test]
fn glides_at_onset_and_offset_are_left_out() {
    for noise_db in [-50.0, -30.0, -20.0] {
        // A fifth up within half a second, a fourth down in the last one.
        let f0 = |t: f64| {
            let up = 7.0 * (1.0 - (t - 0.3) / 0.5).clamp(0.0, 1.0);
            let down = 5.0 * ((t - 3.3) / 0.6).clamp(0.0, 1.0);
            150.0 * 2_f64.powf(-(up + down) / 12.0)
        };
        let samples = voice(4.2, noise_db, f0, |t| between(t, 0.3, 3.9));
        assert_inside(steady_window(&contour(&samples), &[]), 0.8, 3.3, 2.0, &format!("glides, noise {noise_db}"));
    }
}

#[test]
fn vibrato_is_no_reason_for_a_short_window() {
    let f0 = |t: f64| 200.0 * 2_f64.powf(0.8 * (std::f64::consts::TAU * 5.5 * t).sin() / 12.0);
    let samples = voice(5.0, -45.0, f0, |t| between(t, 0.3, 4.7));
    assert_inside(steady_window(&contour(&samples), &[]), 0.5, 4.5, 3.0, "vibrato");
}

#[test]
fn breaks_and_creak_are_left_out() {
    let f0 = |t: f64| if t > 4.5 { 55.0 } else { 120.0 };
    // Breaks of 60 ms at 1.2 s and 3.9 s, creak from 4.5 s.
    let loud = |t: f64| {
        let broken = (1.2..1.26).contains(&t) || (3.9..3.96).contains(&t);
        if broken { 0.0 } else { between(t, 0.3, 5.2) }
    };
    let samples = voice(5.5, -45.0, f0, loud);
    assert_inside(steady_window(&contour(&samples), &[]), 1.26, 3.9, 2.5, "breaks");
    // Broken everywhere: the breaks are measured with the voice.
    let samples = voice(4.0, -45.0, |_| 120.0, |t| if t % 0.6 < 0.06 { 0.0 } else { between(t, 0.3, 3.7) });
    assert_inside(steady_window(&contour(&samples), &[]), 0.3, 3.7, 2.5, "broken everywhere");
}

#[test]
fn words_beside_the_vowel_and_short_tries_do_not_matter() {
    // "Right, so" before and "was that it" after: syllables of 0.15 to 0.3 s with moving pitch.
    let words = [(0.2, 0.4), (0.45, 0.75), (5.2, 5.4), (5.45, 5.6), (5.65, 5.9)];
    let f0 = |t: f64| if (1.5..4.6).contains(&t) { 180.0 } else { 180.0 + 60.0 * (9.0 * t).sin() };
    let loud = |t: f64| words.iter().map(|w| between(t, w.0, w.1)).fold(between(t, 1.5, 4.6), f64::max);
    let pitch = contour(&voice(6.2, -35.0, f0, loud));
    assert_inside(steady_window(&pitch, &[]), 1.75, 4.35, 2.5, "words");
    let run = longest_run(&pitch).unwrap();
    assert!((run.duration_s() - 3.1).abs() < 0.05, "{run:?}");
    // The second try is longer and steadier than the first.
    let f0 = |t: f64| if t < 3.0 { 140.0 + 12.0 * t } else { 150.0 };
    let pitch = contour(&voice(7.0, -35.0, f0, |t| between(t, 0.3, 2.3).max(between(t, 3.2, 6.7))));
    assert_inside(steady_window(&pitch, &[]), 3.45, 6.45, 3.0, "second try");
    // A longer but gliding second try does not win over a steady first one.
    let f0 = |t: f64| if t < 4.0 { 150.0 } else { 150.0 + 15.0 * (t - 4.0) };
    let pitch = contour(&voice(9.5, -35.0, f0, |t| between(t, 0.3, 3.9).max(between(t, 4.5, 9.2))));
    assert_inside(steady_window(&pitch, &[]), 0.5, 3.7, 3.0, "steady first try");
}

#[test]
fn a_hundred_periods_of_a_high_voice_are_enough() {
    let samples = voice(1.0, -45.0, |_| 220.0, |t| between(t, 0.1, 0.8));
    assert_inside(steady_window(&contour(&samples), &[]), 0.1, 0.8, 100.0 / 220.0, "high and short");
    let samples = voice(1.0, -45.0, |_| 110.0, |t| between(t, 0.1, 0.8));
    assert_eq!(steady_window(&contour(&samples), &[]), None);
}

#[test]
fn phonation_time_is_the_length_of_the_vowel() {
    for (f0, seconds, noise_db) in [(90.0, 2.0, -50.0), (120.0, 6.0, -30.0), (210.0, 14.3, -20.0), (320.0, 4.4, -40.0)]
    {
        let samples = voice(seconds + 0.8, noise_db, |_| f0, |t| between(t, 0.4, 0.4 + seconds));
        let run = longest_run(&contour(&samples)).unwrap();
        assert!((run.duration_s() - seconds).abs() < 0.04, "{f0} Hz, {seconds} s: {run:?}");
    }
}

#[test]
fn audio_lost_inside_a_vowel_does_not_cut_its_length() {
    let loud = |t: f64| if (2.0..2.3).contains(&t) { 0.0 } else { between(t, 0.4, 5.4) };
    let pitch = contour(&voice(5.8, -50.0, |_| 130.0, loud));
    let lost = [Interval { start_s: 2.0, end_s: 2.3 }];
    assert!((longest_run(&pitch).unwrap().duration_s() - 3.1).abs() < 0.05);
    assert!((longest_run_over(&pitch, &lost).unwrap().duration_s() - 5.0).abs() < 0.05);
}
