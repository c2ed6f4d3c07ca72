//! Exchanging the installation's keys while servers run.
//!
//! A rotation of the key-encryption key goes in steps, each of them one transaction:
//!
//! 1. a new key is *announced*; every living server loads it with its next beat;
//! 2. when all of them have, it becomes *active* and the old one *retiring*;
//! 3. when all of them wrap with it, the data keys are wrapped anew, a batch at a time;
//! 4. when nothing is wrapped by the old key any more, it is destroyed.
//!
//! Where a rotation stands is written in the database and nowhere else. Killed at any point and run again, it goes on; two
//! that run at once do the same work together.
//!
//! A data key that does not open cannot be wrapped anew. It keeps its key-encryption key `retiring`, is reported at the end
//! of every run, and holds up nothing else: a run that finds only such keys left goes on to exchange the active key.
//!
//! Exchanging what wraps the key-encryption keys themselves (the master key, or the key of a key service) is one
//! transaction over a handful of rows. Running servers have the keys in memory and go on.

use crate::audit::{self, Actor, NewEntry};
use crate::db::{Domain, Engine, query, query_scalar};
use crate::error::Doing;
use crate::ids::now_ms;
use crate::kms::KeyService;
use crate::root_keys::{self, ACTIVE_STATE, ANNOUNCED, KEK, NewRootKey, RETIRING, StoredKey, context};
use crate::{Result, ServerRecord, Store, StoreError};
use std::time::Duration;

/// Data keys wrapped anew in one transaction: some ten milliseconds, which calls that are being written do not notice.
const BATCH: i64 = 500;
/// How often the write-ahead log is asked to empty itself, and how long each time is waited for readers to finish.
const TRUNCATIONS: u32 = 50;
const TRUNCATION_PAUSE: Duration = Duration::from_millis(100);

const ACTIVATE_OLD: &str = "UPDATE root_keys SET state = 'retiring' WHERE purpose = 'kek' AND state = 'active'";
const ACTIVATE_NEW: &str = "UPDATE root_keys SET state = 'active' WHERE id = $1 AND state = 'announced'";
const NEXT_BATCH: &str = "SELECT kind, id, wrapped_key FROM data_keys WHERE key_id = $1 AND (kind, id) > ($2, $3) \
     ORDER BY kind, id LIMIT $4";
// Rows that are being erased are passed over, so that the two do not wait for each other in a circle.
const NEXT_BATCH_UNLOCKED: &str = "SELECT kind, id, wrapped_key FROM data_keys WHERE key_id = $1 AND (kind, id) > ($2, $3) \
     ORDER BY kind, id LIMIT $4 FOR UPDATE SKIP LOCKED";
const REWRAP: &str = "UPDATE data_keys SET key_id = $1, wrapped_key = $2 WHERE kind = $3 AND id = $4 AND key_id = $5";
const LOCK_KEY: &str = "SELECT id FROM root_keys WHERE id = $1 FOR UPDATE";
const COUNT_UNDER: &str = "SELECT COUNT(*) FROM data_keys WHERE key_id = $1";
const DESTROY: &str = "UPDATE root_keys SET state = 'destroyed', wrapped = NULL, ended_at_us = $2 \
     WHERE id = $1 AND state = 'retiring'";
const CHANGE_WRAPPING: &str = "UPDATE root_keys SET wrapped = $1, wrapped_by = $2 WHERE id = $3 AND wrapped = $4";
const COUNT_WRAPPED: &str = "SELECT COUNT(*) FROM root_keys WHERE wrapped IS NOT NULL";
const LIST: &str = "SELECT k.id, k.purpose, k.state, k.wrapped, k.wrapped_by, k.created_at_us, k.ended_at_us, \
     (SELECT COUNT(*) FROM data_keys d WHERE d.key_id = k.id) AS data_keys \
     FROM root_keys k ORDER BY k.created_at_us, k.id";
const SINCE: &str = "SELECT created_at_us FROM root_keys WHERE purpose = 'kek' AND state = 'active'";

/// A key of the installation, as `heartvoice keys status` shows it. There is no secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKeyRecord {
    /// Its identifier.
    pub id: String,
    /// `kek`, `index` or `audit`.
    pub purpose: String,
    /// `announced`, `active`, `retiring` or `destroyed`.
    pub state: String,
    /// What wraps it: `local:...` or `vault:...`.
    pub wrapped_by: String,
    /// Under which version of the service's key, where it has versions.
    pub wrapped_version: Option<u64>,
    /// Since when it is there.
    pub created_at_us: i64,
    /// When it was destroyed.
    pub ended_at_us: Option<i64>,
    /// Data keys under it.
    pub data_keys: u64,
}

/// A rotation that is being carried out; see [`Store::begin_rotation`].
#[derive(Debug)]
pub struct Rotation {
    actor: Actor,
    /// It has begun, in this run or an earlier one.
    begun: bool,
    /// The key that was active when this run began.
    active_before: Option<String>,
    /// The last data key that was looked at.
    cursor: (String, String),
    rewrapped: u64,
    /// Data keys that do not open, among those looked at since the beginning of the present key.
    damaged: Damaged,
    /// Keys under which only such are left, and those.
    stuck: Vec<String>,
    lost: Damaged,
    complete: bool,
}

/// Data keys that do not open.
#[derive(Debug, Clone, Default)]
struct Damaged {
    count: u64,
    first: Option<String>,
}

impl Damaged {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        if self.first.is_none() {
            self.first = other.first;
        }
    }

    fn error(&self) -> Option<StoreError> {
        let first = self.first.as_ref()?;
        Some(StoreError::corrupt(format!("{first} (and {} more data keys)", self.count.max(1) - 1)))
    }
}

/// What a step of a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationStep {
    /// A new key was made.
    Announced {
        /// Its identifier.
        key_id: String,
    },
    /// Nothing: these servers have not loaded the new key, or do not use it yet. Try again in a moment.
    Waiting {
        /// The servers.
        servers: Vec<ServerRecord>,
    },
    /// New data keys are now wrapped by the new key.
    Activated {
        /// Its identifier.
        key_id: String,
    },
    /// Data keys were wrapped anew.
    Rewrapped {
        /// How many in this step; none when some are in use by others: try again in a moment.
        data_keys: u64,
    },
    /// An old key was destroyed.
    Destroyed {
        /// Its identifier.
        key_id: String,
    },
    /// There is nothing left to do.
    Done,
}

impl Rotation {
    /// Data keys wrapped anew so far, in this run.
    #[must_use]
    pub fn rewrapped(&self) -> u64 {
        self.rewrapped
    }

    /// True when everything was done that can be: what is left under old keys does not open.
    #[must_use]
    pub fn found_only_damage(&self) -> bool {
        self.complete && !self.stuck.is_empty()
    }

    /// True when an earlier run began it and did not end it (asked before the first step).
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.begun
    }
}

impl Store {
    /// Begins to exchange the key-encryption key, or goes on where an earlier run was stopped. Then call
    /// [`Store::rotate_step`] until it is done.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_rotation(&self, actor: Actor) -> Result<Rotation> {
        let mut conn = self.reader().await?;
        let keys = root_keys::stored(&mut conn).await?;
        conn.commit().await.doing("read the installation's keys")?;
        let begun = keys.iter().any(|key| is_kek(key, ANNOUNCED) || is_kek(key, RETIRING));
        Ok(Rotation {
            actor,
            begun,
            active_before: keys.iter().find(|key| is_kek(key, ACTIVE_STATE)).map(|key| key.id.clone()),
            cursor: Default::default(),
            rewrapped: 0,
            damaged: Damaged::default(),
            stuck: Vec::new(),
            lost: Damaged::default(),
            complete: false,
        })
    }

    /// Does the next step of a rotation; each is durable by itself.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: begin again, and it goes on. [`StoreError::WrongKey`] when the master key was exchanged
    /// meanwhile: begin again under the new one. [`StoreError::Corrupt`] at the end, when there are data keys that do not
    /// open: all others are wrapped anew, and the key of those is kept, retiring.
    pub async fn rotate_step(&self, rotation: &mut Rotation, now_us: i64) -> Result<RotationStep> {
        let mut conn = self.reader().await?;
        let keys = root_keys::stored(&mut conn).await?;
        conn.commit().await.doing("read the installation's keys")?;
        let find = |state| keys.iter().find(|key| is_kek(key, state) && !rotation.stuck.contains(&key.id));
        if let Some(key) = find(ANNOUNCED) {
            rotation.begun = true;
            let behind = self.servers_where(now_us, |server| server.keys_seen != key.id).await?;
            return if behind.is_empty() {
                self.activate(rotation, &key.id).await
            } else {
                Ok(RotationStep::Waiting { servers: behind })
            };
        }
        let active = find(ACTIVE_STATE).ok_or_else(|| StoreError::corrupt("the set of the installation's keys"))?;
        let Some(old) = find(RETIRING) else {
            // What was left of earlier runs does not open: it must not be the end of all rotations.
            let only_damaged_left = !rotation.stuck.is_empty()
                && rotation.rewrapped == 0
                && rotation.active_before.as_deref() == Some(active.id.as_str());
            if !rotation.begun || only_damaged_left {
                return self.announce(rotation).await;
            }
            rotation.complete = true;
            return rotation.lost.error().map_or(Ok(RotationStep::Done), Err);
        };
        rotation.begun = true;
        let behind = self.servers_where(now_us, |server| server.keys_used != active.id).await?;
        if !behind.is_empty() {
            return Ok(RotationStep::Waiting { servers: behind });
        }
        self.follow_keys().await?;
        match self.rewrap_batch(rotation, &old.id).await? {
            0 => self.destroy(rotation, &old.id).await,
            data_keys => Ok(RotationStep::Rewrapped { data_keys }),
        }
    }

    async fn servers_where(&self, now_us: i64, is: impl Fn(&ServerRecord) -> bool) -> Result<Vec<ServerRecord>> {
        let mut servers = self.live_servers(now_us).await?;
        servers.retain(is);
        Ok(servers)
    }

    async fn announce(&self, rotation: &mut Rotation) -> Result<RotationStep> {
        let service = &self.inner.service;
        let new = NewRootKey::random()?;
        // Before the transaction: a key service that does not answer must not hold up who writes.
        let wrapped = service.wrap(&new.bytes, &context(KEK, &new.id)).await?;
        let mut tx = self.begin(Domain::Keys).await?;
        let keys = root_keys::stored(&mut tx).await?;
        // A key that the former master key wraps, beside others that the new one wraps: no setting would open the store.
        root_keys::check_all_wrapped_by(&keys, service)?;
        if let Some(known) = keys.iter().find(|key| is_kek(key, ANNOUNCED)) {
            // Another rotation was faster; this one goes on with its key.
            rotation.begun = true;
            return Ok(RotationStep::Announced { key_id: known.id.clone() });
        }
        root_keys::insert(&mut tx, service, KEK, ANNOUNCED, &new.id, wrapped).await?;
        let entry = NewEntry::new(rotation.actor.clone(), "key.announce").object("key", &new.id);
        audit::append(&mut tx, &self.inner.vault, &[entry.detail("wrapped_by", service.id())]).await?;
        tx.commit().await.doing("announce a new key")?;
        rotation.begun = true;
        Ok(RotationStep::Announced { key_id: new.id })
    }

    async fn activate(&self, rotation: &Rotation, key_id: &str) -> Result<RotationStep> {
        let doing = "activate a new key";
        let mut tx = self.begin(Domain::Keys).await?;
        query(ACTIVATE_OLD).execute(&mut tx).await.doing(doing)?;
        let activated = query(ACTIVATE_NEW).bind(key_id).execute(&mut tx).await.doing(doing)?.rows_affected();
        if activated == 1 {
            let entry = NewEntry::new(rotation.actor.clone(), "key.activate").object("key", key_id);
            audit::append(&mut tx, &self.inner.vault, &[entry]).await?;
            tx.commit().await.doing(doing)?;
        } else {
            // Another rotation did it already: ours must not retire the key that is active now.
            drop(tx);
        }
        self.refresh_keys().await?;
        Ok(RotationStep::Activated { key_id: key_id.to_owned() })
    }

    /// Wraps the next data keys anew; 0 when there is none left after those that were looked at.
    async fn rewrap_batch(&self, rotation: &mut Rotation, old: &str) -> Result<u64> {
        let doing = "wrap data keys anew";
        let mut tx = self.begin(Domain::None).await?;
        let text = if tx.engine() == Engine::Postgres { NEXT_BATCH_UNLOCKED } else { NEXT_BATCH };
        let batch = query(text).bind(old).bind(&rotation.cursor.0).bind(&rotation.cursor.1).bind(BATCH);
        let rows = batch.fetch_all(&mut tx).await.doing(doing)?;
        let (mut cursor, mut looked_at, mut rewrapped) = (rotation.cursor.clone(), 0, 0);
        let mut damaged = Damaged::default();
        for row in &rows {
            let text = |column| row.try_get::<String>(column).doing(doing);
            let (kind, id, wrapped) = (text("kind")?, text("id")?, row.try_get::<Vec<u8>>("wrapped_key").doing(doing)?);
            looked_at += 1;
            match self.inner.vault.rewrap(&kind, &id, old, &wrapped) {
                Ok((under, wrapped)) => {
                    let update = query(REWRAP).bind(under).bind(wrapped).bind(&kind).bind(&id).bind(old);
                    // None is changed when the record was erased meanwhile.
                    rewrapped += update.execute(&mut tx).await.doing(doing)?.rows_affected();
                }
                Err(StoreError::Corrupt { what }) => damaged.add(Damaged { count: 1, first: Some(what) }),
                Err(error) => return Err(error),
            }
            cursor = (kind, id);
        }
        tx.commit().await.doing(doing)?;
        rotation.cursor = cursor;
        rotation.rewrapped += rewrapped;
        rotation.damaged.add(damaged);
        Ok(looked_at)
    }

    async fn destroy(&self, rotation: &mut Rotation, key_id: &str) -> Result<RotationStep> {
        let doing = "destroy an old key";
        // The next old key, if there is another, is looked through from the beginning.
        rotation.cursor = Default::default();
        let damaged = std::mem::take(&mut rotation.damaged);
        let mut tx = self.begin(Domain::Keys).await?;
        if tx.engine() == Engine::Postgres {
            // Waits for whoever is wrapping with it at this moment.
            query(LOCK_KEY).bind(key_id).fetch_all(&mut tx).await.doing(doing)?;
        }
        let left: i64 = query_scalar(COUNT_UNDER).bind(key_id).fetch_one(&mut tx).await.doing(doing)?;
        if left > 0 {
            drop(tx);
            if u64::try_from(left).unwrap_or(u64::MAX) <= damaged.count {
                rotation.stuck.push(key_id.to_owned());
                rotation.lost.add(damaged);
                // Those that were moved are under another key now than the backup says.
                self.renew_key_backup().await?;
            }
            // Otherwise wrapped or locked when we looked: another round.
            return Ok(RotationStep::Rewrapped { data_keys: 0 });
        }
        let now_us = i64::try_from(now_ms().saturating_mul(1_000)).unwrap_or(i64::MAX);
        let destroyed = query(DESTROY).bind(key_id).bind(now_us).execute(&mut tx).await.doing(doing)?.rows_affected();
        if destroyed == 1 {
            let entry = NewEntry::new(rotation.actor.clone(), "key.destroy").object("key", key_id);
            audit::append(&mut tx, &self.inner.vault, &[entry.detail("data_keys_rewrapped", rotation.rewrapped)])
                .await?;
        }
        tx.commit().await.doing(doing)?;
        self.forget_old_bytes().await?;
        self.refresh_keys().await?;
        self.renew_key_backup().await?;
        Ok(RotationStep::Destroyed { key_id: key_id.to_owned() })
    }

    /// Sees to it that no copy of what was overwritten stays beside the rows: SQLite's write-ahead log is emptied into the
    /// file (where freed bytes are overwritten), PostgreSQL writes its table of keys anew.
    pub(crate) async fn forget_old_bytes(&self) -> Result<()> {
        let doing = "remove the remains of old keys";
        if self.engine() == Engine::Postgres {
            return query("VACUUM FULL root_keys").execute(self.write()).await.doing(doing).map(drop);
        }
        for _ in 0..TRUNCATIONS {
            let row = query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(self.write()).await.doing(doing)?;
            // -1 stands for a database without such a log, in memory.
            if row.try_get::<i64>("busy").doing(doing)? == 0 {
                return Ok(());
            }
            tokio::time::sleep(TRUNCATION_PAUSE).await;
        }
        // Readers kept it busy. It is emptied when they are gone, at the latest when the last process closes the file.
        Ok(())
    }

    /// Wraps all of the installation's keys anew under another master key or key service, or under the newest version of the
    /// same service's key. Afterwards only that one opens the store; processes that have it open go on. The backup of the
    /// keys, where one is kept, is written anew under `next`: no other process can. Answers how many keys there were.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `next` is the same master key, [`StoreError::Busy`] when the keys were changed
    /// meanwhile, [`StoreError::Unavailable`] when a key service does not answer. Nothing was changed then. It was, where
    /// [`StoreError::Unavailable`] says that only the backup of the keys could not be written.
    pub async fn change_master(&self, next: &KeyService, actor: Actor) -> Result<u64> {
        let service = &self.inner.service;
        if matches!(next, KeyService::Local(_)) && next.id() == service.id() {
            return Err(StoreError::Conflict { what: "the new master key is the one in use" });
        }
        next.check().await?;
        let mut conn = self.reader().await?;
        let keys = root_keys::stored(&mut conn).await?;
        conn.commit().await.doing("read the installation's keys")?;
        // Before the transaction: a key service that does not answer must not hold up who writes.
        let mut wrapped = Vec::with_capacity(keys.len());
        for key in &keys {
            let context = context(&key.purpose, &key.id);
            let bytes = key.unwrap(service).await?;
            let new = next.wrap(&bytes, &context).await?;
            if *next.unwrap(&new, &context).await? != *bytes {
                return Err(StoreError::corrupt("what the new key service wrapped"));
            }
            wrapped.push(new);
        }
        self.replace_wrappings(&keys, wrapped, next, actor).await?;
        let written = self.renew_key_backup_under(next).await;
        self.forget_old_bytes().await?;
        written.doing("write the backup of the keys, though the new master key is in force since now")?;
        Ok(keys.len() as u64)
    }

    async fn replace_wrappings(
        &self,
        keys: &[StoredKey],
        wrapped: Vec<Vec<u8>>,
        next: &KeyService,
        actor: Actor,
    ) -> Result<()> {
        let doing = "wrap the installation's keys anew";
        let mut tx = self.begin(Domain::Keys).await?;
        let mut changed = 0;
        for (key, wrapped) in keys.iter().zip(wrapped) {
            let change = query(CHANGE_WRAPPING).bind(wrapped).bind(next.id()).bind(&key.id).bind(&key.wrapped);
            changed += change.execute(&mut tx).await.doing(doing)?.rows_affected();
        }
        let present: i64 = query_scalar(COUNT_WRAPPED).fetch_one(&mut tx).await.doing(doing)?;
        let expected = keys.len() as u64;
        if changed != expected || u64::try_from(present) != Ok(expected) {
            return Err(StoreError::Busy { what: "the keys were changed at the same time" });
        }
        let entry = NewEntry::new(actor, "key.rewrap").detail("keys", expected);
        let entry = entry.detail("from", self.inner.service.id()).detail("to", next.id());
        audit::append(&mut tx, &self.inner.vault, &[entry]).await?;
        tx.commit().await.doing(doing)
    }

    /// All keys of the installation there are and were, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn root_keys(&self) -> Result<Vec<RootKeyRecord>> {
        let doing = "list the installation's keys";
        let rows = query(LIST).fetch_all(self.read()).await.doing(doing)?;
        rows.iter()
            .map(|row| {
                let text = |column| row.try_get::<String>(column).doing(doing);
                let wrapped: Option<Vec<u8>> = row.try_get("wrapped").doing(doing)?;
                let data_keys: i64 = row.try_get("data_keys").doing(doing)?;
                Ok(RootKeyRecord {
                    id: text("id")?,
                    purpose: text("purpose")?,
                    state: text("state")?,
                    wrapped_by: text("wrapped_by")?,
                    wrapped_version: wrapped.and_then(|wrapped| self.inner.service.wrapped_version(&wrapped)),
                    created_at_us: row.try_get("created_at_us").doing(doing)?,
                    ended_at_us: row.try_get("ended_at_us").doing(doing)?,
                    data_keys: u64::try_from(data_keys).unwrap_or(0),
                })
            })
            .collect()
    }

    /// Since when the active key-encryption key is there, for the age that is watched.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn active_key_since_us(&self) -> Result<i64> {
        query_scalar(SINCE).fetch_one(self.read()).await.doing("read the installation's keys")
    }
}

fn is_kek(key: &StoredKey, state: &str) -> bool {
    key.purpose == KEK && key.state == state
}
