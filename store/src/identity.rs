//! The id of a data directory, in a file in it: by it a database that keeps the directory's lake knows it again, wherever
//! it was moved or restored to.
//!
//! - In: a data directory. Out: its id. Not here: comparing it with that of a database (`lake::catalog`).

use crate::directory::make_once;
use crate::error::StoreError;
use std::fs;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// The file.
const FILE: &str = "data.id";

/// The id of a data directory, if it has one.
///
/// # Errors
/// [`StoreError::Io`] when the file cannot be read, or holds no id.
pub(crate) fn of(data: &Path) -> Result<Option<Uuid>, StoreError> {
    let path = data.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", &path)(error)),
    };
    let id = text.trim().parse::<Uuid>().map_err(|_| {
        let reason = "it holds no id; restore it from a backup";
        StoreError::io("use", &path)(io::Error::new(io::ErrorKind::InvalidData, reason))
    })?;
    Ok(Some(id))
}

/// Whether a data directory has an id, whatever it is.
pub(crate) fn is_there(data: &Path) -> bool {
    data.join(FILE).exists()
}

/// Gives a data directory an id, if it has none yet; the one that it has then.
///
/// # Errors
/// [`StoreError::Io`] when the file cannot be made or read, or holds no id.
pub(crate) fn give(data: &Path, id: Uuid) -> Result<Uuid, StoreError> {
    if let Some(known) = of(data)? {
        return Ok(known);
    }
    make_once(&data.join(FILE), format!("{id}\n").as_bytes())?;
    Ok(of(data)?.unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_id_is_given_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            (of(folder.path()).unwrap(), is_there(folder.path())),
            (None, false)
        );
        let first = Uuid::now_v7();
        assert_eq!(give(folder.path(), first).unwrap(), first);
        assert_eq!(give(folder.path(), Uuid::now_v7()).unwrap(), first);
        assert_eq!(
            (of(folder.path()).unwrap(), is_there(folder.path())),
            (Some(first), true)
        );
        let file = fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn all_who_give_one_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<Uuid> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| give(folder.path(), Uuid::now_v7()).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn what_is_no_id_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "").unwrap();
        for refused in [of(folder.path()).err(), give(folder.path(), Uuid::now_v7()).err()] {
            assert!(matches!(refused, Some(StoreError::Io { .. })), "{refused:?}");
        }
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"");
    }
}
