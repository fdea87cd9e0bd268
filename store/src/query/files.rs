//! The local files that a query may read, by the names that datafusion-ducklake gives them.
//!
//! - In: the path of a file as an object's name. Out: its bytes. Nothing can be written, listed or deleted.
//! - What cannot be read as the catalog names it is noted in [`Losses`]: the engine tells it in words of its own, and not
//!   always which file it was.
//! - datafusion-ducklake 0.7 builds the name with `Path::from`, which percent-encodes all that is not plain ASCII;
//!   object_store looks for a file of the name as it stands, and finds none in `/home/jürgen` (`%` itself, `#` and
//!   `~` are encoded too). So that is undone here.

use super::QueryError;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The last bytes of a Parquet file.
const MAGIC: &[u8] = b"PAR1";

/// The first file that one query could not read.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses(Arc<Mutex<Option<QueryError>>>);

impl Losses {
    /// Why the query failed: the file, if one was lost, or the error that it ended with.
    pub(super) fn blame(&self, error: QueryError) -> QueryError {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone().unwrap_or(error)
    }

    fn note(&self, file: String, how: &str) {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert_with(|| QueryError::Lost {
            file,
            how: how.to_owned(),
        });
    }
}

/// Reads local files.
#[derive(Debug)]
pub(super) struct Files {
    disk: LocalFileSystem,
    /// Where those of the lake are.
    folder: PathBuf,
    losses: Losses,
}

impl Files {
    /// The files of a lake, whose data files are in this folder.
    pub(super) fn of(folder: &std::path::Path, losses: &Losses) -> Self {
        Self {
            disk: LocalFileSystem::new(),
            folder: folder.to_owned(),
            losses: losses.clone(),
        }
    }

    /// An error that came of reading up to `end`, which is noted.
    async fn noted(&self, path: &Path, end: Option<u64>, error: Error) -> Error {
        let how = if matches!(error, Error::NotFound { .. }) {
            "is missing"
        } else if self.ends_before(path, end).await || !self.has_its_end(path).await {
            "is cut off or damaged"
        } else {
            "cannot be read"
        };
        self.losses.note(self.below(path), how);
        error
    }

    async fn ends_before(&self, path: &Path, end: Option<u64>) -> bool {
        let only_its_size = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.disk.get_opts(path, only_its_size).await;
        found.is_ok_and(|found| end.is_some_and(|end| end > found.meta.size))
    }

    /// Whether a file ends as Parquet files do; what is missing is told by whoever reads it.
    async fn has_its_end(&self, path: &Path) -> bool {
        let its_end = GetOptions {
            range: Some(GetRange::Suffix(MAGIC.len() as u64)),
            ..GetOptions::default()
        };
        let end = match self.disk.get_opts(path, its_end).await {
            Ok(end) => end.bytes().await,
            Err(error) => Err(error),
        };
        match end {
            Ok(end) => end == MAGIC,
            Err(error) => matches!(error, Error::NotFound { .. }),
        }
    }

    /// A file below the data directory.
    fn below(&self, path: &Path) -> String {
        let name: &str = path.as_ref();
        let whole = std::path::Path::new("/").join(name);
        match whole.strip_prefix(&self.folder) {
            Ok(below) => std::path::Path::new("lake/files")
                .join(below)
                .display()
                .to_string(),
            Err(_) => path.filename().unwrap_or_default().to_owned(),
        }
    }
}

impl std::fmt::Display for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("files of the lake")
    }
}

/// The path as it is on the disk.
fn decoded(location: &Path) -> Result<Path> {
    Ok(Path::from_url_path(location)?)
}

fn are_whole(read: &[Bytes], ranges: &[Range<u64>]) -> bool {
    let mut pairs = read.iter().zip(ranges);
    pairs.all(|(read, range)| read.len() as u64 == range.end - range.start)
}

/// What was read of the end of a file, where it ends as Parquet files do.
async fn with_its_end(read: GetResult) -> Result<GetResult> {
    let (meta, range) = (read.meta.clone(), read.range.clone());
    let attributes = read.attributes.clone();
    let bytes = read.bytes().await?;
    if !bytes.ends_with(MAGIC) {
        return Err(cut_off());
    }
    Ok(GetResult {
        payload: GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed()),
        meta,
        range,
        attributes,
    })
}

fn cut_off() -> Error {
    Error::Generic {
        store: "files of the lake",
        source: "the file ends before its end".into(),
    }
}

fn read_only() -> Error {
    Error::NotSupported {
        source: "a query only reads".into(),
    }
}

#[async_trait]
impl ObjectStore for Files {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = decoded(location)?;
        let end = match &options.range {
            Some(GetRange::Bounded(range)) => Some(range.end),
            _ => None,
        };
        // Whoever asks for it does not know how long the file should be.
        let is_of_the_end = matches!(options.range, Some(GetRange::Suffix(_)));
        let read = match self.disk.get_opts(&path, options).await {
            Ok(read) if is_of_the_end => with_its_end(read).await,
            // Of what is asked for it gives what there is, here and below, which the engine takes for something else.
            Ok(read) if end.is_some_and(|end| end > read.meta.size) => Err(cut_off()),
            read => read,
        };
        let mut result = match read {
            Ok(result) => result,
            Err(error) => return Err(self.noted(&path, end, error).await),
        };
        result.meta.location = location.clone();
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = decoded(location)?;
        let end = ranges.iter().map(|range| range.end).max();
        let read = match self.disk.get_ranges(&path, ranges).await {
            Ok(read) if !are_whole(&read, ranges) => Err(cut_off()),
            read => read,
        };
        match read {
            Ok(read) => Ok(read),
            Err(error) => Err(self.noted(&path, end, error).await),
        }
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.map(|_| Err(read_only())).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(read_only()) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(read_only())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}
