//! Does the channel carry the fundamental? Energy low in the spectrum of the voice against its
//! middle.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;

use crate::pauses::SpeechMap;
use crate::pitch::PitchTrack;
use crate::sound::Sound;

/// The band of the fundamental, its upper end for low voices, and the highest it is moved to for
/// high ones (above 300 Hz a handset passes the fundamental anyway).
const LOW_HZ: f64 = 80.0;
const LOW_END_HZ: f64 = 250.0;
const LOW_END_MOST_HZ: f64 = 390.0;
/// How far above the fundamental the band reaches.
const ABOVE_F0: f64 = 1.2;
/// The band it is compared with.
const MIDDLE_HZ: (f64, f64) = (400.0, 800.0);

/// Frames at least this long resolve the two bands.
const FRAME_S: f64 = 0.06;

/// Voiced frames needed.
const MIN_FRAMES: usize = 5;

/// Long-term energy of the voiced frames in the band of the fundamental over that of 400 to
/// 800 Hz, in dB. `None` when too little is voiced.
pub(super) fn low_band_db(sound: &Sound<'_>, pitch: &PitchTrack, speech: &SpeechMap) -> Option<f64> {
    let f0 = pitch.summary().median_hz?;
    let low_end = (ABOVE_F0 * f0).clamp(LOW_END_HZ, LOW_END_MOST_HZ);
    let rate = sound.rate().hz();
    let length = ((FRAME_S * rate).ceil() as usize).next_power_of_two();
    let fft = RealFftPlanner::<f64>::new().plan_fft_forward(length);
    let window: Vec<f64> = (0..length).map(|n| 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / length as f64).cos()).collect();
    let (mut frame, mut bins) = (fft.make_input_vec(), fft.make_output_vec());
    let mut scratch = fft.make_scratch_vec();
    let bin = |hz: f64| (hz * length as f64 / rate).round() as usize;
    let bands = [bin(LOW_HZ)..bin(low_end), bin(MIDDLE_HZ.0)..bin(MIDDLE_HZ.1)];
    let mut energy = [0.0; 2];
    let mut frames = 0;
    for samples in sound.samples().chunks_exact(length).enumerate().filter_map(|(k, samples)| {
        let middle_s = (k as f64 + 0.5) * length as f64 / rate;
        let spoken = speech.speech().iter().any(|s| s.start_s <= middle_s && middle_s < s.end_s);
        (spoken && pitch.value_at(middle_s).is_some()).then_some(samples)
    }) {
        let mean = samples.iter().sum::<f64>() / length as f64;
        for ((out, sample), weight) in frame.iter_mut().zip(samples).zip(&window) {
            *out = (sample - mean) * weight;
        }
        if fft.process_with_scratch(&mut frame, &mut bins, &mut scratch).is_err() {
            return None;
        }
        for (sum, band) in energy.iter_mut().zip(&bands) {
            *sum += bins.get(band.clone()).unwrap_or_default().iter().map(|z| z.norm_sqr()).sum::<f64>();
        }
        frames += 1;
    }
    let [low, middle] = energy;
    (frames >= MIN_FRAMES && low > 0.0 && middle > 0.0).then(|| 10.0 * (low / middle).log10())
}
