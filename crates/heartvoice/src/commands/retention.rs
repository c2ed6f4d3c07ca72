//! `heartvoice retention`: deletes what is older than it may be kept, and shows what was destroyed.

use super::operator;
use crate::config::Config;
use crate::output::{self, Format, RowFormat};
use crate::progress;
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::{Certificate, MAX_RETENTION_ITEMS, RetentionRules, Store};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deletes what is past its retention, for good
    ///
    /// PHI_RETENTION_DAYS bounds everything; RETENTION_AUDIO_DAYS, RETENTION_TRANSCRIPT_DAYS, RETENTION_MEASURES_DAYS and
    /// RETENTION_ALERT_DAYS may be shorter. Patients under a legal hold lose nothing, and the audit trail is never deleted.
    /// A running server does the same once a day.
    #[command(after_help = "Examples:\n  heartvoice retention run --dry-run\n  heartvoice retention run --format json")]
    Run {
        /// Only says what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Lists the certificates of destruction, newest first
    ///
    /// Each is signed with the key of the audit trail; JSON has the signed text, the signature and whether it holds.
    #[command(after_help = "Example:\n  heartvoice retention certificates --format json")]
    Certificates {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::Certificates { .. } | Self::Run { dry_run: true, .. })
    }
}

pub(crate) async fn run(config: &Config, store: &Store, command: Command) -> anyhow::Result<()> {
    let rules = config.retention()?;
    let done = match command {
        Command::Run { dry_run: true, format } => plan(store, &rules, format).await,
        Command::Run { dry_run: false, format } => delete(store, &rules, format).await,
        Command::Certificates { limit, format } => certificates(store, limit, format).await,
    };
    store.close().await;
    done
}

async fn plan(store: &Store, rules: &RetentionRules, format: Format) -> anyhow::Result<()> {
    let plan = store.plan_retention(rules, jiff::Timestamp::now().as_microsecond()).await?;
    match format {
        Format::Json => output::json(&json!({
            "dry_run": true, "rule": rules.text(), "counts": plan.counts, "held_calls": plan.held_calls,
        })),
        Format::Table => {
            print_counts(&plan.counts)?;
            output::line(&format!(
                "{}; {} calls kept by legal holds; nothing was deleted",
                rules.text(),
                plan.held_calls
            ))
        }
    }
}

async fn delete(store: &Store, rules: &RetentionRules, format: Format) -> anyhow::Result<()> {
    let (by, now_us) = (operator(), jiff::Timestamp::now().as_microsecond());
    let planned: u64 = store.plan_retention(rules, now_us).await?.counts.values().sum();
    let bar = progress::bar(planned, "deleting");
    let (mut counts, mut ids) = (BTreeMap::<String, u64>::new(), Vec::new());
    loop {
        let run = store.run_retention(rules, &by, now_us, MAX_RETENTION_ITEMS).await?;
        for (name, count) in run.counts {
            *counts.entry(name).or_default() += count;
        }
        bar.set_position(counts.values().sum());
        if let Some(certificate) = run.certificate {
            ids.push(certificate.destruction()?.id);
        }
        if run.complete {
            break;
        }
    }
    bar.finish_and_clear();
    match format {
        Format::Json => {
            output::json(&json!({"dry_run": false, "rule": rules.text(), "counts": counts, "certificates": ids}))
        }
        Format::Table => {
            print_counts(&counts)?;
            output::line(&format!(
                "{}; certificates: {}",
                rules.text(),
                if ids.is_empty() { "none".to_owned() } else { ids.join(" ") }
            ))
        }
    }
}

fn print_counts(counts: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    output::table(["kind", "count"], counts.iter().map(|(name, count)| [name.clone(), count.to_string()]).collect())
}

async fn certificates(store: &Store, limit: u32, format: RowFormat) -> anyhow::Result<()> {
    let public_key = store.audit_public_key().1;
    let certificates = store.certificates(limit, None).await?;
    let header = ["id", "at", "kind", "rule", "by", "destroyed", "keys", "signature"];
    let row = |certificate: &Certificate| {
        let said = certificate.destruction()?;
        let destroyed: Vec<String> = said.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let kind = serde_json::to_value(said.kind)?;
        Ok([
            said.id,
            output::time(said.at_us),
            kind.as_str().unwrap_or_default().to_owned(),
            said.rule,
            said.by.id,
            destroyed.join(", "),
            said.keys.len().to_string(),
            if certificate.is_signed_by(&public_key) { "valid" } else { "NOT VALID" }.to_owned(),
        ])
    };
    match format {
        RowFormat::Json => {
            let object = |certificate: &Certificate| -> anyhow::Result<Value> {
                Ok(json!({
                    "destruction": certificate.destruction()?,
                    "content": certificate.content,
                    "key_id": certificate.key_id,
                    "signature": certificate.signature,
                    "public_key": public_key,
                    "valid": certificate.is_signed_by(&public_key),
                }))
            };
            output::json(&certificates.iter().map(object).collect::<anyhow::Result<Vec<_>>>()?)
        }
        RowFormat::Table => output::table(header, certificates.iter().map(row).collect::<anyhow::Result<_>>()?),
        RowFormat::Csv => output::csv(&header, &certificates.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?),
    }
}
