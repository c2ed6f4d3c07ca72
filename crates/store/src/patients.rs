//! Patients: sealed details, found by identifier, by telephone number and, inside, by the clinic's own number.
//!
//! The clinic's number (`external_id`) is unique. A telephone number is not: a couple may share one line, so a look-up by
//! number answers with everybody who has it, and whoever asks must find out which of them is speaking.

use crate::audit::NewEntry;
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::{new_id, now_ms};
use crate::keys::DataKey;
use crate::reach::{CareTeam, at_of, user_of, within};
use crate::root_keys::put_data_key;
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::care::CareProfile;
use clinic::{NewPatient, Patient, PatientId, PhoneNumber};
use zeroize::Zeroizing;

/// Patients of one installation, at most: lists are built in memory, and this keeps them below about 100 MB.
pub const MAX_PATIENTS: u32 = 100_000;
/// Rows of one import, at most: it holds the database's write lock, and calls must not wait long for it.
pub const MAX_IMPORT_ROWS: usize = 20_000;
/// Bytes of one patient's details as JSON. Fields read by `NewPatient::from_fields` stay far below it.
const MAX_DETAILS_BYTES: usize = 8 * 1024;

pub(crate) const KIND: &str = "patient";
const COLUMNS_BY_ID: &str = "SELECT p.id, p.details, k.key_id, k.wrapped_key FROM patients p \
     LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id WHERE p.id = $1";
const COLUMNS_BY_PHONE: &str = "SELECT p.id, p.details, k.key_id, k.wrapped_key FROM patients p \
     JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id WHERE p.phone_hash = $1 ORDER BY p.id";
const COLUMNS_ALL: &str = "SELECT p.id, p.details, k.key_id, k.wrapped_key FROM patients p \
     JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id ORDER BY p.id";
const COLUMNS_BY_EXTERNAL_ID: &str = "SELECT p.id, p.details, k.key_id, k.wrapped_key FROM patients p \
     LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id WHERE p.external_id_hash = $1";
const COLUMNS_PAGE: &str = concat!(
    "SELECT p.id, p.details, k.key_id, k.wrapped_key FROM patients p \
     JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id WHERE p.id > $1 AND ",
    within!("p.id", "$3", "$4"),
    " ORDER BY p.id LIMIT $2"
);
const KEY_OF: &str = "SELECT k.key_id, k.wrapped_key FROM patients p \
     LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = p.id WHERE p.id = $1";
const ENROLLED: &str = "SELECT created_at_us FROM patients WHERE id = $1";
const COUNT: &str = "SELECT COUNT(*) FROM patients";
const INSERT: &str = "INSERT INTO patients (id, external_id_hash, phone_hash, details, created_at_us) \
     VALUES ($1, $2, $3, $4, $5)";

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportSummary {
    /// Patients added.
    pub added: usize,
    /// Rows that say what is stored already.
    pub unchanged: usize,
    /// Positions (from 0) of rows whose `external_id` is taken by a patient with other details. When there is any,
    /// nothing was added.
    pub conflicts: Vec<usize>,
}

impl Store {
    /// Adds a patient.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the `external_id` is taken, [`StoreError::Invalid`] when the record is too long or
    /// the installation is full.
    pub async fn add_patient(&self, new: &NewPatient) -> Result<Patient> {
        self.follow_keys().await?;
        let mut tx = self.begin(Domain::Patients).await?;
        if self.by_external_id(&mut tx, new).await?.is_some() {
            return Err(StoreError::Conflict { what: "a patient with this external_id exists already" });
        }
        has_room(&mut tx, 1).await?;
        let patient = self.insert_patient(&mut tx, new).await?;
        self.tell(&mut tx, &[self.added(&patient.id)]).await?;
        tx.commit().await.doing("save the patient")?;
        Ok(patient)
    }

    /// Adds many patients in one transaction: all rows that are new, or none when any row contradicts a stored patient
    /// or another row. Rows that repeat what is stored change nothing, so an import may be repeated.
    ///
    /// # Errors
    /// As [`Store::add_patient`]; on any error nothing was added.
    pub async fn import_patients(&self, rows: &[NewPatient]) -> Result<ImportSummary> {
        let rows: Vec<_> = rows.iter().map(|row| (row.clone(), CareProfile::default())).collect();
        self.import_patients_with_care(&rows).await
    }

    /// As [`Store::import_patients`], each row with the profile of care a new patient begins with. The profile of a
    /// patient who is stored already stays as it is.
    ///
    /// # Errors
    /// As [`Store::import_patients`], and [`StoreError::Invalid`] for a profile that fails its check.
    pub async fn import_patients_with_care(&self, rows: &[(NewPatient, CareProfile)]) -> Result<ImportSummary> {
        self.follow_keys().await?;
        if rows.len() > MAX_IMPORT_ROWS {
            return Err(StoreError::Invalid { what: "import", expected: "at most 20,000 rows: split the file" });
        }
        let mut tx = self.begin(Domain::Patients).await?;
        let mut summary = ImportSummary::default();
        let mut entries = Vec::new();
        for (position, (row, care)) in rows.iter().enumerate() {
            // Rows of this import are visible here too, so a repeated row is seen like a stored one.
            match self.by_external_id(&mut tx, row).await? {
                None => {
                    let patient = self.insert_patient(&mut tx, row).await?;
                    if *care != CareProfile::default() {
                        self.put_care_profile(&mut tx, &patient.id, care).await?;
                    }
                    entries.push(self.added(&patient.id));
                    summary.added += 1;
                }
                Some(Some(known)) if known.details == *row => summary.unchanged += 1,
                Some(_) => summary.conflicts.push(position),
            }
        }
        has_room(&mut tx, 0).await?;
        if summary.conflicts.is_empty() {
            let (added, unchanged) = (summary.added, summary.unchanged);
            entries.push(self.entry("patient.import").detail("added", added).detail("unchanged", unchanged));
            self.tell(&mut tx, &entries).await?;
            tx.commit().await.doing("save the patients")?;
        } else {
            drop(tx);
            summary.added = 0;
        }
        Ok(summary)
    }

    fn identified(&self, id: &PatientId, count: usize) -> NewEntry {
        self.entry("patient.identify").object(KIND, id).patient(Some(id)).detail("found", count)
    }

    fn added(&self, id: &PatientId) -> NewEntry {
        self.entry("patient.add").object(KIND, id).patient(Some(id))
    }

    /// All patients who are not erased, oldest first; at most [`MAX_PATIENTS`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    pub async fn list_patients(&self) -> Result<Vec<Patient>> {
        let rows = query(COLUMNS_ALL).fetch_all(self.read()).await.doing("list the patients")?;
        rows.iter().map(|row| self.read_patient(row)).collect()
    }

    /// Patients who are not erased, oldest first: at most `limit` (and [`crate::MAX_PAGE`]) of those after `after`.
    ///
    /// # Errors
    /// As [`Store::list_patients`].
    pub async fn list_patients_page(&self, limit: u32, after: Option<&PatientId>) -> Result<Vec<Patient>> {
        self.list_patients_within(None, limit, after).await
    }

    /// As [`Store::list_patients_page`], of the patients of a care team.
    ///
    /// # Errors
    /// As [`Store::list_patients`].
    pub async fn list_patients_within(
        &self,
        team: Option<&CareTeam>,
        limit: u32,
        after: Option<&PatientId>,
    ) -> Result<Vec<Patient>> {
        let statement = query(COLUMNS_PAGE).bind(after.map_or("", PatientId::as_str));
        let statement = statement.bind(i64::from(limit.min(crate::MAX_PAGE))).bind(user_of(team)).bind(at_of(team));
        let rows = statement.fetch_all(self.read()).await.doing("list the patients")?;
        rows.iter().map(|row| self.read_patient(row)).collect()
    }

    /// One patient.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Sealed`] when erased, [`StoreError::Corrupt`].
    pub async fn get_patient(&self, id: &PatientId) -> Result<Patient> {
        let row = query(COLUMNS_BY_ID).bind(id.as_str()).fetch_optional(self.read()).await;
        self.read_patient(&row.doing("read a patient")?.ok_or(StoreError::NotFound { what: KIND })?)
    }

    /// When a patient was added, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn enrolled_at_us(&self, id: &PatientId) -> Result<i64> {
        let at_us = query_scalar(ENROLLED).bind(id.as_str()).fetch_optional(self.read()).await;
        at_us.doing("read a patient")?.ok_or(StoreError::NotFound { what: KIND })
    }

    /// Everybody who has this telephone number, oldest record first. Usually one patient or none; several when they
    /// share a line. Who was found goes into the audit trail, the number does not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    pub async fn find_patients_by_phone(&self, phone: &PhoneNumber) -> Result<Vec<Patient>> {
        let hash = self.inner.vault.phone_hash(phone);
        let doing = "look up a number";
        let rows = query(COLUMNS_BY_PHONE).bind(hash).fetch_all(self.read()).await.doing(doing)?;
        let found = rows.iter().map(|row| self.read_patient(row)).collect::<Result<Vec<Patient>>>()?;
        // Nobody's number is nobody's data.
        if self.scope.is_none() && !found.is_empty() {
            let entries: Vec<NewEntry> =
                found.iter().map(|patient| self.identified(&patient.id, found.len())).collect();
            let mut tx = self.begin(Domain::None).await?;
            self.tell(&mut tx, &entries).await?;
            tx.commit().await.doing(doing)?;
        }
        Ok(found)
    }

    /// The key of what is stored about a patient elsewhere, so that it is erased with them.
    pub(crate) async fn patient_key(&self, tx: &mut Conn, id: &PatientId) -> Result<DataKey> {
        let doing = "read the key of a patient";
        let row = query(KEY_OF).bind(id.as_str()).fetch_optional(tx).await.doing(doing)?;
        let row = row.ok_or(StoreError::NotFound { what: KIND })?;
        let key_id: Option<String> = row.try_get("key_id").doing(doing)?;
        let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").doing(doing)?;
        self.inner.vault.unwrap_key(KIND, id.as_str(), key_id.as_deref(), wrapped.as_deref())
    }

    /// `None` when the number is free, `Some(None)` when its patient was erased.
    async fn by_external_id(&self, tx: &mut Conn, new: &NewPatient) -> Result<Option<Option<Patient>>> {
        let hash = self.inner.vault.external_id_hash(&new.external_id);
        let row = query(COLUMNS_BY_EXTERNAL_ID).bind(hash).fetch_optional(tx).await.doing("look up a patient")?;
        match row.map(|row| self.read_patient(&row)) {
            None => Ok(None),
            Some(Ok(patient)) => Ok(Some(Some(patient))),
            Some(Err(StoreError::Sealed { .. })) => Ok(Some(None)),
            Some(Err(error)) => Err(error),
        }
    }

    async fn insert_patient(&self, tx: &mut Conn, new: &NewPatient) -> Result<Patient> {
        let vault = &self.inner.vault;
        let created_at_ms = now_ms();
        let id = PatientId::parse(&new_id(created_at_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?;
        let details = Zeroizing::new(serde_json::to_vec(new).doing("write a patient as JSON")?);
        if details.len() > MAX_DETAILS_BYTES {
            return Err(StoreError::Invalid { what: "patient", expected: "details of at most 8 KiB" });
        }
        let fresh = vault.fresh_key(KIND, id.as_str())?;
        let sealed = seal_at(&fresh.key, place(id.as_str()), &details)?;
        query(INSERT)
            .bind(id.as_str())
            .bind(vault.external_id_hash(&new.external_id))
            .bind(vault.phone_hash(&new.phone))
            .bind(sealed)
            .bind(i64::try_from(created_at_ms.saturating_mul(1_000)).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .doing("save a patient")?;
        put_data_key(tx, KIND, id.as_str(), &fresh.key_id, &fresh.wrapped).await?;
        Ok(Patient { id, details: new.clone() })
    }

    fn read_patient(&self, row: &Row) -> Result<Patient> {
        let doing = "read a patient";
        let id: String = row.try_get("id").doing(doing)?;
        let sealed: Vec<u8> = row.try_get("details").doing(doing)?;
        let key_id: Option<String> = row.try_get("key_id").doing(doing)?;
        let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").doing(doing)?;
        let key = self.inner.vault.unwrap_key(KIND, &id, key_id.as_deref(), wrapped.as_deref())?;
        let details = open_at(&key, place(&id), &sealed)?;
        // The parser's message may quote the value, so it goes no further.
        let damaged = || StoreError::corrupt(format!("details of patient {id}"));
        let details = serde_json::from_slice(&details).map_err(|_| damaged())?;
        Ok(Patient { id: PatientId::parse(&id).map_err(|_| damaged())?, details })
    }
}

async fn has_room(tx: &mut Conn, more: u32) -> Result<()> {
    let count: i64 = query_scalar(COUNT).fetch_one(tx).await.doing("count the patients")?;
    if count + i64::from(more) <= i64::from(MAX_PATIENTS) {
        return Ok(());
    }
    Err(StoreError::Invalid { what: "number of patients", expected: "at most 100,000 in one installation" })
}

fn place(id: &str) -> Place<'_> {
    Place { table: "patients", row: id, column: "details" }
}
