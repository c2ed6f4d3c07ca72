//! Jitter and shimmer: how much periods and amplitudes differ from one glottal cycle to the next.
//!
//! Definitions of Praat's PointProcess queries with their standard limits. All ratios are
//! fractions here (0.0104, not 1.04 %); a measure with too few usable cycles is `None`.

use crate::sound::Sound;
use crate::stats;

/// Limits on which cycles count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Shortest interval taken for a period, in seconds.
    pub shortest_s: f64,
    /// Longest interval taken for a period, in seconds.
    pub longest_s: f64,
    /// Largest ratio of adjacent periods.
    pub period_factor: f64,
    /// Largest ratio of adjacent amplitudes.
    pub amplitude_factor: f64,
}

impl Default for Limits {
    /// Praat's standard limits: 0.0001 s, 0.02 s, 1.3, 1.6.
    fn default() -> Self {
        Self { shortest_s: 0.0001, longest_s: 0.02, period_factor: 1.3, amplitude_factor: 1.6 }
    }
}

impl Limits {
    fn is_interval(&self, interval: f64) -> bool {
        interval >= self.shortest_s && interval <= self.longest_s
    }
}

/// Period perturbation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Jitter {
    /// Mean period in seconds.
    pub mean_period_s: Option<f64>,
    /// Mean absolute difference of consecutive periods over the mean period.
    pub local: Option<f64>,
    /// The same difference in seconds.
    pub local_absolute_s: Option<f64>,
    /// Relative average perturbation (three periods).
    pub rap: Option<f64>,
    /// Five-point period perturbation quotient.
    pub ppq5: Option<f64>,
    /// Difference of differences of periods: three times `rap`.
    pub ddp: Option<f64>,
}

/// Amplitude perturbation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shimmer {
    /// Mean absolute difference of consecutive amplitudes over the mean amplitude.
    pub local: Option<f64>,
    /// Mean absolute level difference of consecutive amplitudes in dB.
    pub local_db: Option<f64>,
    /// Three-point amplitude perturbation quotient.
    pub apq3: Option<f64>,
    /// Five-point amplitude perturbation quotient.
    pub apq5: Option<f64>,
    /// Eleven-point amplitude perturbation quotient.
    pub apq11: Option<f64>,
    /// Difference of differences of amplitudes: three times `apq3`.
    pub dda: Option<f64>,
}

/// Jitter measures of pulse times (seconds, ascending).
#[must_use]
pub fn jitter(pulses: &[f64], limits: &Limits) -> Jitter {
    let intervals: Vec<f64> = pulses.windows(2).map(difference).collect();
    let mean_period_s = mean_period(&intervals, limits);
    let steady = |window: &[f64]| {
        window.iter().all(|&d| limits.is_interval(d))
            && window.windows(2).all(|pair| ratio(pair) <= limits.period_factor)
    };
    let local_absolute_s = mean_over(&intervals, 2, steady, |w| difference(w).abs());
    let relative = |value: Option<f64>| Some(value? / mean_period_s?);
    let rap = relative(mean_over(&intervals, 3, steady, centre_deviation));
    Jitter {
        mean_period_s,
        local: relative(local_absolute_s),
        local_absolute_s,
        rap,
        ppq5: relative(mean_over(&intervals, 5, steady, centre_deviation)),
        ddp: rap.map(|r| 3.0 * r),
    }
}

/// Mean of the intervals that are periods. An interval is dropped only when it differs too much
/// from **both** neighbours, which is milder than the rule for jitter windows.
fn mean_period(intervals: &[f64], limits: &Limits) -> Option<f64> {
    let mut periods = Vec::with_capacity(intervals.len());
    for (k, &interval) in intervals.iter().enumerate() {
        let before = k.checked_sub(1).and_then(|k| intervals.get(k));
        let differs =
            |other: Option<&f64>| other.is_some_and(|&other| ratio(&[interval, other]) > limits.period_factor);
        if limits.is_interval(interval) && !(differs(before) && differs(intervals.get(k + 1))) {
            periods.push(interval);
        }
    }
    stats::mean(&periods)
}

/// Shimmer measures of the amplitudes at pulse times (seconds, ascending).
#[must_use]
pub fn shimmer(sound: &Sound<'_>, pulses: &[f64], limits: &Limits) -> Shimmer {
    shimmer_of(&amplitudes(sound, pulses, limits), limits)
}

/// Time and amplitude of every pulse whose neighbouring periods are steady.
pub(crate) fn amplitudes(sound: &Sound<'_>, pulses: &[f64], limits: &Limits) -> Vec<(f64, f64)> {
    pulses.windows(3).filter_map(|around| amplitude(sound, around, limits)).collect()
}

/// Shimmer measures of times and amplitudes.
pub(crate) fn shimmer_of(peaks: &[(f64, f64)], limits: &Limits) -> Shimmer {
    // The last amplitude only ever serves as a neighbour.
    let counted: Vec<f64> = peaks.iter().rev().skip(1).rev().map(|p| p.1).collect();
    let mean = stats::mean(&counted);
    let usable = |window: &[(f64, f64)]| {
        window.windows(2).all(|pair| match pair {
            &[(t1, a1), (t2, a2)] => limits.is_interval(t2 - t1) && ratio(&[a1, a2]) <= limits.amplitude_factor,
            _ => false,
        })
    };
    let relative = |value: Option<f64>| Some(value? / mean?);
    let quotient = |points: usize| {
        relative(mean_over(peaks, points, usable, |window| {
            let mean = window.iter().map(|p| p.1).sum::<f64>() / points as f64;
            window.get(points / 2).map_or(0.0, |p| (p.1 - mean).abs())
        }))
    };
    let pair = |f: fn(f64, f64) -> f64| {
        mean_over(peaks, 2, usable, |w| match w {
            &[(_, a), (_, b)] => f(a, b),
            _ => 0.0,
        })
    };
    let apq3 = quotient(3);
    Shimmer {
        local: relative(pair(|a, b| (a - b).abs())),
        local_db: pair(|a, b| 20.0 * (a / b).log10().abs()),
        apq3,
        apq5: quotient(5),
        apq11: quotient(11),
        dda: apq3.map(|a| 3.0 * a),
    }
}

/// Time and amplitude of the middle of three pulses: RMS under a raised cosine that reaches a
/// fifth of the period to each side. `None` if the periods are not steady or hold too few samples.
fn amplitude(sound: &Sound<'_>, around: &[f64], limits: &Limits) -> Option<(f64, f64)> {
    let &[before, time, after] = around else {
        return None;
    };
    let (left, right) = (time - before, after - time);
    if !limits.is_interval(left) || !limits.is_interval(right) || ratio(&[left, right]) > limits.period_factor {
        return None;
    }
    let (left, right) = (0.2 * left, 0.2 * right);
    let first = sound.high_index(time - left).max(1);
    let samples = sound.between(first, sound.low_index(time + right));
    if samples.len() < 3 {
        return None;
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for (sample, index) in samples.iter().zip(first..) {
        let distance = sound.time_of(index) - time;
        let reach = if distance < 0.0 { left } else { right };
        let weight = 0.5 + 0.5 * (std::f64::consts::PI * distance / reach).cos();
        sum += (sample * weight) * (sample * weight);
        weights += weight * weight;
    }
    let amplitude = (sum / weights).sqrt();
    (amplitude > 0.0 && amplitude.is_finite()).then_some((time, amplitude))
}

/// Mean of `value` over the windows of `size` that pass; `None` if none does.
fn mean_over<T>(series: &[T], size: usize, passes: impl Fn(&[T]) -> bool, value: impl Fn(&[T]) -> f64) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    for window in series.windows(size).filter(|w| passes(w)) {
        sum += value(window);
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

/// Distance of the middle value from the mean of its window.
fn centre_deviation(window: &[f64]) -> f64 {
    let mean = window.iter().sum::<f64>() / window.len() as f64;
    window.get(window.len() / 2).map_or(0.0, |centre| (centre - mean).abs())
}

fn difference(pair: &[f64]) -> f64 {
    match pair {
        [a, b] => b - a,
        _ => 0.0,
    }
}

/// Larger over smaller of two positive values.
fn ratio(pair: &[f64]) -> f64 {
    match pair {
        [a, b] if a > b => a / b,
        [a, b] => b / a,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulses(intervals: &[f64]) -> Vec<f64> {
        let mut time = 0.01;
        let mut out = vec![time];
        for d in intervals {
            time += d;
            out.push(time);
        }
        out
    }

    #[test]
    fn alternating_periods_have_known_jitter() {
        let jitter = jitter(&pulses(&[0.010, 0.011].repeat(10)), &Limits::default());
        let close = |value: Option<f64>, expected: f64| {
            assert!(value.is_some_and(|v| (v - expected).abs() < 1e-9), "{value:?}");
        };
        close(jitter.mean_period_s, 0.0105);
        close(jitter.local_absolute_s, 0.001);
        close(jitter.local, 0.001 / 0.0105);
        close(jitter.rap, 0.002 / 3.0 / 0.0105);
        close(jitter.ddp, 0.002 / 0.0105);
    }

    #[test]
    fn too_few_periods_are_undefined() {
        let limits = Limits::default();
        assert_eq!(jitter(&[], &limits), Jitter::default());
        assert_eq!(jitter(&[0.1], &limits).mean_period_s, None);
        let one = jitter(&pulses(&[0.01]), &limits);
        assert!(one.mean_period_s.is_some() && one.local.is_none());
        let four = jitter(&pulses(&[0.01; 4]), &limits);
        assert!(four.rap.is_some() && four.ppq5.is_none());
    }

    #[test]
    fn a_jump_is_no_jitter_but_may_be_a_period() {
        // 0.014 is more than 1.3 times its neighbours: both of its pairs are left out.
        let jitter = jitter(&pulses(&[0.010, 0.010, 0.014, 0.010, 0.010]), &Limits::default());
        assert!(jitter.local.is_some_and(|v| v < 1e-9));
        assert!(jitter.mean_period_s.is_some_and(|p| (p - 0.010).abs() < 1e-9));
    }
}
