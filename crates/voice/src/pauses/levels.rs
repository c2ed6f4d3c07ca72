//! Signal level over short stretches, from block sums made once per recording.

use super::QUIETEST_DBFS;
use crate::sound::Sound;

/// Length of a block: the finest time the detectors see.
pub(super) const BLOCK_S: f64 = 0.0025;

/// Sum, energy and number of samples of one block.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    sum: f64,
    energy: f64,
    count: f64,
    /// All samples are the same number.
    constant: bool,
}

/// A recording as blocks of 2.5 ms.
pub(super) struct Blocks {
    sums: Vec<Sums>,
}

impl Blocks {
    pub(super) fn of(sound: &Sound<'_>) -> Self {
        let samples = sound.samples();
        let rate = sound.rate().hz();
        let count = (sound.end() / BLOCK_S).floor() as usize;
        // Rounding every edge by itself keeps 22050 and 44100 Hz from drifting.
        let edge = |k: usize| (k as f64 * BLOCK_S * rate).round() as usize;
        let sums = (0..count)
            .map(|k| {
                let block = samples.get(edge(k)..edge(k + 1).min(samples.len())).unwrap_or_default();
                // Four partial sums each keep the adders busy; the order is fixed.
                let (mut sum, mut energy) = ([0.0; 4], [0.0; 4]);
                let (fours, rest) = block.as_chunks::<4>();
                for four in fours {
                    for ((s, e), x) in sum.iter_mut().zip(&mut energy).zip(four) {
                        *s += x;
                        *e += x * x;
                    }
                }
                let rest_sum: f64 = rest.iter().sum();
                let rest_energy: f64 = rest.iter().map(|x| x * x).sum();
                Sums {
                    sum: sum.iter().sum::<f64>() + rest_sum,
                    energy: energy.iter().sum::<f64>() + rest_energy,
                    count: block.len() as f64,
                    // Ends at the second sample of anything but digital silence.
                    constant: block.iter().all(|x| block.first() == Some(x)),
                }
            })
            .collect();
        Self { sums }
    }

    pub(super) fn count(&self) -> usize {
        self.sums.len()
    }

    /// Whether each of the blocks `from..to` that exist is digital silence: one number throughout.
    pub(super) fn constant(&self, from: usize, to: usize) -> bool {
        let blocks = self.sums.get(from..to.min(self.sums.len())).unwrap_or_default();
        !blocks.is_empty() && blocks.iter().all(|b| b.constant)
    }

    /// Level in dBFS of the blocks `from..to` that exist, without their constant offset.
    pub(super) fn level(&self, from: usize, to: usize) -> f64 {
        let blocks = self.sums.get(from..to.min(self.sums.len())).unwrap_or_default();
        let total = blocks.iter().fold(Sums::default(), |a, b| Sums {
            sum: a.sum + b.sum,
            energy: a.energy + b.energy,
            count: a.count + b.count,
            constant: false,
        });
        let count = total.count.max(1.0);
        let power = (total.energy - total.sum * total.sum / count) / count;
        if power > 0.0 { (10.0 * power.log10()).max(QUIETEST_DBFS) } else { QUIETEST_DBFS }
    }
}
