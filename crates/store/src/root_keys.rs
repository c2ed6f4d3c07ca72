//! The installation's own keys, and how they are kept.
//!
//! Three purposes: *key-encryption keys* wrap the data keys of patients (and of calls and alerts that belong to nobody);
//! the *index* key makes the keyed hashes by which sealed values are found again; the *audit* key signs checkpoints of the
//! audit trail. All are random, and are stored wrapped by the master key or by a key management service, which therefore
//! can be exchanged by wrapping a handful of rows anew. Key-encryption keys are replaced by `heartvoice keys rotate`.
//!
//! A database of an earlier version derived these keys from the master key itself; they are taken over as they are, and the
//! next rotation replaces what wraps the data keys.

use crate::db::{Conn, Db, Domain, Engine, query, query_scalar};
use crate::error::Doing;
use crate::ids::{new_id, now_ms};
use crate::keys::{DataKey, KEY_LEN, MasterKey, random_bytes};
use crate::kms::KeyService;
use crate::vault::trail_end_key;
use crate::{Result, StoreError, audit};
use std::collections::HashMap;
use zeroize::Zeroizing;

const ALL: &str = "SELECT id, purpose, state, wrapped, wrapped_by FROM root_keys WHERE wrapped IS NOT NULL \
     ORDER BY created_at_us, id";
const INSERT: &str = "INSERT INTO root_keys (id, purpose, state, wrapped, wrapped_by, created_at_us) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const LEGACY: &str = "SELECT value FROM meta WHERE name = 'key_id'";
const LEGACY_TAKEN_OVER: &str = "DELETE FROM meta WHERE name = 'key_id'";
// Every installation that was ever started has entries in the audit trail; the rest is for one of which they were lost.
const HAS_RECORDS: &str = "SELECT COUNT(*) FROM (SELECT 1 AS one) AS once WHERE EXISTS (SELECT 1 FROM audit_entries) \
     OR EXISTS (SELECT 1 FROM patients) OR EXISTS (SELECT 1 FROM calls) OR EXISTS (SELECT 1 FROM alerts) \
     OR EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM data_keys)";
const ACTIVE: &str = "SELECT id FROM root_keys WHERE purpose = 'kek' AND state = 'active'";
const PUT: &str = "INSERT INTO data_keys (kind, id, key_id, wrapped_key) SELECT $1, $2, $3, $4 FROM root_keys \
     WHERE root_keys.id = $3 AND state IN ('active', 'retiring')";
// The share lock makes the destruction of a key wait for what is being wrapped by it.
const PUT_SHARED: &str = "INSERT INTO data_keys (kind, id, key_id, wrapped_key) SELECT $1, $2, $3, $4 FROM root_keys \
     WHERE root_keys.id = $3 AND state IN ('active', 'retiring') FOR SHARE";

/// What a root key is for.
pub(crate) const KEK: &str = "kek";
const INDEX: &str = "index";
const AUDIT: &str = "audit";
/// States of a root key.
pub(crate) const ANNOUNCED: &str = "announced";
pub(crate) const ACTIVE_STATE: &str = "active";
pub(crate) const RETIRING: &str = "retiring";

const READING: &str = "read the installation's keys";

/// The keys in memory.
pub(crate) struct RootKeys {
    pub(crate) keks: Keks,
    pub(crate) index: MasterKey,
    /// Seed of the Ed25519 key, and its identifier.
    pub(crate) audit: (String, Zeroizing<[u8; KEY_LEN]>),
}

/// The key-encryption keys.
pub(crate) struct Keks {
    pub(crate) keks: HashMap<String, DataKey>,
    pub(crate) active: String,
    /// The newest that is known, active or announced.
    pub(crate) newest: String,
}

/// A key that wraps nothing yet.
pub(crate) struct NewRootKey {
    pub(crate) id: String,
    pub(crate) bytes: Zeroizing<[u8; KEY_LEN]>,
}

impl NewRootKey {
    pub(crate) fn random() -> Result<Self> {
        Ok(Self { id: new_id(now_ms())?, bytes: random_bytes()? })
    }
}

/// A key as it is stored.
pub(crate) struct StoredKey {
    pub(crate) id: String,
    pub(crate) purpose: String,
    pub(crate) state: String,
    pub(crate) wrapped: Vec<u8>,
    wrapped_by: String,
}

impl StoredKey {
    pub(crate) async fn unwrap(&self, service: &KeyService) -> Result<Zeroizing<[u8; KEY_LEN]>> {
        check_wrapped_by(&self.wrapped_by, service)?;
        Ok(service.unwrap(&self.wrapped, &context(&self.purpose, &self.id)).await?)
    }
}

/// Refuses a key that something else than this service wraps.
pub(crate) fn check_wrapped_by(wrapped_by: &str, service: &KeyService) -> Result<()> {
    if wrapped_by == service.id() {
        return Ok(());
    }
    Err(StoreError::WrongKey { given: service.id(), expected: wrapped_by.to_owned() })
}

/// Refuses when this service does not wrap all keys there are: the master key was exchanged since it was opened.
pub(crate) fn check_all_wrapped_by(keys: &[StoredKey], service: &KeyService) -> Result<()> {
    keys.iter().try_for_each(|key| check_wrapped_by(&key.wrapped_by, service))
}

/// Reads the keys, and makes them in a database that is new.
pub(crate) async fn load(db: &Db, service: &KeyService) -> Result<RootKeys> {
    let mut tx = db.begin(None, Domain::Keys).await?;
    let mut keys = stored(&mut tx).await?;
    if keys.is_empty() {
        create(&mut tx, service).await?;
        keys = stored(&mut tx).await?;
    }
    tx.commit().await.doing(READING)?;
    open(&keys, service).await
}

/// Opens the keys.
pub(crate) async fn open(keys: &[StoredKey], service: &KeyService) -> Result<RootKeys> {
    let keks = open_keks(keys, service, &HashMap::new()).await?;
    let the = |purpose| keys.iter().find(|key| key.purpose == purpose).ok_or_else(incomplete);
    let (index, audit) = (the(INDEX)?, the(AUDIT)?);
    Ok(RootKeys {
        keks,
        index: MasterKey::from_bytes(index.unwrap(service).await?),
        audit: (audit.id.clone(), audit.unwrap(service).await?),
    })
}

/// Reads the key-encryption keys as they are now. Those that are known already are not unwrapped again: a server goes on
/// with them also when what wraps them was exchanged.
pub(crate) async fn keks(conn: &mut Conn, service: &KeyService, known: &HashMap<String, DataKey>) -> Result<Keks> {
    open_keks(&stored(conn).await?, service, known).await
}

async fn open_keks(keys: &[StoredKey], service: &KeyService, known: &HashMap<String, DataKey>) -> Result<Keks> {
    let (mut keks, mut active, mut newest) = (HashMap::new(), None, None);
    for key in keys.iter().filter(|key| key.purpose == KEK) {
        let kek = match known.get(&key.id) {
            Some(kek) => kek.clone(),
            None => DataKey::from_bytes(&*key.unwrap(service).await?)?,
        };
        keks.insert(key.id.clone(), kek);
        if key.state == ACTIVE_STATE {
            active = Some(key.id.clone());
        }
        if key.state != RETIRING {
            newest = Some(key.id.clone());
        }
    }
    let (Some(active), Some(newest)) = (active, newest) else { return Err(incomplete()) };
    Ok(Keks { keks, active, newest })
}

/// All keys that were not destroyed, oldest first.
pub(crate) async fn stored(conn: &mut Conn) -> Result<Vec<StoredKey>> {
    let rows = query(ALL).fetch_all(conn).await.doing(READING)?;
    rows.iter()
        .map(|row| {
            let text = |column| row.try_get::<String>(column).doing(READING);
            let (id, purpose, state, wrapped_by) = (text("id")?, text("purpose")?, text("state")?, text("wrapped_by")?);
            Ok(StoredKey { id, purpose, state, wrapped: row.try_get("wrapped").doing(READING)?, wrapped_by })
        })
        .collect()
}

fn incomplete() -> StoreError {
    StoreError::corrupt("the set of the installation's keys")
}

/// Whether there is anything that was sealed, signed or found by keys of this installation.
pub(crate) async fn has_records(tx: &mut Conn) -> Result<bool> {
    let found: i64 = query_scalar(HAS_RECORDS).fetch_one(tx).await.doing("look for records")?;
    Ok(found > 0)
}

async fn create(tx: &mut Conn, service: &KeyService) -> Result<()> {
    let legacy: Option<Vec<u8>> = query_scalar(LEGACY).fetch_optional(&mut *tx).await.doing("read the key's name")?;
    // A database of version 0.3 has records, and its keys are derived. Any other one was restored without its keys.
    if legacy.is_none() && has_records(tx).await? {
        return Err(StoreError::KeysMissing);
    }
    service.check().await?;
    let (kek, index) = match legacy {
        None => (NewRootKey::random()?, NewRootKey::random()?),
        Some(name) => {
            let name = String::from_utf8(name).map_err(|_| StoreError::corrupt("the key's name"))?;
            let (kek, index) = service.legacy(&name)?;
            (NewRootKey { id: name, bytes: kek }, NewRootKey { id: new_id(now_ms())?, bytes: index })
        }
    };
    // The trail begins with the keys that guard it: where its end is missing later, somebody took it away.
    audit::begin(tx, &trail_end_key(&MasterKey::from_bytes(index.bytes.clone()))).await?;
    for (purpose, key) in [(KEK, kek), (INDEX, index), (AUDIT, NewRootKey::random()?)] {
        let wrapped = service.wrap(&key.bytes, &context(purpose, &key.id)).await?;
        insert(tx, service, purpose, ACTIVE_STATE, &key.id, wrapped).await?;
    }
    // Once: if the keys are ever missing again, they are not the derived ones any more.
    query(LEGACY_TAKEN_OVER).execute(tx).await.doing("save the keys of an earlier version").map(drop)
}

/// Stores a key, wrapped.
pub(crate) async fn insert(
    tx: &mut Conn,
    service: &KeyService,
    purpose: &'static str,
    state: &'static str,
    id: &str,
    wrapped: Vec<u8>,
) -> Result<()> {
    let created_at_us = i64::try_from(now_ms().saturating_mul(1_000)).unwrap_or(i64::MAX);
    let insert = query(INSERT).bind(id).bind(purpose).bind(state).bind(wrapped).bind(service.id());
    insert.bind(created_at_us).execute(tx).await.doing("save a key of the installation").map(drop)
}

/// Binds a wrapped key to its place.
pub(crate) fn context(purpose: &str, id: &str) -> String {
    format!("heartvoice root key|{purpose}|{id}")
}

/// The key-encryption key that new data keys are to be wrapped by.
pub(crate) async fn active(on: impl Into<crate::db::On<'_>>) -> Result<String> {
    query_scalar(ACTIVE).fetch_one(on).await.doing("read the installation's keys")
}

/// Stores a data key, also under a key that is just being retired: a rotation wraps it anew before it destroys that one.
/// [`StoreError::Busy`] when what wraps it is gone: wrap it again.
pub(crate) async fn put_data_key(
    tx: &mut Conn,
    kind: &'static str,
    id: &str,
    key_id: &str,
    wrapped: &[u8],
) -> Result<()> {
    let text = if tx.engine() == Engine::Postgres { PUT_SHARED } else { PUT };
    let put = query(text).bind(kind).bind(id).bind(key_id).bind(wrapped);
    match put.execute(tx).await.doing("save a data key")?.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Busy { what: "the keys are being rotated" }),
    }
}
