//! Where a statement runs: on a connection of its own, in a transaction, or inside the transaction of an access.
//!
//! An *access* ([`Scope`]) is one transaction that spans everything done on behalf of one request, so that the entry of
//! the audit trail is part of it. A store inside an access runs all its statements there; a function that begins a
//! transaction of its own gets a savepoint, so that its failure undoes its own work and nothing else.

use super::{Db, Engine};
use crate::{Result, StoreError, error::Doing};
use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// A connection to either engine, in a transaction or not.
pub(crate) enum Conn {
    Sqlite(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
}

/// What a transaction looks at before it writes. Transactions of one domain run one after the other, on PostgreSQL by an
/// advisory lock that ends with the transaction; SQLite has one writer anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Nothing that another transaction could change meanwhile, or rows that are locked one by one.
    None,
    /// Which patients there are.
    Patients,
    /// Which alerts are unresolved.
    Alerts,
    /// Timetables and planned calls.
    Schedules,
    /// What is stored of calls: entries and segments.
    Calls,
    /// Accounts, sessions, tokens.
    People,
    /// The installation's own keys.
    Keys,
    /// Requests that clients may repeat.
    Repeats,
}

impl Domain {
    /// Numbers of advisory locks; never reused for anything else.
    fn lock(self) -> Option<i64> {
        const BASE: i64 = 0x4856_0000;
        match self {
            Self::None => None,
            Self::Patients => Some(BASE + 1),
            Self::Alerts => Some(BASE + 2),
            Self::Schedules => Some(BASE + 3),
            Self::Calls => Some(BASE + 4),
            Self::People => Some(BASE + 5),
            Self::Keys => Some(BASE + 6),
            Self::Repeats => Some(BASE + 7),
        }
    }
}

/// The transaction of an access.
#[derive(Clone)]
pub(crate) struct Scope(Arc<Mutex<Shared>>);

struct Shared {
    conn: Conn,
    /// A savepoint was left without being released: its work is to be undone before anything else happens.
    undo: bool,
}

/// A transaction, its own or a part of an access. Dropping it undoes what it did.
pub(crate) enum Tx {
    /// Of its own; where it only reads, a bare connection.
    Own(Conn),
    /// A savepoint of the access.
    Part(Part),
}

/// A part of an access, between its savepoint and the release.
pub(crate) struct Part {
    shared: OwnedMutexGuard<Shared>,
    open: bool,
}

/// Where a statement is to run.
pub(crate) enum On<'c> {
    /// On this connection.
    Conn(&'c mut Conn),
    /// On any connection for reading, or in the access.
    Read(&'c Db, Option<&'c Scope>),
    /// On a connection for writing, or in the access.
    Write(&'c Db, Option<&'c Scope>),
}

/// Where a statement runs.
pub(super) enum Place<'c> {
    Borrowed(&'c mut Conn),
    Owned(Tx),
}

const SAVEPOINT: &str = "SAVEPOINT part";
const RELEASE: &str = "RELEASE SAVEPOINT part";
const UNDO: &str = "ROLLBACK TO SAVEPOINT part";
const ADVISORY_LOCK: &str = "SELECT pg_advisory_xact_lock($1)";

impl Db {
    /// A connection outside any transaction; on SQLite one that cannot write.
    async fn reader(&self) -> Result<Conn, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(db) => Conn::Sqlite(db.readers.acquire().await?),
            Self::Postgres(pool) => Conn::Postgres(pool.acquire().await?),
        })
    }

    async fn writer(&self) -> Result<Conn, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(db) => Conn::Sqlite(db.writer.acquire().await?),
            Self::Postgres(pool) => Conn::Postgres(pool.acquire().await?),
        })
    }

    async fn transaction(&self, domain: Domain) -> Result<Conn> {
        match self {
            Self::Sqlite(db) => Ok(Conn::SqliteTx(db.begin().await?)),
            Self::Postgres(pool) => {
                let mut conn = Conn::PostgresTx(pool.begin().await.doing("begin a transaction")?);
                lock(&mut conn, domain).await?;
                Ok(conn)
            }
        }
    }

    /// Begins the transaction of an access.
    pub(crate) async fn scope(&self) -> Result<Scope> {
        let conn = self.transaction(Domain::None).await?;
        Ok(Scope(Arc::new(Mutex::new(Shared { conn, undo: false }))))
    }

    /// Begins a transaction, or a part of the access.
    pub(crate) async fn begin(&self, scope: Option<&Scope>, domain: Domain) -> Result<Tx> {
        let Some(scope) = scope else {
            return Ok(Tx::Own(self.transaction(domain).await?));
        };
        let mut tx = scope.enter().await.doing("begin a part of an access")?;
        lock(&mut tx, domain).await?;
        Ok(tx)
    }

    /// A connection to read several things on, or the access.
    pub(crate) async fn read(&self, scope: Option<&Scope>) -> Result<Tx> {
        match scope {
            Some(scope) => scope.enter().await,
            None => self.reader().await.map(Tx::Own),
        }
        .doing("read the database")
    }
}

/// Makes a transaction one of this domain, too. Whoever needs more than one takes that of the patients first.
pub(crate) async fn lock(conn: &mut Conn, domain: Domain) -> Result<()> {
    match (conn.engine(), domain.lock()) {
        (Engine::Postgres, Some(number)) => {
            conn.fetch_all(ADVISORY_LOCK, vec![number.into()]).await.doing("begin a transaction").map(drop)
        }
        _ => Ok(()),
    }
}

impl Scope {
    async fn enter(&self) -> Result<Tx, sqlx::Error> {
        // An access does one thing at a time. Waiting here would be for ourselves.
        let Ok(mut shared) = Arc::clone(&self.0).try_lock_owned() else {
            return Err(sqlx::Error::Protocol("two statements at once in one access".to_owned()));
        };
        shared.clean().await?;
        shared.conn.execute(SAVEPOINT, Vec::new()).await?;
        Ok(Tx::Part(Part { shared, open: true }))
    }

    /// Ends the access: everything done in it becomes durable, or nothing.
    pub(crate) async fn commit(self) -> Result<()> {
        let shared = Arc::try_unwrap(self.0).map_err(|_| StoreError::Unavailable {
            doing: "end an access",
            source: "something still uses it".into(),
        })?;
        let mut shared = shared.into_inner();
        shared.clean().await.doing("end an access")?;
        shared.conn.commit().await.doing("end an access")
    }
}

impl Shared {
    async fn clean(&mut self) -> Result<(), sqlx::Error> {
        if std::mem::take(&mut self.undo) {
            self.conn.execute(UNDO, Vec::new()).await?;
            self.conn.execute(RELEASE, Vec::new()).await?;
        }
        Ok(())
    }
}

impl Conn {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) | Self::SqliteTx(_) => Engine::Sqlite,
            Self::Postgres(_) | Self::PostgresTx(_) => Engine::Postgres,
        }
    }

    async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::SqliteTx(tx) => tx.commit().await,
            Self::PostgresTx(tx) => tx.commit().await,
            Self::Sqlite(_) | Self::Postgres(_) => Ok(()),
        }
    }
}

impl Tx {
    /// Makes what was done durable; inside an access that waits for the access to end.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Own(conn) => conn.commit().await,
            Self::Part(mut part) => {
                part.shared.conn.execute(RELEASE, Vec::new()).await?;
                part.open = false;
                Ok(())
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A transaction of its own rolls back when it is dropped; a part of an access is undone before its next statement.
        if self.open {
            self.shared.undo = true;
        }
    }
}

impl Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        match self {
            Self::Own(conn) => conn,
            Self::Part(part) => &part.shared.conn,
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        match self {
            Self::Own(conn) => conn,
            Self::Part(part) => &mut part.shared.conn,
        }
    }
}

impl<'c> From<&'c mut Conn> for On<'c> {
    fn from(conn: &'c mut Conn) -> Self {
        Self::Conn(conn)
    }
}

impl<'c> From<&'c mut Tx> for On<'c> {
    fn from(tx: &'c mut Tx) -> Self {
        Self::Conn(tx)
    }
}

impl<'c> On<'c> {
    pub(super) async fn place(self) -> Result<Place<'c>, sqlx::Error> {
        Ok(match self {
            Self::Conn(conn) => Place::Borrowed(conn),
            Self::Read(_, Some(scope)) | Self::Write(_, Some(scope)) => Place::Owned(scope.enter().await?),
            Self::Read(db, None) => Place::Owned(Tx::Own(db.reader().await?)),
            Self::Write(db, None) => Place::Owned(Tx::Own(db.writer().await?)),
        })
    }
}

impl Place<'_> {
    /// After the statement went well.
    pub(super) async fn done(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Borrowed(_) => Ok(()),
            Self::Owned(tx) => tx.commit().await,
        }
    }

    pub(super) fn conn(&mut self) -> &mut Conn {
        match self {
            Self::Borrowed(conn) => conn,
            Self::Owned(tx) => tx,
        }
    }
}
