//! How similar two files are, as git estimates it (`diffcore-delta.c`, `diffcore_count_changes`).
//!
//! A file is cut into chunks at its line ends, and after 64 bytes. What chunks two files share, by bytes, is what
//! one has of the other. It must be git's own estimate: another finds other renames than `git log -M` does.

/// Chunks are counted by their hash below this, a prime.
const HASH_BASE: u32 = 107_927;

/// Longer lines are cut here.
const CHUNK_BYTES: u64 = 64;

/// The score of equal files; others are a part of it.
pub(super) const MAX_SCORE: u32 = 60_000;

/// The chunks of a file.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Hash of a chunk in the upper half, and how many bytes there are of it in the lower; ascending. One number is
    /// sorted faster than two.
    bytes_by_hash: Vec<u64>,
    /// Size of the file.
    size: u64,
}

impl Chunks {
    /// The chunks of these bytes. Of a text, a line may end in either way.
    pub(super) fn of(data: &[u8], is_text: bool) -> Self {
        let mut chunks: Vec<u64> = Vec::with_capacity(data.len() / 32 + 1);
        let mut rest = data;
        // Of a text, the line end of two bytes counts as one; most have none.
        let skips = is_text && memchr::memchr(b'\r', data).is_some();
        while !rest.is_empty() {
            let (mut sum, mut length, mut read) = (0_u64, 0, 0);
            for (at, byte) in rest.iter().enumerate() {
                read = at + 1;
                if skips && *byte == b'\r' && rest.get(read) == Some(&b'\n') {
                    continue;
                }
                sum = add(sum, *byte);
                length += 1;
                if length == CHUNK_BYTES || *byte == b'\n' {
                    break;
                }
            }
            if length > 0 {
                chunks.push(u64::from(hash(sum)) << 32 | length);
            }
            rest = rest.get(read..).unwrap_or_default();
        }
        chunks.sort_unstable();
        chunks.dedup_by(|next, kept| {
            let same = hash_of(*next) == hash_of(*kept);
            if same {
                *kept += bytes_of(*next);
            }
            same
        });
        Self {
            bytes_by_hash: chunks,
            size: data.len() as u64,
        }
    }

    /// How much of this file the other has too, from 0 to [`MAX_SCORE`].
    pub(super) fn score(&self, other: &Self) -> u32 {
        let larger = self.size.max(other.size);
        if other.size == 0 {
            return 0;
        }
        let mut shared = 0_u64;
        let mut theirs = other.bytes_by_hash.iter().peekable();
        for chunk in self.bytes_by_hash.iter().copied() {
            let hash = hash_of(chunk);
            while theirs.next_if(|other| hash_of(**other) < hash).is_some() {}
            if let Some(held) = theirs.next_if(|other| hash_of(**other) == hash) {
                shared += bytes_of(chunk).min(bytes_of(*held));
            }
        }
        // In floating point, as git computes it.
        (shared as f64 * f64::from(MAX_SCORE) / larger as f64) as u32
    }
}

fn hash_of(chunk: u64) -> u64 {
    chunk >> 32
}

fn bytes_of(chunk: u64) -> u64 {
    chunk & u64::from(u32::MAX)
}

/// Whether files of these sizes can reach a score at all.
pub(super) fn sizes_allow(one: u64, other: u64, least: u32) -> bool {
    let (larger, smaller) = (one.max(other) as f64, one.min(other) as f64);
    larger * f64::from(MAX_SCORE - least) >= (larger - smaller) * f64::from(MAX_SCORE)
}

/// Adds a byte to the sum of a chunk: two halves, turned together, the byte added to the lower.
fn add(sum: u64, byte: u8) -> u64 {
    let added = sum.rotate_left(7).wrapping_add(u64::from(byte));
    let is_carried = (added as u32) < u32::from(byte);
    // Rare, so that this costs less than to keep the halves apart.
    added.wrapping_sub(u64::from(is_carried) << 32)
}

/// The hash of a chunk with this sum.
fn hash(sum: u64) -> u32 {
    let (low, high) = (sum as u32, (sum >> 32) as u32);
    low.wrapping_add(high.wrapping_mul(0x61)) % HASH_BASE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(one: &[u8], other: &[u8]) -> u32 {
        Chunks::of(one, true).score(&Chunks::of(other, true))
    }

    #[test]
    fn what_is_shared_counts_by_bytes() {
        assert_eq!(score(b"a\nb\nc\n", b"a\nb\nc\n"), MAX_SCORE);
        assert_eq!(score(b"a\nb\nc\nd\n", b"a\nb\n"), MAX_SCORE / 2);
        assert_eq!(score(b"one\n", b"two\n"), 0);
        assert_eq!(score(b"one\n", b""), 0);
        assert_eq!(
            score(b"a\r\nb\r\n", b"a\nb\n"),
            (4.0 * 60_000.0 / 6.0) as u32,
            "chunks are the same, sizes are not"
        );
    }

    #[test]
    fn sizes_too_far_apart_cannot_be_similar() {
        assert!(sizes_allow(100, 50, MAX_SCORE / 2));
        assert!(!sizes_allow(100, 49, MAX_SCORE / 2));
        assert!(sizes_allow(0, 0, MAX_SCORE / 2));
    }
}
