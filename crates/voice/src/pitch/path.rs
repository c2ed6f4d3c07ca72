//! The Viterbi search that turns candidates into a contour.

use super::{Candidate, PitchSettings};

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
}

impl Lattice {
    pub(super) fn new(settings: &PitchSettings, ceiling: f64, dt: f64) -> Self {
        // Costs are stated for 10 ms steps.
        let correction = 0.01 / dt;
        Self {
            ceiling,
            octave_cost: settings.octave_cost,
            jump_cost: settings.octave_jump_cost * correction,
            voicing_cost: settings.voiced_unvoiced_cost * correction,
            voicing_threshold: settings.voicing_threshold,
            silence_threshold: settings.silence_threshold,
            nodes: Vec::new(),
            starts: Vec::new(),
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

    /// Adds the next frame.
    pub(super) fn push(&mut self, intensity: f64, candidates: &[Candidate]) {
        let unvoiced = self.unvoiced_score(intensity);
        let previous = self.starts.last().copied().unwrap_or(0)..self.nodes.len();
        self.starts.push(self.nodes.len());
        for candidate in candidates {
            let frequency = candidate.frequency;
            let voiced = frequency > 0.0 && frequency < self.ceiling;
            let local = if voiced {
                candidate.strength - self.octave_cost * (self.ceiling / frequency).log2()
            } else {
                unvoiced
            };
            let log_frequency = voiced.then(|| frequency.log2());
            let (before, reached) = self.best_before(previous.clone(), log_frequency);
            self.nodes.push(Node {
                frequency,
                strength: candidate.strength,
                log_frequency,
                total: local + reached,
                before,
            });
        }
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
