//! From audio to report: the whole analysis, at once or fed by a call.
//!
//! [`analyze`] takes all samples, an [`Analyzer`] takes them as they arrive. Both drive the same
//! session, which measures long audio piece by piece, so they give the same numbers bit for bit, and
//! at the end of a segment only its last piece is left to do.

mod session;

use crate::g711;
use crate::pauses::Interval;
use crate::report::{Channel, Report, Task};
use crate::units::SampleRate;

use session::Session;

/// Version of the algorithms, stored with every result: results of different versions are not compared unseen.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shortest span that can be analysed, in seconds: the longest analysis window and a little more.
pub const MIN_SPAN_S: f64 = 0.1;

/// Longest span that is analysed at once, in seconds. An hour at 8 kHz is 230 MB of samples;
/// longer files have to be cut with a start and an end.
pub const MAX_SPAN_S: f64 = 3600.0;

/// Longest span in samples, so that high rates do not multiply that memory.
pub const MAX_SPAN_SAMPLES: usize = 60_000_000;

/// Longest segment of a call an [`Analyzer`] keeps, in seconds; later audio is only counted.
///
/// A call's tasks last a few minutes; 15 minutes cost 7 MB while the call lasts.
pub const MAX_SEGMENT_SECONDS: usize = 900;

const MAX_SEGMENT_SAMPLES: usize = MAX_SEGMENT_SECONDS * SampleRate::TELEPHONE.get() as usize;

/// Largest sample magnitude. Full scale is 1, but float files hold integers by mistake, and the
/// measures do not mind; far beyond that, energies would overflow.
pub const MAX_MAGNITUDE: f64 = 1e9;

/// What to analyse and how.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnalyzeOptions {
    /// What the person was asked to do.
    pub task: Task,
    /// What carried the voice.
    pub channel: Channel,
    /// Start of the span in seconds; the beginning if `None`.
    pub start_s: Option<f64>,
    /// End of the span in seconds; the end if `None` or beyond it.
    pub end_s: Option<f64>,
    /// Measure the entire span with Praat's standard settings and withhold nothing.
    pub whole: bool,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnalyzeError {
    /// The span is shorter than [`MIN_SPAN_S`].
    #[error("{duration_s:.3} s of audio is too short, at least {MIN_SPAN_S} s is needed")]
    TooShort {
        /// Length of the span in seconds.
        duration_s: f64,
    },
    /// The span is longer than [`MAX_SPAN_S`] or [`MAX_SPAN_SAMPLES`].
    #[error("{duration_s:.0} s of audio is too long to analyse at once, choose at most an hour")]
    TooLong {
        /// Length of the span in seconds.
        duration_s: f64,
    },
    /// The span asked for does not lie in the audio.
    #[error("the span from {start_s} to {end_s} s does not lie in {duration_s:.3} s of audio")]
    Unsupported {
        /// Start asked for.
        start_s: f64,
        /// End asked for.
        end_s: f64,
        /// Length of the audio.
        duration_s: f64,
    },
    /// A sample is infinite, not a number or larger than [`MAX_MAGNITUDE`].
    #[error("sample {0} is not a number between -1e9 and 1e9")]
    Malformed(usize),
}

/// Analyses samples on the scale -1..1.
///
/// # Errors
/// [`AnalyzeError`] when there is nothing that could be analysed. Audio that is merely bad gives a
/// report whose quality says so.
pub fn analyze(samples: &[f64], rate: SampleRate, options: &AnalyzeOptions) -> Result<Report, AnalyzeError> {
    let (start, span) = cut(samples, rate, options)?;
    let mut session = Session::new(options.task, options.channel, rate, options.whole);
    while let Some(rest) = span.get(session.done()..)
        && session.advance(rest)
    {}
    Ok(session.finish(span, start as f64 / rate.hz(), &[]))
}

fn cut<'a>(samples: &'a [f64], rate: SampleRate, options: &AnalyzeOptions) -> Result<(usize, &'a [f64]), AnalyzeError> {
    let duration_s = samples.len() as f64 / rate.hz();
    let start_s = options.start_s.unwrap_or(0.0);
    let end_s = options.end_s.unwrap_or(duration_s).min(duration_s);
    // Also refuses NaN.
    let sensible = start_s >= 0.0 && end_s >= start_s;
    let asked = options.start_s.is_some() || options.end_s.is_some();
    if !sensible || (asked && end_s <= start_s) {
        return Err(AnalyzeError::Unsupported { start_s, end_s: options.end_s.unwrap_or(duration_s), duration_s });
    }
    let index = |t: f64| ((t * rate.hz()).round() as usize).min(samples.len());
    let span = samples.get(index(start_s)..index(end_s)).unwrap_or_default();
    let duration_s = span.len() as f64 / rate.hz();
    if duration_s < MIN_SPAN_S {
        return Err(AnalyzeError::TooShort { duration_s });
    }
    if duration_s > MAX_SPAN_S || span.len() > MAX_SPAN_SAMPLES {
        return Err(AnalyzeError::TooLong { duration_s });
    }
    if let Some(bad) = span.iter().position(|s| s.is_nan() || s.abs() > MAX_MAGNITUDE) {
        return Err(AnalyzeError::Malformed(index(start_s) + bad));
    }
    Ok((index(start_s), span))
}

/// How an [`Analyzer`] is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnalyzerConfig {
    /// What the person was asked to do.
    pub task: Task,
    /// What carries the voice; `Auto` means telephone, for the stream has 8 kHz.
    pub channel: Channel,
}

/// Collects one segment of a call and analyses it, piece by piece as it arrives.
///
/// However the segment is cut into pushes, the report is that of [`analyze`] on the whole.
#[derive(Debug, Clone)]
pub struct Analyzer {
    session: Session,
    codes: Vec<u8>,
    /// Gaps in samples: start and length, ascending and apart.
    gaps: Vec<(usize, usize)>,
    dropped: u64,
    /// Samples of the piece being analysed; kept so that pieces do not allocate it anew.
    piece: Vec<f64>,
}

impl Analyzer {
    /// An analyzer that has heard nothing yet.
    #[must_use]
    pub fn new(config: AnalyzerConfig) -> Self {
        let session = Session::new(config.task, config.channel, SampleRate::TELEPHONE, false);
        Self { session, codes: Vec::new(), gaps: Vec::new(), dropped: 0, piece: Vec::new() }
    }

    /// Takes mu-law audio at 8 kHz. Beyond [`MAX_SEGMENT_SECONDS`] it is counted as dropped.
    ///
    /// Once in 6 to 12 s of audio this analyses a piece, which takes some tens of milliseconds.
    pub fn push_ulaw(&mut self, codes: &[u8]) {
        let (kept, dropped) = codes.split_at(codes.len().min(self.room()));
        self.codes.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
        self.advance();
    }

    /// Notes that `samples` did not arrive. Time goes on, but nothing there counts as voice, as a
    /// pause or as part of a steady vowel.
    pub fn push_gap(&mut self, samples: usize) {
        let kept = samples.min(self.room());
        self.dropped += (samples - kept) as u64;
        if kept == 0 {
            return;
        }
        let start = self.codes.len();
        match self.gaps.last_mut() {
            Some((from, length)) if *from + *length == start => *length += kept,
            _ => self.gaps.push((start, kept)),
        }
        self.codes.resize(start + kept, g711::ULAW_SILENCE);
        self.advance();
    }

    /// Time that went by in this segment, in seconds, dropped audio not included.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.codes.len() as f64 / SampleRate::TELEPHONE.hz()
    }

    /// Analyses what is left and reports.
    ///
    /// # Errors
    /// [`AnalyzeError::TooShort`] when less than [`MIN_SPAN_S`] was pushed.
    pub fn finish(self) -> Result<Report, AnalyzeError> {
        let rate = SampleRate::TELEPHONE;
        let mut samples = Vec::with_capacity(self.codes.len());
        g711::ulaw_decode_slice(&self.codes, &mut samples);
        let gaps: Vec<Interval> = self
            .gaps
            .iter()
            .map(|&(start, length)| Interval {
                start_s: start as f64 / rate.hz(),
                end_s: (start + length) as f64 / rate.hz(),
            })
            .collect();
        let (_, span) = cut(&samples, rate, &AnalyzeOptions::default())?;
        let mut report = self.session.finish(span, 0.0, &gaps);
        if self.dropped > 0 {
            let seconds = self.dropped as f64 / rate.hz();
            report
                .quality
                .reasons
                .push(format!("dropped: {seconds:.1} s beyond the longest segment of {MAX_SEGMENT_SECONDS} s"));
        }
        Ok(report)
    }

    fn advance(&mut self) {
        while let Some(rest) = self.codes.get(self.session.done()..)
            && let Some(head) = rest.get(..self.session.needed())
        {
            self.piece.clear();
            g711::ulaw_decode_slice(head, &mut self.piece);
            if !self.session.advance(&self.piece) {
                break;
            }
        }
    }

    fn room(&self) -> usize {
        MAX_SEGMENT_SAMPLES.saturating_sub(self.codes.len())
    }
}
