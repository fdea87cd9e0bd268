//! The objects of a repository, for as long as somebody waits for what is made of them.
//!
//! - What asks for an object after the time is over, or after it was cancelled, is told that there was an error.
//! - At the border of a shallow clone commits have no parents, as git takes them.

use gix::objs::{CommitRef, Data, Find, FindHeader, Header, Kind, WriteTo as _};
use gix::{ObjectId, OdbHandle, Repository, oid};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The objects.
pub(crate) struct Objects<'a> {
    objects: &'a OdbHandle,
    border: BTreeSet<ObjectId>,
    deadline: Instant,
    cancel: &'a CancellationToken,
    is_over: Cell<bool>,
}

impl<'a> Objects<'a> {
    /// The objects of a repository, for so long.
    pub(crate) fn new(
        repository: &'a Repository,
        time: Duration,
        cancel: &'a CancellationToken,
    ) -> gix::Result<Self> {
        let commits = repository.shallow_commits()?;
        Ok(Self {
            objects: &repository.objects,
            border: commits
                .iter()
                .flat_map(|commits| commits.iter().copied())
                .collect(),
            deadline: Instant::now() + time,
            cancel,
            is_over: Cell::new(false),
        })
    }

    /// Whether something was refused because the time was over.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The commits at which history ends before its beginning.
    pub(super) fn border(&self) -> &BTreeSet<ObjectId> {
        &self.border
    }

    fn check(&self) -> gix::Result<()> {
        if self.is_over.get() || self.cancel.is_cancelled() || Instant::now() >= self.deadline {
            self.is_over.set(true);
            return Err(gix::Error::from_error(io::Error::from(io::ErrorKind::TimedOut)));
        }
        Ok(())
    }
}

impl Find for Objects<'_> {
    fn try_find<'b>(&self, id: &oid, buffer: &'b mut Vec<u8>) -> gix::Result<Option<Data<'b>>> {
        self.check()?;
        if !self.border.contains(&id.to_owned()) {
            return self.objects.try_find(id, buffer);
        }
        let mut cut = Vec::new();
        {
            let Some(found) = self.objects.try_find(id, buffer)? else {
                return Ok(None);
            };
            let mut commit = CommitRef::from_bytes(found.data, id.kind())?;
            commit.parents.clear();
            commit.write_to(&mut cut).map_err(gix::Error::from_error)?;
        }
        *buffer = cut;
        Ok(Some(Data::new(buffer, Kind::Commit, id.kind())))
    }
}

impl FindHeader for Objects<'_> {
    fn try_header(&self, id: &oid) -> gix::Result<Option<Header>> {
        self.check()?;
        self.objects.try_header(id)
    }
}
