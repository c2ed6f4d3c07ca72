//! A small chart as SVG: panels side by side, each with its axes, a line of perfect agreement and
//! series of medians with the range over repetitions. Text only, so equal numbers give equal files.

use std::fmt::Write as _;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 560.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 124.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const BETWEEN: f64 = 84.0;

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008); every series also
/// has its own marker and dashes, so the figures survive a grey printer.
const STYLES: [(&str, &str); 4] = [("#0072B2", ""), ("#D55E00", "7 3"), ("#009E73", "2 3"), ("#AA4499", "9 3 2 3")];

/// One axis.
#[derive(Clone)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) logarithmic: bool,
    pub(crate) ticks: Vec<f64>,
}

/// What perfect measurement would look like.
#[derive(Clone, Copy)]
pub(crate) enum Ideal {
    /// Measured equals true.
    Identity,
    /// A horizontal line, and what it is called.
    Level(f64, &'static str),
    /// Nothing that could be drawn: zero on a logarithmic axis.
    Nothing,
}

/// Median and range of the repetitions at one abscissa.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) ideal: Ideal,
    pub(crate) series: Vec<Series>,
}

impl Axis {
    pub(crate) fn linear(label: &'static str, from: f64, to: f64, step: f64) -> Self {
        let count = ((to - from) / step).round() as usize;
        let ticks = (0..=count).map(|k| from + k as f64 * step).collect();
        Self { label, from, to, logarithmic: false, ticks }
    }

    pub(crate) fn logarithmic(label: &'static str, from: f64, to: f64, ticks: &[f64]) -> Self {
        Self { label, from, to, logarithmic: true, ticks: ticks.to_vec() }
    }

    /// Place of a value on the axis, 0..1; values beyond an end stay at it.
    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }
}

/// Where a panel lies in the figure.
struct Frame<'a> {
    panel: &'a Panel,
    left: f64,
    width: f64,
    height: f64,
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        self.left + self.width * self.panel.x.place(value)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + self.height * (1.0 - self.panel.y.place(value))
    }
}

/// The whole figure; `note` stands below in small print.
pub(crate) fn figure(title: &str, note: &[&str], panels: &[Panel]) -> String {
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">"
    );
    let _ = writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>");
    text(&mut svg, LEFT, 30.0, "start", 18.0, title);
    let count = panels.len().max(1) as f64;
    let width = (WIDTH - LEFT - RIGHT - BETWEEN * (count - 1.0)) / count;
    for (k, panel) in panels.iter().enumerate() {
        let left = LEFT + k as f64 * (width + BETWEEN);
        draw(&mut svg, &Frame { panel, left, width, height: HEIGHT - TOP - BOTTOM });
    }
    if let Some(panel) = panels.first() {
        legend(&mut svg, panel);
    }
    for (k, line) in note.iter().enumerate() {
        text(&mut svg, LEFT, HEIGHT - 34.0 + 17.0 * k as f64, "start", 12.0, line);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, frame: &Frame<'_>) {
    let panel = frame.panel;
    let (right, bottom) = (frame.left + frame.width, TOP + frame.height);
    text(svg, frame.left, TOP - 10.0, "start", 14.0, panel.title);
    for &tick in &panel.x.ticks {
        let x = frame.x(tick);
        line(svg, (x, TOP), (x, bottom), "#e4e4e4", 1.0, "");
        text(svg, x, bottom + 18.0, "middle", 12.0, &number(tick));
    }
    for &tick in &panel.y.ticks {
        let y = frame.y(tick);
        line(svg, (frame.left, y), (right, y), "#e4e4e4", 1.0, "");
        text(svg, frame.left - 7.0, y + 4.0, "end", 12.0, &number(tick));
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{TOP:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#444\"/>",
        frame.left, frame.width, frame.height
    );
    text(svg, frame.left + 0.5 * frame.width, bottom + 40.0, "middle", 13.0, panel.x.label);
    let (x, y) = (frame.left - 52.0, TOP + 0.5 * frame.height);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
        escaped(panel.y.label)
    );
    match panel.ideal {
        Ideal::Identity => {
            let from = panel.x.from.max(panel.y.from);
            let to = panel.x.to.min(panel.y.to);
            line(svg, (frame.x(from), frame.y(from)), (frame.x(to), frame.y(to)), "#777", 1.5, "");
        }
        Ideal::Level(level, _) => {
            line(svg, (frame.left, frame.y(level)), (right, frame.y(level)), "#777", 1.5, "");
        }
        Ideal::Nothing => {}
    }
    for (k, series) in panel.series.iter().enumerate() {
        // Side by side, so that ranges do not hide each other.
        let shift = 3.0 * (k as f64 - 0.5 * (panel.series.len() as f64 - 1.0));
        draw_series(svg, frame, series, k, shift);
    }
}

fn draw_series(svg: &mut String, frame: &Frame<'_>, series: &Series, style: usize, shift: f64) {
    let (colour, dashes) = STYLES[style % STYLES.len()];
    let place = |p: &Point| (frame.x(p.x) + shift, frame.y(p.median));
    for pair in series.points.windows(2) {
        line(svg, place(&pair[0]), place(&pair[1]), colour, 1.6, dashes);
    }
    for point in &series.points {
        let (x, y) = place(point);
        line(svg, (x, frame.y(point.low)), (x, frame.y(point.high)), colour, 1.2, "");
        marker(svg, x, y, style);
        let scale = &frame.panel.y;
        if point.median > scale.to || point.median < scale.from {
            // Off the scale: the marker stands at the border, its value beside it.
            let shown = format!("{:.3}", point.median);
            text(svg, x + 8.0, y + if point.median > scale.to { 16.0 } else { -8.0 }, "start", 12.0, &shown);
        }
    }
}

fn legend(svg: &mut String, panel: &Panel) {
    let mut x = LEFT;
    for (k, series) in panel.series.iter().enumerate() {
        let (colour, dashes) = STYLES[k % STYLES.len()];
        line(svg, (x, 52.0), (x + 34.0, 52.0), colour, 1.6, dashes);
        marker(svg, x + 17.0, 52.0, k);
        text(svg, x + 42.0, 56.0, "start", 13.0, &series.name);
        x += 66.0 + 7.6 * series.name.chars().count() as f64;
    }
    let name = match panel.ideal {
        Ideal::Identity => "perfect",
        Ideal::Level(_, name) => name,
        Ideal::Nothing => return,
    };
    line(svg, (x, 52.0), (x + 34.0, 52.0), "#777", 1.5, "");
    text(svg, x + 42.0, 56.0, "start", 13.0, name);
}

fn marker(svg: &mut String, x: f64, y: f64, style: usize) {
    let (colour, _) = STYLES[style % STYLES.len()];
    let shape = match style % STYLES.len() {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\""),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.2\" height=\"6.2\"", x - 3.1, y - 3.1),
        2 => format!("<path d=\"M{:.1} {:.1}l4 7h-8z\"", x, y - 4.4),
        _ => format!("<path d=\"M{:.1} {:.1}l4.2 4.2l-4.2 4.2l-4.2 -4.2z\"", x, y - 4.2),
    };
    let _ = writeln!(svg, "{shape} fill=\"{colour}\"/>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, width: f64, dashes: &str) {
    let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: f64, content: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{}</text>",
        escaped(content)
    );
}

/// A tick without needless decimals or a negative zero.
fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}

fn escaped(content: &str) -> String {
    content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
