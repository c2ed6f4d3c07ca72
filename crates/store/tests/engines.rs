//! What the two engines have to agree on, and how the way to PostgreSQL is protected. Without a PostgreSQL for tests there
//! is nothing to compare with.
#![allow(clippy::unwrap_used)]

mod common;

use common::{config, create_database, on_postgres};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use std::collections::BTreeSet;
use store::{MasterKey, Store, StoreConfig, StoreError, is_private_connection};

/// Columns, keys and indexes in words that mean the same for both.
type Words = BTreeSet<String>;

async fn sqlite_words(path: &std::path::Path) -> Words {
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let mut words = Words::new();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
        AND name <> '_sqlx_migrations'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut db).await.unwrap();
    for table in tables {
        let columns = format!("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')");
        let mut key = Vec::new();
        for row in sqlx::query(AssertSqlSafe(columns)).fetch_all(&mut db).await.unwrap() {
            let (name, pk): (String, i64) = (row.get("name"), row.get("pk"));
            let needed: i64 = row.get("notnull");
            let default = row.get::<Option<String>, _>("dflt_value").is_some();
            words.insert(format!(
                "{table}.{name} {} null={} default={default}",
                row.get::<String, _>("type"),
                needed == 0
            ));
            if pk > 0 {
                key.push((pk, name));
            }
        }
        key.sort();
        let key: Vec<_> = key.into_iter().map(|(_, name)| name).collect();
        words.insert(format!("{table} key {}", key.join(",")));
        let foreign = format!("SELECT \"from\", \"table\" FROM pragma_foreign_key_list('{table}')");
        for row in sqlx::query(AssertSqlSafe(foreign)).fetch_all(&mut db).await.unwrap() {
            words.insert(format!("{table}.{} refers to {}", row.get::<String, _>(0), row.get::<String, _>(1)));
        }
        let indexes = format!("SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}')");
        for row in sqlx::query(AssertSqlSafe(indexes)).fetch_all(&mut db).await.unwrap() {
            let (name, unique, origin): (String, i64, String) = (row.get(0), row.get(1), row.get(2));
            let partial: i64 = row.get(3);
            let columns = format!("SELECT name FROM pragma_index_info('{name}') ORDER BY seqno");
            let columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(columns)).fetch_all(&mut db).await.unwrap();
            let columns = columns.join(",");
            match origin.as_str() {
                "c" => words.insert(format!("{table} index {name} ({columns}) unique={} partial={}", unique, partial)),
                "u" => words.insert(format!("{table} unique {columns}")),
                _ => false,
            };
        }
    }
    words
}

async fn postgres_words(url: &str) -> Words {
    let mut db = PgConnection::connect(url).await.unwrap();
    let mut words = Words::new();
    let columns = "SELECT c.relname AS t, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, \
        a.atthasdef, COALESCE(l.collname, '') AS collation FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
        LEFT JOIN pg_collation l ON l.oid = a.attcollation WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped \
        AND c.relnamespace = 'public'::regnamespace AND c.relname <> '_sqlx_migrations'";
    for row in sqlx::query(columns).fetch_all(&mut db).await.unwrap() {
        let (table, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let kind = match kind.as_str() {
            "text" => {
                let collation: String = row.get("collation");
                assert_eq!(collation, "C", "{table}.{name}: texts must be ordered as SQLite orders them");
                "TEXT"
            }
            "bigint" => "INTEGER",
            "bytea" => "BLOB",
            other => other,
        };
        let (needed, default): (bool, bool) = (row.get(3), row.get(4));
        words.insert(format!("{table}.{name} {kind} null={} default={default}", !needed));
    }
    let constraints = "SELECT c.relname AS t, k.contype::text AS kind, COALESCE(f.relname, '') AS other, \
        (SELECT string_agg(a.attname, ',' ORDER BY p.n) FROM unnest(k.conkey) WITH ORDINALITY AS p (num, n) \
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.num) AS columns \
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_class f ON f.oid = k.confrelid \
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> '_sqlx_migrations'";
    for row in sqlx::query(constraints).fetch_all(&mut db).await.unwrap() {
        let (table, kind, other, columns): (String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        words.insert(match kind.as_str() {
            "p" => format!("{table} key {columns}"),
            "f" => format!("{table}.{columns} refers to {other}"),
            "u" => format!("{table} unique {columns}"),
            other => format!("{table} {other} {columns}"),
        });
    }
    let indexes = "SELECT c.relname AS t, i.relname AS name, x.indisunique, x.indpred IS NOT NULL AS partial, \
        (SELECT string_agg(a.attname, ',' ORDER BY p.n) FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS p (num, n) \
        JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = p.num) AS columns \
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid \
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> '_sqlx_migrations' \
        AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u'))";
    for row in sqlx::query(indexes).fetch_all(&mut db).await.unwrap() {
        let (table, name, columns): (String, String, String) = (row.get(0), row.get(1), row.get(4));
        let (unique, partial): (bool, bool) = (row.get(2), row.get(3));
        words.insert(format!(
            "{table} index {name} ({columns}) unique={} partial={}",
            i64::from(unique),
            i64::from(partial)
        ));
    }
    words
}

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_keys_and_indexes() {
    if !on_postgres() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    create_database(dir.path()).await;
    Store::open(config(dir.path()), MasterKey::random().unwrap()).await.unwrap().close().await;
    let path = dir.path().join("same.db");
    let sqlite =
        StoreConfig { database_url: format!("sqlite://{}", path.display()), audio_dir: dir.path().join("audio") };
    Store::open(sqlite, MasterKey::random().unwrap()).await.unwrap().close().await;
    let (one, other) = (sqlite_words(&path).await, postgres_words(&config(dir.path()).database_url).await);
    assert!(one.len() > 150, "{}", one.len());
    let only = |these: &Words, those: &Words| these.difference(those).cloned().collect::<Vec<_>>();
    assert_eq!((only(&one, &other), only(&other, &one)), (Vec::new(), Vec::new()), "only SQLite, only PostgreSQL");
}

/// A certificate authority's file, named by the environment of the tests.
fn authority(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|path| !path.is_empty())
}

#[tokio::test]
async fn the_database_has_to_show_a_certificate_that_fits() {
    let Some((ours, anothers)) =
        authority("HEARTVOICE_TEST_POSTGRES_CA").zip(authority("HEARTVOICE_TEST_POSTGRES_WRONG_CA"))
    else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    create_database(dir.path()).await;
    let plain = config(dir.path()).database_url;
    let open = |url: String| {
        let config = StoreConfig { database_url: url, audio_dir: dir.path().join("audio") };
        Store::open(config, MasterKey::from_hex(common::KEY).unwrap())
    };
    let address = |host: &str, mode: &str, authority: &str| {
        format!("{}?sslmode={mode}&sslrootcert={authority}", plain.replace("127.0.0.1", host))
    };
    // Its certificate is for `localhost`.
    let store = open(address("localhost", "verify-full", &ours)).await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
    open(address("127.0.0.1", "verify-ca", &ours)).await.unwrap().close().await;
    for refused in [address("127.0.0.1", "verify-full", &ours), address("localhost", "verify-full", &anothers)] {
        let error = open(refused).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { doing: "connect to PostgreSQL", .. }), "{error}");
    }
}

#[test]
fn a_connection_is_private_when_it_stays_here_or_checks_the_other_side() {
    for (url, private) in [
        ("sqlite://x.db", true),
        ("postgresql://127.0.0.1/x", true),
        ("postgresql://[::1]/x", true),
        ("postgresql:///x?host=/var/run/postgresql", true),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/x", true),
        ("postgresql://db.example.org/x?sslmode=verify-ca", true),
        ("postgresql://db.example.org/x?sslmode=verify-full", true),
        ("postgresql://db.example.org/x", false),
        ("postgres://10.0.0.7/x?sslmode=require", false),
        ("postgresql://localhost.example.org/x", false),
        ("postgresql://db.example.org/x?sslmode=prefer", false),
    ] {
        assert_eq!(is_private_connection(url), private, "{url}");
    }
}
