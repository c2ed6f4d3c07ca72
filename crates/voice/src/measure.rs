//! Measuring one sound, or several pieces of one: what every piece contributes is kept raw (frame
//! values, pulse times, amplitudes), and the measures are computed once from all of it. With a
//! single piece this is exactly the reference's measure of that sound.

use crate::cepstrum::{self, CppsOptions, CppsRule, MAX_FREQUENCY_AVQI_HZ, MAX_FREQUENCY_TELEPHONE_HZ};
use crate::formant::{self, FormantSettings};
use crate::harmonicity;
use crate::intensity;
use crate::nuclei;
use crate::pauses::Interval;
use crate::perturbation::{self, Limits};
use crate::pitch::{self, PitchMethod, PitchSettings, PitchTrack};
use crate::pulses;
use crate::report::{Channel, Measures};
use crate::sound::{Fit, Sound};
use crate::spectrum::{self, Spectrum};
use crate::stats;
use crate::voice_breaks;

/// Range of the product's pitch contour in Hz, the same for everyone.
pub(crate) const FLOOR_HZ: f64 = 75.0;
pub(crate) const CEILING_HZ: f64 = 500.0;

const INTENSITY_FLOOR_HZ: f64 = 100.0;

/// Lowest rates in Hz at which five formants below 5500 Hz and a tilt up to 10 kHz exist.
const WIDE_FORMANTS_RATE_HZ: f64 = 11_000.0;
const WIDE_TILT_RATE_HZ: f64 = 20_000.0;

/// The contour most measures rest on: autocorrelation, 75-500 Hz.
pub(crate) fn contour(sound: &Sound<'_>) -> Option<PitchTrack> {
    pitch::track(sound, &PitchSettings::praat(PitchMethod::Autocorrelation, FLOOR_HZ, CEILING_HZ))
}

/// The same contour with its frames where they lie for any number of whole steps, if `contour` has them elsewhere.
///
/// What is chosen by this contour must not depend on how much silence was recorded beside it.
pub(crate) fn contour_in_whole_steps(sound: &Sound<'_>, contour: &PitchTrack) -> Option<PitchTrack> {
    let settings = PitchSettings::praat(PitchMethod::Autocorrelation, FLOOR_HZ, CEILING_HZ);
    let moved =
        pitch::CandidateFinder::with_fit(sound, &settings, Fit::WholeSteps)?.frames().count != contour.frames().count;
    if moved { pitch::track_with(sound, &settings, Fit::WholeSteps) } else { None }
}

/// Which frames HNR and CPPS are averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Average {
    /// All frames, as the reference does.
    AllFrames,
    /// Those in which the contour is voiced: for running speech, where pauses and hiss are not voice.
    VoicedFrames,
}

/// The contours of one piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contours {
    /// Autocorrelation: what the measures rest on.
    pub(crate) pitch: Option<PitchTrack>,
    /// Cross-correlation: voice breaks, and a second opinion about the octave.
    pub(crate) cross: Option<PitchTrack>,
}

impl Contours {
    pub(crate) fn of(sound: &Sound<'_>) -> Self {
        let cross = PitchSettings::praat(PitchMethod::CrossCorrelation, FLOOR_HZ, CEILING_HZ);
        Self { pitch: contour(sound), cross: pitch::track(sound, &cross) }
    }
}

/// What to measure, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) average: Average,
    pub(crate) channel: Channel,
    /// Breaks mean something in a held vowel only.
    pub(crate) voice_breaks: bool,
}

impl Plan {
    fn formants(&self, sound: &Sound<'_>) -> FormantSettings {
        let wide = self.channel == Channel::Wideband && sound.rate().hz() >= WIDE_FORMANTS_RATE_HZ;
        if wide { FormantSettings::WIDE } else { FormantSettings::TELEPHONE }
    }

    fn tilt(&self, sound: &Sound<'_>) -> Option<f64> {
        let ltas = Spectrum::of(sound).ltas()?;
        let wide = self.channel == Channel::Wideband && sound.rate().hz() >= WIDE_TILT_RATE_HZ;
        if wide { ltas.tilt_avqi_db() } else { ltas.tilt_tel_db() }
    }
}

/// Sum and number of values whose mean is wanted.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f64,
    count: usize,
}

impl Sum {
    fn add(&mut self, values: &[f64]) {
        self.sum += values.iter().sum::<f64>();
        self.count += values.len();
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// A mean over pieces, weighted; exactly the piece's value if there is one piece.
#[derive(Debug, Clone, Copy, Default)]
struct PieceMean {
    first: f64,
    above: f64,
    weight: f64,
}

impl PieceMean {
    fn add(&mut self, value: Option<f64>, weight: f64) {
        let Some(value) = value.filter(|_| weight > 0.0) else { return };
        if self.weight == 0.0 {
            self.first = value;
        }
        self.above += weight * (value - self.first);
        self.weight += weight;
    }

    fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.first + self.above / self.weight)
    }
}

/// What the pieces measured so far contributed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected {
    seconds: f64,
    frames: usize,
    f0: Vec<f64>,
    f0_min: Option<f64>,
    f0_max: Option<f64>,
    /// Of the two-pass contour, in semitones.
    semitones: Vec<f64>,
    pulses: Vec<f64>,
    amplitudes: Vec<(f64, f64)>,
    hnr_db: Vec<f64>,
    cpps_db: Sum,
    cpps_praat63_db: Sum,
    cpps_4khz_db: Sum,
    /// Energy of intensity frames.
    energy: Sum,
    tilt_db: PieceMean,
    h1_h2_db: PieceMean,
    f1_hz: PieceMean,
    f2_hz: PieceMean,
    /// Pulses of the cross-correlation contour, if voice breaks are wanted.
    break_pulses: Option<Vec<f64>>,
    /// Number of syllables, if they are wanted.
    syllables: Option<u64>,
}

impl Collected {
    /// Measures one sound as a whole.
    pub(crate) fn of(sound: &Sound<'_>, contours: &Contours, plan: Plan) -> Self {
        let mut collected = Self::default();
        collected.add(sound, 0.0, contours, plan, &[]);
        collected
    }

    /// Adds a piece that begins at `start_s`, with its contours; what lies in `spoiled` (times of
    /// the piece) is not taken for voice.
    pub(crate) fn add(
        &mut self,
        sound: &Sound<'_>,
        start_s: f64,
        contours: &Contours,
        plan: Plan,
        spoiled: &[Interval],
    ) {
        self.seconds += sound.end();
        let pitch = contours.pitch.as_ref();
        if let Some(pitch) = pitch {
            self.add_voice(sound, start_s, pitch, plan, spoiled);
        }
        if plan.voice_breaks
            && let Some(cross) = &contours.cross
        {
            let pulses = pulses::find(sound, cross);
            self.break_pulses.get_or_insert_default().extend(pulses.iter().map(|t| start_s + t));
        }
        self.tilt_db.add(plan.tilt(sound), sound.end());
        let voiced = match plan.average {
            Average::AllFrames => None,
            Average::VoicedFrames => Some(pitch.map(|p| voiced_stretches(p, spoiled)).unwrap_or_default()),
        };
        self.add_cpps(sound, voiced.as_deref());
        if let Some(hnr) = harmonicity::cross_correlation(sound) {
            let frames = hnr.frames();
            let counts = |k: usize| {
                voiced.as_ref().is_none_or(|voiced| voiced.iter().any(|s| (s.0..s.1).contains(&frames.time(k))))
            };
            let values = hnr.db().iter().enumerate().filter(|&(k, _)| counts(k));
            self.hnr_db.extend(values.filter_map(|(_, db)| *db));
        }
        if let Some(contour) = intensity::contour(sound, INTENSITY_FLOOR_HZ) {
            let energies: Vec<f64> = contour.db().iter().map(|db| 10_f64.powf(db / 10.0)).collect();
            self.energy.add(&energies);
        }
    }

    /// Counts the syllables of a piece; only speech has any.
    pub(crate) fn add_syllables(&mut self, sound: &Sound<'_>) {
        if let Some(track) = pitch::track(sound, &nuclei::pitch_settings())
            && let Some(found) = nuclei::find(sound, &track)
        {
            *self.syllables.get_or_insert_default() += found.count() as u64;
        }
    }

    /// Syllables counted so far.
    pub(crate) fn syllables(&self) -> Option<u64> {
        self.syllables
    }

    fn add_cpps(&mut self, sound: &Sound<'_>, within_s: Option<&[(f64, f64)]>) {
        let options = |max_frequency_hz, rule| CppsOptions { max_frequency_hz, rule, within_s };
        if let Some(cpps) = cepstrum::cpps_with(sound, &options(MAX_FREQUENCY_AVQI_HZ, None)) {
            self.cpps_db.add(cpps.db(CppsRule::Praat61));
            self.cpps_praat63_db.add(cpps.db(CppsRule::Praat63));
        }
        let old_rule = Some(CppsRule::Praat61);
        if let Some(cpps) = cepstrum::cpps_with(sound, &options(MAX_FREQUENCY_TELEPHONE_HZ, old_rule)) {
            self.cpps_4khz_db.add(cpps.db(CppsRule::Praat61));
        }
    }

    fn add_voice(&mut self, sound: &Sound<'_>, start_s: f64, pitch: &PitchTrack, plan: Plan, spoiled: &[Interval]) {
        let summary = pitch.summary();
        self.frames += pitch.f0().len();
        self.f0.extend(pitch.voiced());
        self.f0_min = extreme(self.f0_min, summary.min_hz, f64::min);
        self.f0_max = extreme(self.f0_max, summary.max_hz, f64::max);
        if let Some(narrow) = pitch::track_two_pass(sound) {
            self.semitones.extend(narrow.voiced().map(|f| 12.0 * (f / 100.0).log2()));
        }
        let limits = Limits::default();
        let mut pulses = pulses::find(sound, pitch);
        pulses.retain(|&t| !inside(t, spoiled));
        let amplitudes = perturbation::amplitudes(sound, &pulses, &limits);
        self.amplitudes.extend(amplitudes.iter().map(|(t, a)| (start_s + t, *a)));
        self.pulses.extend(pulses.iter().map(|t| start_s + t));
        let voiced_s = pitch.voiced_s();
        self.h1_h2_db.add(spectrum::h1_h2_db(sound, pitch), voiced_s);
        let formants = formant::voiced_averages(sound, pitch, &plan.formants(sound));
        let [f1, f2, _] = formants.map(|f| f.mean_hz).unwrap_or_default();
        self.f1_hz.add(f1, voiced_s);
        self.f2_hz.add(f2, voiced_s);
    }

    /// The measures of everything added.
    pub(crate) fn measures(&self) -> Measures {
        let percent = |value: Option<f64>| value.map(|v| 100.0 * v);
        let limits = Limits::default();
        let jitter = perturbation::jitter(&self.pulses, &limits);
        let shimmer = perturbation::shimmer_of(&self.amplitudes, &limits);
        let breaks =
            self.break_pulses.as_ref().map(|pulses| voice_breaks::voice_breaks(pulses, self.seconds, FLOOR_HZ));
        let mut sorted = self.f0.clone();
        sorted.sort_by(f64::total_cmp);
        Measures {
            f0_mean_hz: stats::mean(&self.f0),
            f0_median_hz: stats::quantile(&sorted, 0.5),
            f0_sd_hz: stats::standard_deviation(&self.f0),
            f0_sd_semitones: stats::standard_deviation(&self.semitones),
            f0_min_hz: self.f0_min,
            f0_max_hz: self.f0_max,
            voiced_fraction: (self.frames > 0).then(|| self.f0.len() as f64 / self.frames as f64),
            jitter_local_percent: percent(jitter.local),
            jitter_local_absolute_s: jitter.local_absolute_s,
            jitter_rap_percent: percent(jitter.rap),
            jitter_ppq5_percent: percent(jitter.ppq5),
            jitter_ddp_percent: percent(jitter.ddp),
            shimmer_local_percent: percent(shimmer.local),
            shimmer_local_db: shimmer.local_db,
            shimmer_apq3_percent: percent(shimmer.apq3),
            shimmer_apq5_percent: percent(shimmer.apq5),
            shimmer_apq11_percent: percent(shimmer.apq11),
            shimmer_dda_percent: percent(shimmer.dda),
            hnr_mean_db: stats::mean(&self.hnr_db),
            hnr_sd_db: stats::standard_deviation(&self.hnr_db),
            cpps_db: self.cpps_db.mean(),
            cpps_praat63_db: self.cpps_praat63_db.mean(),
            cpps_4khz_db: self.cpps_4khz_db.mean(),
            spectral_tilt_db: self.tilt_db.value(),
            h1_h2_db: self.h1_h2_db.value(),
            f1_mean_hz: self.f1_hz.value(),
            f2_mean_hz: self.f2_hz.value(),
            intensity_mean_db: self.intensity_mean_db(),
            voice_breaks: breaks.as_ref().filter(|b| b.degree.is_some()).map(|b| b.count as u64),
            degree_of_voice_breaks_percent: percent(breaks.and_then(|b| b.degree)),
            syllables: self.syllables,
            ..Measures::default()
        }
    }
}

impl Collected {
    fn intensity_mean_db(&self) -> Option<f64> {
        // A wholly silent sound has no level.
        self.energy.mean().filter(|mean| *mean > 1e-29).map(|mean| 10.0 * mean.log10())
    }
}

fn inside(time: f64, stretches: &[Interval]) -> bool {
    stretches.iter().any(|s| s.start_s <= time && time <= s.end_s)
}

/// Where the contour is voiced and nothing is spoiled: from half a frame before to half a frame
/// after, in seconds.
fn voiced_stretches(pitch: &PitchTrack, spoiled: &[Interval]) -> Vec<(f64, f64)> {
    let frames = pitch.frames();
    let mut found: Vec<(f64, f64)> = Vec::new();
    let mut before = false;
    for (k, f0) in pitch.f0().iter().enumerate() {
        let end_s = frames.time(k) + 0.5 * frames.dt;
        let voiced = f0.is_some() && !inside(frames.time(k), spoiled);
        match found.last_mut() {
            Some(last) if voiced && before => last.1 = end_s,
            _ if voiced => found.push((end_s - frames.dt, end_s)),
            _ => {}
        }
        before = voiced;
    }
    found
}

fn extreme(a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (a, b) => a.or(b),
    }
}
