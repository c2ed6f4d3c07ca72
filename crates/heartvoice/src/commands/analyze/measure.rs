//! One file from its name to its result.

use super::figures::Figures;
use super::input::{Item, Source};
use super::pool::Room;
use crate::figure::Subject;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use voice::{AnalyzeError, AnalyzeOptions, Report};

/// What is wanted of every file.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// How to analyse; without a span, which is cut out here.
    pub(super) options: AnalyzeOptions,
    pub(super) start_s: Option<f64>,
    pub(super) end_s: Option<f64>,
    /// Words that were spoken; 0 when not known.
    pub(super) words: usize,
    /// Whether to add [`voice::details`].
    pub(super) details: bool,
    pub(super) figures: Option<&'a Figures>,
}

/// The result for one file.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The file as it was given.
    pub(super) file: String,
    /// What somebody who reads the result should know about the file.
    pub(super) notes: Vec<String>,
    /// Where its figure is.
    pub(super) figure: Option<PathBuf>,
    /// The reason begins with the file's name.
    pub(super) result: Result<Report, String>,
}

impl Request<'_> {
    /// Measures the file at place `index` of the list. A defect in the analysis costs this file, not the others.
    pub(super) fn fulfil(&self, index: usize, item: &Item, room: &Room) -> Outcome {
        let mut outcome = Outcome {
            file: item.path.display().to_string(),
            notes: Vec::new(),
            figure: None,
            result: Err("the analysis failed; this is a defect of this program".to_owned()),
        };
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| self.measure(index, item, room, &mut outcome)));
        if let Ok(result) = done {
            outcome.result = result;
        }
        outcome.result = outcome.result.map_err(|reason| format!("{}: {reason}", outcome.file));
        outcome
    }

    fn measure(&self, index: usize, item: &Item, room: &Room, outcome: &mut Outcome) -> Result<Report, String> {
        if let Some(problem) = &item.problem {
            return Err(problem.clone());
        }
        let mut source = Source::open(&item.path)?;
        let (from, to) = source.span(self.start_s, self.end_s)?;
        let _share = room.take(to - from);
        let samples = source.read(from, to)?;
        let rate = source.rate();
        let mut report = voice::analyze(&samples, rate, &self.options).map_err(|error| match error {
            AnalyzeError::Malformed(place) => AnalyzeError::Malformed(place + from as usize).to_string(),
            error => error.to_string(),
        })?;
        shift(&mut report, from as f64 / rate.hz());
        if self.words > 0 && report.measures.words_per_minute.is_none() && (report.quality.usable || self.options.whole)
        {
            report.measures.words_per_minute = Some(self.words as f64 * 60.0 / report.duration_s);
        }
        if self.details {
            report.details = Some(Box::new(voice::details::details(&voice::Sound::new(&samples, rate))));
        }
        outcome.notes = source.notes();
        if let Some(figures) = self.figures {
            let title = item.path.file_name().unwrap_or(item.path.as_os_str()).to_string_lossy();
            let subject =
                Subject { title: &title, samples: &samples, rate, report: &report, whole: self.options.whole };
            outcome.figure = Some(figures.draw(index, &subject)?);
        }
        Ok(report)
    }
}

/// Puts a report about a part of a file into the file's own time.
fn shift(report: &mut Report, offset_s: f64) {
    report.start_s += offset_s;
    if let Some(window) = &mut report.window {
        window.start_s += offset_s;
        window.end_s += offset_s;
    }
    for pause in &mut report.pauses {
        pause.start_s += offset_s;
    }
}
