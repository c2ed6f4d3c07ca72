//! The REST interface of the service's account, as far as we use it.

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longest answer that is read. An agent with its prompt has about 50 kB.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Entries asked for in one page of a list.
const PAGE_SIZE: &str = "100";
/// Pages of a list that are read.
const MAX_PAGES: usize = 20;
/// Characters of the service's own explanation that are repeated.
const EXPLANATION_CHARS: usize = 300;

/// Why the account could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The HTTP client could not be set up, or the base address is none.
    #[error("the request could not be made: check ELEVENLABS_BASE_URL")]
    Request,
    /// No answer.
    #[error("ElevenLabs cannot be reached: check the network and ELEVENLABS_BASE_URL, then try again")]
    Unreachable,
    /// An answer came too late; what was asked for may have been done. Doing it again is harmless.
    #[error("ElevenLabs did not answer in time: try again, what was done already is not done twice")]
    Timeout,
    /// The key is wrong or may not do this.
    #[error("ElevenLabs refuses the key for {doing}: check ELEVENLABS_API_KEY and its permissions for agents")]
    Unauthorized {
        /// What was attempted.
        doing: &'static str,
    },
    /// There is no such thing in the account.
    #[error("the account has no such {what}: check ELEVENLABS_AGENT_ID and ELEVENLABS_BASE_URL")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
    },
    /// Too many requests.
    #[error("ElevenLabs takes no more requests right now: try again in a minute")]
    Busy,
    /// The service refused.
    #[error("ElevenLabs refused {doing} with status {status}: {message}")]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// HTTP status.
        status: u16,
        /// The service's explanation, shortened.
        message: String,
    },
    /// The answer is not what the service's interface promises.
    #[error("the answer of ElevenLabs to {doing} cannot be read")]
    Unreadable {
        /// What was attempted.
        doing: &'static str,
    },
    /// The protocol or the options do not make an agent.
    #[error(transparent)]
    Text(#[from] clinic::agent::AgentTextError),
    /// The service does not have the model any more.
    #[error("ElevenLabs has no language model {0}: choose another one (ELEVENLABS_LLM)")]
    UnknownLlm(String),
    /// A document was not indexed.
    #[error("document {name} was not indexed: {status}")]
    NotIndexed {
        /// The document.
        name: String,
        /// The service's word for it.
        status: String,
    },
    /// The service accepted the settings and did not keep all of them.
    #[error("ElevenLabs did not keep these settings: {}", paths.join(", "))]
    NotKept {
        /// Which.
        paths: Vec<String>,
    },
}

/// Access to an account; cheap to clone.
#[derive(Debug, Clone)]
pub struct Account {
    http: reqwest::Client,
    base: String,
    key: SecretString,
}

impl Account {
    /// # Errors
    /// [`AdminError::Request`] when the HTTP client cannot be set up.
    pub fn new(base_url: &str, key: SecretString) -> Result<Self, AdminError> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| AdminError::Request)?;
        Ok(Self { http, base: base_url.trim_end_matches('/').to_owned(), key })
    }

    /// The agent as it is.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn agent(&self, id: &str) -> Result<Value, AdminError> {
        let path = format!("/v1/convai/agents/{}", segment(id));
        self.request(Method::GET, &path, &[], None, "reading the agent", "agent").await
    }

    pub(super) async fn create_agent(&self, body: &Value) -> Result<String, AdminError> {
        let doing = "creating the agent";
        let made = self.request(Method::POST, "/v1/convai/agents/create", &[], Some(body), doing, "agent").await?;
        text(&made, "agent_id", doing)
    }

    pub(super) async fn update_agent(&self, id: &str, body: &Value) -> Result<(), AdminError> {
        let path = format!("/v1/convai/agents/{}", segment(id));
        self.request(Method::PATCH, &path, &[], Some(body), "changing the agent", "agent").await.map(drop)
    }

    pub(super) async fn tools(&self) -> Result<Vec<Value>, AdminError> {
        self.list("/v1/convai/tools", &[], "tools", "listing tools").await
    }

    pub(super) async fn create_tool(&self, config: &Value) -> Result<String, AdminError> {
        let (doing, body) = ("creating a tool", json!({"tool_config": config}));
        let made = self.request(Method::POST, "/v1/convai/tools", &[], Some(&body), doing, "tool").await?;
        text(&made, "id", doing)
    }

    pub(super) async fn update_tool(&self, id: &str, config: &Value) -> Result<(), AdminError> {
        let path = format!("/v1/convai/tools/{}", segment(id));
        let body = json!({"tool_config": config});
        self.request(Method::PATCH, &path, &[], Some(&body), "changing a tool", "tool").await.map(drop)
    }

    pub(super) async fn documents(&self, search: &str) -> Result<Vec<Value>, AdminError> {
        self.list("/v1/convai/knowledge-base", &[("search", search)], "documents", "listing documents").await
    }

    pub(super) async fn create_document(&self, name: &str, words: &str) -> Result<String, AdminError> {
        let (doing, body) = ("creating a document", json!({"text": words, "name": name}));
        let path = "/v1/convai/knowledge-base/text";
        let made = self.request(Method::POST, path, &[], Some(&body), doing, "document").await?;
        text(&made, "id", doing)
    }

    /// Begins to index a document, or asks how far it is: the service's word for it.
    pub(super) async fn index_document(&self, id: &str, model: &str) -> Result<String, AdminError> {
        let (doing, body) = ("indexing a document", json!({"model": model}));
        let path = format!("/v1/convai/knowledge-base/{}/rag-index", segment(id));
        let index = self.request(Method::POST, &path, &[], Some(&body), doing, "document").await?;
        text(&index, "status", doing)
    }

    pub(super) async fn delete_document(&self, id: &str) -> Result<(), AdminError> {
        let path = format!("/v1/convai/knowledge-base/{}", segment(id));
        self.request(Method::DELETE, &path, &[], None, "deleting a document", "document").await.map(drop)
    }

    pub(super) async fn webhooks(&self) -> Result<Vec<Value>, AdminError> {
        let doing = "listing webhooks";
        let query = [("include_usages", "false")];
        let answer = self.request(Method::GET, "/v1/workspace/webhooks", &query, None, doing, "webhooks").await?;
        rows(&answer, "webhooks", doing)
    }

    /// Makes a webhook: its identifier, and the secret that is told only now.
    pub(super) async fn create_webhook(&self, url: &str) -> Result<(String, SecretString), AdminError> {
        let doing = "creating a webhook";
        let body = json!({"settings": {"auth_type": "hmac", "name": "HeartVoice post-call", "webhook_url": url}});
        let made = self.request(Method::POST, "/v1/workspace/webhooks", &[], Some(&body), doing, "webhooks").await?;
        Ok((text(&made, "webhook_id", doing)?, SecretString::from(text(&made, "webhook_secret", doing)?)))
    }

    /// Names of the language models there are.
    pub(super) async fn llms(&self) -> Result<Vec<String>, AdminError> {
        let doing = "listing language models";
        let answer = self.request(Method::GET, "/v1/convai/llm/list", &[], None, doing, "list").await?;
        let names = rows(&answer, "llms", doing)?;
        Ok(names.iter().filter_map(|row| row.get("llm")?.as_str().map(str::to_owned)).collect())
    }

    async fn list(
        &self,
        path: &str,
        query: &[(&str, &str)],
        key: &str,
        doing: &'static str,
    ) -> Result<Vec<Value>, AdminError> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("page_size", PAGE_SIZE));
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page = self.request(Method::GET, path, &query, None, doing, "list").await?;
            all.extend(rows(&page, key, doing)?);
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || page.get("has_more") != Some(&Value::Bool(true)) {
                return Ok(all);
            }
        }
        Ok(all)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        doing: &'static str,
        what: &'static str,
    ) -> Result<Value, AdminError> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .query(query)
            .header("xi-api-key", self.key.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| {
            if error.is_builder() {
                AdminError::Request
            } else if error.is_timeout() {
                AdminError::Timeout
            } else {
                AdminError::Unreachable
            }
        })?;
        let status = response.status();
        let body = read(response).await;
        match status {
            status if status.is_success() => body.ok_or(AdminError::Unreadable { doing }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AdminError::Unauthorized { doing }),
            StatusCode::NOT_FOUND => Err(AdminError::NotFound { what }),
            StatusCode::TOO_MANY_REQUESTS => Err(AdminError::Busy),
            status => Err(AdminError::Refused {
                doing,
                status: status.as_u16(),
                message: body.map_or_else(|| "no explanation".to_owned(), |body| explanation(&body)),
            }),
        }
    }
}

/// The body as JSON, if it is that and not too long. No body is no value.
async fn read(mut response: reqwest::Response) -> Option<Value> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() }
}

/// The service's explanation in a line: `detail.message`, or the fields at fault of a `detail` list.
fn explanation(body: &Value) -> String {
    let detail = body.get("detail").unwrap_or(body);
    let text = match detail {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(field_at_fault).collect::<Vec<_>>().join("; "),
        _ => detail.get("message").and_then(Value::as_str).unwrap_or("no explanation").to_owned(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXPLANATION_CHARS).collect();
    line
}

fn field_at_fault(item: &Value) -> String {
    let path = item.get("loc").and_then(Value::as_array).into_iter().flatten();
    let path: Vec<String> = path.map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect();
    format!("{}: {}", path.join("."), item.get("msg").and_then(Value::as_str).unwrap_or("not accepted"))
}

fn text(value: &Value, key: &str, doing: &'static str) -> Result<String, AdminError> {
    value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(AdminError::Unreadable { doing })
}

fn rows(value: &Value, key: &str, doing: &'static str) -> Result<Vec<Value>, AdminError> {
    value.get(key).and_then(Value::as_array).cloned().ok_or(AdminError::Unreadable { doing })
}

/// An identifier as a part of a path: whatever could end the part is left out, so that it cannot become another path.
fn segment(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_one_line() {
        let fields = json!({"detail": [{"loc": ["body", "tts", 0], "msg": "bad"}, {"loc": [], "msg": "worse"}]});
        assert_eq!(explanation(&fields), "body.tts.0: bad; : worse");
        assert_eq!(explanation(&json!({"detail": {"status": "x", "message": "no\nway"}})), "no way");
        assert_eq!(explanation(&json!({"detail": "Not Found"})), "Not Found");
        assert_eq!(explanation(&json!(7)), "no explanation");
        assert_eq!(segment("agent_1/../../tools?x"), "agent_1toolsx");
    }
}
