//! `heartvoice token`: who may use the programming interface.

use super::operator;
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::Subcommand;
use clinic::TokenId;
use clinic::access::Scopes;
use serde_json::{Value, json};
use store::audit::NewEntry;
use store::{Store, TokenRecord, TokenRequest};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a token and prints it, this once
    ///
    /// Without --scope it permits all that programs may do.
    #[command(
        after_help = "Example:\n  heartvoice token create --name dashboard --scope call:read --scope alert:read\n  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:3000/api/v1/alerts"
    )]
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it permits, such as call:read; may be repeated
        #[arg(long, value_name = "RIGHT")]
        scope: Vec<String>,
        /// How long it is valid
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
        days: u32,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Lists tokens, without the tokens themselves
    #[command(after_help = "Example:\n  heartvoice token list --format json")]
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Ends a token at once
    #[command(after_help = "Example:\n  heartvoice token revoke 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b")]
    Revoke {
        /// Identifier, as `token list` prints it
        id: String,
    },
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. })
    }
}

pub(crate) async fn run(store: &Store, command: Command) -> anyhow::Result<()> {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let done = match command {
        Command::Create { name, scope, days, format } => create(store, &name, &scope, days, now_us, format).await,
        Command::List { format } => list(store, now_us, format).await,
        Command::Revoke { id } => revoke(store, &id, now_us).await,
    };
    store.close().await;
    done
}

async fn create(
    store: &Store,
    name: &str,
    scopes: &[String],
    days: u32,
    now_us: i64,
    format: Format,
) -> anyhow::Result<()> {
    let scopes = if scopes.is_empty() { Scopes::all() } else { read_scopes(scopes)? };
    let expires_at_us = Some(now_us.saturating_add(i64::from(days) * 24 * 3_600 * 1_000_000));
    let access = store.begin_access().await?;
    let request = TokenRequest { name, scopes, created_by: None, expires_at_us };
    let new = access.store().create_token_for(&request, now_us).await?;
    let entry = NewEntry::new(operator(), "token.add").object("token", &new.record.id);
    access.commit(&[entry.detail("scopes", &new.record.scopes).detail("days", days)]).await?;
    match format {
        // The token alone, so that `TOKEN=$(heartvoice token create ...)` works; the rest is for people.
        Format::Table => {
            eprintln!("token {} for {}; it is not shown again", new.record.id, new.record.name);
            output::line(&new.token)
        }
        Format::Json => {
            let mut object = object(&new.record, now_us);
            if let Some(map) = object.as_object_mut() {
                map.insert("token".to_owned(), json!(new.token.as_str()));
            }
            output::json(&object)
        }
    }
}

async fn list(store: &Store, now_us: i64, format: RowFormat) -> anyhow::Result<()> {
    let tokens = store.list_tokens().await?;
    let header = ["id", "name", "state", "created_at", "expires_at", "scopes"];
    let row = |token: &TokenRecord| {
        [
            token.id.to_string(),
            token.name.clone(),
            state(token, now_us).to_owned(),
            output::time(token.created_at_us),
            token.expires_at_us.map_or_else(|| "-".to_owned(), output::time),
            token.scopes.to_string(),
        ]
    };
    match format {
        RowFormat::Json => output::json(&tokens.iter().map(|token| object(token, now_us)).collect::<Vec<_>>()),
        RowFormat::Table => output::table(header, tokens.iter().map(row).collect()),
        RowFormat::Csv => output::csv(&header, &tokens.iter().map(row).collect::<Vec<_>>()),
    }
}

async fn revoke(store: &Store, id: &str, now_us: i64) -> anyhow::Result<()> {
    let id = TokenId::parse(id).map_err(|invalid| bad_input(invalid.to_string()))?;
    let access = store.begin_access().await?;
    access.store().revoke_token(&id, now_us).await?;
    access.commit(&[NewEntry::new(operator(), "token.revoke").object("token", &id)]).await?;
    output::line(&format!("token {id} is revoked"))
}

/// The names of rights, each of which programs can have.
fn read_scopes(names: &[String]) -> anyhow::Result<Scopes> {
    Scopes::parse(&names.join(" ")).map_err(|wrong| bad_input(format!("--scope: {wrong}")))
}

fn object(token: &TokenRecord, now_us: i64) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "state": state(token, now_us),
        "created_at": output::time(token.created_at_us),
        "expires_at": token.expires_at_us.map(output::time),
        "revoked_at": token.revoked_at_us.map(output::time),
        "scopes": token.scopes.to_string(),
        "created_by": token.created_by,
        "used_at": token.used_at_us.map(output::time),
    })
}

fn state(token: &TokenRecord, now_us: i64) -> &'static str {
    match (token.revoked_at_us, token.expires_at_us) {
        (Some(_), _) => "revoked",
        (None, Some(at_us)) if at_us <= now_us => "expired",
        _ => "valid",
    }
}
