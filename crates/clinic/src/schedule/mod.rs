//! Recurring calls: when a patient is telephoned, and when not.
//!
//! A [`Timetable`] says on which days and between which hours of the patient's own clock calls may be placed. For each
//! such day there is one [`CallingDay`]: when it opens and closes, and when the first attempt is due. What to do next
//! about a planned call, given the attempts so far and the time, is said by [`Progress::decide`]; how fast calls may
//! follow each other by [`Pace`]. Nobody here reads a clock or places a call.
//!
//! Whatever a timetable asks for, no call begins before eight in the morning or after nine in the evening of the
//! patient's local time: 47 CFR 64.1200(c)(1).

mod attempts;
mod calling_day;
mod days;
mod pace;
#[cfg(test)]
mod tests;

pub use attempts::{Attempt, AttemptState, Decision, Hold, MissedCall, MissedReason, Progress};
pub use calling_day::{CallingDay, LEGAL_END, LEGAL_START, call_back, on_demand};
pub use days::{Days, Weekdays};
pub use pace::Pace;

use crate::{PatientId, ScheduleId};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Attempts at one planned call, at most.
pub const MAX_ATTEMPTS: u32 = 10;
/// Days without calls that one timetable can name.
pub const MAX_HOLIDAYS: usize = 400;
/// Shortest window between start and end. A shorter one leaves no room to spread the calls of many patients.
pub const MIN_WINDOW_MIN: i32 = 30;
/// Between two attempts there are at least so many minutes, and at most [`MAX_RETRY_MIN`].
pub const MIN_RETRY_MIN: u32 = 5;
/// See [`MIN_RETRY_MIN`].
pub const MAX_RETRY_MIN: u32 = 12 * 60;

/// When a patient is telephoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timetable {
    /// On which days.
    pub days: Days,
    /// Between which hours of local time.
    pub window: Window,
    /// IANA time zone of the patient, such as `America/New_York`.
    pub timezone: String,
    /// Days without calls.
    #[serde(default)]
    pub holidays: Vec<Date>,
    /// Attempts on one day, the first included.
    pub max_attempts: u32,
    /// How long to wait between two attempts.
    pub retry_after: RetryAfter,
    /// First day.
    pub starts_on: Date,
    /// Last day, where there is one.
    #[serde(default)]
    pub ends_on: Option<Date>,
}

/// Hours of local time; calls begin from `start` on and before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First moment.
    pub start: Time,
    /// The moment after the last one.
    pub end: Time,
}

/// Minutes between the end of an attempt and the next one, by what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAfter {
    /// The line was engaged.
    pub busy_min: u32,
    /// Nobody answered.
    pub no_answer_min: u32,
    /// A machine answered.
    pub voicemail_min: u32,
    /// It did not work for a technical reason.
    pub failed_min: u32,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { busy_min: 15, no_answer_min: 60, voicemail_min: 120, failed_min: 15 }
    }
}

impl RetryAfter {
    fn all(self) -> [(&'static str, u32); 4] {
        [
            ("busy_min", self.busy_min),
            ("no_answer_min", self.no_answer_min),
            ("voicemail_min", self.voicemail_min),
            ("failed_min", self.failed_min),
        ]
    }

    /// The longest of them.
    #[must_use]
    pub fn longest_min(self) -> u32 {
        self.all().into_iter().map(|(_, minutes)| minutes).max().unwrap_or_default()
    }
}

/// A timetable that belongs to a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Opaque identifier.
    pub id: ScheduleId,
    /// Whom it is for.
    pub patient_id: PatientId,
    /// When.
    #[serde(flatten)]
    pub timetable: Timetable,
    /// No calls until it is resumed.
    pub paused: bool,
}

/// What is wrong with a timetable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct InvalidSchedule {
    /// The field at fault, as named in JSON.
    pub field: &'static str,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl Timetable {
    /// A usual timetable: every day from nine to five, three attempts.
    #[must_use]
    pub fn daily(timezone: &str, starts_on: Date) -> Self {
        Self {
            days: Days::Every(1),
            window: Window { start: Time::constant(9, 0, 0, 0), end: Time::constant(17, 0, 0, 0) },
            timezone: timezone.to_owned(),
            holidays: Vec::new(),
            max_attempts: 3,
            retry_after: RetryAfter::default(),
            starts_on,
            ends_on: None,
        }
    }

    /// Whether calls can be planned by it.
    ///
    /// # Errors
    /// [`InvalidSchedule`] naming the first field that cannot be accepted.
    pub fn check(&self) -> Result<(), InvalidSchedule> {
        let wrong = |field, expected| Err(InvalidSchedule { field, expected });
        if !self.days.is_some() {
            return wrong("days", "at least one day of the week, or every 1 to 90 days");
        }
        if self.zone().is_none() {
            return wrong("timezone", "an IANA time zone such as America/New_York");
        }
        let (start, end) = (self.window.start.max(LEGAL_START), self.window.end.min(LEGAL_END));
        if minutes(end) - minutes(start) < MIN_WINDOW_MIN {
            return wrong("window", "at least 30 minutes between 08:00 and 21:00, the hours in which calls are legal");
        }
        if !(1..=MAX_ATTEMPTS).contains(&self.max_attempts) {
            return wrong("max_attempts", "1 to 10");
        }
        let fits = |(_, minutes)| (MIN_RETRY_MIN..=MAX_RETRY_MIN).contains(&minutes);
        if let Some((field, _)) = self.retry_after.all().into_iter().find(|retry| !fits(*retry)) {
            return wrong(field, "5 to 720 minutes");
        }
        if self.holidays.len() > MAX_HOLIDAYS {
            return wrong("holidays", "at most 400 days");
        }
        if self.ends_on.is_some_and(|last| last < self.starts_on) {
            return wrong("ends_on", "a day that is not before starts_on");
        }
        Ok(())
    }

    /// The zone, if the system knows it.
    pub(crate) fn zone(&self) -> Option<TimeZone> {
        TimeZone::get(&self.timezone).ok()
    }
}

fn minutes(time: Time) -> i32 {
    i32::from(time.hour()) * 60 + i32::from(time.minute())
}
