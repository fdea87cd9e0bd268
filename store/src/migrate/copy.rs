//! One part of a store from one end to the other.
//!
//! - In: both ends, each in a transaction. Out: the tables of the new one, equal to those of the old one.
//! - Not here: ending the transactions.

use super::end::End;
use super::table::{Digest, Table, replace_zeros, shared};
use super::{MigrateError, MovedTable};
use crate::database::Part;
use futures::TryStreamExt as _;

/// Rows that are written at once.
const CHUNK: usize = 1_000;

/// Copies all tables of a part. What is in those of the new place, which every new store has, goes.
///
/// # Errors
/// [`MigrateError`] when it is in use, does not fit, or does not arrive as it was.
pub(super) async fn copy(
    part: Part,
    from: &mut End<'_>,
    to: &mut End<'_>,
    told: &mut (impl FnMut(&MovedTable) + Send),
) -> Result<Vec<MovedTable>, MigrateError> {
    let tables = shared(&from.tables().await?, &to.tables().await?).map_err(MigrateError::Differ)?;
    from.lock(&tables, false).await?;
    to.lock(&tables, true).await?;
    if part == Part::State {
        let running = format!("SELECT run FROM {} WHERE state = 'running'", from.named("runs"));
        let running = from.texts(running).await?;
        if !running.is_empty() {
            return Err(MigrateError::AtWork(running));
        }
    }
    for table in &tables {
        // A new catalog has its snapshots and tables, and no file.
        if part == Part::Lake && table.name != "ducklake_data_file" {
            continue;
        }
        let count = format!("SELECT count(*) FROM {}", to.named(&table.name));
        if to.number(count).await? > 0 {
            return Err(MigrateError::NotEmpty(to.name().to_owned()));
        }
    }
    let mut moved = Vec::new();
    for table in &tables {
        to.run(format!("DELETE FROM {}", to.named(&table.name))).await?;
        let table = copy_table(part, from, to, table).await?;
        told(&table);
        moved.push(table);
    }
    Ok(moved)
}

async fn copy_table(
    part: Part,
    from: &mut End<'_>,
    to: &mut End<'_>,
    table: &Table,
) -> Result<MovedTable, MigrateError> {
    let (mut sent, mut arrived) = (Digest::default(), Digest::default());
    let (mut chunk, mut replaced) = (Vec::new(), 0);
    let takes_zeros = to.takes_zeros();
    let mut rows = from.read(table);
    while let Some(mut row) = rows.try_next().await? {
        if !takes_zeros && let Some(column) = table.zero_in(&row) {
            // What runs said is for people. What the catalog says of files is not, and the log of what was asked is held
            // together by digests.
            if part != Part::State {
                return Err(MigrateError::Zero {
                    table: table.name.clone(),
                    column: column.to_owned(),
                });
            }
            replaced += replace_zeros(&mut row);
        }
        sent.add(&row);
        chunk.push(row);
        if chunk.len() == CHUNK {
            to.write(table, std::mem::take(&mut chunk)).await?;
        }
    }
    to.write(table, chunk).await?;
    to.go_on_counting(table).await?;
    let mut rows = to.read(table);
    while let Some(row) = rows.try_next().await? {
        arrived.add(&row);
    }
    if arrived != sent {
        return Err(MigrateError::NotEqual(table.name.clone()));
    }
    Ok(MovedTable {
        table: format!("{}.{}", part.schema(), table.name),
        rows: sent.rows,
        replaced,
    })
}
