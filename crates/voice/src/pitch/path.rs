//! The Viterbi search that turns candidates into a contour.
//!
//! Most candidates of a frame cannot be on the best path, and that shows before they are placed
//! exactly. The cost of a transition obeys the triangle inequality, so a candidate `c` whose total
//! is below that of another one, `d`, by more than the cost from `d` to `c` can be left out: any
//! continuation of `c` is cheaper from `d`. An optimistic total of `c` is enough to see that, hence
//! candidates are taken in the order of their optimistic totals, the hopeless ones are dropped, and
//! only the others are refined. The path found is the same as with all of them.

use super::PitchSettings;
use super::candidates::{Candidate, CandidateFinder, Peak};

/// Candidates of all frames so far, with the best way to reach each of them.
pub(super) struct Lattice {
    ceiling: f64,
    octave_cost: f64,
    jump_cost: f64,
    voicing_cost: f64,
    voicing_threshold: f64,
    silence_threshold: f64,
    nodes: Vec<Node>,
    /// Index of the first node of every frame.
    starts: Vec<usize>,
    /// log2 of the frequency whose period is 0, 1, 2, ... samples.
    log_frequencies: Vec<f64>,
    /// Peaks of the frame at hand that may still matter.
    open: Vec<Open>,
}

#[derive(Clone, Copy)]
struct Node {
    frequency: f64,
    strength: f64,
    /// log2 of the frequency of a voiced candidate, `None` if it counts as unvoiced.
    log_frequency: Option<f64>,
    /// Best total of a path ending here.
    total: f64,
    /// Index of the node before this one on that path.
    before: usize,
    /// Place among the candidates of its frame.
    order: usize,
}

/// An unrefined peak.
#[derive(Clone, Copy)]
struct Open {
    peak: Peak,
    order: usize,
    /// log2 of the lowest and highest frequency it can turn out to have.
    range: (f64, f64),
    /// No path to it reaches a higher total.
    total: f64,
}

/// Totals this close are not told apart without refining.
const ROUNDING: f64 = 1e-9;

impl Lattice {
    pub(super) fn new(settings: &PitchSettings, finder: &CandidateFinder<'_>) -> Self {
        let frames = finder.frames();
        let (rate, max_lag) = finder.lags();
        // Costs are stated for 10 ms steps.
        let correction = 0.01 / frames.dt;
        Self {
            ceiling: finder.ceiling_hz(),
            octave_cost: settings.octave_cost,
            jump_cost: settings.octave_jump_cost * correction,
            voicing_cost: settings.voiced_unvoiced_cost * correction,
            voicing_threshold: settings.voicing_threshold,
            silence_threshold: settings.silence_threshold,
            nodes: Vec::with_capacity(2 * frames.count),
            starts: Vec::with_capacity(frames.count),
            log_frequencies: (0..=max_lag + 1).map(|lag| (rate / lag as f64).log2()).collect(),
            open: Vec::with_capacity(max_lag / 2 + 1),
        }
    }

    fn unvoiced_score(&self, intensity: f64) -> f64 {
        let silence = if self.silence_threshold > 0.0 {
            2.0 - intensity * (1.0 + self.voicing_threshold) / self.silence_threshold
        } else {
            0.0
        };
        self.voicing_threshold + silence.max(0.0)
    }

    /// Whether no candidate could win in a frame: a voiced score is at most 1 and going unvoiced
    /// for one frame costs at most two voicing changes.
    pub(super) fn surely_unvoiced(&self, intensity: f64) -> bool {
        self.unvoiced_score(intensity) > 1.0 + 2.0 * self.voicing_cost
    }

    /// Adds the next frame with the peaks of its correlation.
    pub(super) fn push(&mut self, intensity: f64, peaks: &[Peak], refine: impl Fn(&Peak) -> Candidate) {
        let previous = self.starts.last().copied().unwrap_or(0)..self.nodes.len();
        let start = self.nodes.len();
        self.starts.push(start);
        let (before, reached) = self.best_before(previous.clone(), None);
        let unvoiced = self.unvoiced_score(intensity) + reached;
        // A candidate above the ceiling counts as unvoiced too and comes later, so it never wins.
        self.nodes.push(Node { frequency: 0.0, strength: 0.0, log_frequency: None, total: unvoiced, before, order: 0 });
        self.list_open(previous.clone(), peaks, unvoiced);
        while let Some(peak) = self.take_most_promising() {
            let jump_cost = self.jump_cost;
            let hopeless = |node: &Node| {
                node.log_frequency.is_some_and(|at| {
                    let farthest = (at - peak.range.0).max(peak.range.1 - at);
                    node.total - jump_cost * farthest > peak.total + ROUNDING
                })
            };
            if self.nodes.get(start..).unwrap_or_default().iter().any(hopeless) {
                continue;
            }
            let candidate = refine(&peak.peak);
            if candidate.frequency >= self.ceiling {
                continue;
            }
            let log_frequency = candidate.frequency.log2();
            let (before, reached) = self.best_before(previous.clone(), Some(log_frequency));
            let local = candidate.strength - self.octave_cost * (self.ceiling / candidate.frequency).log2();
            self.nodes.push(Node {
                frequency: candidate.frequency,
                strength: candidate.strength,
                log_frequency: Some(log_frequency),
                total: local + reached,
                before,
                order: peak.order,
            });
        }
        // Of equal totals the first candidate wins.
        if let Some(frame) = self.nodes.get_mut(start..) {
            frame.sort_unstable_by_key(|node| node.order);
        }
    }

    /// Collects the peaks that could do better than staying unvoiced and changing voice later.
    fn list_open(&mut self, previous: std::ops::Range<usize>, peaks: &[Peak], unvoiced: f64) {
        self.open.clear();
        let log_ceiling = self.ceiling.log2();
        for (order, &peak) in peaks.iter().enumerate() {
            let log_frequency = |lag: usize| self.log_frequencies.get(lag).copied().unwrap_or(0.0);
            let range = (log_frequency(peak.lag + 1), log_frequency(peak.lag.saturating_sub(1)));
            if range.0 >= log_ceiling {
                continue;
            }
            let local = peak.most - self.octave_cost * (log_ceiling - range.1);
            let total = local + self.best_reach(previous.clone(), range);
            if total + ROUNDING >= unvoiced - self.voicing_cost {
                self.open.push(Open { peak, order: order + 1, range, total });
            }
        }
    }

    fn take_most_promising(&mut self) -> Option<Open> {
        let mut best: Option<(usize, f64)> = None;
        for (place, open) in self.open.iter().enumerate() {
            if best.is_none_or(|(_, total)| open.total > total) {
                best = Some((place, open.total));
            }
        }
        best.map(|(place, _)| self.open.swap_remove(place))
    }

    /// The most a path into a frequency between the two can have gained before.
    fn best_reach(&self, previous: std::ops::Range<usize>, (low, high): (f64, f64)) -> f64 {
        let mut best = f64::NEG_INFINITY;
        for node in self.nodes.get(previous).unwrap_or_default() {
            let cost = match node.log_frequency {
                Some(at) => self.jump_cost * (low - at).max(at - high).max(0.0),
                None => self.voicing_cost,
            };
            best = best.max(node.total - cost);
        }
        // The very first frame has nothing before it.
        if best == f64::NEG_INFINITY { 0.0 } else { best }
    }

    fn best_before(&self, previous: std::ops::Range<usize>, log_frequency: Option<f64>) -> (usize, f64) {
        let start = previous.start;
        let mut best = (start, f64::NEG_INFINITY);
        for (k, node) in self.nodes.get(previous).unwrap_or_default().iter().enumerate() {
            let cost = match (node.log_frequency, log_frequency) {
                (None, None) => 0.0,
                (Some(a), Some(b)) => self.jump_cost * (a - b).abs(),
                _ => self.voicing_cost,
            };
            let total = node.total - cost;
            if total > best.1 {
                best = (start + k, total);
            }
        }
        // The very first frame has nothing before it.
        if best.1 == f64::NEG_INFINITY { (start, 0.0) } else { best }
    }

    /// Frequency (`None` if unvoiced) and strength of every frame along the best path.
    pub(super) fn best_path(&self) -> (Vec<Option<f64>>, Vec<f64>) {
        let last = self.starts.last().copied().unwrap_or(0);
        let mut best = (last, f64::NEG_INFINITY);
        for (k, node) in self.nodes.iter().enumerate().skip(last) {
            if node.total > best.1 {
                best = (k, node.total);
            }
        }
        let mut f0 = Vec::with_capacity(self.starts.len());
        let mut strength = Vec::with_capacity(self.starts.len());
        let mut at = best.0;
        for _ in 0..self.starts.len() {
            let Some(node) = self.nodes.get(at) else {
                break;
            };
            f0.push(node.log_frequency.map(|_| node.frequency));
            strength.push(node.strength);
            at = node.before;
        }
        f0.reverse();
        strength.reverse();
        (f0, strength)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pitch::{PitchMethod, track};
    use crate::sound::Sound;
    use crate::synth::{self, TalkSpec, VoiceSpec};
    use crate::units::SampleRate;

    /// The definition: every candidate refined, every path weighed.
    fn exhaustive(sound: &Sound<'_>, settings: &PitchSettings) -> Vec<Option<f64>> {
        let mut finder = CandidateFinder::new(sound, settings).unwrap();
        let frames = finder.frames();
        let mut lattice = Lattice::new(settings, &finder);
        for k in 0..frames.count {
            let intensity = finder.intensity(frames.time(k));
            finder.find();
            let previous = lattice.starts.last().copied().unwrap_or(0)..lattice.nodes.len();
            lattice.starts.push(lattice.nodes.len());
            let refined = finder.peaks().iter().map(|peak| finder.refine(peak));
            for c in std::iter::once(Candidate { frequency: 0.0, strength: 0.0 }).chain(refined) {
                let voiced = c.frequency > 0.0 && c.frequency < lattice.ceiling;
                let log_frequency = voiced.then(|| c.frequency.log2());
                let local = if voiced {
                    c.strength - settings.octave_cost * (lattice.ceiling / c.frequency).log2()
                } else {
                    lattice.unvoiced_score(intensity)
                };
                let (before, reached) = lattice.best_before(previous.clone(), log_frequency);
                lattice.nodes.push(Node {
                    frequency: c.frequency,
                    strength: c.strength,
                    log_frequency,
                    total: local + reached,
                    before,
                    order: 0,
                });
            }
        }
        lattice.best_path().0
    }

    #[test]
    fn leaving_candidates_out_does_not_change_the_path() {
        let rate = SampleRate::TELEPHONE;
        let voice = synth::talk(&VoiceSpec::default(), &TalkSpec::default(), rate).samples;
        let voice = &voice[..voice.len().min(40_000)];
        let mut state = 7_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        let white: Vec<f64> = (0..8_000).map(|_| noise()).collect();
        // Differences of noise alternate in sign: energy up to the Nyquist frequency.
        let hiss: Vec<f64> = white.windows(3).map(|w| w[0] - 2.0 * w[1] + w[2]).collect();
        let mixed: Vec<f64> = voice.iter().zip(hiss.iter().cycle()).map(|(v, n)| v + 0.02 * n).collect();
        let mut voiced = 0;
        for samples in [voice, &white, &hiss, &mixed] {
            let sound = Sound::new(samples, rate);
            for method in [PitchMethod::Autocorrelation, PitchMethod::CrossCorrelation] {
                for (floor, ceiling, jump) in [(75.0, 500.0, 0.35), (50.0, 900.0, 0.02), (60.0, 300.0, 2.0)] {
                    let mut settings = PitchSettings::praat(method, floor, ceiling);
                    settings.octave_jump_cost = jump;
                    settings.voicing_threshold = 0.3;
                    let found = track(&sound, &settings).unwrap();
                    assert_eq!(found.f0(), exhaustive(&sound, &settings), "{method:?} {floor}");
                    voiced += found.voiced().count();
                }
            }
        }
        assert!(voiced > 1_000);
    }

    #[test]
    fn earlier_analyses_leave_no_trace() {
        let rate = SampleRate::TELEPHONE;
        let samples = synth::talk(&VoiceSpec::default(), &TalkSpec::default(), rate).samples;
        let sound = Sound::new(&samples[..20_000], rate);
        let settings = PitchSettings::praat(PitchMethod::Autocorrelation, 75.0, 500.0);
        let first = track(&sound, &settings);
        let other: Vec<f64> = samples.iter().rev().copied().collect();
        assert_ne!(track(&Sound::new(&other, rate), &settings), first);
        assert_eq!(track(&sound, &settings), first);
    }
}
