//! What is in a file of a commit, and whether it is text.
//!
//! - Binary is what git takes for binary: what `.gitattributes` say, else a zero byte near the start.
//! - A link's content is where it leads, a submodule's the line that git shows for it.

use super::recent::Recent;
use super::rules::attribute_files;
use super::similarity::Chunks;
use gix::attrs::StateRef;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::object::tree::{EntryKind, EntryMode};
use gix::objs::FindExt;
use gix::worktree::stack::state::attributes::Source;
use gix::{ObjectId, Repository, objs};
use std::cell::RefCell;
use std::sync::{Arc, Mutex};

/// A zero byte within these makes a file binary (`FIRST_FEW_BYTES` in `xdiff-interface.c`).
const LOOKED_AT: usize = 8_000;

/// Larger files are binary, and are not read (`core.bigFileThreshold`).
const LARGEST_TEXT: u64 = 512 << 20;

/// A file as a commit has it.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: BString,
    pub(super) mode: EntryMode,
    pub(super) id: ObjectId,
}

impl File {
    /// The last part of the path.
    pub(super) fn name(&self) -> &BStr {
        match self.path.rfind_byte(b'/') {
            Some(at) => self.path.get(at + 1..).unwrap_or_default().as_bstr(),
            None => self.path.as_bstr(),
        }
    }

    /// Whether it is neither link nor submodule.
    pub(super) fn is_regular(&self) -> bool {
        self.mode.is_blob()
    }
}

/// Bytes of trees that are kept for that.
const RECENT_TREES_BYTES: usize = 8 << 20;

/// Reads the files of one repository.
pub(super) struct Contents {
    pub(super) repository: Repository,
    /// Files read a moment ago, by any thread.
    files: Arc<Mutex<Recent>>,
    trees: RefCell<Recent>,
    attributes: Option<Attributes>,
}

/// Looks up the attribute `diff`, when there are attributes at all.
struct Attributes {
    stack: gix::worktree::Stack,
    found: gix::attrs::search::Outcome,
}

/// The content of a file.
pub(super) enum Content {
    /// Lines.
    Text,
    /// No lines.
    Binary,
}

impl Contents {
    /// A reader of its own for each thread.
    pub(super) fn new(repository: Repository, files: Arc<Mutex<Recent>>) -> gix::Result<Self> {
        let attributes = Attributes::of(&repository)?;
        Ok(Self {
            repository,
            files,
            trees: RefCell::new(Recent::new(RECENT_TREES_BYTES)),
            attributes,
        })
    }

    /// The size of a file in bytes.
    pub(super) fn size(&self, file: &File) -> gix::Result<u64> {
        Ok(self.repository.find_header(file.id)?.size())
    }

    /// Reads a file; what is binary need not be whole.
    pub(super) fn read(&mut self, file: &File, into: &mut Vec<u8>) -> gix::Result<Content> {
        into.clear();
        match file.mode.kind() {
            EntryKind::Commit => {
                into.extend_from_slice(format!("Subproject commit {}\n", file.id).as_bytes());
                return Ok(Content::Text);
            }
            EntryKind::Link | EntryKind::Tree => {}
            EntryKind::Blob | EntryKind::BlobExecutable => match self.declared(file)? {
                Some(Content::Binary) => return Ok(Content::Binary),
                Some(Content::Text) => {
                    self.blob(&file.id, into)?;
                    return Ok(Content::Text);
                }
                None => {}
            },
        }
        // What is kept was small enough; the size of any other is looked up, at the cost of a walk to its base.
        if !self.take_kept(&file.id, into) {
            if self.size(file)? > LARGEST_TEXT {
                return Ok(Content::Binary);
            }
            self.repository.objects.find_blob(&file.id, into)?;
        }
        let start = into.get(..LOOKED_AT).unwrap_or(into);
        Ok(match memchr::memchr(0, start) {
            Some(_) => Content::Binary,
            None => Content::Text,
        })
    }

    /// The chunks by which files are compared.
    pub(super) fn chunks(&mut self, file: &File) -> gix::Result<Chunks> {
        let mut bytes = Vec::new();
        let content = self.read(file, &mut bytes)?;
        if bytes.is_empty() {
            self.blob(&file.id, &mut bytes)?;
        }
        let chunks = Chunks::of(&bytes, matches!(content, Content::Text));
        self.keep(file, &bytes);
        Ok(chunks)
    }

    /// Keeps what was read for when it is asked for again.
    pub(super) fn keep(&mut self, file: &File, bytes: &[u8]) {
        // Room that was read into is larger than what was read, and is used again.
        let exact = bytes.to_vec();
        if let Ok(mut files) = self.files.lock() {
            files.keep(file.id, exact);
        }
    }

    fn blob(&mut self, id: &ObjectId, into: &mut Vec<u8>) -> gix::Result<()> {
        if !self.take_kept(id, into) {
            self.repository.objects.find_blob(id, into)?;
        }
        Ok(())
    }

    /// Whether a file was kept, which then is in `into` and not kept any longer.
    fn take_kept(&self, id: &ObjectId, into: &mut Vec<u8>) -> bool {
        let kept = self.files.lock().ok().and_then(|mut files| files.take(id));
        into.extend_from_slice(kept.as_deref().unwrap_or_default());
        kept.is_some()
    }

    /// What `.gitattributes` say of a file.
    fn declared(&mut self, file: &File) -> gix::Result<Option<Content>> {
        let Some(Attributes { stack, found }) = &mut self.attributes else {
            return Ok(None);
        };
        let entry = stack
            .at_entry(
                file.path.as_bstr(),
                Some(file.mode.into()),
                &self.repository.objects,
            )
            .map_err(gix::Error::from_error)?;
        if !entry.matching_attributes(found) {
            return Ok(None);
        }
        let driver = match found.iter_selected().next().map(|found| found.assignment.state) {
            Some(StateRef::Set) => return Ok(Some(Content::Text)),
            Some(StateRef::Unset) => return Ok(Some(Content::Binary)),
            Some(StateRef::Value(driver)) => driver.as_bstr().to_owned(),
            Some(StateRef::Unspecified) | None => return Ok(None),
        };
        let key = format!("diff.{driver}.binary");
        Ok(match self.repository.config_snapshot().boolean(key.as_str()) {
            Some(true) => Some(Content::Binary),
            Some(false) => Some(Content::Text),
            None => None,
        })
    }
}

/// For trees, which neighbours in history share.
impl objs::Find for Contents {
    fn try_find<'a>(&self, id: &gix::oid, buffer: &'a mut Vec<u8>) -> gix::Result<Option<objs::Data<'a>>> {
        let id = id.to_owned();
        let mut trees = self.trees.borrow_mut();
        if let Some(tree) = trees.get(&id) {
            buffer.clear();
            buffer.extend_from_slice(tree);
            return Ok(Some(objs::Data::new(buffer, objs::Kind::Tree, id.kind())));
        }
        let found = self.repository.objects.try_find(&id, buffer)?;
        if let Some(tree) = found.as_ref().filter(|found| found.kind == objs::Kind::Tree) {
            trees.keep(id, tree.data.to_vec());
        }
        Ok(found)
    }
}

impl Attributes {
    /// None when nothing declares any: to ask for each file of each commit would cost much.
    fn of(repository: &Repository) -> gix::Result<Option<Self>> {
        if attribute_files(repository)?.is_empty() {
            return Ok(None);
        }
        let index = repository.index_or_empty()?;
        let source = Source::WorktreeThenIdMapping.adjust_for_bare(repository.workdir().is_none());
        let stack = repository.attributes_only(&index, source)?;
        let found = stack.selected_attribute_matches(["diff"]);
        Ok(Some(Self {
            stack: stack.detach(),
            found,
        }))
    }
}
