//! A program that uses the interface, and expects every answer to be in form.

use crate::house::{Ground, House, quick};
use serde_json::{Value, json};

const NOWHERE: &str = "http://127.0.0.1:9";
pub(crate) const STARTED: i64 = 1_767_225_600_000_000;

pub(crate) struct Client {
    pub(crate) house: House,
    pub(crate) token: String,
}

impl Client {
    pub(crate) async fn new() -> Self {
        let house = Ground::new().await.open(NOWHERE, quick()).await;
        let token = house.store().create_token("tests", None, STARTED).await.unwrap().token.to_string();
        Self { house, token }
    }

    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str, body: Option<&str>) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.house.base);
        let mut request = self.house.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        let status = response.status().as_u16();
        if status == 204 {
            assert_eq!(response.bytes().await.unwrap().len(), 0);
            return (status, Value::Null);
        }
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        if status < 400 {
            assert_eq!(kind, "application/json");
        } else {
            assert_eq!(kind, "application/problem+json");
            assert_eq!((&body["status"], &body["request_id"]), (&json!(status), &json!(id)));
            let code = body["code"].as_str().unwrap();
            assert_eq!(body["type"], format!("urn:heartvoice:problem:{code}"));
            assert!(body["title"].is_string() && body["detail"].is_string());
        }
        (status, body)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(reqwest::Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    /// Every identifier of a list, page by page.
    pub(crate) async fn walk(&self, path: &str, limit: usize) -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..50 {
            let joint = if path.contains('?') { '&' } else { '?' };
            let (status, page) = self.get(&format!("{path}{joint}limit={limit}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
        panic!("the pages do not end");
    }
}
