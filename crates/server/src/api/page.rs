//! Pages of lists: `?limit=&cursor=`. A cursor is opaque to clients; here it is the last identifier of the page before.

use super::problem::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// Items of a page unless asked otherwise, and at most.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Which page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Page {
    /// Items of the page.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::bad_request(format!("limit: expected a number from 1 to {MAX_LIMIT}")))
        }
    }

    /// What the page comes after.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        self.cursor.as_deref().map(|cursor| cursor.parse().map_err(|_| bad_cursor())).transpose()
    }
}

pub(super) fn bad_cursor() -> Problem {
    Problem::bad_request("cursor: expected the next_cursor of an earlier answer")
}

/// A page of `found`, which holds one item more than `limit` when there is another page.
pub(super) fn render<T>(
    mut found: Vec<T>,
    limit: u32,
    cursor_of: impl Fn(&T) -> String,
    item: impl Fn(&T) -> Value,
) -> Value {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(cursor_of);
    json!({ "items": found.iter().map(item).collect::<Vec<_>>(), "next_cursor": next })
}
