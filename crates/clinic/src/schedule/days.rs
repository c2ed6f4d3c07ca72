//! On which days calls are made.

use super::InvalidSchedule;
use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest time between two calls, in days.
const MAX_EVERY_DAYS: u16 = 90;

const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

const EXPECTED: InvalidSchedule =
    InvalidSchedule { field: "days", expected: "daily, weekdays, every-2-days (1 to 90) or names such as mon,wed,fri" };

/// On which days calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// On these days of the week.
    Weekdays(Weekdays),
    /// Every so many days, counted from the first day of the timetable.
    Every(u16),
}

impl Days {
    /// True on days when calls are made by a timetable that starts on `starts_on`.
    #[must_use]
    pub fn include(self, date: Date, starts_on: Date) -> bool {
        match self {
            Self::Weekdays(weekdays) => weekdays.contains(date.weekday()),
            Self::Every(0) => false,
            Self::Every(days) => (date - starts_on).get_days().rem_euclid(i32::from(days)) == 0,
        }
    }

    /// False when there is no such day, or too few.
    pub(super) fn is_some(self) -> bool {
        match self {
            Self::Weekdays(weekdays) => weekdays != Weekdays::default(),
            Self::Every(days) => (1..=MAX_EVERY_DAYS).contains(&days),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(1) => f.write_str("daily"),
            Self::Every(days) => write!(f, "every-{days}-days"),
            Self::Weekdays(weekdays) => f.write_str(&weekdays.names().join(",")),
        }
    }
}

impl FromStr for Days {
    type Err = InvalidSchedule;

    /// Reads `daily`, `weekdays`, `every-3-days`, or names such as `mon,thu`.
    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let text = text.trim().to_ascii_lowercase();
        let days = match text.as_str() {
            "daily" => Self::Every(1),
            "weekdays" => "mon,tue,wed,thu,fri".parse()?,
            _ => match text.strip_prefix("every-").and_then(|rest| rest.strip_suffix("-days")) {
                Some(days) => Self::Every(days.parse().map_err(|_| EXPECTED)?),
                None => Self::Weekdays(Weekdays::from_names(text.split(',').map(str::trim)).ok_or(EXPECTED)?),
            },
        };
        if days.is_some() { Ok(days) } else { Err(EXPECTED) }
    }
}

/// A set of days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<&'static str>")]
pub struct Weekdays(u8);

impl Weekdays {
    fn from_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<Self> {
        names.try_fold(Self::default(), |set, name| {
            let (_, day) = NAMES.iter().find(|(known, _)| *known == name)?;
            Some(Self(set.0 | bit(*day)))
        })
    }

    /// True when the day is one of them.
    #[must_use]
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    /// Their names in the order of the week.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(_, day)| self.contains(*day)).map(|(name, _)| *name).collect()
    }
}

impl TryFrom<Vec<String>> for Weekdays {
    type Error = InvalidSchedule;

    fn try_from(names: Vec<String>) -> Result<Self, InvalidSchedule> {
        Self::from_names(names.iter().map(String::as_str)).ok_or(EXPECTED)
    }
}

impl From<Weekdays> for Vec<&'static str> {
    fn from(weekdays: Weekdays) -> Self {
        weekdays.names()
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}
