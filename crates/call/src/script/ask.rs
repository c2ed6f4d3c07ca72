//! What a page says and how it asks, for each step of a visit.

use super::{Ask, Awaiting, Script, Then, WAITS_MAX};
use clinic::answers::Topic;
use clinic::visit::{KeyLayout, NextStep, StepKind, Visit};

/// Silence before a question counts as unanswered, in seconds: old patients think before they speak.
const QUESTION_TIMEOUT_S: u32 = 7;
/// The same for a date of birth or a PIN, which has to be found or looked for on the keys.
const IDENTITY_TIMEOUT_S: u32 = 10;
/// Silence after which a number for help that was begun is not being dialled.
const HELP_TIMEOUT_S: u32 = 3;
/// Pause that ends an answer by voice, in seconds.
const SPEECH_TIMEOUT_S: u32 = 2;

type Composed = (Vec<(String, String)>, Then, Awaiting);

impl Script {
    /// The words of the next page, what follows them, and what is waited for.
    pub(super) fn compose(&mut self, visit: &mut Visit) -> Composed {
        if self.awaiting == Some(Awaiting::End) {
            return (Vec::new(), Then::Hangup, Awaiting::End);
        }
        if let Some(Awaiting::Prompted { window_ms }) = self.awaiting
            && visit.is_listening()
        {
            let seconds = u32::try_from(window_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
            self.waits = 0;
            return (Vec::new(), Then::Listen { seconds }, Awaiting::Voice);
        }
        let listened = matches!(self.awaiting, Some(Awaiting::Voice | Awaiting::Analysis));
        if listened && visit.awaits_result() && self.waits < WAITS_MAX {
            self.waits += 1;
            return (Vec::new(), Then::Wait { seconds: 1 }, Awaiting::Analysis);
        }
        if !self.dialling.0.is_empty() {
            let ask = Ask { num_digits: Some(2), timeout_s: HELP_TIMEOUT_S, ..ask(&visit.peek_step(), false) };
            return (Vec::new(), Then::Gather(ask), Awaiting::RestOfNumber);
        }
        if visit.wants_nurse() {
            return (vec![visit.protocol_text("transfer")], Then::DialNurse, Awaiting::Nurse);
        }
        let step = visit.next_step();
        let mut say = vec![(step.language.clone(), step.say.clone())];
        let (then, awaiting) = match &step.kind {
            StepKind::Closing | StepKind::Neutral => (Then::Hangup, Awaiting::End),
            StepKind::Emergency { offers_nurse: false } => (Then::Redirect, Awaiting::Nothing),
            StepKind::Task { window_ms, .. } => {
                say.push((step.language.clone(), visit.task_key_words()));
                (Then::Redirect, Awaiting::Prompted { window_ms: *window_ms })
            }
            StepKind::Identify | StepKind::Consent | StepKind::Item { .. } | StepKind::Emergency { .. } => {
                if let Some(keys) = &step.keys {
                    say.push((step.language.clone(), keys.say.clone()));
                }
                (Then::Gather(ask(&step, true)), Awaiting::Answer(step.kind.clone()))
            }
        };
        (say, then, awaiting)
    }
}

/// How the answer to a step is taken.
fn ask(step: &NextStep, speech: bool) -> Ask {
    let layout = step.keys.as_ref().map(|keys| keys.layout);
    let (num_digits, finish_on_key) = match layout {
        Some(KeyLayout::Choice(_)) => (Some(1), None),
        Some(KeyLayout::Number { digits }) => (Some(u32::from(digits)), Some('#')),
        // A number for help can be dialled at any question.
        Some(KeyLayout::Identity) | None => (None, Some('#')),
    };
    let identity = matches!(step.kind, StepKind::Identify);
    Ask {
        speech,
        keys: true,
        num_digits,
        finish_on_key,
        timeout_s: if identity { IDENTITY_TIMEOUT_S } else { QUESTION_TIMEOUT_S },
        speech_timeout_s: SPEECH_TIMEOUT_S,
        language: step.language.clone(),
        hints: hints(step),
    }
}

/// Short words that recognisers like to miss, where we know them in the language.
fn hints(step: &NextStep) -> Vec<String> {
    let base = step.language.split('-').next().unwrap_or_default();
    let (yes_no, units): (&[&str], &[&str]) = match base {
        "en" => (&["yes", "no"], &["pounds", "kilos"]),
        "es" => (&["sí", "no"], &["libras", "kilos"]),
        "fr" => (&["oui", "non"], &["livres", "kilos"]),
        "de" => (&["ja", "nein"], &["Pfund", "Kilo"]),
        "pt" => (&["sim", "não"], &["libras", "quilos"]),
        _ => (&[], &[]),
    };
    let words = match &step.kind {
        StepKind::Item { topic: Topic::Weight, .. } => units,
        StepKind::Consent | StepKind::Emergency { .. } => yes_no,
        StepKind::Item { topic, .. } if topic.is_yes_no() => yes_no,
        _ => &[],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}
