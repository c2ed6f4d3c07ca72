//! What is heard while the person is silent: the steadiness of the noise, digital silence, and
//! other voices or music.

use crate::pauses::{Interval, QUIETEST_DBFS, SpeechMap};
use crate::sound::Sound;
use crate::stats;

/// Frames of 10 ms per stretch with one noise floor (10 s), and frames of silence it needs.
const BLOCK: usize = 1000;
const MIN_BLOCK_FRAMES: usize = 30;

/// Silence in which a swelling or sinking noise can be seen, in frames, and how many are needed.
const MIN_SWELL_FRAMES: usize = 36;
const MIN_SWELLS: usize = 3;

/// What the silences of a recording hold.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Silences {
    /// Share of the silence that is one number throughout, 0..1.
    pub(super) digital: f64,
    /// Largest difference of noise floors between stretches of 10 s in dB, or the ordinary change
    /// of the noise within a pause if that is larger.
    pub(super) floor_jump_db: Option<f64>,
}

/// Looks at the silences; those that touch one of `gaps` were not heard.
pub(super) fn silences(map: &SpeechMap, gaps: &[Interval]) -> Silences {
    let heard = |k: &usize| {
        let time = map.frame_time(*k);
        !gaps.iter().any(|gap| gap.start_s - 0.02 <= time && time <= gap.end_s + 0.02)
    };
    let silences = map.silences();
    let (mut frames, mut digital) = (0_usize, 0_usize);
    let mut blocks: Vec<Vec<f64>> = vec![Vec::new(); map.levels().len() / BLOCK + 1];
    let mut swells = Vec::new();
    let mut noise = Vec::new();
    for silence in silences {
        noise.clear();
        for k in silence.filter(heard) {
            frames += 1;
            if map.is_constant(k) {
                digital += 1;
                continue;
            }
            // Below one step of mu-law nothing can be said about noise.
            let level = map.levels().get(k).copied().unwrap_or(QUIETEST_DBFS).max(QUIETEST_DBFS);
            noise.push(level);
            if let Some(block) = blocks.get_mut(k / BLOCK) {
                block.push(level);
            }
        }
        if noise.len() >= MIN_SWELL_FRAMES {
            let third = noise.len() / 3;
            // The floor, not the mean: breath is drawn in pauses, but with quiet before and after.
            let floor = |part: Option<&[f64]>| part.and_then(|p| stats::quantile_of(p, 0.1));
            if let (Some(early), Some(late)) = (floor(noise.get(..third)), floor(noise.get(noise.len() - third..))) {
                swells.push((late - early).abs());
            }
        }
    }
    let floors: Vec<f64> = blocks
        .iter()
        .filter(|block| block.len() >= MIN_BLOCK_FRAMES)
        .filter_map(|block| stats::quantile_of(block, 0.1))
        .collect();
    let between = (floors.len() >= 2).then(|| {
        floors.iter().copied().fold(f64::NEG_INFINITY, f64::max) - floors.iter().copied().fold(f64::INFINITY, f64::min)
    });
    let within = (swells.len() >= MIN_SWELLS).then(|| stats::quantile_of(&swells, 0.5)).flatten();
    Silences {
        digital: if frames == 0 { 0.0 } else { digital as f64 / frames as f64 },
        floor_jump_db: between.into_iter().chain(within).reduce(f64::max),
    }
}

/// The person is what is within this of the loud level...
const OWN_BELOW_LOUD_DB: f64 = 12.0;
/// (which is the 95 % quantile, but at least the 99 % one less this, for people who hardly speak)...
const RARE_DB: f64 = 15.0;
/// ...and everything this near in time: weak endings and beginnings of words (frames of 10 ms).
const OWN_MARGIN: usize = 25;
/// What is left must last this long to be judged, in frames.
const MIN_REST: usize = 50;
/// Another sound stands out from the noise by this...
const OVER_FLOOR_DB: f64 = 6.0;
/// ...and is periodic like a voice or a tone: this correlation of 25 ms with a later 25 ms.
const TONAL: f64 = 0.6;
/// Periods looked for: 80 to 500 Hz.
const LAGS_S: (f64, f64) = (0.002, 0.0125);
const SEGMENT_S: f64 = 0.025;
/// Rate at which they are looked for: enough for 500 Hz.
const LOOK_HZ: f64 = 4000.0;
/// Every how many frames.
const LOOK_EVERY: usize = 3;

/// Tonal or voiced sound while the person is silent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OtherSound {
    /// Its time in seconds.
    pub(super) tonal_s: f64,
    /// Its share of the time in which it could be heard, 0..1: about as much of the person's own
    /// time is overlaid by it.
    pub(super) share: f64,
    /// Its median level below the person's loud level, in dB.
    pub(super) below_db: f64,
}

/// Looks for voices and music behind the person; `None` when the person is never silent for long
/// enough to tell.
pub(super) fn other_sound(sound: &Sound<'_>, map: &SpeechMap, gaps: &[Interval]) -> Option<OtherSound> {
    let levels = map.levels();
    let loud = stats::quantile_of(levels, 0.95)?.max(stats::quantile_of(levels, 0.99)? - RARE_DB);
    let own = |k: usize| levels.get(k).is_some_and(|&level| level > loud - OWN_BELOW_LOUD_DB);
    let mut since = OWN_MARGIN;
    let mut rest: Vec<usize> = Vec::new();
    for k in 0..levels.len() {
        if own(k) {
            since = 0;
            // Take back what lies just before.
            while rest.last().is_some_and(|&last| last + OWN_MARGIN >= k) {
                rest.pop();
            }
        } else {
            since += 1;
            if since > OWN_MARGIN {
                rest.push(k);
            }
        }
    }
    rest.retain(|&k| {
        let time = map.frame_time(k);
        !map.is_constant(k) && !gaps.iter().any(|gap| gap.start_s - 0.05 <= time && time <= gap.end_s + 0.05)
    });
    if rest.len() < MIN_REST {
        return None;
    }
    let level = |k: usize| levels.get(k).copied().unwrap_or(QUIETEST_DBFS);
    let floor = stats::quantile_of(&rest.iter().map(|&k| level(k)).collect::<Vec<_>>(), 0.1)?;
    let mut looked = 0_usize;
    let mut heard = Vec::new();
    let mut reader = Periodicity::new(sound);
    for &k in rest.iter().step_by(LOOK_EVERY) {
        looked += 1;
        if level(k) > floor + OVER_FLOOR_DB && reader.at(map.frame_time(k)) > TONAL {
            heard.push(level(k));
        }
    }
    let tonal_s = 0.01 * rest.len() as f64 * heard.len() as f64 / looked.max(1) as f64;
    let below_db = stats::quantile_of(&heard, 0.5).map_or(0.0, |median| loud - median);
    Some(OtherSound { tonal_s, share: heard.len() as f64 / looked.max(1) as f64, below_db })
}

/// Reads how periodic a recording is around a time, at a low rate.
struct Periodicity<'a> {
    sound: &'a Sound<'a>,
    /// Samples averaged into one.
    step: usize,
    buffer: Vec<f64>,
}

impl<'a> Periodicity<'a> {
    fn new(sound: &'a Sound<'a>) -> Self {
        let step = ((sound.rate().hz() / LOOK_HZ).round() as usize).max(1);
        Self { sound, step, buffer: Vec::new() }
    }

    /// Largest normalised correlation of a segment with a later one.
    fn at(&mut self, time: f64) -> f64 {
        let rate = self.sound.rate().hz() / self.step as f64;
        let segment = (SEGMENT_S * rate).round() as usize;
        let (shortest, longest) = ((LAGS_S.0 * rate).floor() as usize, (LAGS_S.1 * rate).ceil() as usize);
        let span = (segment + longest) * self.step;
        let first = ((time * self.sound.rate().hz()).round() as usize).saturating_sub(span / 2);
        let Some(samples) = self.sound.samples().get(first..first + span) else {
            return 0.0;
        };
        self.buffer.clear();
        self.buffer.extend(samples.chunks_exact(self.step).map(|c| c.iter().sum::<f64>()));
        let mean = self.buffer.iter().sum::<f64>() / self.buffer.len().max(1) as f64;
        for value in &mut self.buffer {
            *value -= mean;
        }
        let here = self.buffer.get(..segment).unwrap_or_default();
        let energy = crate::math::dot(here, here);
        // Only true maxima count: what falls from lag 0 on is rumble, not a period.
        let (mut best, mut before, mut last) = (0.0, f64::INFINITY, f64::INFINITY);
        for lag in shortest.saturating_sub(1)..=longest {
            let there = self.buffer.get(lag..lag + segment).unwrap_or_default();
            let both = (energy * crate::math::dot(there, there)).sqrt();
            let now = if both > 0.0 { crate::math::dot(here, there) / both } else { 0.0 };
            if last > before && last >= now {
                best = f64::max(best, last);
            }
            (before, last) = (last, now);
        }
        best
    }
}
