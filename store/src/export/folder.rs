//! Originals → files of a folder, byte for byte.
//!
//! - In: bytes with their digest, and what is known for a name. Out: a file for each, for its owner alone, and a
//!   manifest of all once they are on disk.
//! - Names are readable, safe and of our making: nothing collected is taken for a path.
//! - Not here: where the bytes come from.

use super::check::digest;
use super::file::{Emerging, refused, settle, write_manifest};
use super::{Content, ExportError, Manifest, Origin, Original};
use jiff::Timestamp;
use schemas::{Digest, Instant};
use sha2::Digest as _;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Bytes of the readable part of a name; file systems allow 255 in all.
const TITLE_BYTES: usize = 80;
/// Letters of an ending; a longer one is hardly one.
const EXTENSION_BYTES: usize = 10;
/// Digits of the digest in a name, and how many when two would have the same.
const DIGITS: [usize; 2] = [8, 64];

/// A folder that originals are written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    origin: Origin,
    replace: bool,
    originals: Vec<Original>,
    /// The digest of what has a name.
    named: HashMap<String, String>,
}

/// An original, and what is known for its name.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// `_source` of the item.
    pub source: &'a str,
    /// `_item`.
    pub item: &'a str,
    /// Position among the attachments of the item.
    pub ordinal: Option<i64>,
    /// When it is from.
    pub date: Option<Instant>,
    /// What it is about.
    pub title: &'a str,
    /// How its name should end, without the dot.
    pub extension: &'a str,
    /// SHA-256 its bytes must have, hexadecimal.
    pub sha256: &'a str,
}

/// What became of an original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was written.
    Written,
    /// The same bytes were there.
    Unchanged,
}

/// Why an original is not in the folder. The others are.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The bytes are not those that were collected.
    #[error("its bytes have changed since they were collected: SHA-256 {found}, then {wanted}")]
    Changed {
        /// Now.
        found: String,
        /// When it was collected.
        wanted: String,
    },
    /// Something else has its name.
    #[error("`{}` is there with other bytes; add `--force` to replace it", .0.display())]
    Taken(PathBuf),
    /// The bytes cannot be read.
    #[error("its bytes cannot be read: {0}")]
    Read(io::Error),
    /// The folder cannot be written to; nothing else can be kept either.
    #[error(transparent)]
    Write(#[from] ExportError),
}

impl Folder {
    /// Opens a folder, and makes it if it is not there. Unless `replace`, it must not hold another export.
    ///
    /// # Errors
    /// [`ExportError`] when it cannot be made, or holds another.
    pub fn open(path: &Path, origin: Origin, replace: bool) -> Result<Self, ExportError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(refused(path))?;
        let manifest = path.join(Manifest::OF_FOLDER);
        let is_same = |there: Manifest| {
            (there.origin.dataset, there.origin.query) == (origin.dataset.clone(), origin.query.clone())
        };
        if !replace && manifest.exists() && !Manifest::read(&manifest).is_ok_and(is_same) {
            return Err(ExportError::Exists(manifest));
        }
        Ok(Self {
            path: path.to_owned(),
            origin,
            replace,
            originals: Vec::new(),
            named: HashMap::new(),
        })
    }

    /// Writes one original, unless it is there.
    ///
    /// # Errors
    /// [`FolderError`]: only after [`FolderError::Write`] there is no use in going on.
    pub fn keep(&mut self, wanted: &Wanted<'_>, bytes: impl Read) -> Result<Kept, FolderError> {
        let name = self.name(wanted);
        let path = self.path.join(&name);
        let (kept, size) = match there(&path, wanted.sha256) {
            There::Same(size) => (Kept::Unchanged, size),
            There::Other if !self.replace => return Err(FolderError::Taken(path)),
            There::Other | There::Nothing => (Kept::Written, self.write(wanted, &path, bytes)?),
        };
        self.named.insert(name.clone(), wanted.sha256.to_owned());
        self.originals.push(Original {
            file: name,
            source: wanted.source.to_owned(),
            item: wanted.item.to_owned(),
            ordinal: wanted.ordinal,
            bytes: size,
            sha256: wanted.sha256.to_owned(),
        });
        Ok(kept)
    }

    fn write(&self, wanted: &Wanted<'_>, path: &Path, mut bytes: impl Read) -> Result<u64, FolderError> {
        let mut emerging = Emerging::new(path)?;
        let mut out = BufWriter::new(emerging.file());
        let mut sha256 = sha2::Sha256::new();
        let mut size = 0;
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = match bytes.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => piece.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FolderError::Read(error)),
            };
            sha256.update(read);
            size += read.len() as u64;
            out.write_all(read).map_err(refused(path))?;
        }
        out.flush().map_err(refused(path))?;
        drop(out);
        let found = Digest(sha256.finalize().into()).to_string();
        if found != wanted.sha256 {
            return Err(FolderError::Changed {
                found,
                wanted: wanted.sha256.to_owned(),
            });
        }
        emerging.appear(self.replace)?;
        Ok(size)
    }

    /// `2026-11-01_subject_3fa9c1d2.eml`. Equal bytes may have the same name, others never.
    fn name(&self, wanted: &Wanted<'_>) -> String {
        let date = wanted
            .date
            .and_then(|date| Timestamp::from_microsecond(date).ok())
            .map(|date| date.strftime("%Y-%m-%d_").to_string())
            .unwrap_or_default();
        let mut title = slug(wanted.title);
        if !title.is_empty() {
            title.push('_');
        }
        let extension = extension(wanted.extension);
        let named = |digits: usize| {
            let digest = wanted.sha256.get(..digits).unwrap_or(wanted.sha256);
            format!("{date}{title}{digest}.{extension}")
        };
        let [few, all] = DIGITS.map(named);
        match self.named.get(&few) {
            Some(other) if other != wanted.sha256 => all,
            _ => few,
        }
    }

    /// Makes all of it outlive a power cut, then writes the manifest. Returns where that is.
    ///
    /// # Errors
    /// [`ExportError`] when something cannot be written.
    pub fn finish(self) -> Result<PathBuf, ExportError> {
        for original in &self.originals {
            let path = self.path.join(&original.file);
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(refused(&path))?;
        }
        let path = self.path.join(Manifest::OF_FOLDER);
        settle(&path)?;
        let manifest = Manifest::new(self.origin, Content::Originals(self.originals))?;
        write_manifest(&manifest, &path, true)?;
        Ok(path)
    }
}

enum There {
    Nothing,
    Same(u64),
    Other,
}

/// What has a name already. A link is never followed.
fn there(path: &Path, sha256: &str) -> There {
    match path.symlink_metadata() {
        Err(_) => There::Nothing,
        Ok(there) if there.is_file() => match digest(path) {
            Ok((size, found)) if found == sha256 => There::Same(size),
            _ => There::Other,
        },
        Ok(_) => There::Other,
    }
}

/// Letters and digits of a text, with `-` for what lies between: no separator, no dot, no control or bidi character.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let begun = !slug.is_empty();
        for c in begun.then_some('-').into_iter().chain(word.chars()) {
            if slug.len() + c.len_utf8() > TITLE_BYTES {
                slug.truncate(slug.trim_end_matches('-').len());
                return slug;
            }
            slug.push(c);
        }
    }
    slug
}

/// An ending that is one.
fn extension(wanted: &str) -> String {
    let is_one = (1..=EXTENSION_BYTES).contains(&wanted.len())
        && wanted.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_one {
        wanted.to_ascii_lowercase()
    } else {
        "bin".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path, replace: bool) -> Folder {
        let origin = Origin {
            dataset: Some("emails".to_owned()),
            query: None,
            snapshot: 1,
            snapshot_time: Timestamp::UNIX_EPOCH,
        };
        Folder::open(path, origin, replace).unwrap()
    }

    fn wanted<'a>(title: &'a str, extension: &'a str, sha256: &'a str) -> Wanted<'a> {
        Wanted {
            source: "mail",
            item: "a",
            ordinal: None,
            date: Some(0),
            title,
            extension,
            sha256,
        }
    }

    #[test]
    fn names_are_readable_safe_and_bounded() {
        let there = tempfile::tempdir().unwrap();
        let sha256 = Digest::of(b"x").to_string();
        let long = "ü".repeat(500);
        for (title, ending, name) in [
            (
                "Re: Hello, world!",
                "eml",
                "1970-01-01_Re-Hello-world_2d711642.eml",
            ),
            ("../../etc/passwd", "../sh", "1970-01-01_etc-passwd_2d711642.bin"),
            (
                "山田 花子\u{202e}gpj",
                "JPG",
                "1970-01-01_山田-花子-gpj_2d711642.jpg",
            ),
            ("\0\n/", "", "1970-01-01_2d711642.bin"),
            ("..", "tar.gz", "1970-01-01_2d711642.bin"),
        ] {
            let named = folder(there.path(), false).name(&wanted(title, ending, &sha256));
            assert_eq!(named, name);
        }
        let named = folder(there.path(), false).name(&wanted(&long, "eml", &sha256));
        assert!(named.len() < 120, "{named}");
    }

    #[test]
    fn a_name_is_never_shared_by_different_bytes() {
        let there = tempfile::tempdir().unwrap();
        let mut folder = folder(there.path(), false);
        let (one, other) = (Digest::of(b"x").to_string(), "2d711642ffff");
        assert_eq!(
            folder.keep(&wanted("t", "eml", &one), &b"x"[..]).unwrap(),
            Kept::Written
        );
        assert_eq!(
            folder.keep(&wanted("t", "eml", &one), &b"x"[..]).unwrap(),
            Kept::Unchanged
        );
        assert_eq!(
            folder.name(&wanted("t", "eml", other)),
            format!("1970-01-01_t_{other}.eml")
        );
    }

    #[test]
    fn only_the_bytes_that_were_collected_get_a_name() {
        let there = tempfile::tempdir().unwrap();
        let mut kept = folder(there.path(), false);
        let sha256 = Digest::of(b"x").to_string();
        let wanted = wanted("t", "eml", &sha256);
        let changed = kept.keep(&wanted, &b"y"[..]).unwrap_err();
        assert!(matches!(changed, FolderError::Changed { .. }), "{changed}");
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);

        // A link where the file should be is neither followed nor taken for it.
        let outside = there.path().join("outside");
        fs::write(&outside, "x").unwrap();
        let name = there.path().join(kept.name(&wanted));
        std::os::unix::fs::symlink(&outside, &name).unwrap();
        assert!(matches!(
            kept.keep(&wanted, &b"x"[..]),
            Err(FolderError::Taken(_))
        ));
        let mut kept = folder(there.path(), true);
        assert_eq!(kept.keep(&wanted, &b"x"[..]).unwrap(), Kept::Written);
        assert!(name.symlink_metadata().unwrap().is_file());
        kept.finish().unwrap();
        let (checked, _) = super::super::check(there.path());
        assert_eq!((checked.problems, checked.rows), (vec![], Some(1)));
    }
}
