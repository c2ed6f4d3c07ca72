//! `heartvoice doctor`: is everything there that calls need, and if not, what to do about it.
//!
//! Each check stands for itself: one that cannot be made says so and the others go on. Nothing is changed, except that a
//! small file is written into the audio folder and removed again.

mod local;
mod remote;

use crate::config::{Config, Overrides};
use crate::failure::{FAILED, Reported};
use crate::output::{self, Format};
use serde::Serialize;
use std::path::Path;

/// Checks settings, database, disk, clock, addresses and services, and says how to mend each.
///
/// Exit code 1 when anything fails; warnings are no failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice doctor --format json")]
pub(crate) struct Args {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Warn,
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One check: what was found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// Stable name.
    pub(super) name: &'static str,
    pub(super) status: Status,
    /// What was found. Never a secret.
    pub(super) found: String,
    /// What to do; empty when nothing is.
    pub(super) mend: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), mend: String::new() }
    }

    fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), mend: mend.into() }
    }

    fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, found: found.into(), mend: mend.into() }
    }
}

pub(crate) async fn run(file: Option<&Path>, args: &Args) -> anyhow::Result<()> {
    let config = Config::load(file, &Overrides::default());
    // A wrong log filter is a finding like any other.
    let _ = config.init_logging("error");
    let mut checks = local::settings(&config);
    let (database, keys, audio, remote) = tokio::join!(
        local::database(&config),
        local::key_service(&config),
        local::audio(&config),
        remote::all(&config)
    );
    checks.push(database);
    checks.extend(keys);
    checks.extend(audio);
    checks.extend(remote);
    let failed = checks.iter().filter(|check| check.status == Status::Fail).count();
    match args.format {
        Format::Json => output::json(&serde_json::json!({"ok": failed == 0, "checks": checks}))?,
        Format::Table => {
            let row = |check: &Check| {
                [check.status.as_str().to_owned(), check.name.to_owned(), check.found.clone(), check.mend.clone()]
            };
            output::table(["", "check", "found", "what to do"], checks.iter().map(row).collect())?;
        }
    }
    if failed == 0 { Ok(()) } else { Err(Reported(FAILED).into()) }
}
