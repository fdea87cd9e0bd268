//! A folder that nothing leads out of: whatever is opened beneath it, the kernel looks that it stays beneath.
//!
//! - In: a folder, paths relative to it. Out: what is there, pinned, before anything of it is read.
//! - `..`, absolute paths, links that lead out, links of `/proc`, and folders that are exchanged meanwhile are all
//!   refused by one call, `openat2` (Linux 5.6). Elsewhere all is refused.
//! - Not here: which folders those are, and which files are secret (`roots`, `vault`).

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, statat};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A folder that nothing leads out of.
#[derive(Debug)]
pub(crate) struct Beneath {
    folder: OwnedFd,
}

/// What becomes of links on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Those that stay beneath are followed.
    Beneath,
    /// None is followed; one at the end is itself what is meant.
    Never,
}

/// What a name in a folder is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EntryKind {
    /// A file with bytes in it.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

impl EntryKind {
    /// The kind of what has this metadata.
    pub(crate) fn of(about: &Metadata) -> Self {
        let kind = about.file_type();
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            Self::Link
        } else {
            Self::Other
        }
    }
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The name, without its folder.
    pub(crate) name: OsString,
    /// What it is the name of.
    pub(crate) kind: EntryKind,
}

/// What is at a path, held on to without having been opened: a pipe or a device does not notice.
#[derive(Debug)]
pub(crate) struct Pinned {
    file: File,
}

impl Beneath {
    /// The folder at an absolute path, which may itself be a link: the owner named it.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            folder: open(path, flags, Mode::empty())?,
        })
    }

    /// Where the folder really is.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn place(&self) -> io::Result<PathBuf> {
        std::fs::read_link(of_process(&self.folder))
    }

    /// Holds on to what is at a relative path; the empty one is the folder itself.
    ///
    /// # Errors
    /// Those of the system, among them [`Errno::XDEV`] for what leads out and [`Errno::LOOP`] for links that are not
    /// followed.
    pub(crate) fn pin(&self, path: &Path, links: Links) -> io::Result<Pinned> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        Ok(Pinned {
            file: pinned(&self.folder, path, links)?.into(),
        })
    }
}

impl Pinned {
    /// What the system knows of it.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn about(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Where it really is.
    ///
    /// # Errors
    /// Those of the system; [`Errno::NOENT`] when it was deleted meanwhile, for then its name is not known.
    pub(crate) fn place(&self) -> io::Result<PathBuf> {
        let place = std::fs::read_link(of_process(&self.file))?;
        match place.as_os_str().as_bytes().ends_with(b" (deleted)") {
            true => Err(Errno::NOENT.into()),
            false => Ok(place),
        }
    }

    /// Opens it to be read, if it is a regular file.
    ///
    /// # Errors
    /// Those of the system; [`Errno::INVAL`] when it is anything else.
    pub(crate) fn open(&self) -> io::Result<File> {
        if !self.about()?.is_file() {
            return Err(Errno::INVAL.into());
        }
        // The link in /proc is of this very file, whatever its name has become the name of.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(open(of_process(&self.file), flags, Mode::empty())?.into())
    }

    /// The names in it, in their order, and whether there are more than so many: then which are told is up to the
    /// file system.
    ///
    /// # Errors
    /// Those of the system; [`Errno::NOTDIR`] when it is no folder.
    pub(crate) fn list(&self, most: usize) -> io::Result<(Vec<Named>, bool)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = Dir::new(open(of_process(&self.file), flags, Mode::empty())?)?;
        let (mut entries, mut has_more) = (Vec::new(), false);
        while let Some(entry) = folder.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() >= most {
                has_more = true;
                break;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => statat(folder.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(EntryKind::Other, |about| {
                        FileType::from_raw_mode(about.st_mode).into()
                    }),
                kind => kind.into(),
            };
            entries.push(Named {
                name: name.to_owned(),
                kind,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((entries, has_more))
    }
}

/// The link of this process to what it holds.
fn of_process(held: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

#[cfg(target_os = "linux")]
fn pinned(folder: &OwnedFd, path: &Path, links: Links) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let (flags, resolve) = match links {
        Links::Beneath => (flags, resolve),
        Links::Never => (flags | OFlags::NOFOLLOW, resolve | ResolveFlags::NO_SYMLINKS),
    };
    openat2(folder, path, flags, Mode::empty(), resolve)
}

#[cfg(not(target_os = "linux"))]
fn pinned(_: &OwnedFd, _: &Path, _: Links) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}
