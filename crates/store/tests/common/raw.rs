//! Looking at the database behind the store's back: its schema, its values, its bytes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeSet;
use std::path::Path;

/// A connection past the store.
pub enum Raw {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Raw {
    pub async fn open(dir: &Path) -> Self {
        let url = super::config(dir).database_url;
        if super::on_postgres() {
            return Self::Postgres(sqlx::PgConnection::connect(&url).await.unwrap());
        }
        Self::Sqlite(sqlx::SqliteConnection::connect(&url).await.unwrap())
    }

    pub async fn run(&mut self, text: &str) -> u64 {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(conn) => sqlx::query(text).execute(conn).await.unwrap().rows_affected(),
            Self::Postgres(conn) => sqlx::query(text).execute(conn).await.unwrap().rows_affected(),
        }
    }

    pub async fn count(&mut self, text: &str) -> i64 {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(conn) => sqlx::query(text).fetch_one(conn).await.unwrap().get(0),
            Self::Postgres(conn) => sqlx::query(text).fetch_one(conn).await.unwrap().get(0),
        }
    }

    pub async fn texts(&mut self, text: &str) -> Vec<String> {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(conn) => sqlx::query(text).fetch_all(conn).await.unwrap().iter().map(|r| r.get(0)).collect(),
            Self::Postgres(conn) => sqlx::query(text).fetch_all(conn).await.unwrap().iter().map(|r| r.get(0)).collect(),
        }
    }

    pub async fn blobs(&mut self, text: &str) -> Vec<Vec<u8>> {
        let text = AssertSqlSafe(text.to_owned());
        let found: Vec<Option<Vec<u8>>> = match self {
            Self::Sqlite(conn) => sqlx::query(text).fetch_all(conn).await.unwrap().iter().map(|r| r.get(0)).collect(),
            Self::Postgres(conn) => sqlx::query(text).fetch_all(conn).await.unwrap().iter().map(|r| r.get(0)).collect(),
        };
        found.into_iter().flatten().collect()
    }

    /// Every column of every table of ours, as `table.column`.
    pub async fn columns(&mut self) -> Vec<(String, String)> {
        let text = if super::on_postgres() {
            "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
        } else {
            "SELECT m.name || '.' || p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'"
        };
        let found = self.texts(text).await;
        let columns = found.iter().filter_map(|name| name.split_once('.')).filter(|(table, _)| !table.starts_with('_'));
        columns.map(|(table, column)| (table.to_owned(), column.to_owned())).collect()
    }

    /// Tables in which any of these identifiers is the value of a column.
    pub async fn tables_with(&mut self, ids: &[String]) -> BTreeSet<String> {
        let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let mut found = BTreeSet::new();
        for (table, column) in self.columns().await {
            let text = format!("SELECT COUNT(*) FROM {table} WHERE CAST({column} AS TEXT) IN ({list})");
            if self.count(&text).await > 0 {
                found.insert(table);
            }
        }
        found
    }
}

/// How many of these values are found in the bytes of any file below `root`. A long value is looked for by its beginning:
/// the rest may be on another page.
pub fn found_in_files(root: &Path, values: &[Vec<u8>]) -> usize {
    let mut files = Vec::new();
    read_all(root, &mut files);
    let needle = |value: &[u8]| value.get(..value.len().min(28)).unwrap_or_default().to_vec();
    values.iter().filter(|value| files.iter().any(|file| contains(file, &needle(value)))).count()
}

fn read_all(folder: &Path, files: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, files);
        } else {
            files.push(std::fs::read(path).unwrap());
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return false };
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if haystack[from..].starts_with(rest) {
            return true;
        }
    }
    false
}
