//! The interface describes itself, and is as it says.

use crate::client::Client;
use serde_json::Value;
use std::collections::HashSet;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Every operation of the document: method, path, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            found.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    found
}

fn walk<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    see(value);
    match value {
        Value::Object(object) => object.values().for_each(|value| walk(value, see)),
        Value::Array(items) => items.iter().for_each(|value| walk(value, see)),
        _ => {}
    }
}

#[test]
fn the_document_is_whole() {
    let document = server::openapi_document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let all = operations(&document);
    assert!(all.len() >= 28, "{}", all.len());
    let ids: HashSet<_> = all.iter().map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each operation has an id of its own");
    walk(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference} leads nowhere");
        }
    });
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for name in schemas.keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "nothing refers to {name}");
    }
    for name in ["Assessment", "BiomarkerResult", "Trend", "Event", "Visit", "Problem"] {
        assert!(schemas[name]["properties"].as_object().is_some_and(|fields| fields.len() > 1), "{name} says nothing");
    }
}

#[test]
fn every_operation_says_what_it_needs_and_what_can_come_back() {
    let document = server::openapi_document();
    for (method, path, operation) in operations(&document) {
        let right = operation["x-right"].as_str().unwrap();
        assert!(right == "none" || clinic::access::Right::parse(right).is_some(), "{method} {path}: {right}");
        let subject = operation["x-subject"].as_str().unwrap();
        assert!(["patient", "call", "alert", "schedule", "none", "list"].contains(&subject), "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 5), "{method} {path}");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        assert_eq!(right != "none", responses.contains_key("401") && responses.contains_key("403"), "{method} {path}");
        assert_eq!(path.contains("{id}"), responses.contains_key("410"), "{method} {path}");
        for (status, response) in responses {
            let is_problem = response["content"]["application/problem+json"].is_object();
            assert_eq!(status.as_str() >= "400", is_problem, "{method} {path} {status}");
            assert!(response["headers"]["x-request-id"].is_object() || status == "304", "{method} {path} {status}");
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{method} {path}: {names:?}");
        assert_eq!(method == "POST", names.contains(&"Idempotency-Key"), "{method} {path}");
        assert_eq!(path.contains("{id}"), names.contains(&"id"), "{method} {path}");
    }
}

/// The other direction holds by construction: routes are added together with their description only.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_served_and_none_without_a_token() {
    let client = Client::new().await;
    let (status, document) = client.get("/openapi.json").await;
    assert_eq!((status, &document), (200, &server::openapi_document()));
    for (method, path, operation) in operations(&document) {
        let is_open = operation["x-right"] == "none";
        let base = operation["servers"][0]["url"].as_str().unwrap_or("/api/v1");
        let path_of_none = path.replace("{id}", "none").replace("{user_id}", "none");
        let url = format!("{}{base}{path_of_none}", client.house.base);
        let ask = || client.house.http.request(method.parse().unwrap(), &url);
        let status = ask().send().await.unwrap().status().as_u16();
        assert_eq!(status, if is_open { 200 } else { 401 }, "{method} {path}");
        let response = ask().bearer_auth(&client.token).send().await.unwrap();
        let status = response.status().as_u16();
        let described = operation["responses"].as_object().unwrap();
        assert!(described.contains_key(&status.to_string()), "{method} {path} answered {status}");
        assert!(![405, 500].contains(&status), "{method} {path} answered {status}");
        // Some things are for people only, and one of them whatever the right says.
        let right = clinic::access::Right::parse(operation["x-right"].as_str().unwrap());
        let is_for_people = right.is_some_and(|right| clinic::access::Role::Service.reach(right).is_none());
        let is_for_people = is_for_people || operation["operationId"] == "reviewGlassBreak";
        assert_eq!(status == 403, is_for_people, "{method} {path} answered {status}");
        if path.contains("{id}") && !is_for_people {
            assert!([404, 400, 428].contains(&status), "{method} {path} answered {status}");
        }
    }
    let response = client.house.http.get(format!("{}/api/v1/openapi.json", client.house.base)).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_is_served_from_here() {
    let client = Client::new().await;
    let page = client.house.http.get(format!("{}/api/docs", client.house.base)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self';") && policy.contains("default-src 'none'"), "{policy}");
    let html = page.text().await.unwrap();
    let script = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let script = client.house.http.get(format!("{}{script}", client.house.base)).send().await.unwrap();
    assert_eq!((script.status().as_u16(), &script.headers()["content-encoding"]), (200, &"gzip".parse().unwrap()));
    assert!(script.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
}

/// What is sent fits the schema that describes it: every field is described, and every needed one is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_as_described() {
    let client = Client::new().await;
    let document = server::openapi_document();
    let patient = client.house.patient().clone();
    let alert = client.house.raise(clinic::alerts::Severity::Critical).await;
    let (_, schedule) = client.post("/schedules", &format!(r#"{{"patient_id":"{patient}"}}"#)).await;
    let schedule = schedule["id"].as_str().unwrap();
    for (path, shape) in [
        ("/patients".to_owned(), "/patients"),
        (format!("/patients/{patient}"), "/patients/{id}"),
        (format!("/patients/{patient}/care"), "/patients/{id}/care"),
        (format!("/patients/{patient}/trends"), "/patients/{id}/trends"),
        ("/alerts".to_owned(), "/alerts"),
        (format!("/alerts/{alert}"), "/alerts/{id}"),
        ("/schedules".to_owned(), "/schedules"),
        (format!("/schedules/{schedule}"), "/schedules/{id}"),
    ] {
        let (status, body) = client.get(&path).await;
        assert_eq!(status, 200, "{path}");
        let schema = &document["paths"][shape]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let mistakes = mistakes(&document, schema, &body, shape);
        assert!(mistakes.is_empty(), "{mistakes:#?}");
    }
    let (_, problem) = client.get("/alerts/none").await;
    let schema = &document["components"]["schemas"]["Problem"];
    assert_eq!(mistakes(&document, schema, &problem, "problem"), Vec::<String>::new());
}

/// A validator of the part of JSON Schema that the document uses.
fn mistakes(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return mistakes(document, document.pointer(&reference[1..]).unwrap(), value, place);
    }
    let of = |schema: &Value, value: &Value, place: &str| mistakes(document, schema, value, place);
    let mut found = Vec::new();
    if let Some(parts) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        if !parts.iter().any(|part| of(part, value, place).is_empty()) {
            found.push(format!("{place}: {value} fits none of the alternatives"));
        }
        return found;
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().flat_map(|part| of(part, value, place)).collect();
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return found,
    };
    let fits = types.iter().any(|kind| match *kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    });
    if !fits {
        found.push(format!("{place}: expected {types:?}, got {value}"));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !value.is_null() && !words.contains(value)) {
        found.push(format!("{place}: {value} is not one of {words:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(of(&schema["items"], item, &format!("{place}[]")));
    }
    if let (Some(object), Some(fields)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                found.push(format!("{place}.{name} is missing"));
            }
        }
        for (name, value) in object {
            if let Some(field) = fields.get(name) {
                found.extend(of(field, value, &format!("{place}.{name}")));
            }
        }
    }
    found
}

#[test]
fn the_validator_of_these_tests_notices_mistakes() {
    let document = server::openapi_document();
    let schema = &document["components"]["schemas"]["Problem"];
    let good =
        serde_json::json!({"type": "t", "title": "t", "status": 404, "detail": "d", "code": "c", "request_id": "r"});
    assert!(mistakes(&document, schema, &good, "p").is_empty());
    let mut bad = good.clone();
    bad["status"] = Value::Null;
    assert_eq!(mistakes(&document, schema, &bad, "p").len(), 1);
    bad.as_object_mut().unwrap().remove("code");
    assert_eq!(mistakes(&document, schema, &bad, "p").len(), 2);
}

#[test]
fn examples_are_what_their_schemas_say() {
    let document = server::openapi_document();
    let mut seen = 0;
    walk(&document, &mut |schema| {
        if let Some(usual) = schema.get("default").filter(|_| schema.get("type").is_some()) {
            let mistakes = mistakes(&document, schema, usual, "default");
            assert!(mistakes.is_empty(), "{mistakes:?}");
        }
        let single = schema.get("example").filter(|_| schema.get("type").is_some());
        for example in single.into_iter().chain(schema.get("examples").and_then(Value::as_array).into_iter().flatten())
        {
            seen += 1;
            let mistakes = mistakes(&document, schema, example, "example");
            assert!(mistakes.is_empty(), "{mistakes:?}");
        }
    });
    assert!(seen >= 8, "{seen}");
}
