//! One version of a table of chunks, opened: the indexes of its words and the files of its texts.
//!
//! - In: chunks. Out: the version that they see, the same for all who ask.
//! - Words and texts are of one version because one thing has both.
//! - Not here: how words are found (`words`), how rows are read (`texts`).

use super::VectorError;
use super::chunks::{Chunks, ELSEWHERE, outdated};
use super::texts::Texts;
use super::words::Words;
use lance::dataset::Dataset;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A version, and what was needed of it so far.
pub(super) struct Version {
    dataset: Arc<Dataset>,
    words: OnceCell<Words>,
    pub(super) texts: Texts,
}

impl Debug for Version {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Version");
        debug.field("number", &self.number()).finish_non_exhaustive()
    }
}

impl Version {
    fn new(dataset: Arc<Dataset>) -> Self {
        Self {
            texts: Texts::new(Arc::clone(&dataset)),
            words: OnceCell::new(),
            dataset,
        }
    }

    fn number(&self) -> u64 {
        self.dataset.manifest().version
    }

    /// The indexes of its words.
    pub(super) async fn words(&self) -> lance::Result<&Words> {
        self.words.get_or_try_init(|| Words::open(&self.dataset)).await
    }
}

impl Chunks {
    /// The version that these see.
    pub(super) async fn version(&self) -> Result<Arc<Version>, VectorError> {
        let table = self
            .table
            .dataset()
            .ok_or_else(|| outdated(&self.table, ELSEWHERE))?;
        let mut opened = self.opened.lock().await;
        // Asked for under the lock: who comes to it with an older one would put that in the place of a newer.
        let dataset = table.get().await.map_err(self.failed())?;
        let number = dataset.manifest().version;
        let there = opened.as_ref().filter(|version| version.number() == number);
        Ok(match there {
            Some(version) => Arc::clone(version),
            None => Arc::clone(opened.insert(Arc::new(Version::new(dataset)))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Vectors;
    use super::super::chunks::tests::{keys, saying};
    use super::*;
    use futures::future::try_join;
    use lancedb::index::scalar::MultiMatchQuery;

    #[tokio::test(flavor = "multi_thread")]
    async fn words_and_texts_are_of_one_version_whatever_is_written_meanwhile() {
        let data = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(data.path()).await.unwrap();
        let trees = saying(&["ash", "oak"]);
        let writer = vectors.chunks_with("trees", trees.schema()).await.unwrap();
        writer.replace(&keys(&["ash", "oak"]), &trees).await.unwrap();
        writer.optimize().await.unwrap();
        let mut reader = vectors.chunks("trees").await.unwrap().unwrap();
        let clone = reader.clone();
        let (before, same) = try_join(reader.version(), clone.version()).await.unwrap();
        assert!(Arc::ptr_eq(&before, &same), "it is opened once");

        writer.replace(&keys(&["ash"]), &saying(&[])).await.unwrap();
        assert!(Arc::ptr_eq(&before, &reader.version().await.unwrap()));
        assert!(reader.see_latest().await.unwrap());
        let after = reader.version().await.unwrap();
        assert!(Arc::ptr_eq(&after, &clone.version().await.unwrap()));

        let ash = MultiMatchQuery::try_new("ash".to_owned(), vec!["text".to_owned()]).unwrap();
        let mut addresses = Vec::new();
        for (version, rows) in [(&before, 1), (&after, 0)] {
            let words = version.words().await.unwrap();
            let (hits, are_all) = words.find(&ash, 10, None).await.unwrap().unwrap();
            assert!(are_all);
            assert_eq!(hits.len(), rows, "{version:?}");
            addresses.extend(hits.iter().map(|hit| hit.address));
            let read = version.texts.at(&addresses, &["text"]).await.unwrap();
            assert_eq!(read.num_rows(), rows, "{version:?}");
        }
    }
}
