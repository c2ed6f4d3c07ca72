//! The `heartvoice` program: reads the command line and the settings, and starts what the other crates provide.
//!
//! It decides nothing about calls, voices or records. Each command is a file in [`commands`], with its arguments and
//! its work; [`config`] is the only place that reads settings. Exit codes: 0 done, 1 failed, 2 bad use or bad input.

mod cli;
mod commands;
mod config;
mod failure;
mod figure;
mod logging;
mod output;
mod progress;
mod signals;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: the TLS provider could not be installed");
        return ExitCode::from(failure::FAILED);
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::explain(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(failure::FAILED);
        }
    };
    match runtime.block_on(Box::pin(commands::run(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::explain(&error),
    }
}
