//! `heartvoice protocol`: checks a clinical protocol, and shows what patients are asked and in which words.

use crate::failure::{BAD_INPUT, Reported, bad_input};
use crate::output::{self, Format};
use clap::Subcommand;
use clinic::answers::Topic;
use clinic::protocol::{
    FALLBACK_LANGUAGE, Fault, Item, ItemKind, KEY_TEXTS, Language, LanguageStatus, Protocol, TEXTS,
};
use clinic::tools::VoiceTask;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most that is read of a file. The protocol itself refuses less than this, and says so.
const READ_MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks a protocol file
    ///
    /// Prints what the file holds and which translations are not clinically reviewed. Every fault is printed on a line
    /// of its own as FILE:LINE: reason, and the exit code is 2.
    #[command(after_help = "Example:\n  heartvoice protocol check my-protocol.toml")]
    Check {
        /// The protocol in TOML
        file: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Shows steps, texts and languages of a protocol
    #[command(after_help = "Example:\n  heartvoice protocol show --language es")]
    Show {
        /// The protocol in TOML; the built-in one when it is left out
        file: Option<PathBuf>,
        /// Language of the texts, such as en, es or pt-br
        #[arg(long, value_name = "CODE")]
        language: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check { file, format } => check(file, *format),
        Command::Show { file, language, format } => {
            let protocol = match file {
                Some(file) => load(file)?.map_err(|faults| complain(file, &faults))?,
                None => Protocol::clone(&Protocol::shipped()),
            };
            show(&protocol, language.as_deref(), *format)
        }
    }
}

/// Reads a protocol file: the protocol, or everything that is wrong with it. An error means that there is nothing to
/// read.
pub(crate) fn load(path: &Path) -> anyhow::Result<Result<Protocol, Vec<Fault>>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(READ_MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| bad_input(format!("cannot read the protocol {}: {error}", path.display())))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length >= READ_MAX_BYTES) {
        return Ok(Err(vec![Fault { line: 1, reason: "the file is too long to be a protocol".to_owned() }]));
    }
    Ok(match String::from_utf8(bytes) {
        // Some editors begin a file with a mark of its encoding, which TOML does not know.
        Ok(text) => Protocol::parse(text.strip_prefix('\u{feff}').unwrap_or(&text)),
        Err(error) => {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count() + 1;
            Err(vec![Fault { line, reason: "not UTF-8 text; save the file with that encoding".to_owned() }])
        }
    })
}

/// Prints the faults of a file, one per line, and gives the error that ends the program.
pub(crate) fn complain(path: &Path, faults: &[Fault]) -> anyhow::Error {
    for fault in faults {
        // A reason of several lines would look like several faults.
        let reason = fault.reason.split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("{}:{}: {reason}", path.display(), fault.line);
    }
    Reported(BAD_INPUT).into()
}

fn check(path: &Path, format: Format) -> anyhow::Result<()> {
    let protocol = match load(path)? {
        Ok(protocol) => protocol,
        Err(faults) => {
            if format == Format::Json {
                let listed: Vec<Value> =
                    faults.iter().map(|fault| json!({"line": fault.line, "reason": fault.reason})).collect();
                output::json(&json!({"ok": false, "faults": listed}))?;
            }
            return Err(complain(path, &faults));
        }
    };
    if format == Format::Json {
        let languages: Vec<Value> =
            protocol.languages.iter().map(|(code, language)| describe(code, language)).collect();
        return output::json(&json!({
            "ok": true,
            "name": protocol.name,
            "version": protocol.version,
            "items": protocol.items.iter().map(|item| &item.id).collect::<Vec<_>>(),
            "languages": languages,
        }));
    }
    let ids: Vec<&str> = protocol.items.iter().map(|item| item.id.as_str()).collect();
    output::line(&format!("OK {} {}", protocol.name, protocol.version))?;
    output::line(&format!("{} items: {}", ids.len(), ids.join(", ")))?;
    output::line(&format!("{} languages:", protocol.languages.len()))?;
    print_languages(&protocol)
}

fn show(protocol: &Protocol, language: Option<&str>, format: Format) -> anyhow::Result<()> {
    let chosen = language.map(|code| find_language(protocol, code)).transpose()?;
    if format == Format::Json {
        return output::json(&protocol_json(protocol, chosen));
    }
    let code = chosen.unwrap_or(FALLBACK_LANGUAGE);
    output::line(&format!("{} {}\n", protocol.name, protocol.version))?;
    let steps = protocol.items.iter().map(|item| {
        let words = protocol.prompt(code, &item.id).to_owned();
        [item.id.clone(), about(item).to_owned(), asked(item), item.retries.to_string(), words]
    });
    output::table(["step", "about", "asked", "again", "words"], steps.collect())?;
    output::line("")?;
    if chosen.is_some() {
        let texts =
            TEXTS.iter().map(|name| [*name, protocol.raw_text(code, name).unwrap_or("-")].map(ToOwned::to_owned));
        output::table(["text", "words"], texts.collect())?;
        output::line("")?;
        let keys = keyed(protocol).map(|name| [name, protocol.raw_key_words(code, name).unwrap_or("-")]);
        output::table(["keys for", "words"], keys.map(|row| row.map(ToOwned::to_owned)).collect())?;
        output::line("")?;
    }
    print_languages(protocol)
}

/// What there may be words about keys for.
fn keyed(protocol: &Protocol) -> impl Iterator<Item = &str> {
    let items = protocol.items.iter().filter(|item| item.topic().is_some_and(|topic| topic != Topic::Text));
    items.map(|item| item.id.as_str()).chain(KEY_TEXTS)
}

/// The whole protocol, with the texts of one language or of all.
fn protocol_json(protocol: &Protocol, chosen: Option<&str>) -> Value {
    let languages = protocol.languages.iter().filter(|(code, _)| chosen.is_none_or(|chosen| chosen == *code));
    let languages = languages.map(|(code, language)| {
        let say: BTreeMap<&str, Option<&str>> =
            TEXTS.iter().map(|name| (*name, protocol.raw_text(code, name))).collect();
        let items: BTreeMap<&str, &str> =
            protocol.items.iter().map(|item| (item.id.as_str(), protocol.prompt(code, &item.id))).collect();
        let mut described = describe(code, language);
        if let Some(object) = described.as_object_mut() {
            object.insert("say".to_owned(), json!(say));
            object.insert("items".to_owned(), json!(items));
            let keys: BTreeMap<&str, Option<&str>> =
                keyed(protocol).map(|name| (name, protocol.raw_key_words(code, name))).collect();
            object.insert("keys".to_owned(), json!(keys));
        }
        described
    });
    json!({
        "name": protocol.name,
        "version": protocol.version,
        "emergency_number": protocol.emergency_number,
        "crisis_number": protocol.crisis_number,
        "items": protocol.items.iter().map(item_json).collect::<Vec<_>>(),
        "red_flags": protocol.red_flags.iter().map(|rule| {
            json!({"code": rule.code, "language": rule.language, "phrases": rule.phrases})
        }).collect::<Vec<_>>(),
        "languages": languages.collect::<Vec<_>>(),
    })
}

/// The code of a language as it stands in the protocol: the one asked for, or its base (`pt` for `pt-br`).
fn find_language<'a>(protocol: &'a Protocol, code: &str) -> anyhow::Result<&'a str> {
    let asked = code.to_ascii_lowercase();
    let base = asked.split('-').next().unwrap_or(&asked);
    let found = [asked.as_str(), base].into_iter().find_map(|code| protocol.languages.get_key_value(code));
    match found {
        Some((code, _)) => Ok(code),
        None => {
            let known: Vec<&str> = protocol.languages.keys().map(String::as_str).collect();
            Err(bad_input(format!("--language {code}: the protocol has no such language; it has {}", known.join(", "))))
        }
    }
}

fn print_languages(protocol: &Protocol) -> anyhow::Result<()> {
    let rows = protocol.languages.iter().map(|(code, language)| {
        let review = match &language.reviewed {
            Some((by, on)) => format!("reviewed by {by} on {on}"),
            None => language.mark().unwrap_or("-").to_owned(),
        };
        [code.clone(), language.name.clone(), status(language).to_owned(), review]
    });
    output::table(["language", "name", "status", "review"], rows.collect())
}

fn describe(code: &str, language: &Language) -> Value {
    json!({
        "code": code,
        "name": language.name,
        "status": status(language),
        "reviewed_by": language.reviewed.as_ref().map(|(by, _)| by),
        "reviewed_on": language.reviewed.as_ref().map(|(_, on)| on.to_string()),
        "mark": language.mark(),
    })
}

fn status(language: &Language) -> &'static str {
    match language.status {
        LanguageStatus::Complete => "complete",
        LanguageStatus::Draft => "draft",
    }
}

fn item_json(item: &Item) -> Value {
    let (kind, minimum, maximum, window_s, minimum_quality) = match item.kind {
        ItemKind::Open { .. } => ("open", None, None, None, None),
        ItemKind::Question { range, .. } => ("question", range.map(|r| r.0), range.map(|r| r.1), None, None),
        ItemKind::Task { window_ms, needs_usable, .. } => {
            ("task", None, None, Some(window_ms / 1_000), Some(if needs_usable { "usable" } else { "any" }))
        }
    };
    let flags = item.red_flags.iter().map(|rule| json!({"when": rule.when, "code": rule.code}));
    json!({
        "id": item.id,
        "kind": kind,
        "topic": item.topic().map(Topic::as_str),
        "minimum": minimum,
        "maximum": maximum,
        "task": item.task().map(VoiceTask::as_str),
        "window_s": window_s,
        "minimum_quality": minimum_quality,
        "retries": item.retries,
        "follows": item.follows.as_ref().map(|condition| &condition.item),
        "when": item.follows.as_ref().map(|condition| &condition.when),
        "red_flags": flags.collect::<Vec<_>>(),
    })
}

/// What an item asks for, in a word.
fn about(item: &Item) -> &'static str {
    item.topic().map(Topic::as_str).or_else(|| item.task().map(VoiceTask::as_str)).unwrap_or("-")
}

/// When an item is asked.
fn asked(item: &Item) -> String {
    match &item.follows {
        None => "always".to_owned(),
        Some(condition) => format!("{} = {}", condition.item, condition.when.join(" | ")),
    }
}
