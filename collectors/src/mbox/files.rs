//! Which mbox files there are, what of them must be read, and reading them: one step after another.

use super::MboxConfig;
use super::split::{Message, Splitter};
use super::state::{FileState, Places, State, tail};
use crate::collect::{BATCH_BYTES, BATCH_ITEMS};
use crate::local_files::leads_out;
use crate::maildir::{is_maildir, modified_ns};
use flate2::read::MultiGzDecoder;
use schemas::Reject;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a folder is none of mboxes.
pub(super) const IS_MAILDIR: &str =
    "it is a Maildir, not an mbox or a folder of such; `kind = \"maildir\"` reads it";

/// Why a link is not followed.
const IS_LINK: &str = "a link to a folder elsewhere is not followed; add its target as a source of its own";

/// One thing learnt about the files, in the order in which it must be applied.
pub(super) enum Step {
    /// The places of this file whose offset is below are as they were.
    Unchanged { file: Arc<str>, below: u64 },
    /// A message.
    Message { file: Arc<MboxFile>, message: Message },
    /// Something that is not a message that can be taken in.
    Reject(Reject),
    /// The rest of the file is not known: what was there may still be.
    Unread { file: Arc<str> },
    /// All steps up to here are covered by this state.
    Read { file: Arc<str>, state: FileState },
}

/// A file that may be an mbox.
pub(super) struct MboxFile {
    path: PathBuf,
    /// Its path below the root; a single file's name.
    name: Arc<str>,
    pub folder: String,
}

impl MboxFile {
    /// The location of the message at `offset`.
    pub fn location(&self, offset: u64) -> String {
        format!("{}@{offset}", self.name)
    }

    fn reject(&self, item: String, reason: String) -> Step {
        Step::Reject(Reject {
            item,
            reason,
            raw: Some(self.path.display().to_string()),
        })
    }
}

/// All files, read one after another.
pub(super) struct Files<'a> {
    config: &'a MboxConfig,
    before: State,
    places: &'a Places<'a>,
    waiting: VecDeque<Arc<MboxFile>>,
    open: Option<Open>,
    found: Vec<Step>,
}

/// The file that is being read.
struct Open {
    file: Arc<MboxFile>,
    splitter: Splitter<Box<dyn Read + Send>>,
    /// For the tail; none for gzip.
    plain: Option<File>,
    /// What will be its state at its end.
    state: FileState,
    /// Whether what was read so far may be trusted by a later run: not while old places of the file wait to be
    /// found again elsewhere in it.
    is_resumable: bool,
}

impl<'a> Files<'a> {
    /// Finds the files. Links to directories are not followed, so that no loop can hang it.
    pub fn find(config: &'a MboxConfig, before: State, places: &'a Places<'a>) -> io::Result<Self> {
        let mut files = Self {
            config,
            before,
            places,
            waiting: VecDeque::new(),
            open: None,
            found: Vec::new(),
        };
        let root = &config.path;
        if !fs::metadata(root)?.is_dir() {
            let name = crate::maildir::escape(root.file_name().unwrap_or_default().as_encoded_bytes());
            files.waiting.push_back(Arc::new(MboxFile {
                path: root.clone(),
                name: name.as_ref().into(),
                folder: folder(&name),
            }));
            return Ok(files);
        }
        // Each of its messages would be a file that is no mbox.
        if places.files().next().is_none() && is_maildir(root) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, IS_MAILDIR));
        }
        let mut directories = vec![(root.clone(), String::new())];
        let mut found = Vec::new();
        let mut links = Vec::new();
        while let Some((directory, prefix)) = directories.pop() {
            let entries = match fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(entries) => entries,
                Err(error) if prefix.is_empty() => return Err(error),
                Err(error) => {
                    files.unreadable_directory(&directory, &prefix, &error);
                    continue;
                }
            };
            for entry in entries {
                let own = crate::maildir::escape(entry.file_name().as_encoded_bytes()).into_owned();
                let name = format!("{prefix}{own}");
                if own.starts_with('.') || own.ends_with(".msf") {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push((entry.path(), name + "/"));
                    continue;
                }
                let file = MboxFile {
                    path: entry.path(),
                    folder: folder(&name),
                    name: name.into(),
                };
                if !file.path.is_dir() {
                    found.push(file);
                } else if leads_out(std::slice::from_ref(root), &file.path) {
                    links.push(file.reject(file.name.to_string(), IS_LINK.to_owned()));
                }
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        files.waiting = found.into_iter().map(Arc::new).collect();
        if files.waiting.is_empty() && files.found.is_empty() && places.files().next().is_some() {
            let cause = "all files that were in it are gone; is it mounted?";
            return Err(io::Error::new(io::ErrorKind::NotFound, cause));
        }
        files.found.append(&mut links);
        Ok(files)
    }

    /// What is learnt next, about a batch's worth; empty at the end.
    pub fn steps(&mut self) -> Vec<Step> {
        let mut steps = std::mem::take(&mut self.found);
        let mut bytes = 0;
        while steps.len() < BATCH_ITEMS && bytes < BATCH_BYTES {
            if let Some(open) = &mut self.open {
                match open.next(self.config.max_message_bytes) {
                    Ok(Some(step)) => {
                        if let Step::Message { message, .. } = &step {
                            bytes += message.bytes.as_ref().map_or(0, Vec::len);
                        }
                        steps.push(step);
                        continue;
                    }
                    Ok(None) => steps.extend(open.read_so_far(true)),
                    Err(error) => {
                        let name = Arc::clone(&open.file.name);
                        let reason = format!("cannot be read to its end: {error}");
                        steps.push(open.file.reject(name.to_string(), reason));
                        steps.push(Step::Unread { file: name });
                    }
                }
                self.open = None;
            }
            let Some(file) = self.waiting.pop_front() else {
                return steps;
            };
            let name = Arc::clone(&file.name);
            match self.begin(&file) {
                Ok((first, open)) => {
                    steps.extend(first);
                    self.open = open;
                }
                Err(reason) => {
                    steps.push(file.reject(name.to_string(), reason));
                    steps.push(Step::Unread { file: name });
                }
            }
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.is_resumable) {
            steps.extend(open.read_so_far(false));
        }
        steps
    }

    /// Looks at a file: what is known of it without reading, and where to read on. An error is a reason.
    fn begin(&self, file: &Arc<MboxFile>) -> Result<(Option<Step>, Option<Open>), String> {
        let readable = |error: io::Error| format!("cannot be read: {error}");
        // Before it is opened: opening a pipe would wait for a writer.
        let metadata = fs::metadata(&file.path).map_err(readable)?;
        if !metadata.is_file() {
            return Err("not a regular file".to_owned());
        }
        let (size, modified_ns) = (metadata.len(), modified_ns(&metadata));
        let unchanged = |below| {
            Some(Step::Unchanged {
                file: Arc::clone(&file.name),
                below,
            })
        };
        let before = self.before.files.get(&*file.name);
        let may_fit = |over: u64| over < self.config.max_message_bytes;
        let before = before.filter(|old| !old.rejected_over.is_some_and(may_fit));
        if let Some(same) =
            before.filter(|old| (old.size, old.modified_ns) == (size, modified_ns) && old.read == size)
        {
            let read = Open::state_only(file, same.clone());
            return Ok((unchanged(u64::MAX), Some(read)));
        }
        let plain = File::open(&file.path).map_err(readable)?;
        let mut state = FileState {
            size,
            modified_ns,
            read: 0,
            tail: None,
            messages: 0,
            rejected_over: None,
            is_loose: false,
        };
        let (limit, counts) = (
            self.config.max_message_bytes,
            matches!(self.config.format, super::Format::Auto | super::Format::Mboxcl2),
        );
        let splitter = |reader: Box<dyn Read + Send>, offset| Splitter::new(reader, offset, limit, counts);
        if is_gzip(&plain).map_err(readable)? {
            let reader = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, plain));
            let mut splitter = splitter(Box::new(reader), 0);
            check_start(splitter.start())?;
            return Ok((
                None,
                Some(Open {
                    file: Arc::clone(file),
                    splitter,
                    plain: None,
                    state,
                    is_resumable: false,
                }),
            ));
        }
        let copy = || plain.try_clone().map_err(readable);
        // One that changed and has not grown was written anew: mail readers flip flags in their place.
        if let Some(old) = before.filter(|old| (1..size).contains(&old.read) && old.tail.is_some()) {
            let mut reader = copy()?;
            if tail(&reader, old.read).is_ok_and(|now| old.tail.as_deref() == Some(&now)) {
                reader.seek(SeekFrom::Start(old.read)).map_err(readable)?;
                let mut splitter = splitter(Box::new(reader), old.read);
                if splitter.start().map_err(readable)? != Some(false) {
                    state.messages = old.messages;
                    state.rejected_over = old.rejected_over;
                    state.is_loose = old.is_loose;
                    splitter.is_loose = old.is_loose;
                    let open = Open {
                        file: Arc::clone(file),
                        splitter,
                        plain: Some(plain),
                        state,
                        is_resumable: true,
                    };
                    return Ok((unchanged(old.read), Some(open)));
                }
            }
        }
        let mut reader = copy()?;
        reader.seek(SeekFrom::Start(0)).map_err(readable)?;
        let mut splitter = splitter(Box::new(reader), 0);
        check_start(splitter.start())?;
        state.is_loose = splitter.is_loose;
        let is_resumable = self.places.of_file(&file.name, u64::MAX).next().is_none();
        Ok((
            None,
            Some(Open {
                file: Arc::clone(file),
                splitter,
                plain: Some(plain),
                state,
                is_resumable,
            }),
        ))
    }

    fn unreadable_directory(&mut self, directory: &Path, prefix: &str, error: &io::Error) {
        let reason = format!("cannot be read: {error}");
        let raw = Some(directory.display().to_string());
        self.found.push(Step::Reject(Reject {
            item: prefix.trim_end_matches('/').to_owned(),
            reason,
            raw,
        }));
        self.found.push(Step::Unread {
            file: prefix.trim_end_matches('/').into(),
        });
        let inside = self.places.files().filter(|file| file.starts_with(prefix));
        self.found
            .extend(inside.map(|file| Step::Unread { file: file.into() }));
    }
}

impl Open {
    /// Of a file that is as it was: nothing to read, the same state.
    fn state_only(file: &Arc<MboxFile>, state: FileState) -> Self {
        let splitter = Splitter::new(Box::new(io::empty()) as Box<dyn Read + Send>, 0, 0, false);
        Self {
            file: Arc::clone(file),
            splitter,
            plain: None,
            state,
            is_resumable: false,
        }
    }

    fn next(&mut self, limit: u64) -> io::Result<Option<Step>> {
        let Some(message) = self.splitter.next()? else {
            return Ok(None);
        };
        self.state.messages += 1;
        let location = self.file.location(message.offset);
        Ok(Some(match &message.bytes {
            None => {
                let over = self.state.rejected_over.map_or(limit, |over| over.min(limit));
                self.state.rejected_over = Some(over);
                let reason = format!("larger than `max_message_bytes`, {limit} bytes");
                self.file.reject(location, reason)
            }
            Some(bytes) if bytes.is_empty() => self.file.reject(location, "empty message".to_owned()),
            Some(_) => Step::Message {
                file: Arc::clone(&self.file),
                message,
            },
        }))
    }

    /// How far it is read; nothing when that cannot be told.
    fn read_so_far(&mut self, is_end: bool) -> Option<Step> {
        if let Some(plain) = &self.plain {
            self.state.read = self.splitter.offset();
            if is_end {
                // It may have grown since it was measured.
                self.state.size = self.state.read;
            }
            self.state.tail = Some(tail(plain, self.state.read).ok()?);
        } else {
            self.state.read = self.state.size;
        }
        Some(Step::Read {
            file: Arc::clone(&self.file.name),
            state: self.state.clone(),
        })
    }
}

/// Whether a file begins as RFC 1952 says.
pub(super) fn is_gzip(file: &File) -> io::Result<bool> {
    let mut magic = [0; 2];
    Ok(file.read_at(&mut magic, 0)? == 2 && magic == [0x1f, 0x8b])
}

/// Why a file is no mbox, by what [`Splitter::start`] found.
pub(super) fn check_start(start: io::Result<Option<bool>>) -> Result<(), String> {
    match start {
        Ok(Some(false)) => Err("not an mbox: it does not begin with a `From ` line".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Name of the folder that a file is: without `.mbox` and `.gz`, and without the `.sbd` of its directories.
fn folder(name: &str) -> String {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let name = name.strip_suffix(".mbox").unwrap_or(name);
    name.replace(".sbd/", "/")
}
