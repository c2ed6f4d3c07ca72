//! What an account of the service holds: agents, tools, documents, webhooks and settings.
//!
//! [`Account::handle`] answers one request of the REST interface. It checks what the real service is known to check, so
//! that a setting it would refuse is refused here too.

use super::checks;
use super::merge::merge;
use crate::rng::Rng;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Things of one kind that an account can hold; a real one has limits too.
const MAX_ITEMS: usize = 500;
/// Items of one page, unless asked otherwise.
const PAGE: usize = 30;
/// Largest page.
const MAX_PAGE: usize = 100;
/// Documents below this are not indexed.
const MIN_INDEXED_BYTES: usize = 500;
/// How far an index gets with every look at it.
const INDEX_STEP_PERCENT: u32 = 50;

/// An answer: HTTP status and body.
pub(crate) type Answer = (u16, Value);

/// A request as far as the account cares.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Path below `/v1/`.
    pub(crate) path: &'a str,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// Seconds since the Unix epoch, for times of creation.
    pub(crate) now_unix_s: u64,
}

impl Request<'_> {
    fn asked(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

#[derive(Debug, Clone)]
struct Document {
    name: String,
    text: String,
    created_unix_s: u64,
    /// Progress of the index by model, in percent.
    indexes: BTreeMap<String, u32>,
}

#[derive(Debug, Clone)]
struct Agent {
    /// `name`, `tags`, `conversation_config`, `platform_settings`.
    content: Value,
    created_unix_s: u64,
    updated_unix_s: u64,
}

/// What an account of the service holds.
#[derive(Debug)]
pub(crate) struct Account {
    agents: BTreeMap<String, Agent>,
    tools: BTreeMap<String, Value>,
    documents: BTreeMap<String, Document>,
    webhooks: BTreeMap<String, Value>,
    settings: Value,
    rng: Rng,
    /// Writing requests so far, by method and path pattern; for tests that nothing is written twice.
    writes: u64,
}

impl Account {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            agents: BTreeMap::new(),
            tools: BTreeMap::new(),
            documents: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            settings: json!({
                "conversation_initiation_client_data_webhook": null,
                "webhooks": {"post_call_webhook_id": null, "events": ["transcript"], "send_audio": false},
                "can_use_mcp_servers": false,
                "rag_retention_period_days": 10,
            }),
            rng: Rng::named(seed, "account"),
            writes: 0,
        }
    }

    /// Requests that changed something.
    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }

    /// The agent's settings, as far as a conversation depends on them.
    pub(crate) fn agent(&self, id: &str) -> Option<&Value> {
        self.agents.get(id).map(|agent| &agent.content)
    }

    /// Answers a request; `None` for an address nobody knows.
    pub(crate) fn handle(&mut self, request: &Request<'_>) -> Option<Answer> {
        let parts: Vec<&str> = request.path.split('/').collect();
        let answer = match (request.method, parts.as_slice()) {
            ("POST", ["convai", "agents", "create"]) => self.create_agent(request),
            ("GET", ["convai", "agents"]) => self.list_agents(request),
            ("GET", ["convai", "agents", id]) => self.get_agent(id),
            ("PATCH", ["convai", "agents", id]) => self.update_agent(id, request),
            ("DELETE", ["convai", "agents", id]) => {
                self.agents.remove(*id).map_or_else(|| missing("agent", id), |_| (200, json!({})))
            }
            ("POST", ["convai", "tools"]) => self.create_tool(request),
            ("GET", ["convai", "tools"]) => self.list_tools(request),
            ("GET", ["convai", "tools", id]) => self.show(id, "tool"),
            ("PATCH", ["convai", "tools", id]) => self.update_tool(id, request),
            ("DELETE", ["convai", "tools", id]) => self.delete_tool(id),
            ("POST", ["convai", "knowledge-base", "text" | "file"]) => self.create_document(request),
            ("GET", ["convai", "knowledge-base"]) => self.list_documents(request),
            ("GET", ["convai", "knowledge-base", id]) => self.show(id, "document"),
            ("GET", ["convai", "knowledge-base", id, "content"]) => match self.documents.get(*id) {
                Some(document) => (200, json!(document.text)),
                None => missing("document", id),
            },
            ("DELETE", ["convai", "knowledge-base", id]) => self.delete_document(id, request),
            ("POST", ["convai", "knowledge-base", id, "rag-index"]) => self.index(id, request),
            ("GET", ["convai", "settings"]) => (200, self.settings.clone()),
            ("PATCH", ["convai", "settings"]) => self.update_settings(request),
            ("POST", ["workspace", "webhooks"]) => self.create_webhook(request),
            ("GET", ["workspace", "webhooks"]) => {
                (200, json!({"webhooks": self.webhooks.values().collect::<Vec<_>>()}))
            }
            ("DELETE", ["workspace", "webhooks", id]) => {
                self.webhooks.remove(*id).map_or_else(|| missing("webhook", id), |_| (200, json!({"status": "ok"})))
            }
            ("GET", ["convai", "llm", "list"]) => (200, checks::llm_list()),
            ("GET", ["user"]) => (200, json!({"user_id": "user_simulated", "subscription": {"tier": "simulated"}})),
            _ => return None,
        };
        // Asking for an index again is how its progress is read.
        if request.method != "GET" && answer.0 < 300 && !request.path.ends_with("/rag-index") {
            self.writes += 1;
        }
        Some(answer)
    }

    fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}_{}", self.rng.hex(28))
    }

    fn create_agent(&mut self, request: &Request<'_>) -> Answer {
        if request.body.get("conversation_config").and_then(Value::as_object).is_none() {
            return invalid(&["body", "conversation_config"], "Field required", "missing");
        }
        if self.agents.len() >= MAX_ITEMS {
            return full("agents");
        }
        let mut content = checks::new_agent();
        merge(&mut content, &request.body);
        if let Err(refused) = self.check_agent(&content) {
            return refused;
        }
        let id = self.id("agent");
        let now = request.now_unix_s;
        self.agents.insert(id.clone(), Agent { content, created_unix_s: now, updated_unix_s: now });
        (200, json!({"agent_id": id}))
    }

    fn update_agent(&mut self, id: &str, request: &Request<'_>) -> Answer {
        let Some(agent) = self.agents.get(id) else { return missing("agent", id) };
        let mut content = agent.content.clone();
        merge(&mut content, &request.body);
        if let Err(refused) = self.check_agent(&content) {
            return refused;
        }
        if let Some(agent) = self.agents.get_mut(id) {
            agent.content = content;
            agent.updated_unix_s = request.now_unix_s;
        }
        self.get_agent(id)
    }

    /// What the service refuses: models that do not fit, and references to what does not exist.
    fn check_agent(&self, content: &Value) -> Result<(), Answer> {
        checks::agent(content)?;
        let texts = |pointer: &str| {
            content.pointer(pointer).and_then(Value::as_array).into_iter().flatten().cloned().collect::<Vec<_>>()
        };
        for id in texts("/conversation_config/agent/prompt/tool_ids") {
            if !id.as_str().is_some_and(|id| self.tools.contains_key(id)) {
                return Err(missing("tool", id.as_str().unwrap_or("?")));
            }
        }
        for document in texts("/conversation_config/agent/prompt/knowledge_base") {
            let id = document.get("id").and_then(Value::as_str).unwrap_or("?");
            if !self.documents.contains_key(id) {
                return Err(missing("document", id));
            }
        }
        let webhook = content.pointer("/platform_settings/workspace_overrides/webhooks/post_call_webhook_id");
        match webhook.and_then(Value::as_str) {
            Some(id) if !self.webhooks.contains_key(id) => Err(missing("webhook", id)),
            _ => Ok(()),
        }
    }

    fn get_agent(&self, id: &str) -> Answer {
        let Some(agent) = self.agents.get(id) else { return missing("agent", id) };
        let mut answer = json!({
            "agent_id": id,
            "metadata": {"created_at_unix_secs": agent.created_unix_s, "updated_at_unix_secs": agent.updated_unix_s},
            "phone_numbers": [],
            "whatsapp_accounts": [],
            "access_info": access(),
            "version_id": null,
            "branch_id": null,
        });
        merge(&mut answer, &agent.content);
        (200, answer)
    }

    fn list_agents(&self, request: &Request<'_>) -> Answer {
        let row = |(id, agent): (&String, &Agent)| {
            json!({
                "agent_id": id,
                "name": agent.content.get("name"),
                "voice_id": agent.content.pointer("/conversation_config/tts/voice_id"),
                "tags": agent.content.get("tags"),
                "created_at_unix_secs": agent.created_unix_s,
                "updated_at_unix_secs": agent.updated_unix_s,
                "access_info": access(),
                "archived": false,
            })
        };
        let wanted = request.asked("search").unwrap_or_default();
        let named = |agent: &Agent| agent.content["name"].as_str().is_some_and(|name| name.contains(wanted));
        page("agents", self.agents.iter().filter(|(_, agent)| named(agent)).map(row).collect(), request)
    }

    fn create_tool(&mut self, request: &Request<'_>) -> Answer {
        if self.tools.len() >= MAX_ITEMS {
            return full("tools");
        }
        let Some(config) = request.body.get("tool_config") else {
            return invalid(&["body", "tool_config"], "Field required", "missing");
        };
        let mut whole = checks::new_tool();
        merge(&mut whole, config);
        if let Err(refused) = checks::tool(&whole) {
            return refused;
        }
        let id = self.id("tool");
        self.tools.insert(id.clone(), whole);
        self.show(&id, "tool")
    }

    fn update_tool(&mut self, id: &str, request: &Request<'_>) -> Answer {
        let Some(known) = self.tools.get(id) else { return missing("tool", id) };
        let Some(config) = request.body.get("tool_config") else {
            return invalid(&["body", "tool_config"], "Field required", "missing");
        };
        // A tool is replaced as a whole; what is left out becomes its default.
        let mut whole = checks::new_tool();
        merge(&mut whole, config);
        if let Err(refused) = checks::tool(&whole) {
            return refused;
        }
        if known != &whole {
            self.tools.insert(id.to_owned(), whole);
        }
        self.show(id, "tool")
    }

    fn delete_tool(&mut self, id: &str) -> Answer {
        let used = |agent: &Agent| {
            agent.content.pointer("/conversation_config/agent/prompt/tool_ids").is_some_and(|ids| contains(ids, id))
        };
        if self.agents.values().any(used) {
            return conflict("tool_in_use", "The tool is used by an agent");
        }
        self.tools.remove(id).map_or_else(|| missing("tool", id), |_| (200, json!({})))
    }

    fn list_tools(&self, request: &Request<'_>) -> Answer {
        let rows = self.tools.keys().map(|id| self.show(id, "tool").1).collect();
        page("tools", rows, request)
    }

    fn create_document(&mut self, request: &Request<'_>) -> Answer {
        let Some(text) = request.body.get("text").and_then(Value::as_str) else {
            return invalid(&["body", "text"], "Field required", "missing");
        };
        if self.documents.len() >= MAX_ITEMS {
            return full("documents");
        }
        let id = self.id("doc");
        let name = request.body.get("name").and_then(Value::as_str).unwrap_or("Untitled").to_owned();
        let document = Document {
            name: name.clone(),
            text: text.to_owned(),
            created_unix_s: request.now_unix_s,
            indexes: BTreeMap::new(),
        };
        self.documents.insert(id.clone(), document);
        (200, json!({"id": id, "name": name, "folder_path": []}))
    }

    fn list_documents(&self, request: &Request<'_>) -> Answer {
        let wanted = request.asked("search").unwrap_or_default();
        let found = self.documents.iter().filter(|(_, document)| document.name.contains(wanted));
        let rows = found
            .map(|(id, _)| {
                let mut row = self.show(id, "document").1;
                if let Some(row) = row.as_object_mut() {
                    row.remove("extracted_inner_html");
                }
                row
            })
            .collect();
        page("documents", rows, request)
    }

    fn delete_document(&mut self, id: &str, request: &Request<'_>) -> Answer {
        let used = |agent: &Agent| {
            let list = agent.content.pointer("/conversation_config/agent/prompt/knowledge_base");
            list.and_then(Value::as_array).into_iter().flatten().any(|document| document["id"] == id)
        };
        if self.agents.values().any(used) && request.asked("force") != Some("true") {
            return conflict("document_in_use", "The document is used by an agent");
        }
        self.documents.remove(id).map_or_else(|| missing("document", id), |_| (200, json!({})))
    }

    fn index(&mut self, id: &str, request: &Request<'_>) -> Answer {
        let Some(document) = self.documents.get_mut(id) else { return missing("document", id) };
        let Some(model) = request.body.get("model").and_then(Value::as_str) else {
            return invalid(&["body", "model"], "Field required", "missing");
        };
        if !checks::EMBEDDING_MODELS.contains(&model) {
            return invalid(&["body", "model"], "Input should be a known embedding model", "enum");
        }
        let size = document.text.len();
        let (status, progress) = if size < MIN_INDEXED_BYTES {
            ("document_too_small", 0)
        } else {
            match document.indexes.get_mut(model) {
                Some(progress) => {
                    *progress = (*progress + INDEX_STEP_PERCENT).min(100);
                    (if *progress < 100 { "processing" } else { "succeeded" }, *progress)
                }
                None => {
                    document.indexes.insert(model.to_owned(), 0);
                    ("created", 0)
                }
            }
        };
        (
            200,
            json!({"id": format!("idx_{id}"), "model": model, "status": status, "progress_percentage": f64::from(progress),
                "document_model_index_usage": {"used_bytes": size}}),
        )
    }

    fn update_settings(&mut self, request: &Request<'_>) -> Answer {
        let webhook = request.body.pointer("/webhooks/post_call_webhook_id").and_then(Value::as_str);
        if let Some(id) = webhook.filter(|id| !self.webhooks.contains_key(*id)) {
            return missing("webhook", id);
        }
        merge(&mut self.settings, &request.body);
        (200, self.settings.clone())
    }

    fn create_webhook(&mut self, request: &Request<'_>) -> Answer {
        let settings = request.body.get("settings").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        let (Some("hmac"), Some(name), Some(url)) = (text("auth_type"), text("name"), text("webhook_url")) else {
            return invalid(&["body", "settings"], "Field required", "missing");
        };
        if self.webhooks.len() >= MAX_ITEMS {
            return full("webhooks");
        }
        let id = self.id("wh");
        let secret = format!("wsec_{}", self.rng.hex(64));
        let webhook = json!({"webhook_id": id, "name": name, "webhook_url": url, "is_disabled": false,
            "is_auto_disabled": false, "created_at_unix": request.now_unix_s, "auth_type": "hmac", "usage": [],
            "most_recent_failure_error_code": null, "most_recent_failure_timestamp": null});
        self.webhooks.insert(id.clone(), webhook);
        (200, json!({"webhook_id": id, "webhook_secret": secret}))
    }

    fn show(&self, id: &str, kind: &str) -> Answer {
        match (kind, self.tools.get(id), self.documents.get(id)) {
            ("tool", Some(config), _) => (
                200,
                json!({"id": id, "tool_config": config, "access_info": access(),
                    "usage_stats": {"total_calls": 0, "avg_latency_secs": 0.0}}),
            ),
            ("document", _, Some(document)) => (
                200,
                json!({"id": id, "name": document.name, "type": "text", "extracted_inner_html": document.text,
                    "metadata": {"created_at_unix_secs": document.created_unix_s,
                        "last_updated_at_unix_secs": document.created_unix_s, "size_bytes": document.text.len()},
                    "supported_usages": ["prompt", "auto"], "access_info": access(), "dependent_agents": [],
                    "folder_parent_id": null, "folder_path": []}),
            ),
            _ => missing(kind, id),
        }
    }
}

/// A page of a list: `page_size` and `cursor` as asked for.
fn page(key: &str, rows: Vec<Value>, request: &Request<'_>) -> Answer {
    let size = request.asked("page_size").and_then(|size| size.parse().ok()).unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let start: usize = request.asked("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let more = rows.len() > start.saturating_add(size);
    let shown: Vec<Value> = rows.into_iter().skip(start).take(size).collect();
    let cursor = if more { json!((start + size).to_string()) } else { Value::Null };
    (200, json!({key: shown, "next_cursor": cursor, "has_more": more}))
}

fn contains(list: &Value, text: &str) -> bool {
    list.as_array().into_iter().flatten().any(|item| item == text)
}

fn access() -> Value {
    json!({"is_creator": true, "creator_name": "Simulated", "creator_email": "nobody@example.org", "role": "admin"})
}

fn missing(kind: &str, id: &str) -> Answer {
    (
        404,
        json!({"detail": {"status": format!("{kind}_not_found"), "message": format!("The {kind} {id} was not found")}}),
    )
}

fn conflict(status: &str, message: &str) -> Answer {
    (400, json!({"detail": {"status": status, "message": message}}))
}

fn full(what: &str) -> Answer {
    (400, json!({"detail": {"status": "limit_reached", "message": format!("This account holds no more {what}")}}))
}

/// Body of a 422.
pub(super) fn invalid(loc: &[&str], message: &str, kind: &str) -> Answer {
    (422, json!({"detail": [{"loc": loc, "msg": message, "type": kind}]}))
}
