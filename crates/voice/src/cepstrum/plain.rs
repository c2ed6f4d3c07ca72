//! The same measure written down as plainly as possible: one frame after the other, library
//! transforms, sorting instead of selection. The fast path is tested against it.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::layout::Layout;
use crate::resampling;
use crate::sound::Sound;
use crate::stats;

/// Peak prominence of every frame in dB by the old and the new rule.
pub(super) fn cpps(sound: &Sound<'_>, max_frequency_hz: f64) -> Option<(Vec<f64>, Vec<f64>)> {
    let layout = Layout::new(sound, max_frequency_hz)?;
    let resampled = resampling::resample(sound, 2.0 * max_frequency_hz)?;
    let rate = 1.0 / resampled.dx();
    let mut y = resampled.samples().to_vec();
    let factor = (-2.0 * std::f64::consts::PI * 50.0 * resampled.dx()).exp();
    for i in (1..y.len()).rev() {
        y[i] -= factor * y[i - 1];
    }
    let window = super::layout::gauss(layout.window_points);
    let mut planner = RealFftPlanner::new();
    let forward = planner.plan_fft_forward(layout.fft_points);
    let backward = planner.plan_fft_inverse(layout.fft_points);
    let mut power = Vec::new();
    for k in 0..layout.frames.count {
        let start = layout.first_sample(&resampled, k as i64);
        let mut frame: Vec<f64> = (0..layout.window_points as i64)
            .map(|i| usize::try_from(start + i).ok().and_then(|i| y.get(i)).copied().unwrap_or(0.0))
            .collect();
        let mean = frame.iter().sum::<f64>() / frame.len() as f64;
        for (value, w) in frame.iter_mut().zip(&window) {
            *value = (*value - mean) * w;
        }
        frame.resize(layout.fft_points, 0.0);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut frame, &mut spectrum).ok()?;
        let mut log: Vec<Complex<f64>> =
            spectrum.iter().map(|x| Complex::new(((x / rate).norm_sqr() + 1e-300).ln(), 0.0)).collect();
        let mut cepstrum = backward.make_output_vec();
        backward.process(&mut log, &mut cepstrum).ok()?;
        let df = rate / layout.fft_points as f64;
        power.push(cepstrum[..=layout.fft_points / 2].iter().map(|c| (c * df).powi(2)).collect::<Vec<_>>());
    }
    let (t1, dt, count) = (layout.frames.t1, layout.frames.dt, power.len());
    let over_time: Vec<Vec<f64>> = (0..count)
        .map(|k| {
            let t = t1 + k as f64 * dt;
            (0..power[0].len())
                .map(|q| {
                    mean_between(&|i| power[i][q], count, t1, dt, (t - 0.005).max(0.0), (t + 0.005).min(sound.end()))
                })
                .collect()
        })
        .collect();
    let dq = resampled.dx();
    let points = power[0].len();
    let end = (points - 1) as f64 * dq;
    let smooth = over_time.iter().map(|row| -> Vec<f64> {
        (0..points)
            .map(|k| {
                let q = k as f64 * dq;
                let z = mean_between(&|i| row[i], points, 0.0, dq, (q - 0.0005).max(0.0), (q + 0.0005).min(end));
                10.0 * (z + 1e-30).log10()
            })
            .collect()
    });
    Some(smooth.map(|db| (prominence61(&db, dq), prominence63(&db, dq))).unzip())
}

/// Mean of a linearly interpolated series between two times inside its domain.
fn mean_between(y: &dyn Fn(usize) -> f64, n: usize, x1: f64, dx: f64, from: f64, to: f64) -> f64 {
    let first = ((from - x1) / dx).ceil().max(0.0) as usize;
    let last = (((to - x1) / dx).floor() as usize).min(n - 1);
    let (mut sum, mut count) = ((first..=last).map(y).sum::<f64>(), (last - first + 1) as f64);
    for (edge, inner, outer) in [
        (x1 + first as f64 * dx - from, first, first.checked_sub(1)),
        (to - (x1 + last as f64 * dx), last, Some(last + 1).filter(|i| *i < n)),
    ] {
        let phase = edge / dx;
        let outside = if inner == 0 && first == 0 { phase > 0.5 } else { inner == n - 1 && phase > 0.5 };
        if outside {
            continue;
        }
        count -= 0.5;
        sum -= 0.5 * y(inner);
        match outer {
            Some(outer) => {
                count += phase;
                sum += phase * (y(inner) + 0.5 * phase * (y(outer) - y(inner)));
            }
            None => {
                count += phase.min(0.5);
                sum += phase.min(0.5) * y(inner);
            }
        }
    }
    sum / count
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    stats::quantile(&values, 0.5).unwrap()
}

/// Theil's incomplete regression over points `x`, `y`: slope and intercept.
fn theil(x: &[f64], y: &[f64]) -> (f64, f64) {
    let half = x.len() / 2;
    let second = half + x.len() % 2;
    let slope = median((0..half).map(|i| (y[second + i] - y[i]) / (x[second + i] - x[i])).collect());
    (slope, median(x.iter().zip(y).map(|(x, y)| y - slope * x).collect()))
}

/// Height and place of the peak between 1/330 and 1/60 seconds.
fn peak(y: &[f64], dq: f64) -> (f64, f64) {
    let (low, high) = (1.0 / 330.0, 1.0 / 60.0);
    let (first, last) = ((low / dq).ceil() as usize, (high / dq).floor() as usize);
    let mut best = if y[last] > y[first] { (y[last], last as f64) } else { (y[first], first as f64) };
    for k in first..=last {
        if y[k] > y[k - 1] && y[k] >= y[k + 1] {
            let (slope, bend) = (0.5 * (y[k + 1] - y[k - 1]), 2.0 * y[k] - y[k - 1] - y[k + 1]);
            let height = y[k] + 0.5 * slope * slope / bend;
            if height > best.0 {
                best = (height, k as f64 + slope / bend);
            }
        }
    }
    (best.0, (best.1 * dq).clamp(low, high))
}

fn prominence61(db: &[f64], dq: f64) -> f64 {
    let x: Vec<f64> = (0..db.len()).map(|k| k as f64 * dq).collect();
    let (slope, intercept) = theil(&x, db);
    let (height, place) = peak(db, dq);
    height - (slope * place + intercept)
}

fn prominence63(db: &[f64], dq: f64) -> f64 {
    let x: Vec<f64> = (0..db.len()).map(|k| k as f64 * dq).collect();
    let (slope, intercept) = theil(&x[1..], &db[1..]);
    let flat: Vec<f64> = x.iter().zip(db).map(|(x, y)| (y - slope * x - intercept).max(0.0)).collect();
    peak(&flat, dq).0
}
