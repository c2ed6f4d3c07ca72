//! PostgreSQL: several servers may share one database.
//!
//! Statements run at "read committed". Where a function looks first and writes by what it saw, its transaction holds the
//! lock of a [`super::Domain`]; where many workers take work, rows are claimed with `FOR UPDATE SKIP LOCKED`.

use super::{Engine, invalid_address, migrator};
use crate::{Result, error::Doing};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// Connections of one server process: enough for calls, jobs and people beside each other, and a PostgreSQL with its usual
/// hundred serves six such processes.
const CONNECTIONS: u32 = 16;
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);
/// A statement that takes longer has lost its way; nothing here scans for so long.
const STATEMENT_TIMEOUT: &str = "60s";
/// A transaction that does nothing for so long belongs to a process that hangs.
const IDLE_TIMEOUT: &str = "60s";

/// Whether nobody on the way can read along or pretend to be the database: it is on this machine, or its certificate is
/// checked. True for SQLite; true also for what is no address at all, which is found elsewhere.
#[must_use]
pub fn is_private_connection(database_url: &str) -> bool {
    if !database_url.starts_with("postgres") {
        return true;
    }
    let Ok(options) = PgConnectOptions::from_str(database_url) else { return true };
    let host = options.get_host();
    let is_here = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_here || matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull)
}

pub(super) async fn open(database_url: &str) -> Result<PgPool> {
    let Ok(options) = PgConnectOptions::from_str(database_url) else { return Err(invalid_address()) };
    let options = options
        .application_name("heartvoice")
        .options([("statement_timeout", STATEMENT_TIMEOUT), ("idle_in_transaction_session_timeout", IDLE_TIMEOUT)]);
    // The pool would try again and again; a wrong address or password is to be told at once.
    let first = PgConnection::connect_with(&options).await.doing("connect to PostgreSQL")?;
    first.close().await.doing("connect to PostgreSQL")?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .doing("connect to PostgreSQL")?;
    // The migrator takes an advisory lock itself: processes that start at once wait for each other.
    let mut connection = pool.acquire().await.doing("connect to PostgreSQL")?;
    migrator(Engine::Postgres)
        .run_direct(None, &mut *connection, false)
        .await
        .doing("bring the database schema up to date")?;
    drop(connection);
    Ok(pool)
}
