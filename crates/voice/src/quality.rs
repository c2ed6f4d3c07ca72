//! The quality gate: is this audio good enough, and for which measures?

use crate::pauses::{QUIETEST_DBFS, SpeechMap};
use crate::pitch::PitchTrack;
use crate::report::{Channel, Measures, Quality, Task};
use crate::sound::Sound;
use crate::stats;

/// Voiced time a vowel needs, in seconds.
pub const MIN_VOWEL_VOICED_S: f64 = 1.0;
/// Voiced time open speech needs, in seconds.
pub const MIN_SPEECH_VOICED_S: f64 = 10.0;
/// Length of the stretch open speech needs, in seconds.
pub const MIN_SPEECH_S: f64 = 20.0;
/// Voiced time counting needs: the vowels of some ten numbers, in seconds.
pub const MIN_COUNTING_VOICED_S: f64 = 2.0;

/// Below this, measures of voice quality are marked.
const GOOD_SNR_DB: f64 = 30.0;
/// Below this, they are withheld: HNR alone loses 4 to 8 dB.
const QUALITY_SNR_DB: f64 = 20.0;
/// Below this, not even timing can be trusted.
const TIMING_SNR_DB: f64 = 10.0;

/// Clipping that is mentioned, and clipping that costs shimmer (shares of all samples).
const CLIPPING_NOTED: f64 = 0.001;
const CLIPPING_FAILS: f64 = 0.01;

/// Speech peak below which nothing is measured, and below which it is mentioned.
const MIN_PEAK_DBFS: f64 = -42.0;
const LOW_PEAK_DBFS: f64 = -30.0;

/// Highest mu-law level on the scale of 1, with a margin for rounding.
const ULAW_FULL_SCALE: f64 = 32_123.5 / 32_768.0;
/// Highest 16-bit level likewise.
const PCM_FULL_SCALE: f64 = 32_766.5 / 32_768.0;

/// Share of lost audio that is mentioned.
const LOSS_NOTED: f64 = 0.01;

/// What the gate found, and what it costs.
pub(crate) struct Verdict {
    pub(crate) quality: Quality,
    /// Nothing may be used.
    fails_all: bool,
    /// Jitter, shimmer, HNR and CPPS may not be used.
    fails_voice_quality: bool,
    /// Shimmer and CPPS may not be used.
    fails_amplitude: bool,
}

impl Verdict {
    /// Withholds what the gate forbids.
    pub(crate) fn apply(&self, measures: &mut Measures) {
        if self.fails_all {
            measures.withhold(|_| true);
        }
        if self.fails_voice_quality {
            measures.withhold(is_voice_quality);
        }
        if self.fails_amplitude {
            measures.withhold(|name| name.starts_with("shimmer") || name.starts_with("cpps"));
        }
    }
}

/// Judges a span; `lost_s` is audio that never arrived.
pub(crate) fn judge(
    sound: &Sound<'_>,
    pitch: Option<&PitchTrack>,
    speech: &SpeechMap,
    task: Task,
    channel: Channel,
    lost_s: f64,
) -> Verdict {
    let voiced_s = pitch.map_or(0.0, PitchTrack::voiced_s);
    let snr_db = snr(pitch, speech);
    let clipped_fraction = clipped(sound.samples(), channel);
    let mut verdict = Verdict {
        quality: Quality { usable: true, snr_db, clipped_fraction, voiced_s, reasons: Vec::new() },
        fails_all: false,
        fails_voice_quality: false,
        fails_amplitude: false,
    };
    verdict.length(task, voiced_s, sound.end());
    verdict.noise(task, snr_db, speech);
    verdict.clipping(clipped_fraction);
    verdict.level(sound.samples());
    if lost_s > LOSS_NOTED * sound.end() {
        verdict.note(format!("lost-audio: {lost_s:.2} s of the audio did not arrive"));
    }
    verdict.quality.usable = !verdict.fails_all;
    verdict
}

impl Verdict {
    fn note(&mut self, reason: String) {
        self.quality.reasons.push(reason);
    }

    fn length(&mut self, task: Task, voiced_s: f64, duration_s: f64) {
        let needed = match task {
            Task::SustainedVowel => MIN_VOWEL_VOICED_S,
            Task::Counting => MIN_COUNTING_VOICED_S,
            Task::Speech | Task::Auto => MIN_SPEECH_VOICED_S,
        };
        if voiced_s < needed {
            self.fails_all = true;
            self.note(format!("too-little-voice: {voiced_s:.2} s voiced, {needed:.0} s needed for {task}"));
        }
        if task == Task::Speech && duration_s < MIN_SPEECH_S {
            self.fails_all = true;
            self.note(format!("too-short: {duration_s:.1} s of audio, {MIN_SPEECH_S:.0} s needed for {task}"));
        }
    }

    fn noise(&mut self, task: Task, snr_db: Option<f64>, speech: &SpeechMap) {
        if speech.noise_dbfs().is_some_and(|noise| noise <= QUIETEST_DBFS) {
            self.note(
                "digital-silence: the pauses are exactly silent, so the noise under the voice is unknown".to_owned(),
            );
        }
        let Some(snr) = snr_db else {
            return;
        };
        if snr < TIMING_SNR_DB {
            self.fails_all = true;
            self.note(format!("noisy: {snr:.0} dB above the background, 10 dB needed"));
        } else if snr < QUALITY_SNR_DB {
            self.fails_voice_quality = true;
            // Voice quality is all a vowel is recorded for.
            self.fails_all |= task == Task::SustainedVowel;
            self.note(format!("noisy: {snr:.0} dB above the background, 20 dB needed for voice quality"));
        } else if snr < GOOD_SNR_DB {
            self.note(format!("some-noise: {snr:.0} dB above the background, 30 dB is good"));
        }
    }

    fn clipping(&mut self, fraction: f64) {
        let percent = 100.0 * fraction;
        if fraction > CLIPPING_FAILS {
            self.fails_amplitude = true;
            self.note(format!("clipped: {percent:.2} % of the samples, at most 1 % for shimmer"));
        } else if fraction > CLIPPING_NOTED {
            self.note(format!("some-clipping: {percent:.2} % of the samples"));
        }
    }

    fn level(&mut self, samples: &[f64]) {
        let peak = samples.iter().fold(0.0, |p: f64, s| p.max(s.abs()));
        let dbfs = 20.0 * peak.max(1e-6).log10();
        if dbfs < MIN_PEAK_DBFS {
            self.fails_all = true;
            self.note(format!("too-quiet: peak at {dbfs:.0} dBFS, -42 dBFS needed"));
        } else if dbfs < LOW_PEAK_DBFS {
            self.note(format!("quiet: peak at {dbfs:.0} dBFS, -30 dBFS is good"));
        }
    }
}

/// Whether a measure describes the voice itself rather than timing or pitch.
fn is_voice_quality(name: &str) -> bool {
    ["jitter", "shimmer", "hnr", "cpps", "h1_h2", "breathiness", "voice_quality"]
        .iter()
        .any(|group| name.starts_with(group))
}

/// The mark each measured value deserves, if any.
///
/// G.711 itself costs little, but a call also has a handset band, unknown coders and gain control:
/// shimmer, HNR and CPPS shift with them, level means nothing, while f0, jitter and timing hold.
pub(crate) fn mark(name: &str, channel: Channel, snr_db: Option<f64>) -> Option<&'static str> {
    let noisy = |limit: f64| is_voice_quality(name) && snr_db.is_some_and(|snr| snr < limit);
    if noisy(QUALITY_SNR_DB) {
        return Some("noise-limited");
    }
    let weak_on_calls = ["shimmer", "hnr", "cpps", "h1_h2", "intensity", "f2", "breathiness", "voice_quality"];
    if channel == Channel::Telephone {
        if name.starts_with("spectral_tilt") {
            return Some("wideband-only");
        }
        if weak_on_calls.iter().any(|group| name.starts_with(group)) {
            return Some("telephone-limited");
        }
    }
    noisy(GOOD_SNR_DB).then_some("noise-limited")
}

/// Median level of voiced frames minus the background.
fn snr(pitch: Option<&PitchTrack>, speech: &SpeechMap) -> Option<f64> {
    let pitch = pitch?;
    let noise = speech.noise_dbfs()?;
    let voiced: Vec<f64> = pitch
        .f0()
        .iter()
        .enumerate()
        .filter(|(_, f0)| f0.is_some())
        .filter_map(|(k, _)| speech.level_at(pitch.frames().time(k)))
        .collect();
    Some(stats::quantile_of(&voiced, 0.5)? - noise)
}

/// Share of samples at full scale or in a run of at least three equal extremes.
fn clipped(samples: &[f64], channel: Channel) -> f64 {
    let peak = samples.iter().fold(0.0, |p: f64, s| p.max(s.abs()));
    let full = match channel {
        Channel::Telephone => ULAW_FULL_SCALE,
        Channel::Wideband | Channel::Auto => PCM_FULL_SCALE,
    };
    let mut count = 0;
    for run in samples.chunk_by(|a, b| a == b) {
        let height = run.first().map_or(0.0, |s| s.abs());
        // Mu-law steps are so coarse near the top that runs below full scale are ordinary there.
        let flat = channel != Channel::Telephone && run.len() >= 3 && height == peak && peak > 0.1;
        if height >= full || flat {
            count += run.len();
        }
    }
    count as f64 / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_is_seen_at_full_scale_and_on_flat_tops() {
        let mut samples: Vec<f64> = (0..1000).map(|n| 0.5 * (f64::from(n) * 0.3).sin()).collect();
        assert_eq!(clipped(&samples, Channel::Wideband), 0.0);
        for s in &mut samples {
            *s = s.clamp(-0.4, 0.4);
        }
        assert!(clipped(&samples, Channel::Wideband) > 0.1);
        assert_eq!(clipped(&samples, Channel::Telephone), 0.0);
        assert_eq!(clipped(&[32_124.0 / 32_768.0, 0.0], Channel::Telephone), 0.5);
        assert_eq!(clipped(&[], Channel::Telephone), 0.0);
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
}
