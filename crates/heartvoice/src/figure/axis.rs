//! Panels, their frames, and axes with round numbers.

use super::svg::{Anchor, Svg, Text};
use super::{FAINT, INK};

const TICK: f64 = 3.0;
const LABEL_SIZE: f64 = 7.0;
const NAME_SIZE: f64 = 7.5;

/// The area of a panel, in points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Which side of a panel an axis stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The values that the height of a panel stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Panel {
    pub(super) fn frame(&self, svg: &mut Svg) {
        let style = format!("fill=\"none\" stroke=\"{INK}\" stroke-width=\"0.7\"");
        svg.rect(self.x, self.y, self.width, self.height, &style);
    }

    /// Height of a value in the panel.
    pub(super) fn y_of(&self, scale: Scale, value: f64) -> f64 {
        self.y + self.height * (scale.high - value) / (scale.high - scale.low)
    }

    /// Draws a vertical axis with ticks at the given values.
    pub(super) fn axis(
        &self,
        svg: &mut Svg,
        side: Side,
        scale: Scale,
        ticks: &[(f64, String)],
        name: &str,
        colour: &str,
    ) {
        let (edge, out, anchor) = match side {
            Side::Left => (self.x, -1.0, Anchor::End),
            Side::Right => (self.x + self.width, 1.0, Anchor::Start),
        };
        for (value, label) in ticks {
            let y = self.y_of(scale, *value);
            svg.line(edge, y, edge + out * TICK, y, &format!("stroke=\"{INK}\" stroke-width=\"0.7\""));
            let look = Text::plain(LABEL_SIZE).anchor(anchor).colour(colour);
            svg.text(edge + out * (TICK + 2.0), y + 0.36 * LABEL_SIZE, label, look);
        }
        let x = if side == Side::Left { edge - 27.0 } else { edge + 27.0 };
        let look = Text::plain(NAME_SIZE).anchor(Anchor::Middle).colour(colour).upright();
        svg.text(x, self.y + self.height / 2.0, name, look);
    }
}

/// The time axis that all panels share.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeAxis {
    /// Time of the left edge in the file, in seconds.
    pub(super) start_s: f64,
    pub(super) duration_s: f64,
    pub(super) x: f64,
    pub(super) width: f64,
}

/// From this length on single words are too narrow to be seen.
const LONG_S: f64 = 45.0;

impl TimeAxis {
    /// Whether the recording is so long that its course is shown rather than its words.
    pub(super) fn is_long(&self) -> bool {
        self.duration_s >= LONG_S
    }

    /// Place of a time of the file, kept inside the panel.
    pub(super) fn x_of(&self, time_s: f64) -> f64 {
        self.x + self.width * ((time_s - self.start_s) / self.duration_s).clamp(0.0, 1.0)
    }

    /// Place of a time counted from the beginning of the span.
    pub(super) fn x_within(&self, time_s: f64) -> f64 {
        self.x + self.width * (time_s / self.duration_s).clamp(0.0, 1.0)
    }

    /// Ticks below every panel, numbers and name below the last.
    pub(super) fn draw(&self, svg: &mut Svg, panels: &[Panel]) {
        let ticks = ticks(self.start_s, self.start_s + self.duration_s, 9);
        for (number, panel) in (1..).zip(panels) {
            let y = panel.y + panel.height;
            for (time, label) in &ticks {
                let x = self.x_of(*time);
                svg.line(x, y, x, y + TICK, &format!("stroke=\"{INK}\" stroke-width=\"0.7\""));
                if number == panels.len() {
                    svg.text(x, y + TICK + 8.0, label, Text::plain(LABEL_SIZE).anchor(Anchor::Middle));
                }
            }
            if number == panels.len() {
                let x = self.x + self.width / 2.0;
                svg.text(x, y + TICK + 18.0, "Time (s)", Text::plain(NAME_SIZE).anchor(Anchor::Middle));
            }
        }
    }
}

/// Faint lines across a panel.
pub(super) fn rules(svg: &mut Svg, panel: &Panel, scale: Scale, ticks: &[(f64, String)]) {
    for (value, _) in ticks {
        let y = panel.y_of(scale, *value);
        let style = format!("stroke=\"{FAINT}\" stroke-opacity=\"0.25\" stroke-width=\"0.4\"");
        svg.line(panel.x, y, panel.x + panel.width, y, &style);
    }
}

/// Round values from `low` to `high`, at most about `count` of them, and how they are written.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let step = round_step((high - low) / count.max(1) as f64);
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let first = (low / step - 1e-6).ceil() as i64;
    let last = (high / step + 1e-6).floor() as i64;
    (first..=last).take(100).map(|k| (k as f64 * step, format!("{:.decimals$}", k as f64 * step))).collect()
}

/// The next of 1, 2, 5, 10, ... that is not below a step.
fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 1e-9) {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|times| times * power)
        .find(|round| *round >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, count: usize) -> Vec<String> {
        ticks(low, high, count).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(0.0, 3.2, 8), ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]);
        assert_eq!(labels(57.0, 63.0, 4), ["58", "60", "62"]);
        assert_eq!(labels(0.0, 0.3, 6), ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]);
        assert_eq!(labels(0.0, 600.0, 9), ["0", "100", "200", "300", "400", "500", "600"]);
        assert!(labels(1.0, 1.0, 5).len() <= 1 && labels(f64::NAN, 1.0, 5).len() <= 100);
    }
}
