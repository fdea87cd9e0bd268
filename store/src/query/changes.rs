//! What became of a dataset since a snapshot: rows inserted, updated and deleted, by key.
//!
//! Two snapshots are compared, not the files between them: a compaction changes every file and no row, and a row
//! that changed and changed back is as it was.

use super::{QueryError, Reader};
use crate::lake::index::NOT_COMPARED;
use datafusion::execution::SendableRecordBatchStream;
use schemas::{Dataset, Home, Kind};

/// The catalog of the earlier snapshot in a session that compares.
pub(super) const BEFORE: &str = "before";

impl Reader {
    /// Rows of a lake dataset that are not as they were at the snapshot `since`: a first column `change` says `insert`,
    /// `update` or `delete`, the others are those of the dataset, as they are now or, if deleted, as they were.
    ///
    /// # Errors
    /// [`QueryError::NotInLake`] for a dataset without snapshots; else as [`Reader::run_user_sql`].
    pub async fn changes(
        &self,
        dataset: &Dataset,
        since: i64,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        if dataset.home != Home::Lake {
            return Err(QueryError::NotInLake(dataset.name));
        }
        if let Some(as_of) = self.as_of
            && as_of < since
        {
            return Err(QueryError::Backwards { since, as_of });
        }
        let reader = Self {
            before: Some(since),
            ..self.clone()
        };
        reader.run_user_sql(&comparison(dataset)).await
    }
}

/// The query that compares a dataset with itself: digests of rows first, so that a table with long texts need not fit
/// into memory, then the rows of the keys that differ.
fn comparison(dataset: &Dataset) -> String {
    let (now, then) = (
        format!("lake.main.{}", dataset.name),
        format!("{BEFORE}.main.{}", dataset.name),
    );
    let keys = dataset.key.iter().map(|key| format!("\"{key}\""));
    let keys: Vec<String> = keys.collect();
    let listed = keys.join(", ");
    let equal = |a: &str, b: &str| {
        let equal = keys.iter().map(|key| format!("{a}.{key} = {b}.{key}"));
        equal.collect::<Vec<_>>().join(" AND ")
    };
    let either = keys
        .iter()
        .map(|key| format!("coalesce(n.{key}, o.{key}) AS {key}"));
    let either = either.collect::<Vec<_>>().join(", ");
    let first = keys.first().cloned().unwrap_or_default();
    let digest = digest(dataset);
    format!(
        "WITH n AS (SELECT {listed}, {digest} AS digest FROM {now}), \
              o AS (SELECT {listed}, {digest} AS digest FROM {then}), \
              c AS (SELECT {either}, CASE WHEN o.{first} IS NULL THEN 'insert' WHEN n.{first} IS NULL THEN 'delete' \
                           ELSE 'update' END AS change \
                    FROM n FULL OUTER JOIN o ON {n_is_o} WHERE n.digest IS DISTINCT FROM o.digest) \
         SELECT c.change, t.* FROM c JOIN {now} t ON {c_is_t} WHERE c.change <> 'delete' \
         UNION ALL SELECT c.change, t.* FROM c JOIN {then} t ON {c_is_t} WHERE c.change = 'delete'",
        n_is_o = equal("n", "o"),
        c_is_t = equal("c", "t"),
    )
}

/// A digest of what a row says, without its key and without when and by which run it was made. Bytes count by the
/// digest that stands beside them.
fn digest(dataset: &Dataset) -> String {
    let said = dataset
        .all_columns()
        .filter(|column| !dataset.key.contains(&column.name) && !NOT_COMPARED.contains(&column.name))
        .filter(|column| column.kind != Kind::Bytes)
        .map(|column| {
            let name = format!("\"{}\"", column.name);
            match column.kind {
                // With its length: an empty list is not a list of an empty text.
                Kind::TextList => format!("array_length({name}), chr(30), array_to_string({name}, chr(30))"),
                // NULL is not an empty text.
                _ => format!("{name} IS NULL, CAST({name} AS VARCHAR)"),
            }
        })
        .collect::<Vec<_>>()
        .join(", chr(31), ");
    format!("md5(concat({said}))")
}
