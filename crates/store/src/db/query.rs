//! One statement, whichever engine runs it.
//!
//! The shape follows sqlx's own `query(...).bind(...).fetch_all(...)`. Values are kept until the engine is known; a
//! statement's text is fixed at compile time, so nothing that was received can become part of it.

use super::tx::{Conn, On};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};
use std::marker::PhantomData;

/// A value for a placeholder. `None` is SQL's NULL of that type.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

/// A statement with its values.
#[must_use]
pub(crate) struct Query {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement that answers with one column.
#[must_use]
pub(crate) struct Scalar<T> {
    query: Query,
    answer: PhantomData<T>,
}

/// A row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What can be read from a row of either engine.
pub(crate) trait Readable:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Readable for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{}

/// What a changing statement did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done(u64);

impl Done {
    pub(crate) fn rows_affected(self) -> u64 {
        self.0
    }
}

pub(crate) fn query(text: &'static str) -> Query {
    Query { text, values: Vec::new() }
}

pub(crate) fn query_scalar<T: Readable>(text: &'static str) -> Scalar<T> {
    Scalar { query: query(text), answer: PhantomData }
}

impl Row {
    /// The value of a column.
    pub(crate) fn try_get<T: Readable>(&self, column: &str) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    fn first<T: Readable>(&self) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(0),
            Self::Postgres(row) => row.try_get(0),
        }
    }
}

impl Query {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it for what it changes.
    pub(crate) async fn execute<'c>(self, on: impl Into<On<'c>>) -> Result<Done, sqlx::Error> {
        let mut place = on.into().place().await?;
        let done = place.conn().execute(self.text, self.values).await?;
        place.done().await?;
        Ok(done)
    }

    /// All rows.
    pub(crate) async fn fetch_all<'c>(self, on: impl Into<On<'c>>) -> Result<Vec<Row>, sqlx::Error> {
        let mut place = on.into().place().await?;
        let rows = place.conn().fetch_all(self.text, self.values).await?;
        place.done().await?;
        Ok(rows)
    }

    /// The first row, if there is any.
    pub(crate) async fn fetch_optional<'c>(self, on: impl Into<On<'c>>) -> Result<Option<Row>, sqlx::Error> {
        let rows = self.fetch_all(on).await?;
        Ok(rows.into_iter().next())
    }

    /// The first row.
    pub(crate) async fn fetch_one<'c>(self, on: impl Into<On<'c>>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

impl<T: Readable> Scalar<T> {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    pub(crate) async fn fetch_all<'c>(self, on: impl Into<On<'c>>) -> Result<Vec<T>, sqlx::Error> {
        self.query.fetch_all(on).await?.iter().map(Row::first).collect()
    }

    pub(crate) async fn fetch_optional<'c>(self, on: impl Into<On<'c>>) -> Result<Option<T>, sqlx::Error> {
        self.query.fetch_optional(on).await?.map(|row| row.first()).transpose()
    }

    pub(crate) async fn fetch_one<'c>(self, on: impl Into<On<'c>>) -> Result<T, sqlx::Error> {
        self.query.fetch_one(on).await?.first()
    }
}

impl Conn {
    pub(super) async fn execute(&mut self, text: &'static str, values: Vec<Value>) -> Result<Done, sqlx::Error> {
        Ok(Done(match self {
            Self::Sqlite(conn) => sqlx::query_with(text, sqlite(values)?).execute(&mut **conn).await?.rows_affected(),
            Self::SqliteTx(tx) => sqlx::query_with(text, sqlite(values)?).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(conn) => {
                sqlx::query_with(text, postgres(values)?).execute(&mut **conn).await?.rows_affected()
            }
            Self::PostgresTx(tx) => sqlx::query_with(text, postgres(values)?).execute(&mut **tx).await?.rows_affected(),
        }))
    }

    pub(super) async fn fetch_all(&mut self, text: &'static str, values: Vec<Value>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(conn) => wrap(sqlx::query_with(text, sqlite(values)?).fetch_all(&mut **conn).await?),
            Self::SqliteTx(tx) => wrap(sqlx::query_with(text, sqlite(values)?).fetch_all(&mut **tx).await?),
            Self::Postgres(conn) => wrap_pg(sqlx::query_with(text, postgres(values)?).fetch_all(&mut **conn).await?),
            Self::PostgresTx(tx) => wrap_pg(sqlx::query_with(text, postgres(values)?).fetch_all(&mut **tx).await?),
        })
    }
}

fn wrap(rows: Vec<SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}

fn wrap_pg(rows: Vec<PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}

fn sqlite(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    use sqlx::Arguments;
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Blob(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
    use sqlx::Arguments;
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Blob(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

macro_rules! value {
    ($($from:ty => $variant:ident, $convert:expr;)+) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(Some($convert(value)))
            }
        }

        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )+};
}

value! {
    i64 => Integer, |value| value;
    &str => Text, str::to_owned;
    String => Text, |value| value;
    &String => Text, String::clone;
    Vec<u8> => Blob, |value| value;
    &Vec<u8> => Blob, Vec::clone;
    &[u8] => Blob, <[u8]>::to_vec;
}
