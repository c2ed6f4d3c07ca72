//! Runs the program as a user would.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod audio;

use std::path::Path;
use std::process::{Command, Output};

/// A key nobody uses.
pub(crate) const KEY: &str = "9f1c6a0b7de24835f0e1b7c25d93a846e2c4f81790ab3d5c6e7f8091a2b3c4d5";

/// The program in `dir`, with no settings but those given.
pub(crate) fn command(dir: &Path, args: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartvoice"));
    command.args(args).current_dir(dir).env_clear();
    command.envs(settings.iter().copied());
    command
}

/// Runs it to its end.
pub(crate) fn run(dir: &Path, args: &[&str], settings: &[(&str, &str)]) -> Output {
    command(dir, args, settings).output().unwrap()
}

/// Standard output of a run that must succeed.
pub(crate) fn succeeds(dir: &Path, args: &[&str], settings: &[(&str, &str)]) -> String {
    let output = run(dir, args, settings);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one-line reason of a run that must fail with `code`.
pub(crate) fn fails(dir: &Path, args: &[&str], settings: &[(&str, &str)], code: i32) -> String {
    let output = run(dir, args, settings);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: not one line: {stderr}");
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    stderr
}

/// Standard output of a run that must succeed, as JSON.
pub(crate) fn json(dir: &Path, args: &[&str], settings: &[(&str, &str)]) -> serde_json::Value {
    serde_json::from_str(&succeeds(dir, args, settings)).unwrap()
}
