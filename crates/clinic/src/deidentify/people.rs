//! Who a patient is as far as research may know, and the patient's own count of days.

use super::rows::PatientRow;
use super::vocabulary::{OTHER, to_step};
use super::{OLDEST_AGE_YEARS, Subject};
use crate::Sex;
use crate::protocol::languages::AGENT_LANGUAGES;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::collections::BTreeMap;

/// Dry weights outside of this are told as its ends: few people weigh that.
const WEIGHTS_KG: (f64, f64) = (40.0, 160.0);

/// The calendar of one patient.
pub(super) struct Calendar {
    zone: TimeZone,
    enrolled_on: Option<Date>,
    shift_days: i64,
}

impl Calendar {
    pub(super) fn of(subject: &Subject<'_>) -> Self {
        // A zone that is not known any more still gives the same day for nearly every call.
        let zone = TimeZone::get(&subject.patient.details.timezone).unwrap_or(TimeZone::UTC);
        let enrolled_on = at(&zone, subject.enrolled_at_us).map(|local| local.date());
        Self { zone, enrolled_on, shift_days: i64::from(subject.shift_days) }
    }

    fn day_of(&self, date: Date) -> Option<i64> {
        let days = self.enrolled_on?.until(date).ok()?.get_days();
        Some(i64::from(days) + self.shift_days)
    }

    /// Days since enrolment, moved.
    pub(super) fn day(&self, at_us: i64) -> Option<i64> {
        self.day_of(at(&self.zone, at_us)?.date())
    }

    pub(super) fn time_of_day(&self, at_us: i64) -> Option<&'static str> {
        let hour = at(&self.zone, at_us)?.hour();
        Some(match hour {
            0..6 => "night",
            6..12 => "morning",
            12..18 => "afternoon",
            _ => "evening",
        })
    }
}

fn at(zone: &TimeZone, at_us: i64) -> Option<Zoned> {
    Some(Timestamp::from_microsecond(at_us).ok()?.to_zoned(zone.clone()))
}

/// Whole years at enrolment. Whoever turns 90 within the export is 90 or older in all of it: the age at enrolment and the
/// day of the last call would tell the age at the last call.
fn age_years(subject: &Subject<'_>, calendar: &Calendar) -> Option<i64> {
    let born = subject.patient.details.birth_date;
    let years = |date: Date| {
        let not_yet = (date.month(), date.day()) < (born.month(), born.day());
        i64::from(date.year()) - i64::from(born.year()) - i64::from(not_yet)
    };
    let times = subject.calls.iter().flat_map(|call| [Some(call.record.started_at_us), call.record.ended_at_us]);
    let alerts = subject.alerts.iter().flat_map(|a| [Some(a.raised_at_us), a.acknowledged_at_us, a.resolved_at_us]);
    let discharged = subject.profile.discharged_on;
    let latest =
        times.chain(alerts).flatten().filter_map(|us| Some(at(&calendar.zone, us)?.date())).chain(discharged).max();
    let enrolled = years(calendar.enrolled_on?);
    if enrolled < 0 {
        return None;
    }
    let oldest = latest.map_or(enrolled, |date| years(date).max(enrolled));
    Some(if oldest >= OLDEST_AGE_YEARS { OLDEST_AGE_YEARS } else { enrolled })
}

pub(super) fn patient(subject: &Subject<'_>, calendar: &Calendar) -> PatientRow {
    let details = &subject.patient.details;
    let weight = subject.profile.dry_weight_kg.filter(|weight| weight.is_finite());
    PatientRow {
        patient: subject.pseudonym.clone(),
        age_years: age_years(subject, calendar),
        sex: match details.sex {
            Sex::Female => Some("female"),
            Sex::Male => Some("male"),
            Sex::Other => Some(OTHER),
            Sex::Unknown => None,
        },
        language: AGENT_LANGUAGES.iter().copied().find(|code| *code == details.language),
        dry_weight_kg: weight.map(|weight| to_step(weight, 1.0).clamp(WEIGHTS_KG.0, WEIGHTS_KG.1)),
        discharged_day: subject.profile.discharged_on.and_then(|date| calendar.day_of(date)),
        calls: subject.calls.len(),
    }
}

/// Languages that fewer than `smallest` patients share become "other", sexes become unknown.
pub(super) fn hide_small_cells(patients: &mut [PatientRow], smallest: usize) {
    let count = |of: fn(&PatientRow) -> Option<&'static str>, rows: &[PatientRow]| {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for value in rows.iter().filter_map(of) {
            *counts.entry(value).or_default() += 1;
        }
        counts
    };
    let (sexes, languages) = (count(|row| row.sex, patients), count(|row| row.language, patients));
    let rare = |counts: &BTreeMap<&str, usize>, value: &str| counts.get(value).is_some_and(|&n| n < smallest);
    for row in patients {
        row.sex = row.sex.filter(|sex| !rare(&sexes, sex));
        row.language = row.language.map(|language| if rare(&languages, language) { OTHER } else { language });
    }
}

/// Patients whom nobody else in the export equals in age, sex and language.
pub(super) fn alone(patients: &[PatientRow]) -> usize {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for row in patients {
        *counts.entry((row.age_years, row.sex, row.language)).or_default() += 1;
    }
    counts.values().filter(|&&n| n == 1).count()
}
