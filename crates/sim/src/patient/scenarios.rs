//! Who telephones in a demonstration: what they answer to each question, and how their voices sound.

use super::topics::Topic;
use super::{PAUSE_MS, PatientScript, Step};
use crate::assets::{Clip, clip};
use crate::rng::Rng;
use crate::sound::synth;
use std::collections::BTreeMap;
use voice::g711::{ulaw_decode, ulaw_encode};

/// Names of the scenarios [`PatientScript::scenario`] knows.
pub const SCENARIOS: &[&str] = &[
    "stable",
    "worsening",
    "short-of-breath",
    "interrupting",
    "red-flag",
    "spanish",
    "unusable-line",
    "wrong-person",
    "keypad",
    "silent",
    "hangs-up-early",
];

/// Days over which the worsening patient goes from dry to congested.
pub const WORSENING_DAYS: u32 = 14;

/// What a patient says to each question; silence where there is no clip.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    clips: BTreeMap<Topic, Clip>,
    /// Keys pressed in place of the voice; empty for somebody who speaks.
    keys: BTreeMap<Topic, &'static str>,
}

impl Answers {
    /// Answers by clip name.
    #[must_use]
    pub fn of(names: &[(Topic, &str)]) -> Self {
        let clips = names.iter().filter_map(|(topic, name)| {
            let clip = if *name == PASSAGE { Some(passage()) } else { clip(name) };
            clip.map(|clip| (*topic, clip))
        });
        Self { clips: clips.collect(), keys: BTreeMap::new() }
    }

    /// The same, but for one answer.
    #[must_use]
    pub fn with(mut self, topic: Topic, clip: Clip) -> Self {
        self.clips.insert(topic, clip);
        self
    }

    /// The same person, who answers by keys whatever can be answered so.
    #[must_use]
    pub fn by_keys(mut self, keys: &[(Topic, &'static str)]) -> Self {
        self.keys.extend(keys.iter().copied());
        self
    }

    pub(super) fn keyed(&self, topic: Topic) -> Option<&'static str> {
        self.keys.get(&topic).copied()
    }

    pub(super) fn to(&self, topic: Topic) -> Option<Clip> {
        self.clips.get(&topic).cloned()
    }
}

fn stable() -> Answers {
    Answers::of(&[
        (Topic::BirthDate, "patient_m_dob"),
        (Topic::Consent, "patient_m_consent"),
        (Topic::Feeling, "patient_m_feeling"),
        (Topic::Breathing, "patient_breathing_good"),
        (Topic::Swelling, "patient_swelling_none"),
        (Topic::Counting, "patient_counting"),
        (Topic::Vowel, "vowel_steady"),
        (Topic::Weight, "patient_m_weight"),
        (Topic::Medications, "patient_m_medications"),
        (Topic::Reading, PASSAGE),
        (Topic::Nurse, "patient_m_no"),
        (Topic::Other, "patient_yes"),
    ])
}

/// The worsening patient on a day before the admission: 0 is the last call, [`WORSENING_DAYS`] and earlier are dry.
fn worsening(days_before: u32) -> Answers {
    let level = f64::from(WORSENING_DAYS.saturating_sub(days_before)) / f64::from(WORSENING_DAYS);
    let pick = |stages: [&'static str; 4]| match level {
        l if l < 0.35 => stages[0],
        l if l < 0.6 => stages[1],
        l if l < 0.8 => stages[2],
        _ => stages[3],
    };
    let same = ["patient_f_feeling_same"; 2];
    Answers::of(&[
        (Topic::BirthDate, "patient_f_dob"),
        (Topic::Consent, "patient_f_consent"),
        (Topic::Feeling, pick([same[0], same[1], "patient_f_feeling_worse", "patient_f_feeling_worse"])),
        (
            Topic::Breathing,
            pick([
                "patient_f_breathing_none",
                "patient_f_breathing_usual",
                "patient_f_breathing_stairs",
                "patient_f_breathing_stairs",
            ]),
        ),
        (
            Topic::Orthopnea,
            pick(["patient_f_pillow_no", "patient_f_pillow_no", "patient_f_pillow_no", "patient_f_pillow_yes"]),
        ),
        (
            Topic::Nocturnal,
            pick(["patient_f_night_no", "patient_f_night_no", "patient_f_night_no", "patient_f_night_yes"]),
        ),
        (
            Topic::Swelling,
            pick([
                "patient_f_swelling_none",
                "patient_f_swelling_none",
                "patient_f_swelling_worse",
                "patient_f_swelling_worse",
            ]),
        ),
        (Topic::Counting, pick(["patient_f_count_1", "patient_f_count_2", "patient_f_count_3", "patient_f_count_3"])),
        (
            Topic::Weight,
            pick(["patient_f_weight_same", "patient_f_weight_two", "patient_f_weight_three", "patient_f_weight_six"]),
        ),
        (
            Topic::Medications,
            pick(["patient_f_medications", "patient_f_medications", "patient_f_missed", "patient_f_missed"]),
        ),
        (Topic::Nurse, "patient_f_yes"),
        (Topic::Reading, PASSAGE),
        (Topic::Other, "patient_f_yes"),
    ])
    .with(Topic::Vowel, worsening_vowel(level, days_before))
}

/// A held "ah" that gets shorter, rougher and breathier; no two days sound the same.
fn worsening_vowel(level: f64, day: u32) -> Clip {
    let mut rng = Rng::named(u64::from(day), "vowel");
    let mut vary = |spread: f64| 1.0 + spread * (rng.unit() - 0.5);
    let sound = synth::vowel(
        196.0 * vary(0.04),
        (0.5 + 0.6 * level) * vary(0.2),
        (3.0 + 4.0 * level) * vary(0.2),
        20.0 - 7.0 * level + (vary(1.0) - 1.0),
        (4_200.0 - 1_600.0 * level) as u64,
    );
    Clip::new(format!("vowel_day_{day}"), "Ahhh.", sound)
}

fn spanish() -> Answers {
    Answers::of(&[
        (Topic::BirthDate, "patient_es_dob"),
        (Topic::Consent, "patient_es_consent"),
        (Topic::Feeling, "patient_es_feeling"),
        (Topic::Breathing, "patient_es_breathing"),
        (Topic::Swelling, "patient_es_swelling"),
        (Topic::Counting, "patient_es_counting"),
        (Topic::Vowel, "vowel_female"),
        (Topic::Weight, "patient_es_weight"),
        (Topic::Medications, "patient_es_medications"),
        (Topic::Nurse, "patient_es_no"),
        (Topic::Other, "patient_es_yes"),
    ])
}

impl PatientScript {
    /// The scenario with that name, see [`SCENARIOS`].
    #[must_use]
    pub fn scenario(name: &str) -> Option<Self> {
        let respond = Step::Respond { pause_ms: PAUSE_MS };
        let patient = vec![respond.clone(); 24];
        let (steps, answers) = match name {
            "stable" => (patient, stable()),
            "worsening" => (patient, worsening(0)),
            "short-of-breath" => {
                let short = |topic, name| clip(name).map(|clip| (topic, clip));
                let answers = [
                    short(Topic::Breathing, "patient_breathing_short"),
                    short(Topic::Swelling, "patient_swelling_both"),
                    short(Topic::Counting, "patient_counting_short"),
                    short(Topic::Vowel, "vowel_breathy"),
                    short(Topic::Weight, "patient_weight_190"),
                    short(Topic::Nurse, "patient_m_no"),
                    short(Topic::Reading, "librivox_0880"),
                ];
                let answers = answers.into_iter().flatten().fold(stable(), |all, (topic, clip)| all.with(topic, clip));
                (vec![Step::Respond { pause_ms: 700 }; 24], answers)
            }
            "interrupting" => {
                let mut steps = vec![respond.clone()];
                steps.extend(clip("patient_interrupt").map(|clip| Step::SpeakOver { after_ms: 700, clip }));
                steps.extend(patient);
                (steps, stable())
            }
            "red-flag" => {
                let pain = clip("patient_m_chest_pain")?;
                let answers = stable().with(Topic::Feeling, pain).with(Topic::Nurse, clip("patient_m_nurse_yes")?);
                (patient, answers)
            }
            "spanish" => (patient, spanish()),
            "unusable-line" => {
                let noisy = |answers: Answers, topic, name| {
                    clip(name).map_or(answers.clone(), |clip| answers.with(topic, drowned(&clip)))
                };
                let answers = noisy(stable(), Topic::Counting, "patient_counting");
                (patient, noisy(answers, Topic::Vowel, "vowel_steady"))
            }
            "wrong-person" => (patient, stable().with(Topic::BirthDate, clip("patient_f_wrong_person")?)),
            "keypad" => (vec![respond.clone(), respond, Step::Dtmf("1".to_owned())], stable()),
            "silent" => (Vec::new(), Answers::default()),
            "hangs-up-early" => (vec![respond, Step::Silence(1_500), Step::HangUp], stable()),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), steps, answers })
    }

    /// The same patient with the hands: presses the keys that the shipped protocol explains, and speaks only for the
    /// voice tasks. Everything is as always, but for somebody with a red flag, who is breathless at rest.
    #[must_use]
    pub fn by_keys(mut self) -> Self {
        self.answers = self.answers.by_keys(&KEYS);
        if self.name == "red-flag" {
            self.answers = self.answers.by_keys(&[(Topic::Breathing, "4"), (Topic::Nurse, "1")]);
        }
        self
    }

    /// The worsening patient so many days before the admission.
    #[must_use]
    pub fn worsening(days_before: u32) -> Self {
        let steps = vec![Step::Respond { pause_ms: PAUSE_MS }; 24];
        Self { name: "worsening".to_owned(), steps, answers: worsening(days_before) }
    }

    /// The stable patient on another day: the same words, a slightly different voice.
    #[must_use]
    pub fn stable_day(day: u32) -> Self {
        let mut rng = Rng::named(u64::from(day), "stable");
        let mut vary = |spread: f64| 1.0 + spread * (rng.unit() - 0.5);
        let sound = synth::vowel(118.0 * vary(0.04), 0.4 * vary(0.2), 2.5 * vary(0.2), 22.0 * vary(0.04), 3_000);
        let vowel = Clip::new(format!("vowel_stable_{day}"), "Ahhh.", sound);
        let steps = vec![Step::Respond { pause_ms: PAUSE_MS }; 24];
        Self { name: "stable".to_owned(), steps, answers: stable().with(Topic::Vowel, vowel) }
    }
}

/// What the patient born on 1 April 1948 presses where all is well; the weight in pounds.
const KEYS: [(Topic, &str); 10] = [
    (Topic::BirthDate, "04011948#"),
    (Topic::Consent, "1"),
    (Topic::Feeling, "2"),
    (Topic::Breathing, "1"),
    (Topic::Orthopnea, "2"),
    (Topic::Nocturnal, "2"),
    (Topic::Swelling, "1"),
    (Topic::Weight, "182"),
    (Topic::Medications, "1"),
    (Topic::Nurse, "2"),
];

/// In place of a clip's name: the whole passage.
const PASSAGE: &str = "passage";

/// The five LibriVox sentences read one after the other: long enough for open speech to be measured.
fn passage() -> Clip {
    const GAP_MS: usize = 150;
    let mut noise = Rng::new(7);
    let mut ulaw = Vec::new();
    for name in ["librivox_0870", "librivox_0880", "librivox_0890", "librivox_0920", "librivox_0930"] {
        if !ulaw.is_empty() {
            // A breath of faint noise: digital silence between sentences would give the joining away.
            ulaw.extend((0..GAP_MS * 8).map(|_| [0xFF, 0xFE, 0x7E, 0xFD, 0x7D][noise.between(0, 4) as usize]));
        }
        ulaw.extend(clip(name).iter().flat_map(|clip| clip.ulaw.iter().copied()));
    }
    Clip::new(PASSAGE, "read", ulaw)
}

/// A clip that can hardly be heard for noise: a loud street behind a quiet voice.
fn drowned(clip: &Clip) -> Clip {
    let mut rng = Rng::named(3, "street");
    let sound = clip.ulaw.iter().map(|&code| {
        let noise: f64 = (0..4).map(|_| rng.unit() - 0.5).sum();
        let voice = f64::from(ulaw_decode(code)) / 8.0;
        ulaw_encode((voice + noise * 9_000.0) as i16)
    });
    let sound: Vec<u8> = sound.collect();
    Clip { name: format!("{}_drowned", clip.name).into(), ulaw: sound.into(), ..clip.clone() }
}
