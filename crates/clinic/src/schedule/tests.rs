#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use jiff::Timestamp;
use jiff::civil::date;
use proptest::prelude::*;

const MINUTE_US: i64 = 60_000_000;

fn schedule(patient: &str, timetable: Timetable) -> Schedule {
    timetable.check().unwrap();
    let (id, patient_id) = (ScheduleId::parse("s").unwrap(), PatientId::parse(patient).unwrap());
    Schedule { id, patient_id, timetable, paused: false }
}

fn hours(start: i8, end: i8) -> Window {
    Window { start: Time::constant(start, 0, 0, 0), end: Time::constant(end, 0, 0, 0) }
}

fn local(zone: &str, at_us: i64) -> jiff::Zoned {
    Timestamp::from_microsecond(at_us).unwrap().in_tz(zone).unwrap()
}

#[test]
fn calls_are_made_on_the_days_asked_for_and_not_on_holidays() {
    let mut table = Timetable::daily("America/New_York", date(2026, 3, 2));
    table.days = "mon,wed,fri".parse().unwrap();
    table.holidays = vec![date(2026, 3, 6)];
    table.ends_on = Some(date(2026, 3, 11));
    let schedule = schedule("p", table);
    let mut days = Vec::new();
    let mut next = schedule.next_calling_day(date(2026, 1, 1));
    while let Some(day) = next {
        days.push(day.date.to_string());
        next = schedule.next_calling_day(day.date.tomorrow().unwrap());
    }
    assert_eq!(days, ["2026-03-02", "2026-03-04", "2026-03-09", "2026-03-11"]);
}

#[test]
fn every_so_many_days_counts_from_the_start() {
    let mut table = Timetable::daily("UTC", date(2026, 2, 27));
    table.days = "every-3-days".parse().unwrap();
    let schedule = schedule("p", table);
    let called = |y, m, d| schedule.calling_day(date(y, m, d)).is_some();
    assert!(called(2026, 2, 27) && called(2026, 3, 2) && called(2026, 3, 5));
    assert!(!called(2026, 2, 24) && !called(2026, 3, 1) && !called(2026, 3, 3));
}

#[test]
fn days_are_read_and_written() {
    for text in ["daily", "every-2-days", "mon,wed,fri", "mon,tue,wed,thu,fri", "sun"] {
        assert_eq!(text.parse::<Days>().unwrap().to_string(), text);
    }
    assert_eq!("weekdays".parse::<Days>().unwrap().to_string(), "mon,tue,wed,thu,fri");
    for text in ["", "every-0-days", "every-91-days", "mo", "mon,,wed", "every-x-days"] {
        assert_eq!(text.parse::<Days>().unwrap_err().field, "days", "{text}");
    }
    let table = Timetable { days: "mon,sat".parse().unwrap(), ..Timetable::daily("UTC", date(2026, 1, 1)) };
    let json = serde_json::to_value(&table).unwrap();
    assert_eq!(json["days"], serde_json::json!({"weekdays": ["mon", "sat"]}));
    assert_eq!(serde_json::from_value::<Timetable>(json).unwrap(), table);
}

#[test]
fn the_window_follows_the_local_clock_over_a_change_of_time() {
    // New York: clocks go forward on 8 March and back on 1 November 2026.
    let schedule =
        schedule("p", Timetable { max_attempts: 1, ..Timetable::daily("America/New_York", date(2026, 1, 1)) });
    for (day, opens_utc) in
        [((3, 7), "14:00"), ((3, 8), "13:00"), ((10, 31), "13:00"), ((11, 1), "14:00"), ((11, 2), "14:00")]
    {
        let day = schedule.calling_day(date(2026, day.0, day.1)).unwrap();
        let opens = Timestamp::from_microsecond(day.opens_at_us).unwrap();
        assert_eq!(opens.strftime("%H:%M").to_string(), opens_utc);
        assert_eq!(day.closes_at_us - day.opens_at_us, 8 * 60 * MINUTE_US);
        // Habit: the same hour by the patient's clock.
        let due = local("America/New_York", day.first_due_us).time();
        let usual = schedule.calling_day(date(2026, 1, 5)).unwrap().first_due_us;
        assert_eq!(due, local("America/New_York", usual).time());
    }
}

#[test]
fn a_day_that_the_calendar_skips_has_no_calls() {
    // Samoa went from 29 to 31 December 2011.
    let schedule = schedule("p", Timetable::daily("Pacific/Apia", date(2011, 12, 1)));
    assert!(schedule.calling_day(date(2011, 12, 29)).is_some());
    assert_eq!(schedule.calling_day(date(2011, 12, 30)), None);
    assert_eq!(schedule.next_calling_day(date(2011, 12, 30)).unwrap().date, date(2011, 12, 31));
}

#[test]
fn legal_hours_win_over_any_window() {
    let table = Timetable { window: hours(5, 23), ..Timetable::daily("Europe/Berlin", date(2026, 6, 1)) };
    let day = schedule("p", table.clone()).calling_day(date(2026, 6, 1)).unwrap();
    assert_eq!(local("Europe/Berlin", day.opens_at_us).hour(), 8);
    assert_eq!(local("Europe/Berlin", day.closes_at_us).hour(), 21);
    for window in [hours(4, 8), hours(21, 23), hours(12, 12), hours(15, 10)] {
        let error = Timetable { window, ..table.clone() }.check().unwrap_err();
        assert_eq!(error.field, "window");
    }
}

#[test]
fn a_call_by_hand_is_for_legal_hours_only() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
    let now = at("2026-06-01T12:30:00Z");
    let day = on_demand("America/New_York", now, 10).unwrap();
    assert_eq!((day.opens_at_us, day.closes_at_us), (now, now + 10 * MINUTE_US));
    // 07:59 and 21:00 in New York; five minutes before nine the call has five minutes.
    assert_eq!(on_demand("America/New_York", at("2026-06-01T11:59:59Z"), 10), None);
    assert_eq!(on_demand("America/New_York", at("2026-06-02T01:00:00Z"), 10), None);
    let late = at("2026-06-02T00:55:00Z");
    assert_eq!(on_demand("America/New_York", late, 10).unwrap().closes_at_us, late + 5 * MINUTE_US);
    assert_eq!(on_demand("Mars/Base", now, 10), None);
}

#[test]
fn mistakes_are_named() {
    let good = Timetable::daily("UTC", date(2026, 1, 1));
    let retry = |busy_min| RetryAfter { busy_min, ..RetryAfter::default() };
    let cases: [(&str, Timetable); 7] = [
        ("days", Timetable { days: Days::Weekdays(Weekdays::default()), ..good.clone() }),
        ("timezone", Timetable { timezone: "Mars/Base".into(), ..good.clone() }),
        ("max_attempts", Timetable { max_attempts: 11, ..good.clone() }),
        ("max_attempts", Timetable { max_attempts: 0, ..good.clone() }),
        ("busy_min", Timetable { retry_after: retry(4), ..good.clone() }),
        ("ends_on", Timetable { ends_on: Some(date(2025, 12, 31)), ..good.clone() }),
        ("holidays", Timetable { holidays: vec![date(2026, 1, 1); 401], ..good.clone() }),
    ];
    for (field, table) in cases {
        assert_eq!(table.check().unwrap_err().field, field);
    }
    assert_eq!(good.check(), Ok(()));
}

#[test]
fn a_thousand_patients_do_not_come_due_at_once() {
    let mut due: Vec<i64> = (0..1_000)
        .map(|n| {
            let schedule = schedule(&format!("0190a7c4-{n:04}"), Timetable::daily("UTC", date(2026, 1, 5)));
            schedule.calling_day(date(2026, 1, 5)).unwrap().first_due_us
        })
        .collect();
    due.sort_unstable();
    // Four hours of the window are for first attempts: about four a minute.
    let busiest = due.iter().map(|at| due.iter().filter(|other| (*at..at + 10 * MINUTE_US).contains(*other)).count());
    assert!(busiest.max().unwrap() < 75);
    assert!(due[999] - due[0] > 230 * MINUTE_US);
}

fn progress(attempts: &[Attempt]) -> Progress<'_> {
    Progress {
        opens_at_us: 0,
        closes_at_us: 480 * MINUTE_US,
        first_due_us: 60 * MINUTE_US,
        max_attempts: 3,
        retry_after: RetryAfter::default(),
        attempts,
        hold: Hold::None,
    }
}

fn ended(state: AttemptState, minute: i64) -> Attempt {
    Attempt { state, at_us: minute * MINUTE_US }
}

#[test]
fn attempts_follow_each_other_at_their_own_distance() {
    use AttemptState::{Busy, Failed, NoAnswer, Unknown, Voicemail};
    let wait = |minute: i64| Decision::Wait { until_us: minute * MINUTE_US };
    assert_eq!(progress(&[]).decide(0), wait(60));
    assert_eq!(progress(&[]).decide(60 * MINUTE_US), Decision::Place { attempt: 1 });
    for (state, minutes) in [(Busy, 15), (NoAnswer, 60), (Voicemail, 120), (Failed, 15), (Unknown, 60)] {
        let attempts = [ended(state, 61)];
        assert_eq!(progress(&attempts).decide(62 * MINUTE_US), wait(61 + minutes), "{state:?}");
        assert_eq!(progress(&attempts).decide((61 + minutes) * MINUTE_US), Decision::Place { attempt: 2 });
    }
}

#[test]
fn a_call_is_missed_as_soon_as_nothing_more_can_be_tried() {
    use AttemptState::{Busy, NoAnswer, Voicemail};
    let three = [ended(Busy, 60), ended(Busy, 90), ended(NoAnswer, 120)];
    assert_eq!(progress(&three).decide(121 * MINUTE_US), Decision::Missed(MissedReason::NoAnswer));
    // The next attempt would be due after the window.
    let late = [ended(Voicemail, 400)];
    assert_eq!(progress(&late).decide(401 * MINUTE_US), Decision::Missed(MissedReason::Voicemail));
    assert_eq!(progress(&[]).decide(480 * MINUTE_US), Decision::Missed(MissedReason::NotPlaced));
    // While a telephone rings nothing is decided.
    let ringing = [ended(Busy, 60), ended(AttemptState::Placed, 470)];
    assert_eq!(progress(&ringing).decide(500 * MINUTE_US), Decision::AwaitOutcome);
}

#[test]
fn a_paused_call_waits_and_is_not_missed() {
    let paused = Progress { hold: Hold::Paused, ..progress(&[]) };
    assert_eq!(paused.decide(100 * MINUTE_US), Decision::Wait { until_us: 480 * MINUTE_US });
    assert_eq!(paused.decide(480 * MINUTE_US), Decision::Cancelled);
    let removed = Progress { hold: Hold::Removed, ..progress(&[]) };
    assert_eq!(removed.decide(100 * MINUTE_US), Decision::Cancelled);
    let answered = [ended(AttemptState::Answered, 61)];
    assert_eq!(Progress { hold: Hold::Removed, ..progress(&answered) }.decide(70 * MINUTE_US), Decision::Done);
}

#[test]
fn news_in_any_order_lead_to_the_same_end() {
    use AttemptState::{Answered, Busy, Claimed, Failed, NoAnswer, Placed, Unknown, Voicemail};
    let hear = |news: &[AttemptState]| {
        news.iter().fold(Claimed, |known, next| if known.may_become(*next) { *next } else { known })
    };
    assert_eq!(hear(&[Placed, Answered, Voicemail]), Voicemail);
    assert_eq!(hear(&[Voicemail, Placed, Answered]), Voicemail);
    assert_eq!(hear(&[Unknown, Placed, NoAnswer, Placed]), NoAnswer);
    assert_eq!(hear(&[Answered, NoAnswer, Placed]), Answered);
    assert_eq!(hear(&[Placed, Failed, Answered]), Answered);
    assert_eq!(hear(&[Placed, Answered, Failed]), Answered);
    assert_eq!(hear(&[Failed, NoAnswer, Busy]), Failed);
    for state in AttemptState::ALL {
        assert_eq!(AttemptState::parse(state.as_str()), Some(state));
        assert!(!state.may_become(Claimed));
    }
}

#[test]
fn calls_are_a_second_apart_also_when_the_clock_is_set_back() {
    let pace = Pace::new(2, 1);
    assert_eq!(pace.wait_until(None, 0), None);
    assert_eq!(pace.wait_until(Some(5_000_000), 5_400_000), Some(6_000_000));
    assert_eq!(pace.wait_until(Some(5_000_000), 6_000_000), None);
    // The clock of the server that claimed it is a little ahead.
    assert_eq!(pace.wait_until(Some(6_000_000), 5_500_000), Some(7_000_000));
    assert_eq!(pace.wait_until(Some(6_000_000), 1_000_000), None);
    assert_eq!(Pace::new(2, 4).wait_until(Some(5_000_000), 5_200_000), Some(5_250_000));
    assert!(pace.has_room(1) && !pace.has_room(2));
}

proptest! {
    /// Every moment of every window is inside the window and legal by the patient's clock, in every zone we could draw.
    #[test]
    fn no_moment_of_a_window_is_outside_of_it(
        zone in prop::sample::select(vec![
            "America/New_York", "America/Los_Angeles", "America/Phoenix", "America/St_Johns", "Pacific/Honolulu",
            "Europe/London", "Europe/Berlin", "Asia/Kolkata", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia",
            "Pacific/Chatham", "Africa/Casablanca", "America/Nuuk", "Antarctica/Troll", "Asia/Kathmandu", "UTC",
        ]),
        day in 0_i32..5_000, start in 0_i8..23, length in 1_i8..23, attempts in 1_u32..10,
    ) {
        let starts_on = date(2010, 1, 1);
        let table = Timetable { window: hours(start, (start + length).min(23)), max_attempts: attempts,
            ..Timetable::daily(zone, starts_on) };
        prop_assume!(table.check().is_ok());
        let date = starts_on.checked_add(jiff::Span::new().days(day)).unwrap();
        let schedule = schedule("p", table);
        if let Some(day) = schedule.calling_day(date) {
            prop_assert!((day.opens_at_us..day.closes_at_us).contains(&day.first_due_us));
            let mut at = day.opens_at_us;
            while at < day.closes_at_us {
                let clock = local(zone, at);
                prop_assert_eq!(clock.date(), date);
                let (from, to) = (schedule.timetable.window.start, schedule.timetable.window.end);
                prop_assert!((from.max(LEGAL_START)..to.min(LEGAL_END)).contains(&clock.time()), "{}", clock);
                at += 7 * MINUTE_US;
            }
        }
    }
}
