//! What of a protocol the agent has to know.

use super::{AgentText, ItemText};
use crate::protocol::{FALLBACK_LANGUAGE, LanguageStatus, Protocol, values_of};
use std::collections::BTreeMap;

/// How a text says whom it is for; the service puts the name in at the beginning of a conversation.
const NAME_VARIABLE: &str = "{{patient_name}}";
/// Phrases of a site that are shown for a red flag of its own.
const MAX_PHRASES: usize = 6;

/// Emergencies the agent is told to look out for, and how they are described.
const EMERGENCIES: [(&str, &str); 8] = [
    ("chest_pain", "pain, pressure or tightness in the chest"),
    ("breathless_at_rest", "struggling for breath at rest, or cannot finish a sentence"),
    ("fainting", "fainted or lost consciousness, or nearly did"),
    ("confusion", "suddenly confused, does not know where they are"),
    ("blue_lips", "blue or grey lips or fingers"),
    ("stroke_signs", "a drooping face, a weak arm or leg, sudden trouble speaking or seeing"),
    ("pink_sputum", "coughing up pink foam or blood"),
    ("self_harm", "wants to die or to hurt themselves"),
];

/// Words that are often misheard on the telephone.
const KEYWORDS: [&str; 16] = [
    "furosemide",
    "torsemide",
    "bumetanide",
    "spironolactone",
    "eplerenone",
    "sacubitril",
    "valsartan",
    "lisinopril",
    "metoprolol",
    "carvedilol",
    "bisoprolol",
    "dapagliflozin",
    "empagliflozin",
    "digoxin",
    "Lasix",
    "Entresto",
];

impl AgentText {
    /// The protocol as the agent has to know it.
    #[must_use]
    pub fn from_protocol(protocol: &Protocol) -> Self {
        let others = protocol.languages.keys().filter(|code| *code != FALLBACK_LANGUAGE);
        let languages: Vec<String> = std::iter::once(FALLBACK_LANGUAGE.to_owned()).chain(others.cloned()).collect();
        let complete = |code: &&String| {
            protocol.languages.get(*code).is_some_and(|language| language.status == LanguageStatus::Complete)
        };
        let texts = |name: &str| -> BTreeMap<String, String> {
            let text = |code: &String| (code.clone(), protocol.text(code, name, NAME_VARIABLE));
            languages.iter().map(text).collect()
        };
        let items = protocol.items.iter().map(|item| ItemText {
            id: item.id.clone(),
            topic: item.topic(),
            task: item.task(),
            prompts: languages.iter().map(|code| (code.clone(), protocol.prompt(code, &item.id).to_owned())).collect(),
            choices: item
                .topic()
                .map_or(&[][..], |topic| if topic.is_yes_no() { &[] } else { values_of(topic) })
                .iter()
                .map(|choice| (*choice).to_owned())
                .collect(),
        });
        Self {
            name: protocol.name.clone(),
            version: protocol.version.clone(),
            items: items.collect(),
            // In one breath: a patient who hears a greeting and then nothing says hello, and has to be asked anyway.
            greeting: texts("greeting")
                .into_iter()
                .zip(texts("identify").into_values())
                .map(|((code, greeting), identify)| (code, format!("{greeting} {identify}")))
                .collect(),
            closing: texts("closing"),
            voicemail: texts("voicemail"),
            // Thanks, and that there will be another call.
            time_over: texts("wrong_person"),
            prompt_languages: languages.iter().filter(complete).cloned().collect(),
            languages,
            red_flags: red_flags(protocol),
            keywords: KEYWORDS.map(str::to_owned).into(),
        }
    }
}

/// The emergencies everybody has, then those of the site, by its own phrases.
fn red_flags(protocol: &Protocol) -> Vec<(String, String)> {
    let mut known: Vec<(String, String)> =
        EMERGENCIES.iter().map(|(code, meaning)| ((*code).to_owned(), (*meaning).to_owned())).collect();
    for rule in &protocol.red_flags {
        if known.iter().all(|(code, _)| *code != rule.code) {
            let phrases: Vec<&str> = rule.phrases.iter().take(MAX_PHRASES).map(String::as_str).collect();
            known.push((rule.code.clone(), phrases.join("; ")));
        }
    }
    known
}
