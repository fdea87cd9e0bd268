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

/// The query that compares a dataset with itself.
fn comparison(dataset: &Dataset) -> String {
    let keys = |a: &str, b: &str| {
        let equal = |key: &&str| format!("{a}.\"{key}\" = {b}.\"{key}\"");
        dataset.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    };
    let differs = dataset
        .all_columns()
        .filter(|column| !dataset.key.contains(&column.name) && !NOT_COMPARED.contains(&column.name))
        // Bytes come with their digest.
        .filter(|column| column.kind != Kind::Bytes)
        .map(|column| {
            let name = column.name;
            format!("(n.\"{name}\" IS DISTINCT FROM o.\"{name}\")")
        })
        .collect::<Vec<_>>()
        .join(" OR ");
    let (now, then) = (
        format!("lake.main.{}", dataset.name),
        format!("{BEFORE}.main.{}", dataset.name),
    );
    let (n_is_o, o_is_n) = (keys("n", "o"), keys("o", "n"));
    format!(
        "SELECT 'insert' AS change, n.* FROM {now} n LEFT ANTI JOIN {then} o ON {n_is_o} \
         UNION ALL SELECT 'update' AS change, n.* FROM {now} n JOIN {then} o ON {n_is_o} WHERE {differs} \
         UNION ALL SELECT 'delete' AS change, o.* FROM {then} o LEFT ANTI JOIN {now} n ON {o_is_n}"
    )
}
