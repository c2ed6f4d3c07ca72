//! Retention: what is older than it may be kept is destroyed, in small steps, with a certificate.
//!
//! `PHI_RETENTION_DAYS` bounds everything; recordings, transcripts, measures and alerts may have shorter limits. The audit
//! trail is never deleted: it holds identifiers only, and has to be kept for six years at least (45 CFR 164.316(b)(2)(i)).
//!
//! A run works in transactions of a few items each. Each writes its entry of the audit trail and the run's certificate
//! as it stands, so that a process that ends in between leaves a true certificate, and the next run goes on where it
//! stopped.
//!
//! Of a patient who stays, nothing is erased by its key: the key of a call stands in its row, wrapped by the patient's, so
//! that an archive of before holds both. It is deleted here, and can be read in that archive until the archive is past its
//! own age or the patient is erased. Certificates say so ([`crate::certificates`]).

mod kinds;

use crate::audit::{self, Actor, NewEntry};
use crate::certificates::{Certificate, Destruction, DestructionKind, method};
use crate::db::{Conn, Domain, query, query_scalar};
use crate::erasure::{Tally, erase_rows, scrub_later};
use crate::error::Doing;
use crate::ids::new_id;
use crate::{Result, Store, StoreError};
use clinic::PatientId;
use kinds::{HELD_CALLS, KINDS, Kind, LEFTOVERS, Limit, PATIENTS_COUNT, PATIENTS_PICK};
use std::collections::BTreeMap;

/// Items of one run, at most: what one certificate lists.
pub const MAX_RETENTION_ITEMS: u32 = 2_000;
/// Items of one transaction: calls wait for the write lock meanwhile.
const BATCH: u32 = 25;
const DAY_US: i64 = 86_400_000_000;
/// Longer than anybody has to keep anything.
const MAX_DAYS: u32 = 36_525;

/// For how many days things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRules {
    /// Everything about a patient.
    pub phi_days: u32,
    /// Recordings.
    pub audio_days: u32,
    /// Timelines with what was said, and what agent services sent about a call.
    pub transcript_days: u32,
    /// Measures of the voice, answers and assessments.
    pub measures_days: u32,
    /// Resolved alerts.
    pub alert_days: u32,
}

/// What is past its limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionPlan {
    /// How many of each kind.
    pub counts: BTreeMap<String, u64>,
    /// Calls that are kept because of a legal hold.
    pub held_calls: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionRun {
    /// How many of each kind were deleted.
    pub counts: BTreeMap<String, u64>,
    /// What was destroyed, signed; `None` when nothing was.
    pub certificate: Option<Certificate>,
    /// Whether nothing is left to delete; otherwise run again.
    pub complete: bool,
}

impl RetentionRules {
    /// One limit for everything.
    #[must_use]
    pub fn all(phi_days: u32) -> Self {
        Self {
            phi_days,
            audio_days: phi_days,
            transcript_days: phi_days,
            measures_days: phi_days,
            alert_days: phi_days,
        }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], naming the setting.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_DAYS).contains(&self.phi_days) {
            return Err(StoreError::Invalid { what: "PHI_RETENTION_DAYS", expected: "1 to 36,525 days" });
        }
        for (what, days) in [
            ("RETENTION_AUDIO_DAYS", self.audio_days),
            ("RETENTION_TRANSCRIPT_DAYS", self.transcript_days),
            ("RETENTION_MEASURES_DAYS", self.measures_days),
            ("RETENTION_ALERT_DAYS", self.alert_days),
        ] {
            if !(1..=self.phi_days).contains(&days) {
                return Err(StoreError::Invalid { what, expected: "1 to PHI_RETENTION_DAYS days" });
            }
        }
        Ok(())
    }

    /// The rules as certificates name them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("PHI_RETENTION_DAYS={}", self.phi_days);
        for (name, days) in [
            ("AUDIO", self.audio_days),
            ("TRANSCRIPT", self.transcript_days),
            ("MEASURES", self.measures_days),
            ("ALERT", self.alert_days),
        ] {
            if days != self.phi_days {
                text.push_str(&format!(" RETENTION_{name}_DAYS={days}"));
            }
        }
        text
    }

    /// What is younger than this is kept.
    fn cutoff_us(&self, limit: Limit, now_us: i64) -> i64 {
        let days = match limit {
            Limit::Audio => self.audio_days,
            Limit::Transcript => self.transcript_days,
            Limit::Measures => self.measures_days,
            Limit::Alert => self.alert_days,
            Limit::Phi => self.phi_days,
        };
        now_us.saturating_sub(i64::from(days) * DAY_US)
    }
}

/// A run that is going on.
struct Running<'a> {
    rules: &'a RetentionRules,
    by: &'a Actor,
    now_us: i64,
    left: u32,
    said: Destruction,
    /// Something was deleted whose key is still there.
    outlived: bool,
    certificate: Option<Certificate>,
}

impl Store {
    /// What a run would delete now. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for rules that cannot be, [`StoreError::Unavailable`].
    pub async fn plan_retention(&self, rules: &RetentionRules, now_us: i64) -> Result<RetentionPlan> {
        rules.check()?;
        let mut reader = self.reader().await?;
        let mut plan = RetentionPlan::default();
        for kind in &KINDS {
            let old = count(&mut reader, kind.count, rules.cutoff_us(kind.limit, now_us)).await?;
            plan.counts.insert(kind.name.to_owned(), old);
        }
        let phi = rules.cutoff_us(Limit::Phi, now_us);
        plan.counts.insert("patients".to_owned(), count(&mut reader, PATIENTS_COUNT, phi).await?);
        for leftover in &LEFTOVERS {
            let old = count(&mut reader, leftover.count, now_us.saturating_sub(leftover.keep_us)).await?;
            plan.counts.insert(leftover.name.to_owned(), old);
        }
        plan.held_calls = count(&mut reader, HELD_CALLS, phi).await?;
        Ok(plan)
    }

    /// Deletes what is past its limit: at most `limit` items (and [`MAX_RETENTION_ITEMS`]), oldest kinds of content first.
    /// To be called again until the answer is complete. Whatever ends it in between, the next run goes on.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for rules that cannot be, [`StoreError::Conflict`] inside an access,
    /// [`StoreError::Unavailable`]; what was deleted until then is certified.
    pub async fn run_retention(
        &self,
        rules: &RetentionRules,
        by: &Actor,
        now_us: i64,
        limit: u32,
    ) -> Result<RetentionRun> {
        rules.check()?;
        if self.scope.is_some() {
            return Err(StoreError::Conflict { what: "retention does not run inside an access" });
        }
        let said = Destruction {
            v: 1,
            id: new_id(u64::try_from(now_us / 1_000).unwrap_or(0))?,
            at_us: now_us,
            kind: DestructionKind::Retention,
            method: String::new(),
            rule: rules.text(),
            by: by.clone(),
            reason: None,
            patient: None,
            counts: BTreeMap::new(),
            keys: Vec::new(),
        };
        let left = limit.clamp(1, MAX_RETENTION_ITEMS);
        let mut run = Running { rules, by, now_us, left, said, outlived: false, certificate: None };
        let complete = self.delete_old(&mut run).await?;
        self.finish_erasures().await?;
        Ok(RetentionRun { counts: run.said.counts, certificate: run.certificate, complete })
    }

    /// `false` when there was more to delete than the run may.
    async fn delete_old(&self, run: &mut Running<'_>) -> Result<bool> {
        for kind in &KINDS {
            while self.delete_batch(run, kind).await? > 0 {
                if run.left == 0 {
                    return Ok(false);
                }
            }
        }
        while self.erase_batch(run).await? > 0 {
            if run.left == 0 {
                return Ok(false);
            }
        }
        for leftover in &LEFTOVERS {
            loop {
                let before_us = run.now_us.saturating_sub(leftover.keep_us);
                let removed = query(leftover.remove).bind(before_us).execute(self.write()).await;
                let removed = removed.doing("tidy up")?.rows_affected();
                if removed > 0 {
                    *run.said.counts.entry(leftover.name.to_owned()).or_default() += removed;
                } else {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Deletes a few items of a kind; says how many it looked at.
    async fn delete_batch(&self, run: &mut Running<'_>, kind: &Kind) -> Result<usize> {
        let doing = "delete what is past its retention";
        // Holds are set under the same lock, so that none is set between the look and the deletion.
        let mut tx = self.begin(Domain::Patients).await?;
        let pick = query_scalar(kind.pick).bind(run.rules.cutoff_us(kind.limit, run.now_us));
        let ids: Vec<String> = pick.bind(i64::from(run.left.min(BATCH))).fetch_all(&mut tx).await.doing(doing)?;
        if ids.is_empty() {
            return Ok(0);
        }
        let mut tally = Tally::default();
        for id in &ids {
            let mut destroyed = 0;
            if let Some(key) = &kind.key {
                let destroy = query(key.destroy).bind(id.as_str()).execute(&mut tx).await;
                destroyed = destroy.doing(doing)?.rows_affected();
            }
            let mut there = destroyed;
            for text in kind.remove {
                let mut remove = query(text).bind(id.as_str());
                if text.contains("$2") {
                    remove = remove.bind(run.now_us);
                }
                there += remove.execute(&mut tx).await.doing(doing)?.rows_affected();
            }
            tally.add(kind.name, there.min(1));
            match kind.key.as_ref().filter(|_| destroyed > 0) {
                Some(key) => tally.keys.push(format!("{}/{id}", key.name)),
                None => tally.outlived |= there > 0,
            }
        }
        scrub_later(&mut tx).await?;
        let entry = NewEntry::new(run.by.clone(), "retention.delete").detail("kind", kind.name);
        let entry = entry.detail("count", ids.len()).detail("rule", &run.said.rule).object("certificate", &run.said.id);
        self.note(&mut tx, run, tally, &[entry]).await?;
        tx.commit().await.doing(doing)?;
        run.left = run.left.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        Ok(ids.len())
    }

    /// Erases a few patients who are past their limit as a whole.
    async fn erase_batch(&self, run: &mut Running<'_>) -> Result<usize> {
        let doing = "erase patients past their retention";
        let mut tx = self.begin(Domain::Patients).await?;
        let pick = query_scalar(PATIENTS_PICK).bind(run.rules.cutoff_us(Limit::Phi, run.now_us));
        let ids: Vec<String> = pick.bind(i64::from(run.left.min(BATCH))).fetch_all(&mut tx).await.doing(doing)?;
        if ids.is_empty() {
            return Ok(0);
        }
        let (mut tally, mut entries) = (Tally::default(), Vec::with_capacity(ids.len()));
        for id in &ids {
            let id = PatientId::parse(id).map_err(|_| StoreError::corrupt("a patient identifier"))?;
            erase_rows(&mut tx, &id, run.now_us, &mut tally).await?;
            let entry = NewEntry::new(run.by.clone(), "patient.erase").patient(Some(&id)).reason("retention");
            entries.push(entry.object("certificate", &run.said.id).detail("rule", &run.said.rule));
        }
        self.note(&mut tx, run, tally, &entries).await?;
        tx.commit().await.doing(doing)?;
        run.left = run.left.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        Ok(ids.len())
    }

    /// Writes certificate and entries in the transaction that deletes.
    async fn note(&self, tx: &mut Conn, run: &mut Running<'_>, tally: Tally, entries: &[NewEntry]) -> Result<()> {
        let mut said = run.said.clone();
        for (name, count) in tally.counts {
            *said.counts.entry(name).or_default() += count;
        }
        said.keys.extend(tally.keys);
        run.outlived |= tally.outlived;
        said.method = method(!said.keys.is_empty(), run.outlived).to_owned();
        run.certificate = Some(self.certify(tx, &said).await?);
        audit::append(tx, &self.inner.vault, entries).await?;
        run.said = said;
        Ok(())
    }
}

async fn count(reader: &mut Conn, text: &'static str, before_us: i64) -> Result<u64> {
    let count: i64 = query_scalar(text).bind(before_us).fetch_one(reader).await.doing("count what is old")?;
    Ok(u64::try_from(count).unwrap_or(0))
}
