//! Making the catalog: the DuckLake tables, and a table with columns for every lake dataset.

use super::commit::insert_snapshot;
use super::owner::{Claim, Whose};
use super::seal::{AUTHOR, seal};
use super::{Catalog, CommitInfo, head, hold};
use crate::database::sql;
use crate::error::StoreError;
use crate::lake::data_file::column_ids;
use schemas::{Column, Dataset, Home, Kind};
use sqlx::{Any, AnyConnection, Row, Transaction};
use std::collections::{HashMap, HashSet};

impl Catalog {
    /// Whether there is no catalog yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub(crate) async fn is_new(&self) -> Result<bool, StoreError> {
        let mut connection = self.database.pool().acquire().await.map_err(self.failed())?;
        is_new(&mut connection).await.map_err(self.failed())
    }

    /// Sees that the lake is that of its data directory, makes what is missing, with a table for every lake dataset, and
    /// corrects where the files lie.
    ///
    /// # Errors
    /// [`StoreError::OtherDirectory`] when it is that of another data directory; else when the database fails, or when a
    /// table there does not fit its dataset.
    pub(crate) async fn bootstrap(&mut self, claim: Claim) -> Result<(), StoreError> {
        let failed = self.failed();
        let data_path = format!("{}/", self.files.display());
        if !self.is_new().await? {
            let mut connection = self.database.pool().acquire().await.map_err(&failed)?;
            let known = self.known(&mut connection).await?;
            drop(connection);
            let is_right = known.data_path.as_deref() == Some(data_path.as_str());
            if known.is_enough_for(claim) && is_right && self.missing().await?.is_empty() {
                self.owner = known.owner();
                return Ok(());
            }
        }
        let mut tx = self.database.begin_alone().await?;
        if is_new(&mut tx).await.map_err(&failed)? {
            make(&mut tx).await.map_err(&failed)?;
        } else {
            hold(&mut tx).await.map_err(&failed)?;
        }
        let known = self.known(&mut tx).await?;
        match claim {
            Claim::Make => self.sign(&mut tx, &known).await?,
            Claim::Leave => self.owner = known.owner(),
        }
        // An empty lake may be that of another directory. Whoever only reads finds nothing there, wherever it lies.
        if known.data_path.is_none() || claim == Claim::Make || known.whose != Whose::Free {
            // The data directory may have moved since; DuckDB reads the path from here.
            sqlx::query("DELETE FROM ducklake_metadata WHERE key = 'data_path' AND scope IS NULL")
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            sqlx::query("INSERT INTO ducklake_metadata (key, value) VALUES ('data_path', $1)")
                .bind(&data_path)
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        self.create_missing(&mut tx).await?;
        tx.commit().await.map_err(&failed)
    }

    /// The columns that each lake dataset has and its table does not; a new table lacks all of them.
    async fn missing(&self) -> Result<Vec<(&'static Dataset, Vec<(&'static Column, i64)>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT t.table_name, c.column_id, c.column_name, c.column_type
             FROM ducklake_table t JOIN ducklake_column c ON c.table_id = t.table_id
             WHERE t.end_snapshot IS NULL AND c.end_snapshot IS NULL AND c.parent_column IS NULL",
        )
        .fetch_all(self.database.pool())
        .await
        .map_err(self.failed())?;
        let mut there: HashMap<(String, String), (i64, String)> = HashMap::new();
        for row in rows {
            let cell = |i: usize| row.try_get::<String, _>(i).map_err(self.failed());
            there.insert(
                (cell(0)?, cell(2)?),
                (row.try_get(1).map_err(self.failed())?, cell(3)?),
            );
        }
        let mut missing = Vec::new();
        for dataset in schemas::datasets::ALL.iter().filter(|d| d.home == Home::Lake) {
            let mut lacks = Vec::new();
            for (column, id) in column_ids(dataset) {
                match there.get(&(dataset.name.to_owned(), column.name.to_owned())) {
                    None => lacks.push((column, id)),
                    Some((found, kind)) if *found == id && kind == ducklake_type(column.kind) => {}
                    Some((found, kind)) => {
                        return Err(StoreError::Unfit {
                            reason: format!(
                                "in `{}`, column {}.{} is {kind} with id {found}, and should be {} with id {id}",
                                self.database.name(),
                                dataset.name,
                                column.name,
                                ducklake_type(column.kind)
                            ),
                        });
                    }
                }
            }
            if !lacks.is_empty() {
                missing.push((*dataset, lacks));
            }
        }
        Ok(missing)
    }

    /// Creates the tables and columns that [`Catalog::missing`] finds, in one snapshot.
    async fn create_missing(&self, tx: &mut Transaction<'static, Any>) -> Result<(), StoreError> {
        let failed = self.failed();
        let mut head = head(tx).await.map_err(&failed)?;
        let id = head.id + 1;
        let mut changes = Vec::new();
        for dataset in schemas::datasets::ALL.iter().filter(|d| d.home == Home::Lake) {
            let known: Option<i64> = sqlx::query_scalar(
                "SELECT table_id FROM ducklake_table WHERE table_name = $1 AND end_snapshot IS NULL",
            )
            .bind(dataset.name)
            .fetch_optional(&mut **tx)
            .await
            .map_err(&failed)?;
            let table_id = known.unwrap_or(head.next_catalog_id);
            if known.is_none() {
                head.next_catalog_id += 1;
                sqlx::query(self.database.sql(
                    "INSERT INTO ducklake_table VALUES ($1, $2, $3, NULL, 0, $4, $5, TRUE)",
                    "INSERT INTO ducklake_table VALUES ($1, CAST($2 AS UUID), $3, NULL, 0, $4, $5, TRUE)",
                ))
                .bind(table_id)
                .bind(uuid::Uuid::now_v7().to_string())
                .bind(id)
                .bind(dataset.name)
                .bind(format!("{}/", dataset.name))
                .execute(&mut **tx)
                .await
                .map_err(&failed)?;
                sqlx::query("INSERT INTO ducklake_table_stats VALUES ($1, 0, 0, 0)")
                    .bind(table_id)
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
                sqlx::query("INSERT INTO ducklake_tag VALUES ($1, $2, NULL, 'comment', $3)")
                    .bind(table_id)
                    .bind(id)
                    .bind(dataset.about)
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
                changes.push(format!("created_table:\"main\".\"{}\"", dataset.name));
            }
            let present: HashSet<String> = sqlx::query_scalar(
                "SELECT column_name FROM ducklake_column
                 WHERE table_id = $1 AND end_snapshot IS NULL AND parent_column IS NULL",
            )
            .bind(table_id)
            .fetch_all(&mut **tx)
            .await
            .map_err(&failed)?
            .into_iter()
            .collect();
            let mut added = false;
            for (column, column_id) in column_ids(dataset) {
                if !present.contains(column.name) {
                    insert_column(tx, table_id, id, column, column_id)
                        .await
                        .map_err(&failed)?;
                    added = true;
                }
            }
            if added {
                if known.is_some() {
                    changes.push(format!("altered_table:{table_id}"));
                }
                sqlx::query("INSERT INTO ducklake_schema_versions VALUES ($1, $2, $3)")
                    .bind(id)
                    .bind(head.schema_version + 1)
                    .bind(table_id)
                    .execute(&mut **tx)
                    .await
                    .map_err(&failed)?;
            }
        }
        if !changes.is_empty() {
            head.schema_version += 1;
            insert_snapshot(
                tx,
                head,
                &changes.join(","),
                "create tables",
                &CommitInfo::default(),
            )
            .await
            .map_err(&failed)?;
        }
        Ok(())
    }
}

async fn is_new(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let count = sql(
        connection,
        "SELECT count(*) FROM sqlite_master WHERE name = 'ducklake_snapshot'",
        "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'ducklake_snapshot'",
    );
    let there: i64 = sqlx::query_scalar(count).fetch_one(connection).await?;
    Ok(there == 0)
}

/// Makes the DuckLake tables and the first snapshot, which is empty.
async fn make(tx: &mut Transaction<'static, Any>) -> Result<(), sqlx::Error> {
    let tables = sql(
        tx,
        include_str!("../../../migrations/sqlite/lake/0001_ducklake.sql"),
        include_str!("../../../migrations/postgres/lake/0001_ducklake.sql"),
    );
    sqlx::raw_sql(tables).execute(&mut **tx).await?;
    let snapshot = sql(
        tx,
        "INSERT INTO ducklake_snapshot VALUES (0, $1, 0, 1, 0)",
        "INSERT INTO ducklake_snapshot VALUES (0, CAST($1 AS TIMESTAMPTZ), 0, 1, 0)",
    );
    sqlx::query(snapshot)
        .bind(super::now_text())
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO ducklake_snapshot_changes VALUES (0, 'created_schema:\"main\"', $1, NULL, NULL)",
    )
    .bind(AUTHOR)
    .execute(&mut **tx)
    .await?;
    let schema = sql(
        tx,
        "INSERT INTO ducklake_schema VALUES (0, $1, 0, NULL, 'main', 'main/', TRUE)",
        "INSERT INTO ducklake_schema VALUES (0, CAST($1 AS UUID), 0, NULL, 'main', 'main/', TRUE)",
    );
    sqlx::query(schema)
        .bind(uuid::Uuid::now_v7().to_string())
        .execute(&mut **tx)
        .await?;
    seal(tx, None, 0, &CommitInfo::default()).await
}

fn ducklake_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "varchar",
        Kind::TextList => "list",
        Kind::Int => "int64",
        Kind::Float => "float64",
        Kind::Bool => "boolean",
        Kind::Instant => "timestamptz",
        Kind::Bytes => "blob",
    }
}

async fn insert_column(
    tx: &mut Transaction<'static, Any>,
    table_id: i64,
    snapshot: i64,
    column: &Column,
    column_id: i64,
) -> Result<(), sqlx::Error> {
    let mut rows = vec![(
        column_id,
        column.name,
        ducklake_type(column.kind),
        column.nullable,
        None,
    )];
    if column.kind == Kind::TextList {
        rows.push((
            column_id + 1,
            "element",
            ducklake_type(Kind::Text),
            true,
            Some(column_id),
        ));
    }
    for (id, name, kind, nullable, parent) in rows {
        sqlx::query("INSERT INTO ducklake_column VALUES ($1, $2, NULL, $3, $1, $4, $5, NULL, 'NULL', $6, $7, 'literal', 'duckdb')")
            .bind(id)
            .bind(snapshot)
            .bind(table_id)
            .bind(name)
            .bind(kind)
            .bind(nullable)
            .bind(parent)
            .execute(&mut **tx)
            .await?;
    }
    sqlx::query("INSERT INTO ducklake_column_tag VALUES ($1, $2, $3, NULL, 'comment', $4)")
        .bind(table_id)
        .bind(column_id)
        .bind(snapshot)
        .bind(column.doc)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
