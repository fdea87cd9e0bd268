//! Exif tags → facts (Exif 2.32, TIFF 6.0).
//!
//! - In: a TIFF structure that `kamadak-exif` has parsed.
//! - Out: [`Facts`], the XMP packet of a TIFF, and the small JPEG that the camera left in it.
//! - Not here: finding the structure in a container (`read`); makers' own notes.

use super::facts::{Facts, Place, Rank, Taken};
use super::when;
use exif::{Context, Exif, In, Reader, Tag, Value};

/// Offset of a fuller image in a TIFF (TIFF/EP).
const SUB_IFDS: Tag = Tag(Context::Tiff, 0x014a);

/// What kind of image a directory holds (TIFF 6.0): 0 the full one, but for [`PAGE`].
const NEW_SUBFILE_TYPE: Tag = Tag(Context::Tiff, 0x00fe);

/// The bit of it that says that the image is a page of several. It may be a full one.
const PAGE: i64 = 2;

/// An XMP packet (XMP part 3).
const XMP: Tag = Tag(Context::Tiff, 0x02bc);

/// Panasonic's own tags in RW2: the sensor's top, left, bottom and right border, and its
/// sensitivity.
const BORDERS: [Tag; 4] = [
    Tag(Context::Tiff, 4),
    Tag(Context::Tiff, 5),
    Tag(Context::Tiff, 6),
    Tag(Context::Tiff, 7),
];
const PANASONIC_ISO: Tag = Tag(Context::Tiff, 0x17);

/// Most directories of images looked at in one raw file; cameras write up to four.
const MOST_SUB_IFDS: usize = 8;

/// Parses a TIFF structure as far as it is sound.
pub(super) fn parse(tiff: Vec<u8>) -> Result<Exif, String> {
    let parsed = Reader::new().continue_on_error(true).read_raw(tiff);
    parsed
        .or_else(|error| error.distill_partial_result(|_| ()))
        .map_err(|error| error.to_string())
}

/// What the tags say.
pub(super) fn facts(exif: &Exif) -> Facts {
    facts_in(&Tags {
        exif,
        is_loose: false,
    })
}

/// What the tags say of a structure whose first directory may be that of Exif or GPS (CR3).
pub(super) fn facts_of_loose(exif: &Exif) -> Facts {
    facts_in(&Tags { exif, is_loose: true })
}

/// Tags of the first image.
struct Tags<'a> {
    exif: &'a Exif,
    /// Whether all tags are looked for in the first directory.
    is_loose: bool,
}

fn facts_in(tags: &Tags<'_>) -> Facts {
    let text = |tag| tags.text(tag);
    let number = |tag| tags.number(tag);
    let integer = |tag| tags.integer(tag);
    let mut facts = Facts {
        make: text(Tag::Make),
        model: text(Tag::Model),
        lens: text(Tag::LensModel),
        software: text(Tag::Software),
        caption: text(Tag::ImageDescription),
        focal_length_mm: number(Tag::FocalLength),
        f_number: number(Tag::FNumber),
        exposure_s: number(Tag::ExposureTime),
        iso: integer(Tag::PhotographicSensitivity).or_else(|| integer(PANASONIC_ISO)),
        orientation: integer(Tag::Orientation).filter(|turn| (1..=8).contains(turn)),
        size: integer(Tag::PixelXDimension).zip(integer(Tag::PixelYDimension)),
        ..Facts::default()
    };
    let times = [
        (
            Rank::Original,
            Tag::DateTimeOriginal,
            Tag::SubSecTimeOriginal,
            Tag::OffsetTimeOriginal,
        ),
        (
            Rank::Digitized,
            Tag::DateTimeDigitized,
            Tag::SubSecTimeDigitized,
            Tag::OffsetTimeDigitized,
        ),
        (Rank::Changed, Tag::DateTime, Tag::SubSecTime, Tag::OffsetTime),
    ];
    for (rank, time, fraction, offset) in times {
        let Some(said) = text(time) else { continue };
        let Some(mut clock) = when::exif(&said, text(fraction).as_deref()) else {
            if is_meant(&said) {
                facts
                    .problems
                    .push(format!("Exif {time} cannot be read as a time"));
            }
            continue;
        };
        let own = clock.offset_min;
        clock.offset_min = own.or_else(|| when::offset_min(&text(offset)?));
        let is_from_tag = own.is_none() && clock.offset_min.is_some();
        facts.times.push(Taken {
            rank,
            clock,
            source: format!("Exif {time}"),
            offset_source: is_from_tag.then(|| format!("Exif {offset}")),
        });
    }
    gps(tags, &mut facts);
    facts
}

/// Whether a text that is no time was meant to be one: of a time that is not known there are only the signs, or zeroes
/// (Exif 2.32 §4.6.5).
fn is_meant(time: &str) -> bool {
    time.chars().any(|c| c.is_alphanumeric() && c != '0')
}

/// The XMP packet of a TIFF.
pub(super) fn xmp(exif: &Exif) -> Option<Vec<u8>> {
    match &exif.get_field(XMP, In::PRIMARY)?.value {
        Value::Byte(packet) | Value::Undefined(packet, _) => Some(packet.clone()),
        _ => None,
    }
}

/// The size of the full image of a TIFF or raw file: of the directory that says it holds it, else of the first.
pub(super) fn image_size(exif: &Exif) -> Option<(i64, i64)> {
    let first = size_in(exif, In::PRIMARY);
    let is_full =
        |exif: &Exif| integer(exif, In::PRIMARY, NEW_SUBFILE_TYPE).is_none_or(|kind| kind & !PAGE == 0);
    if is_full(exif) {
        return first;
    }
    let offsets = exif.get_field(SUB_IFDS, In::PRIMARY);
    let offsets = offsets.and_then(|field| field.value.iter_uint());
    let full = offsets
        .into_iter()
        .flatten()
        .take(MOST_SUB_IFDS)
        .find_map(|offset| {
            // The same bytes with that directory as their first.
            let mut tiff = exif.buf().to_vec();
            let offset = if exif.little_endian() {
                offset.to_le_bytes()
            } else {
                offset.to_be_bytes()
            };
            tiff.get_mut(4..8)?.copy_from_slice(&offset);
            let directory = parse(tiff).ok()?;
            let size = size_in(&directory, In::PRIMARY)?;
            is_full(&directory).then_some(size)
        });
    full.or(first)
}

fn size_in(exif: &Exif, directory: In) -> Option<(i64, i64)> {
    let integer = |tag| integer(exif, directory, tag);
    let stated = integer(Tag::ImageWidth).zip(integer(Tag::ImageLength));
    stated.or_else(|| {
        let [top, left, bottom, right] = BORDERS.map(integer);
        Some((right? - left?, bottom? - top?))
    })
}

/// The small JPEG that the camera left beside the tags.
pub(super) fn thumbnail(exif: &Exif) -> Option<&[u8]> {
    let at = |tag| usize::try_from(integer(exif, In::THUMBNAIL, tag)?).ok();
    let begin = at(Tag::JPEGInterchangeFormat)?;
    let end = begin.checked_add(at(Tag::JPEGInterchangeFormatLength)?)?;
    exif.buf().get(begin..end)
}

fn gps(tags: &Tags<'_>, facts: &mut Facts) {
    let degrees = |tag, reference, (plus, minus): (char, char)| {
        let angle = tags.angle(tag)?;
        let sign = tags.text(reference).and_then(|text| text.chars().next());
        match sign.map(|sign| sign.to_ascii_uppercase()) {
            Some(sign) if sign == plus => Some(Ok(angle)),
            Some(sign) if sign == minus => Some(Ok(-angle)),
            // South would be as likely as north.
            _ => Some(Err(())),
        }
    };
    let latitude = degrees(Tag::GPSLatitude, Tag::GPSLatitudeRef, ('N', 'S'));
    let longitude = degrees(Tag::GPSLongitude, Tag::GPSLongitudeRef, ('E', 'W'));
    match (latitude, longitude) {
        (Some(Ok(latitude)), Some(Ok(longitude))) => {
            facts.place = Place::new(latitude, longitude, "Exif GPS");
            if facts.place.is_none() {
                facts
                    .problems
                    .push(format!("GPS position {latitude}, {longitude} is not on earth"));
            }
        }
        (Some(Err(())), _) | (_, Some(Err(()))) => {
            let problem = "GPS position without N or S, E or W";
            facts.problems.push(problem.to_owned());
        }
        _ => {}
    }
    // Without a reference it is above sea level (Exif 2.32 §4.6.6.1.6). Exif 3.0 tells the sea from the
    // ellipsoid: 3 is below as 1 is, 2 above as 0.
    let below = matches!(tags.integer(Tag::GPSAltitudeRef), Some(1 | 3));
    facts.altitude_m = tags
        .number(Tag::GPSAltitude)
        .map(|metres| if below { -metres.abs() } else { metres });
    let date = tags.text(Tag::GPSDateStamp);
    let time = tags.numbers(Tag::GPSTimeStamp);
    if let (Some(date), Some([hour, minute, second])) = (date, time.as_deref()) {
        let midnight = when::exif(&format!("{date} 00:00:00"), None);
        let seconds = hour * 3_600.0 + minute * 60.0 + second;
        if let Some(midnight) = midnight.filter(|_| (0.0..86_401.0).contains(&seconds)) {
            let moment = midnight.at + (seconds * 1e6) as i64;
            facts.moments.push((moment, "Exif GPSTimeStamp"));
        }
    }
}

impl Tags<'_> {
    fn value(&self, tag: Tag) -> Option<&Value> {
        let tag = if self.is_loose {
            Tag(Context::Tiff, tag.number())
        } else {
            tag
        };
        Some(&self.exif.get_field(tag, In::PRIMARY)?.value)
    }

    /// Degrees of up to three numbers: degrees, minutes, seconds.
    fn angle(&self, tag: Tag) -> Option<f64> {
        let parts = self.numbers(tag)?;
        let whole = *parts.first().filter(|degrees| degrees.is_finite())?;
        let part = |index: usize| {
            parts
                .get(index)
                .copied()
                .filter(|part| part.is_finite())
                .unwrap_or(0.0)
        };
        Some(whole + part(1) / 60.0 + part(2) / 3_600.0)
    }

    /// A text without what pads it. Old programs wrote Latin-1 where ASCII is due.
    fn text(&self, tag: Tag) -> Option<String> {
        let bytes = match self.value(tag)? {
            Value::Ascii(texts) => texts.first()?.as_slice(),
            // Exif 3.0 and some programs write text as bytes.
            Value::Undefined(bytes, _) | Value::Byte(bytes) => bytes.split(|&byte| byte == 0).next()?,
            _ => return None,
        };
        let text = std::str::from_utf8(bytes)
            .map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A finite number.
    fn number(&self, tag: Tag) -> Option<f64> {
        let first = self.numbers(tag)?.first().copied();
        first.filter(|number| number.is_finite())
    }

    /// Numbers of any kind; a quotient by 0 is infinite or no number.
    fn numbers(&self, tag: Tag) -> Option<Vec<f64>> {
        let numbers = match self.value(tag)? {
            Value::Rational(all) => all
                .iter()
                .map(|of| f64::from(of.num) / f64::from(of.denom))
                .collect(),
            Value::SRational(all) => all
                .iter()
                .map(|of| f64::from(of.num) / f64::from(of.denom))
                .collect(),
            Value::Float(all) => all.iter().copied().map(f64::from).collect(),
            Value::Double(all) => all.clone(),
            Value::SShort(all) => all.iter().copied().map(f64::from).collect(),
            Value::SLong(all) => all.iter().copied().map(f64::from).collect(),
            other => other.iter_uint()?.map(f64::from).collect(),
        };
        Some(numbers)
    }

    fn integer(&self, tag: Tag) -> Option<i64> {
        first_integer(self.value(tag)?)
    }
}

/// An integer of the first image, or of the small one.
fn integer(exif: &Exif, directory: In, tag: Tag) -> Option<i64> {
    first_integer(&exif.get_field(tag, directory)?.value)
}

fn first_integer(value: &Value) -> Option<i64> {
    match value {
        Value::SShort(all) => all.first().copied().map(i64::from),
        Value::SLong(all) => all.first().copied().map(i64::from),
        other => other.get_uint(0).map(i64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exif::experimental::Writer;
    use exif::{Field, Rational};
    use std::io::Cursor;

    fn written<const N: usize>(fields: [(Tag, Value); N]) -> Exif {
        let fields = fields.map(|(tag, value)| Field {
            tag,
            ifd_num: In::PRIMARY,
            value,
        });
        let mut writer = Writer::new();
        for field in &fields {
            writer.push_field(field);
        }
        let mut tiff = Cursor::new(Vec::new());
        writer.write(&mut tiff, true).unwrap();
        parse(tiff.into_inner()).unwrap()
    }

    fn ascii(text: &str) -> Value {
        Value::Ascii(vec![text.as_bytes().to_vec()])
    }

    #[test]
    fn a_page_has_a_size_whatever_kind_of_image_it_says_it_is() {
        for kind in [0, 1, 2, 3, 4] {
            let exif = written([
                (NEW_SUBFILE_TYPE, Value::Long(vec![kind])),
                (Tag::ImageWidth, Value::Long(vec![300])),
                (Tag::ImageLength, Value::Long(vec![200])),
            ]);
            assert_eq!(image_size(&exif), Some((300, 200)), "{kind}");
        }
        let leads_nowhere = written([
            (NEW_SUBFILE_TYPE, Value::Long(vec![1])),
            (Tag::ImageWidth, Value::Long(vec![300])),
            (Tag::ImageLength, Value::Long(vec![200])),
            (SUB_IFDS, Value::Long(vec![1 << 30])),
        ]);
        assert_eq!(image_size(&leads_nowhere), Some((300, 200)));
    }

    #[test]
    fn heights_below_the_sea_and_below_the_ellipsoid_are_negative() {
        let height = |reference| {
            let exif = written([
                (Tag::GPSAltitudeRef, Value::Byte(vec![reference])),
                (
                    Tag::GPSAltitude,
                    Value::Rational(vec![Rational { num: 25, denom: 2 }]),
                ),
            ]);
            facts(&exif).altitude_m
        };
        let all = [0, 1, 2, 3].map(height);
        assert_eq!(all, [Some(12.5), Some(-12.5), Some(12.5), Some(-12.5)]);
    }

    #[test]
    fn a_zone_in_a_time_comes_before_the_tag_beside_it_and_no_time_is_a_problem() {
        let exif = written([
            (Tag::DateTimeOriginal, ascii("2024:05:06 07:08:09+02:00")),
            (Tag::OffsetTimeOriginal, ascii("+05:00")),
            (Tag::DateTimeDigitized, ascii("2024-05-06T07:08:09")),
            (Tag::OffsetTimeDigitized, ascii("+01:00")),
            (Tag::DateTime, ascii("0000:00:00 00:00:00")),
        ]);
        let told = facts(&exif);
        let offsets: Vec<_> = told
            .times
            .iter()
            .map(|taken| (taken.clock.offset_min, taken.offset_source.as_deref()))
            .collect();
        assert_eq!(
            offsets,
            [(Some(120), None), (Some(60), Some("Exif OffsetTimeDigitized"))]
        );
        assert!(told.problems.is_empty(), "{:?}", told.problems);
        let told = facts(&written([(Tag::DateTimeOriginal, ascii("yesterday"))]));
        assert_eq!(told.problems, ["Exif DateTimeOriginal cannot be read as a time"]);
    }
}
