//! `heartvoice agent`: keeps the agent in the ElevenLabs account equal to what the protocol needs.

use crate::config::{Config, Overrides};
use crate::failure::{FAILED, Reported, bad_input};
use crate::output::{self, Format};
use clap::Subcommand;
use clinic::agent::{AgentText, Bound, Change};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use server::agent_admin::{self, Plan, Step, Wanted};
use std::path::Path;

/// Characters of a setting shown in a table; a prompt has thousands.
const SHOWN_CHARS: usize = 60;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the agent as it should be, or as it is
    #[command(after_help = "Example:\n  heartvoice agent show --live --format json")]
    Show {
        /// As it is in the account, instead of as it should be
        #[arg(long)]
        live: bool,
        /// How to print; a table shows the prompt and the names of tools and documents
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Compares the agent with what it should be; exit code 1 when it differs
    #[command(after_help = "Example:\n  heartvoice agent diff")]
    Diff {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Shows the difference and makes the agent what it should be
    ///
    /// Creates the agent when ELEVENLABS_AGENT_ID is not set, and prints the identifier to set. A second push changes
    /// nothing.
    #[command(after_help = "Example:\n  heartvoice agent push --dry-run")]
    Push {
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(crate) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let config = Config::load(file, &Overrides::default());
    config.require_valid()?;
    config.init_logging("warn")?;
    match command {
        Command::Show { live: false, format } => show_desired(&config.wanted_agent(agent_text(&config)), format),
        Command::Show { live: true, format } => show_live(&config, format).await,
        Command::Diff { format } => diff(&config, format).await,
        Command::Push { dry_run, format } => Box::pin(push(&config, dry_run, format)).await,
    }
}

/// What the protocol in force says to the agent.
pub(super) fn agent_text(config: &Config) -> AgentText {
    AgentText::from_protocol(&config.protocol())
}

fn show_desired(wanted: &Wanted, format: Format) -> anyhow::Result<()> {
    let desired =
        clinic::agent::desired(&wanted.text, &wanted.options).map_err(|error| bad_input(error.to_string()))?;
    let body = desired.body(&Bound::default());
    let documents = agent_admin::documents();
    match format {
        Format::Json => {
            let names: Vec<&str> = documents.iter().map(|document| document.name.as_str()).collect();
            output::json(&json!({"agent": body, "tools": desired.tools, "documents": names}))
        }
        Format::Table => {
            print_agent(&body)?;
            let names = desired.tools.iter().filter_map(|tool| tool["name"].as_str());
            output::line(&format!("\ntools: {}", names.collect::<Vec<_>>().join(", ")))?;
            let names = documents.iter().map(|document| document.name.as_str());
            output::line(&format!("documents: {}", names.collect::<Vec<_>>().join(", ")))
        }
    }
}

async fn show_live(config: &Config, format: Format) -> anyhow::Result<()> {
    let id = config.get("ELEVENLABS_AGENT_ID").ok_or_else(no_agent)?;
    let agent = config.agents_account()?.agent(id).await?;
    match format {
        Format::Json => output::json(&agent),
        Format::Table => print_agent(&agent),
    }
}

fn no_agent() -> anyhow::Error {
    bad_input(
        "ELEVENLABS_AGENT_ID: expected the identifier of the agent, but it is not set; `heartvoice agent push` makes one",
    )
}

fn print_agent(agent: &Value) -> anyhow::Result<()> {
    let rows = [
        ("name", "/name"),
        ("language model", "/conversation_config/agent/prompt/llm"),
        ("first message", "/conversation_config/agent/first_message"),
        ("format heard", "/conversation_config/asr/user_input_audio_format"),
        ("format spoken", "/conversation_config/tts/agent_output_audio_format"),
        ("voice model", "/conversation_config/tts/model_id"),
        ("longest call, s", "/conversation_config/conversation/max_duration_seconds"),
        ("proof needed", "/platform_settings/auth/enable_auth"),
        ("zero retention", "/platform_settings/privacy/zero_retention_mode"),
    ];
    let shown = |path: &str| match agent.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    };
    output::table(["setting", "value"], rows.map(|(name, path)| [name.to_owned(), shown(path)]).into())?;
    output::line(&format!("\n{}", shown("/conversation_config/agent/prompt/prompt")))
}

async fn diff(config: &Config, format: Format) -> anyhow::Result<()> {
    let id = config.get("ELEVENLABS_AGENT_ID").ok_or_else(no_agent)?;
    let plan = agent_admin::plan(&config.agents_account()?, Some(id), &config.wanted_agent(agent_text(config))).await?;
    match format {
        Format::Json => output::json(&plan_json(&plan))?,
        Format::Table => print_plan(&plan)?,
    }
    if plan.is_done() { Ok(()) } else { Err(Reported(FAILED).into()) }
}

async fn push(config: &Config, dry_run: bool, format: Format) -> anyhow::Result<()> {
    let account = config.agents_account()?;
    let id = config.get("ELEVENLABS_AGENT_ID");
    let wanted = config.wanted_agent(agent_text(config));
    let plan = agent_admin::plan(&account, id, &wanted).await?;
    if format == Format::Table {
        print_plan(&plan)?;
        if wanted.webhook_url.is_none() {
            eprintln!(
                "note: PUBLIC_BASE_URL is not an https:// address, so no webhook for the time after calls is set"
            );
        }
    }
    let mut report = plan_json(&plan);
    if !dry_run && !plan.is_done() {
        let applied = agent_admin::apply(&account, plan).await?;
        let secret = applied.webhook_secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        report["agent_id"] = json!(applied.agent_id);
        report["created"] = json!(applied.created);
        report["done"] = json!(applied.done);
        report["left"] = json!(applied.left);
        report["webhook_secret"] = json!(secret);
        if format == Format::Table {
            output::line(&format!("\n{} changes made", applied.done.len()))?;
            if applied.created {
                output::line(&format!("set ELEVENLABS_AGENT_ID={}", applied.agent_id))?;
            }
            if let Some(secret) = secret {
                output::line(&format!("set ELEVENLABS_WEBHOOK_SECRET={secret}  (it is told only now: keep it safe)"))?;
            }
        }
        for left in &applied.left {
            eprintln!("warning: not done: {left}");
        }
    }
    if format == Format::Json { output::json(&report) } else { Ok(()) }
}

fn plan_json(plan: &Plan) -> Value {
    let changes = plan.changes().into_iter().map(|change| {
        json!({"path": change.path, "live": change.live, "desired": change.desired, "breaks": change.breaks,
            "serious": change.serious})
    });
    json!({
        "up_to_date": plan.is_done(),
        "agent_id": plan.agent_id,
        "created": false,
        "steps": plan.steps.iter().map(Step::to_string).collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
        "done": [],
        "left": [],
        "webhook_secret": null,
    })
}

fn print_plan(plan: &Plan) -> anyhow::Result<()> {
    if plan.is_done() {
        return output::line("no change: the agent is as it should be");
    }
    for step in &plan.steps {
        output::line(&format!("- {step}"))?;
    }
    let changes = plan.changes();
    if changes.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let rows = changes
        .iter()
        .map(|change| [change.path.clone(), live(change), short(&change.desired), change.breaks.to_owned()]);
    output::table(["setting", "is", "should be", "otherwise"], rows.collect())
}

fn live(change: &Change) -> String {
    change.live.as_ref().map_or_else(|| "-".to_owned(), short)
}

/// A setting as it fits into a table.
fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\n', " "));
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
