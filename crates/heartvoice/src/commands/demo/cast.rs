//! Who appears in the demonstration, and what has to become of them.

use clinic::CallOutcome;
use clinic::care::CareProfile;

/// How a call comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The patient telephones.
    Inbound,
    /// We telephone the patient.
    Outbound,
}

/// Calls before today's that are made in simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// None.
    Nothing,
    /// A stable patient: calls every second day, all dry.
    Stable,
    /// Dry calls, then two weeks of getting worse.
    Worsening,
}

/// A patient of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    /// Name of the scenario.
    pub(super) scenario: &'static str,
    /// A name nobody has.
    pub(super) name: &'static str,
    pub(super) sex: &'static str,
    pub(super) language: &'static str,
    pub(super) way: Way,
    pub(super) past: Past,
    pub(super) expected: CallOutcome,
    /// The least and the greatest risk that is right; `None` where there is nothing to interpret.
    pub(super) risk: Option<(f64, f64)>,
}

/// Everybody, in the order in which they are shown.
pub(super) const CAST: [Role; 8] = [
    role("stable", "Ada Example", "female", (0.0, 20.0)).past(Past::Stable),
    role("worsening", "Bruno Sample", "male", (45.0, 100.0)).past(Past::Worsening),
    role("spanish", "Carla Specimen", "female", (0.0, 20.0)).language("es"),
    role("red-flag", "Dmitri Placeholder", "male", (100.0, 100.0)).outcome(CallOutcome::HandedOver),
    role("voicemail", "Esther Mockup", "female", (0.0, 0.0)).voicemail(),
    role("unusable-line", "Farid Dummy", "male", (0.0, 20.0)),
    role("interrupting", "Greta Template", "female", (0.0, 20.0)),
    role("short-of-breath", "Hugo Fiction", "male", (100.0, 100.0)),
];

/// Everybody was born on the day their voices say.
pub(super) const BORN: &str = "1948-04-01";

const fn role(scenario: &'static str, name: &'static str, sex: &'static str, risk: (f64, f64)) -> Role {
    Role {
        scenario,
        name,
        sex,
        language: "en",
        way: Way::Inbound,
        past: Past::Nothing,
        expected: CallOutcome::Completed,
        risk: Some(risk),
    }
}

impl Role {
    const fn past(self, past: Past) -> Self {
        Self { past, ..self }
    }

    const fn language(self, language: &'static str) -> Self {
        Self { language, ..self }
    }

    const fn outcome(self, expected: CallOutcome) -> Self {
        Self { expected, ..self }
    }

    const fn voicemail(self) -> Self {
        Self { way: Way::Outbound, expected: CallOutcome::Voicemail, risk: None, ..self }
    }

    /// The role of the call with that number; the cast begins anew when it is through.
    pub(super) fn of(number: u32) -> Self {
        let index = number as usize % CAST.len();
        CAST.get(index).copied().unwrap_or(const { CAST[0] })
    }

    /// What the clinic knows of the patient beside the record.
    pub(super) fn profile(&self, today: jiff::civil::Date) -> CareProfile {
        CareProfile {
            dry_weight_kg: (self.past != Past::Nothing).then_some(82.5),
            // One patient is asked in the call, the others agreed earlier.
            recording_consent_on: (self.scenario != "spanish").then_some(today),
            ..CareProfile::default()
        }
    }
}

/// A time zone in which it is the middle of the day: calls are placed in legal hours only, whenever the demonstration
/// runs.
pub(super) fn midday_zone(now: jiff::Timestamp) -> &'static str {
    const ZONES: [&str; 8] = [
        "America/New_York",
        "America/Los_Angeles",
        "Pacific/Auckland",
        "Asia/Tokyo",
        "Asia/Kolkata",
        "Europe/Berlin",
        "Atlantic/Azores",
        "Pacific/Honolulu",
    ];
    let daytime = |zone: &&&str| {
        let hour = jiff::tz::TimeZone::get(zone).map(|zone| now.to_zoned(zone).hour());
        hour.is_ok_and(|hour| (9..19).contains(&hour))
    };
    ZONES.iter().find(daytime).copied().unwrap_or("America/New_York")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::patient::PatientScript;

    #[test]
    fn every_scenario_of_the_demo_exists() {
        for role in CAST.iter().filter(|role| role.way == Way::Inbound) {
            assert!(PatientScript::scenario(role.scenario).is_some(), "{}", role.scenario);
        }
    }

    #[test]
    fn it_is_daytime_somewhere() {
        for hour in 0..24 {
            let now = jiff::Timestamp::from_second(1_790_000_000 + hour * 3_600).unwrap_or_default();
            let zone = jiff::tz::TimeZone::get(midday_zone(now)).unwrap_or(jiff::tz::TimeZone::UTC);
            assert!((8..20).contains(&now.to_zoned(zone).hour()), "{hour}");
        }
    }
}
