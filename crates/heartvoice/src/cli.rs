//! The command line as a whole; each command's own arguments stand in its file.

use crate::commands::{
    agent, alert, analyze, audit, backup, call, config, demo, doctor, export, healthcheck, keys, model, openapi,
    patient, protocol, retention, schedule, serve, simulate, token, twiml_bin, user,
};
use crate::failure::BAD_INPUT;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Automated heart failure check-ins by telephone, with voice biomarkers.
///
/// Exit codes: 0 done, 1 failed, 2 bad use or bad input.
#[derive(Debug, Parser)]
#[command(name = "heartvoice", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Settings in TOML; `.env`, the environment and flags win over it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows everything with simulated telephones, agent and patients; needs no account
    Demo(demo::Args),
    /// Runs the server
    Serve(serve::Args),
    /// Measures voices in audio files
    Analyze(analyze::Args),
    /// Runs one of the simulators on its own
    #[command(subcommand)]
    Simulate(simulate::Command),
    /// Adds, lists, shows, imports, exports and erases patients
    #[command(subcommand)]
    Patient(patient::Command),
    /// Says when patients are telephoned
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Places, lists, shows, replays and exports calls
    #[command(subcommand)]
    Call(call::Command),
    /// Keeps the ElevenLabs agent equal to the protocol
    #[command(subcommand)]
    Agent(agent::Command),
    /// Checks settings, database, services and addresses, and says how to mend each
    Doctor(doctor::Args),
    /// Asks a running server whether it is well, for container and service managers
    Healthcheck(healthcheck::Args),
    /// Checks and shows clinical protocols
    #[command(subcommand)]
    Protocol(protocol::Command),
    /// Shows, evaluates and trains the risk model
    #[command(subcommand)]
    Model(model::Command),
    /// Lists, shows, acknowledges and resolves alerts
    #[command(subcommand)]
    Alert(alert::Command),
    /// Adds, lists, disables and resets users, and says whose patients they look after
    #[command(subcommand)]
    User(user::Command),
    /// Shows, exports and verifies the audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Makes, lists and revokes tokens of the programming interface
    #[command(subcommand)]
    Token(token::Command),
    /// Prints the description of the programming interface
    Openapi(openapi::Args),
    /// Prints what callers hear while no server answers, for Twilio to keep
    TwimlBin(twiml_bin::Args),
    /// Deletes what is past its retention, and shows what was destroyed
    #[command(subcommand)]
    Retention(retention::Command),
    /// Makes, checks and restores backups of the embedded store
    #[command(subcommand)]
    Backup(backup::Command),
    /// Writes de-identified records for research
    #[command(subcommand)]
    Export(export::Command),
    /// Makes keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Checks the settings
    #[command(subcommand)]
    Config(config::Command),
}

/// Prints help as it is, and a mistake on one line.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", one_line(&error.render().to_string()));
    ExitCode::from(BAD_INPUT)
}

/// The first paragraph of clap's explanation. The others repeat the usage, which `--help` shows.
fn one_line(text: &str) -> String {
    let reason: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    if reason.first().is_some_and(|line| line.starts_with("error:")) {
        format!("{} (see --help)", reason.join(" "))
    } else {
        // Called without a command: the text is the help itself.
        "error: a command is needed, such as `heartvoice demo --once` (see --help)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_are_one_line() {
        for (args, said) in [
            (&["heartvoice"][..], "a command is needed"),
            (&["heartvoice", "analyze"], "required arguments"),
            (&["heartvoice", "demo", "--calls", "x"], "--calls"),
            (&["heartvoice", "frobnicate"], "frobnicate"),
        ] {
            let line =
                Cli::try_parse_from(args).map_or_else(|error| one_line(&error.render().to_string()), |_| String::new());
            assert!(line.starts_with("error: ") && line.contains(said) && !line.contains('\n'), "{line}");
        }
    }

    /// Every command that does something shows how it is used.
    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    check(sub, &path);
                } else if sub.get_name() != "help" {
                    let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains(&path), "{path} has no example");
                }
            }
        }
        check(&Cli::command(), "heartvoice");
    }
}
