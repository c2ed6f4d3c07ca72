//! The figure of a recording, for a paper: what was heard and what was measured, on one page width.
//!
//! Three panels share a time axis: (a) waveform and glottal pulses, (b) wide-band spectrogram, (c) fundamental
//! frequency and intensity; below them stand the measures, the verdict on the recording and the settings. Pauses are
//! shaded and the stretch that was measured is marked in all panels. The result is SVG with one embedded picture;
//! equal audio gives equal bytes. Colours are from the set of Okabe and Ito (2008), which the colour-blind can tell
//! apart, and nothing is told by colour alone, so a copy in grey says the same.

mod axis;
mod contours;
mod legend;
mod measures;
mod notes;
mod spectrogram;
mod svg;
mod waveform;

use axis::{Panel, TimeAxis};
use svg::{Anchor, Svg, Text};
use voice::pitch::{self, PitchMethod, PitchSettings, PitchTrack};
use voice::{Report, SampleRate, Sound, intensity, pulses};

/// Width of the figure in points: 180 mm, the text width of an A4 page.
const WIDTH: f64 = 510.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 54.0;
const GAP: f64 = 9.0;
/// Room for the labels of the time axis.
const AXIS: f64 = 27.0;
const WAVEFORM_HEIGHT: f64 = 78.0;
const SPECTROGRAM_HEIGHT: f64 = 118.0;
const CONTOURS_HEIGHT: f64 = 96.0;

/// Dark grey of text and axes.
const INK: &str = "#222222";
/// Grey of what matters less.
const FAINT: &str = "#666666";
/// Blue, for the fundamental frequency.
const BLUE: &str = "#0072B2";
/// Vermilion, for the intensity.
const VERMILION: &str = "#D55E00";
/// Pauses.
const SHADE: &str = "#56B4E9";

const FLOOR_HZ: f64 = 75.0;
const CEILING_HZ: f64 = 500.0;
const INTENSITY_FLOOR_HZ: f64 = 100.0;

/// What a figure is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Stands above the figure.
    pub(crate) title: &'a str,
    /// The span that the report is about.
    pub(crate) samples: &'a [f64],
    pub(crate) rate: SampleRate,
    pub(crate) report: &'a Report,
    /// Whether the entire span was measured and nothing withheld.
    pub(crate) whole: bool,
}

/// What the panels show beside the samples.
struct Tracks {
    pitch: Option<PitchTrack>,
    pulses: Vec<f64>,
    intensity: Option<intensity::Intensity>,
}

/// Draws the figure as an SVG document.
pub(crate) fn draw(subject: &Subject<'_>) -> anyhow::Result<String> {
    let sound = Sound::new(subject.samples, subject.rate);
    let settings = PitchSettings::praat(PitchMethod::Autocorrelation, FLOOR_HZ, CEILING_HZ);
    let pitch = pitch::track(&sound, &settings);
    let tracks = Tracks {
        pulses: pitch.as_ref().map(|pitch| pulses::find(&sound, pitch)).unwrap_or_default(),
        intensity: intensity::contour(&sound, INTENSITY_FLOOR_HZ),
        pitch,
    };
    let width = WIDTH - LEFT - RIGHT;
    let axis = TimeAxis { start_s: subject.report.start_s, duration_s: sound.end(), x: LEFT, width };
    let mut y = TOP;
    let mut panel = |height: f64| {
        let panel = Panel { x: LEFT, y, width, height };
        y += height + GAP;
        panel
    };
    let panels = [panel(WAVEFORM_HEIGHT), panel(SPECTROGRAM_HEIGHT), panel(CONTOURS_HEIGHT)];
    let below = y - GAP + AXIS + GAP;

    let mut body = Svg::new();
    head(&mut body, subject);
    let [upper, middle, lower] = &panels;
    shade_pauses(&mut body, upper, &axis, subject.report);
    let drawn = waveform::draw(&mut body, upper, &axis, subject.samples, &tracks.pulses);
    spectrogram::draw(&mut body, middle, &axis, subject)?;
    if !axis.is_long() {
        // In a long recording pauses are hair lines, which would only hide what is below them.
        shade_pauses(&mut body, middle, &axis, subject.report);
        shade_pauses(&mut body, lower, &axis, subject.report);
    }
    contours::draw(&mut body, lower, &axis, &tracks);
    for (panel, letter) in panels.iter().zip(["a", "b", "c"]) {
        panel.frame(&mut body);
        body.text(6.0, panel.y + 8.0, &format!("({letter})"), Text::bold(8.5));
        mark_window(&mut body, panel, &axis, subject.report);
    }
    axis.draw(&mut body, &panels);
    legend::draw(&mut body, subject.report, &tracks, drawn);
    let height = measures::draw(&mut body, below, subject, axis.is_long());
    Ok(body.finish(WIDTH, height, subject.title))
}

/// Title, and in one line what kind of recording this is.
fn head(svg: &mut Svg, subject: &Subject<'_>) {
    let report = subject.report;
    svg.text(6.0, 15.0, &notes::cut(subject.title, 85), Text::bold(10.0));
    let task = match report.task {
        voice::Task::SustainedVowel => "sustained vowel",
        voice::Task::Counting => "counting",
        _ => "speech",
    };
    let detected = if report.task_detected { " (detected)" } else { "" };
    let line = format!(
        "{task}{detected}, {}, {} Hz, {:.2} s from {:.2} s",
        report.channel, report.sample_rate_hz, report.duration_s, report.start_s
    );
    svg.text(6.0, 27.0, &line, Text::plain(7.5).colour(FAINT));
}

fn shade_pauses(svg: &mut Svg, panel: &Panel, axis: &TimeAxis, report: &Report) {
    for pause in &report.pauses {
        let (from, to) = (axis.x_of(pause.start_s), axis.x_of(pause.start_s + pause.duration_s));
        svg.shade(from, panel.y, to - from, panel.height, SHADE, 0.28);
    }
}

/// Dashed lines at both ends of the stretch that was measured, a bar above it in the uppermost panel.
fn mark_window(svg: &mut Svg, panel: &Panel, axis: &TimeAxis, report: &Report) {
    let Some(window) = report.window else { return };
    let (from, to) = (axis.x_of(window.start_s), axis.x_of(window.end_s));
    // Black on a white line, so that it also shows on the dark parts of the spectrogram.
    let (under, over) = (
        "stroke=\"#ffffff\" stroke-width=\"1.7\" stroke-opacity=\"0.8\"",
        format!("stroke=\"{INK}\" stroke-width=\"0.9\" stroke-dasharray=\"3 2\""),
    );
    for x in [from, to] {
        for style in [under, &over] {
            svg.line(x, panel.y, x, panel.y + panel.height, style);
        }
    }
    if panel.y <= TOP {
        svg.line(from, TOP - 2.5, to, TOP - 2.5, &format!("stroke=\"{INK}\" stroke-width=\"2\""));
    }
}

/// Text for a panel that has nothing to show.
fn nothing(svg: &mut Svg, panel: &Panel, text: &str) {
    let (x, y) = (panel.x + panel.width / 2.0, panel.y + panel.height / 2.0 + 3.0);
    svg.text(x, y, text, Text::plain(8.0).anchor(Anchor::Middle).colour(FAINT));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use voice::AnalyzeOptions;

    fn figure(title: &str, samples: &[f64], rate: u32) -> String {
        let rate = SampleRate::new(rate).unwrap();
        let report = voice::analyze(samples, rate, &AnalyzeOptions::default()).unwrap();
        draw(&Subject { title, samples, rate, report: &report, whole: false }).unwrap()
    }

    /// The figure without its picture, whose letters may say anything.
    fn drawn(figure: &str) -> String {
        let (before, after) = figure.split_once("base64,").unwrap_or((figure, "\""));
        format!("{before}{}", after.split_once('"').unwrap().1)
    }

    #[test]
    fn equal_audio_gives_equal_bytes_and_names_are_escaped() {
        let samples: Vec<f64> = (0..16_000).map(|n| 0.4 * (f64::from(n) * 0.11).sin()).collect();
        let one = figure("a <b> & \"c\"\u{1}.wav", &samples, 8_000);
        assert_eq!(one, figure("a <b> & \"c\"\u{1}.wav", &samples, 8_000));
        assert!(one.contains("a &lt;b&gt; &amp; &quot;c&quot;\u{fffd}.wav") && !one.contains("<b>"));
        assert!(!drawn(&one).contains("NaN") && !drawn(&one).contains("inf\""));
    }

    #[test]
    fn silence_and_the_shortest_sound_can_be_drawn() {
        for (samples, rate) in [(vec![0.0; 8_000], 8_000), (vec![0.5; 900], 8_000), (vec![1.0; 38_500], 384_000)] {
            let figure = figure("quiet.wav", &samples, rate);
            assert!(figure.contains("no voice was found") && !drawn(&figure).contains("NaN"), "{rate}");
        }
    }

    #[test]
    fn minutes_stay_small() {
        let mut state = 1_u32;
        let samples: Vec<f64> = (0..1_600_000)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let voiced = if n / 8_000 % 2 == 0 { (f64::from(n) * 0.1).sin() } else { 0.0 };
                0.3 * voiced + f64::from(state >> 8) / f64::from(1 << 30)
            })
            .collect();
        let size = figure("long.wav", &samples, 8_000).len();
        assert!(size < 1_000_000, "{size}");
    }
}
