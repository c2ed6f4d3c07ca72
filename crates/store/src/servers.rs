//! The server processes that share a database: which of them live, what keys they have loaded, and who does what only one
//! of them may do.
//!
//! A server announces itself, beats every second and says good-bye. One that has not beaten for a lease is taken for dead,
//! and the others take its work over. Times are given by the caller, from the clock of its machine: clocks that differ by
//! more than a few seconds make living servers look dead, so they must be kept in step (NTP).

use crate::db::{Row, query, query_scalar};
use crate::error::Doing;
use crate::{Result, Store, StoreError};
use std::time::Duration;

/// How long a server may be silent, in microseconds: fifteen beats, so that a busy disk is not taken for a death.
pub const SERVER_LEASE_US: i64 = 15_000_000;
/// How long one beat waits for a key service. With the pause after a beat far below the lease: while the service hangs,
/// this server goes on being seen.
const KEYS_WAIT: Duration = Duration::from_secs(5);
/// Servers read at once, at most; more than a PostgreSQL could serve.
const MAX_SERVERS: i64 = 1_000;

const COLUMNS_ALL: &str =
    "SELECT id, started_at_us, seen_at_us, keys_seen, keys_used FROM servers ORDER BY started_at_us, id LIMIT $1";
const ANNOUNCE: &str = "INSERT INTO servers (id, started_at_us, seen_at_us, keys_seen, keys_used) \
     VALUES ($1, $2, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET seen_at_us = excluded.seen_at_us, \
     keys_seen = excluded.keys_seen, keys_used = excluded.keys_used";
const BEAT: &str = "UPDATE servers SET seen_at_us = $2, keys_seen = $3, keys_used = $4 WHERE id = $1";
const FORGET: &str = "DELETE FROM servers WHERE id = $1";
const FORGET_STALE: &str = "DELETE FROM servers WHERE id = $1 AND seen_at_us <= $2";
const TAKE_LEASE: &str = "INSERT INTO leases (name, holder, until_us) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_us = excluded.until_us \
     WHERE leases.holder = excluded.holder OR leases.until_us <= $4";
const RELEASE_LEASE: &str = "DELETE FROM leases WHERE name = $1 AND holder = $2";
const KEY_SET: &str = "SELECT id FROM root_keys WHERE purpose = 'kek' AND wrapped IS NOT NULL ORDER BY id";

/// A server process, as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRecord {
    /// Its identifier, new with each start.
    pub id: String,
    /// When it started.
    pub started_at_us: i64,
    /// When it last beat.
    pub seen_at_us: i64,
    /// The newest key-encryption key it has loaded.
    pub keys_seen: String,
    /// The key-encryption key it wraps new data keys with.
    pub keys_used: String,
}

/// What a beat found.
#[derive(Debug)]
pub struct Beat {
    /// The others took this server for dead and forgot it: its work may have been taken over. It is announced anew.
    pub was_forgotten: bool,
    /// Why new keys could not be loaded, if so; the server goes on with those it has.
    pub keys_behind: Option<StoreError>,
}

impl Store {
    /// Announces this process as a server.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn announce_server(&self, now_us: i64) -> Result<()> {
        let vault = &self.inner.vault;
        let announce = query(ANNOUNCE).bind(self.server_id()).bind(now_us);
        let announce = announce.bind(vault.newest()).bind(vault.active());
        announce.execute(self.write()).await.doing("announce this server").map(drop)
    }

    /// Shows that this server lives, and then takes over keys that were made or destroyed meanwhile. To be called every
    /// second.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; beat again. Keys that cannot be loaded, or not in five seconds, do not stop a beat.
    pub async fn beat(&self, now_us: i64) -> Result<Beat> {
        // Before the keys: a key service may hang for longer than the lease.
        let shown = self.known_keys();
        let beaten = self.show_life(now_us, &shown).await?;
        if !beaten {
            self.announce_server(now_us).await?;
        }
        let loaded = tokio::time::timeout(KEYS_WAIT, self.catch_up_with_keys()).await.doing("load new keys in time");
        let keys_behind = loaded.and_then(|loaded| loaded).err();
        // A rotation waits for what is said here, so it is said as soon as it is true, and not before.
        let known = self.known_keys();
        if known != shown {
            self.show_life(now_us, &known).await?;
        }
        Ok(Beat { was_forgotten: !beaten, keys_behind })
    }

    /// The newest key in memory, and the one that new data keys are wrapped by.
    fn known_keys(&self) -> (String, String) {
        (self.inner.vault.newest(), self.inner.vault.active())
    }

    /// False when this server is not on the list.
    async fn show_life(&self, now_us: i64, (newest, active): &(String, String)) -> Result<bool> {
        let beat = query(BEAT).bind(self.server_id()).bind(now_us).bind(newest).bind(active);
        Ok(beat.execute(self.write()).await.doing("show that this server lives")?.rows_affected() > 0)
    }

    /// Loads the keys anew when there are others than those in memory.
    async fn catch_up_with_keys(&self) -> Result<()> {
        let vault = &self.inner.vault;
        let ids: Vec<String> =
            query_scalar(KEY_SET).fetch_all(self.read()).await.doing("read the installation's keys")?;
        if crate::root_keys::active(self.read()).await? != vault.active() || !vault.has_exactly(&ids) {
            self.refresh_keys().await?;
        }
        vault.drop_destroyed();
        Ok(())
    }

    /// Removes a server from the list: this one at its end, another one only when it is stale. True when it was removed:
    /// of several servers that try at once, one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_server(&self, id: &str, now_us: i64) -> Result<bool> {
        let statement = if id == self.server_id() {
            query(FORGET).bind(id)
        } else {
            query(FORGET_STALE).bind(id).bind(now_us.saturating_sub(SERVER_LEASE_US))
        };
        Ok(statement.execute(self.write()).await.doing("forget a server")?.rows_affected() > 0)
    }

    /// The servers that have beaten within the lease, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn live_servers(&self, now_us: i64) -> Result<Vec<ServerRecord>> {
        let mut servers = self.servers().await?;
        servers.retain(|server| !is_stale(server, now_us));
        Ok(servers)
    }

    /// The servers that have been silent for the lease, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn stale_servers(&self, now_us: i64) -> Result<Vec<ServerRecord>> {
        let mut servers = self.servers().await?;
        servers.retain(|server| is_stale(server, now_us));
        Ok(servers)
    }

    async fn servers(&self) -> Result<Vec<ServerRecord>> {
        let rows = query(COLUMNS_ALL).bind(MAX_SERVERS).fetch_all(self.read()).await.doing("list the servers")?;
        rows.iter().map(read).collect()
    }

    /// Takes work that one process at a time does, until `for_us` after now; taking it again makes it longer. False when
    /// another process has it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn take_lease(&self, name: &str, now_us: i64, for_us: i64) -> Result<bool> {
        let take = query(TAKE_LEASE).bind(name).bind(self.server_id()).bind(now_us.saturating_add(for_us)).bind(now_us);
        Ok(take.execute(self.write()).await.doing("take a lease")?.rows_affected() > 0)
    }

    /// Gives work back; harmless when it is another's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it ends by itself.
    pub async fn release_lease(&self, name: &str) -> Result<()> {
        let release = query(RELEASE_LEASE).bind(name).bind(self.server_id());
        release.execute(self.write()).await.doing("release a lease").map(drop)
    }
}

fn is_stale(server: &ServerRecord, now_us: i64) -> bool {
    server.seen_at_us <= now_us.saturating_sub(SERVER_LEASE_US)
}

fn read(row: &Row) -> Result<ServerRecord> {
    let doing = "read a server";
    Ok(ServerRecord {
        id: row.try_get("id").doing(doing)?,
        started_at_us: row.try_get("started_at_us").doing(doing)?,
        seen_at_us: row.try_get("seen_at_us").doing(doing)?,
        keys_seen: row.try_get("keys_seen").doing(doing)?,
        keys_used: row.try_get("keys_used").doing(doing)?,
    })
}
