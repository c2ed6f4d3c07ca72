//! The script: asks the questions of a visit by documents of call instructions, where no agent can.
//!
//! The phone company carries out one document at a time: it says words, waits for an answer by voice or by keys, and
//! posts what it got. The script takes the agent's part: it is told what was heard, lets the [`Visit`] judge it, and
//! gives the next [`Page`]. The visit is the same that the agent was led by, so whatever was answered stays answered.
//!
//! Every page has a number, and what is posted names the page it answers. A page that is posted twice, or late, gets the
//! document that followed it and changes nothing: networks repeat themselves.
//!
//! ```text
//! Begin ─► page 1 ─► posted with ?page=1 ─► Script::next ─► page 2 ─► …  ─► goodbye, hang up
//!                                             │ Visit: answers, red flags, retries, silence
//! ```

mod ask;
mod render;

pub use render::{Addresses, NurseLine};

use clinic::TimelineKind;
use clinic::visit::{StepKind, Visit, VisitInput};

/// Longest text taken from the recogniser, in characters: a minute of fast speech.
const SPEECH_MAX_CHARS: usize = 2_000;
/// Most keys taken from one page.
const KEYS_MAX: usize = 20;
/// How long the keys of a number for help may be apart, in milliseconds, when a page took the first of them.
const DIALLING_MS: u64 = 8_000;
/// Pages that wait for the analysis of a voice task, each a second long.
const WAITS_MAX: u32 = 2;

/// What came of a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard<'a> {
    /// The script takes over, or begins the call.
    Begin,
    /// The recogniser's words. PHI.
    Speech {
        /// The words.
        text: &'a str,
        /// How sure the recogniser is, 0 to 1, where it says so. Words count whatever it says: an emergency is often
        /// spoken badly.
        confidence: Option<f64>,
    },
    /// Keys. May be a secret.
    Keys(&'a str),
    /// Neither word nor key until the page's time was over, or a page that asked nothing.
    Nothing,
    /// The time for listening is over, or a key ended it.
    Listened,
    /// The nurse's line was called.
    NurseResult {
        /// Somebody there took the call.
        answered: bool,
    },
}

/// A slow voice speaks a character in so long.
const SLOW_MS_PER_CHAR: u64 = 110;
/// Longest answer by voice that the phone company listens to, in seconds.
const GATHER_MAX_S: u32 = 60;

/// A document of the script, as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its number within the call, from 1: what answers it names it.
    pub number: u64,
    /// What is said: language code of the protocol, and words. PHI.
    pub say: Vec<(String, String)>,
    /// What follows.
    pub then: Then,
}

impl Page {
    /// How long it takes at most until something comes of it, in milliseconds: its words, spoken slowly, and what follows.
    #[must_use]
    pub fn takes_ms(&self) -> u64 {
        let chars: u64 = self.say.iter().map(|(_, words)| words.chars().count() as u64).sum();
        let seconds = match &self.then {
            // Somebody may speak for as long as they like, up to the phone company's own limit.
            Then::Gather(ask) => ask.timeout_s.saturating_add(GATHER_MAX_S),
            Then::Listen { seconds } | Then::Wait { seconds } => *seconds,
            Then::DialNurse | Then::Redirect | Then::Hangup => 0,
        };
        chars * SLOW_MS_PER_CHAR + u64::from(seconds) * 1_000
    }
}

/// What follows the words of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// An answer is waited for; the words can be talked over or cut short by a key.
    Gather(Ask),
    /// The caller's voice is listened to for this long, or until a key ends it.
    Listen {
        /// Longest time in seconds.
        seconds: u32,
    },
    /// Nothing is said for a moment, then the next page is asked for.
    Wait {
        /// How long, in seconds.
        seconds: u32,
    },
    /// The nurse's line is called.
    DialNurse,
    /// The next page is asked for at once.
    Redirect,
    /// The call ends.
    Hangup,
}

/// How an answer is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// By voice.
    pub speech: bool,
    /// By keys.
    pub keys: bool,
    /// Number of keys that make the answer whole, where that is known.
    pub num_digits: Option<u32>,
    /// The key that makes it whole.
    pub finish_on_key: Option<char>,
    /// Silence before giving up, in seconds.
    pub timeout_s: u32,
    /// Pause that ends an answer by voice, in seconds.
    pub speech_timeout_s: u32,
    /// Language of the answer, as in the protocol.
    pub language: String,
    /// Words to be expected.
    pub hints: Vec<String>,
}

/// A page, and what belongs in the timeline for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The page.
    pub page: Page,
    /// What the patient did: their words, their keys.
    pub heard: Vec<TimelineKind>,
    /// What the page says, as an agent's reply.
    pub said: Option<TimelineKind>,
}

/// What the current page waits for.
#[derive(Debug, Clone, PartialEq)]
enum Awaiting {
    /// The answer to a step.
    Answer(StepKind),
    /// The rest of a number for help.
    RestOfNumber,
    /// Nothing: it only says something.
    Nothing,
    /// The prompt of a voice task was said.
    Prompted { window_ms: u64 },
    /// The patient uses their voice.
    Voice,
    /// The analysis.
    Analysis,
    /// The nurse.
    Nurse,
    /// The end.
    End,
}

/// The script of one call.
#[derive(Debug, Default)]
pub struct Script {
    current: Option<Page>,
    awaiting: Option<Awaiting>,
    waits: u32,
    /// First keys of a number for help, and when they came.
    dialling: (String, u64),
}

impl Script {
    /// A script that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the script has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.current.is_some()
    }

    /// Whether it has said goodbye.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.awaiting == Some(Awaiting::End)
    }

    /// The page after `page`, given what came of it; [`Heard::Begin`] has none and its number is 0. What answers another
    /// page than the current one changes nothing, and gets the current one.
    pub fn next(&mut self, visit: &mut Visit, now_ms: u64, page: u64, heard: Heard<'_>) -> Turn {
        let mut notes = Vec::new();
        let begins = matches!(heard, Heard::Begin);
        match &self.current {
            Some(current) if begins || page != current.number => return unchanged(current),
            Some(current) if self.is_done() => return unchanged(current),
            None if !begins => {} // Somebody lost the beginning; begin now, and take nothing for an answer.
            None => {}
            Some(current) => {
                let current = current.clone();
                if !self.hear(visit, now_ms, heard, &mut notes) {
                    return unchanged(&current);
                }
            }
        }
        let mut lines = Vec::new();
        // Whom to call comes before any explanation, and a goodbye needs none.
        let kind = visit.peek_step().kind;
        let explains = !matches!(kind, StepKind::Emergency { .. } | StepKind::Closing | StepKind::Neutral);
        if self.current.is_none() && explains {
            lines.push(visit.protocol_text(if visit.was_greeted() { "sorry_continue" } else { "greeting" }));
            lines.push(visit.protocol_text("script_intro"));
        }
        let (more, then, awaiting) = self.compose(visit);
        lines.extend(more);
        lines.retain(|(_, text)| !text.trim().is_empty());
        let number = self.current.as_ref().map_or(0, |page| page.number) + 1;
        let page = Page { number, say: lines, then };
        self.awaiting = Some(awaiting);
        self.current = Some(page.clone());
        let text = page.say.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
        let said = (!text.is_empty()).then(|| {
            visit.handle(now_ms, VisitInput::ScriptSaid(&text));
            TimelineKind::AgentResponse { text, event_id: None }
        });
        Turn { page, heard: notes, said }
    }

    /// Lets the visit know what came; false when it is nothing that this page could have brought about.
    fn hear(&mut self, visit: &mut Visit, now_ms: u64, heard: Heard<'_>, notes: &mut Vec<TimelineKind>) -> bool {
        match (self.awaiting.clone(), heard) {
            (Some(Awaiting::Answer(kind)), Heard::Speech { text, .. }) => {
                self.hear_words(visit, now_ms, &kind, text, notes);
            }
            (Some(Awaiting::Answer(kind)), Heard::Keys(keys)) => {
                self.hear_keys(visit, now_ms, &kind, &noted(keys, notes), "");
            }
            (Some(Awaiting::Answer(_)), Heard::Nothing) => visit.handle(now_ms, VisitInput::Silence),
            (Some(Awaiting::RestOfNumber), heard) => {
                let rest = if let Heard::Keys(keys) = heard { noted(keys, notes) } else { String::new() };
                let (first, at_ms) = std::mem::take(&mut self.dialling);
                let first = if now_ms.saturating_sub(at_ms) <= DIALLING_MS { first } else { String::new() };
                let kind = visit.peek_step().kind;
                self.hear_keys(visit, now_ms, &kind, &rest, &first);
            }
            (Some(Awaiting::Prompted { .. }), _) => visit.handle(now_ms, VisitInput::TaskBegins),
            (Some(Awaiting::Voice), heard) => {
                if let Heard::Keys(keys) = heard {
                    noted(keys, notes);
                }
                visit.handle(now_ms, VisitInput::TaskOver);
            }
            (Some(Awaiting::Nurse), Heard::NurseResult { answered: true }) => {}
            (Some(Awaiting::Nurse), _) => visit.handle(now_ms, VisitInput::TransferFailed),
            (Some(Awaiting::Analysis | Awaiting::Nothing), _) => {}
            _ => return false,
        }
        if matches!((&self.awaiting, heard), (Some(Awaiting::Nurse), Heard::NurseResult { answered: true })) {
            self.awaiting = Some(Awaiting::End);
        }
        true
    }

    fn hear_words(
        &mut self,
        visit: &mut Visit,
        now_ms: u64,
        kind: &StepKind,
        text: &str,
        notes: &mut Vec<TimelineKind>,
    ) {
        let text: String = text.chars().take(SPEECH_MAX_CHARS).collect();
        notes.push(TimelineKind::UserTranscript { text: text.clone() });
        visit.handle(now_ms, VisitInput::PatientSaid(&text));
        if visit.peek_step().kind != *kind {
            return;
        }
        let wanted = matches!(kind, StepKind::Emergency { .. }).then(|| visit.nurse_wanted(&text)).flatten();
        visit.handle(now_ms, wanted.map_or(VisitInput::Unclear, VisitInput::Nurse));
    }

    /// `first` are keys of the page before, which may be the beginning of a number for help.
    fn hear_keys(&mut self, visit: &mut Visit, now_ms: u64, kind: &StepKind, keys: &str, first: &str) {
        let joined = format!("{first}{keys}");
        let numbers = visit.numbers_for_help();
        let is_help = numbers.contains(&joined.as_str());
        let may_become = joined.len() == 1 && numbers.iter().any(|number| number.starts_with(&joined));
        if is_help {
            return visit.handle(now_ms, VisitInput::Keys(&joined));
        }
        let answers_by_one_key = match visit.peek_step().keys.map(|help| help.layout) {
            Some(clinic::visit::KeyLayout::Choice(most)) => {
                let chosen = keys.parse::<u8>().ok().filter(|_| keys.len() == 1);
                Some(chosen.is_some_and(|key| (1..=most).contains(&key)))
            }
            _ => None,
        };
        // A page that takes one key has to ask for the rest before "9" can be told from "911".
        if answers_by_one_key == Some(false) && may_become && first.is_empty() {
            self.dialling = (joined, now_ms);
            return;
        }
        match (kind, keys) {
            (StepKind::Emergency { .. }, "1" | "2") => visit.handle(now_ms, VisitInput::Nurse(keys == "1")),
            (StepKind::Emergency { .. }, _) => visit.handle(now_ms, VisitInput::Unclear),
            _ => {
                if !keys.is_empty() {
                    visit.handle(now_ms, VisitInput::Keys(keys));
                }
                if visit.peek_step().kind == *kind {
                    visit.handle(now_ms, VisitInput::Unclear);
                }
            }
        }
    }
}

/// The page again, with nothing to be written down for it.
fn unchanged(page: &Page) -> Turn {
    Turn { page: page.clone(), heard: Vec::new(), said: None }
}

/// The keys that count, each noted.
fn noted(keys: &str, notes: &mut Vec<TimelineKind>) -> String {
    let pressed = keys.chars().filter(|key| matches!(key, '0'..='9' | '*' | '#' | 'A'..='D')).take(KEYS_MAX);
    let pressed: String = pressed.collect();
    notes.extend(pressed.chars().map(|digit| TimelineKind::Dtmf { digit }));
    pressed.chars().filter(char::is_ascii_digit).collect()
}
