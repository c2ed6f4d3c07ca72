//! Patients: who is telephoned, and what an agent may be told about them.

use crate::protocol::languages::is_agent_language;
use crate::{PatientId, PhoneNumber};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Sex as recorded by the clinic; voice norms differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
    /// Another answer.
    Other,
    /// Not recorded.
    Unknown,
}

impl std::str::FromStr for Sex {
    type Err = InvalidPatient;

    fn from_str(text: &str) -> Result<Self, InvalidPatient> {
        match text.trim().to_ascii_lowercase().as_str() {
            "female" | "f" => Ok(Self::Female),
            "male" | "m" => Ok(Self::Male),
            "other" | "o" => Ok(Self::Other),
            "unknown" | "u" | "" => Ok(Self::Unknown),
            _ => Err(InvalidPatient { field: "sex", expected: "female, male, other or unknown" }),
        }
    }
}

/// What is wrong with a patient record that somebody typed or imported. Never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}")]
pub struct InvalidPatient {
    /// The field at fault, as named in the import file.
    pub field: &'static str,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// A patient record before it has an identifier.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPatient {
    /// The clinic's own number for the patient (MRN). PHI.
    pub external_id: String,
    /// Full name. PHI.
    pub name: String,
    /// Where the patient is reached. PHI.
    pub phone: PhoneNumber,
    /// Date of birth. PHI.
    pub birth_date: jiff::civil::Date,
    /// Sex as recorded.
    pub sex: Sex,
    /// Agent language code, such as `en`, `es` or `pt-br`.
    pub language: String,
    /// IANA time zone, such as `America/New_York`.
    pub timezone: String,
}

impl NewPatient {
    /// Builds a record from texts as they stand in a form or a CSV row.
    ///
    /// # Errors
    /// [`InvalidPatient`] naming the first field that cannot be accepted and what was expected.
    pub fn from_fields(
        external_id: &str,
        name: &str,
        phone: &str,
        birth_date: &str,
        sex: &str,
        language: &str,
        timezone: &str,
    ) -> Result<Self, InvalidPatient> {
        let text = |field, value: &str, expected, most: usize| {
            let value = value.trim();
            let fits = !value.is_empty() && value.chars().count() <= most && !value.chars().any(char::is_control);
            if fits { Ok(value.to_owned()) } else { Err(InvalidPatient { field, expected }) }
        };
        let external_id = text("external_id", external_id, "1 to 64 characters", 64)?;
        let name = text("name", name, "1 to 200 characters", 200)?;
        let phone = PhoneNumber::parse(phone)
            .map_err(|_| InvalidPatient { field: "phone", expected: "E.164 such as +15005550006" })?;
        let birth_date = birth_date
            .trim()
            .parse()
            .map_err(|_| InvalidPatient { field: "birth_date", expected: "a date such as 1948-04-01" })?;
        let sex = sex.parse()?;
        let expected = "the code of a language an agent speaks, such as en, es or pt-br";
        let language = text("language", language, expected, 8)?.to_ascii_lowercase();
        if !is_agent_language(&language) {
            return Err(InvalidPatient { field: "language", expected });
        }
        let timezone = text("timezone", timezone, "an IANA time zone such as America/New_York", 64)?;
        if jiff::tz::TimeZone::get(&timezone).is_err() {
            return Err(InvalidPatient { field: "timezone", expected: "an IANA time zone such as America/New_York" });
        }
        Ok(Self { external_id, name, phone, birth_date, sex, language, timezone })
    }
}

impl fmt::Debug for NewPatient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPatient(redacted)")
    }
}

/// A stored patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// Opaque identifier.
    pub id: PatientId,
    /// The record itself.
    #[serde(flatten)]
    pub details: NewPatient,
}

impl Patient {
    /// The name an agent greets the patient with: the first word of the name.
    #[must_use]
    pub fn given_name(&self) -> &str {
        self.details.name.split_whitespace().next().unwrap_or("")
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields() -> [&'static str; 7] {
        ["MRN-1", "Ada Example", "+15005550006", "1948-04-01", "female", "en", "America/New_York"]
    }

    fn build(f: [&str; 7]) -> Result<NewPatient, InvalidPatient> {
        NewPatient::from_fields(f[0], f[1], f[2], f[3], f[4], f[5], f[6])
    }

    #[test]
    fn a_good_row_is_accepted_and_hidden_from_debug() {
        let patient = build(fields()).unwrap();
        assert_eq!(patient.name, "Ada Example");
        assert!(!format!("{patient:?}").contains("Ada"));
    }

    #[test]
    fn each_bad_field_is_named() {
        let cases = [
            (0, " ", "external_id"),
            (1, "", "name"),
            (2, "5005550006", "phone"),
            (3, "01/04/1948", "birth_date"),
            (4, "yes", "sex"),
            (5, "EN_us!", "language"),
            (5, "tlh", "language"),
            (5, "en-us", "language"),
            (6, "Mars/Base", "timezone"),
        ];
        for (index, value, field) in cases {
            let mut row = fields();
            row[index] = value;
            assert_eq!(build(row).unwrap_err().field, field);
        }
    }
}
