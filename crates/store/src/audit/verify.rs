//! Reading and verifying the trail in the database.

use super::chain::{Broken, Essence, Link, Walk};
use super::checkpoint::{Checkpoint, Checkpoints, hex};
use super::{AuditEntry, Head, signed};
use crate::db::{Conn, Row, query};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use clinic::PatientId;
use serde::Serialize;
use std::collections::VecDeque;

/// Entries read at a time.
const PAGE: i64 = 2_000;
const PAGE_OF: &str = "SELECT seq, at_us, actor, action, patient_id, entry, hash FROM audit_entries \
     WHERE seq > $1 ORDER BY seq LIMIT $2";
/// The search that begins with one condition, so that its index is used: a trail of ten years is not to be read through.
macro_rules! found {
    ($first:literal) => {
        concat!(
            "SELECT entry FROM audit_entries WHERE ",
            $first,
            "seq < $1 AND ($2 = '' OR patient_id = $2) AND ($3 = '' OR actor = $3) AND ($4 = '' OR action = $4) \
             AND at_us >= $5 AND at_us < $6 ORDER BY seq DESC LIMIT $7"
        )
    };
}
const FOUND: &str = found!("");
const FOUND_BY_PATIENT: &str = found!("patient_id = $2 AND ");
const FOUND_BY_ACTOR: &str = found!("actor = $3 AND ");
const FOUND_BY_ACTION: &str = found!("action = $4 AND ");
const NO_END: &str = "or one after it is missing: what says where the trail ends was taken away";
const ADDED: &str = "comes after the end of the trail: it was added past the server";

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries that are as they were written.
    pub entries: u64,
    /// Hash of the last entry, in hexadecimal; empty when something is wrong.
    pub head: String,
    /// Checkpoints whose signatures hold.
    pub checkpoints: u64,
    /// The first thing that is wrong.
    pub broken: Option<Fault>,
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Number of the first bad entry.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self { seq: broken.seq, what: broken.what.to_owned() }
    }
}

/// Which entries are looked for. The default finds all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this patient.
    pub patient: Option<PatientId>,
    /// By this actor's identifier.
    pub actor: Option<String>,
    /// This action.
    pub action: Option<String>,
    /// Not before, in microseconds since the Unix epoch.
    pub from_us: Option<i64>,
    /// Before.
    pub until_us: Option<i64>,
}

/// A walk along a trail with its checkpoints, in a database or in a file.
pub(super) struct Trail {
    walk: Walk,
    public_key: String,
    /// The last checkpoint inside the trail.
    pub(super) checkpoint: u64,
    checkpoints: u64,
    /// Checkpoints that were kept outside of it, in order.
    elsewhere: VecDeque<Checkpoint>,
}

impl Trail {
    pub(super) fn new(public_key: String, elsewhere: &[Checkpoint]) -> Self {
        let mut elsewhere = elsewhere.to_vec();
        elsewhere.sort_by_key(|checkpoint| checkpoint.seq);
        Self { walk: Walk::default(), public_key, checkpoint: 0, checkpoints: 0, elsewhere: elsewhere.into() }
    }

    /// Takes the next entry.
    pub(super) fn entry<'a>(&mut self, link: &'a Link) -> Result<Essence<'a>, Broken> {
        let essence = self.walk.step(link)?;
        while let Some(checkpoint) = self.elsewhere.pop_front_if(|checkpoint| checkpoint.seq <= link.seq) {
            self.confirm(&checkpoint)?;
        }
        Ok(essence)
    }

    /// Takes the next checkpoint, after the entry it covers.
    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Broken> {
        self.confirm(checkpoint)?;
        if checkpoint.previous != self.checkpoint {
            let seq = checkpoint.previous.max(1);
            return Err(Broken { seq, what: "had a signed checkpoint that is missing" });
        }
        self.checkpoint = checkpoint.seq;
        Ok(())
    }

    fn confirm(&mut self, checkpoint: &Checkpoint) -> Result<(), Broken> {
        if !checkpoint.is_signed_by(&self.public_key) {
            let what = "has a checkpoint whose signature is not this installation's";
            return Err(Broken { seq: checkpoint.seq, what });
        }
        self.checkpoints += 1;
        self.walk.confirm(&checkpoint.anchor())
    }

    pub(super) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The last entry that was taken.
    pub(super) fn last(&self) -> u64 {
        self.walk.last()
    }

    /// The last entry that a signature covers.
    pub(super) fn signed(&self) -> u64 {
        self.walk.signed()
    }

    /// What the remaining checkpoints from elsewhere say about a trail that ends here, if they were made by `until_us`.
    pub(super) fn reaches(&mut self, until_us: i64) -> Result<(), Broken> {
        while let Some(checkpoint) = self.elsewhere.pop_front() {
            if checkpoint.at_us <= until_us || !checkpoint.is_signed_by(&self.public_key) {
                self.confirm(&checkpoint)?;
            }
        }
        Ok(())
    }

    /// What there is to say in the end.
    pub(super) fn end(self, head: Option<&super::chain::Anchor>, broken: Option<Broken>) -> Verified {
        let (entries, checkpoints) = (self.walk.last(), self.checkpoints);
        let (broken, head) = match (broken, self.walk.finish(head)) {
            (Some(broken), _) | (None, Err(broken)) => (Some(broken.into()), String::new()),
            (None, Ok((_, hash))) => (None, hex(&hash)),
        };
        Verified { entries, head, checkpoints, broken }
    }
}

impl Store {
    /// Walks the whole trail. `elsewhere` are checkpoints that were kept outside of this database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read; what is wrong with the trail is part of the answer.
    pub async fn verify_audit(&self, elsewhere: &[Checkpoint]) -> Result<Verified> {
        let mut reader = self.reader().await?;
        // The head first: entries that are added while we read must not look like a cut.
        let head = Head::read(&mut reader, false).await?;
        let mut trail = Trail::new(self.audit_public_key().1, elsewhere);
        let Some(head) = head else {
            // It was written with the keys, so this is no trail that has not begun yet.
            return Ok(trail.end(None, Some(Broken { seq: 1, what: NO_END })));
        };
        let broken = self.walk_audit(&mut reader, &mut trail, &head).await?;
        let broken = broken.or_else(|| trail.reaches(i64::MAX).err());
        let broken = broken.or_else(|| {
            if head.seq != trail.last() {
                return None;
            }
            if !head.is_ours(&self.inner.vault) {
                let what = "or one after it is missing or was added: the server did not write where the trail ends";
                return Some(Broken { seq: trail.signed() + 1, what });
            }
            let what = "had a signed checkpoint that is missing";
            (trail.checkpoint < head.checkpoint).then_some(Broken { seq: head.checkpoint, what })
        });
        Ok(trail.end(Some(&head.anchor()), broken))
    }

    /// Takes entries and checkpoints up to the head, and looks whether there is anything beyond it.
    async fn walk_audit(&self, reader: &mut Conn, trail: &mut Trail, head: &Head) -> Result<Option<Broken>> {
        let until = head.seq;
        let mut checkpoints = Checkpoints::new();
        let mut pending = checkpoints.next_until(reader, u64::MAX).await?;
        'pages: loop {
            // Numbers below 1 are nobody's, and therefore wrong.
            let after = if trail.last() == 0 { i64::MIN } else { signed(trail.last()) };
            let page = query(PAGE_OF).bind(after).bind(PAGE).fetch_all(&mut *reader).await;
            let rows = page.doing("read the audit trail")?;
            for row in &rows {
                let link = read_link(row)?;
                // Written after we had looked at the head?
                if link.seq > until && !self.has_added(reader, link.seq).await? {
                    return Ok(Some(Broken { seq: link.seq, what: ADDED }));
                }
                if link.seq > until {
                    break 'pages;
                }
                if let Err(broken) = trail.entry(&link).and_then(|essence| columns_agree(row, &link, &essence)) {
                    return Ok(Some(broken));
                }
                while let Some(checkpoint) = pending.take_if(|checkpoint| checkpoint.seq <= link.seq) {
                    if let Err(broken) = trail.checkpoint(&checkpoint) {
                        return Ok(Some(broken));
                    }
                    pending = checkpoints.next_until(reader, u64::MAX).await?;
                }
            }
            if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                break;
            }
        }
        if trail.last() < until {
            return Ok(None);
        }
        match pending {
            Some(checkpoint) if !self.has_added(reader, checkpoint.seq).await? => {
                Ok(trail.checkpoint(&checkpoint).err())
            }
            _ => Ok(None),
        }
    }

    /// Whether the head has moved to `seq` or beyond meanwhile.
    async fn has_added(&self, reader: &mut Conn, seq: u64) -> Result<bool> {
        Ok(Head::read(reader, false).await?.is_some_and(|head| head.seq >= seq))
    }

    /// Rows of the trail after `after`, in order, for an export: at most 2,000.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit_links(&self, after: u64) -> Result<Vec<Link>> {
        page(&mut *self.reader().await?, after).await
    }

    /// Entries, newest first: at most `limit` (and [`crate::MAX_PAGE`]) of those before `before`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`] for an entry that cannot be read.
    pub async fn find_audit(&self, filter: &AuditFilter, limit: u32, before: Option<u64>) -> Result<Vec<AuditEntry>> {
        let doing = "search the audit trail";
        let text = match filter {
            AuditFilter { patient: Some(_), .. } => FOUND_BY_PATIENT,
            AuditFilter { actor: Some(_), .. } => FOUND_BY_ACTOR,
            AuditFilter { action: Some(_), .. } => FOUND_BY_ACTION,
            _ => FOUND,
        };
        let rows = query(text)
            .bind(before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX))
            .bind(filter.patient.as_ref().map_or("", PatientId::as_str))
            .bind(filter.actor.as_deref().unwrap_or(""))
            .bind(filter.action.as_deref().unwrap_or(""))
            .bind(filter.from_us.unwrap_or(i64::MIN))
            .bind(filter.until_us.unwrap_or(i64::MAX))
            .bind(i64::from(limit.min(crate::MAX_PAGE)))
            .fetch_all(self.read())
            .await
            .doing(doing)?;
        let read = |row: &Row| {
            let text: String = row.try_get("entry").doing(doing)?;
            serde_json::from_str(&text).map_err(|_| StoreError::corrupt("an entry of the audit trail"))
        };
        rows.iter().map(read).collect()
    }
}

/// Rows after `after`, in order.
pub(super) async fn page(reader: &mut Conn, after: u64) -> Result<Vec<Link>> {
    let rows = query(PAGE_OF).bind(signed(after)).bind(PAGE).fetch_all(reader).await;
    rows.doing("read the audit trail")?.iter().map(read_link).collect()
}

/// The columns for searching repeat the entry; somebody may have changed them alone.
fn columns_agree(row: &Row, link: &Link, essence: &Essence<'_>) -> Result<(), Broken> {
    let agrees = row.try_get::<i64>("at_us").is_ok_and(|column| column == essence.at_us)
        && row.try_get::<String>("actor").is_ok_and(|column| column == essence.actor())
        && row.try_get::<String>("action").is_ok_and(|column| column == essence.action)
        && row
            .try_get::<Option<String>>("patient_id")
            .is_ok_and(|column| column.as_deref() == essence.patient.as_deref());
    let what = "is filed under something else than it says: a column was edited";
    if agrees { Ok(()) } else { Err(Broken { seq: link.seq, what }) }
}

fn read_link(row: &Row) -> Result<Link> {
    let seq: i64 = row.try_get("seq").doing("read the audit trail")?;
    // A text that is not text any more, or a hash of another type, is wrong, not unreadable.
    let (text, hash) = (row.try_get("entry").unwrap_or_default(), row.try_get("hash").unwrap_or_default());
    Ok(Link { seq: u64::try_from(seq).unwrap_or(0), text, hash })
}
