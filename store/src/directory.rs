//! The data directory: its folders, and the lock of those who write.
//!
//! - In: a path. Out: folders and files that are their owner's alone and outlive a power cut; a [`Lock`].
//! - Not here: what is in it.

use crate::error::StoreError;
use crate::lake::data_file;
use schemas::{Home, datasets};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// How long whoever has the data directory alone is waited for. It deletes a few files, or is of an older dkc.
const ALONE: Duration = Duration::from_secs(10);

/// How often it is looked after.
const LOOKS: Duration = Duration::from_millis(20);

/// The lock of those who write, who hold it together. Whoever comes when nobody does has it alone until they share it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    data: PathBuf,
    is_alone: bool,
}

impl Lock {
    /// Takes the lock of a data directory: alone if nobody holds it, else together with those who do.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when somebody has it alone, and keeps it.
    pub(crate) async fn take(data: &Path) -> Result<Self, StoreError> {
        let path = data.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            // On a disk of another machine (NFS) only who may read can share a lock.
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        let is_alone = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        };
        let lock = Self {
            file,
            data: data.to_owned(),
            is_alone,
        };
        if !is_alone {
            lock.share().await?;
        }
        Ok(lock)
    }

    /// Whether nobody else held it when it was taken.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Holds it together with others from now on.
    ///
    /// # Errors
    /// As [`Lock::take`]: somebody may have been quicker.
    pub(crate) async fn share(&self) -> Result<(), StoreError> {
        let since = Instant::now();
        loop {
            match self.file.try_lock_shared() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if since.elapsed() < ALONE => tokio::time::sleep(LOOKS).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::InUse {
                        path: self.data.clone(),
                    });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::io("lock", self.data.join(".lock"))(error));
                }
            }
        }
    }
}

/// Makes a directory that only its owner may enter, and its name outlive a power cut.
pub(crate) fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(there) = path.ancestors().find(|ancestor| ancestor.is_dir()) else {
        return Err(StoreError::io("create", path)(io::ErrorKind::NotFound.into()));
    };
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::io("create", path)(error));
        }
        _ => {}
    }
    let holders = path.ancestors().skip(1);
    for holder in holders.take_while(|holder| holder.starts_with(there)) {
        data_file::sync_directory(holder)?;
    }
    Ok(())
}

/// Makes the directories of the lake. Those of a new one may be from a run that was killed before they were sure to
/// stay.
pub(crate) fn make_lake(data: &Path, files: &Path, is_new: bool) -> Result<(), StoreError> {
    for dataset in datasets::ALL.iter().filter(|dataset| dataset.home == Home::Lake) {
        let directory = files.join("main").join(dataset.name);
        if is_new || !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
            // A directory that a power cut undoes would take its fsynced files with it.
            for made in directory.ancestors().take_while(|path| path.starts_with(data)) {
                data_file::sync_directory(made)?;
            }
        }
    }
    Ok(())
}

/// Writes a small file that is its owner's alone (mode 0600) and outlives a power cut, unless it is there. It has another
/// name first: processes that make it at once all read what came first, and never half of it.
///
/// # Errors
/// [`StoreError::Io`] when it cannot be made.
pub(crate) fn make_once(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = |error| StoreError::io("create", path)(error);
    let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error.error)),
        _ => data_file::sync_directory(folder),
    }
}

/// Whether there is nothing in a file, or no file.
pub(crate) fn is_empty(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() == 0) || !file.exists()
}

/// Whether there are data files.
pub(crate) fn has_data_files(files: &Path) -> Result<bool, StoreError> {
    for dataset in datasets::ALL.iter().filter(|dataset| dataset.home == Home::Lake) {
        let directory = files.join("main").join(dataset.name);
        if !data_file::unnamed_files(&directory, |_| false)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
