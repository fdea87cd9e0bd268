//! One file → its digest and what it says of itself.
//!
//! - In: a file that was listed, and what lies beside it. Out: a row of `photos` and a small picture, or the reason
//!   why there are none.
//! - A file is read once. What is longer than [`IN_MEMORY`] is hashed as it goes by; videos are then read by seeking.
//! - Not here: which files (`files`), which item (`places`).

use super::facts::Facts;
use super::files::{File, Kind, Sidecar};
use super::thumbnail::{self, Thumbnail};
use super::{contents, takeout, xmp};
use crate::file_run::Outcome;
use schemas::Digest;
use schemas::datasets::photos::Photo;
use sha2::{Digest as _, Sha256};
use std::any::Any;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

/// Bytes of one file that are in memory at once: more than any camera's JPEG or raw.
const IN_MEMORY: u64 = 128 << 20;

/// A larger file is read alone, so that memory does not grow with the number of threads.
const LARGE: u64 = 32 << 20;

/// Who reads a large file.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that room is made for before they are known to be there.
const CHUNK: u64 = 512 << 10;

/// Bytes that hold all metadata of most photos, of nearly all, and of all.
const HEADS: [u64; 3] = [32 << 10, CHUNK, IN_MEMORY];

/// A longer sidecar is none: they hold some kilobytes.
const LONGEST_SIDECAR: u64 = 16 << 20;

/// A file that was read. The row lacks `item`.
#[derive(Debug)]
pub(super) struct Looked {
    pub photo: Photo,
    pub thumbnail: Option<Thumbnail>,
}

/// Reads a file and what lies beside it; `thumbnails`: and decodes its picture.
pub(super) fn read(file: &File, thumbnails: bool) -> Outcome<Box<Looked>> {
    // Parsers of hostile bytes: a panic in one is that file's problem.
    let (reason, is_read) = match catch_unwind(AssertUnwindSafe(|| look_at(file, thumbnails))) {
        Ok(Ok((digest, looked))) => return Outcome::Read(digest, Box::new(looked)),
        Ok(Err(Failure::Io(error))) if error.kind() == io::ErrorKind::NotFound => return Outcome::Missing,
        Ok(Err(Failure::Io(error))) => (format!("cannot be read: {error}"), false),
        Ok(Err(Failure::Unfit(reason))) => (reason, true),
        Err(panic) => (format!("its parser gave up: {}", words(&*panic)), true),
    };
    Outcome::Rejected { reason, is_read }
}

enum Failure {
    Io(io::Error),
    Unfit(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

fn look_at(file: &File, thumbnails: bool) -> Result<(Digest, Looked), Failure> {
    let local = &file.local;
    let _alone = (local.size > LARGE).then(|| ALONE.lock());
    let mut source = fs::File::open(&local.path)?;
    let (bytes, size, digest) = read_and_digest(&mut source, local.size)?;
    let is_whole = size == bytes.len() as u64;
    let told = contents::facts(&local.path, &bytes, &mut source).map_err(Failure::Unfit)?;
    let (media_type, mut own, small) = told;
    if !is_whole && !media_type.starts_with("video/") {
        let problem = format!("only its first {} MiB were looked at", IN_MEMORY >> 20);
        own.problems.push(problem);
    }
    let mut facts = with_sidecars(own, file);
    facts.album = facts
        .album
        .or_else(|| local.folder.rsplit('/').next().map(str::to_owned));
    let thumbnail = if thumbnails && is_whole {
        picture(media_type, &bytes, small.as_deref(), &mut facts)
    } else {
        None
    };
    let mut photo = Photo {
        path: local.location.clone(),
        media_type,
        size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
        perceptual_hash: thumbnail.as_ref().map(|small| small.hash),
        ..Photo::default()
    };
    facts.tell(&mut photo);
    Ok((digest, Looked { photo, thumbnail }))
}

/// The first [`IN_MEMORY`] bytes of a file, how many it has, and the SHA-256 of all.
fn read_and_digest(source: &mut fs::File, expected: u64) -> Result<(Vec<u8>, u64, Digest), Failure> {
    let expected = usize::try_from(expected.min(IN_MEMORY)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected + 1);
    source.by_ref().take(IN_MEMORY).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Err(Failure::Unfit("empty file".to_owned()));
    }
    let mut hasher = Sha256::new();
    hasher.update(&bytes);
    let size = bytes.len() as u64 + io::copy(source, &mut hasher)?;
    Ok((bytes, size, Digest(hasher.finalize().into())))
}

/// What a file says, and what lies beside it.
fn with_sidecars(mut own: Facts, file: &File) -> Facts {
    // A person corrected it in a sidecar, so that comes before what the camera wrote; but of times the camera's own
    // is the first of its rank.
    let mut facts = Facts {
        times: std::mem::take(&mut own.times),
        ..Facts::default()
    };
    let mut takeout = Facts::default();
    for beside in &file.sidecars {
        match sidecar(beside) {
            Ok(told) if beside.kind == Kind::Xmp => facts.add(told),
            Ok(told) => takeout.add(told),
            Err(problem) => facts.problems.push(problem),
        }
    }
    facts.add(own);
    facts.add(takeout);
    facts
}

/// What a file says of itself, read only as far as that takes: no digest, nothing beside it.
///
/// # Errors
/// Why it says nothing.
pub(super) fn metadata(path: &Path) -> Result<Photo, String> {
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let mut source = fs::File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    let mut told = Err("empty file".to_owned());
    for most in HEADS {
        source.seek(SeekFrom::Start(bytes.len() as u64)).map_err(unread)?;
        let more = most - bytes.len() as u64;
        bytes.reserve_exact(usize::try_from(more.min(CHUNK)).unwrap_or(0));
        source
            .by_ref()
            .take(more)
            .read_to_end(&mut bytes)
            .map_err(unread)?;
        told = contents::facts(path, &bytes, &mut source);
        if told.is_ok() || (bytes.len() as u64) < most {
            break;
        }
    }
    let (media_type, facts, _) = told?;
    let mut photo = Photo {
        media_type,
        ..Photo::default()
    };
    facts.tell(&mut photo);
    Ok(photo)
}

/// The small picture: of the pixels where they can be decoded, else of the one that the camera left.
fn picture(media_type: &str, bytes: &[u8], small: Option<&[u8]>, facts: &mut Facts) -> Option<Thumbnail> {
    let can_decode = matches!(
        media_type,
        "image/jpeg" | "image/png" | "image/webp" | "image/tiff"
    );
    let decoded = can_decode.then(|| thumbnail::of(bytes, facts.orientation));
    match decoded {
        Some(Ok(thumbnail)) => return Some(thumbnail),
        Some(Err(reason)) => facts.problems.push(format!("no thumbnail: {reason}")),
        None => {}
    }
    thumbnail::of(small?, facts.orientation).ok()
}

/// What lies beside a photo says.
fn sidecar(beside: &Sidecar) -> Result<Facts, String> {
    let name = beside.path.file_name().unwrap_or_default().display();
    let told = |error: String| format!("`{name}` beside it: {error}");
    let mut bytes = Vec::new();
    fs::File::open(&beside.path)
        .and_then(|file| file.take(LONGEST_SIDECAR + 1).read_to_end(&mut bytes))
        .map_err(|error| told(error.to_string()))?;
    if bytes.len() as u64 > LONGEST_SIDECAR {
        return Err(told(format!("longer than {} MiB", LONGEST_SIDECAR >> 20)));
    }
    match beside.kind {
        Kind::Xmp => xmp::facts(&bytes, xmp::SIDECAR).map_err(told),
        Kind::Takeout => takeout::facts(&bytes).map_err(told),
        Kind::Album => Ok(Facts {
            album: takeout::album(&bytes),
            ..Facts::default()
        }),
    }
}
