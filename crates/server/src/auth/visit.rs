//! A request to one of the pages: when, from where, and under which identifier, for the audit trail.

use crate::client_address::ClientAddr;
use crate::clock;
use crate::hardening::RequestId;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::IpAddr;
use store::audit::{Actor, NewEntry};
use uuid::Uuid;

/// Where and when a request was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    /// The client's network address.
    pub(crate) address: Option<IpAddr>,
    /// The request's identifier.
    pub(crate) request: Option<Uuid>,
    /// Microseconds since the Unix epoch: the same for all that is done.
    pub(crate) now_us: i64,
}

impl Visit {
    /// An entry of the audit trail that says from where.
    pub(crate) fn entry(&self, actor: Actor, action: &str) -> NewEntry {
        let mut entry = NewEntry::new(actor, action);
        entry.address = self.address.map(|address| address.to_string());
        entry.request = self.request.map(|request| request.to_string());
        entry
    }

    /// The address as a session keeps it.
    pub(crate) fn address_text(&self) -> String {
        self.address.map_or_else(|| "-".to_owned(), |address| address.to_string())
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            address: parts.extensions.get::<ClientAddr>().map(|client| client.0),
            request: parts.extensions.get::<RequestId>().map(|request| request.0),
            now_us: clock::unix_us(),
        })
    }
}
