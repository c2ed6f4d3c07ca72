//! The patients of the simulation and their schedules, and the rules that calls to them have to keep, written down
//! independently of the planner.

use clinic::schedule::{RetryAfter, Timetable, Window};
use clinic::{NewPatient, PatientId};
use jiff::civil::{Date, Time, date};
use std::collections::BTreeSet;

/// In March 2026 the clocks change on the 8th in North America, on the 29th in Europe, and on no day elsewhere.
pub(super) const START: Date = date(2026, 3, 2);

const ZONES: [&str; 12] = [
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Phoenix",
    "America/Anchorage",
    "Pacific/Honolulu",
    "America/Puerto_Rico",
    "America/St_Johns",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Pacific/Guam",
];

/// A small generator: the same seed, the same month.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    /// True in `permille` of a thousand cases.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }
}

/// A patient with a schedule.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) id: PatientId,
    pub(super) number: String,
    pub(super) table: Timetable,
}

impl Person {
    /// The dates on which this patient is to be called, by the words of the timetable.
    pub(super) fn dates(&self, days: i32) -> BTreeSet<Date> {
        (0..days)
            .map(|day| START.checked_add(jiff::Span::new().days(day)).unwrap())
            .filter(|date| self.is_called_on(*date))
            .collect()
    }

    fn is_called_on(&self, date: Date) -> bool {
        let on_day = match self.table.days {
            clinic::schedule::Days::Weekdays(days) => days.contains(date.weekday()),
            clinic::schedule::Days::Every(every) => {
                let since = self.table.starts_on.until(date).unwrap().get_days();
                since % i32::from(every) == 0
            }
        };
        on_day && date >= self.table.starts_on && !self.table.holidays.contains(&date)
    }

    /// Fails when a call at this moment breaks a rule; the date it counts for otherwise.
    pub(super) fn may_be_called_at(&self, at_us: i64) -> Date {
        let clock = jiff::Timestamp::from_microsecond(at_us).unwrap().in_tz(&self.table.timezone).unwrap();
        let time = clock.time();
        assert!((8..21).contains(&time.hour()), "called at {clock}: not legal");
        assert!(
            time >= self.table.window.start && time < self.table.window.end,
            "called at {clock}: out of its window"
        );
        assert!(self.is_called_on(clock.date()), "called on {clock}: no day for calls");
        clock.date()
    }
}

pub(super) fn new_patient(n: usize) -> NewPatient {
    // Every fiftieth shares a telephone with the patient before.
    let line = if n % 50 == 49 { n - 1 } else { n };
    let phone = format!("+1500{:07}", 1_000_000 + line);
    NewPatient::from_fields(
        &format!("MRN-{n}"),
        "Ada Example",
        &phone,
        "1948-04-01",
        "female",
        "en",
        ZONES[n % ZONES.len()],
    )
    .unwrap()
}

pub(super) fn timetable(n: usize, days: i32, same_morning: bool, dice: &mut Dice) -> Timetable {
    let base = Timetable::daily(ZONES[n % ZONES.len()], START);
    let hours =
        |start: i8, end: i8| Window { start: Time::constant(start, 0, 0, 0), end: Time::constant(end, 0, 0, 0) };
    if same_morning {
        let timezone = ZONES[0].to_owned();
        return Timetable { timezone, window: hours(9, 11), max_attempts: 1, ..base };
    }
    let patterns = ["mon,thu", "fri", "mon,sun", "every-4-days", "every-5-days", "every-7-days", "sat", "wed"];
    let windows = [hours(9, 17), hours(8, 21), hours(5, 23), hours(10, 13), hours(15, 20)];
    let holiday = |dice: &mut Dice| {
        START
            .checked_add(jiff::Span::new().days(i64::try_from(dice.below(u64::try_from(days).unwrap())).unwrap()))
            .unwrap()
    };
    Timetable {
        days: patterns[usize::try_from(dice.below(8)).unwrap()].parse().unwrap(),
        window: windows[usize::try_from(dice.below(5)).unwrap()],
        holidays: vec![holiday(dice), holiday(dice)],
        max_attempts: 1 + u32::try_from(dice.below(4)).unwrap(),
        retry_after: RetryAfter { busy_min: 10, no_answer_min: 45, voicemail_min: 90, failed_min: 15 },
        ..base
    }
}
