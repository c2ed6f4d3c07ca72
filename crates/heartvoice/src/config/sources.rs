//! Where settings come from: defaults, a TOML file, a `.env` file, the environment, flags. Later ones win.

use super::variables::{VARIABLES, Variable, find};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file.
    Line { file: String, line: usize },
    /// The environment.
    Environment,
    /// A command line flag.
    Flag(&'static str),
    /// The content of a file that a `..._FILE` setting names.
    File { named_by: String, path: String, origin: Box<Origin> },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Line { file, line } => write!(f, "{file} line {line}"),
            Self::Environment => f.write_str("environment"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::File { named_by, origin, .. } => write!(f, "the file that {named_by} names, from {origin}"),
        }
    }
}

/// A value and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// One source: names of settings to values. Names may be `NAME` or `NAME_FILE`.
pub(crate) type Layer = BTreeMap<String, Found>;

/// Longest file that a `..._FILE` setting may name; a secret has a line, a protocol a thousand.
const SECRET_FILE_MAX: u64 = 1024 * 1024;

/// True for names that a settings file may hold.
fn is_known(name: &str) -> bool {
    find(name).is_some() || name.strip_suffix("_FILE").is_some_and(|name| find(name).is_some())
}

/// The settings of the environment. An empty value counts as not set.
pub(crate) fn environment(variables: impl Iterator<Item = (String, String)>) -> Layer {
    let known = variables.filter(|(name, value)| is_known(name) && !value.trim().is_empty());
    known.map(|(name, value)| (name, Found { value: value.trim().to_owned(), origin: Origin::Environment })).collect()
}

/// The settings of a `.env` file. Other programs' settings may stand in it too and are left alone.
///
/// # Errors
/// Each line that is not `NAME=VALUE`.
pub(crate) fn dotenv(file: &str, text: &str) -> (Layer, Vec<String>) {
    let (mut layer, mut problems) = (Layer::new(), Vec::new());
    for (line, content) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let assignment = content.strip_prefix("export ").unwrap_or(content).split_once('=');
        let parsed = assignment.and_then(|(name, value)| Some((name.trim(), unquoted(value.trim())?)));
        match parsed {
            Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                if is_known(name) && !value.is_empty() {
                    layer
                        .insert(name.to_owned(), Found { value, origin: Origin::Line { file: file.to_owned(), line } });
                }
            }
            _ => problems.push(format!("{file} line {line}: expected NAME=VALUE")),
        }
    }
    (layer, problems)
}

/// The value behind `=`: in quotes as it stands there, otherwise up to ` #`. `None` when a quote is not closed.
fn unquoted(text: &str) -> Option<String> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let end = text.find(" #").unwrap_or(text.len());
        return Some(text.get(..end)?.trim_end().to_owned());
    };
    let (mut value, mut chars) = (String::new(), text.chars().skip(1));
    loop {
        match chars.next()? {
            c if c == quote => break,
            '\\' if quote == '"' => match chars.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    let rest: String = chars.collect();
    let rest = rest.trim();
    (rest.is_empty() || rest.starts_with('#')).then_some(value)
}

/// The settings of a TOML file: names in lower case, as `public_base_url = "https://..."`.
///
/// # Errors
/// What is wrong with the file, or each key that is no setting.
pub(crate) fn toml_file(file: &str, text: &str) -> (Layer, Vec<String>) {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            return (Layer::new(), vec![format!("{file} line {line}: not TOML: {}", error.message())]);
        }
    };
    let (mut layer, mut problems) = (Layer::new(), Vec::new());
    for (key, value) in table {
        let (name, line) = (key.to_ascii_uppercase(), line_of_key(text, &key));
        let value = match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Array(items) => {
                let words: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                words.map(|words| words.join(","))
            }
            _ => None,
        };
        if !is_known(&name) || key != key.to_ascii_lowercase() {
            problems
                .push(format!("{file} line {line}: unknown key {key}; keys are the names of settings in lower case"));
        } else if let Some(value) = value {
            if !value.trim().is_empty() {
                layer.insert(name, Found { value, origin: Origin::Line { file: file.to_owned(), line } });
            }
        } else {
            problems.push(format!("{file} line {line}: {key}: expected a text in quotes"));
        }
    }
    (layer, problems)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}

/// The line on which a key of the top level stands, as a hint for people.
fn line_of_key(text: &str, key: &str) -> usize {
    let stands_in = |line: &str| {
        let line = line.trim_start().trim_start_matches(['[', '"', '\'']);
        line.strip_prefix(key).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    text.lines().position(stands_in).map_or(1, |index| index + 1)
}

/// The value of a setting over all layers, the strongest layer last. A `NAME_FILE` in the same layer as `NAME` loses.
///
/// # Errors
/// When the file that `NAME_FILE` names cannot be read.
pub(crate) fn resolve(variable: &Variable, layers: &[Layer]) -> Result<Option<Found>, String> {
    let file_name = format!("{}_FILE", variable.name);
    for layer in layers.iter().rev() {
        if let Some(found) = layer.get(variable.name) {
            return Ok(Some(found.clone()));
        }
        if let Some(named) = layer.get(&file_name) {
            let value = read_secret(Path::new(&named.value))
                .map_err(|why| format!("{file_name}: {why} (from {})", named.origin))?;
            let (path, origin) = (named.value.clone(), Box::new(named.origin.clone()));
            let origin = Origin::File { named_by: file_name, path, origin };
            return Ok(Some(Found { value, origin }));
        }
    }
    Ok(variable.default.map(|value| Found { value: value.to_owned(), origin: Origin::Default }))
}

fn read_secret(path: &Path) -> Result<String, String> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    if std::fs::metadata(path).map_err(fail)?.len() > SECRET_FILE_MAX {
        return Err(format!("{} is too large for a setting", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    // Of a document with lines the beginning stays, so that faults are named with their line.
    Ok(if text.trim().contains('\n') { text.trim_end() } else { text.trim() }.to_owned())
}

/// Every setting, in the order of its declaration.
pub(crate) fn resolve_all(layers: &[Layer]) -> (Vec<(&'static Variable, Option<Found>)>, Vec<String>) {
    let mut problems = Vec::new();
    let settings = VARIABLES.iter().map(|variable| {
        let found = resolve(variable, layers).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        (variable, found)
    });
    (settings.collect(), problems)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dotenv_lines() {
        let text = "\u{feff}# comment\nexport PORT=4000 # here\nELEVENLABS_API_KEY=\"a # b\\\"c\"\nOTHER=1\n\nTWILIO_AUTH_TOKEN='x\\n'\nBIND_ADDR=\n";
        let (layer, problems) = dotenv(".env", text);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(layer["PORT"].value, "4000");
        assert_eq!(layer["PORT"].origin.to_string(), ".env line 2");
        assert_eq!(layer["ELEVENLABS_API_KEY"].value, "a # b\"c");
        assert_eq!(layer["TWILIO_AUTH_TOKEN"].value, "x\\n");
        assert_eq!(layer.len(), 3);
    }

    #[test]
    fn broken_dotenv_lines_are_named_and_not_repeated() {
        let (_, problems) = dotenv(".env", "PORT=1\nsecret stuff\nENCRYPTION_KEY=\"open\n");
        assert_eq!(problems, [".env line 2: expected NAME=VALUE", ".env line 3: expected NAME=VALUE"]);
    }

    #[test]
    fn toml_keys_are_lower_case_names() {
        let text = "# c\nport = 4000\nbackup_chain = [\"openai\", \"script\"]\nencryption_key_file = \"/k\"\n";
        let (layer, problems) = toml_file("c.toml", text);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            layer["PORT"],
            Found { value: "4000".into(), origin: Origin::Line { file: "c.toml".into(), line: 2 } }
        );
        assert_eq!(layer["BACKUP_CHAIN"].value, "openai,script");
        assert!(layer.contains_key("ENCRYPTION_KEY_FILE"));
        for (text, said) in [
            ("\nprot = 1", "c.toml line 2: unknown key prot"),
            ("PORT = 1", "unknown key PORT"),
            ("[twilio]\na = 1", "line 1: unknown key twilio"),
            ("port = true", "line 1: port: expected"),
            ("a = 1\nport =", "line 2: not TOML"),
        ] {
            let (_, problems) = toml_file("c.toml", text);
            assert!(problems.iter().any(|problem| problem.contains(said)), "{problems:?}");
        }
    }

    #[test]
    fn stronger_layers_win_and_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "abc\n").unwrap();
        let weak = dotenv(".env", "TWILIO_AUTH_TOKEN=weak").0;
        let path = path.display().to_string();
        let strong = environment([("TWILIO_AUTH_TOKEN_FILE".to_owned(), path)].into_iter());
        let variable = find("TWILIO_AUTH_TOKEN").unwrap();
        let found = resolve(variable, &[weak.clone(), strong]).unwrap().unwrap();
        assert_eq!(found.value, "abc");
        assert!(found.origin.to_string().contains("TWILIO_AUTH_TOKEN_FILE"));
        let missing = environment([("TWILIO_AUTH_TOKEN_FILE".to_owned(), "/nowhere".to_owned())].into_iter());
        assert!(resolve(variable, &[weak, missing]).unwrap_err().contains("/nowhere"));
    }
}
