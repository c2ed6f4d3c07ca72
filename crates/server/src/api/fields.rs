//! What a request says: the fields of a JSON body and the parameters of a query. Each mistake is named by its field, and
//! what was sent is never repeated.

use super::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::str::FromStr;
use utoipa::IntoParams;

/// Bytes of the value of a parameter: identifiers, codes, numbers and times are not longer.
const VALUE_BYTES: usize = 64;

/// The fields of a JSON object, taken out one by one so that each mistake can be named and none is overlooked.
pub(super) struct Fields {
    object: Map<String, Value>,
    /// The fields there are, for whoever sends another one.
    known: &'static str,
}

impl Fields {
    pub(super) fn of_body(body: &Bytes, known: &'static str) -> Result<Self, Problem> {
        let object = serde_json::from_slice(body);
        let object = object
            .map_err(|_| Problem::bad_request(format!("body: expected a JSON object with the fields {known}")))?;
        Ok(Self { object, known })
    }

    /// `null` says as little as a field that is not there.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A field as it was sent; `null` where that means to remove something.
    pub(super) fn take_null(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    /// A text that has to be there.
    pub(super) fn needed(&mut self, name: &str, expected: &str) -> Result<String, Problem> {
        self.text(name)?.ok_or_else(|| wrong(name, expected))
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let value = self.take(name);
        let parsed = |value: Value| value.as_str().and_then(|text| text.parse().ok());
        value.map(|value| parsed(value).ok_or_else(|| wrong(name, expected))).transpose()
    }

    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, Problem> {
        let count = |value: Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
        self.take(name).map(|value| count(value).ok_or_else(|| wrong(name, "a whole number"))).transpose()
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self { object, known: self.known })),
            Some(_) => Err(wrong(name, "a JSON object")),
        }
    }

    /// A misspelt field would otherwise be taken for one that was left out.
    pub(super) fn nothing_left(&self) -> Result<(), Problem> {
        if self.object.is_empty() {
            return Ok(());
        }
        Err(Problem::bad_request(format!("body: expected no other fields than {}", self.known)))
    }
}

pub(super) fn wrong(field: &str, expected: &str) -> Problem {
    Problem::bad_request(format!("{field}: expected {expected}"))
}

/// The parameters of a query, as `T` describes them. A parameter that `T` does not have is refused: misspelt, it would
/// be taken for one that was left out, and a list would hold more than was asked for.
pub(super) struct Ask<T>(pub(super) T);

impl<T: DeserializeOwned + IntoParams, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unread = || Problem::bad_request("query: expected NAME=VALUE pairs in percent-encoding");
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| unread())?;
        let known: Vec<String> = T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect();
        let mut seen = HashSet::new();
        for (name, value) in &pairs {
            let Some(name) = known.iter().find(|known| *known == name) else {
                let expected = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                return Err(Problem::bad_request(format!("query: expected no other parameters than {expected}")));
            };
            if !seen.insert(name) {
                return Err(wrong(name, "one value"));
            }
            if value.len() > VALUE_BYTES {
                return Err(wrong(name, "at most 64 bytes"));
            }
        }
        Query::<T>::try_from_uri(&parts.uri).map(|Query(asked)| Self(asked)).map_err(|_| unread())
    }
}
