//! Whether there is an mbox at a path, told without a run.
//!
//! - In: a path. Out: why it may not be what was meant.
//! - It looks at the beginnings of files, and not at all of them.
//! - Not here: which files there are, and what is in them (`files`).

use super::files::{IS_MAILDIR, check_start, is_gzip};
use super::split::Splitter;
use crate::local_files::{doubt_folder, is_any_below};
use crate::maildir::is_maildir;
use flate2::read::MultiGzDecoder;
use std::fs::{self, DirEntry, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Files of a folder that are opened.
const MOST_OPENED: usize = 100;

/// Bytes of a file in which its first line must lie: blank ones may come before.
const BEGINNING: u64 = 64 << 10;

/// Why a path may not be what was meant: it is a file and no mbox, it is empty, a Maildir, or there is no mbox beneath it.
pub(super) fn doubt(path: &Path) -> Option<String> {
    let name = path.display();
    if !path.is_dir() {
        return check(path).err().map(|reason| format!("`{name}`: {reason}"));
    }
    if let Some(doubt) = doubt_folder(path) {
        return Some(doubt);
    }
    if is_maildir(path) {
        return Some(format!("`{name}`: {IS_MAILDIR}"));
    }
    let mut opened = 0;
    let is_mbox = |entry: &DirEntry| {
        if entry.path().is_dir() {
            return false;
        }
        opened += 1;
        // What lies beyond what is looked at is believed to be one.
        opened > MOST_OPENED || check(&entry.path()).is_ok()
    };
    (is_any_below(path, is_mbox) == Some(false)).then(|| format!("`{name}` has no mbox beneath it"))
}

/// Looks how a file begins. An error is a reason.
fn check(path: &Path) -> Result<(), String> {
    let readable = |error: io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(readable)?.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = File::open(path).map_err(readable)?;
    let reader: Box<dyn Read> = if is_gzip(&file).map_err(readable)? {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    };
    check_start(Splitter::new(reader.take(BEGINNING), 0, 0, false).start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const MESSAGE: &str = "\n\nFrom a@b Sat Jan  3 01:05:34 1996\nSubject: a\n\na\n";

    #[test]
    fn a_file_that_does_not_begin_as_an_mbox_is_doubted() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(MESSAGE.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        for (name, bytes) in [
            ("plain", MESSAGE.as_bytes()),
            ("empty", b"".as_slice()),
            ("a.gz", gzip.as_slice()),
        ] {
            fs::write(at(name), bytes).unwrap();
            assert_eq!(doubt(&at(name)), None, "{name}");
        }
        fs::write(at("notes.txt"), "Dear all\n").unwrap();
        let told = doubt(&at("notes.txt")).unwrap();
        assert!(told.contains("notes.txt`: not an mbox: "), "{told}");
    }

    #[test]
    fn a_folder_that_is_empty_or_a_maildir_or_has_no_mbox_is_doubted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("mail");
        fs::create_dir_all(root.join("lists.sbd")).unwrap();
        let told = || doubt(&root).unwrap_or_default();
        let empty = doubt(&root.join("lists.sbd")).unwrap();
        assert!(empty.ends_with("lists.sbd` is empty"), "{empty}");
        fs::write(root.join("notes.txt"), "Dear all\n").unwrap();
        assert!(told().ends_with("mail` has no mbox beneath it"), "{}", told());
        fs::write(root.join("lists.sbd/a"), MESSAGE).unwrap();
        assert_eq!(doubt(&root), None);
        for part in ["cur", "new"] {
            fs::create_dir(root.join(part)).unwrap();
        }
        assert!(told().contains("`kind = \"maildir\"`"), "{}", told());
    }
}
