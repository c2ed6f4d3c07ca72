//! One analysis in progress: pieces that were measured, and what is to be decided at the end.

use std::collections::BTreeMap;

use crate::composite;
use crate::measure::{self, Average, Collected, Contours, Plan};
use crate::pauses::{self, Interval, SpeechMap};
use crate::pieces;
use crate::pitch::PitchTrack;
use crate::quality::{self, Evidence};
use crate::report::{Channel, Measures, Pause, Report, Task, Window};
use crate::sound::Sound;
use crate::task;
use crate::units::SampleRate;
use crate::vowel;

/// An analysis that is fed from the beginning of a span to its end.
#[derive(Debug, Clone)]
pub(super) struct Session {
    task: Task,
    channel: Channel,
    rate: SampleRate,
    /// Everything at once by the reference's settings.
    whole: bool,
    done: usize,
    /// Contours of the pieces, with the times at which they begin.
    pitch: Vec<(f64, PitchTrack)>,
    cross: Vec<(f64, PitchTrack)>,
    collected: Collected,
}

impl Session {
    pub(super) fn new(task: Task, channel: Channel, rate: SampleRate, whole: bool) -> Self {
        let channel = match channel {
            Channel::Auto if rate == SampleRate::TELEPHONE => Channel::Telephone,
            Channel::Auto => Channel::Wideband,
            given => given,
        };
        Self {
            task,
            channel,
            rate,
            whole,
            done: 0,
            pitch: Vec::new(),
            cross: Vec::new(),
            collected: Collected::default(),
        }
    }

    /// Samples from the start of the span that need not be given again to [`Session::advance`].
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Samples [`Session::advance`] wants to see.
    pub(super) fn needed(&self) -> usize {
        if self.whole { usize::MAX } else { pieces::needed(self.rate) }
    }

    /// Analyses the next piece if `rest`, everything after [`Session::done`], holds one.
    pub(super) fn advance(&mut self, rest: &[f64]) -> bool {
        if self.whole {
            return false;
        }
        let Some(piece) = pieces::cut(rest, self.rate).and_then(|end| rest.get(..end)) else {
            return false;
        };
        let contours = self.contours(piece);
        // A vowel is measured in its steady part, which is known at the end.
        if self.task != Task::SustainedVowel {
            self.measure(piece, &contours);
            self.collected.add_syllables(&Sound::new(piece, self.rate));
        }
        self.done += piece.len();
        true
    }

    fn start_s(&self) -> f64 {
        self.done as f64 / self.rate.hz()
    }

    /// Makes and keeps the contours of a piece.
    fn contours(&mut self, piece: &[f64]) -> Contours {
        let contours = Contours::of(&Sound::new(piece, self.rate));
        let start_s = self.start_s();
        self.pitch.extend(contours.pitch.iter().map(|track| (start_s, track.clone())));
        self.cross.extend(contours.cross.iter().map(|track| (start_s, track.clone())));
        contours
    }

    fn measure(&mut self, piece: &[f64], contours: &Contours) {
        let start_s = self.start_s();
        let sound = Sound::new(piece, self.rate);
        let spoiled = if self.whole { Vec::new() } else { quality::damage(&sound, self.channel).spoiled(&[]) };
        let plan = if self.whole {
            Plan { average: Average::AllFrames, channel: self.channel, voice_breaks: true }
        } else {
            Plan { average: Average::VoicedFrames, channel: self.channel, voice_breaks: false }
        };
        self.collected.add(&sound, start_s, contours, plan, &spoiled);
    }

    /// For a held vowel.
    fn vowel_plan(&self) -> Plan {
        Plan { average: Average::AllFrames, channel: self.channel, voice_breaks: true }
    }

    /// Analyses what is left of `span` and reports. `start_s` is where the span begins in its
    /// recording, `gaps` are stretches of the span that never arrived.
    pub(super) fn finish(mut self, span: &[f64], start_s: f64, gaps: &[Interval]) -> Report {
        let sound = Sound::new(span, self.rate);
        let rest = span.get(self.done..).unwrap_or_default();
        let contours = self.contours(rest);
        let pitch = PitchTrack::joined(&self.pitch, sound.end());
        let cross = PitchTrack::joined(&self.cross, sound.end());
        let mut speech = pauses::detect_with(&sound, pitch.as_ref());
        if self.task != Task::SustainedVowel || self.whole {
            self.collected.add_syllables(&Sound::new(rest, self.rate));
        }
        let (task, task_reason) = match self.task {
            Task::Auto => {
                let syllables = self.collected.syllables().map(|n| n as usize);
                let decision = task::decide(&sound, pitch.as_ref(), &speech, syllables);
                (decision.task, Some(decision.reason))
            }
            given => (given, None),
        };
        let damage = quality::damage(&sound, self.channel);
        let lost = damage.spoiled_by_loss(gaps);
        speech.ignore_unheard(&lost);
        let verdict = quality::assess(&Evidence {
            sound: &sound,
            pitch: pitch.as_ref(),
            cross: cross.as_ref(),
            low_floor: None,
            speech: &speech,
            task,
            gaps,
            damage: &damage,
        });

        let longest = pitch.as_ref().and_then(|p| vowel::longest_run_over(p, &lost));
        let (mut measures, window) = if self.whole || task != Task::SustainedVowel {
            self.measure(rest, &contours);
            (self.collected.measures(), None)
        } else if let Some(window) = self.steady_window(rest, pitch.as_ref(), &damage.spoiled(gaps)) {
            self.in_window(span, start_s, window)
        } else if self.done == 0 {
            (Collected::of(&sound, &contours, self.vowel_plan()).measures(), None)
        } else {
            // No vowel in all this time: what comes nearest to one.
            longest.map_or_else(Default::default, |run| self.in_window(span, start_s, run))
        };
        if task == Task::SustainedVowel {
            measures.maximum_phonation_time_s = longest.map(|run| run.duration_s());
            measures.voice_quality = composite::voice_quality(&measures);
            measures.breathiness = composite::breathiness(&measures, verdict.facts.low_band_present != Some(false));
        }
        let rate = |seconds: f64| measures.syllables.filter(|_| seconds > 0.0).map(|n| n as f64 / seconds);
        let (overall, speaking) = (rate(sound.end()), rate(speech.speech_s()));
        measures.speech_rate_syllables_per_s = overall;
        measures.articulation_rate_syllables_per_s = speaking;
        let mut pauses = Vec::new();
        if task != Task::SustainedVowel || self.whole {
            pauses = heard_pauses(&speech, start_s, &mut measures);
        }
        if !self.whole {
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
            .filter_map(|(name, _)| Some((name, quality::mark(name, self.channel, snr_db)?)))
            .map(|(name, mark)| (name.to_owned(), mark.to_owned()))
            .collect();
        Report {
            engine_version: super::ENGINE_VERSION.to_owned(),
            task,
            task_detected: self.task == Task::Auto,
            task_reason,
            channel: self.channel,
            sample_rate_hz: self.rate.get(),
            start_s,
            duration_s: sound.end(),
            window,
            measures,
            pauses,
            quality: verdict.quality,
            validity,
            details: None,
        }
    }

    /// The steady part of a vowel, in the time of the span, of which `rest` was analysed last.
    fn steady_window(&self, rest: &[f64], pitch: Option<&PitchTrack>, avoid: &[Interval]) -> Option<Interval> {
        let pitch = pitch?;
        let (last, before) = self.pitch.split_last()?;
        let moved = measure::contour_in_whole_steps(&Sound::new(rest, self.rate), &last.1);
        let Some(moved) = moved.filter(|_| last.0 == self.start_s()) else {
            return vowel::steady_window(pitch, avoid);
        };
        let pieces: Vec<(f64, PitchTrack)> = before.iter().cloned().chain([(last.0, moved)]).collect();
        vowel::steady_window(&PitchTrack::joined(&pieces, pitch.end_s())?, avoid)
    }

    /// The measures of the steady part, and where it is in the recording.
    fn in_window(&self, span: &[f64], start_s: f64, window: Interval) -> (Measures, Option<Window>) {
        let index = |t: f64| (t.max(0.0) * self.rate.hz()).round() as usize;
        let (from, to) = (index(window.start_s), index(window.end_s).min(span.len()));
        let part = Sound::new(span.get(from..to).unwrap_or_default(), self.rate);
        let time = |sample: usize| start_s + sample as f64 / self.rate.hz();
        let measures = Collected::of(&part, &Contours::of(&part), self.vowel_plan()).measures();
        (measures, Some(Window { start_s: time(from), end_s: time(to) }))
    }
}

/// Pauses in the recording's time; fills in their measures.
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
