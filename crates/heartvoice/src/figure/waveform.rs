//! The waveform with its glottal pulses.

use super::axis::{Panel, Scale, Side, TimeAxis};
use super::svg::{Path, Svg};
use super::{FAINT, INK};

/// With more samples the outline is drawn, with fewer each of them.
const MAX_POINTS: usize = 4_000;
/// Columns of the outline, four to a point of the width.
const COLUMNS: usize = 1_700;
/// Height of the strip below the waveform in which pulses stand.
const STRIP: f64 = 9.0;
/// Pulses that can be told apart, per point of the width.
const PULSES_PER_POINT: f64 = 1.8;
/// Pulses further apart than this belong to different stretches of voice: the longest period, 1/75 s, and a quarter.
const STRETCH_GAP_S: f64 = 1.25 / 75.0;

/// How the pulses were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drawn {
    /// There are none.
    Nothing,
    /// One tick each.
    Ticks,
    /// Too many for that: a bar for each stretch of them.
    Bars,
}

pub(super) fn draw(svg: &mut Svg, panel: &Panel, axis: &TimeAxis, samples: &[f64], pulses: &[f64]) -> Drawn {
    let upper = Panel { height: panel.height - STRIP, ..*panel };
    let peak = samples.iter().fold(0.0_f64, |peak, sample| peak.max(sample.abs()));
    let (full, label) = round_peak(peak);
    let scale = Scale { low: -1.08 * full, high: 1.08 * full };
    let ticks = [(full, label.clone()), (0.0, "0".to_owned()), (-full, format!("\u{2212}{label}"))];
    upper.axis(svg, Side::Left, scale, &ticks, "Amplitude", INK);
    let zero = upper.y_of(scale, 0.0);
    svg.line(
        panel.x,
        zero,
        panel.x + panel.width,
        zero,
        &format!("stroke=\"{FAINT}\" stroke-opacity=\"0.4\" stroke-width=\"0.4\""),
    );
    if samples.len() <= MAX_POINTS {
        let mut path = Path::default();
        for (n, sample) in samples.iter().enumerate() {
            let x = axis.x + axis.width * (n as f64 + 0.5) / samples.len() as f64;
            let y = upper.y_of(scale, *sample);
            if n == 0 { path.jump(x, y) } else { path.draw(x, y) }
        }
        svg.path(&path, &format!("fill=\"none\" stroke=\"{INK}\" stroke-width=\"0.5\" stroke-linejoin=\"round\""));
    } else {
        svg.path(
            &outline(&upper, axis, scale, samples),
            &format!("fill=\"{INK}\" stroke=\"{INK}\" stroke-width=\"0.25\""),
        );
    }
    let top = panel.y + upper.height;
    svg.line(panel.x, top, panel.x + panel.width, top, &format!("stroke=\"{FAINT}\" stroke-width=\"0.4\""));
    pulse_strip(svg, top, axis, pulses)
}

/// The smallest round full scale that holds the peak.
fn round_peak(peak: f64) -> (f64, String) {
    if !(peak.is_finite() && peak > 0.0) {
        return (1.0, "1".to_owned());
    }
    let power = 10_f64.powf(peak.log10().floor());
    let round = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let full = power * round.into_iter().find(|times| times * power >= peak * (1.0 - 1e-9)).unwrap_or(10.0);
    let label = if (0.001..10_000.0).contains(&full) {
        // Rounding takes away what the multiplication added.
        format!("{}", (full * 1e5).round() / 1e5)
    } else {
        format!("{full:.1e}")
    };
    (full, label)
}

/// The area between the largest and the smallest sample of every column.
fn outline(panel: &Panel, axis: &TimeAxis, scale: Scale, samples: &[f64]) -> Path {
    let count = samples.len();
    let columns: Vec<(f64, f64, f64)> = (0..COLUMNS)
        .map(|column| {
            let part = samples.get(column * count / COLUMNS..(column + 1) * count / COLUMNS).unwrap_or_default();
            let first = part.first().copied().unwrap_or(0.0);
            let (low, high) = part.iter().fold((first, first), |(low, high), s| (low.min(*s), high.max(*s)));
            (axis.x + axis.width * (column as f64 + 0.5) / COLUMNS as f64, low, high)
        })
        .collect();
    let mut path = Path::default();
    for (n, (x, _, high)) in columns.iter().enumerate() {
        let y = panel.y_of(scale, *high);
        if n == 0 { path.jump(*x, y) } else { path.draw(*x, y) }
    }
    for (x, low, _) in columns.iter().rev() {
        path.draw(*x, panel.y_of(scale, *low));
    }
    path.close();
    path
}

fn pulse_strip(svg: &mut Svg, top: f64, axis: &TimeAxis, pulses: &[f64]) -> Drawn {
    if pulses.is_empty() {
        return Drawn::Nothing;
    }
    let mut path = Path::default();
    if pulses.len() as f64 <= PULSES_PER_POINT * axis.width {
        for time in pulses {
            let x = axis.x_within(*time);
            path.jump(x, top + 1.5);
            path.draw(x, top + STRIP - 1.5);
        }
        svg.path(&path, &format!("fill=\"none\" stroke=\"{INK}\" stroke-width=\"0.3\""));
        return Drawn::Ticks;
    }
    for stretch in pulses.chunk_by(|a, b| b - a <= STRETCH_GAP_S) {
        if let (Some(first), Some(last)) = (stretch.first(), stretch.last()) {
            path.jump(axis.x_within(*first), top + STRIP / 2.0);
            path.draw(axis.x_within(*last).max(axis.x_within(*first) + 0.1), top + STRIP / 2.0);
        }
    }
    svg.path(&path, &format!("fill=\"none\" stroke=\"{INK}\" stroke-width=\"3.5\""));
    Drawn::Bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_holds_the_peak_and_is_round() {
        let labels = [0.58, 1.0, 0.9999, 0.12, 0.003_3, 32_768.0, 1e-7, 0.0].map(|peak| round_peak(peak).1);
        assert_eq!(labels, ["0.6", "1", "1", "0.15", "0.004", "4.0e4", "1.0e-7", "1"]);
        for peak in [0.58, 0.011, 7.3, 1e-7, 123.0] {
            assert!(round_peak(peak).0 >= peak);
        }
    }
}
