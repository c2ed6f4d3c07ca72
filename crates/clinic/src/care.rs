//! What a clinic notes about a patient beside the record itself: how they identify themselves, agreements, dry weight.

use crate::Patient;
use crate::answers::WeightUnit;
use crate::identity::Identity;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Digits a PIN may have.
const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=8;
/// Dry weights that can be true, in kilograms.
const DRY_WEIGHT_KG: std::ops::RangeInclusive<f64> = 25.0..=300.0;

const DRY_WEIGHT_EXPECTED: &str = "25 to 300 kg";

/// What is wrong with a profile. Never repeats the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct InvalidProfile {
    /// The field at fault.
    pub field: &'static str,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// A patient's profile of care. PHI.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CareProfile {
    /// Secret digits by which the patient identifies themself on the keypad, beside the date of birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// Unit the patient weighs in; from the time zone where not noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_unit: Option<WeightUnit>,
    /// Weight without congestion, as the clinic decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_weight_kg: Option<f64>,
    /// Day on which the patient agreed to being recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_consent_on: Option<Date>,
    /// Day of the last discharge from hospital.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discharged_on: Option<Date>,
}

impl CareProfile {
    /// What a profile consists of, by the names in import files.
    pub const FIELDS: [&'static str; 5] =
        ["pin", "dry_weight_kg", "recording_consent_on", "discharged_on", "weight_unit"];

    /// Takes in one field as somebody wrote it; an empty text removes it.
    ///
    /// # Errors
    /// [`InvalidProfile`] when the text cannot be accepted; nothing changed then.
    pub fn set(&mut self, field: &str, text: &str) -> Result<(), InvalidProfile> {
        let text = Some(text.trim()).filter(|text| !text.is_empty());
        let date = |field| {
            let wrong = move |_| InvalidProfile { field, expected: "a date such as 2026-02-01" };
            text.map(|text| text.parse::<Date>().map_err(wrong)).transpose()
        };
        let mut changed = self.clone();
        match field {
            "pin" => changed.pin = text.map(str::to_owned),
            "dry_weight_kg" => {
                let wrong = |_| InvalidProfile { field: "dry_weight_kg", expected: DRY_WEIGHT_EXPECTED };
                changed.dry_weight_kg = text.map(str::parse).transpose().map_err(wrong)?;
            }
            "recording_consent_on" => changed.recording_consent_on = date("recording_consent_on")?,
            "discharged_on" => changed.discharged_on = date("discharged_on")?,
            "weight_unit" => {
                changed.weight_unit = match text.map(str::to_ascii_lowercase).as_deref() {
                    None => None,
                    Some("kg") => Some(WeightUnit::Kg),
                    Some("lb") => Some(WeightUnit::Lb),
                    Some(_) => return Err(InvalidProfile { field: "weight_unit", expected: "kg or lb" }),
                }
            }
            _ => {
                let expected = "pin, dry_weight_kg, recording_consent_on, discharged_on or weight_unit";
                return Err(InvalidProfile { field: "field", expected });
            }
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// The profile for people and programs who need not know the PIN: whether there is one is all that is said.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "pin_set": self.pin.is_some(),
            "dry_weight_kg": self.dry_weight_kg,
            "recording_consent_on": self.recording_consent_on,
            "discharged_on": self.discharged_on,
            "weight_unit": self.weight_unit,
        })
    }

    /// Checks what somebody typed.
    ///
    /// # Errors
    /// [`InvalidProfile`] naming the first field that cannot be accepted.
    pub fn check(&self) -> Result<(), InvalidProfile> {
        let is_pin = |pin: &String| PIN_DIGITS.contains(&pin.len()) && pin.bytes().all(|b| b.is_ascii_digit());
        if self.pin.as_ref().is_some_and(|pin| !is_pin(pin)) {
            return Err(InvalidProfile { field: "pin", expected: "4 to 8 digits" });
        }
        if self.dry_weight_kg.is_some_and(|weight| !DRY_WEIGHT_KG.contains(&weight)) {
            return Err(InvalidProfile { field: "dry_weight_kg", expected: DRY_WEIGHT_EXPECTED });
        }
        Ok(())
    }

    /// How the patient proves who they are.
    #[must_use]
    pub fn identity(&self, patient: &Patient) -> Identity {
        Identity { birth_date: patient.details.birth_date, pin: self.pin.clone() }
    }

    /// The unit of a weight named without one: as noted, else pounds where people use them.
    #[must_use]
    pub fn unit(&self, patient: &Patient) -> WeightUnit {
        let zone = patient.details.timezone.as_str();
        let american = [
            "America/New_York",
            "America/Chicago",
            "America/Denver",
            "America/Los_Angeles",
            "America/Phoenix",
            "America/Anchorage",
            "America/Detroit",
            "Pacific/Honolulu",
            "America/Indiana",
            "America/Kentucky",
            "US/",
        ];
        let pounds = american.iter().any(|prefix| zone.starts_with(prefix));
        self.weight_unit.unwrap_or(if pounds { WeightUnit::Lb } else { WeightUnit::Kg })
    }
}

impl fmt::Debug for CareProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CareProfile(redacted)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_field_can_be_noted_and_removed() {
        let mut profile = CareProfile::default();
        for (field, text) in CareProfile::FIELDS.into_iter().zip(["0417", "72.5", "2026-01-02", "2026-02-03", "KG"]) {
            profile.set(field, text).unwrap();
        }
        let noted = profile.to_json();
        assert_eq!(
            noted,
            json!({"pin_set": true, "dry_weight_kg": 72.5, "recording_consent_on": "2026-01-02",
                "discharged_on": "2026-02-03", "weight_unit": "kg"})
        );
        assert!(!noted.to_string().contains("0417"));
        for field in CareProfile::FIELDS {
            profile.set(field, " ").unwrap();
        }
        assert!(profile == CareProfile::default());
    }

    #[test]
    fn a_field_that_cannot_be_is_named_and_changes_nothing() {
        let mut profile = CareProfile::default();
        profile.set("dry_weight_kg", "70").unwrap();
        for (field, text) in [
            ("pin", "123"),
            ("pin", "12a4"),
            ("dry_weight_kg", "NaN"),
            ("dry_weight_kg", "700"),
            ("dry_weight_kg", "70 kg"),
            ("recording_consent_on", "yes"),
            ("discharged_on", "2026-02-30"),
            ("weight_unit", "stone"),
        ] {
            let wrong = profile.set(field, text).unwrap_err();
            assert_eq!(wrong.field, field);
            assert!(!wrong.to_string().contains(text), "{wrong}");
        }
        assert_eq!(profile.dry_weight_kg, Some(70.0));
        assert!(profile.set("shoe_size", "43").is_err());
    }
}
