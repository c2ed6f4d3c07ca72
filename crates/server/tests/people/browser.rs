//! A browser as far as our pages need one: it keeps cookies, says where requests come from, and reads forms.

use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};
use std::collections::BTreeMap;

pub(crate) struct Browser {
    http: reqwest::Client,
    base: String,
    pub(crate) cookies: BTreeMap<String, String>,
    /// What it says about where requests come from.
    pub(crate) site: &'static str,
    /// Address it claims to have; a trusted proxy reports it.
    pub(crate) address: Option<String>,
}

/// An answer that was read.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers.get("location").map_or("", |value| value.to_str().unwrap())
    }

    /// What stands between two texts, the first time.
    pub(crate) fn between(&self, before: &str, after: &str) -> &str {
        let rest = self.body.split_once(before).unwrap_or_else(|| panic!("{before} is not in {}", self.body)).1;
        rest.split_once(after).unwrap().0
    }

    /// The token of the page's forms.
    pub(crate) fn csrf(&self) -> &str {
        self.between("name=\"csrf\" value=\"", "\"")
    }

    /// The items of the list of recovery codes.
    pub(crate) fn codes(&self) -> Vec<String> {
        let list = self.between("<ol class=\"codes\">", "</ol>");
        list.split("<li>").skip(1).map(|item| item.trim_end_matches("</li>").to_owned()).collect()
    }
}

impl Browser {
    pub(crate) fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self { http, base: base.to_owned(), cookies: BTreeMap::new(), site: "same-origin", address: None }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        self.send(Method::POST, path, Some(form)).await
    }

    async fn send(&mut self, method: Method, path: &str, form: Option<&[(&str, &str)]>) -> Page {
        let address = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = self.http.request(method, address).header("sec-fetch-site", self.site);
        if !self.cookies.is_empty() {
            let line: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", line.join("; "));
        }
        if let Some(address) = &self.address {
            request = request.header("x-forwarded-for", address);
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        self.read(request.send().await.unwrap()).await
    }

    async fn read(&mut self, response: Response) -> Page {
        for line in response.headers().get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Page { status, headers, body: response.text().await.unwrap() }
    }
}
