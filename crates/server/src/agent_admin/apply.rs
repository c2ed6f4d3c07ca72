//! Carrying a plan out.

use super::account::{Account, AdminError};
use super::plan::{Plan, Step, tool_name};
use clinic::agent::diff;
use secrecy::SecretString;
use std::time::Duration;

/// The model that indexes documents; the agent's settings name the same one.
const EMBEDDING_MODEL: &str = "e5_mistral_7b_instruct";
/// Looks at an index that is being made, and the time between two.
const INDEX_LOOKS: u32 = 60;
const INDEX_PAUSE: Duration = Duration::from_millis(500);

/// What a push did.
#[derive(Debug)]
pub struct Applied {
    /// The agent.
    pub agent_id: String,
    /// True when it was made just now.
    pub created: bool,
    /// The secret of a webhook that was made just now. It is told only once.
    pub webhook_secret: Option<SecretString>,
    /// What was done, in words.
    pub done: Vec<String>,
    /// What could not be tidied up, in words. The agent works without it.
    pub left: Vec<String>,
}

/// Carries `plan` out and looks whether the service kept what it was told.
///
/// What the agent refers to is made first, and what it no longer refers to is deleted last, so that it works at every
/// moment in between.
///
/// # Errors
/// [`AdminError`] at the first step that fails. What was done stays, and the next push goes on from there.
pub async fn apply(account: &Account, mut plan: Plan) -> Result<Applied, AdminError> {
    let mut applied = Applied {
        agent_id: plan.agent_id.clone().unwrap_or_default(),
        created: false,
        webhook_secret: None,
        done: Vec::new(),
        left: Vec::new(),
    };
    let steps = std::mem::take(&mut plan.steps);
    for step in &steps {
        let words = step.to_string();
        if let Step::DeleteDocument { id, .. } = step {
            // Another agent of the account may still refer to it.
            match account.delete_document(id).await {
                Ok(()) => applied.done.push(words),
                Err(error) => applied.left.push(format!("{words}: {error}")),
            }
            continue;
        }
        carry_out(account, step, &mut plan, &mut applied).await?;
        tracing::info!(step = %words, "the agents service was changed");
        applied.done.push(words);
    }
    if !steps.is_empty() {
        let changes = diff(&account.agent(&applied.agent_id).await?, &plan.desired.body(&plan.bound()));
        let (serious, minor): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.serious);
        if !serious.is_empty() {
            return Err(AdminError::NotKept { paths: serious.into_iter().map(|change| change.path).collect() });
        }
        applied.left.extend(minor.into_iter().map(|change| format!("{} was not kept by the service", change.path)));
    }
    Ok(applied)
}

async fn carry_out(account: &Account, step: &Step, plan: &mut Plan, applied: &mut Applied) -> Result<(), AdminError> {
    match step {
        Step::CreateTool { name } | Step::UpdateTool { name, .. } => {
            let tools = plan.desired.tools.iter().zip(plan.tool_ids.iter_mut());
            for (config, slot) in tools.filter(|(config, _)| tool_name(config) == *name) {
                match step {
                    Step::UpdateTool { id, .. } => account.update_tool(id, config).await?,
                    _ => *slot = Some(account.create_tool(config).await?),
                }
            }
        }
        Step::CreateDocument { name } => {
            let documents = plan.documents.iter().zip(plan.document_ids.iter_mut());
            for (document, slot) in documents.filter(|(document, _)| document.name == *name) {
                let id = account.create_document(&document.name, &document.text).await?;
                *slot = Some(id);
            }
        }
        Step::CreateWebhook { url } => {
            let (id, secret) = account.create_webhook(url).await?;
            plan.webhook_id = Some(id);
            applied.webhook_secret = Some(secret);
        }
        Step::CreateAgent { .. } => {
            index_all(account, plan).await?;
            applied.agent_id = account.create_agent(&plan.desired.body(&plan.bound())).await?;
            applied.created = true;
        }
        Step::UpdateAgent { id, .. } => {
            index_all(account, plan).await?;
            account.update_agent(id, &plan.desired.body(&plan.bound())).await?;
        }
        Step::DeleteDocument { .. } => {}
    }
    Ok(())
}

/// Has the documents indexed and waits until they are: an agent must not refer to one it cannot search. A document that
/// an earlier push made and did not get to index is among them.
async fn index_all(account: &Account, plan: &Plan) -> Result<(), AdminError> {
    for id in plan.document_ids.iter().flatten() {
        account.index_document(id, EMBEDDING_MODEL).await?;
    }
    for (document, id) in plan.documents.iter().zip(&plan.document_ids) {
        if let Some(id) = id {
            index(account, id, &document.name).await?;
        }
    }
    Ok(())
}

async fn index(account: &Account, id: &str, name: &str) -> Result<(), AdminError> {
    let mut status = String::new();
    for _ in 0..INDEX_LOOKS {
        status = account.index_document(id, EMBEDDING_MODEL).await?;
        match status.as_str() {
            "succeeded" => return Ok(()),
            "new" | "created" | "processing" => tokio::time::sleep(INDEX_PAUSE).await,
            _ => break,
        }
    }
    Err(AdminError::NotIndexed { name: name.to_owned(), status })
}
