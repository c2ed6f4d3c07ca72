//! Voices with known truth, measured as the product measures them, over both channels.

use voice::synth::{self, Recording, Tract, VoiceSpec, VowelTruth};
use voice::{AnalyzeOptions, Measures, Resampler, SampleRate, Task, analyze, g711};

use crate::chart::Point;

/// Seconds of every vowel: the 3 s that are measured and half a second of edges.
const VOWEL_S: f64 = 3.5;

/// What carries the voice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The samples as made, at 16 kHz.
    Wideband,
    /// The same samples at 8 kHz through mu-law.
    Telephone,
}

pub(crate) const CARRIERS: [(Carrier, &str); 2] =
    [(Carrier::Wideband, "Wide-band, 16 kHz"), (Carrier::Telephone, "Telephone, mu-law 8 kHz")];

pub(crate) const F0_HZ: [f64; 4] = [90.0, 130.0, 200.0, 300.0];

pub(crate) fn wideband_rate() -> SampleRate {
    SampleRate::new(16_000).unwrap()
}

/// A voice without any irregularity and without background; sweeps add theirs.
pub(crate) fn perfect(f0_hz: f64, seed: u64) -> VoiceSpec {
    let tract = if f0_hz < 165.0 { Tract::Male } else { Tract::Female };
    VoiceSpec {
        f0_hz,
        tract,
        jitter_percent: 0.0,
        shimmer_percent: 0.0,
        hnr_db: None,
        background_dbfs: None,
        seed,
        ..VoiceSpec::default()
    }
}

/// Sends a 16 kHz recording over a carrier.
pub(crate) fn carried<T>(recording: &Recording<T>, carrier: Carrier) -> (Vec<f64>, SampleRate) {
    match carrier {
        Carrier::Wideband => (recording.samples.clone(), wideband_rate()),
        Carrier::Telephone => {
            let mut narrow = Vec::new();
            let mut resampler = Resampler::new(16_000, 8_000).unwrap();
            resampler.process(&recording.to_pcm16(), &mut narrow);
            resampler.flush(&mut narrow);
            let codes: Vec<u8> = narrow.into_iter().map(g711::ulaw_encode).collect();
            let mut samples = Vec::with_capacity(codes.len());
            g711::ulaw_decode_slice(&codes, &mut samples);
            (samples, SampleRate::TELEPHONE)
        }
    }
}

/// A held vowel as the product reports it over each carrier, and its truth.
pub(crate) fn vowel(voice: &VoiceSpec) -> ([Measures; 2], VowelTruth) {
    let recording = synth::sustained_vowel(voice, VOWEL_S, wideband_rate());
    let options = AnalyzeOptions { task: Task::SustainedVowel, ..AnalyzeOptions::default() };
    let measures = CARRIERS.map(|(carrier, _)| {
        let (samples, rate) = carried(&recording, carrier);
        analyze(&samples, rate, &options).unwrap().measures
    });
    (measures, recording.truth)
}

/// Median and range; `None` when fewer than half of the repetitions have a value.
pub(crate) fn point(x: f64, values: &[Option<f64>]) -> Option<Point> {
    let mut sorted: Vec<f64> = values.iter().copied().flatten().collect();
    sorted.sort_by(f64::total_cmp);
    if sorted.len() * 2 < values.len() {
        return None;
    }
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { 0.5 * (sorted[middle - 1] + sorted[middle]) };
    Some(Point { x, median, low: *sorted.first()?, high: *sorted.last()? })
}
