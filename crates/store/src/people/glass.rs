//! Breaking the glass: in an emergency a clinician opens the record of a patient who is not theirs, says why, and somebody
//! else looks at that afterwards (45 CFR 164.312(a)(2)(ii)).

use super::users::read;
use super::{id_at, stored_id};
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::vault::{Place, open_at, seal_at};
use crate::{MAX_PAGE, Result, Store, StoreError};
use clinic::{GlassBreakId, PatientId, UserId};
use zeroize::Zeroizing;

/// For how long a record is open.
pub const GLASS_LIFETIME_US: i64 = 4 * 3_600 * 1_000_000;
/// The kinds of reasons; the reason itself is said in words beside it.
pub const GLASS_CODES: [&str; 4] = ["emergency", "covering", "patient-request", "other"];
/// Bytes of a reason in words.
const REASON_BYTES: std::ops::RangeInclusive<usize> = 10..=1_000;
/// Records that one person may have open in this way at once.
const MAX_ACTIVE: i64 = 20;

const INSERT: &str = "INSERT INTO glass_breaks (id, user_id, patient_id, code, reason, from_us, until_us) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
const ACTIVE_COUNT: &str = "SELECT COUNT(*) FROM glass_breaks WHERE user_id = $1 AND until_us > $2";
const ACTIVE: &str = "SELECT id, user_id, patient_id, code, reason, from_us, until_us, reviewed_by, reviewed_at_us \
     FROM glass_breaks WHERE user_id = $1 AND patient_id = $2 AND from_us <= $3 AND until_us > $3 \
     ORDER BY until_us DESC LIMIT 1";
const LIST: &str = "SELECT id, user_id, patient_id, code, reason, from_us, until_us, reviewed_by, reviewed_at_us \
     FROM glass_breaks WHERE ($1 = '' OR id < $1) ORDER BY id DESC LIMIT $2";
const LIST_OPEN: &str = "SELECT id, user_id, patient_id, code, reason, from_us, until_us, reviewed_by, reviewed_at_us \
     FROM glass_breaks WHERE ($1 = '' OR id < $1) AND reviewed_at_us IS NULL ORDER BY id DESC LIMIT $2";
const WHOSE: &str = "SELECT user_id FROM glass_breaks WHERE id = $1";
const REVIEW: &str =
    "UPDATE glass_breaks SET reviewed_by = $1, reviewed_at_us = $2 WHERE id = $3 AND reviewed_at_us IS NULL";

/// A record that is to be opened.
#[derive(Clone, Copy)]
pub struct NewGlassBreak<'a> {
    /// By whom.
    pub user: &'a UserId,
    /// Whose record.
    pub patient: &'a PatientId,
    /// One of [`GLASS_CODES`].
    pub code: &'a str,
    /// In words: 10 to 1,000 bytes. May speak of the patient's health.
    pub reason: &'a str,
}

impl std::fmt::Debug for NewGlassBreak<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewGlassBreak").field("user", self.user).field("patient", self.patient).finish_non_exhaustive()
    }
}

/// A record that was opened. `Debug` does not show the reason.
#[derive(Clone, PartialEq, Eq)]
pub struct GlassBreak {
    /// Which.
    pub id: GlassBreakId,
    /// By whom.
    pub user: UserId,
    /// Whose record.
    pub patient: PatientId,
    /// One of [`GLASS_CODES`].
    pub code: String,
    /// In words; `None` when the patient was erased.
    pub reason: Option<Zeroizing<String>>,
    /// Since when.
    pub from_us: i64,
    /// Until when.
    pub until_us: i64,
    /// Who has looked at it, and when.
    pub reviewed: Option<(UserId, i64)>,
}

impl std::fmt::Debug for GlassBreak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlassBreak").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

fn place(id: &str) -> Place<'_> {
    Place { table: "glass_breaks", row: id, column: "reason" }
}

impl Store {
    /// Opens a record for [`GLASS_LIFETIME_US`].
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a code or a reason that is none, [`StoreError::NotFound`], [`StoreError::Sealed`] for
    /// an erased patient, [`StoreError::Conflict`] when somebody has too many open.
    pub async fn break_glass(&self, new: &NewGlassBreak<'_>, now_us: i64) -> Result<GlassBreak> {
        let doing = "open a record";
        let reason = new.reason.trim();
        if !GLASS_CODES.contains(&new.code) {
            let expected = "emergency, covering, patient-request or other";
            return Err(StoreError::Invalid { what: "code of a reason", expected });
        }
        if !REASON_BYTES.contains(&reason.len()) {
            return Err(StoreError::Invalid { what: "reason", expected: "10 to 1,000 bytes" });
        }
        let id: GlassBreakId = stored_id(id_at(now_us)?, "a new identifier")?;
        let mut tx = self.begin(Domain::People).await?;
        read(&mut tx, new.user).await?;
        let active = query_scalar::<i64>(ACTIVE_COUNT).bind(new.user.as_str()).bind(now_us);
        if active.fetch_one(&mut *tx).await.doing(doing)? >= MAX_ACTIVE {
            return Err(StoreError::Conflict { what: "twenty records are open in this way already" });
        }
        let key = self.patient_key(&mut tx, new.patient).await?;
        let until_us = now_us.saturating_add(GLASS_LIFETIME_US);
        query(INSERT)
            .bind(id.as_str())
            .bind(new.user.as_str())
            .bind(new.patient.as_str())
            .bind(new.code)
            .bind(seal_at(&key, place(id.as_str()), reason.as_bytes())?)
            .bind(now_us)
            .bind(until_us)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(GlassBreak {
            id,
            user: new.user.clone(),
            patient: new.patient.clone(),
            code: new.code.to_owned(),
            reason: Some(Zeroizing::new(reason.to_owned())),
            from_us: now_us,
            until_us,
            reviewed: None,
        })
    }

    /// Whether somebody has opened a patient's record in this way, and it is still open.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn active_glass(&self, user: &UserId, patient: &PatientId, now_us: i64) -> Result<Option<GlassBreak>> {
        let doing = "look up an opened record";
        let mut tx = self.reader().await?;
        let active = query(ACTIVE).bind(user.as_str()).bind(patient.as_str()).bind(now_us);
        let found = match active.fetch_optional(&mut *tx).await.doing(doing)? {
            Some(row) => Some(self.read_glass(&mut tx, &row).await?),
            None => None,
        };
        tx.commit().await.doing(doing)?;
        Ok(found)
    }

    /// Records that were opened, newest first: at most `limit` (and [`MAX_PAGE`]) of those before `before`, all or only those
    /// that nobody has looked at.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn glass_breaks(
        &self,
        only_open: bool,
        limit: u32,
        before: Option<&GlassBreakId>,
    ) -> Result<Vec<GlassBreak>> {
        let doing = "list the opened records";
        let mut tx = self.reader().await?;
        let list = query(if only_open { LIST_OPEN } else { LIST }).bind(before.map_or("", GlassBreakId::as_str));
        let rows = list.bind(i64::from(limit.min(MAX_PAGE))).fetch_all(&mut *tx).await.doing(doing)?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(self.read_glass(&mut tx, row).await?);
        }
        tx.commit().await.doing(doing)?;
        Ok(found)
    }

    /// Who opened a record in this way; `None` when there is no such opening (any more).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn glass_opened_by(&self, id: &GlassBreakId) -> Result<Option<UserId>> {
        let doing = "look up an opened record";
        let found: Option<String> =
            query_scalar(WHOSE).bind(id.as_str()).fetch_optional(self.read()).await.doing(doing)?;
        found.map(|user| stored_id(user, "the identifier of a user")).transpose()
    }

    /// Notes that somebody has looked at it: not whoever did it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it was looked at already or is one's own.
    pub async fn review_glass(&self, id: &GlassBreakId, reviewer: &UserId, now_us: i64) -> Result<()> {
        let doing = "review an opened record";
        let mut tx = self.begin(Domain::People).await?;
        let row = query(WHOSE).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let user: String =
            row.ok_or(StoreError::NotFound { what: "opened record" })?.try_get("user_id").doing(doing)?;
        if user == reviewer.as_str() {
            return Err(StoreError::Conflict { what: "nobody reviews what they did themselves" });
        }
        let review = query(REVIEW).bind(reviewer.as_str()).bind(now_us).bind(id.as_str());
        if review.execute(&mut *tx).await.doing(doing)?.rows_affected() == 0 {
            return Err(StoreError::Conflict { what: "it was reviewed already" });
        }
        tx.commit().await.doing(doing)
    }

    async fn read_glass(&self, tx: &mut Conn, row: &Row) -> Result<GlassBreak> {
        let doing = "read an opened record";
        let id: GlassBreakId = stored_id(row.try_get("id").doing(doing)?, "an opened record")?;
        let patient: PatientId = stored_id(row.try_get("patient_id").doing(doing)?, "an opened record")?;
        let sealed: Vec<u8> = row.try_get("reason").doing(doing)?;
        let reason = match self.patient_key(tx, &patient).await {
            Ok(key) => {
                let plain = open_at(&key, place(id.as_str()), &sealed)?;
                let text =
                    std::str::from_utf8(&plain).map_err(|_| StoreError::corrupt("the reason of an opened record"))?;
                Some(Zeroizing::new(text.to_owned()))
            }
            Err(StoreError::Sealed { .. }) => None,
            Err(error) => return Err(error),
        };
        let by: Option<String> = row.try_get("reviewed_by").doing(doing)?;
        let by = by.map(|by| stored_id::<UserId>(by, "an opened record")).transpose()?;
        let at: Option<i64> = row.try_get("reviewed_at_us").doing(doing)?;
        Ok(GlassBreak {
            id,
            user: stored_id(row.try_get("user_id").doing(doing)?, "an opened record")?,
            patient,
            code: row.try_get("code").doing(doing)?,
            reason,
            from_us: row.try_get("from_us").doing(doing)?,
            until_us: row.try_get("until_us").doing(doing)?,
            reviewed: by.zip(at),
        })
    }
}
