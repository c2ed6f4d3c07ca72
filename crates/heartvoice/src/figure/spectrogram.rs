//! The wide-band spectrogram, as a picture in shades of grey.
//!
//! Wide-band means a window so short (5 ms) that single periods of the voice show as vertical stripes and formants as
//! dark bands. The window is Gaussian and twice as long as its effective length; high frequencies are raised by 6 dB
//! per octave, as the ear and everybody else's spectrograms do; grey spans the 50 dB below the strongest point.

use super::axis::{Panel, Scale, Side, TimeAxis, ticks};
use super::svg::Svg;
use super::{INK, Subject, nothing};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use realfft::RealFftPlanner;
use voice::SampleRate;

/// Effective length of the window in seconds.
pub(super) const WINDOW_S: f64 = 0.005;
/// Decibels from white to black.
pub(super) const RANGE_DB: f64 = 50.0;
/// Highest frequency shown for a microphone, and for a telephone.
const WIDEBAND_HZ: f64 = 5_000.0;
const TELEPHONE_HZ: f64 = 4_000.0;

/// Points of the picture: about 250 to the inch in time.
const MAX_COLUMNS: usize = 1_400;
const ROWS: usize = 220;
/// Columns are not closer than this; the window smears time more than that.
const MIN_STEP_S: f64 = 0.000_5;
/// Windows that are averaged in a column, at most, and how far apart they are at least.
const MAX_PER_COLUMN: usize = 10;
const PART_STEP_S: f64 = 0.005;
/// Shades of grey. The eye cannot tell more apart, and fewer make the picture smaller.
const SHADES: f64 = 63.0;

pub(super) fn draw(svg: &mut Svg, panel: &Panel, axis: &TimeAxis, subject: &Subject<'_>) -> anyhow::Result<()> {
    let limit = match subject.report.channel {
        voice::Channel::Telephone => TELEPHONE_HZ,
        _ => WIDEBAND_HZ,
    };
    let top_hz = limit.min(subject.rate.hz() / 2.0);
    match Picture::of(subject.samples, subject.rate, top_hz) {
        Some(picture) => {
            svg.png(axis.x, panel.y, axis.width, panel.height, &STANDARD.encode(picture.png()?));
        }
        None => nothing(svg, panel, "digital silence"),
    }
    let scale = Scale { low: 0.0, high: top_hz / 1_000.0 };
    let labels: Vec<(f64, String)> = ticks(0.0, scale.high, 5).into_iter().collect();
    panel.axis(svg, Side::Left, scale, &labels, "Frequency (kHz)", INK);
    Ok(())
}

/// Shades from 0 (white) to [`SHADES`], row by row from the top.
struct Picture {
    columns: usize,
    shades: Vec<u8>,
}

impl Picture {
    /// `None` when there is no sound at all.
    fn of(samples: &[f64], rate: SampleRate, top_hz: f64) -> Option<Self> {
        let duration_s = samples.len() as f64 / rate.hz();
        let columns = ((duration_s / MIN_STEP_S).ceil() as usize).clamp(1, MAX_COLUMNS);
        let mut analyzer = Analyzer::new(rate, top_hz);
        let mut power = vec![0.0; columns * ROWS];
        let width_s = duration_s / columns as f64;
        let parts = ((width_s / PART_STEP_S).round() as usize).clamp(1, MAX_PER_COLUMN);
        for (column, rows) in power.chunks_mut(ROWS).enumerate() {
            for part in 0..parts {
                let time = (column as f64 + (part as f64 + 0.5) / parts as f64) * width_s;
                analyzer.add(samples, time, rows);
            }
        }
        let loudest = power.iter().copied().fold(0.0, f64::max);
        if loudest <= 0.0 {
            return None;
        }
        let mut shades = vec![0; columns * ROWS];
        for (row, line) in shades.chunks_mut(columns).enumerate() {
            for (column, shade) in line.iter_mut().enumerate() {
                let power = power.get(column * ROWS + (ROWS - 1 - row)).copied().unwrap_or(0.0);
                let below_db = -10.0 * (power / loudest).log10();
                *shade = (SHADES * (1.0 - below_db / RANGE_DB).clamp(0.0, 1.0)).round() as u8;
            }
        }
        Some(Self { columns, shades })
    }

    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let grey: Vec<u8> = self.shades.iter().map(|shade| 255 - (f64::from(*shade) * 255.0 / SHADES) as u8).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.columns as u32, ROWS as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        encoder.write_header()?.write_image_data(&grey)?;
        Ok(bytes)
    }
}

/// Spectra of short windows; buffers and the transform are made once.
struct Analyzer {
    transform: std::sync::Arc<dyn realfft::RealToComplex<f64>>,
    rate_hz: f64,
    window: Vec<f64>,
    input: Vec<f64>,
    output: Vec<realfft::num_complex::Complex<f64>>,
    scratch: Vec<realfft::num_complex::Complex<f64>>,
    /// For every row: the lower of its two bins, the weight of the upper, and the raise of its frequency.
    rows: Vec<(usize, f64, f64)>,
}

impl Analyzer {
    fn new(rate: SampleRate, top_hz: f64) -> Self {
        let length = ((2.0 * WINDOW_S * rate.hz()).round() as usize).max(4);
        // Bins at most as far apart as rows, so that no row is a mere copy of its neighbour.
        let size = length.max((rate.hz() / (top_hz / ROWS as f64)).ceil() as usize).next_power_of_two();
        let edge = (-12.0_f64).exp();
        let window = (0..length)
            .map(|n| {
                let x = (2.0 * n as f64 + 1.0) / length as f64 - 1.0;
                ((-12.0 * x * x).exp() - edge) / (1.0 - edge)
            })
            .collect();
        let rows = (0..ROWS).map(|row| {
            let hz = top_hz * (row as f64 + 0.5) / ROWS as f64;
            let bin = hz * size as f64 / rate.hz();
            (bin.floor() as usize, bin.fract(), (hz / 1_000.0) * (hz / 1_000.0))
        });
        let transform = RealFftPlanner::new().plan_fft_forward(size);
        Self {
            rate_hz: rate.hz(),
            window,
            input: transform.make_input_vec(),
            output: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            rows: rows.collect(),
            transform,
        }
    }

    /// Adds the power spectrum around a time to a column.
    fn add(&mut self, samples: &[f64], time_s: f64, column: &mut [f64]) {
        let first = (time_s * self.rate_hz).round() as i64 - self.window.len() as i64 / 2;
        self.input.fill(0.0);
        for ((to, weight), place) in self.input.iter_mut().zip(&self.window).zip(first..) {
            let sample = usize::try_from(place).ok().and_then(|place| samples.get(place));
            *to = weight * sample.copied().unwrap_or(0.0);
        }
        let done = self.transform.process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch);
        if done.is_err() {
            return;
        }
        let power = |bin: usize| self.output.get(bin).map_or(0.0, realfft::num_complex::Complex::norm_sqr);
        for ((low, weight, raise), to) in self.rows.iter().zip(column) {
            *to += raise * ((1.0 - weight) * power(*low) + weight * power(*low + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tone_is_dark_at_its_frequency_and_nowhere_else() {
        let rate = SampleRate::new(16_000).unwrap();
        let samples: Vec<f64> =
            (0..16_000).map(|n| (f64::from(n) * std::f64::consts::TAU * 2_000.0 / 16_000.0).sin()).collect();
        let picture = Picture::of(&samples, rate, 5_000.0).unwrap();
        let middle = picture.columns / 2;
        let column: Vec<u8> = picture.shades.chunks(picture.columns).map(|line| line[middle]).collect();
        let darkest = (0..ROWS).max_by_key(|row| column[*row]).unwrap();
        let hz = 5_000.0 * (ROWS - 1 - darkest) as f64 / ROWS as f64;
        assert!((hz - 2_000.0).abs() < 60.0, "{hz}");
        assert!(column[0] == 0 && column[ROWS - 1] == 0);
    }

    #[test]
    fn silence_has_no_picture() {
        assert!(Picture::of(&[0.0; 4_000], SampleRate::TELEPHONE, 4_000.0).is_none());
    }
}
