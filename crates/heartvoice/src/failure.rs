//! Failures as the shell sees them: one line on standard error and an exit code.

use std::process::ExitCode;
use store::StoreError;

/// Exit code when something did not work.
pub(crate) const FAILED: u8 = 1;
/// Exit code for bad use and bad input: trying again without changing anything cannot help.
pub(crate) const BAD_INPUT: u8 = 2;

/// The user gave something that cannot be used. Never repeats secrets or health information.
#[derive(Debug)]
pub(crate) struct BadInput(String);

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// An error for something the user gave.
pub(crate) fn bad_input(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(BadInput(reason.into()))
}

/// Everything that went wrong was reported already, item by item; only this exit code is left.
#[derive(Debug)]
pub(crate) struct Reported(pub(crate) u8);

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reported above")
    }
}

impl std::error::Error for Reported {}

/// Prints the reason on one line and gives the exit code.
pub(crate) fn explain(error: &anyhow::Error) -> ExitCode {
    if let Some(Reported(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("error: {}", one_line(error));
    ExitCode::from(exit_code(error))
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let bad_input = error.chain().any(|cause| {
        cause.is::<BadInput>()
            || matches!(
                cause.downcast_ref::<StoreError>(),
                Some(
                    StoreError::Invalid { .. }
                        | StoreError::Unsupported { .. }
                        | StoreError::WrongKey { .. }
                        | StoreError::KeysMissing
                )
            )
    });
    if bad_input { BAD_INPUT } else { FAILED }
}

/// The error and its causes, without line breaks and without saying the same thing twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use anyhow::Context;

    #[test]
    fn bad_input_is_told_apart_from_failure_through_context() {
        let bad: anyhow::Result<()> = Err(bad_input("PORT: expected a number"));
        let error = bad.context("reading settings").unwrap_err();
        assert_eq!(exit_code(&error), BAD_INPUT);
        assert_eq!(exit_code(&anyhow::anyhow!("disk full")), FAILED);
        let wrong_key = StoreError::WrongKey { given: "a".into(), expected: "b".into() };
        assert_eq!(exit_code(&wrong_key.into()), BAD_INPUT);
    }

    #[test]
    fn reasons_are_one_line_without_repetition() {
        let error = anyhow::anyhow!("no\nspace").context("cannot write: no space").context("export");
        assert_eq!(one_line(&error), "export: cannot write: no space");
    }
}
