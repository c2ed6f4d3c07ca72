//! The description of the interface by itself, as OpenAPI 3.1.
//!
//! Handlers say what is special about them. What holds for all of them is added here, from the same rules that the gate
//! goes by: who may call them and with which right, which problems can come back, which headers go along. The document is
//! made once, in a stable order.

use super::routes::{Rule, Rules};
use super::{REQUEST_ID, documents, problem};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const PROBLEM: &str = "#/components/schemas/Problem";
/// What an identifier in a path looks like.
const ID_PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";
/// What a client chooses to name an attempt by.
pub(super) const KEY_PATTERN: &str = "^[!-~]{1,128}$";

const ABOUT: &str = "Patients, calls, alerts and schedules of a HeartVoice Monitor.\n\n\
    Every answer carries `x-request-id`. Errors are RFC 9457 problems whose `code` stays the same across versions. Times \
    are RFC 3339 in UTC, identifiers are opaque, and what is not known is `null`. Lists come in pages: ask again with \
    `cursor` set to `next_cursor` until that is `null`.\n\n\
    `ETag` is on every JSON document: with `If-None-Match` it is not sent twice, and with `If-Match` a change is made only \
    if nothing of what it was decided by has changed. A `POST` with an `Idempotency-Key` can be repeated safely for 24 \
    hours: the same request gets the same answer.\n\n\
    `x-right` names the right that an operation needs, `x-subject` says how the patient whom it is about is found, `x-audit` what the audit trail calls it. \
    Whoever may not see a patient is answered as if there were none.";

/// What all operations have in common, before there are any.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("HeartVoice Monitor")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(
            utoipa::openapi::LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ))
        .build();
    utoipa::openapi::OpenApi::new(info, utoipa::openapi::Paths::new())
}

/// The whole document.
pub(super) fn document(described: &utoipa::openapi::OpenApi, fhir: &utoipa::openapi::OpenApi, rules: &Rules) -> Value {
    let mut document = json!(described);
    for (path, item) in json!(fhir)["paths"].as_object().into_iter().flatten() {
        document["paths"][path] = item.clone();
        for operation in document["paths"][path].as_object_mut().into_iter().flatten().map(|(_, operation)| operation) {
            operation["servers"] = json!([{"url": super::FHIR, "description": "FHIR R4, read only"}]);
        }
    }
    document["servers"] = json!([{"url": super::BASE, "description": "This server"}]);
    document["tags"] = json!([
        {"name": "patients", "description": "Who they are, their care, and how they have been."},
        {"name": "calls", "description": "What was said, measured and concluded in calls."},
        {"name": "alerts", "description": "What a person has to look at."},
        {"name": "schedules", "description": "When patients are telephoned."},
        {"name": "people", "description": "Accounts, care teams, and records opened in an emergency."},
        {"name": "audit", "description": "Who did what."},
        {"name": "exports", "description": "What leaves the house."},
        {"name": "account", "description": "One's own account."},
        {"name": "interface", "description": "The interface itself."},
    ]);
    document["security"] = json!([{"bearer": []}, {"session": []}]);
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `heartvoice token create`."},
        "session": {"type": "apiKey", "in": "cookie", "name": "__Host-heartvoice",
            "description": "The session of a person who has signed in."},
    });
    if let Some(schemas) = components["schemas"].as_object_mut() {
        schemas.extend(documents::schemas());
        schemas.insert("Problem".to_owned(), problem::schema());
        let names: Vec<String> = schemas.keys().cloned().collect();
        for (name, schema) in schemas.iter_mut() {
            // Lists would repeat the whole schema of their items.
            if let Some(item) = name.strip_prefix("Listing_").filter(|item| names.iter().any(|name| name == item)) {
                schema["properties"]["items"]["items"] = json!({"$ref": format!("#/components/schemas/{item}")});
            }
        }
    }
    for rule in rules.iter() {
        let method = rule.method.as_str().to_ascii_lowercase();
        if let Some(operation) = document["paths"][rule.path.as_str()][method.as_str()].as_object_mut() {
            complete(operation, rule);
        }
    }
    document
}

/// Adds to an operation what follows from its rule.
fn complete(operation: &mut Map<String, Value>, rule: &Rule) {
    operation.insert("x-right".to_owned(), json!(rule.right_name()));
    operation.insert("x-subject".to_owned(), json!(rule.subject.as_str()));
    if rule.right.is_some() {
        operation.insert("x-audit".to_owned(), json!(rule.action));
    }
    let is_open = rule.right.is_none();
    if is_open {
        operation.insert("security".to_owned(), json!([]));
    }
    let has_body = operation.contains_key("requestBody");
    let is_post = rule.method == Method::POST;
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        for parameter in parameters.iter_mut().filter(|parameter| parameter["in"] == "path") {
            parameter["schema"]["pattern"] = json!(ID_PATTERN);
            parameter["description"] = json!("Its identifier; opaque.");
        }
        if is_post {
            parameters.push(json!({"name": "Idempotency-Key", "in": "header", "required": false,
                "description": "Names this attempt: repeated with the same key, it is not made twice.",
                "schema": {"type": "string", "pattern": KEY_PATTERN}}));
        }
    }
    let has_parameters = operation["parameters"].as_array().is_some_and(|parameters| !parameters.is_empty());
    let is_of_one = rule.path.contains('{');
    let names_one = operation["parameters"].as_array().is_some_and(|parameters| {
        let names = ["patient_id", "patient"];
        parameters.iter().any(|parameter| names.iter().any(|name| parameter["name"] == *name))
    });
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else { return };
    let mut problem = |status: &str, applies: bool, description: &str| {
        if applies && !responses.contains_key(status) {
            responses.insert(status.to_owned(), problem_response(description));
        }
    };
    problem(
        "400",
        has_parameters || has_body,
        "A parameter or the body cannot be understood; `detail` names the field",
    );
    problem("401", !is_open, "Nobody is signed in, or the token is not valid");
    problem("403", !is_open, "The right is missing, or the patient is out of reach");
    problem("404", is_of_one || has_body || names_one, "There is no such thing");
    problem("409", is_post, "A request with this `Idempotency-Key` is still being served");
    problem("410", is_of_one, "It was erased");
    problem("413", has_body, "The body is too large");
    problem("415", has_body, "The body is not JSON");
    problem("422", is_post, "The `Idempotency-Key` was used for another request");
    problem("429", true, "Too many requests; see `Retry-After`");
    problem("500", true, "Something went wrong here");
    problem("503", !is_open, "Try again later; see `Retry-After`");
    let is_json = |response: &Value| response["content"]["application/json"].is_object();
    let is_tagged = responses.get("200").is_some_and(is_json);
    for (status, response) in responses.iter_mut() {
        if response["headers"].is_null() {
            response["headers"] = json!({});
        }
        response["headers"][REQUEST_ID] = json!({"description": "Names the request, in the log too.", "schema": {"type": "string", "format": "uuid"}});
        if matches!(status.as_str(), "429" | "503") {
            response["headers"]["retry-after"] = json!({"description": "Seconds.", "schema": {"type": "integer"}});
        }
        if status == "200" && is_json(response) {
            response["headers"]["etag"] = json!({"description": "Its state.", "schema": {"type": "string"}});
        }
    }
    if is_tagged && rule.method == Method::GET {
        responses.insert("304".to_owned(), json!({"description": "As it was: the `If-None-Match` names it"}));
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.push(json!({"name": "If-None-Match", "in": "header", "required": false,
                "description": "The `ETag` of what the client has already.", "schema": {"type": "string"}}));
        }
    }
}

fn problem_response(description: &str) -> Value {
    json!({"description": description, "content": {"application/problem+json": {"schema": {"$ref": PROBLEM}}}})
}

/// Describes this interface
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenApi", tag = "interface",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn get(axum::extract::State(app): axum::extract::State<Arc<crate::app::App>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], app.api.document.clone())
}
