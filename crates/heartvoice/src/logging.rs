//! Where log lines go: standard error, filtered by `HEARTVOICE_LOG`, as text or JSON.

use crate::failure::bad_input;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Libraries that log the traffic itself when asked for details. What callers say must not get into a log, whatever
/// the filter.
const NEVER_IN_DETAIL: [&str; 9] = [
    "tungstenite=info",
    "tokio_tungstenite=info",
    "hyper=info",
    "hyper_util=info",
    "h2=info",
    "reqwest=info",
    "rustls=info",
    "axum=info",
    "sqlx=warn",
];

/// Starts logging.
///
/// # Errors
/// When the filter is not understood.
pub(crate) fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let mut filter = parse(filter).ok_or_else(|| bad_input(format!("HEARTVOICE_LOG: expected {EXPECTED}")))?;
    for directive in NEVER_IN_DETAIL {
        filter = filter.add_directive(directive.parse()?);
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// What a filter looks like.
pub(crate) const EXPECTED: &str = "a filter such as info, warn or server=debug,info";

/// True when the text is a filter.
pub(crate) fn is_filter(text: &str) -> bool {
    parse(text).is_some()
}

fn parse(text: &str) -> Option<EnvFilter> {
    // A misspelt level would be taken for the name of a module and silence everything.
    let plausible = text.split(',').map(str::trim).all(|part| match part.rsplit_once('=') {
        Some((_, level)) => is_level(level),
        None => is_level(part),
    });
    if plausible { EnvFilter::try_new(text).ok() } else { None }
}

fn is_level(text: &str) -> bool {
    ["off", "error", "warn", "info", "debug", "trace"].iter().any(|level| text.eq_ignore_ascii_case(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_levels_are_not_filters() {
        for good in ["info", "WARN", "server=debug,info", "off"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "verbose", "server=loud", "info,", "server"] {
            assert!(!is_filter(bad), "{bad}");
        }
    }

    #[test]
    fn every_limit_is_a_directive() {
        for directive in NEVER_IN_DETAIL {
            assert!(directive.parse::<tracing_subscriber::filter::Directive>().is_ok());
        }
    }
}
