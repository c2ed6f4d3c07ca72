//! Pages of lists: `?limit=&cursor=`. A cursor is opaque to clients; here it is the last identifier of the page before.

use super::problem::Problem;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// Items of a page unless asked otherwise, and at most.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Items of the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: Option<String>,
    /// The `next_cursor` of the page before; opaque.
    #[param(max_length = 64)]
    pub(super) cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listing<T> {
    /// The items, in the order of the list.
    pub(super) items: Vec<T>,
    /// Where the next page begins; `null` at the end of the list.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

/// Bytes of a cursor; ours are identifiers and numbers.
const MAX_CURSOR_BYTES: usize = 64;

impl Page {
    /// The page that a list with parameters of its own was asked for.
    pub(super) fn new(limit: Option<String>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// Items of the page.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.as_deref().map_or(Some(DEFAULT_LIMIT), |limit| limit.parse().ok());
        let expected = || Problem::bad_request(format!("limit: expected a number from 1 to {MAX_LIMIT}"));
        limit.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(expected)
    }

    /// What the page comes after.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let read =
            |cursor: &str| cursor.parse().ok().filter(|_| cursor.len() <= MAX_CURSOR_BYTES).ok_or_else(bad_cursor);
        self.cursor.as_deref().map(read).transpose()
    }
}

pub(super) fn bad_cursor() -> Problem {
    Problem::bad_request("cursor: expected the next_cursor of an earlier answer")
}

/// How many of `found` a page of `limit` shows.
pub(super) fn shown<T>(found: &[T], limit: u32) -> usize {
    found.len().min(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A page of `found`, which holds one item more than `limit` when there is another page.
pub(super) fn render<T, U>(
    mut found: Vec<T>,
    limit: u32,
    cursor_of: impl Fn(&T) -> String,
    item: impl Fn(&T) -> U,
) -> Listing<U> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(cursor_of);
    Listing { items: found.iter().map(item).collect(), next_cursor }
}
