//! Rules of the repository that the compiler does not know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Which of our crates a crate may depend on; nothing else is allowed.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("voice", &[]),
    ("clinic", &["voice"]),
    ("call", &["clinic", "voice"]),
    ("store", &["clinic", "voice"]),
    ("sim", &["call", "clinic", "voice"]),
    ("server", &["call", "clinic", "voice", "store"]),
    ("heartvoice", &["call", "clinic", "server", "sim", "store", "voice"]),
];

/// Crates without IO, and the libraries that would bring it.
const PURE: [&str; 3] = ["voice", "clinic", "call"];
const IO: [&str; 8] = ["tokio", "tokio-util", "sqlx", "reqwest", "axum", "hyper", "tracing", "tokio-tungstenite"];

/// Longest source file. A longer one holds more than one thing.
const MAX_LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn manifest(name: &str) -> toml::Table {
    let path = root().join("crates").join(name).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).parse().unwrap()
}

fn dependencies(name: &str) -> Vec<String> {
    let manifest = manifest(name);
    let tables = ["dependencies", "build-dependencies"];
    tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(toml::Table::keys).cloned().collect()
}

/// Every Rust file of the workspace.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("crates")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    files
}

#[test]
fn crates_depend_on_each_other_in_one_direction_only() {
    let ours: Vec<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(ours.contains(&name.as_str()), "crate {name} has no place in the order: add it to MAY_USE");
    }
    for (name, allowed) in MAY_USE {
        for dependency in dependencies(name) {
            let ok = !ours.contains(&dependency.as_str()) || allowed.contains(&dependency.as_str());
            assert!(ok, "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn pure_crates_have_no_io() {
    for name in PURE {
        for dependency in dependencies(name) {
            assert!(!IO.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn crates_use_the_shared_lints_and_versions() {
    for (name, _) in MAY_USE {
        let manifest = manifest(name);
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(lints, Some(true), "{name} does not take the workspace's lints");
        for (dependency, how) in manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten() {
            let shared = how.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            assert!(shared, "{name}: the version of {dependency} belongs into the workspace's Cargo.toml");
        }
    }
}

#[test]
fn files_are_short() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, at most {MAX_LINES}", path.display());
    }
}

#[test]
fn nothing_is_left_for_later_and_no_queue_is_unbounded() {
    // Written in two parts, so that this file does not contain them.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X:"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["unbounded", "_channel"],
        ["dbg", "!("],
        ["mpsc::Unbounded", "Sender"],
    ]
    .map(|parts| parts.concat());
    for (path, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            for word in &words {
                assert!(!line.contains(word.as_str()), "{}:{number}: {word}", path.display());
            }
        }
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for (name, _) in MAY_USE {
        let folder = root().join("crates").join(name).join("src");
        let main = [folder.join("lib.rs"), folder.join("main.rs")].into_iter().find(|path| path.exists()).unwrap();
        let text = std::fs::read_to_string(main).unwrap();
        let said = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(said >= 3, "{name} does not introduce itself");
    }
}

/// What the README shows as a command must at least exist.
#[test]
fn commands_of_the_readme_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let mut checked = 0;
    for line in readme.lines().filter_map(|line| line.trim().strip_prefix("heartvoice ")) {
        let words: Vec<&str> =
            line.split_whitespace().take_while(|word| !word.starts_with('-') && word.chars().all(is_name)).collect();
        let path = match words.first() {
            Some(
                &("agent" | "alert" | "call" | "config" | "keys" | "model" | "patient" | "protocol" | "schedule"
                | "simulate" | "token"),
            ) => words.get(..2),
            _ => words.get(..1),
        };
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_heartvoice"))
            .args(path.unwrap_or_else(|| panic!("README: {line}")))
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "README: heartvoice {line}");
        checked += 1;
    }
    assert!(checked > 5, "the README shows no commands");
}
