//! One end of a move: a part of a store, by the driver of its own database.
//!
//! - In: tables and rows of them. Out: the same, in the one form of `table`.

use super::table::{Class, Row, Table, Tables, Value, quoted};
use crate::error::StoreError;
use crate::relational::Server;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Postgres, Row as _, Sqlite};
use std::path::Path;
use std::sync::Arc;

/// Where sqlx writes down which files it applied: each side has its own.
const APPLIED: &str = "_sqlx_migrations";

/// A connection of either kind.
enum Driver<'c> {
    Sqlite(&'c mut SqliteConnection),
    /// With the schema that the tables are in.
    Postgres(&'c mut PgConnection, &'static str),
}

/// A part of a store, within the transaction of whoever made this.
pub(super) struct End<'c> {
    driver: Driver<'c>,
    name: Arc<str>,
}

impl<'c> End<'c> {
    /// A file.
    pub(super) fn sqlite(connection: &'c mut SqliteConnection, file: &Path) -> Self {
        Self {
            driver: Driver::Sqlite(connection),
            name: file.display().to_string().into(),
        }
    }

    /// A schema.
    pub(super) fn postgres(connection: &'c mut PgConnection, server: &Server, schema: &'static str) -> Self {
        Self {
            driver: Driver::Postgres(connection, schema),
            name: server.name().into(),
        }
    }

    /// Its name for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        let is_postgres = matches!(self.driver, Driver::Postgres(..));
        StoreError::database(self.name.clone(), is_postgres)
    }

    /// A table's name as statements have it.
    pub(super) fn named(&self, table: &str) -> String {
        match self.driver {
            Driver::Sqlite(_) => quoted(table),
            Driver::Postgres(_, schema) => format!("{}.{}", quoted(schema), quoted(table)),
        }
    }

    /// All tables, and their columns.
    pub(super) async fn tables(&mut self) -> Result<Tables, StoreError> {
        let failed = self.failed();
        let columns: Result<Vec<(String, String, String)>, sqlx::Error> = match &mut self.driver {
            Driver::Sqlite(connection) => {
                sqlx::query_as(
                    "SELECT m.name, c.name, '' FROM sqlite_master m JOIN pragma_table_info(m.name) c
                     WHERE m.type = 'table' AND substr(m.name, 1, 7) <> 'sqlite_'",
                )
                .fetch_all(&mut **connection)
                .await
            }
            Driver::Postgres(connection, schema) => {
                sqlx::query_as(
                    "SELECT t.table_name::text, c.column_name::text, c.udt_name::text
                     FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
                     WHERE t.table_schema = $1 AND t.table_type = 'BASE TABLE'",
                )
                .bind(*schema)
                .fetch_all(&mut **connection)
                .await
            }
        };
        let mut tables = Tables::new();
        for (table, column, kind) in columns.map_err(failed)? {
            if table != APPLIED {
                tables.entry(table).or_default().insert(column, Class::of(&kind));
            }
        }
        Ok(tables)
    }

    /// Lets nobody else write to these tables, to the end of the transaction. An exclusive lock lets nobody read, either.
    /// SQLite knows locks of files alone, which its transactions take.
    pub(super) async fn lock(&mut self, tables: &[Table], is_exclusive: bool) -> Result<(), StoreError> {
        if matches!(self.driver, Driver::Sqlite(_)) || tables.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = tables.iter().map(|table| self.named(&table.name)).collect();
        let mode = if is_exclusive { "ACCESS EXCLUSIVE" } else { "SHARE" };
        self.run(format!("LOCK TABLE {} IN {mode} MODE", names.join(", ")))
            .await
    }

    /// The one number that a query answers.
    pub(super) async fn number(&mut self, sql: String) -> Result<i64, StoreError> {
        let (failed, sql) = (self.failed(), AssertSqlSafe(sql));
        let number = match &mut self.driver {
            Driver::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(&mut **connection).await,
            Driver::Postgres(connection, _) => sqlx::query_scalar(sql).fetch_one(&mut **connection).await,
        };
        number.map_err(failed)
    }

    /// The texts that a query answers.
    pub(super) async fn texts(&mut self, sql: String) -> Result<Vec<String>, StoreError> {
        let (failed, sql) = (self.failed(), AssertSqlSafe(sql));
        let texts = match &mut self.driver {
            Driver::Sqlite(connection) => sqlx::query_scalar(sql).fetch_all(&mut **connection).await,
            Driver::Postgres(connection, _) => sqlx::query_scalar(sql).fetch_all(&mut **connection).await,
        };
        texts.map_err(failed)
    }

    /// Runs statements, one after the other.
    pub(super) async fn run(&mut self, sql: String) -> Result<(), StoreError> {
        let (failed, sql) = (self.failed(), sqlx::raw_sql(AssertSqlSafe(sql)));
        let done = match &mut self.driver {
            Driver::Sqlite(connection) => sql.execute(&mut **connection).await.map(drop),
            Driver::Postgres(connection, _) => sql.execute(&mut **connection).await.map(drop),
        };
        done.map_err(failed)
    }

    /// The rows of a table, as they are taken.
    pub(super) fn read<'a>(&'a mut self, table: &'a Table) -> BoxStream<'a, Result<Row, StoreError>> {
        let (failed, name) = (self.failed(), self.named(&table.name));
        match &mut self.driver {
            Driver::Sqlite(connection) => {
                let sql = format!("SELECT {} FROM {name}", table.quoted_columns().join(", "));
                sqlx::query(AssertSqlSafe(sql))
                    .fetch(&mut **connection)
                    .map(move |row| row.and_then(|row| of_sqlite(&row, table)).map_err(&failed))
                    .boxed()
            }
            Driver::Postgres(connection, _) => {
                let columns = table.columns.iter().map(|(column, class)| {
                    let column = quoted(column);
                    match class {
                        Class::Int => format!("{column}::bigint"),
                        Class::Flag => format!("{column}::int::bigint"),
                        Class::Text | Class::Uuid => format!("{column}::text"),
                        Class::Moment => format!("(extract(epoch FROM {column}) * 1000000)::bigint"),
                        Class::Bytes => column,
                    }
                });
                let columns: Vec<String> = columns.collect();
                let sql = format!("SELECT {} FROM {name}", columns.join(", "));
                sqlx::query(AssertSqlSafe(sql))
                    .fetch(&mut **connection)
                    .map(move |row| row.and_then(|row| of_postgres(&row, table)).map_err(&failed))
                    .boxed()
            }
        }
    }

    /// Appends rows to a table.
    pub(super) async fn write(&mut self, table: &Table, rows: Vec<Row>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let (failed, name) = (self.failed(), self.named(&table.name));
        let written = match &mut self.driver {
            Driver::Sqlite(connection) => to_sqlite(connection, table, &name, rows).await,
            Driver::Postgres(connection, _) => to_postgres(connection, table, &name, rows).await,
        };
        written.map_err(failed)
    }

    /// Whether a text with U+0000 can be kept.
    pub(super) fn takes_zeros(&self) -> bool {
        matches!(self.driver, Driver::Sqlite(_))
    }

    /// Lets numbers that a table gives by itself go on after those that are in it. SQLite does so by itself.
    pub(super) async fn go_on_counting(&mut self, table: &Table) -> Result<(), StoreError> {
        let (failed, name) = (self.failed(), self.named(&table.name));
        let Driver::Postgres(connection, _) = &mut self.driver else {
            return Ok(());
        };
        for (column, _) in &table.columns {
            let sequence: Option<String> = sqlx::query_scalar("SELECT pg_get_serial_sequence($1, $2)")
                .bind(&name)
                .bind(column)
                .fetch_one(&mut **connection)
                .await
                .map_err(&failed)?;
            let Some(sequence) = sequence else { continue };
            let column = quoted(column);
            let set = format!(
                "SELECT setval($1::text::regclass, coalesce(max({column}), 1), max({column}) IS NOT NULL) FROM {name}"
            );
            sqlx::query(AssertSqlSafe(set))
                .bind(sequence)
                .execute(&mut **connection)
                .await
                .map_err(&failed)?;
        }
        Ok(())
    }
}

fn of_sqlite(row: &SqliteRow, table: &Table) -> Result<Row, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let values = columns.map(|(place, (_, class))| {
        Ok(match class {
            Class::Int | Class::Flag => Value::Int(row.try_get(place)?),
            Class::Text => Value::Text(row.try_get(place)?),
            Class::Uuid => {
                let text: Option<String> = row.try_get(place)?;
                Value::Text(text.map(|text| text.to_ascii_lowercase()))
            }
            Class::Moment => {
                let text: Option<String> = row.try_get(place)?;
                let moment = text.map(|text| text.parse::<jiff::Timestamp>()).transpose();
                let moment = moment.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                Value::Int(moment.map(jiff::Timestamp::as_microsecond))
            }
            Class::Bytes => Value::Bytes(row.try_get(place)?),
        })
    });
    values.collect()
}

fn of_postgres(row: &PgRow, table: &Table) -> Result<Row, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let values = columns.map(|(place, (_, class))| {
        Ok(match class {
            Class::Int | Class::Flag | Class::Moment => Value::Int(row.try_get(place)?),
            Class::Text | Class::Uuid => Value::Text(row.try_get(place)?),
            Class::Bytes => Value::Bytes(row.try_get(place)?),
        })
    });
    values.collect()
}

async fn to_sqlite(
    connection: &mut SqliteConnection,
    table: &Table,
    name: &str,
    rows: Vec<Row>,
) -> Result<(), sqlx::Error> {
    let places: Vec<String> = (1..=table.columns.len())
        .map(|place| format!("${place}"))
        .collect();
    let sql: Arc<str> = format!(
        "INSERT INTO {name} ({}) VALUES ({})",
        table.quoted_columns().join(", "),
        places.join(", ")
    )
    .into();
    for row in rows {
        let mut insert = sqlx::query::<Sqlite>(AssertSqlSafe(sql.clone()));
        for (value, (_, class)) in row.into_iter().zip(&table.columns) {
            insert = match value {
                Value::Int(Some(moment)) if *class == Class::Moment => insert.bind(moment_text(moment)?),
                Value::Int(int) => insert.bind(int),
                Value::Text(text) => insert.bind(text),
                Value::Bytes(bytes) => insert.bind(bytes),
            };
        }
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A column of rows.
enum Cells {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

async fn to_postgres(
    connection: &mut PgConnection,
    table: &Table,
    name: &str,
    rows: Vec<Row>,
) -> Result<(), sqlx::Error> {
    let (mut all, mut arrays, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (column, class)) in (1..).zip(&table.columns) {
        let column = quoted(column);
        let (cells, kind, value) = match class {
            Class::Int => (Cells::Ints(Vec::new()), "bigint", column),
            Class::Flag => (Cells::Ints(Vec::new()), "bigint", format!("{column} <> 0")),
            Class::Text => (Cells::Texts(Vec::new()), "text", column),
            Class::Uuid => (Cells::Texts(Vec::new()), "text", format!("{column}::uuid")),
            Class::Moment => (Cells::Texts(Vec::new()), "text", format!("{column}::timestamptz")),
            Class::Bytes => (Cells::Bytes(Vec::new()), "bytea", column),
        };
        all.push(cells);
        arrays.push(format!("${place}::{kind}[]"));
        values.push(value);
    }
    for row in rows {
        for cell in row.into_iter().zip(&mut all) {
            match cell {
                (Value::Int(int), Cells::Ints(ints)) => ints.push(int),
                (Value::Int(moment), Cells::Texts(texts)) => texts.push(moment.map(moment_text).transpose()?),
                (Value::Text(text), Cells::Texts(texts)) => texts.push(text),
                (Value::Bytes(bytes), Cells::Bytes(all)) => all.push(bytes),
                _ => return Err(sqlx::Error::Encode("a value is not what its column holds".into())),
            }
        }
    }
    let columns = table.quoted_columns().join(", ");
    let sql = format!(
        "INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS rows ({columns})",
        values.join(", "),
        arrays.join(", ")
    );
    let mut insert = sqlx::query::<Postgres>(AssertSqlSafe(sql));
    for cells in all {
        insert = match cells {
            Cells::Ints(ints) => insert.bind(ints),
            Cells::Texts(texts) => insert.bind(texts),
            Cells::Bytes(bytes) => insert.bind(bytes),
        };
    }
    insert.execute(connection).await?;
    Ok(())
}

/// A moment as DuckDB writes a TIMESTAMPTZ, and so as SQLite's catalog has it.
fn moment_text(moment: i64) -> Result<String, sqlx::Error> {
    let moment = jiff::Timestamp::from_microsecond(moment);
    let moment = moment.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    Ok(moment.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string())
}
