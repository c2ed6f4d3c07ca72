//! New identifiers: version 7 UUIDs (RFC 9562), so that they sort by age.

use crate::{Result, keys::random_bytes};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The last millisecond an identifier was made for, and how many were made for it.
static LAST: Mutex<(u64, u16)> = Mutex::new((0, 0));

/// A new identifier for a record of the given age. Those of one process sort in the order in which they were made,
/// within a millisecond too: a counter takes the first twelve random bits (RFC 9562, section 6.2, method 1).
pub(crate) fn new_id(unix_ms: u64) -> Result<String> {
    let mut random = random_bytes::<10>()?;
    let count = {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        *last = if last.0 == unix_ms { (unix_ms, last.1.saturating_add(1)) } else { (unix_ms, 0) };
        last.1.min(0x0FFF)
    };
    let [high, low] = count.to_be_bytes();
    random[0] = high;
    random[1] = low;
    Ok(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().hyphenated().to_string())
}

/// The only clock in this crate: when a patient was added is our own knowledge, not the caller's.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn identifiers_of_one_millisecond_sort_in_the_order_they_were_made() {
        let ids: Vec<String> = (0..3_000).map(|_| new_id(1_700_000_000_000).unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
