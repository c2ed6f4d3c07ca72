//! The only way to add a route to the interface: together with the right it needs.
//!
//! [`Routes::route`] takes a right, whose record it is about, and handlers that describe themselves. From these come the
//! router, the table of [`Rule`]s that the gate looks every request up in, and the description that is served. Since all
//! three have one source, a route without a rule cannot be written, and what the description says about rights is what
//! is enforced.

use crate::app::App;
use axum::Router;
use axum::http::Method;
use clinic::access::Right;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// How the patient whom a request is about is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The path or the body names the patient.
    Patient,
    /// The path names a call, which may have a patient.
    Call,
    /// The path names an alert, which may have a patient.
    Alert,
    /// The path names a schedule.
    Schedule,
    /// Many patients: the list is narrowed to those within reach.
    List,
    /// It is not about patients.
    None,
}

impl Subject {
    /// The name in the description.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Call => "call",
            Self::Alert => "alert",
            Self::Schedule => "schedule",
            Self::List => "list",
            Self::None => "none",
        }
    }
}

/// What a request has to be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The method.
    pub(crate) method: Method,
    /// What the path is below.
    pub(crate) base: &'static str,
    /// The path as it is registered, below `base`.
    pub(crate) path: String,
    /// The right; `None` for what anybody may see.
    pub(crate) right: Option<Right>,
    /// How the patient is found.
    pub(crate) subject: Subject,
    /// What the audit trail calls it: `object.verb`.
    pub(crate) action: &'static str,
}

impl Rule {
    /// The name of the right in the description and in logs.
    pub(crate) fn right_name(&self) -> &'static str {
        self.right.map_or("none", Right::as_str)
    }
}

/// Every rule, found by path and method.
#[derive(Debug, Default)]
pub(crate) struct Rules(BTreeMap<String, Vec<Rule>>);

/// What the rules say of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling<'a> {
    /// This is its rule.
    Rule(&'a Rule),
    /// There are rules for other methods of the path only: these.
    OtherMethods(String),
    /// Nobody said what it needs: nobody may.
    Unknown,
}

impl Rules {
    /// These and those.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Every rule, by path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.values().flatten()
    }

    /// The rule of a request, by its method and the registered path that it matched. A `HEAD` is a `GET`.
    pub(super) fn find(&self, method: &Method, matched: &str) -> Ruling<'_> {
        let Some(rules) = self.0.get(matched) else { return Ruling::Unknown };
        let method = if method == Method::HEAD { &Method::GET } else { method };
        match rules.iter().find(|rule| rule.method == *method) {
            Some(rule) => Ruling::Rule(rule),
            None => {
                let methods: Vec<&str> = rules.iter().map(|rule| rule.method.as_str()).collect();
                Ruling::OtherMethods(methods.join(", "))
            }
        }
    }
}

/// Routes with their rules and their description.
pub(super) struct Routes {
    base: &'static str,
    router: OpenApiRouter<Arc<App>>,
    rules: Rules,
}

impl Routes {
    /// None yet, below `base`; `document` says what they have in common.
    pub(super) fn new(base: &'static str, document: utoipa::openapi::OpenApi) -> Self {
        Self { base, router: OpenApiRouter::with_openapi(document), rules: Rules::default() }
    }

    /// Adds the handlers of one path, made by `routes!`, that need this right. `action` is what the audit trail calls it.
    pub(super) fn route(
        self,
        right: Right,
        subject: Subject,
        action: &'static str,
        handlers: UtoipaMethodRouter<Arc<App>>,
    ) -> Self {
        self.add(Some(right), subject, action, handlers)
    }

    /// Adds handlers that answer anybody. Nothing about a patient may be behind them.
    pub(super) fn open(self, handlers: UtoipaMethodRouter<Arc<App>>) -> Self {
        self.add(None, Subject::None, "", handlers)
    }

    fn add(
        mut self,
        right: Option<Right>,
        subject: Subject,
        action: &'static str,
        handlers: UtoipaMethodRouter<Arc<App>>,
    ) -> Self {
        for (path, item) in &handlers.1.paths {
            let methods = [
                (Method::GET, item.get.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::PUT, item.put.is_some()),
                (Method::PATCH, item.patch.is_some()),
                (Method::DELETE, item.delete.is_some()),
            ];
            let rules = self.rules.0.entry(format!("{}{path}", self.base)).or_default();
            for (method, _) in methods.into_iter().filter(|(_, is_there)| *is_there) {
                rules.push(Rule { method, base: self.base, path: path.clone(), right, subject, action });
            }
        }
        Self { base: self.base, router: self.router.routes(handlers), rules: self.rules }
    }

    /// The router, its rules, and the description of its handlers.
    pub(super) fn finish(self) -> (Router<Arc<App>>, Rules, utoipa::openapi::OpenApi) {
        let (router, document) = self.router.split_for_parts();
        (router, self.rules, document)
    }
}
