//! Which files of a repository must not be read: by their own path, by that to which links lead, by what they ever held.
//!
//! - In: a repository, the folders of credentials, what is known of its history. Out: why a file is one, if it is.
//! - Not here: which names look like secrets (`roots`); what paths held (`history`).

use super::damaged;
use super::history::History;
use super::objects::Objects;
use crate::problem::{Kind, Problem};
use crate::roots::{NEVER_READ, is_secret_folder, is_secret_name};
use gix::bstr::{BStr, BString};
use gix::{ObjectId, Repository};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Why a file is not shown that is no secret by its path, after what it is.
const HELD_ONE: &str = "holds, or held in some commit, what was in a file that looks like a secret or is in a folder of \
                        credentials; those are never read";

/// What tells by its path alone whether a file must not be read.
pub(crate) struct Names {
    places: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Folders that were looked at, and whether all in them is secret: many files are in few.
    known: RefCell<HashMap<PathBuf, bool>>,
}

impl Names {
    /// That of a repository, with folders of credentials as they were configured.
    pub(crate) fn of(repository: &Path, secret_folders: &[PathBuf]) -> Self {
        let with_real = |path: &Path| {
            let real = std::fs::canonicalize(path).ok();
            real.into_iter()
                .filter(|real| real != path)
                .chain([path.to_owned()])
                .collect::<Vec<_>>()
        };
        Self {
            places: with_real(repository),
            folders: secret_folders
                .iter()
                .flat_map(|folder| with_real(folder))
                .collect(),
            known: RefCell::default(),
        }
    }

    /// Whether a file, named from the top of the repository, is one.
    pub(crate) fn has(&self, file: &BStr) -> bool {
        let file = Path::new(OsStr::from_bytes(file));
        self.places.iter().any(|place| {
            let file = place.join(file);
            is_secret_name(&file)
                || file.parent().is_some_and(|folder| self.is_secret(folder))
                || self.folders.iter().any(|folder| file.starts_with(folder))
        })
    }

    fn is_secret(&self, folder: &Path) -> bool {
        let mut known = self.known.borrow_mut();
        if let Some(is_secret) = known.get(folder) {
            return *is_secret;
        }
        let is_secret = is_secret_folder(folder);
        known.insert(folder.to_owned(), is_secret);
        is_secret
    }
}

/// The files that must not be read.
pub(crate) struct Withheld {
    names: Names,
    held: Arc<HashSet<BString>>,
}

impl Withheld {
    /// Those of a repository, after all commits that lead to this one, or to a branch or a tag.
    ///
    /// # Errors
    /// [`Problem`] when its history cannot be read, is too long, or it takes too long: what is a secret cannot be told then.
    pub(crate) fn of(
        repository: &Repository,
        objects: &Objects<'_>,
        names: Names,
        mut history: OwnedMutexGuard<History>,
        commit: ObjectId,
    ) -> Result<Self, Problem> {
        // A commit is added as a whole, so what a panic left is true.
        match history.read(repository, objects, &names, commit) {
            Ok(Some(held)) => Ok(Self { names, held }),
            Ok(None) => Err(Problem::new(
                Kind::TooLarge,
                "the repository has more history than is looked through for files that were secrets once",
            )),
            Err(_) if objects.is_over() => Err(Problem::new(
                Kind::Unavailable,
                "the history of the repository is looked through once for files that were secrets, and that takes longer; \
                 ask again: it goes on from where it was",
            )),
            Err(error) => {
                // It may be mended, or led to from nowhere, when it is asked for again.
                *history = History::default();
                Err(damaged(&error))
            }
        }
    }

    /// Why a file, named from the top of the repository, must not be read, after what it is.
    pub(crate) fn why(&self, file: &BStr) -> Option<&'static str> {
        match self.names.has(file) {
            true => Some(NEVER_READ),
            false => self.held.contains(file).then_some(HELD_ONE),
        }
    }
}
