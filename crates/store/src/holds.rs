//! Legal holds: nothing about these patients is deleted, neither by age nor by request.

use crate::audit::{self, Actor, NewEntry};
use crate::db::{Conn, Domain, Row, Violation, query, query_scalar, violation};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use clinic::PatientId;

const SET: &str = "INSERT INTO legal_holds (patient_id, code, set_by, set_at_us) VALUES ($1, $2, $3, $4)";
const CLEAR: &str = "DELETE FROM legal_holds WHERE patient_id = $1";
const LIST: &str = "SELECT patient_id, code, set_by, set_at_us FROM legal_holds ORDER BY set_at_us, patient_id";
const HELD: &str = "SELECT COUNT(*) FROM legal_holds WHERE patient_id = $1";
/// Characters of a code.
const MAX_CODE_BYTES: usize = 64;

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegalHold {
    /// Whose record.
    pub patient_id: PatientId,
    /// Why, as a code such as a matter's number; no names.
    pub code: String,
    /// Who set it.
    pub set_by: String,
    /// When, in microseconds since the Unix epoch.
    pub set_at_us: i64,
}

impl Store {
    /// Keeps everything about a patient until the hold is cleared.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when there is a hold already, [`StoreError::Invalid`] for a code.
    pub async fn set_hold(&self, patient: &PatientId, code: &str, by: &Actor, at_us: i64) -> Result<()> {
        check_code(code)?;
        let mut tx = self.begin(Domain::Patients).await?;
        let set = query(SET).bind(patient.as_str()).bind(code).bind(by.id.as_str()).bind(at_us);
        if let Err(error) = set.execute(&mut tx).await {
            return match violation(&error) {
                Some(Violation::Unique) => {
                    Err(StoreError::Conflict { what: "the patient is under a legal hold already" })
                }
                Some(Violation::ForeignKey) => Err(StoreError::NotFound { what: "patient" }),
                None => Err(error).doing("set a legal hold"),
            };
        }
        let entry = NewEntry::new(by.clone(), "hold.set").patient(Some(patient)).reason(code);
        audit::append(&mut tx, &self.inner.vault, &[entry]).await?;
        tx.commit().await.doing("set a legal hold")
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    pub async fn clear_hold(&self, patient: &PatientId, by: &Actor) -> Result<()> {
        let mut tx = self.begin(Domain::Patients).await?;
        let cleared = query(CLEAR).bind(patient.as_str()).execute(&mut tx).await.doing("clear a legal hold")?;
        if cleared.rows_affected() == 0 {
            return Err(StoreError::NotFound { what: "legal hold" });
        }
        let entry = NewEntry::new(by.clone(), "hold.clear").patient(Some(patient));
        audit::append(&mut tx, &self.inner.vault, &[entry]).await?;
        tx.commit().await.doing("clear a legal hold")
    }

    /// All holds, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn holds(&self) -> Result<Vec<LegalHold>> {
        let doing = "list the legal holds";
        let read = |row: &Row| {
            let id: String = row.try_get("patient_id").doing(doing)?;
            Ok(LegalHold {
                patient_id: PatientId::parse(&id).map_err(|_| StoreError::corrupt("a legal hold"))?,
                code: row.try_get("code").doing(doing)?,
                set_by: row.try_get("set_by").doing(doing)?,
                set_at_us: row.try_get("set_at_us").doing(doing)?,
            })
        };
        query(LIST).fetch_all(self.read()).await.doing(doing)?.iter().map(read).collect()
    }
}

pub(crate) async fn is_held(tx: &mut Conn, patient: &PatientId) -> Result<bool> {
    let held: i64 = query_scalar(HELD).bind(patient.as_str()).fetch_one(tx).await.doing("look for a legal hold")?;
    Ok(held > 0)
}

/// Codes end up in the audit trail and in certificates, which hold no names.
pub(crate) fn check_code(code: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if code.is_empty() || code.len() > MAX_CODE_BYTES || !code.bytes().all(plain) {
        return Err(StoreError::Invalid {
            what: "code of a reason",
            expected: "1 to 64 letters, digits, '-', '_' or '.', and no name",
        });
    }
    Ok(())
}
