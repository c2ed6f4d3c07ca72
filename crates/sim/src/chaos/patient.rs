//! A patient who understands words: hears what was said, knows which question it was, and answers it in their own time.

use crate::rng::Rng;
use clinic::answers::AnswerValue;
use clinic::protocol::{Protocol, name_of};
use std::sync::Arc;

/// Silence after which one may speak.
const PAUSE_MS: u64 = 600;
/// Who is greeted and hears nothing more says hello.
const GREETS_BACK_MS: u64 = 2_500;
/// Who has heard half a sentence asks after this whether somebody is there.
const WONDERS_MS: u64 = 5_000;
/// Somebody who was told goodbye puts the telephone down after this.
const GOODBYE_MS: u64 = 8_000;

/// What somebody says who has to be helped at once.
const CHEST_PAIN: &str = "Not good. I have had chest pain since this morning.";

/// What kind of person it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Persona {
    /// Has chest pain, and says so when asked how they feel.
    pub(super) red_flag: bool,
    /// Answers pages with keys.
    pub(super) keys: bool,
    /// Presses a key when done with a voice task.
    pub(super) ends_tasks: bool,
    /// Does not answer this part of all questions.
    pub(super) silent: f64,
    /// Talks over this part of all questions.
    pub(super) talks_over: f64,
    /// Puts the telephone down at this time of the call, in milliseconds.
    pub(super) hangs_up_ms: Option<u64>,
    pub(super) refuses_recording: bool,
    pub(super) wants_nurse: bool,
    /// Says a wrong date of birth first.
    pub(super) misremembers: bool,
}

impl Persona {
    /// Somebody who does what is asked.
    pub(super) fn willing(rng: &mut Rng, red_flag: bool) -> Self {
        Self {
            red_flag,
            keys: rng.chance(0.4),
            ends_tasks: rng.chance(0.8),
            silent: 0.0,
            talks_over: 0.0,
            hangs_up_ms: None,
            refuses_recording: false,
            wants_nurse: rng.chance(0.5),
            misremembers: false,
        }
    }

    /// Anybody.
    pub(super) fn any(rng: &mut Rng) -> Self {
        let mut persona = Self::willing(rng, false);
        persona.red_flag = rng.chance(0.15);
        persona.silent = if rng.chance(0.2) { rng.unit() * 0.6 } else { 0.0 };
        persona.talks_over = if rng.chance(0.3) { 0.4 } else { 0.0 };
        persona.hangs_up_ms = rng.chance(0.1).then(|| rng.between(3_000, 120_000));
        persona.refuses_recording = rng.chance(0.05);
        persona.misremembers = rng.chance(0.1);
        persona
    }
}

/// What is said in answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) keys: &'static str,
    pub(super) ms: u64,
    /// What it is the answer to.
    pub(super) to: Asked,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Identity,
    Consent,
    Nurse,
    Item(usize),
    Goodbye,
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Listening,
    /// Knows what to say, and says it then.
    Thinking {
        until: u64,
        answer: Answer,
    },
    Speaking {
        until: u64,
        utterance: usize,
        to: Asked,
    },
    /// Will not say anything to what was asked.
    Silent {
        since: u64,
    },
    /// Was told goodbye.
    Leaving {
        at: u64,
    },
    Gone,
}

/// A patient in a call. Times are milliseconds of the simulation.
#[derive(Debug)]
pub(super) struct Patient {
    pub(super) persona: Persona,
    protocol: Arc<Protocol>,
    rng: Rng,
    state: State,
    since: u64,
    /// Words heard since the patient last acted, and when the last sound was.
    words: String,
    last_sound: u64,
    /// Everything that was said, with its length.
    pub(super) said: Vec<(String, u64)>,
    identity_told: u32,
    /// Heard the number to call.
    pub(super) heard_emergency: bool,
    pub(super) silences: u32,
    pub(super) refused: bool,
    pub(super) named_flag: bool,
}

impl Patient {
    pub(super) fn new(persona: Persona, rng: Rng, now: u64) -> Self {
        Self {
            persona,
            protocol: Protocol::shipped(),
            rng,
            state: State::Listening,
            since: now,
            words: String::new(),
            last_sound: now,
            said: Vec::new(),
            identity_told: 0,
            heard_emergency: false,
            silences: 0,
            refused: false,
            named_flag: false,
        }
    }

    pub(super) fn hung_up(&self) -> bool {
        self.state == State::Gone
    }

    /// The patient put the telephone down although nobody had said goodbye.
    pub(super) fn left_early(&self, now: u64) -> bool {
        self.persona.hangs_up_ms.is_some_and(|ms| now >= self.since + ms)
    }

    /// Whether it is the patient's turn to make a sound.
    pub(super) fn owes(&self) -> bool {
        !matches!(self.state, State::Listening | State::Speaking { .. })
    }

    pub(super) fn speaking(&self) -> Option<usize> {
        if let State::Speaking { utterance, .. } = self.state { Some(utterance) } else { None }
    }

    /// What the patient does, in words.
    pub(super) fn doing(&self) -> String {
        match &self.state {
            State::Speaking { utterance, .. } => {
                self.said.get(*utterance).map_or_else(String::new, |(text, _)| format!("says {text}"))
            }
            State::Thinking { .. } => "thinks".to_owned(),
            State::Listening => "listens".to_owned(),
            State::Silent { .. } => "will not answer".to_owned(),
            State::Leaving { .. } => "was told goodbye".to_owned(),
            State::Gone => "gone".to_owned(),
        }
    }

    /// What is being answered, while it is.
    pub(super) fn answering(&self) -> Option<Asked> {
        if let State::Speaking { to, .. } = self.state { Some(to) } else { None }
    }

    /// What words ask for.
    pub(super) fn asked_in(&self, words: &str) -> Asked {
        let text = |name: &str| self.protocol.text("en", name, "Ada");
        let items = self.protocol.items.iter().enumerate();
        let mut found: Vec<(usize, Asked)> = items
            .filter_map(|(n, item)| Some((words.rfind(self.protocol.prompt("en", &item.id))?, Asked::Item(n))))
            .collect();
        let named = [
            ("identify", Asked::Identity),
            ("identify_again", Asked::Identity),
            ("consent", Asked::Consent),
            ("offer_nurse", Asked::Nurse),
            ("closing", Asked::Goodbye),
            ("not_identified", Asked::Goodbye),
            ("wrong_person", Asked::Goodbye),
            ("red_flag", Asked::Goodbye),
            ("transfer", Asked::Nothing),
            ("voicemail", Asked::Nothing),
        ];
        found.extend(named.iter().filter_map(|(name, asked)| Some((words.rfind(&text(name))?, *asked))));
        found.into_iter().max_by_key(|(at, _)| *at).map_or(Asked::Nothing, |(_, asked)| asked)
    }

    /// Enough of these words was heard to know them.
    pub(super) fn hear_words(&mut self, words: &str) {
        // Who is answering a question does not answer it once more because the agent was still asking it.
        let asked = self.asked_in(words);
        let being_answered = match &self.state {
            State::Thinking { answer, .. } => Some(answer.to),
            State::Speaking { to, .. } => Some(*to),
            _ => None,
        };
        if asked != Asked::Nothing && being_answered == Some(asked) {
            return;
        }
        self.words.push(' ');
        self.words.push_str(words);
        if words.contains(&self.protocol.text("en", "red_flag", "Ada")) {
            self.heard_emergency = true;
        }
        if let State::Silent { .. } = self.state {
            self.state = State::Listening;
        }
    }

    /// The answer to what was asked; `None` where there is nothing to say.
    pub(super) fn answer(&mut self, asked: Asked) -> Option<Answer> {
        let (text, keys, ms): (&str, &str, u64) = match asked {
            Asked::Identity => {
                self.identity_told += 1;
                if self.persona.misremembers && self.identity_told == 1 {
                    ("April first, nineteen fifty.", "4712", 2_000)
                } else {
                    ("April first, nineteen forty eight.", "4711", 2_000)
                }
            }
            Asked::Consent if self.persona.refuses_recording => {
                self.refused = true;
                ("No, I do not want that.", "2", 1_500)
            }
            Asked::Consent => ("Yes, that is fine with me.", "1", 1_500),
            Asked::Nurse if self.persona.wants_nurse => ("Yes, please connect me.", "1", 1_200),
            Asked::Nurse => ("No, thank you.", "2", 1_000),
            Asked::Item(index) => match self.protocol.items.get(index).map(|item| item.id.as_str()).unwrap_or_default()
            {
                "feeling" if self.persona.red_flag => (CHEST_PAIN, "3", 3_000),
                "feeling" => ("About the same as always, thank you.", "2", 2_000),
                "counting" => ("One, two, three, four, five, six, seven, eight, nine, ten.", "", 11_000),
                "vowel" => ("Ahhh.", "", 6_000),
                "weight" => ("The same as last week. One hundred and eighty two pounds.", "182", 3_500),
                "medications" => ("Yes, I take all of them every day.", "1", 2_000),
                _ => ("No, not at all.", "1", 1_300),
            },
            Asked::Goodbye | Asked::Nothing => return None,
        };
        let task = matches!(asked, Asked::Item(index) if self.protocol.items.get(index).is_some_and(|item| item.task().is_some()));
        // Who has said what hurts, and is asked again, says it again.
        let insists = self.named_flag && text == CHEST_PAIN;
        if !task && self.rng.chance(self.persona.silent) && !insists {
            self.silences += 1;
            return None;
        }
        Some(Answer { text: text.to_owned(), keys, ms, to: asked })
    }

    /// How long somebody thinks.
    pub(super) fn thinks_ms(&mut self) -> u64 {
        self.rng.between(300, 2_200)
    }

    /// A step of the conversation by voice. `sounds` says that something is to be heard; true when the patient hangs up.
    pub(super) fn step(&mut self, now: u64, sounds: bool) -> bool {
        if self.left_early(now) && self.state != State::Gone {
            self.state = State::Gone;
            return true;
        }
        if sounds {
            self.last_sound = now;
        }
        match self.state.clone() {
            State::Listening => {
                let over = !self.words.is_empty() && now >= self.last_sound + PAUSE_MS;
                let impatient = !self.words.is_empty() && sounds && self.rng.chance(self.persona.talks_over * 0.03);
                if over
                    && !self.words.contains('?')
                    && self.words.contains("Hello")
                    && now < self.last_sound + GREETS_BACK_MS
                {
                    // More may follow a greeting.
                } else if over || impatient {
                    let words = std::mem::take(&mut self.words);
                    self.react(now, &words);
                }
            }
            State::Thinking { until, answer } if now >= until => self.speak(now, answer),
            State::Speaking { until, .. } if now >= until => {
                self.state = State::Listening;
                self.last_sound = now;
            }
            State::Silent { since } if now >= since + 60_000 => self.state = State::Listening,
            State::Leaving { at } if now >= at => {
                self.state = State::Gone;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Half a sentence was heard, and nothing since: after a while one asks whether somebody is there.
    pub(super) fn wonder(&mut self, now: u64) {
        if self.state == State::Listening && now >= self.last_sound + WONDERS_MS {
            self.words.clear();
            let text = "Hello? Are you still there?".to_owned();
            self.speak(now, Answer { text, keys: "", ms: 1_300, to: Asked::Nothing });
        }
    }

    fn react(&mut self, now: u64, words: &str) {
        let asked = self.asked_in(words);
        self.state = match (asked, self.answer(asked)) {
            (Asked::Goodbye, _) => State::Leaving { at: now + GOODBYE_MS },
            (_, Some(answer)) => State::Thinking { until: now + self.thinks_ms(), answer },
            // Somebody was greeted, or half a sentence was heard.
            (Asked::Nothing, None) if words.contains("Hello") => {
                let answer = Answer { text: "Hello.".to_owned(), keys: "", ms: 700, to: Asked::Nothing };
                State::Thinking { until: now, answer }
            }
            (Asked::Nothing, None) => State::Listening,
            (_, None) => State::Silent { since: now },
        };
    }

    /// Whether the patient answers with keys. Who has said what hurts, and was not heard, says it again.
    pub(super) fn uses_keys(&self, answer: &Answer) -> bool {
        self.persona.keys && !(self.named_flag && answer.text == CHEST_PAIN)
    }

    /// Whether this is what the patient answers to a question, by voice or by keys.
    pub(super) fn would_answer(&self, question: &str, value: &AnswerValue) -> bool {
        match (question, value) {
            ("weight", AnswerValue::Weight(said)) => {
                said.weight_kg.is_some_and(|kg| (kg - 82.55).abs() < 0.1) && said.change_kg.is_none_or(|kg| kg == 0.0)
            }
            ("feeling", value) => name_of(value) == Some(if self.persona.red_flag { "worse" } else { "same" }),
            ("dyspnea" | "swelling", value) => name_of(value) == Some("none"),
            ("medications", value) => name_of(value) == Some("as_prescribed"),
            // Nobody who has no trouble breathing is asked when they have it.
            _ => false,
        }
    }

    /// Says something now.
    pub(super) fn speak(&mut self, now: u64, answer: Answer) {
        self.named_flag |= answer.text == CHEST_PAIN;
        self.state = State::Speaking { until: now + answer.ms, utterance: self.said.len(), to: answer.to };
        self.said.push((answer.text, answer.ms));
    }

    /// Another kind of conversation begins: by pages.
    pub(super) fn listen(&mut self, now: u64) {
        if self.state != State::Gone {
            self.state = State::Listening;
            self.words.clear();
            self.last_sound = now;
        }
    }
}
