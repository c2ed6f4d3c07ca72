//! What has to be done so that the agent is as it should be.

use super::account::{Account, AdminError};
use super::documents::{Document, NAME_PREFIX, documents};
use clinic::agent::{AgentOptions, AgentText, Bound, Change, DesiredAgent, TOOL_MARK, desired, diff};
use serde_json::Value;
use std::fmt;

/// What the agent should be like.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The protocol.
    pub text: AgentText,
    /// What differs between installations.
    pub options: AgentOptions,
    /// Where the service sends its word after a call; `None` where it could not reach us anyway.
    pub webhook_url: Option<String>,
}

/// One change of the account.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A tool that is not there.
    CreateTool {
        /// Its name.
        name: String,
    },
    /// A tool that is not as it should be.
    UpdateTool {
        /// Its name.
        name: String,
        /// Its identifier.
        id: String,
        /// What differs.
        changes: Vec<Change>,
    },
    /// A document that is not there.
    CreateDocument {
        /// Its name.
        name: String,
    },
    /// The webhook for messages after a call is not there.
    CreateWebhook {
        /// Where it leads.
        url: String,
    },
    /// There is no agent yet.
    CreateAgent {
        /// Its name.
        name: String,
    },
    /// The agent is not as it should be.
    UpdateAgent {
        /// Its identifier.
        id: String,
        /// What differs.
        changes: Vec<Change>,
    },
    /// A document in an older version that nothing refers to afterwards.
    DeleteDocument {
        /// Its name.
        name: String,
        /// Its identifier.
        id: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTool { name } => write!(f, "create tool {name}"),
            Self::UpdateTool { name, .. } => write!(f, "change tool {name}"),
            Self::CreateDocument { name } => write!(f, "create document {name}"),
            Self::CreateWebhook { url } => write!(f, "create webhook to {url}"),
            Self::CreateAgent { name } => write!(f, "create agent {name}"),
            Self::UpdateAgent { id, .. } => write!(f, "change agent {id}"),
            Self::DeleteDocument { name, .. } => write!(f, "delete document {name}"),
        }
    }
}

/// What has to be done, and what is there already.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The agent; `None` when it has to be made.
    pub agent_id: Option<String>,
    /// What has to be done, in order.
    pub steps: Vec<Step>,
    pub(super) desired: DesiredAgent,
    pub(super) documents: Vec<Document>,
    /// Tools in the order of `desired.tools`: the identifier where there is one.
    pub(super) tool_ids: Vec<Option<String>>,
    /// Documents in the order of `documents`: the identifier where there is one.
    pub(super) document_ids: Vec<Option<String>>,
    pub(super) webhook_url: Option<String>,
    pub(super) webhook_id: Option<String>,
}

impl Plan {
    /// True when the agent is as it should be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.steps.is_empty()
    }

    /// Every setting of the agent and of its tools that differs, tools named in the path.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let mut all = Vec::new();
        for step in &self.steps {
            match step {
                Step::UpdateAgent { changes, .. } => all.extend(changes.iter().cloned()),
                Step::UpdateTool { name, changes, .. } => all.extend(changes.iter().map(|change| Change {
                    path: format!("tools[{name}].{}", change.path),
                    breaks: "the tool is not called, or with other parameters than we understand",
                    serious: true,
                    ..change.clone()
                })),
                _ => {}
            }
        }
        all
    }
}

/// Compares the account with what is wanted. Changes nothing.
///
/// # Errors
/// [`AdminError`]
pub async fn plan(account: &Account, agent_id: Option<&str>, wanted: &Wanted) -> Result<Plan, AdminError> {
    let desired = desired(&wanted.text, &wanted.options)?;
    let llms = account.llms().await?;
    if !llms.is_empty() && !llms.contains(&wanted.options.llm) {
        return Err(AdminError::UnknownLlm(wanted.options.llm.clone()));
    }
    let live = match agent_id {
        Some(id) => Some(account.agent(id).await?),
        None => None,
    };
    let mut steps = Vec::new();
    let attached = strings(live.as_ref(), "/conversation_config/agent/prompt/tool_ids");
    let tool_ids = plan_tools(&desired, &account.tools().await?, &attached, &mut steps);
    let documents = documents();
    let known = account.documents(NAME_PREFIX.trim_end()).await?;
    let document_ids = plan_documents(&documents, &known, &mut steps);
    let webhook_id = match &wanted.webhook_url {
        Some(url) => plan_webhook(url, &account.webhooks().await?, &mut steps),
        None => None,
    };
    let mut plan = Plan {
        agent_id: agent_id.map(str::to_owned),
        steps,
        desired,
        documents,
        tool_ids,
        document_ids,
        webhook_url: wanted.webhook_url.clone(),
        webhook_id,
    };
    let body = plan.desired.body(&plan.bound());
    match (agent_id, &live) {
        (Some(id), Some(live)) => {
            let changes = diff(live, &body);
            if !changes.is_empty() {
                plan.steps.push(Step::UpdateAgent { id: id.to_owned(), changes });
            }
            plan.steps.extend(outdated(&plan.documents, &known, live));
        }
        _ => plan.steps.push(Step::CreateAgent { name: plan.desired.name.clone() }),
    }
    Ok(plan)
}

impl Plan {
    /// What the service gave identifiers to; what it has not yet is named in words.
    pub(super) fn bound(&self) -> Bound {
        let new = |id: &Option<String>, name: &str| id.clone().unwrap_or_else(|| format!("(new: {name})"));
        let tools = self.tool_ids.iter().zip(&self.desired.tools);
        let documents = self.document_ids.iter().zip(&self.documents);
        Bound {
            tool_ids: tools.map(|(id, tool)| new(id, &tool_name(tool))).collect(),
            documents: documents.map(|(id, document)| (new(id, &document.name), document.name.clone())).collect(),
            post_call_webhook_id: self.webhook_url.as_ref().map(|_| new(&self.webhook_id, "webhook")),
        }
    }
}

/// The name of a tool's configuration.
pub(super) fn tool_name(config: &Value) -> String {
    config.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn plan_tools(
    desired: &DesiredAgent,
    live: &[Value],
    attached: &[String],
    steps: &mut Vec<Step>,
) -> Vec<Option<String>> {
    let id = |tool: &Value| tool.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours = |tool: &&Value, name: &str| {
        let text = |key: &str| tool.pointer(&format!("/tool_config/{key}")).and_then(Value::as_str).unwrap_or_default();
        !id(tool).is_empty() && text("name") == name && text("description").starts_with(TOOL_MARK)
    };
    let mut ids = Vec::with_capacity(desired.tools.len());
    for wanted in &desired.tools {
        let name = tool_name(wanted);
        // The one this agent uses already, where an account has several.
        let found = live.iter().filter(|tool| ours(tool, &name)).max_by_key(|tool| attached.contains(&id(tool)));
        match found {
            None => steps.push(Step::CreateTool { name }),
            Some(tool) => {
                let changes = diff(tool.get("tool_config").unwrap_or(&Value::Null), wanted);
                if !changes.is_empty() {
                    steps.push(Step::UpdateTool { name, id: id(tool), changes });
                }
            }
        }
        ids.push(found.map(id));
    }
    ids
}

fn plan_documents(wanted: &[Document], known: &[Value], steps: &mut Vec<Step>) -> Vec<Option<String>> {
    let mut ids = Vec::with_capacity(wanted.len());
    for document in wanted {
        let found = known.iter().find(|known| known.get("name").and_then(Value::as_str) == Some(&document.name));
        let id = found.and_then(|found| found.get("id")?.as_str().map(str::to_owned));
        if id.is_none() {
            steps.push(Step::CreateDocument { name: document.name.clone() });
        }
        ids.push(id);
    }
    ids
}

/// Older versions of our documents that this agent refers to.
fn outdated(wanted: &[Document], known: &[Value], live: &Value) -> Vec<Step> {
    let attached = live.pointer("/conversation_config/agent/prompt/knowledge_base").and_then(Value::as_array);
    let attached: Vec<&str> = attached.into_iter().flatten().filter_map(|row| row.get("id")?.as_str()).collect();
    let stale = |row: &&Value| {
        let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
        let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
        name.starts_with(NAME_PREFIX) && attached.contains(&id) && !wanted.iter().any(|document| document.name == name)
    };
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    known
        .iter()
        .filter(stale)
        .map(|row| Step::DeleteDocument { name: text(row, "name"), id: text(row, "id") })
        .collect()
}

fn plan_webhook(url: &str, live: &[Value], steps: &mut Vec<Step>) -> Option<String> {
    let usable = |row: &&Value| {
        let flag = |key: &str| row.get(key).and_then(Value::as_bool).unwrap_or(false);
        row.get("webhook_url").and_then(Value::as_str) == Some(url) && !flag("is_disabled") && !flag("is_auto_disabled")
    };
    let found = live.iter().find(usable).and_then(|row| row.get("webhook_id")?.as_str().map(str::to_owned));
    if found.is_none() {
        steps.push(Step::CreateWebhook { url: url.to_owned() });
    }
    found
}

fn strings(value: Option<&Value>, pointer: &str) -> Vec<String> {
    let list = value.and_then(|value| value.pointer(pointer)?.as_array());
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
