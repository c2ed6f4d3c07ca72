//! Quiet hours: the part of the night in which only what is critical may ring.
//!
//! They are hours of the staff's clock. On the nights when that clock is changed they are an hour longer or shorter, and
//! they begin and end once: of a time that the clock shows twice the first counts, and one that it skips comes as much
//! later as the clock leaps.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// Hours of every day, such as from 21:00 until 07:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    start: Time,
    end: Time,
}

/// Why a text is not quiet hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not quiet hours: expected two different times of day such as 21:00-07:00")]
pub struct InvalidQuietHours;

impl std::str::FromStr for QuietHours {
    type Err = InvalidQuietHours;

    fn from_str(text: &str) -> Result<Self, InvalidQuietHours> {
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':').ok_or(InvalidQuietHours)?;
            let digits = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
                let fits = lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
                if fits { part.parse::<i8>().map_err(|_| InvalidQuietHours) } else { Err(InvalidQuietHours) }
            };
            Time::new(digits(hour, 1..=2)?, digits(minute, 2..=2)?, 0, 0).map_err(|_| InvalidQuietHours)
        };
        let (start, end) = text.split_once('-').ok_or(InvalidQuietHours)?;
        let (start, end) = (time(start)?, time(end)?);
        if start == end { Err(InvalidQuietHours) } else { Ok(Self { start, end }) }
    }
}

impl QuietHours {
    /// The end of the quiet hours that `now` lies in; `None` outside them.
    #[must_use]
    pub fn until(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = now.to_zoned(zone.clone()).date();
        // Those that began yesterday may still last.
        let begun = [today.yesterday().ok(), Some(today)];
        begun.into_iter().flatten().filter_map(|date| self.span(date, zone)).find_map(|(start, end)| {
            let inside = start <= now && now < end;
            inside.then_some(end)
        })
    }

    /// The quiet hours that begin on `date`.
    fn span(self, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let last = if self.end > self.start { date } else { date.tomorrow().ok()? };
        Some((moment(date, self.start, zone)?, moment(last, self.end, zone)?))
    }
}

/// When the clocks of `zone` show `time` on `date`: the first time where they show it twice, later by the leap where they
/// never do.
pub(crate) fn moment(date: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    date.to_datetime(time).to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn until(hours: &str, now: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        let end = hours.parse::<QuietHours>().unwrap().until(now.parse().unwrap(), &zone)?;
        Some(end.to_string())
    }

    #[test]
    fn texts_are_checked() {
        for good in ["21:00-07:00", "9:30 - 12:00", "00:00-23:59"] {
            assert!(good.parse::<QuietHours>().is_ok(), "{good}");
        }
        for bad in ["", "21-7", "21:00", "21:00-21:00", "24:00-07:00", "21:0-07:00", "21:00-07:00-08:00", "-1:00-07:00"]
        {
            assert_eq!(bad.parse::<QuietHours>(), Err(InvalidQuietHours), "{bad}");
        }
    }

    #[test]
    fn a_night_spans_midnight_and_a_nap_does_not() {
        let berlin = "Europe/Berlin";
        assert_eq!(until("21:00-07:00", "2026-01-10T19:59:59Z", berlin), None);
        assert_eq!(until("21:00-07:00", "2026-01-10T20:00:00Z", berlin).unwrap(), "2026-01-11T06:00:00Z");
        assert_eq!(until("21:00-07:00", "2026-01-11T05:59:59Z", berlin).unwrap(), "2026-01-11T06:00:00Z");
        assert_eq!(until("21:00-07:00", "2026-01-11T06:00:00Z", berlin), None);
        assert_eq!(until("13:00-15:00", "2026-01-11T12:30:00Z", berlin).unwrap(), "2026-01-11T14:00:00Z");
        assert_eq!(until("13:00-15:00", "2026-01-11T14:00:00Z", berlin), None);
    }

    #[test]
    fn nights_of_a_clock_change_begin_and_end_once() {
        let new_york = "America/New_York";
        // Spring: 02:00 becomes 03:00 on 8 March 2026; the end is still seven in the morning.
        assert_eq!(until("21:00-07:00", "2026-03-08T04:00:00Z", new_york).unwrap(), "2026-03-08T11:00:00Z");
        // 02:30 is skipped, so it comes at 03:30.
        assert_eq!(until("22:00-02:30", "2026-03-08T06:59:00Z", new_york).unwrap(), "2026-03-08T07:30:00Z");
        // Autumn: 02:00 becomes 01:00 on 1 November 2026, so 01:30 comes twice; the first is the end.
        assert_eq!(until("22:00-01:30", "2026-11-01T05:29:00Z", new_york).unwrap(), "2026-11-01T05:30:00Z");
        assert_eq!(until("22:00-01:30", "2026-11-01T06:10:00Z", new_york), None);
        assert_eq!(until("21:00-07:00", "2026-11-01T06:10:00Z", new_york).unwrap(), "2026-11-01T12:00:00Z");
    }
}
