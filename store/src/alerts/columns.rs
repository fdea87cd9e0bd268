//! Which columns each dataset had: what is other than before is told for a day.
//!
//! - In: the columns there are now. Out: those that came and went of late. The first sight of a dataset is no news.

use super::AlertLog;
use crate::error::StoreError;
use schemas::Instant;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::{BTreeMap, BTreeSet};

/// How long a change is told. In microseconds.
const SHOWN: i64 = 24 * 3_600 * 1_000_000;

/// That a dataset has other columns than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnsChanged {
    /// The dataset.
    pub dataset: String,
    /// Columns that came.
    pub added: Vec<String>,
    /// Columns that went.
    pub removed: Vec<String>,
}

/// What is remembered of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remembered {
    names: BTreeSet<String>,
    /// What they were before they last changed, and when that was.
    before: Option<(BTreeSet<String>, Instant)>,
}

impl Remembered {
    /// What is to be remembered once these columns were seen.
    fn after(self, names: &BTreeSet<String>, now: Instant) -> Self {
        let is_shown = |at: Instant| now.saturating_sub(at) < SHOWN;
        let before = self.before.filter(|(_, at)| is_shown(*at));
        let before = match *names == self.names {
            true => before,
            false => Some((before.map_or(self.names, |(names, _)| names), now)),
        };
        Self {
            names: names.clone(),
            // What is as it was before is no change.
            before: before.filter(|(before, _)| before != names),
        }
    }
}

impl AlertLog {
    /// Notes the columns that each dataset has, and tells what changed within the last day.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn columns_changed(
        &self,
        there: &BTreeMap<String, BTreeSet<String>>,
        now: Instant,
    ) -> Result<Vec<ColumnsChanged>, StoreError> {
        let failed = self.database.failed();
        let rows = sqlx::query("SELECT dataset, names, names_before, changed_at FROM alerts_columns")
            .fetch_all(self.database.pool())
            .await
            .map_err(&failed)?;
        let known = rows.iter().map(remembered_of).collect::<Result<_, _>>();
        let mut known: BTreeMap<String, Remembered> = known.map_err(&failed)?;
        let none = BTreeSet::new();
        let datasets: BTreeSet<String> = known.keys().chain(there.keys()).cloned().collect();
        let (mut changed, mut news) = (Vec::new(), Vec::new());
        for dataset in datasets {
            let names = there.get(&dataset).unwrap_or(&none);
            let old = known.remove(&dataset);
            let new = match old.clone() {
                Some(old) => old.after(names, now),
                None => Remembered {
                    names: names.clone(),
                    before: None,
                },
            };
            if let Some((before, _)) = &new.before {
                changed.push(ColumnsChanged {
                    dataset: dataset.clone(),
                    added: names.difference(before).cloned().collect(),
                    removed: before.difference(names).cloned().collect(),
                });
            }
            if old.as_ref() != Some(&new) {
                news.push((dataset, new));
            }
        }
        if !news.is_empty() {
            self.remember(&news).await?;
        }
        Ok(changed)
    }

    async fn remember(&self, news: &[(String, Remembered)]) -> Result<(), StoreError> {
        let failed = self.database.failed();
        let list = |names: &BTreeSet<String>| serde_json::json!(names).to_string();
        let mut transaction = self.database.begin_alone().await?;
        for (dataset, new) in news {
            sqlx::query(
                "INSERT INTO alerts_columns (dataset, names, names_before, changed_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (dataset) DO UPDATE SET names = excluded.names,
                     names_before = excluded.names_before, changed_at = excluded.changed_at",
            )
            .bind(dataset.as_str())
            .bind(list(&new.names))
            .bind(new.before.as_ref().map(|(names, _)| list(names)))
            .bind(new.before.as_ref().map(|(_, at)| *at))
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }
}

fn remembered_of(row: &AnyRow) -> Result<(String, Remembered), sqlx::Error> {
    let list = |text: String| -> Result<BTreeSet<String>, sqlx::Error> {
        serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    let before: Option<String> = row.try_get("names_before")?;
    let changed_at: Option<Instant> = row.try_get("changed_at")?;
    let remembered = Remembered {
        names: list(row.try_get("names")?)?,
        before: before.map(list).transpose()?.zip(changed_at),
    };
    Ok((row.try_get("dataset")?, remembered))
}
