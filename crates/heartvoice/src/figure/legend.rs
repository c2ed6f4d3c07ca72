//! What the signs in the panels mean: only those that are there.

use super::notes::width;
use super::svg::{Anchor, Path, Svg, Text};
use super::waveform::Drawn;
use super::{BLUE, INK, SHADE, TOP, Tracks, VERMILION, WIDTH};
use voice::Report;

const SIZE: f64 = 7.0;
const SWATCH: f64 = 15.0;

/// Draws the legend in one line above the panels, ending at the right margin.
pub(super) fn draw(svg: &mut Svg, report: &Report, tracks: &Tracks, pulses: Drawn) {
    let y = TOP - 10.0;
    let voiced = tracks.pitch.as_ref().is_some_and(|pitch| pitch.voiced().next().is_some());
    let entries = [
        ("window", report.window.map(|_| "measured stretch")),
        ("pause", (!report.pauses.is_empty()).then_some("pauses")),
        ("pulses", (pulses == Drawn::Ticks).then_some("glottal pulses")),
        ("voiced", (pulses == Drawn::Bars).then_some("stretches with glottal pulses")),
        ("f0", voiced.then_some("f0")),
        ("level", tracks.intensity.as_ref().and_then(|level| level.energy_mean_db()).map(|_| "intensity")),
    ];
    let mut x = WIDTH - 6.0;
    for (sign, label) in entries.iter().rev() {
        let Some(label) = label else { continue };
        svg.text(x, y, label, Text::plain(SIZE).anchor(Anchor::End));
        x -= width(label, SIZE) + 4.0;
        swatch(svg, sign, x - SWATCH, y - 2.4);
        x -= SWATCH + 11.0;
    }
}

fn swatch(svg: &mut Svg, sign: &str, x: f64, y: f64) {
    let end = x + SWATCH;
    match sign {
        "window" => {
            svg.line(x, y - 2.6, end, y - 2.6, &format!("stroke=\"{INK}\" stroke-width=\"2\""));
            for edge in [x, end] {
                svg.line(
                    edge,
                    y - 2.6,
                    edge,
                    y + 4.0,
                    &format!("stroke=\"{INK}\" stroke-width=\"0.9\" stroke-dasharray=\"2 1.3\""),
                );
            }
        }
        "pause" => svg.shade(x, y - 3.5, SWATCH, 7.0, SHADE, 0.4),
        "pulses" => {
            let mut path = Path::default();
            for k in 0..6 {
                path.jump(x + 1.0 + f64::from(k) * 2.6, y - 3.0);
                path.draw(x + 1.0 + f64::from(k) * 2.6, y + 3.0);
            }
            svg.path(&path, &format!("fill=\"none\" stroke=\"{INK}\" stroke-width=\"0.4\""));
        }
        "voiced" => svg.line(x, y, end, y, &format!("stroke=\"{INK}\" stroke-width=\"3.5\"")),
        "f0" => svg.line(x, y, end, y, &format!("stroke=\"{BLUE}\" stroke-width=\"1.3\"")),
        _ => {
            svg.line(x, y, end, y, &format!("stroke=\"{VERMILION}\" stroke-width=\"0.8\" stroke-dasharray=\"2.2 1.3\""))
        }
    }
}
