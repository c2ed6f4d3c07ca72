//! From audio to report: the whole analysis, at once or fed by a call.

use std::collections::BTreeMap;

use crate::g711;
use crate::harmonicity;
use crate::intensity;
use crate::pauses::{self, Interval, SpeechMap};
use crate::perturbation::{self, Limits};
use crate::pitch::{self, PitchMethod, PitchSettings, PitchTrack};
use crate::pulses;
use crate::quality;
use crate::report::{Channel, Measures, Pause, Report, Task, Window};
use crate::sound::Sound;
use crate::units::SampleRate;
use crate::vowel;

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

const FLOOR_HZ: f64 = 75.0;
const CEILING_HZ: f64 = 500.0;
const INTENSITY_FLOOR_HZ: f64 = 100.0;

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
    report(span, start as f64 / rate.hz(), rate, options, &[])
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

/// Builds the report of a span; `gaps` are stretches of it that never arrived.
fn report(
    span: &[f64],
    start_s: f64,
    rate: SampleRate,
    options: &AnalyzeOptions,
    gaps: &[Interval],
) -> Result<Report, AnalyzeError> {
    let sound = Sound::new(span, rate);
    let channel = match options.channel {
        Channel::Auto if rate == SampleRate::TELEPHONE => Channel::Telephone,
        Channel::Auto => Channel::Wideband,
        given => given,
    };
    let pitch = contour(&sound);
    let task_detected = options.task == Task::Auto;
    let task = match options.task {
        Task::Auto if pitch.as_ref().is_some_and(vowel::is_sustained) => Task::SustainedVowel,
        Task::Auto => Task::Speech,
        given => given,
    };
    let mut speech = pauses::detect(&sound);
    speech.ignore_unheard(gaps);
    let lost_s = gaps.iter().map(Interval::duration_s).sum();
    let verdict = quality::judge(&sound, pitch.as_ref(), &speech, task, channel, lost_s);

    let steady = (task == Task::SustainedVowel && !options.whole)
        .then(|| pitch.as_ref().and_then(|p| vowel::steady_window(p, gaps)))
        .flatten();
    let (mut measures, window) = match steady {
        Some(window) => {
            let index = |t: f64| (t.max(0.0) * rate.hz()).round() as usize;
            let (from, to) = (index(window.start_s), index(window.end_s).min(span.len()));
            let part = Sound::new(span.get(from..to).unwrap_or_default(), rate);
            let window = Window { start_s: start_s + from as f64 / rate.hz(), end_s: start_s + to as f64 / rate.hz() };
            (measure(&part, contour(&part).as_ref()), Some(window))
        }
        None => (measure(&sound, pitch.as_ref()), None),
    };
    if task == Task::SustainedVowel {
        let longest = pitch.as_ref().and_then(vowel::longest_run);
        measures.maximum_phonation_time_s = longest.map(|run| run.duration_s());
    }
    let mut pauses = Vec::new();
    if task != Task::SustainedVowel || options.whole {
        pauses = heard_pauses(&speech, start_s, &mut measures);
    }
    if !options.whole {
        verdict.apply(&mut measures);
        if !verdict.quality.usable {
            pauses.clear();
        }
    }
    let snr_db = verdict.quality.snr_db;
    let validity: BTreeMap<String, String> = measures
        .entries()
        .into_iter()
        .filter(|(_, value)| value.is_some())
        .filter_map(|(name, _)| Some((name, quality::mark(name, channel, snr_db)?)))
        .map(|(name, mark)| (name.to_owned(), mark.to_owned()))
        .collect();
    Ok(Report {
        engine_version: ENGINE_VERSION.to_owned(),
        task,
        task_detected,
        channel,
        sample_rate_hz: rate.get(),
        start_s,
        duration_s: sound.end(),
        window,
        measures,
        pauses,
        quality: verdict.quality,
        validity,
    })
}

fn contour(sound: &Sound<'_>) -> Option<PitchTrack> {
    let settings = PitchSettings::praat(PitchMethod::Autocorrelation, FLOOR_HZ, CEILING_HZ);
    pitch::track(sound, &settings)
}

/// The measures of pitch, perturbation, noise and level.
fn measure(sound: &Sound<'_>, pitch: Option<&PitchTrack>) -> Measures {
    let mut out = Measures::default();
    if let Some(pitch) = pitch {
        let summary = pitch.summary();
        out.f0_mean_hz = summary.mean_hz;
        out.f0_median_hz = summary.median_hz;
        out.f0_sd_hz = summary.sd_hz;
        out.f0_min_hz = summary.min_hz;
        out.f0_max_hz = summary.max_hz;
        out.voiced_fraction = summary.voiced_fraction;
        out.f0_sd_semitones = pitch::track_two_pass(sound).and_then(|t| t.summary().sd_semitones);

        let limits = Limits::default();
        let pulses = pulses::find(sound, pitch);
        let percent = |value: Option<f64>| value.map(|v| 100.0 * v);
        let jitter = perturbation::jitter(&pulses, &limits);
        out.jitter_local_percent = percent(jitter.local);
        out.jitter_local_absolute_s = jitter.local_absolute_s;
        out.jitter_rap_percent = percent(jitter.rap);
        out.jitter_ppq5_percent = percent(jitter.ppq5);
        out.jitter_ddp_percent = percent(jitter.ddp);
        let shimmer = perturbation::shimmer(sound, &pulses, &limits);
        out.shimmer_local_percent = percent(shimmer.local);
        out.shimmer_local_db = shimmer.local_db;
        out.shimmer_apq3_percent = percent(shimmer.apq3);
        out.shimmer_apq5_percent = percent(shimmer.apq5);
        out.shimmer_apq11_percent = percent(shimmer.apq11);
        out.shimmer_dda_percent = percent(shimmer.dda);
    }
    if let Some(hnr) = harmonicity::cross_correlation(sound) {
        out.hnr_mean_db = hnr.mean_db();
        out.hnr_sd_db = hnr.sd_db();
    }
    out.intensity_mean_db = intensity::contour(sound, INTENSITY_FLOOR_HZ).and_then(|i| i.energy_mean_db());
    out
}

/// Pauses in the audio's own time; fills in their measures.
fn heard_pauses(speech: &SpeechMap, start_s: f64, measures: &mut Measures) -> Vec<Pause> {
    let summary = speech.summary();
    measures.pause_count = summary.count.map(|count| count as u64);
    measures.pause_total_s = summary.total_s;
    measures.pause_mean_s = summary.mean_s;
    measures.pause_longest_s = summary.longest_s;
    measures.pause_fraction = summary.fraction;
    speech
        .pauses()
        .iter()
        .map(|pause| Pause { start_s: start_s + pause.start_s, duration_s: pause.duration_s() })
        .collect()
}

/// How an [`Analyzer`] is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnalyzerConfig {
    /// What the person was asked to do.
    pub task: Task,
    /// What carries the voice; `Auto` means telephone, for the stream has 8 kHz.
    pub channel: Channel,
}

/// Collects one segment of a call and analyses it at the end.
///
/// However the segment is cut into pushes, the report is that of [`analyze`] on the whole.
#[derive(Debug, Clone)]
pub struct Analyzer {
    config: AnalyzerConfig,
    codes: Vec<u8>,
    /// Gaps in samples: start and length, ascending and apart.
    gaps: Vec<(usize, usize)>,
    dropped: u64,
}

impl Analyzer {
    /// An analyzer that has heard nothing yet.
    #[must_use]
    pub fn new(config: AnalyzerConfig) -> Self {
        Self { config, codes: Vec::new(), gaps: Vec::new(), dropped: 0 }
    }

    /// Takes mu-law audio at 8 kHz. Beyond [`MAX_SEGMENT_SECONDS`] it is counted as dropped.
    pub fn push_ulaw(&mut self, codes: &[u8]) {
        let (kept, dropped) = codes.split_at(codes.len().min(self.room()));
        self.codes.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
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
    }

    /// Time that went by in this segment, in seconds, dropped audio not included.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.codes.len() as f64 / SampleRate::TELEPHONE.hz()
    }

    /// Analyses what was collected.
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
        let options =
            AnalyzeOptions { task: self.config.task, channel: self.config.channel, ..AnalyzeOptions::default() };
        let (_, span) = cut(&samples, rate, &options)?;
        let mut report = report(span, 0.0, rate, &options, &gaps)?;
        if self.dropped > 0 {
            let seconds = self.dropped as f64 / rate.hz();
            report
                .quality
                .reasons
                .push(format!("dropped: {seconds:.1} s beyond the longest segment of {MAX_SEGMENT_SECONDS} s"));
        }
        Ok(report)
    }

    fn room(&self) -> usize {
        MAX_SEGMENT_SAMPLES.saturating_sub(self.codes.len())
    }
}
