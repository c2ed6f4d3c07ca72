//! Care teams: which clinician looks after which patients.

use super::stored_id;
use super::users::read;
use crate::db::{Domain, Violation, query, query_scalar, violation};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use clinic::access::Role;
use clinic::{PatientId, UserId};

/// Patients of one clinician that are listed at once.
pub const MAX_CARE_TEAM_PATIENTS: i64 = 100_000;

const ASSIGN: &str = "INSERT INTO care_teams (patient_id, user_id, since_us) VALUES ($1, $2, $3) \
     ON CONFLICT (patient_id, user_id) DO NOTHING";
// `WHERE` keeps SQLite from reading ON CONFLICT as the condition of a join.
const ASSIGN_ALL: &str = "INSERT INTO care_teams (patient_id, user_id, since_us) \
     SELECT p.id, CAST($1 AS TEXT), CAST($2 AS BIGINT) FROM patients p \
     JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id WHERE p.id <> '' \
     ON CONFLICT (patient_id, user_id) DO NOTHING";
const UNASSIGN: &str = "DELETE FROM care_teams WHERE patient_id = $1 AND user_id = $2";
const UNASSIGN_ALL: &str = "DELETE FROM care_teams WHERE user_id = $1";
const PATIENTS_OF: &str = "SELECT patient_id FROM care_teams WHERE user_id = $1 ORDER BY patient_id LIMIT $2";
const TEAM_OF: &str =
    "SELECT user_id, since_us FROM care_teams WHERE patient_id = $1 ORDER BY since_us, user_id LIMIT 1000";
const IS_MEMBER: &str = "SELECT COUNT(*) FROM care_teams WHERE patient_id = $1 AND user_id = $2";

impl Store {
    /// Makes a clinician a member of a patient's care team. False: they were already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown patient or user, [`StoreError::Invalid`] for a user who is no clinician.
    pub async fn assign_patient(&self, user: &UserId, patient: &PatientId, now_us: i64) -> Result<bool> {
        let doing = "save a care team";
        let mut tx = self.begin(Domain::People).await?;
        must_be_clinician(read(&mut tx, user).await?.role)?;
        let assign = query(ASSIGN).bind(patient.as_str()).bind(user.as_str()).bind(now_us);
        let done = assign.execute(&mut *tx).await.map_err(|error| match violation(&error) {
            Some(Violation::ForeignKey) => StoreError::NotFound { what: "patient" },
            _ => StoreError::Unavailable { doing, source: Box::new(error) },
        })?;
        tx.commit().await.doing(doing)?;
        Ok(done.rows_affected() == 1)
    }

    /// Makes a clinician a member of the care teams of all patients there are now. Answers how many are new.
    ///
    /// # Errors
    /// As [`Store::assign_patient`].
    pub async fn assign_all_patients(&self, user: &UserId, now_us: i64) -> Result<u64> {
        let doing = "save the care teams";
        let mut tx = self.begin(Domain::People).await?;
        must_be_clinician(read(&mut tx, user).await?.role)?;
        let done = query(ASSIGN_ALL).bind(user.as_str()).bind(now_us).execute(&mut *tx).await.doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(done.rows_affected())
    }

    /// Ends a membership. False: there was none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn unassign_patient(&self, user: &UserId, patient: &PatientId) -> Result<bool> {
        let done = query(UNASSIGN).bind(patient.as_str()).bind(user.as_str()).execute(self.write()).await;
        Ok(done.doing("save a care team")?.rows_affected() == 1)
    }

    /// Ends all memberships of somebody. Answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn unassign_all_patients(&self, user: &UserId) -> Result<u64> {
        let done = query(UNASSIGN_ALL).bind(user.as_str()).execute(self.write()).await;
        Ok(done.doing("save the care teams")?.rows_affected())
    }

    /// The patients whose care teams somebody belongs to.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn patients_of(&self, user: &UserId) -> Result<Vec<PatientId>> {
        let doing = "list the patients of a clinician";
        let rows = query(PATIENTS_OF).bind(user.as_str()).bind(MAX_CARE_TEAM_PATIENTS).fetch_all(self.read()).await;
        let rows = rows.doing(doing)?;
        rows.iter().map(|row| stored_id(row.try_get("patient_id").doing(doing)?, "a care team")).collect()
    }

    /// A patient's care team, with the time since when each belongs to it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn care_team(&self, patient: &PatientId) -> Result<Vec<(UserId, i64)>> {
        let doing = "list a care team";
        let rows = query(TEAM_OF).bind(patient.as_str()).fetch_all(self.read()).await.doing(doing)?;
        let member = |row: &crate::db::Row| {
            let id = stored_id(row.try_get("user_id").doing(doing)?, "a care team")?;
            Ok((id, row.try_get("since_us").doing(doing)?))
        };
        rows.iter().map(member).collect()
    }

    /// Whether somebody belongs to a patient's care team.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_member(&self, user: &UserId, patient: &PatientId) -> Result<bool> {
        let count = query_scalar::<i64>(IS_MEMBER).bind(patient.as_str()).bind(user.as_str());
        Ok(count.fetch_one(self.read()).await.doing("look up a care team")? > 0)
    }
}

fn must_be_clinician(role: Role) -> Result<()> {
    if role == Role::Clinician {
        return Ok(());
    }
    Err(StoreError::Invalid { what: "member of a care team", expected: "a user with the role clinician" })
}
