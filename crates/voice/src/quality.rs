//! The quality gate: is this audio good enough, and for which measures?
//!
//! Every row of the gate looks at one kind of damage a call does to a voice: too little of it,
//! noise, clipping, a low level, packets that never came, a channel without the fundamental, a
//! wrong octave, a gain control at work, somebody else talking. A failed row names the measures
//! that are lost; those are withheld, never guessed, and the rest is kept. Every finding is a
//! `code: explanation` with the figure and the limit it is held against.

mod background;
mod band;
mod damage;
mod octave;

use crate::pauses::{Interval, SpeechMap};
use crate::pitch::PitchTrack;
use crate::report::{Channel, Measures, Quality, Task};
use crate::sound::Sound;
use crate::stats;
pub use damage::{Damage, find as damage};

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
/// With this share at full scale there is no voice left to measure, only what the clipping made.
const CLIPPING_FAILS_ALL: f64 = 0.3;

/// Speech peak below which nothing is measured, and below which it is mentioned.
const MIN_PEAK_DBFS: f64 = -42.0;
const LOW_PEAK_DBFS: f64 = -30.0;

/// Share of lost audio that is mentioned.
const LOSS_NOTED: f64 = 0.01;

/// With less energy than this in the band of the fundamental against 400 to 800 Hz the channel
/// does not carry it: full-band voices have -18 to +20 dB by vowel, behind a steep edge at 300 Hz
/// -33 dB and less; a gentle edge of 24 dB per octave lies between.
const MIN_LOW_BAND_DB: f64 = -18.0;

/// Share of frames in which two contours may disagree about the octave.
const MAX_OCTAVE_DISAGREEMENT: f64 = 0.1;

/// Change of the noise floor that only a gain control (or another room) makes.
const MAX_FLOOR_JUMP_DB: f64 = 10.0;
/// Share of the silence that is digital silence when noise suppression removes the noise.
const DIGITAL_SHARE: f64 = 0.5;

/// Other voices or music: share of the person's silence, as an estimate of how much of the speech
/// they overlay, that is too much, and time that is no accident. Below 5 % the few frames a call
/// offers cannot be told from a soft ending of the person's own words.
const MAX_OTHER_SHARE: f64 = 0.05;
const MAX_OTHER_S: f64 = 0.2;

/// What the gate judges from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The span.
    pub sound: &'a Sound<'a>,
    /// Its autocorrelation contour, 75 to 500 Hz.
    pub pitch: Option<&'a PitchTrack>,
    /// Its cross-correlation contour with the same limits, if it was made.
    pub cross: Option<&'a PitchTrack>,
    /// Its autocorrelation contour with a floor of 50 Hz, if it was made.
    pub low_floor: Option<&'a PitchTrack>,
    /// Its speech and pauses.
    pub speech: &'a SpeechMap,
    /// What the person did; not [`Task::Auto`].
    pub task: Task,
    /// Stretches that never arrived, ascending.
    pub gaps: &'a [Interval],
    /// Damage to the samples, from [`damage`].
    pub damage: &'a Damage,
}

/// What the gate measured, for programs; `None` where the recording does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Facts {
    /// Whether the channel carries the fundamental; without it H1-H2 means nothing.
    pub low_band_present: Option<bool>,
    /// Energy in the band of the fundamental over that of 400 to 800 Hz, in dB.
    pub low_band_db: Option<f64>,
    /// A gain control or noise suppression seems to be at work: levels mean nothing.
    pub agc_suspected: bool,
    /// Largest change of the noise floor in dB.
    pub floor_jump_db: Option<f64>,
    /// Share of the silence that is digital silence, 0..1.
    pub digital_silence: f64,
    /// The contours do not agree about the octave: f0 and jitter mean nothing.
    pub octave_suspect: bool,
    /// Share of the frames in which they disagree, 0..1.
    pub octave_disagreement: Option<f64>,
    /// Another voice or music is heard while the person is silent.
    pub background: Option<bool>,
    /// Its share of the person's silence, 0..1.
    pub background_share: Option<f64>,
    /// Audio that did not arrive or was made up by a receiver, in seconds.
    pub lost_s: f64,
}

/// What the gate found, and what it costs.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The findings for people.
    pub quality: Quality,
    /// The findings for programs.
    pub facts: Facts,
    /// Nothing may be used.
    fails_all: bool,
    /// Jitter, shimmer, HNR and CPPS may not be used.
    fails_voice_quality: bool,
    /// Shimmer and CPPS may not be used.
    fails_amplitude: bool,
    /// f0 and jitter may not be used.
    fails_pitch: bool,
    /// Intensity may not be used.
    fails_intensity: bool,
    /// H1-H2 may not be used.
    fails_low_band: bool,
}

impl Verdict {
    /// Withholds what the gate forbids.
    pub(crate) fn apply(&self, measures: &mut Measures) {
        let named = |name: &str, groups: &[&str]| groups.iter().any(|group| name.starts_with(group));
        measures.withhold(|name| {
            self.fails_all
                || (self.fails_voice_quality && is_voice_quality(name))
                || (self.fails_amplitude && named(name, &["shimmer", "cpps", "breathiness", "voice_quality"]))
                || (self.fails_pitch && named(name, &["f0", "jitter", "voice_quality"]))
                || (self.fails_intensity && named(name, &["intensity"]))
                || (self.fails_low_band && named(name, &["h1_h2"]))
        });
    }
}

/// Judges a span.
#[must_use]
pub fn assess(evidence: &Evidence<'_>) -> Verdict {
    let &Evidence { sound, pitch, speech, task, gaps, damage, .. } = evidence;
    let voiced_s = pitch.map_or(0.0, PitchTrack::voiced_s);
    let silences = background::silences(speech, gaps);
    let suppressed = silences.digital > DIGITAL_SHARE;
    // Of a noise that was taken away nothing is known.
    let snr_db = snr(pitch, speech).filter(|_| !suppressed);
    let mut verdict = Verdict {
        quality: Quality {
            usable: true,
            snr_db,
            clipped_fraction: damage.clipped_fraction,
            voiced_s,
            reasons: Vec::new(),
        },
        facts: Facts::default(),
        fails_all: false,
        fails_voice_quality: false,
        fails_amplitude: false,
        fails_pitch: false,
        fails_intensity: false,
        fails_low_band: false,
    };
    verdict.length(task, voiced_s, sound.end());
    verdict.noise(snr_db);
    if snr_db.is_none() && !suppressed && task != Task::SustainedVowel {
        verdict.contrast(pitch, speech);
    }
    verdict.clipping(damage.clipped_fraction);
    verdict.level(sound.samples());
    verdict.loss(total_s(&damage.spoiled_by_loss(gaps)), sound.end());
    verdict.low_band(pitch.and_then(|pitch| band::low_band_db(sound, pitch, speech)));
    verdict.octave(evidence);
    verdict.gain(&silences);
    // A vowel is too short and too loud for anybody to be heard behind it.
    if task != Task::SustainedVowel {
        verdict.company(background::other_sound(sound, speech, gaps));
    }
    verdict.quality.usable = !verdict.fails_all;
    verdict
}

fn total_s(stretches: &[Interval]) -> f64 {
    stretches.iter().map(Interval::duration_s).sum()
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

    fn noise(&mut self, snr_db: Option<f64>) {
        let Some(snr) = snr_db else {
            return;
        };
        if snr < TIMING_SNR_DB {
            self.fails_all = true;
            self.note(format!("noisy: {snr:.0} dB above the background, 10 dB needed"));
        } else if snr < QUALITY_SNR_DB {
            self.fails_voice_quality = true;
            self.note(format!("noisy: {snr:.0} dB above the background, 20 dB needed for voice quality"));
        } else if snr < GOOD_SNR_DB {
            self.note(format!("some-noise: {snr:.0} dB above the background, 30 dB is good"));
        }
    }

    /// Where there is no silence to hear the background in, speech itself has moments near it.
    fn contrast(&mut self, pitch: Option<&PitchTrack>, speech: &SpeechMap) {
        let quietest = stats::quantile_of(speech.levels(), 0.02);
        let Some(contrast) = voiced_dbfs(pitch, speech).zip(quietest).map(|(voice, quiet)| voice - quiet) else {
            return;
        };
        if contrast < TIMING_SNR_DB {
            self.fails_all = true;
            self.note(format!("noisy: {contrast:.0} dB between the voice and the quietest moments, 10 dB needed"));
        } else if contrast < QUALITY_SNR_DB {
            self.fails_voice_quality = true;
            self.note(format!(
                "noisy: {contrast:.0} dB between the voice and the quietest moments, 20 dB needed for voice quality"
            ));
        }
    }

    fn clipping(&mut self, fraction: f64) {
        let percent = 100.0 * fraction;
        if fraction > CLIPPING_FAILS_ALL {
            self.fails_all = true;
            self.note(format!(
                "clipped: {percent:.0} % of the samples at full scale, nothing can be measured above 30 %"
            ));
        } else if fraction > CLIPPING_FAILS {
            self.fails_amplitude = true;
            self.note(format!("clipped: {percent:.2} % of the samples, at most 1 % for shimmer and CPPS"));
        } else if fraction > CLIPPING_NOTED {
            self.note(format!("some-clipping: {percent:.2} % of the samples, 0.1 % is good"));
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

    fn loss(&mut self, lost_s: f64, duration_s: f64) {
        self.facts.lost_s = lost_s;
        if lost_s > LOSS_NOTED * duration_s {
            let percent = 100.0 * lost_s / duration_s;
            self.note(format!(
                "lost-audio: {lost_s:.2} s of the audio did not arrive or was made up for, {percent:.1} %, at most 1 % \
                 is good"
            ));
        }
    }

    fn low_band(&mut self, low_band_db: Option<f64>) {
        self.facts.low_band_db = low_band_db;
        self.facts.low_band_present = low_band_db.map(|db| db >= MIN_LOW_BAND_DB);
        if let Some(db) = low_band_db.filter(|db| *db < MIN_LOW_BAND_DB) {
            self.fails_low_band = true;
            self.note(format!(
                "no-low-band: the band of the fundamental is {:.0} dB weaker than 400 to 800 Hz, at most {:.0} dB for \
                 H1-H2",
                -db, -MIN_LOW_BAND_DB
            ));
        }
    }

    fn octave(&mut self, evidence: &Evidence<'_>) {
        let others = [evidence.cross, evidence.low_floor].into_iter().flatten();
        let share = evidence
            .pitch
            .and_then(|pitch| others.filter_map(|other| octave::disagreement(pitch, other)).reduce(f64::max));
        self.facts.octave_disagreement = share;
        if let Some(share) = share.filter(|share| *share > MAX_OCTAVE_DISAGREEMENT) {
            self.facts.octave_suspect = true;
            self.fails_pitch = true;
            self.note(format!(
                "octave-doubt: two ways to find f0 differ by more than 20 % in {:.0} % of the voice, at most 10 % for f0 \
                 and jitter",
                100.0 * share
            ));
        }
    }

    fn gain(&mut self, silences: &background::Silences) {
        self.facts.digital_silence = silences.digital;
        self.facts.floor_jump_db = silences.floor_jump_db;
        if silences.digital > DIGITAL_SHARE {
            self.facts.agc_suspected = true;
            self.fails_intensity = true;
            self.note(format!(
                "digital-silence: {:.0} % of the silence is exactly silent, so the noise under the voice and its level \
                 are unknown",
                100.0 * silences.digital
            ));
        }
        if let Some(jump) = silences.floor_jump_db.filter(|jump| *jump > MAX_FLOOR_JUMP_DB) {
            self.facts.agc_suspected = true;
            self.fails_intensity = true;
            self.note(format!(
                "gain-control: the background changes by {jump:.0} dB, at most 10 dB where no gain control or noise \
                 suppression is at work"
            ));
        }
    }

    fn company(&mut self, other: Option<background::OtherSound>) {
        let Some(other) = other else {
            return;
        };
        let heard = other.tonal_s > MAX_OTHER_S && other.share > MAX_OTHER_SHARE;
        self.facts.background = Some(heard);
        self.facts.background_share = Some(other.share);
        if heard {
            self.note(format!(
                "background-voice-or-music: {:.1} s of voices or tones {:.0} dB below the person's own voice, in {:.0} % \
                 of the silence, at most 5 % is good",
                other.tonal_s,
                other.below_db,
                100.0 * other.share
            ));
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
    Some(voiced_dbfs(pitch, speech)? - speech.noise_dbfs()?)
}

/// Median level of voiced frames in dBFS.
fn voiced_dbfs(pitch: Option<&PitchTrack>, speech: &SpeechMap) -> Option<f64> {
    let pitch = pitch?;
    let voiced: Vec<f64> = pitch
        .f0()
        .iter()
        .enumerate()
        .filter(|(_, f0)| f0.is_some())
        .filter_map(|(k, _)| speech.level_at(pitch.frames().time(k)))
        .collect();
    stats::quantile_of(&voiced, 0.5)
}

#[cfg(test)]
#[path = "quality/tests.rs"]
mod tests;
