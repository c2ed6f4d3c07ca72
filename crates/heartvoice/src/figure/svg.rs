//! A small writer of SVG.
//!
//! Styles are written as attributes of each element, because word processors and typesetters read those more reliably
//! than style sheets. Numbers have two decimals, a hundredth of a point.

use std::fmt::Write as _;

/// Fonts that most machines have one of; their letters are about equally wide.
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// A document in the making.
#[derive(Debug)]
pub(super) struct Svg {
    body: String,
}

/// Which end of a text its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    size: f64,
    bold: bool,
    anchor: Anchor,
    colour: &'a str,
    upright: bool,
}

impl<'a> Text<'a> {
    pub(super) fn plain(size: f64) -> Self {
        Self { size, bold: false, anchor: Anchor::Start, colour: super::INK, upright: false }
    }

    pub(super) fn bold(size: f64) -> Self {
        Self { bold: true, ..Self::plain(size) }
    }

    pub(super) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(super) fn colour(self, colour: &'a str) -> Self {
        Self { colour, ..self }
    }

    /// Turned to be read from below, as beside a vertical axis.
    pub(super) fn upright(self) -> Self {
        Self { upright: true, ..self }
    }
}

impl Svg {
    pub(super) fn new() -> Self {
        Self { body: String::new() }
    }

    pub(super) fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, style: &str) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(number);
        self.add(format_args!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {style}/>\n"));
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, style: &str) {
        let [x, y, width, height] = [x, y, width.max(0.0), height.max(0.0)].map(number);
        self.add(format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {style}/>\n"));
    }

    /// A translucent area.
    pub(super) fn shade(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str, opacity: f64) {
        self.rect(x, y, width, height, &format!("fill=\"{colour}\" fill-opacity=\"{opacity}\" stroke=\"none\""));
    }

    pub(super) fn path(&mut self, path: &Path, style: &str) {
        if !path.0.is_empty() {
            self.add(format_args!("<path d=\"{}\" {style}/>\n", path.0));
        }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, text: &str, look: Text<'_>) {
        let (x, y, size) = (number(x), number(y), number(look.size));
        let anchor = match look.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
        let turn = if look.upright { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
        let (colour, text) = (look.colour, escape(text));
        self.add(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\"{anchor}{weight}{turn}>{text}</text>\n"
        ));
    }

    /// A picture, stretched over an area. The older form of its address is used because every program knows it.
    pub(super) fn png(&mut self, x: f64, y: f64, width: f64, height: f64, base64: &str) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        self.add(format_args!(
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
             xlink:href=\"data:image/png;base64,{base64}\"/>\n"
        ));
    }

    /// The document, its size in points.
    pub(super) fn finish(self, width: f64, height: f64, title: &str) -> String {
        let (width, height, title) = (number(width), number(height), escape(title));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" \
             xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{width}pt\" height=\"{height}pt\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"{FONTS}\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
    }
}

/// The outline of a line or an area.
#[derive(Debug, Default)]
pub(super) struct Path(String);

impl Path {
    /// Goes somewhere without drawing.
    pub(super) fn jump(&mut self, x: f64, y: f64) {
        let _ = write!(self.0, "M{} {}", number(x), number(y));
    }

    /// Draws a straight line to somewhere.
    pub(super) fn draw(&mut self, x: f64, y: f64) {
        let _ = write!(self.0, "L{} {}", number(x), number(y));
    }

    /// Draws back to the beginning.
    pub(super) fn close(&mut self) {
        self.0.push('Z');
    }
}

/// A number with two decimals at most; what is not a number cannot stand in a figure and becomes 0.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.2}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

/// Text as it may stand in XML; characters that may not stand there at all become the replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_always_numbers() {
        assert_eq!([1.0, 0.5, -0.001, 12.345_6, 100.0].map(number), ["1", "0.5", "0", "12.35", "100"]);
        assert_eq!([f64::NAN, f64::INFINITY].map(number), ["0", "0"]);
    }

    #[test]
    fn what_xml_forbids_does_not_get_in() {
        assert_eq!(escape("<&>\"'\u{0}\u{1b}\n\u{ffff}é"), "&lt;&amp;&gt;&quot;&#39;\u{fffd}\u{fffd}\u{fffd}\u{fffd}é");
    }
}
