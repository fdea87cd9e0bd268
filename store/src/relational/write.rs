//! Rows → a table, within the transaction of whoever calls.
//!
//! - In: all rows, or those that came and the keys of those that left. Out: the table as it should be.
//! - Rows go in by COPY, a chunk at a time: what is held in memory is one batch of the lake.

use super::Publisher;
use super::rows::{Batch, Rows, Taken};
use super::table::{Table, listed};
use crate::error::StoreError;
use crate::lake::data_file;
use arrow_array::RecordBatch;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

/// Tables of the transaction: rows that came, before they are merged, and keys of those that left.
const CAME: &str = "dkc_came";
const LEFT: &str = "dkc_left";

/// Bytes that are sent at once.
const CHUNK: usize = 256 << 10;

/// Rows to be written.
pub(super) enum Came {
    /// They are here.
    Here(std::vec::IntoIter<RecordBatch>),
    /// The first of them are; the rest is read from the lake as it is taken.
    First(
        Option<RecordBatch>,
        mpsc::Receiver<Result<RecordBatch, StoreError>>,
    ),
}

impl Came {
    pub(super) fn first_of(
        first: Option<RecordBatch>,
        rest: mpsc::Receiver<Result<RecordBatch, StoreError>>,
    ) -> Self {
        Self::First(first, rest)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        match self {
            Self::Here(batches) => Ok(batches.next()),
            Self::First(first, rest) => match first.take() {
                Some(first) => Ok(Some(first)),
                None => rest.recv().await.transpose(),
            },
        }
    }
}

impl Publisher {
    /// Writes all rows of a table; what was in it goes.
    pub(super) async fn rewrite(
        &self,
        connection: &mut PgConnection,
        table: &Table,
        rows: Came,
    ) -> Result<Taken, StoreError> {
        let failed = self.failed();
        let there: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        )
        .bind(table.name())
        .fetch_all(&mut *connection)
        .await
        .map_err(&failed)?;
        let begin = if there.is_empty() {
            table.create()
        } else {
            // The table stays the one that its owner granted and made views of.
            let empty = format!("TRUNCATE {}", table.name());
            [empty, table.drop_indexes(), table.alter(&there)].join("; ")
        };
        run(connection, begin).await.map_err(&failed)?;
        let taken = self.copy(connection, table, &table.name(), rows).await?;
        let end = [table.indexes(), table.comments()].join("; ");
        run(connection, end).await.map_err(&failed)?;
        Ok(taken)
    }

    /// Takes the rows that left out of a table and puts those that came into it; how many came, and how many left.
    pub(super) async fn merge(
        &self,
        connection: &mut PgConnection,
        table: &Table,
        left: Vec<RecordBatch>,
        rows: Came,
    ) -> Result<(Taken, u64), StoreError> {
        let failed = self.failed();
        let (name, key) = (table.name(), table.key());
        let key_list = listed(key.iter().cloned());
        let begin = format!(
            "CREATE TEMPORARY TABLE {LEFT} ON COMMIT DROP AS SELECT {key_list} FROM {name} WITH NO DATA;
             CREATE TEMPORARY TABLE {CAME} (LIKE {name}) ON COMMIT DROP"
        );
        run(connection, begin).await.map_err(&failed)?;
        let keys = Table::new(table.dataset, |_| false);
        let left = Came::Here(left.into_iter());
        let left = self.copy(connection, &keys, LEFT, left).await?;
        let taken = self.copy(connection, table, CAME, rows).await?;
        let same_key: Vec<String> = key
            .iter()
            .map(|column| format!("there.{column} = gone.{column}"))
            .collect();
        let columns = table.quoted_columns();
        let renewed = columns
            .iter()
            .map(|column| format!("{column} = EXCLUDED.{column}"));
        let renewed = listed(renewed);
        let columns = listed(columns.iter().cloned());
        let merge = format!(
            "ANALYZE {LEFT}; DELETE FROM {name} there USING {LEFT} gone WHERE {};
             INSERT INTO {name} ({columns}) SELECT {columns} FROM {CAME} ON CONFLICT ({key_list}) DO UPDATE SET {renewed}",
            same_key.join(" AND ")
        );
        run(connection, merge).await.map_err(&failed)?;
        Ok((taken, left.rows))
    }

    /// Sends rows to a table, chunk by chunk.
    async fn copy(
        &self,
        connection: &mut PgConnection,
        table: &Table,
        target: &str,
        mut came: Came,
    ) -> Result<Taken, StoreError> {
        let failed = self.failed();
        let columns = table.column_names();
        let statement = format!(
            "COPY {target} ({}) FROM STDIN (FORMAT binary)",
            listed(table.quoted_columns())
        );
        let mut copy = connection.copy_in_raw(&statement).await.map_err(&failed)?;
        let mut rows = Rows::new(table.key_places());
        while let Some(batch) = came.next().await? {
            let batch = data_file::to_columns(table.dataset, &columns, &batch)?;
            let seen = Batch::of(&batch)?;
            for row in 0..batch.num_rows() {
                rows.push(&seen, row)?;
                if rows.bytes().len() >= CHUNK {
                    copy.send(rows.bytes()).await.map_err(&failed)?;
                    rows.clear();
                }
            }
        }
        let taken = rows.end();
        copy.send(rows.bytes()).await.map_err(&failed)?;
        copy.finish().await.map_err(&failed)?;
        Ok(taken)
    }
}

/// Runs statements, one after the other.
pub(super) async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
