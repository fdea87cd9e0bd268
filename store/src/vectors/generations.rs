//! Which table has the chunks of a dataset: one is made behind the one that answers, and takes its place when it is whole.
//!
//! - In: a dataset. Out: the table that answers.
//! - A table that takes another's place gets a number, and the highest answers. To give it one is to rename a folder, which
//!   is done or not done; whoever was killed before leaves a table without one, which the next that writes removes.
//! - What was replaced stays for a while: a reader that has it open reads on.
//! - Not here: what is in a table (`chunks`); vectors, which belong to texts and are the same for all tables (`space`).

use super::{Chunks, VectorError, Vectors};
use crate::error::with_causes;
use jiff::Timestamp;
use std::fs;

/// Seconds that a table stays when another has taken its place. A reader looks for that every few seconds, and ten minutes
/// are long for a query.
const STAYS: u64 = 600;

impl Vectors {
    /// The same store with those chunks that are made behind the ones that answer. Whoever has made all of them calls
    /// [`Self::switch`]. Vectors are the same.
    pub fn behind(&self) -> Self {
        Self {
            is_behind: true,
            ..self.clone()
        }
    }

    /// Whether this has the chunks that are made behind the ones that answer.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Puts the chunks that were made behind in the place of those that answer, whatever state these are in; where none
    /// were made, there are none from now on. Only for whoever holds the writer's lock.
    ///
    /// # Errors
    /// [`VectorError::Io`] when the folder cannot be read or renamed; then nothing has changed.
    pub fn switch(&self, dataset: &str) -> Result<(), VectorError> {
        let made = self.path(&behind(dataset));
        if !made.is_dir() {
            if !self.path(&self.answering(dataset)?).is_dir() {
                return Ok(());
            }
            // A folder without a table is none.
            fs::create_dir(&made).map_err(VectorError::io("create", &made))?;
        }
        let newest = self.numbers(dataset)?.pop();
        let number = now().max(newest.map_or(0, |newest| newest.saturating_add(1)));
        let place = self.path(&numbered(dataset, number));
        fs::rename(&made, &place).map_err(VectorError::io("make", &place))
    }

    /// Removes the chunks that nobody reads: those that were made behind by whoever was killed, and those that others took the
    /// place of ten minutes ago. What cannot be removed is told in the log, and is tried again the next time: nothing
    /// depends on it. Only for whoever holds the writer's lock.
    pub fn sweep(&self, dataset: &str) {
        let failed = |error: VectorError| {
            let error = with_causes(&error);
            tracing::warn!(
                error,
                "an index that nobody reads stays until the next try to remove it"
            );
        };
        let unread = self.unread(dataset).unwrap_or_else(|error| {
            failed(error);
            Vec::new()
        });
        for table in unread {
            if let Err(error) = self.delete(&table) {
                failed(error);
            }
        }
    }

    /// The tables of chunks that nobody reads. They may not be there.
    fn unread(&self, dataset: &str) -> Result<Vec<String>, VectorError> {
        let mut unread = vec![behind(dataset)];
        let mut replaced = self.numbers(dataset)?;
        let newest = replaced.pop();
        // A clock that was set back by more than that does not keep them for longer.
        if newest.is_some_and(|newest| now().abs_diff(newest) >= STAYS) {
            unread.push(dataset.to_owned());
            unread.extend(replaced.into_iter().map(|number| numbered(dataset, number)));
        }
        Ok(unread)
    }

    /// Removes what whoever was killed left of chunks made behind, for whoever makes them from the beginning. Only for
    /// whoever holds the writer's lock.
    ///
    /// # Errors
    /// [`VectorError::Io`] when files cannot be deleted.
    pub fn clear_behind(&self, dataset: &str) -> Result<(), VectorError> {
        self.delete(&behind(dataset))
    }

    /// Whether no others took the place of these chunks of a dataset since they were opened.
    ///
    /// # Errors
    /// [`VectorError::Io`] when the directory cannot be read.
    pub fn answers(&self, dataset: &str, chunks: &Chunks) -> Result<bool, VectorError> {
        Ok(self.table_of(dataset)? == chunks.name())
    }

    /// The table of a dataset's chunks.
    pub(super) fn table_of(&self, dataset: &str) -> Result<String, VectorError> {
        match self.is_behind {
            true => Ok(behind(dataset)),
            false => self.answering(dataset),
        }
    }

    fn answering(&self, dataset: &str) -> Result<String, VectorError> {
        let newest = self.numbers(dataset)?.pop();
        Ok(newest.map_or_else(|| dataset.to_owned(), |newest| numbered(dataset, newest)))
    }

    /// The numbers of the tables that took the place of another, the newest last.
    fn numbers(&self, dataset: &str) -> Result<Vec<u64>, VectorError> {
        let failed = || VectorError::io("read", &self.directory);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed())? {
            let folder = entry.map_err(failed())?.file_name();
            numbers.extend(folder.to_str().and_then(|folder| number_of(folder, dataset)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Seconds since 1970: when a table took the place of another is its number.
fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// Names of datasets have no `-`.
fn numbered(dataset: &str, number: u64) -> String {
    format!("{dataset}-{number}")
}

fn behind(dataset: &str) -> String {
    format!("{dataset}-behind")
}

fn number_of(folder: &str, dataset: &str) -> Option<u64> {
    let number = folder.strip_suffix(".lance")?.strip_prefix(dataset)?;
    number.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::chunks::tests::{keys, saying};
    use super::*;
    use arrow_array::cast::AsArray as _;
    use std::path::Path;

    /// What is made behind, as a process of its own has it.
    async fn making(data: &Path) -> Vectors {
        Vectors::open(data).await.unwrap().behind()
    }

    /// Chunks that say these words.
    async fn make(vectors: &Vectors, texts: &[&str]) -> Chunks {
        let all = saying(texts);
        let chunks = vectors.chunks_with("trees", all.schema()).await.unwrap();
        chunks.replace(&keys(texts), &all).await.unwrap();
        chunks
    }

    async fn said(chunks: &Chunks) -> Vec<String> {
        let all = chunks.all(&["text"], None).await.unwrap();
        let texts = all.column(0).as_string::<i32>().iter().flatten();
        let mut texts: Vec<String> = texts.map(str::to_owned).collect();
        texts.sort();
        texts
    }

    async fn answer(vectors: &Vectors) -> Vec<String> {
        match vectors.chunks("trees").await.unwrap() {
            Some(chunks) => said(&chunks).await,
            None => Vec::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_made_behind_answers_all_at_once() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let old = make(&vectors, &["ash"]).await;
        let made = make(&making(data.path()).await, &["elm"]).await;
        made.replace(&keys(&["oak"]), &saying(&["oak"])).await.unwrap();
        assert_eq!(answer(&vectors).await, ["ash"]);
        assert!(vectors.answers("trees", &old).unwrap());

        vectors.switch("trees").unwrap();
        assert_eq!(answer(&vectors).await, ["elm", "oak"]);
        assert!(!vectors.answers("trees", &old).unwrap());
        assert!(vectors.behind().chunks("trees").await.unwrap().is_none());
        // Once more, within the same second.
        make(&making(data.path()).await, &["yew"]).await;
        vectors.switch("trees").unwrap();
        assert_eq!(answer(&vectors).await, ["yew"]);
        // What comes next goes where the newest is.
        make(&vectors, &["fir"]).await;
        assert_eq!(answer(&vectors).await, ["fir", "yew"]);

        vectors.sweep("trees");
        assert_eq!(said(&old).await, ["ash"], "who reads it reads on");
        assert_eq!(answer(&vectors).await, ["fir", "yew"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_what_was_killed_or_replaced_nothing_stays() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let folders = || {
            let entries = fs::read_dir(data.path().join("vectors")).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        make(&vectors, &["ash"]).await;
        make(&making(data.path()).await, &["elm"]).await;
        vectors.sweep("trees");
        assert_eq!(folders(), ["trees.lance"]);
        assert_eq!(answer(&vectors).await, ["ash"]);

        for text in ["elm", "oak"] {
            make(&making(data.path()).await, &[text]).await;
            vectors.switch("trees").unwrap();
        }
        // As if that was long ago.
        for (number, folder) in folders().iter().filter(|folder| folder.contains('-')).enumerate() {
            let vectors = data.path().join("vectors");
            fs::rename(
                vectors.join(folder),
                vectors.join(format!("trees-{number}.lance")),
            )
            .unwrap();
        }
        assert_eq!(folders(), ["trees-0.lance", "trees-1.lance", "trees.lance"]);
        assert_eq!(answer(&vectors).await, ["oak"]);
        vectors.sweep("trees");
        assert_eq!(folders(), ["trees-1.lance"]);
        assert_eq!(answer(&vectors).await, ["oak"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_removed_keeps_nothing_else_and_is_tried_again() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let at = |table: &str| data.path().join("vectors").join(format!("{table}.lance"));
        make(&vectors, &["ash"]).await;
        make(&making(data.path()).await, &["elm"]).await;
        vectors.switch("trees").unwrap();
        // As if that was long ago.
        fs::rename(at(&vectors.table_of("trees").unwrap()), at("trees-1")).unwrap();
        // A file is not removed as a folder is.
        fs::write(at("trees-behind"), "").unwrap();
        vectors.sweep("trees");
        assert!(at("trees-behind").exists() && !at("trees").exists());
        assert_eq!(answer(&vectors).await, ["elm"]);
        // Nor is it what something may be made on top of.
        vectors.clear_behind("trees").unwrap_err();
        fs::remove_file(at("trees-behind")).unwrap();
        make(&making(data.path()).await, &["oak"]).await;
        vectors.sweep("trees");
        assert!(!at("trees-behind").exists());
        vectors.clear_behind("trees").unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_there_is_nothing_to_search_any_more_nothing_is_found() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        vectors.switch("trees").unwrap();
        assert_eq!(fs::read_dir(data.path().join("vectors")).unwrap().count(), 0);
        make(&vectors, &["ash"]).await;
        vectors.switch("trees").unwrap();
        assert!(vectors.chunks("trees").await.unwrap().is_none());
        make(&vectors, &["elm"]).await;
        assert_eq!(answer(&vectors).await, ["elm"]);
    }

    #[test]
    fn tables_of_others_are_told_apart() {
        for (folder, number) in [
            ("emails-12.lance", Some(12)),
            ("emails.lance", None),
            ("emails-behind.lance", None),
            ("emails.all-MiniLM-L6-v2.lance", None),
            ("email_attachments-12.lance", None),
            ("emails-12", None),
        ] {
            assert_eq!(number_of(folder, "emails"), number, "{folder}");
        }
    }
}
