//! Keys of a data directory: 32 random bytes, each in a file that its owner alone may read.
//!
//! - In: a path. Out: a [`Key`] to hash with, random bytes. Not here: what is hashed; passwords of sources.

use crate::directory::make_once;
use crate::error::StoreError;
use std::io;
use std::path::Path;
use std::{fmt, fs};

/// A key of BLAKE3's keyed hash.
#[derive(Clone)]
pub(crate) struct Key([u8; blake3::KEY_LEN]);

impl Key {
    /// The keyed hash of `bytes`.
    pub(crate) fn hash(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The key in the file `path`, which is made if it is not there.
///
/// # Errors
/// [`StoreError::Io`] when the file cannot be made or read, or is not a key.
pub(crate) fn private_key(path: &Path) -> Result<Key, StoreError> {
    if !path.exists() {
        make_once(path, &random_bytes(path)?)?;
    }
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let key: [u8; blake3::KEY_LEN] = bytes.try_into().map_err(|bytes: Vec<u8>| {
        let reason = format!(
            "a key has {} bytes, this one has {}; restore it from a backup",
            blake3::KEY_LEN,
            bytes.len()
        );
        StoreError::io("use", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
    })?;
    Ok(Key(key))
}

/// Random bytes of the system, for what belongs to the file `path`.
///
/// # Errors
/// [`StoreError::Io`] when the system has none.
pub(crate) fn random_bytes(path: &Path) -> Result<[u8; 32], StoreError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::io("get random bytes for", path)(io::Error::other(error.to_string())))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let first = private_key(&path).unwrap();
        make_once(&path, &[7; 32]).unwrap();
        assert_eq!(private_key(&path).unwrap().0, first.0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(format!("{first:?}"), "Key");
    }

    #[test]
    fn half_a_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        fs::write(&path, [7_u8; 16]).unwrap();
        assert!(private_key(&path).is_err());
    }
}
