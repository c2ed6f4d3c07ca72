//! REST: text messages, which move from `queued` to their end by themselves.

use super::rest::{Form, Hub, MessageEntry, answer, lock};
use super::rest_json::{ApiError, is_number};
use super::webhook::{field, rfc2822};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;

/// Longest text of a message.
const MAX_BODY: usize = 1_600;
/// Messages of one page unless asked otherwise, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 1_000;

pub(super) async fn create(
    State(hub): State<Arc<Hub>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| begin(&hub, &Form::parse(&body))))
}

fn begin(hub: &Arc<Hub>, form: &Form) -> Result<(u16, Value), ApiError> {
    let to = form.get("To").ok_or_else(|| ApiError::missing("To"))?;
    let service = form.get("MessagingServiceSid");
    let from = form.get("From").or(service).ok_or_else(|| ApiError::missing("From"))?;
    let text = form.get("Body").ok_or_else(|| ApiError::missing("Body"))?;
    if !is_number(to) || to == "+15005550001" {
        return Err(ApiError::bad_to(to));
    }
    if text.chars().count() > MAX_BODY {
        return Err(ApiError::new(400, 21617, "The concatenated message body exceeds the 1600 character limit"));
    }
    let entry = MessageEntry {
        sid: hub.new_sid("SM"),
        to: to.to_owned(),
        from: from.to_owned(),
        body: text.to_owned(),
        status: if service.is_some() { "accepted" } else { "queued" }.to_owned(),
        created: rfc2822(),
        error_code: None,
    };
    let json = entry.json(&hub.config.account_sid);
    let callback = form.get("StatusCallback").map(str::to_owned);
    lock(&hub.messages).push(entry.clone());
    let task_hub = Arc::clone(hub);
    hub.tasks.spawn(async move { deliver(&task_hub, entry, callback).await });
    Ok((201, json))
}

/// Takes a message through its states, telling the callback.
async fn deliver(hub: &Hub, mut entry: MessageEntry, callback: Option<String>) {
    let error = hub.config.undeliverable.iter().find(|(number, _)| *number == entry.to).map(|(_, code)| *code);
    let end = if error.is_some() { "undelivered" } else { "delivered" };
    for status in ["sent", end] {
        tokio::select! {
            () = tokio::time::sleep(hub.config.message_step) => {}
            () = hub.stop.cancelled() => return,
        }
        entry.status = status.to_owned();
        entry.error_code = error.filter(|_| status == "undelivered");
        if let Some(stored) = lock(&hub.messages).iter_mut().find(|stored| stored.sid == entry.sid) {
            *stored = entry.clone();
        }
        let Some(url) = &callback else { continue };
        let mut fields = vec![
            field("MessageSid", entry.sid.as_str()),
            field("SmsSid", entry.sid.as_str()),
            field("MessageStatus", status),
            field("SmsStatus", status),
            field("AccountSid", hub.config.account_sid.as_str()),
            field("From", entry.from.as_str()),
            field("To", entry.to.as_str()),
            field("ApiVersion", "2010-04-01"),
        ];
        fields.extend(entry.error_code.map(|code| field("ErrorCode", code.to_string())));
        if let Err(failure) = hub.webhooks.send(url, "POST", &fields).await {
            tracing::warn!(failure.detail, "message callback failed");
        }
    }
}

/// The newest messages first, those to one number when asked.
pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    Path(account): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    answer(hub.admit(&headers, &account).map(|()| {
        let field = |name: &str| query.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let size = field("PageSize").and_then(|size| size.parse().ok()).unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let to = field("To");
        let stored = lock(&hub.messages);
        let found = stored.iter().rev().filter(|message| to.is_none_or(|to| to == message.to)).take(size);
        let messages: Vec<Value> = found.map(|message| message.json(&hub.config.account_sid)).collect();
        (200, serde_json::json!({"messages": messages, "page": 0, "page_size": size, "next_page_uri": null}))
    }))
}

pub(super) async fn read(
    State(hub): State<Arc<Hub>>,
    Path((account, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(hub.admit(&headers, &account).and_then(|()| {
        let sid = file.trim_end_matches(".json");
        let messages = lock(&hub.messages);
        let found = messages.iter().find(|message| message.sid == sid);
        let message = found.ok_or_else(|| ApiError::not_found(&format!("/Messages/{sid}.json")))?;
        Ok((200, message.json(&hub.config.account_sid)))
    }))
}
