//! Whose records somebody reaches: those of the patients of their care team, and those they opened by breaking the glass.
//!
//! Lists are narrowed in the database, so that a page is full whoever asks, and nobody learns from its length how many
//! there are of others.

use crate::db::query_scalar;
use crate::error::Doing;
use crate::{Result, Store};
use clinic::{PatientId, SessionId, TokenId, UserId};

/// The patients of one person at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CareTeam {
    /// Whose patients.
    pub user: UserId,
    /// When, in microseconds since the Unix epoch: an opened glass closes by itself.
    pub at_us: i64,
}

/// The condition that narrows a list to a care team, for a statement whose placeholders `$user` and `$at` are bound to
/// [`user_of`] and [`at_of`]. An empty user narrows nothing.
macro_rules! within {
    ($patient:literal, $user:literal, $at:literal) => {
        concat!(
            "(",
            $user,
            " = '' OR ",
            $patient,
            " IN (SELECT patient_id FROM care_teams WHERE user_id = ",
            $user,
            " UNION SELECT patient_id FROM glass_breaks WHERE user_id = ",
            $user,
            " AND from_us <= ",
            $at,
            " AND until_us > ",
            $at,
            "))"
        )
    };
}
pub(crate) use within;

/// As [`within`], and what is nobody's too: a call from a number that belongs to no patient, and an alert about it. There
/// is no care team to look after it, so every clinician may.
macro_rules! within_or_nobodys {
    ($patient:literal, $user:literal, $at:literal) => {
        concat!("(", $patient, " IS NULL OR ", crate::reach::within!($patient, $user, $at), ")")
    };
}
pub(crate) use within_or_nobodys;

const REACHES: &str = concat!("SELECT COUNT(*) FROM patients WHERE id = $1 AND ", within!("id", "$2", "$3"));
const SESSION_GOES_ON: &str =
    "SELECT COUNT(*) FROM sessions WHERE id = $1 AND ended_at_us IS NULL AND expires_at_us > $2";
const TOKEN_STANDS: &str = "SELECT COUNT(*) FROM api_tokens WHERE id = $1 AND revoked_at_us IS NULL \
     AND (expires_at_us IS NULL OR expires_at_us > $2)";

pub(crate) fn user_of(team: Option<&CareTeam>) -> &str {
    team.map_or("", |team| team.user.as_str())
}

pub(crate) fn at_of(team: Option<&CareTeam>) -> i64 {
    team.map_or(0, |team| team.at_us)
}

impl Store {
    /// Whether a patient is of this care team, or was opened by breaking the glass. False for a patient there is not.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`].
    pub async fn reaches(&self, team: &CareTeam, patient: &PatientId) -> Result<bool> {
        let found = query_scalar::<i64>(REACHES).bind(patient.as_str()).bind(user_of(Some(team))).bind(team.at_us);
        Ok(found.fetch_one(self.read()).await.doing("look up a care team")? > 0)
    }

    /// Whether a session goes on, for somebody who was let in by it and is still being told things.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`].
    pub async fn session_goes_on(&self, id: &SessionId, now_us: i64) -> Result<bool> {
        let found = query_scalar::<i64>(SESSION_GOES_ON).bind(id.as_str()).bind(now_us);
        Ok(found.fetch_one(self.read()).await.doing("look up a session")? > 0)
    }

    /// Whether a token is still good, for a program that was let in by it and is still being told things.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`].
    pub async fn token_stands(&self, id: &TokenId, now_us: i64) -> Result<bool> {
        let found = query_scalar::<i64>(TOKEN_STANDS).bind(id.as_str()).bind(now_us);
        Ok(found.fetch_one(self.read()).await.doing("look up a token")? > 0)
    }
}
