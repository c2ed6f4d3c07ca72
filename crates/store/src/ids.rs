//! New identifiers: version 7 UUIDs (RFC 9562), so that they sort by age.

use crate::{Result, keys::random_bytes};
use std::time::{SystemTime, UNIX_EPOCH};

/// A new identifier for a record of the given age.
pub(crate) fn new_id(unix_ms: u64) -> Result<String> {
    let random = random_bytes::<10>()?;
    Ok(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().hyphenated().to_string())
}

/// The only clock in this crate: when a patient was added is our own knowledge, not the caller's.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(0))
}
