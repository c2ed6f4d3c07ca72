#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

const WIDE: [u32; 5] = [16_000, 22_050, 24_000, 44_100, 48_000];

fn sine(rate: u32, hz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| {
            let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(rate);
            (amplitude * angle.sin()).round() as i16
        })
        .collect()
}

/// Amplitude of one frequency in the middle of a signal, by projection on a Hann-windowed tone.
fn amplitude_at(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let middle = &samples[samples.len() / 4..3 * samples.len() / 4];
    let (mut re, mut im, mut weight) = (0.0, 0.0, 0.0);
    for (n, &s) in middle.iter().enumerate() {
        let w = 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / middle.len() as f64).cos();
        let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(rate);
        re += w * f64::from(s) * angle.cos();
        im += w * f64::from(s) * angle.sin();
        weight += w;
    }
    2.0 * (re * re + im * im).sqrt() / weight
}

fn convert(from: u32, to: u32, input: &[i16]) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to).unwrap();
    let mut out = Vec::new();
    resampler.process(input, &mut out);
    resampler.flush(&mut out);
    out
}

fn level_db(a: f64, reference: f64) -> f64 {
    20.0 * (a / reference).log10()
}

#[test]
fn pass_band_is_flat_to_3400_hz() {
    for rate in WIDE {
        for (from, to) in [(rate, 8_000), (8_000, rate)] {
            for hz in [80.0, 300.0, 1000.0, 2500.0, 3400.0] {
                let input = sine(from, hz, 12_000.0, from as usize);
                let gain = level_db(amplitude_at(&convert(from, to, &input), to, hz), 12_000.0);
                assert!(gain.abs() < 0.02, "{from} to {to}: {gain:.3} dB at {hz} Hz");
            }
        }
    }
}

#[test]
fn aliases_are_down_60_db_from_4400_hz() {
    for from in WIDE {
        for hz in [4400.0, 4700.0, 5300.0, 6100.0, 7600.0, 10_300.0, 19_000.0] {
            if hz > f64::from(from) / 2.0 {
                continue;
            }
            let output = convert(from, 8_000, &sine(from, hz, 30_000.0, from as usize));
            let folded = (hz - 8_000.0 * (hz / 8_000.0).round()).abs();
            let alias = level_db(amplitude_at(&output, 8_000, folded), 30_000.0);
            assert!(alias < -60.0, "{from}: {hz} Hz leaves {alias:.1} dB");
        }
    }
}

#[test]
fn images_are_down_60_db_from_4400_hz() {
    for to in WIDE {
        for hz in [300.0, 1000.0, 2900.0, 3550.0] {
            let output = convert(8_000, to, &sine(8_000, hz, 30_000.0, 8_000));
            for image in [8_000.0 - hz, 8_000.0 + hz, 16_000.0 - hz, 16_000.0 + hz] {
                if image < f64::from(to) / 2.0 {
                    let left = level_db(amplitude_at(&output, to, image), 30_000.0);
                    assert!(left < -60.0, "{to}: {hz} Hz images at {image}: {left:.1} dB");
                }
            }
        }
    }
}

#[test]
fn an_impulse_comes_out_in_place_and_after_the_stated_latency() {
    for rate in WIDE {
        for (from, to) in [(rate, 8_000), (8_000, rate)] {
            let mut resampler = Resampler::new(from, to).unwrap();
            assert!(resampler.latency_ms() >= 2.0 && resampler.latency_ms() < 2.06);
            // One second in, so that the impulse falls on an exact output sample.
            let position = from as usize;
            let mut fed = 0_usize;
            let mut out = Vec::new();
            let mut emitted_after = None;
            while fed < position + 400 {
                let sample = if fed == position { 20_000 } else { 0 };
                resampler.process(&[sample], &mut out);
                fed += 1;
                if emitted_after.is_none() && out.len() > to as usize {
                    emitted_after = Some(fed - 1 - position);
                }
            }
            let peak = out.iter().enumerate().max_by_key(|(_, s)| s.unsigned_abs()).unwrap();
            assert_eq!(peak.0, to as usize, "{from} to {to}");
            assert_eq!(emitted_after, Some(resampler.latency_samples_in()));
        }
    }
}

#[test]
fn equal_rates_pass_through_without_latency() {
    let input = sine(8_000, 440.0, 30_000.0, 333);
    assert_eq!(convert(8_000, 8_000, &input), input);
    assert_eq!(Resampler::new(8_000, 8_000).unwrap().latency_samples_in(), 0);
}

#[test]
fn other_rates_are_refused() {
    for (from, to) in [(16_000, 24_000), (8_000, 11_025), (0, 8_000), (8_000, 0)] {
        let error = Resampler::new(from, to).unwrap_err();
        assert_eq!(error, ResampleError::UnsupportedRates { from, to });
    }
}

#[test]
fn full_scale_square_clips_instead_of_wrapping() {
    let input: Vec<i16> = (0..2000).map(|n| if (n / 40) % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let output = convert(8_000, 16_000, &input);
    // The plateau of each half-wave must keep its sign.
    assert!(output[40] > 30_000 && output[120] < -30_000);
}

#[test]
fn flush_makes_it_ready_for_the_next_stream() {
    let input = sine(24_000, 500.0, 10_000.0, 1_001);
    let mut resampler = Resampler::new(24_000, 8_000).unwrap();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    resampler.process(&input, &mut first);
    resampler.flush(&mut first);
    resampler.process(&input, &mut second);
    resampler.flush(&mut second);
    assert_eq!(first, second);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn chunking_never_changes_the_output(
        input in prop::collection::vec(any::<i16>(), 0..3000),
        cuts in prop::collection::vec(1_usize..700, 1..12),
        rate in prop::sample::select(WIDE.to_vec()),
        up in any::<bool>(),
    ) {
        let (from, to) = if up { (8_000, rate) } else { (rate, 8_000) };
        let whole = convert(from, to, &input);
        let expected = (input.len() as u64 * u64::from(to) + u64::from(from) / 2) / u64::from(from);
        prop_assert_eq!(whole.len() as u64, expected);

        let mut resampler = Resampler::new(from, to).unwrap();
        let mut out = Vec::new();
        let mut rest = input.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            resampler.process(head, &mut out);
            rest = tail;
        }
        resampler.flush(&mut out);
        prop_assert_eq!(out, whole);
    }
}
