//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
pub(crate) fn unix_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A point in time as the outside world writes it: RFC 3339 in UTC.
pub(crate) fn rfc3339(unix_us: i64) -> String {
    jiff::Timestamp::from_microsecond(unix_us).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// The same to the microsecond, to be read back as the same time.
pub(crate) fn rfc3339_us(unix_us: i64) -> String {
    jiff::Timestamp::from_microsecond(unix_us).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// The same for people, to the minute, in UTC.
pub(crate) fn for_people(unix_us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(unix_us);
    time.map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}
