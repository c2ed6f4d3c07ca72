//! What was the person doing? Vowel, counting or open speech, decided from the recording itself.
//!
//! A held vowel is one long stretch in which neither the spectrum nor the melody moves; counting
//! is many short words, each alone between pauses; everything else is open speech. Where the
//! recording does not say, the answer is open speech, whose measures need the least.

use crate::pauses::{Interval, SpeechMap};
use crate::pitch::PitchTrack;
use crate::report::Task;
use crate::sound::Sound;
use crate::stats;
use crate::vowel;

/// A task with the reason for it in plain words.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the recording seems to hold; never [`Task::Auto`].
    pub task: Task,
    /// Why, with the figures the decision rests on.
    pub reason: String,
}

/// Shortest sound that can be a vowel on purpose: stressed syllables of speech hardly last longer.
const MIN_VOWEL_S: f64 = 0.2;
/// From this length on a steady run of voice is a vowel even beside words.
const LONG_VOWEL_S: f64 = 1.2;
/// Share of all voice such a run must make up.
const MIN_LONG_SHARE: f64 = 0.25;
/// Share of all voice a shorter run must make up, and of the stretch of sound around it: words
/// have unvoiced parts.
const MIN_SHARE: f64 = 0.7;
/// Share of all speech the longest stretch must make up to stand for the recording.
const ALONE_SHARE: f64 = 0.8;

/// How far the spectrum may stray (see [`wandering`]) in a vowel known by its voicing, and in one
/// known by its steadiness alone. Running speech strays by 0.1 to 0.3.
const VOICED_WANDERING: f64 = 0.13;
const STEADY_WANDERING: f64 = 0.1;

/// Words counting needs, and how long and how different they may be.
const MIN_WORDS: usize = 6;
const MAX_WORD_S: f64 = 1.3;
/// So many short words of like length are numbers even when they follow each other quickly.
const MANY_WORDS: usize = 10;
const MAX_WORD_SPREAD_S: f64 = 0.28;
/// Share of the words that must keep to the longest duration, and of the gaps between them that
/// must be pauses.
const MOST: f64 = 0.85;
/// Voice in the words: numbers are voiced, taps and breaths are not.
const MIN_VOICED_SHARE: f64 = 0.25;
/// Numbers have one to five syllables, mostly one or two; phrases have more.
const MAX_SYLLABLES_PER_WORD: f64 = 2.8;

/// Decides what a recording holds.
///
/// `pitch` is its contour at 75 to 500 Hz, `speech` its speech and pauses, `syllables` the count
/// of [`crate::nuclei`] if it is known (it helps to tell numbers from phrases).
#[must_use]
pub fn decide(sound: &Sound<'_>, pitch: Option<&PitchTrack>, speech: &SpeechMap, syllables: Option<usize>) -> Decision {
    if let Some(reason) = held_vowel(sound, pitch, speech) {
        return Decision { task: Task::SustainedVowel, reason };
    }
    match counting(pitch, speech, syllables) {
        Ok(reason) => Decision { task: Task::Counting, reason },
        Err(reason) => Decision { task: Task::Speech, reason },
    }
}

fn held_vowel(sound: &Sound<'_>, pitch: Option<&PitchTrack>, speech: &SpeechMap) -> Option<String> {
    let pitch = pitch?;
    let voiced_s = pitch.voiced_s();
    let run = vowel::longest_unbroken(pitch)?;
    let around = speech.speech().iter().find(|s| s.start_s < run.end_s && s.end_s > run.start_s);
    let length = run.duration_s();
    let share = length / voiced_s;
    let covered = around.map_or(1.0, |s| length / s.duration_s());
    let strays = |part| wandering(sound, part).unwrap_or(f64::INFINITY);
    if length >= LONG_VOWEL_S && share >= MIN_LONG_SHARE && strays(run) <= STEADY_WANDERING {
        return Some(format!("one unbroken steady sound of {length:.1} s, longer than words ever hold"));
    }
    if length >= MIN_VOWEL_S && share.min(covered) >= MIN_SHARE && strays(run) <= VOICED_WANDERING {
        return Some(format!("a single steady voiced sound of {length:.2} s, {:.0} % of all voice", 100.0 * share));
    }
    // A hoarse or breaking voice leaves little contour, but the sound itself stays what it is.
    let stretch = longest(speech.speech())?;
    let length = stretch.duration_s();
    let alone = length >= MIN_VOWEL_S && length >= ALONE_SHARE * speech.speech_s();
    (alone && strays(stretch) <= STEADY_WANDERING)
        .then(|| format!("a single sound of {length:.2} s whose timbre does not change, though its voice breaks"))
}

/// The reason for counting, or the reason for open speech.
fn counting(pitch: Option<&PitchTrack>, speech: &SpeechMap, syllables: Option<usize>) -> Result<String, String> {
    let words: Vec<f64> = speech.speech().iter().map(Interval::duration_s).collect();
    let count = words.len();
    if count == 0 {
        return Err("nobody speaks".to_owned());
    }
    if count < MIN_WORDS {
        return Err(format!("{count} stretches of speech, counting has {MIN_WORDS} or more"));
    }
    let short = words.iter().filter(|&&w| w <= MAX_WORD_S).count();
    if (short as f64) < MOST * count as f64 {
        return Err(format!("{} of {count} stretches of speech are longer than a number takes", count - short));
    }
    let spread_s = stats::standard_deviation(&words).unwrap_or(0.0);
    if spread_s > MAX_WORD_SPREAD_S {
        return Err(format!("stretches of speech as different as phrases are (spread {spread_s:.2} s)"));
    }
    let pauses = speech.pauses().len();
    if count < MANY_WORDS && (pauses as f64) < MOST * (count - 1) as f64 {
        return Err(format!("only {pauses} pauses between {count} short stretches of speech"));
    }
    let voiced_share = pitch.map_or(0.0, PitchTrack::voiced_s) / speech.speech_s();
    if voiced_share < MIN_VOICED_SHARE {
        return Err(format!("only {:.0} % of the sounds are voiced", 100.0 * voiced_share));
    }
    if let Some(per_word) = syllables.map(|n| n as f64 / count as f64)
        && per_word > MAX_SYLLABLES_PER_WORD
    {
        return Err(format!("{per_word:.1} syllables between pauses, as in phrases"));
    }
    let mean_s = stats::mean(&words).unwrap_or(0.0);
    Ok(format!("{count} words of about {mean_s:.1} s, each alone between pauses"))
}

fn longest(stretches: &[Interval]) -> Option<Interval> {
    stretches.iter().copied().max_by(|a, b| a.duration_s().total_cmp(&b.duration_s()))
}

/// How far the spectral envelope strays from its median over a stretch: mean distance of the
/// normalised autocorrelation at the first four lags of 1/8000 s, read every 20 ms; 0 for a
/// perfectly steady sound. `None` below three frames.
fn wandering(sound: &Sound<'_>, part: Interval) -> Option<f64> {
    const LAGS: usize = 4;
    const FRAME_S: f64 = 0.04;
    const STEP_S: f64 = 0.02;
    let rate = sound.rate().hz();
    let index = |t: f64| (t.max(0.0) * rate).round() as usize;
    let lag = |k: usize| ((k + 1) as f64 * rate / 8000.0).round() as usize;
    // Onset and offset glide in every vowel.
    let edge = (0.1 * part.duration_s()).min(0.25);
    let mut frames: Vec<[f64; LAGS]> = Vec::new();
    let mut start = part.start_s + edge;
    while start + FRAME_S <= part.end_s - edge {
        let samples = sound.samples().get(index(start)..index(start + FRAME_S).min(sound.samples().len()))?;
        let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        let product = |lag: usize| -> f64 {
            samples.iter().zip(samples.get(lag..).unwrap_or_default()).map(|(a, b)| (a - mean) * (b - mean)).sum()
        };
        let energy = product(0);
        if energy > 0.0 {
            frames.push(std::array::from_fn(|k| product(lag(k)) / energy));
        }
        start += STEP_S;
    }
    if frames.len() < 3 {
        return None;
    }
    let mut column = Vec::with_capacity(frames.len());
    let mut total = 0.0;
    for k in 0..LAGS {
        column.clear();
        column.extend(frames.iter().filter_map(|f| f.get(k)));
        let median = stats::quantile_of(&column, 0.5)?;
        total += column.iter().map(|v| (v - median).abs()).sum::<f64>() / column.len() as f64;
    }
    Some(total / LAGS as f64)
}
