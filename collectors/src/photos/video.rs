//! Videos → facts.
//!
//! - In: an open MP4, MOV, 3GP, MKV or WebM file; it is read by seeking, whatever its size.
//! - Out: [`Facts`].
//! - Not here: frames.

use super::facts::{Facts, Place, Rank, Taken};
use super::heif;
use super::when::{self, Clock};
use nom_exif::{EntryValue, ExifDateTime, MediaParser, MediaSource, TrackInfo, TrackInfoTag};
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that the parser may read of one video: indexes of hours of film take some megabytes.
const MOST_READ: u64 = 64 << 20;

/// The name under which a camera writes the time with its zone ("QuickTime File Format", metadata).
const CREATION_DATE: &[u8] = b"com.apple.quicktime.creationdate";

/// Boxes passed on the way to the one that is looked for; cameras write some tens.
const MOST_BOXES: usize = 10_000;

/// Bytes read of the box with the named texts; cameras write some hundreds.
const LONGEST_META: u64 = 1 << 20;

/// What begins a QuickTime file: the parser knows no older ones, which have none.
const QUICKTIME: &[u8] = b"\0\0\0\x14ftypqt  \0\0\0\0qt  ";

/// What the container says; `has_type`: it begins with its type.
///
/// # Errors
/// Why it could not be read.
pub(super) fn facts(mut file: impl Read + Seek, has_type: bool) -> Result<Facts, String> {
    let keyed = creation_date(&mut file);
    file.rewind().map_err(|error| error.to_string())?;
    let bounded = Bounded {
        before: if has_type { b"" } else { QUICKTIME },
        file,
        at: 0,
        left: MOST_READ,
    };
    let source = MediaSource::seekable(bounded).map_err(|error| error.to_string())?;
    let track = MediaParser::new()
        .parse_track(source)
        .map_err(|error| error.to_string())?;
    Ok(told(&track, keyed))
}

/// The time with a zone that QuickTime has under its name. The parser gives it or the header's, and does not say which.
fn creation_date(file: &mut (impl Read + Seek)) -> Option<Clock> {
    enter(file, b"moov")?;
    let length = enter(file, b"meta")?;
    let mut meta = Vec::new();
    let read = file.take(length.min(LONGEST_META)).read_to_end(&mut meta).ok()?;
    if read as u64 != length {
        return None;
    }
    when::iso(heif::quicktime_text(&meta, CREATION_DATE)?)
}

/// Goes to the body of the next box of a kind, past the others (ISO/IEC 14496-12 §4.2); its length.
fn enter(file: &mut (impl Read + Seek), wanted: &[u8; 4]) -> Option<u64> {
    for _ in 0..MOST_BOXES {
        let (mut size, mut kind, mut large) = ([0; 4], [0; 4], [0; 8]);
        file.read_exact(&mut size).ok()?;
        file.read_exact(&mut kind).ok()?;
        let body = match u32::from_be_bytes(size) {
            // To the end of the file.
            0 => u64::MAX,
            1 => {
                file.read_exact(&mut large).ok()?;
                u64::from_be_bytes(large).checked_sub(16)?
            }
            size => u64::from(size).checked_sub(8)?,
        };
        if &kind == wanted {
            return Some(body);
        }
        file.seek(SeekFrom::Current(i64::try_from(body).ok()?)).ok()?;
    }
    None
}

fn told(track: &TrackInfo, keyed: Option<Clock>) -> Facts {
    let text = |tag| {
        let text = track.get(tag).and_then(EntryValue::as_str)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let integer = |tag| track.get(tag).and_then(EntryValue::try_as_integer);
    let mut facts = Facts {
        make: text(TrackInfoTag::Make),
        model: text(TrackInfoTag::Model),
        software: text(TrackInfoTag::Software),
        size: integer(TrackInfoTag::Width)
            .zip(integer(TrackInfoTag::Height))
            .filter(|&size| size != (0, 0)),
        duration_s: integer(TrackInfoTag::DurationMs).map(|ms| ms as f64 / 1_000.0),
        ..Facts::default()
    };
    // The parser's own reading of it keeps hundredths of seconds only: 30 cm.
    if let Some((latitude, longitude, altitude)) =
        text(TrackInfoTag::GpsIso6709).and_then(|text| iso6709(&text))
    {
        facts.place = Place::new(latitude, longitude, "QuickTime");
        facts.altitude_m = altitude;
    }
    let created = track
        .get(TrackInfoTag::CreateDate)
        .and_then(EntryValue::as_datetime);
    if let Some(clock) = keyed {
        facts.times.push(Taken {
            rank: Rank::Created,
            clock,
            source: "QuickTime CreationDate".to_owned(),
            offset_source: None,
        });
    } else if let Some(ExifDateTime::Aware(at)) = created {
        // The header's time should be UTC (ISO/IEC 14496-12 §8.2.2); many cameras write what their clock shows,
        // so it tells no offset. 1904 begins the count: nothing was written.
        let at = at.timestamp_micros();
        if at > UNSET {
            facts.times.push(Taken {
                rank: Rank::Created,
                clock: Clock { at, offset_min: None },
                source: "QuickTime CreateDate".to_owned(),
                offset_source: None,
            });
        }
    }
    facts
}

/// Latitude, longitude and height of `+47.3769+008.5417+408.000/` (ISO 6709 Annex H). Digits before the point tell
/// the form: degrees, degrees and minutes, or degrees, minutes and seconds.
fn iso6709(text: &str) -> Option<(f64, f64, Option<f64>)> {
    let text = text.split(['/', 'C']).next()?;
    let starts: Vec<usize> = text.match_indices(['+', '-']).map(|(at, _)| at).collect();
    let part = |index: usize| {
        let begin = *starts.get(index)?;
        text.get(begin..starts.get(index + 1).copied().unwrap_or(text.len()))
    };
    let angle = |index: usize, degrees: usize| {
        let part = part(index)?;
        let number: f64 = part.get(1..)?.parse().ok()?;
        let sign = if part.starts_with('-') { -1.0 } else { 1.0 };
        let digits = part.get(1..)?.split('.').next()?.len();
        let angle = match digits.checked_sub(degrees)? {
            0 => number,
            2 => (number / 100.0).trunc() + number % 100.0 / 60.0,
            4 => {
                let minutes = (number % 10_000.0 / 100.0).trunc();
                (number / 10_000.0).trunc() + minutes / 60.0 + number % 100.0 / 3_600.0
            }
            _ => return None,
        };
        Some(sign * angle)
    };
    let altitude = part(2).and_then(|part| part.parse().ok());
    Some((angle(0, 2)?, angle(1, 3)?, altitude))
}

/// 1970-01-01: before it, and at it, the count was never set or begun in the wrong year.
const UNSET: i64 = 0;

/// A file behind some bytes, of which the parser may read so much and no more.
struct Bounded<F> {
    before: &'static [u8],
    file: F,
    /// Where the parser is, from the first byte of `before`.
    at: u64,
    left: u64,
}

impl<F: Read> Read for Bounded<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "its index is longer than {} MiB",
                MOST_READ >> 20
            )));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let begun = usize::try_from(self.at).ok().and_then(|at| self.before.get(at..));
        let read = match begun {
            Some(mut begun @ [_, ..]) => begun.read(buffer)?,
            _ => self.file.read(buffer)?,
        };
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<F: Seek> Seek for Bounded<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let before = self.before.len() as u64;
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => Some(before + self.file.seek(SeekFrom::End(by))?),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(self.at.saturating_sub(before)))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = (body.len() as u32 + 8).to_be_bytes();
        [&size[..], kind, body].concat()
    }

    /// A film that has this time under its name.
    fn film(time: &str) -> Vec<u8> {
        let keys = [b"\0\0\0\0\0\0\0\x01".to_vec(), boxed(b"mdta", CREATION_DATE)].concat();
        let data = boxed(b"data", &[b"\0\0\0\x01\0\0\0\0", time.as_bytes()].concat());
        let ilst = boxed(&[0, 0, 0, 1], &data);
        let meta = [boxed(b"keys", &keys), boxed(b"ilst", &ilst)].concat();
        let moov = [boxed(b"mvhd", &[0; 100]), boxed(b"meta", &meta)].concat();
        // A box with its length in 64 bits.
        let frames = b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14four".to_vec();
        [boxed(b"ftyp", b"qt  \0\0\0\0qt  "), frames, boxed(b"moov", &moov)].concat()
    }

    #[test]
    fn a_time_in_utc_under_its_name_is_told_from_the_headers() {
        let read = |time: &str| creation_date(&mut io::Cursor::new(film(time)));
        let clock = read("2024-01-01T10:00:00+0000").unwrap();
        assert_eq!((clock.at, clock.offset_min), (1_704_103_200_000_000, Some(0)));
        let clock = read("2024-01-01T10:00:00+01:00").unwrap();
        assert_eq!((clock.at, clock.offset_min), (1_704_103_200_000_000, Some(60)));
        assert_eq!(read("in winter"), None);
        let whole = film("2024-01-01T10:00:00+0000");
        for cut in 0..whole.len() {
            assert_eq!(creation_date(&mut io::Cursor::new(&whole[..cut])), None, "{cut}");
        }
    }

    #[test]
    fn bytes_before_a_file_are_read_and_sought_as_if_they_were_its_own() {
        let mut file = Bounded {
            before: b"abc",
            file: io::Cursor::new(b"defgh"),
            at: 0,
            left: 20,
        };
        let mut all = String::new();
        file.read_to_string(&mut all).unwrap();
        assert_eq!(all, "abcdefgh");
        for (to, rest) in [
            (SeekFrom::Start(1), "bcdefgh"),
            (SeekFrom::End(-2), "gh"),
            (SeekFrom::Current(-5), "defgh"),
        ] {
            all.clear();
            file.left = 20;
            file.seek(to).unwrap();
            file.read_to_string(&mut all).unwrap();
            assert_eq!(all, rest);
        }
        file.left = 1;
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(file.read_to_string(&mut all).is_err());
    }

    #[test]
    fn positions_of_all_forms_keep_their_precision() {
        assert_eq!(
            iso6709("+27.1281+100.2508+000.000/"),
            Some((27.1281, 100.2508, Some(0.0)))
        );
        assert_eq!(
            iso6709("-33.8568-070.1234-12.5CRSWGS_84/"),
            Some((-33.8568, -70.1234, Some(-12.5)))
        );
        for (text, wanted) in [
            ("+4730.6-00030.3/", (47.51, -0.505)),
            ("+473036.0+0083036.0/", (47.51, 8.51)),
        ] {
            let (latitude, longitude, _) = iso6709(text).unwrap();
            assert!((latitude - wanted.0).abs() < 1e-9 && (longitude - wanted.1).abs() < 1e-9);
        }
        for bad in ["", "/", "+1+2/", "here", "+12.3", "+12.3+x/"] {
            assert_eq!(iso6709(bad), None, "{bad}");
        }
    }
}
