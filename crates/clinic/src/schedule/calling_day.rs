//! A day on which a patient is telephoned, in absolute time.

use super::{Schedule, Timetable};
use crate::PatientId;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// The hour from which on calls are legal, local time of the called party: 47 CFR 64.1200(c)(1).
pub const LEGAL_START: Time = Time::constant(8, 0, 0, 0);
/// The hour from which on they are not any more.
pub const LEGAL_END: Time = Time::constant(21, 0, 0, 0);

/// How far ahead the next calling day is looked for. The rarest timetable calls every 90 days.
const LOOK_AHEAD_DAYS: u32 = 800;
const MINUTE_US: i64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;

/// A day on which a patient is telephoned. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallingDay {
    /// The day by the patient's calendar.
    pub date: Date,
    /// First moment at which a call may be placed.
    pub opens_at_us: i64,
    /// The moment from which on none may be placed.
    pub closes_at_us: i64,
    /// When the first attempt is due.
    pub first_due_us: i64,
}

impl Schedule {
    /// The calling day of `date`; `None` on days without calls.
    #[must_use]
    pub fn calling_day(&self, date: Date) -> Option<CallingDay> {
        let table = &self.timetable;
        let runs = date >= table.starts_on && table.ends_on.is_none_or(|last| date <= last);
        if !runs || !table.days.include(date, table.starts_on) || table.holidays.contains(&date) {
            return None;
        }
        let (opens_at_us, closes_at_us) = table.hours_of(date)?;
        let offset_us = spread_us(&self.patient_id, table, closes_at_us - opens_at_us);
        Some(CallingDay { date, opens_at_us, closes_at_us, first_due_us: opens_at_us + offset_us })
    }

    /// The first calling day from `date` on, if there is one within two years.
    #[must_use]
    pub fn next_calling_day(&self, date: Date) -> Option<CallingDay> {
        let mut date = date.max(self.timetable.starts_on);
        for _ in 0..LOOK_AHEAD_DAYS {
            if let Some(day) = self.calling_day(date) {
                return Some(day);
            }
            if self.timetable.ends_on.is_some_and(|last| date >= last) {
                return None;
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The first calling day that has not closed at `now_us`.
    #[must_use]
    pub fn calling_day_from(&self, now_us: i64) -> Option<CallingDay> {
        let zone = self.timetable.zone()?;
        let today = Timestamp::from_microsecond(now_us).ok()?.to_zoned(zone).date();
        let day = self.next_calling_day(today)?;
        if day.closes_at_us > now_us { Some(day) } else { self.next_calling_day(day.date.tomorrow().ok()?) }
    }
}

impl Timetable {
    /// When the window of `date` opens and closes. Hours outside the legal ones are cut off. Where a change of the clock
    /// makes a moment ambiguous, the reading is taken that is legal and inside the window either way; a day that the
    /// calendar skips has no window.
    fn hours_of(&self, date: Date) -> Option<(i64, i64)> {
        hours(&self.zone()?, date, self.window.start.max(LEGAL_START), self.window.end.min(LEGAL_END))
    }
}

fn hours(zone: &TimeZone, date: Date, start: Time, end: Time) -> Option<(i64, i64)> {
    let opens = zone.to_ambiguous_timestamp(date.to_datetime(start)).later().ok()?.as_microsecond();
    let closes = zone.to_ambiguous_timestamp(date.to_datetime(end)).earlier().ok()?.as_microsecond();
    (opens < closes).then_some((opens, closes))
}

/// The calling day of a call that somebody asks for by hand: from now on, for `minutes`, in legal hours only. `None`
/// outside of them, or in a time zone nobody knows.
#[must_use]
pub fn on_demand(timezone: &str, now_us: i64, minutes: u32) -> Option<CallingDay> {
    let zone = TimeZone::get(timezone).ok()?;
    let date = Timestamp::from_microsecond(now_us).ok()?.to_zoned(zone.clone()).date();
    let (opens, closes) = hours(&zone, date, LEGAL_START, LEGAL_END)?;
    let closes_at_us = closes.min(now_us.saturating_add(i64::from(minutes) * MINUTE_US));
    (opens..closes).contains(&now_us).then_some(CallingDay {
        date,
        opens_at_us: now_us,
        closes_at_us,
        first_due_us: now_us,
    })
}

/// The calling day of a call that has to be made again: due at `due_us`, or when calls become legal after that where the
/// patient lives, and open for `minutes` from then on. `None` in a time zone nobody knows.
#[must_use]
pub fn call_back(timezone: &str, due_us: i64, minutes: u32) -> Option<CallingDay> {
    let zone = TimeZone::get(timezone).ok()?;
    let mut date = Timestamp::from_microsecond(due_us).ok()?.to_zoned(zone.clone()).date();
    // A day that the calendar skips, or that is over, is followed by one that is not.
    for _ in 0..4 {
        if let Some((opens, closes)) = hours(&zone, date, LEGAL_START, LEGAL_END)
            && due_us < closes
        {
            let opens_at_us = due_us.max(opens);
            let closes_at_us = closes.min(opens_at_us.saturating_add(i64::from(minutes) * MINUTE_US));
            return Some(CallingDay { date, opens_at_us, closes_at_us, first_due_us: opens_at_us });
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// How long after the opening a patient's first attempt is due: the same on every day (people like habits), and evenly
/// spread over the patients, so that they do not all come due at once. The end of the window is left for retries.
fn spread_us(patient: &PatientId, table: &Timetable, length_us: i64) -> i64 {
    let retries = i64::from(table.max_attempts.saturating_sub(1));
    let reserve_us = retries * i64::from(table.retry_after.longest_min()) * MINUTE_US;
    let span_s = ((length_us - reserve_us).max(length_us / 4) / SECOND_US).max(1);
    i64::try_from(hash(patient.as_str()) % span_s.unsigned_abs()).unwrap_or(0) * SECOND_US
}

/// FNV-1a (Fowler, Noll and Vo), then mixed (Stafford's thirteenth finaliser), because identifiers made one after
/// another differ in a few bits only.
fn hash(text: &str) -> u64 {
    let hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_call_back_waits_for_the_hours_in_which_calls_are_legal() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        let table = [
            // Where it is 10:00, 23:30 of the day before, 03:00, and one minute before nine in the evening.
            ("UTC", "2026-03-04T10:00:00Z", "2026-03-04T10:00:00Z", "2026-03-04T12:00:00Z"),
            ("America/New_York", "2026-03-04T04:30:00Z", "2026-03-04T13:00:00Z", "2026-03-04T15:00:00Z"),
            ("America/New_York", "2026-03-04T08:00:00Z", "2026-03-04T13:00:00Z", "2026-03-04T15:00:00Z"),
            ("UTC", "2026-03-04T20:59:00Z", "2026-03-04T20:59:00Z", "2026-03-04T21:00:00Z"),
            ("UTC", "2026-03-04T21:00:00Z", "2026-03-05T08:00:00Z", "2026-03-05T10:00:00Z"),
            // The night in which the clocks go forward.
            ("America/New_York", "2026-03-08T03:00:00Z", "2026-03-08T12:00:00Z", "2026-03-08T14:00:00Z"),
        ];
        for (zone, due, opens, closes) in table {
            let day = call_back(zone, at(due), 120).unwrap();
            assert_eq!((day.opens_at_us, day.closes_at_us), (at(opens), at(closes)), "{zone} {due}");
            assert_eq!(day.first_due_us, day.opens_at_us);
        }
        assert_eq!(call_back("Nowhere/Land", at("2026-03-04T10:00:00Z"), 120), None);
    }
}
