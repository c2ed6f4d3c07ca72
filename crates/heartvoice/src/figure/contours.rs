//! Fundamental frequency and intensity over time.

use super::axis::{Panel, Scale, Side, TimeAxis, rules, ticks};
use super::svg::{Path, Svg};
use super::{BLUE, Tracks, VERMILION, nothing};

/// With more frames, columns of them are drawn.
const COLUMNS: usize = 1_700;
/// Columns of f0 and of intensity in a long recording, where single words cannot be told apart any more.
const LONG_COLUMNS: (usize, usize) = (283, 106);
/// Smallest range of frequencies that is shown: in less, the contour of a monotone would look lively.
const MIN_RANGE_HZ: f64 = 40.0;
/// Decibels that are shown below the loudest frame, at least and at most.
const RANGE_DB: (f64, f64) = (20.0, 70.0);

/// The lowest and highest value of a stretch of time; `None` where there is no value.
type Column = (f64, Option<(f64, f64)>);

pub(super) fn draw(svg: &mut Svg, panel: &Panel, axis: &TimeAxis, tracks: &Tracks) {
    let f0: Vec<(f64, Option<f64>)> = tracks.pitch.as_ref().map_or_else(Vec::new, |pitch| {
        let frames = pitch.frames();
        pitch.f0().iter().enumerate().map(|(k, value)| (frames.time(k), *value)).collect()
    });
    let level: Vec<(f64, Option<f64>)> = tracks.intensity.as_ref().map_or_else(Vec::new, |intensity| {
        let frames = intensity.frames();
        // The value that stands for digital silence is no level.
        intensity.db().iter().enumerate().map(|(k, db)| (frames.time(k), Some(*db).filter(|db| *db > -200.0))).collect()
    });
    let loudest = level.iter().filter_map(|(_, db)| *db).fold(f64::NEG_INFINITY, f64::max);
    if loudest.is_finite() {
        let softest = level.iter().filter_map(|(_, db)| *db).fold(f64::INFINITY, f64::min);
        let high = (loudest / 10.0).ceil() * 10.0;
        let low = ((softest / 10.0).floor() * 10.0).clamp(high - RANGE_DB.1, high - RANGE_DB.0);
        let scale = Scale { low, high };
        panel.axis(svg, Side::Right, scale, &ticks(low, high, 5), "Intensity (dB)", VERMILION);
        let count = if axis.is_long() { LONG_COLUMNS.1 } else { COLUMNS };
        let path = line(panel, axis, scale, &columns(&level, axis, count, Summary::Mean));
        svg.path(
            &path,
            &format!("fill=\"none\" stroke=\"{VERMILION}\" stroke-width=\"0.8\" stroke-dasharray=\"2.2 1.3\""),
        );
    }
    let voiced = || f0.iter().filter_map(|(_, hz)| *hz);
    let (lowest, highest) = voiced().fold((f64::INFINITY, 0.0_f64), |(low, high), hz| (low.min(hz), high.max(hz)));
    if highest == 0.0 {
        let scale = Scale { low: super::FLOOR_HZ, high: super::CEILING_HZ };
        panel.axis(svg, Side::Left, scale, &ticks(scale.low, scale.high, 5), "f0 (Hz)", BLUE);
        nothing(svg, panel, "no voice was found");
        return;
    }
    let margin = (0.08 * (highest - lowest)).max((MIN_RANGE_HZ - (highest - lowest)) / 2.0);
    let scale = Scale { low: (lowest - margin).max(0.0), high: highest + margin };
    let marks = ticks(scale.low, scale.high, 5);
    rules(svg, panel, scale, &marks);
    panel.axis(svg, Side::Left, scale, &marks, "f0 (Hz)", BLUE);
    if axis.is_long() {
        return ranges(svg, panel, axis, scale, &f0);
    }
    let path = line(panel, axis, scale, &columns(&f0, axis, COLUMNS, Summary::Range));
    svg.path(
        &path,
        &format!(
            "fill=\"none\" stroke=\"{BLUE}\" stroke-width=\"1.3\" stroke-linecap=\"round\" stroke-linejoin=\"round\""
        ),
    );
}

/// What is drawn for a column of several frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Summary {
    Range,
    Mean,
    Median,
}

/// Frames as they are, or gathered into columns when there are too many to draw.
fn columns(frames: &[(f64, Option<f64>)], axis: &TimeAxis, columns: usize, summary: Summary) -> Vec<Column> {
    if frames.len() <= columns {
        return frames.iter().map(|(time, value)| (axis.x_within(*time), value.map(|value| (value, value)))).collect();
    }
    let count = frames.len();
    (0..columns)
        .filter_map(|column| {
            let part = frames.get(column * count / columns..(column + 1) * count / columns)?;
            let (first, last) = (part.first()?, part.last()?);
            let x = axis.x_within(0.5 * (first.0 + last.0));
            let values = || part.iter().filter_map(|(_, value)| *value);
            let number = values().count();
            let value = (number > 0).then(|| match summary {
                Summary::Range => {
                    values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
                }
                Summary::Mean => {
                    let mean = values().sum::<f64>() / number as f64;
                    (mean, mean)
                }
                Summary::Median => {
                    let mut sorted: Vec<f64> = values().collect();
                    sorted.sort_by(f64::total_cmp);
                    let median = sorted.get(number / 2).copied().unwrap_or_default();
                    (median, median)
                }
            });
            Some((x, value))
        })
        .collect()
}

/// The range of every column as a faint bar, its median as a dot.
fn ranges(svg: &mut Svg, panel: &Panel, axis: &TimeAxis, scale: Scale, f0: &[(f64, Option<f64>)]) {
    let mut bars = Path::default();
    for (x, value) in columns(f0, axis, LONG_COLUMNS.0, Summary::Range) {
        if let Some((low, high)) = value {
            bars.jump(x, panel.y_of(scale, low));
            bars.draw(x, panel.y_of(scale, high));
        }
    }
    svg.path(&bars, &format!("fill=\"none\" stroke=\"{BLUE}\" stroke-opacity=\"0.35\" stroke-width=\"1\""));
    let mut dots = Path::default();
    for (x, value) in columns(f0, axis, LONG_COLUMNS.0, Summary::Median) {
        if let Some((median, _)) = value {
            dots.jump(x, panel.y_of(scale, median));
            dots.draw(x + 0.01, panel.y_of(scale, median));
        }
    }
    svg.path(&dots, &format!("fill=\"none\" stroke=\"{BLUE}\" stroke-width=\"1.8\" stroke-linecap=\"round\""));
}

/// A line through the columns, broken where there is no value or none that is on the scale.
fn line(panel: &Panel, axis: &TimeAxis, scale: Scale, columns: &[Column]) -> Path {
    let mut path = Path::default();
    let mut down = false;
    for (k, (x, value)) in columns.iter().enumerate() {
        let Some((low, high)) = value.filter(|(_, high)| *high >= scale.low) else {
            down = false;
            continue;
        };
        let (y_low, y_high) = (panel.y_of(scale, low.max(scale.low)), panel.y_of(scale, high));
        let followed = columns.get(k + 1).is_some_and(|(_, next)| next.is_some());
        if down {
            path.draw(*x, y_low)
        } else {
            path.jump(*x, y_low)
        }
        if low < high {
            path.draw(*x, y_high);
        } else if !down && !followed {
            // A frame alone: the shortest line, which round ends make a dot.
            path.draw((*x + 0.05).min(axis.x + axis.width), y_low);
        }
        down = true;
    }
    path
}
