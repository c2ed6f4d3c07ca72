//! Reading a protocol file: the form by TOML, the meaning by the checks below.

use super::fault::{Fault, Faults};
use super::{
    AnswerRule, Condition, FALLBACK_LANGUAGE, Item, ItemKind, KEY_TEXTS, Language, LanguageStatus, NEUTRAL_TEXTS,
    Protocol, TEXTS, languages, values_of,
};
use crate::answers::Topic;
use crate::red_flags::{ExtraRule, MAX_EXTRA_PHRASES, MAX_EXTRA_RULES};
use crate::tools::VoiceTask;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// Longest file, item list, text, and so on: a protocol is written by people.
const FILE_MAX_BYTES: usize = 512 * 1024;
const ITEMS_MAX: usize = 64;
const TEXT_MAX_CHARS: usize = 600;
const RETRIES_MAX: u32 = 3;
const WINDOW_S: std::ops::RangeInclusive<u32> = 3..=120;

/// Variables a text cannot do without: who is told of an emergency must hear the number to call.
const NEEDED_VARIABLES: [(&str, &str); 3] =
    [("red_flag", "{emergency_number}"), ("self_harm", "{crisis_number}"), ("closing", "{emergency_number}")];

/// The variable for the unit in which a patient keys in a weight.
const WEIGHT_UNIT: &str = "{weight_unit}";

/// Words that tell an illness, and so must not be heard before the patient is identified.
pub(crate) const TELLING_WORDS: [&str; 21] = [
    "heart",
    "cardi",
    "corazón",
    "corazon",
    "cœur",
    "herz",
    "coração",
    "breath",
    "swelling",
    "medic",
    "weight",
    "сердц",
    "coeur",
    "tim mạch",
    "đau tim",
    "心脏",
    "心臟",
    "心衰",
    "قلب",
    "हृदय",
    "심장",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    protocol: Head,
    #[serde(default)]
    item: Vec<RawItem>,
    #[serde(default)]
    red_flag: Vec<RawPhrases>,
    #[serde(default)]
    language: BTreeMap<Spanned<String>, RawLanguage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: Spanned<String>,
    version: Spanned<String>,
    emergency_number: Spanned<String>,
    crisis_number: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItem {
    id: Spanned<String>,
    kind: Spanned<String>,
    topic: Option<Spanned<String>>,
    minimum: Option<Spanned<f64>>,
    maximum: Option<Spanned<f64>>,
    task: Option<Spanned<String>>,
    window_s: Option<Spanned<u32>>,
    minimum_quality: Option<Spanned<String>>,
    retries: Option<Spanned<u32>>,
    follows: Option<Spanned<String>>,
    when: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    red_flags: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    when: Vec<Spanned<String>>,
    code: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPhrases {
    code: Spanned<String>,
    language: Spanned<String>,
    phrases: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLanguage {
    name: Spanned<String>,
    status: Spanned<String>,
    reviewed_by: Option<Spanned<String>>,
    reviewed_on: Option<Spanned<String>>,
    #[serde(default)]
    say: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    items: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// Where a value stands in the file.
fn at<T>(value: &Spanned<T>) -> usize {
    value.span().start
}

pub(super) fn read(text: &str) -> Result<Protocol, Vec<Fault>> {
    let mut faults = Faults::new(text);
    if text.len() > FILE_MAX_BYTES {
        faults.at(0, format!("the file is longer than {FILE_MAX_BYTES} bytes"));
        return Err(faults.done().unwrap_or_default());
    }
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            faults.at(error.span().map_or(0, |span| span.start), error.message().trim().to_owned());
            return Err(faults.done().unwrap_or_default());
        }
    };
    let head = &file.protocol;
    for (field, value) in [("name", &head.name), ("version", &head.version)] {
        check_id(&mut faults, field, value, 64);
    }
    for (field, value) in [("emergency_number", &head.emergency_number), ("crisis_number", &head.crisis_number)] {
        let number = value.get_ref();
        if number.is_empty() || number.len() > 15 || !number.bytes().all(|b| b.is_ascii_digit()) {
            faults.at(at(value), format!("{field}: expected 1 to 15 digits"));
        }
    }
    let items = read_items(&mut faults, &file.item);
    let red_flags = file.red_flag.iter().map(|raw| read_phrases(&mut faults, raw)).collect();
    if let Some(raw) = file.red_flag.get(MAX_EXTRA_RULES) {
        faults.at(at(&raw.code), format!("[[red_flag]]: at most {MAX_EXTRA_RULES} tables are listened to"));
    }
    let mut spoken = BTreeMap::new();
    for (code, raw) in &file.language {
        let language = read_language(&mut faults, code, raw, &file.item);
        spoken.insert(code.get_ref().clone(), language);
    }
    if !spoken.contains_key(FALLBACK_LANGUAGE) {
        faults.near(
            "[language",
            format!("[language.{FALLBACK_LANGUAGE}] is missing: it is spoken when another is not there"),
        );
    }
    match faults.done() {
        Some(found) => Err(found),
        None => Ok(Protocol {
            name: head.name.get_ref().clone(),
            version: head.version.get_ref().clone(),
            emergency_number: head.emergency_number.get_ref().clone(),
            crisis_number: head.crisis_number.get_ref().clone(),
            items,
            red_flags,
            languages: spoken,
        }),
    }
}

fn check_id(faults: &mut Faults<'_>, field: &str, value: &Spanned<String>, most: usize) {
    let text = value.get_ref();
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    if text.is_empty() || text.len() > most || !text.bytes().all(fits) {
        let reason = format!("{field}: expected 1 to {most} lower-case letters, digits, '_', '-' or '.'");
        faults.at(at(value), reason);
    }
}

fn read_items(faults: &mut Faults<'_>, raw: &[RawItem]) -> Vec<Item> {
    if raw.is_empty() || raw.len() > ITEMS_MAX {
        faults.near("[[item]]", format!("expected 1 to {ITEMS_MAX} items, found {}", raw.len()));
    }
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut items: Vec<Item> = Vec::new();
    for raw in raw {
        check_id(faults, "id", &raw.id, 40);
        if KEY_TEXTS.contains(&raw.id.get_ref().as_str()) {
            let reason = format!("id: {:?} is the name of a text about keys", raw.id.get_ref());
            faults.at(at(&raw.id), reason);
        }
        if !known.insert(raw.id.get_ref()) {
            faults.at(at(&raw.id), format!("id: {:?} is used twice", raw.id.get_ref()));
        }
        let Some(kind) = read_kind(faults, raw) else { continue };
        let retries = raw.retries.as_ref().map_or(1, |retries| *retries.get_ref());
        if let Some(value) = raw.retries.as_ref().filter(|_| retries > RETRIES_MAX) {
            faults.at(at(value), format!("retries: at most {RETRIES_MAX}, because a patient is not to be pestered"));
        }
        let follows = read_condition(faults, raw, &items);
        let topic = match kind {
            ItemKind::Open { topic } | ItemKind::Question { topic, .. } => Some(topic),
            ItemKind::Task { .. } => None,
        };
        let red_flags = raw.red_flags.iter().map(|rule| {
            check_id(faults, "code", &rule.code, 40);
            check_values(faults, &rule.when, topic);
            let when = rule.when.iter().map(|value| value.get_ref().clone()).collect();
            AnswerRule { when, code: rule.code.get_ref().clone() }
        });
        let red_flags = red_flags.collect();
        items.push(Item { id: raw.id.get_ref().clone(), kind, retries, follows, red_flags });
    }
    items
}

fn read_kind(faults: &mut Faults<'_>, raw: &RawItem) -> Option<ItemKind> {
    let kind = raw.kind.get_ref().as_str();
    let is_task = kind == "task";
    if !matches!(kind, "open" | "question" | "task") {
        faults.at(at(&raw.kind), format!("kind: {kind:?} is unknown; expected open, question or task"));
        return None;
    }
    let misplaced: [(&str, Option<usize>, bool); 6] = [
        ("topic", raw.topic.as_ref().map(at), is_task),
        ("minimum", raw.minimum.as_ref().map(at), is_task),
        ("maximum", raw.maximum.as_ref().map(at), is_task),
        ("task", raw.task.as_ref().map(at), !is_task),
        ("window_s", raw.window_s.as_ref().map(at), !is_task),
        ("minimum_quality", raw.minimum_quality.as_ref().map(at), !is_task),
    ];
    for (field, place, wrong) in misplaced {
        if let Some(place) = place.filter(|_| wrong) {
            faults.at(place, format!("{field}: does not belong to an item of kind {kind}"));
        }
    }
    if is_task {
        return read_task(faults, raw);
    }
    let Some(topic) = &raw.topic else {
        faults.at(at(&raw.id), format!("item {:?}: topic is missing", raw.id.get_ref()));
        return None;
    };
    let Some(known) = Topic::parse(topic.get_ref()) else {
        let names: Vec<&str> = Topic::ALL.into_iter().map(Topic::as_str).collect();
        faults.at(at(topic), format!("topic: {:?} is unknown; expected one of {}", topic.get_ref(), names.join(", ")));
        return None;
    };
    if kind == "open" {
        return Some(ItemKind::Open { topic: known });
    }
    let range = match (&raw.minimum, &raw.maximum) {
        (Some(low), Some(high)) if known == Topic::Number => {
            let (smallest, largest) = (*low.get_ref(), *high.get_ref());
            if !(smallest.is_finite() && largest.is_finite() && smallest < largest) {
                faults.at(at(low), "minimum: expected a number below maximum");
            }
            Some((smallest, largest))
        }
        (None, None) if known != Topic::Number => None,
        (None, None) | (Some(_), None) | (None, Some(_)) if known == Topic::Number => {
            faults.at(at(topic), "topic: number needs minimum and maximum");
            None
        }
        (low, high) => {
            let place = low.as_ref().or(high.as_ref()).map_or(0, at);
            faults.at(place, "minimum and maximum belong to the topic number only");
            None
        }
    };
    Some(ItemKind::Question { topic: known, range })
}

fn read_task(faults: &mut Faults<'_>, raw: &RawItem) -> Option<ItemKind> {
    let Some(name) = &raw.task else {
        faults.at(at(&raw.id), format!("item {:?}: task is missing", raw.id.get_ref()));
        return None;
    };
    let Some(task) = VoiceTask::parse(name.get_ref()) else {
        let reason = format!("task: {:?} is unknown; expected speech, counting or sustained-vowel", name.get_ref());
        faults.at(at(name), reason);
        return None;
    };
    let window_s = raw.window_s.as_ref().map_or(60, |window| *window.get_ref());
    if let Some(window) = raw.window_s.as_ref().filter(|_| !WINDOW_S.contains(&window_s)) {
        faults.at(at(window), format!("window_s: expected {} to {} seconds", WINDOW_S.start(), WINDOW_S.end()));
    }
    let needs_usable = match raw.minimum_quality.as_ref().map(|quality| (quality, quality.get_ref().as_str())) {
        None | Some((_, "usable")) => true,
        Some((_, "any")) => false,
        Some((quality, other)) => {
            faults.at(at(quality), format!("minimum_quality: {other:?} is unknown; expected usable or any"));
            true
        }
    };
    Some(ItemKind::Task { task, window_ms: u64::from(window_s) * 1_000, needs_usable })
}

fn read_condition(faults: &mut Faults<'_>, raw: &RawItem, before: &[Item]) -> Option<Condition> {
    match (&raw.follows, &raw.when) {
        (None, None) => None,
        (None, Some(when)) => {
            faults.at(when.first().map_or_else(|| at(&raw.id), at), "when: needs follows");
            None
        }
        (Some(follows), None) => {
            faults.at(at(follows), "follows: needs when, the answers after which this is asked");
            None
        }
        (Some(follows), Some(when)) => {
            let Some(item) = before.iter().find(|item| item.id == *follows.get_ref()) else {
                faults.at(at(follows), format!("follows: there is no item {:?} before this one", follows.get_ref()));
                return None;
            };
            check_values(faults, when, item.topic());
            let when = when.iter().map(|value| value.get_ref().clone()).collect();
            Some(Condition { item: follows.get_ref().clone(), when })
        }
    }
}

/// Values named in a rule must be possible answers.
fn check_values(faults: &mut Faults<'_>, when: &[Spanned<String>], topic: Option<Topic>) {
    let possible = topic.map(values_of).unwrap_or_default();
    for value in when {
        if !possible.contains(&value.get_ref().as_str()) {
            let expected = if possible.is_empty() {
                "answers of this item have no names that a rule could use".to_owned()
            } else {
                format!("expected one of {}", possible.join(", "))
            };
            faults.at(at(value), format!("when: {:?} is no answer of this item; {expected}", value.get_ref()));
        }
    }
}

fn read_phrases(faults: &mut Faults<'_>, raw: &RawPhrases) -> ExtraRule {
    check_id(faults, "code", &raw.code, 40);
    if !languages::is_agent_language(raw.language.get_ref()) {
        faults.at(at(&raw.language), format!("language: {:?} is no language of the agent", raw.language.get_ref()));
    }
    if raw.phrases.is_empty() || raw.phrases.len() > MAX_EXTRA_PHRASES {
        faults.at(
            at(&raw.code),
            format!("phrases: expected 1 to {MAX_EXTRA_PHRASES}; use another [[red_flag]] for more"),
        );
    }
    for phrase in &raw.phrases {
        if !(3..=120).contains(&phrase.get_ref().trim().chars().count()) {
            faults.at(at(phrase), "phrases: expected 3 to 120 characters each");
        }
    }
    ExtraRule {
        code: raw.code.get_ref().clone(),
        language: raw.language.get_ref().clone(),
        phrases: raw.phrases.iter().map(|phrase| phrase.get_ref().clone()).collect(),
    }
}

fn read_language(faults: &mut Faults<'_>, code: &Spanned<String>, raw: &RawLanguage, items: &[RawItem]) -> Language {
    let name = code.get_ref();
    if !languages::is_agent_language(name) {
        faults.at(at(code), format!("language.{name}: no language of the agent"));
    }
    let status = match raw.status.get_ref().as_str() {
        "complete" => LanguageStatus::Complete,
        "draft" => LanguageStatus::Draft,
        other => {
            faults.at(at(&raw.status), format!("status: {other:?} is unknown; expected complete or draft"));
            LanguageStatus::Draft
        }
    };
    let reviewed = match (&raw.reviewed_by, &raw.reviewed_on) {
        (Some(by), Some(on)) => match on.get_ref().parse() {
            Ok(date) => Some((by.get_ref().clone(), date)),
            Err(_) => {
                faults.at(at(on), "reviewed_on: expected a date such as 2026-03-01");
                None
            }
        },
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            faults.at(at(one), "reviewed_by and reviewed_on belong together");
            None
        }
    };
    let say = read_texts(faults, code, "say", &raw.say, TEXTS.into_iter(), true);
    // Also of an item that could not be read: its translations are not at fault.
    let ids = items.iter().map(|item| item.id.get_ref().as_str());
    let prompts = read_texts(faults, code, "items", &raw.items, ids, true);
    // A draft may do without: keys count all the same, only nobody says so.
    let keyed =
        KEY_TEXTS.into_iter().chain(items.iter().filter(|item| by_keys(item)).map(|item| item.id.get_ref().as_str()));
    let keys = read_texts(faults, code, "keys", &raw.keys, keyed, status == LanguageStatus::Complete);
    for (name, variable) in NEEDED_VARIABLES {
        let silent = raw.say.iter().find(|(key, text)| key.get_ref() == name && !text.get_ref().contains(variable));
        if let Some((_, text)) = silent {
            faults.at(at(text), format!("{name}: has to name {variable}"));
        }
    }
    for (name, text) in &raw.keys {
        let weighs =
            items.iter().any(|item| item.id.get_ref() == name.get_ref() && topic_of(item) == Some(Topic::Weight));
        if weighs && !text.get_ref().contains(WEIGHT_UNIT) {
            faults.at(at(text), format!("{}: has to name {WEIGHT_UNIT}", name.get_ref()));
        }
    }
    for name in NEUTRAL_TEXTS {
        let telling = raw.say.iter().find(|(key, text)| {
            let lower = text.get_ref().to_lowercase();
            key.get_ref() == name && TELLING_WORDS.iter().any(|word| lower.contains(word))
        });
        if let Some((_, text)) = telling {
            let reason = format!("{name}: is heard before the patient is identified and must not tell of an illness");
            faults.at(at(text), reason);
        }
    }
    Language { name: raw.name.get_ref().clone(), status, reviewed, say, items: prompts, keys }
}

/// What an item is about, as far as the file can be read.
fn topic_of(item: &RawItem) -> Option<Topic> {
    Topic::parse(item.topic.as_ref()?.get_ref())
}

/// Whether an item can be answered by keys.
fn by_keys(item: &RawItem) -> bool {
    topic_of(item).is_some_and(|topic| topic != Topic::Text)
}

/// Texts by name: every known one where all are needed, and no other.
fn read_texts<'a>(
    faults: &mut Faults<'_>,
    language: &Spanned<String>,
    table: &str,
    raw: &BTreeMap<Spanned<String>, Spanned<String>>,
    known: impl Iterator<Item = &'a str>,
    all_needed: bool,
) -> BTreeMap<String, String> {
    let code = language.get_ref();
    let mut texts = BTreeMap::new();
    for (name, text) in raw {
        let written = text.get_ref().trim();
        if written.is_empty() || written.chars().count() > TEXT_MAX_CHARS {
            faults.at(at(text), format!("{}: expected 1 to {TEXT_MAX_CHARS} characters", name.get_ref()));
        }
        let mut rest = written;
        while let Some(begin) = rest.find('{') {
            rest = rest.get(begin..).unwrap_or_default();
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            let variable = rest.get(..end).unwrap_or_default();
            let fits = if table == "keys" {
                variable == WEIGHT_UNIT
            } else {
                matches!(variable, "{patient_name}" | "{emergency_number}" | "{crisis_number}")
            };
            if !fits {
                faults.at(at(text), format!("{}: the variable {variable} is unknown", name.get_ref()));
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        texts.insert(name.get_ref().clone(), written.to_owned());
    }
    let known: BTreeSet<&str> = known.collect();
    for name in known.iter().filter(|_| all_needed) {
        if !texts.contains_key(*name) {
            faults.at(at(language), format!("language.{code}.{table}: the translation of {name:?} is missing"));
        }
    }
    for name in raw.keys().filter(|name| !known.contains(name.get_ref().as_str())) {
        faults.at(at(name), format!("language.{code}.{table}: nothing is called {:?}", name.get_ref()));
    }
    texts
}
