//! A file's own bytes → what it says of itself, by its first bytes and not by its name.
//!
//! - In: the bytes of a file; a video is read by seeking.
//! - Out: its media type, [`Facts`], and the small picture that the camera left in it.
//! - Not here: what lies beside the file, and its digest (`read`).

use super::facts::Facts;
use super::{heif, tags, video, xmp};
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ImageDecoder, ImageResult};
use std::fs;
use std::io::{Cursor, Seek};
use std::path::Path;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Pixels that no camera and no panorama has, but a damaged or hostile header.
const MOST_PIXELS: i64 = 1 << 32;

/// The boxes that old QuickTime files begin with.
const OLD_QUICKTIME: &[&[u8]] = &[b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot"];

/// Media type, facts, and the small picture in the file.
pub(super) type Told = (&'static str, Facts, Option<Vec<u8>>);

/// What a file's own bytes say.
///
/// # Errors
/// Why it is no photo or video, or is too damaged.
pub(super) fn facts(path: &Path, bytes: &[u8], file: &mut fs::File) -> Result<Told, String> {
    let told = told(path, bytes, file)?;
    match told.1.size {
        Some((width, height)) if width < 1 || height < 1 || width.saturating_mul(height) > MOST_PIXELS => {
            Err(format!(
                "its header claims {width} × {height} pixels, which no picture has"
            ))
        }
        _ => Ok(told),
    }
}

fn told(path: &Path, bytes: &[u8], file: &mut fs::File) -> Result<Told, String> {
    let unfit = |reason: &str| Err(format!("damaged: {reason}"));
    match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => {
            let decoder = PngDecoder::new(Cursor::new(bytes));
            with_decoder("image/png", decoder)
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            let decoder = WebPDecoder::new(Cursor::new(bytes));
            with_decoder("image/webp", decoder)
        }
        [b'I', b'I', 0x2a, 0, ..] | [b'M', b'M', 0, 0x2a, ..] => {
            tiff(raw_type(path).unwrap_or("image/tiff"), bytes.to_vec())
        }
        // RW2 and ORF are TIFF but for its number.
        [b'I', b'I', b'U', 0, rest @ ..] | [b'I', b'I', b'R', b'O' | b'S', rest @ ..] => {
            tiff(raw_type(path).unwrap_or("image/x-raw"), [b"II*\0", rest].concat())
        }
        [b'M', b'M', b'O', b'R', rest @ ..] => {
            tiff(raw_type(path).unwrap_or("image/x-raw"), [b"MM\0*", rest].concat())
        }
        [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', ..] => raf(bytes),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.get(..4) {
            Some(b"crx ") => cr3(bytes),
            Some(b"avif" | b"avis") => heic("image/avif", bytes),
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => {
                heic("image/heic", bytes)
            }
            Some(b"qt  ") => moving("video/quicktime", file, true),
            Some(brand) if brand.starts_with(b"3g") => moving("video/3gpp", file, true),
            Some(_) => moving("video/mp4", file, true),
            None => unfit("the file ends within its header"),
        },
        // QuickTime before it had a file type.
        [_, _, _, _, kind @ ..] if OLD_QUICKTIME.iter().any(|old| kind.starts_with(old)) => {
            moving("video/quicktime", file, false)
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => moving("video/x-matroska", file, true),
        _ => match raw_type(path) {
            Some(media_type) => Ok((
                media_type,
                Facts {
                    problems: vec!["metadata of this raw format is not read".to_owned()],
                    ..Facts::default()
                },
                None,
            )),
            None => Err("neither a photo nor a video that can be read, whatever its name says".to_owned()),
        },
    }
}

/// A TIFF, or a raw file that is one.
fn tiff(media_type: &'static str, bytes: Vec<u8>) -> Result<Told, String> {
    let exif = tags::parse(bytes).map_err(|error| format!("damaged: {error}"))?;
    if exif.fields().len() == 0 {
        return Err("damaged: no tag could be read".to_owned());
    }
    let mut facts = Facts {
        size: tags::image_size(&exif),
        ..Facts::default()
    };
    facts.add(tags::facts(&exif));
    add_xmp(&mut facts, tags::xmp(&exif).as_deref());
    let small = tags::thumbnail(&exif).map(<[u8]>::to_vec);
    Ok((media_type, facts, small))
}

fn jpeg(bytes: &[u8]) -> Result<Told, String> {
    // A width or height beyond the decoder's default limit is told all the same.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| match error {
        DecodeErrors::IoErrors(_) => "damaged: the file ends within its header".to_owned(),
        error => format!("damaged: {}", error.to_string().trim()),
    })?;
    let mut facts = Facts {
        size: decoder
            .dimensions()
            .map(|(width, height)| (width as i64, height as i64)),
        ..Facts::default()
    };
    let small = add_exif(&mut facts, decoder.exif().cloned());
    add_xmp(&mut facts, decoder.xmp().map(Vec::as_slice));
    Ok(("image/jpeg", facts, small))
}

/// What a picture's container says that the `image` crate opens.
fn with_decoder(media_type: &'static str, decoder: ImageResult<impl ImageDecoder>) -> Result<Told, String> {
    let mut decoder = decoder.map_err(|error| format!("damaged: {error}"))?;
    let (width, height) = decoder.dimensions();
    let mut facts = Facts {
        size: Some((width.into(), height.into())),
        ..Facts::default()
    };
    let mut small = None;
    match decoder.exif_metadata() {
        Ok(tiff) => small = add_exif(&mut facts, tiff),
        Err(error) => facts.problems.push(format!("Exif: {error}")),
    }
    match decoder.xmp_metadata() {
        Ok(packet) => add_xmp(&mut facts, packet.as_deref()),
        Err(error) => facts.problems.push(format!("XMP: {error}")),
    }
    Ok((media_type, facts, small))
}

/// Adds what Exif says, and gives the small picture in it.
fn add_exif(facts: &mut Facts, tiff: Option<Vec<u8>>) -> Option<Vec<u8>> {
    // Some programs leave JPEG's prefix in other containers.
    let tiff = tiff.map(|tiff| tiff.strip_prefix(b"Exif\0\0").map(<[u8]>::to_vec).unwrap_or(tiff))?;
    match tags::parse(tiff) {
        Ok(exif) => {
            facts.add(tags::facts(&exif));
            tags::thumbnail(&exif).map(<[u8]>::to_vec)
        }
        Err(error) => {
            facts.problems.push(format!("Exif: {error}"));
            None
        }
    }
}

fn add_xmp(facts: &mut Facts, packet: Option<&[u8]>) {
    match packet.map(|packet| xmp::facts(packet, xmp::EMBEDDED)) {
        Some(Ok(mut told)) => {
            // Programs write titles and captions here first; what cameras know stands in Exif first.
            facts.caption = told.caption.take().or(facts.caption.take());
            facts.add(told);
        }
        Some(Err(error)) => facts.problems.push(format!("XMP: {error}")),
        None => {}
    }
}

fn heic(media_type: &'static str, bytes: &[u8]) -> Result<Told, String> {
    let index = heif::index(bytes).map_err(|reason| format!("damaged: {reason}"))?;
    let mut facts = Facts {
        size: index.size,
        ..Facts::default()
    };
    if index.is_cut {
        facts
            .problems
            .push("the file ends before its picture does".to_owned());
    }
    let exif = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(&mut Cursor::new(bytes))
        .or_else(|error| error.distill_partial_result(|_| ()));
    let mut small = None;
    match exif {
        Ok(exif) => {
            facts.add(tags::facts(&exif));
            small = tags::thumbnail(&exif).map(<[u8]>::to_vec);
        }
        Err(exif::Error::NotFound(_)) => {}
        Err(error) => facts.problems.push(format!("Exif: {error}")),
    }
    add_xmp(&mut facts, index.xmp);
    Ok((media_type, facts, small))
}

fn moving(media_type: &'static str, file: &mut fs::File, has_type: bool) -> Result<Told, String> {
    file.rewind()
        .map_err(|error| format!("cannot be read: {error}"))?;
    let facts = video::facts(file, has_type).map_err(|error| format!("damaged: {error}"))?;
    Ok((media_type, facts, None))
}

/// CR3: the camera's directories lie apart from each other, as TIFF structures of their own.
fn cr3(bytes: &[u8]) -> Result<Told, String> {
    let mut facts = Facts::default();
    for block in heif::canon_blocks(bytes) {
        match tags::parse(block.to_vec()) {
            Ok(exif) => facts.add(tags::facts_of_loose(&exif)),
            Err(error) => facts.problems.push(format!("Exif: {error}")),
        }
    }
    if facts == Facts::default() {
        return Err("damaged: no tag could be read".to_owned());
    }
    Ok(("image/x-canon-cr3", facts, None))
}

/// RAF: its metadata is that of the JPEG in it, whose place and length stand at bytes 84 and 88.
fn raf(bytes: &[u8]) -> Result<Told, String> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(four)).ok()
    };
    let inner = number(84)
        .zip(number(88))
        .and_then(|(begin, length)| bytes.get(begin..begin.checked_add(length)?))
        .ok_or("damaged: the file ends before the JPEG in it does")?;
    let (_, facts, small) = jpeg(inner)?;
    Ok(("image/x-fuji-raf", facts, small))
}

/// Media type of a camera's own format, by its name: their first bytes are TIFF's.
fn raw_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let found = RAW_TYPES.iter().find(|(known, _)| *known == extension)?;
    Some(found.1)
}

/// Extensions of raw files, with their media types.
pub(super) const RAW_TYPES: &[(&str, &str)] = &[
    ("3fr", "image/x-hasselblad-3fr"),
    ("arw", "image/x-sony-arw"),
    ("cr2", "image/x-canon-cr2"),
    ("cr3", "image/x-canon-cr3"),
    ("dng", "image/x-adobe-dng"),
    ("erf", "image/x-epson-erf"),
    ("iiq", "image/x-phaseone-iiq"),
    ("nef", "image/x-nikon-nef"),
    ("nrw", "image/x-nikon-nrw"),
    ("orf", "image/x-olympus-orf"),
    ("pef", "image/x-pentax-pef"),
    ("raf", "image/x-fuji-raf"),
    ("rw2", "image/x-panasonic-rw2"),
    ("rwl", "image/x-leica-rwl"),
    ("sr2", "image/x-sony-sr2"),
    ("srw", "image/x-samsung-srw"),
];
