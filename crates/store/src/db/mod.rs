//! The database behind the store: SQLite in a file beside the server, or PostgreSQL shared by several servers.
//!
//! Query texts live beside the functions that use them and are written once. They keep to a subset that both engines share:
//! `$1` placeholders, integers, texts and blobs, times as integer microseconds, row values, `ON CONFLICT`. What differs is
//! in this folder: how a connection is opened ([`sqlite`], [`postgres`]), how a statement runs on either ([`query`]), and
//! what a transaction is ([`tx`]).

mod postgres;
mod query;
mod sqlite;
mod tx;

pub use postgres::is_private_connection;
pub(crate) use query::{Row, query, query_scalar};
pub(crate) use sqlite::create_private_dir;
pub(crate) use tx::{Conn, Domain, On, Scope, Tx, lock as also_lock};

use crate::{Result, StoreError, error::Doing};
use sqlite::SqliteDb;
use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgPool;

/// The database engines this crate can use.
pub(crate) enum Db {
    /// SQLite in a file (or in memory, for tests).
    Sqlite(SqliteDb),
    /// PostgreSQL 13 or later.
    Postgres(PgPool),
}

/// Which engine it is, for the few places that have to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite: one file, one machine.
    Sqlite,
    /// PostgreSQL: several servers may share it.
    Postgres,
}

impl Db {
    pub(crate) async fn open(database_url: &str) -> Result<Self> {
        if ["postgres:", "postgresql:"].iter().any(|scheme| database_url.starts_with(scheme)) {
            return postgres::open(database_url).await.map(Self::Postgres);
        }
        let db = SqliteDb::open(database_url).await?;
        // Inside a write lock, because two processes that start at once would both find the schema missing. The direct form
        // of `run`: the other one makes a future that cannot be sent to another thread.
        let mut tx = db.begin().await?;
        migrator(Engine::Sqlite)
            .run_direct(None, &mut *tx, false)
            .await
            .doing("bring the database schema up to date")?;
        tx.commit().await.doing("bring the database schema up to date")?;
        Ok(Self::Sqlite(db))
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(db) => {
                db.readers.close().await;
                db.writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The same numbers and names on both engines; a test compares what comes of them.
macro_rules! migrations {
    ($folder:literal, $($number:literal $name:literal),+ $(,)?) => {
        [$(($number, $name, include_str!(concat!("../../migrations/", $folder, "/", $number, "_", $name, ".sql")))),+]
    };
}

fn migrator(engine: Engine) -> Migrator {
    macro_rules! all {
        ($folder:literal) => {
            migrations!(
                $folder,
                "0001" "initial",
                "0002" "visits",
                "0003" "schedules",
                "0004" "alerts",
                "0005" "conversations",
                "0006" "safeguards",
            )
        };
    }
    let files = match engine {
        Engine::Sqlite => all!("sqlite"),
        Engine::Postgres => all!("postgres"),
    };
    let migrations = files.into_iter().map(|(number, name, sql): (&str, &'static str, &'static str)| {
        let number = number.parse().unwrap_or_default();
        Migration::new(number, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Gives an empty SQLite database our schema.
pub(crate) async fn migrate_copy(conn: &mut sqlx::SqliteConnection) -> Result<()> {
    migrator(Engine::Sqlite).run_direct(None, conn, false).await.doing("make the schema of a copy")
}

/// A unique or foreign key stands against it; `None` for any other reason.
pub(crate) fn violation(error: &sqlx::Error) -> Option<Violation> {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => Some(Violation::Unique),
        sqlx::Error::Database(error) if error.is_foreign_key_violation() => Some(Violation::ForeignKey),
        _ => None,
    }
}

/// What a statement would have broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Unique,
    ForeignKey,
}

/// An address that is no database's.
fn invalid_address() -> StoreError {
    StoreError::Invalid {
        what: "DATABASE_URL",
        expected: "sqlite://PATH, such as sqlite://heartvoice.db, or postgresql://USER:PASSWORD@HOST/DATABASE",
    }
}
