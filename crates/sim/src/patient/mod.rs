//! Synthetic patients: what somebody on the telephone does, driven by what they hear and by time.

mod scenarios;
mod topics;

pub use scenarios::{Answers, SCENARIOS, WORSENING_DAYS};
pub use topics::Topic;

use crate::assets::Clip;
use crate::rng::Rng;
use crate::sound::{Activity, recognise};
use std::collections::VecDeque;
use topics::{USUAL_ORDER, topic_of, topic_of_clip};

/// Silence a patient waits for after the agent, in milliseconds; longer than the pauses inside a sentence.
const PAUSE_MS: u64 = 450;
/// After the goodbye the patient hangs up if nobody else does.
const AFTER_GOODBYE_MS: u64 = 6_000;
/// Agent speech that counts as having said something, in milliseconds.
const SAID_SOMETHING_MS: u64 = 250;
/// Sound kept for recognising what was asked: the last 12 seconds.
const EAR_BYTES: usize = 96_000;
/// Steady noise of a quiet line, RMS on the 16-bit scale (-62 dBFS): no real line is digitally silent.
const LINE_NOISE_RMS: f64 = 26.0;
/// Time between two keys.
const KEY_MS: u64 = 250;

/// What a simulated patient does with one turn.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Wait until the agent has spoken and then been silent for `pause_ms`, recognise what it asked, and answer.
    Respond {
        /// Silence to wait for after the agent, in milliseconds.
        pause_ms: u64,
    },
    /// Wait until the agent has spoken and then been silent for `pause_ms`, then say `clip`.
    AfterAgent {
        /// Silence to wait for after the agent, in milliseconds.
        pause_ms: u64,
        /// What to say.
        clip: Clip,
    },
    /// Wait until the agent speaks, and talk over it.
    SpeakOver {
        /// How far into the agent's speech, in milliseconds.
        after_ms: u64,
        /// What to say.
        clip: Clip,
    },
    /// Say `clip` now.
    Speak(Clip),
    /// Press keys, one every 250 ms.
    Dtmf(String),
    /// Say nothing for this long, in milliseconds.
    Silence(u64),
    /// Put the telephone down.
    HangUp,
}

/// A patient's behaviour on one call: steps in order, then silence until somebody hangs up.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientScript {
    /// Name of the scenario.
    pub name: String,
    /// What the patient does, in order.
    pub steps: Vec<Step>,
    /// Answers given by [`Step::Respond`].
    pub answers: Answers,
}

impl PatientScript {
    /// Somebody who says each clip once, after the agent, in order: for recordings of one's own.
    #[must_use]
    pub fn recordings(clips: Vec<Clip>) -> Self {
        let steps = clips.into_iter().map(|clip| Step::AfterAgent { pause_ms: PAUSE_MS, clip }).collect();
        Self { name: "recordings".to_owned(), steps, answers: Answers::default() }
    }

    /// Somebody who says these clips one after the other as soon as the call begins, whatever is heard.
    #[must_use]
    pub fn monologue(clips: Vec<Clip>) -> Self {
        let steps = clips.into_iter().map(Step::Speak).collect();
        Self { name: "monologue".to_owned(), steps, answers: Answers::default() }
    }
}

impl Default for PatientScript {
    fn default() -> Self {
        Self::scenario("stable").unwrap_or_else(|| Self::recordings(Vec::new()))
    }
}

/// What a patient does in 20 ms.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PatientFrame {
    /// Sound into the telephone, as long as what was heard.
    pub ulaw: Vec<u8>,
    /// A key pressed.
    pub digit: Option<char>,
    /// A clip that begins with this frame.
    pub began: Option<Clip>,
    /// A clip that ended with this frame.
    pub ended: Option<Clip>,
    /// The patient hung up.
    pub hung_up: bool,
}

/// A patient in a call. Feed what is heard, frame by frame, and get what is said.
#[derive(Debug)]
pub struct Patient {
    script: PatientScript,
    step: usize,
    agent: Activity,
    ear: VecDeque<u8>,
    told: Vec<String>,
    /// Somebody else's words are still coming, as the line knows.
    being_told: bool,
    /// Pressed when the clip being spoken is over.
    key_after: Option<char>,
    saying: Option<(Clip, usize)>,
    keys: VecDeque<char>,
    next_key_ms: u64,
    quiet_until_ms: Option<u64>,
    last_topic: Option<Topic>,
    asked: usize,
    goodbye_at_ms: Option<u64>,
    noise: Rng,
}

impl Patient {
    /// A patient who has just picked up.
    #[must_use]
    pub fn new(script: PatientScript) -> Self {
        Self {
            script,
            step: 0,
            agent: Activity::default(),
            ear: VecDeque::new(),
            told: Vec::new(),
            being_told: false,
            key_after: None,
            saying: None,
            keys: VecDeque::new(),
            next_key_ms: 0,
            quiet_until_ms: None,
            last_topic: None,
            asked: 0,
            goodbye_at_ms: None,
            noise: Rng::named(1, "line"),
        }
    }

    /// The words of what is about to be heard, where the line knows them (`<Say>`).
    pub fn told(&mut self, text: &str) {
        self.told.push(text.to_owned());
    }

    /// Whether words that were [`told`](Self::told) are still being said: nobody takes a pause in them for their end.
    pub fn being_told(&mut self, being_told: bool) {
        self.being_told = being_told;
    }

    /// Whether a clip is being spoken.
    #[must_use]
    pub fn is_speaking(&self) -> bool {
        self.saying.is_some()
    }

    /// Hears `heard` at `now_ms` since the call began and says what is said meanwhile.
    pub fn tick(&mut self, now_ms: u64, heard: &[u8]) -> PatientFrame {
        self.agent.push(heard);
        self.ear.extend(heard);
        let excess = self.ear.len().saturating_sub(EAR_BYTES);
        self.ear.drain(..excess);

        let mut frame = PatientFrame::default();
        if self.saying.is_none() && self.keys.is_empty() {
            self.decide(now_ms, &mut frame);
        }
        if now_ms >= self.next_key_ms
            && let Some(key) = self.keys.pop_front()
        {
            frame.digit = Some(key);
            self.next_key_ms = now_ms + KEY_MS;
        }
        self.speak(heard.len(), &mut frame);
        frame
    }

    fn decide(&mut self, now_ms: u64, frame: &mut PatientFrame) {
        if let Some(since) = self.goodbye_at_ms {
            frame.hung_up = now_ms >= since + AFTER_GOODBYE_MS;
            return;
        }
        let Some(step) = self.script.steps.get(self.step).cloned() else { return };
        match step {
            Step::Respond { pause_ms } => {
                if self.agent_has_finished(pause_ms) {
                    let topic = self.question();
                    self.last_topic = Some(topic);
                    if topic == Topic::Goodbye {
                        self.goodbye_at_ms = Some(now_ms);
                    }
                    if let Some(keys) = self.script.answers.keyed(topic) {
                        self.keys.extend(keys.chars());
                        return self.next_step(None);
                    }
                    // A script says that a key ends a voice task.
                    let task = matches!(topic, Topic::Counting | Topic::Vowel | Topic::Reading);
                    self.key_after = (task && !self.told.is_empty()).then_some('1');
                    let answer = self.script.answers.to(topic);
                    self.next_step(answer);
                }
            }
            Step::AfterAgent { pause_ms, clip } => {
                if self.agent_has_finished(pause_ms) {
                    self.next_step(Some(clip));
                }
            }
            Step::SpeakOver { after_ms, clip } => {
                if self.agent.is_speaking() && self.agent.total_speech_ms() >= after_ms {
                    self.next_step(Some(clip));
                }
            }
            Step::Speak(clip) => self.next_step(Some(clip)),
            Step::Dtmf(digits) => {
                if self.agent_has_finished(PAUSE_MS) {
                    self.keys.extend(digits.chars());
                    self.next_step(None);
                }
            }
            Step::Silence(ms) => {
                let until = *self.quiet_until_ms.get_or_insert(now_ms + ms);
                if now_ms >= until {
                    self.quiet_until_ms = None;
                    self.next_step(None);
                }
            }
            Step::HangUp => {
                frame.hung_up = true;
                self.step += 1;
            }
        }
    }

    fn agent_has_finished(&self, pause_ms: u64) -> bool {
        let finished = self.agent.total_speech_ms() >= SAID_SOMETHING_MS && self.agent.silence_ms() >= pause_ms;
        finished && !self.being_told
    }

    /// What was asked since the patient last spoke.
    fn question(&mut self) -> Topic {
        let heard = recognise(self.ear.make_contiguous());
        // The last clip that asks for something decides: a prompt ends with its question.
        let asked_for = heard.iter().rev().find_map(|clip| topic_of_clip(clip).filter(|topic| *topic != Topic::Other));
        let again = heard.last().is_some_and(|clip| clip.name == "agent_repeat");
        let told = (!self.told.is_empty()).then(|| self.told.join(" "));
        let topic = match (&told, heard.last()) {
            (None, Some(_)) if again && self.last_topic.is_some() => self.last_topic,
            (Some(text), _) => topic_of(text).or(Some(Topic::Other)),
            (None, Some(_)) => asked_for.or(Some(Topic::Other)),
            (None, None) => {
                let usual = USUAL_ORDER.get(self.asked).copied();
                Some(usual.unwrap_or(Topic::Goodbye))
            }
        };
        self.asked += usize::from(!again);
        topic.unwrap_or(Topic::Other)
    }

    fn next_step(&mut self, say: Option<Clip>) {
        self.step += 1;
        self.saying = say.map(|clip| (clip, 0));
        self.agent.reset();
        self.ear.clear();
        self.told.clear();
    }

    fn speak(&mut self, len: usize, frame: &mut PatientFrame) {
        if let Some((clip, at)) = &mut self.saying {
            if *at == 0 {
                frame.began = Some(clip.clone());
            }
            frame.ulaw.extend(clip.ulaw.iter().skip(*at).take(len));
            *at += len;
            if *at >= clip.ulaw.len() {
                frame.ended = Some(clip.clone());
                self.saying = None;
                self.keys.extend(self.key_after.take());
                // What the agent said meanwhile was talked over, not a question.
                self.agent.reset();
                self.ear.clear();
            }
        }
        let Self { noise, .. } = self;
        frame.ulaw.resize_with(len, || {
            // Four uniform numbers make a good enough bell: their sum has a variance of one third.
            let bell: f64 = (0..4).map(|_| noise.unit() - 0.5).sum();
            voice::g711::ulaw_encode((bell * 3.0_f64.sqrt() * LINE_NOISE_RMS) as i16)
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::assets::clip;

    /// Plays `clips` with 3 s between them and returns the texts spoken, with times.
    fn converse(script: PatientScript, prompts: &[&str]) -> (Vec<(u64, String)>, Vec<u8>, Option<u64>) {
        let mut patient = Patient::new(script);
        let (mut now, mut spoken, mut audio, mut hung_up) = (0, Vec::new(), Vec::new(), None);
        for name in prompts {
            let mut sound = clip(name).unwrap().ulaw.to_vec();
            sound.resize(sound.len().div_ceil(160) * 160 + 11 * 8_000, 0xFF);
            for heard in sound.chunks(160) {
                let frame = patient.tick(now, heard);
                assert_eq!(frame.ulaw.len(), 160);
                if let Some(clip) = frame.began {
                    spoken.push((now, clip.text.into_owned()));
                }
                audio.extend(frame.ulaw);
                if frame.hung_up {
                    hung_up.get_or_insert(now);
                }
                now += 20;
            }
        }
        (spoken, audio, hung_up)
    }

    #[test]
    fn questions_are_answered_in_whatever_order_they_come() {
        let prompts = ["agent_vowel", "agent_greeting", "agent_repeat", "agent_counting", "agent_goodbye"];
        let (spoken, audio, hung_up) = converse(PatientScript::default(), &prompts);
        let texts: Vec<&str> = spoken.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts[0], "Ahhh.");
        assert_eq!(texts[1], "My breathing is fine today, thank you.");
        assert_eq!(texts[2], texts[1]);
        assert!(texts[3].starts_with("One, two"));
        assert_eq!(texts.len(), 4);
        assert!(hung_up.is_some());
        assert_eq!(recognise(&audio).len(), 3);
        // Answers wait for the end of the question, not for a pause within it.
        assert!(spoken[0].0 >= clip("agent_vowel").unwrap().duration_ms());
    }

    #[test]
    fn interrupting_talks_over_the_second_question() {
        let (spoken, _, _) =
            converse(PatientScript::scenario("interrupting").unwrap(), &["agent_greeting", "agent_weight"]);
        let second_question = clip("agent_greeting").unwrap().duration_ms() + 11_000;
        assert!(spoken[1].0 > second_question + 600 && spoken[1].0 < second_question + 1_500, "{spoken:?}");
        assert!(spoken[1].1.starts_with("Sorry"));
    }

    #[test]
    fn unknown_voices_are_answered_in_the_usual_order() {
        let mut patient = Patient::new(PatientScript::default());
        let mut texts = Vec::new();
        let mut sound = crate::sound::synth::babble("some words that nobody knows here", 5);
        sound.resize(sound.len() + 40_000, 0xFF);
        for (n, heard) in sound.repeat(2).chunks(160).enumerate() {
            texts.extend(patient.tick(n as u64 * 20, heard).began.map(|clip| clip.name.into_owned()));
        }
        assert_eq!(texts, ["patient_m_dob", "patient_m_feeling"]);
    }

    #[test]
    fn scripted_words_are_understood() {
        for (text, topic) in [
            ("Please say or key in your weight in pounds.", Topic::Weight),
            ("Are your ankles swollen? Press 1 for yes.", Topic::Swelling),
            ("Take a deep breath and say ahhh.", Topic::Vowel),
            ("Thank you. Goodbye.", Topic::Goodbye),
            ("Is that right?", Topic::Other),
            // Whatever is said about keys after it, the protocol's own question counts.
            ("Has your weight changed in the past few days? Or key it in. Press 0 if you do not know.", Topic::Weight),
            ("¿Está tomando sus medicinas tal como se las recetaron? Marque 1 para sí.", Topic::Medications),
            (
                "Please call 9 1 1. I can also try to connect you with a nurse now. Would you like that? Press 1.",
                Topic::Nurse,
            ),
        ] {
            assert_eq!(topic_of(text), Some(topic), "{text}");
        }
        assert_eq!(topic_of("One moment please."), None);
    }

    #[test]
    fn every_scenario_exists() {
        for name in SCENARIOS {
            assert_eq!(PatientScript::scenario(name).unwrap().name, *name);
        }
        assert!(PatientScript::scenario("nobody").is_none());
        let (spoken, audio, _) = converse(PatientScript::scenario("silent").unwrap(), &["agent_greeting"]);
        assert!(spoken.is_empty());
        let mut line = Activity::default();
        line.push(&audio);
        assert_eq!(line.total_speech_ms(), 0);
        assert!(audio.iter().any(|b| *b != 0xFF));
        assert!(converse(PatientScript::scenario("hangs-up-early").unwrap(), &["agent_greeting"]).2.is_some());
    }
}
