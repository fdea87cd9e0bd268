//! XMP packets and sidecars → facts (XMP part 1: RDF in XML).
//!
//! - In: a packet, from a photo or from a file beside it.
//! - Out: [`Facts`]. A property counts wherever it stands: as attribute, as element, as item of a list.
//! - Not here: which packet wins (`read`).

use super::facts::{Facts, Place, Rank, Taken};
use super::when;
use quick_xml::escape::unescape;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Where a packet lies, which is how columns name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// `XMP` or `sidecar XMP`.
    pub name: &'static str,
}

/// In the photo itself.
pub(super) const EMBEDDED: Origin = Origin { name: "XMP" };

/// In a file beside it.
pub(super) const SIDECAR: Origin = Origin { name: "sidecar XMP" };

/// Deepest nesting that is followed; programs write about ten levels.
const DEEPEST: usize = 64;

/// Namespaces of the properties that are read, with the prefix that everyone writes for them.
const NAMESPACES: &[(&str, &str)] = &[
    ("http://purl.org/dc/elements/1.1/", "dc"),
    ("http://ns.adobe.com/xap/1.0/", "xmp"),
    ("http://ns.adobe.com/exif/1.0/", "exif"),
    ("http://cipa.jp/exif/1.0/", "exifEX"),
    ("http://ns.adobe.com/exif/1.0/aux/", "aux"),
    ("http://ns.adobe.com/tiff/1.0/", "tiff"),
    ("http://ns.adobe.com/photoshop/1.0/", "photoshop"),
    ("http://www.digikam.org/ns/1.0/", "digiKam"),
    ("http://www.metadataworkinggroup.com/schemas/regions/", "mwg-rs"),
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "Iptc4xmpExt"),
    ("http://ns.microsoft.com/photo/1.2/t/Region#", "MPReg"),
    ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "rdf"),
];

/// What a packet says.
///
/// # Errors
/// Why it is no XMP.
pub(super) fn facts(packet: &[u8], origin: Origin) -> Result<Facts, String> {
    let properties = properties(packet)?;
    let first = |name: &str| {
        properties
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, text)| text.as_str())
    };
    let all = |name: &str| {
        properties
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, text)| text.clone())
            .collect::<Vec<String>>()
    };
    let owned = |name: &str| first(name).map(str::to_owned);
    let mut facts = Facts {
        make: owned("tiff:Make"),
        model: owned("tiff:Model"),
        lens: owned("exifEX:LensModel").or_else(|| owned("aux:Lens")),
        software: owned("xmp:CreatorTool").or_else(|| owned("tiff:Software")),
        focal_length_mm: first("exif:FocalLength").and_then(quotient),
        f_number: first("exif:FNumber").and_then(quotient),
        exposure_s: first("exif:ExposureTime").and_then(quotient),
        iso: first("exifEX:PhotographicSensitivity")
            .or_else(|| first("exif:ISOSpeedRatings"))
            .and_then(|text| text.parse().ok()),
        orientation: first("tiff:Orientation")
            .and_then(|text| text.parse().ok())
            .filter(|turn| (1..=8).contains(turn)),
        title: owned("dc:title"),
        caption: owned("dc:description"),
        tags: all("dc:subject"),
        rating: first("xmp:Rating")
            .and_then(|text| text.parse::<f64>().ok())
            .map(|stars| stars as i64),
        ..Facts::default()
    };
    for names in [
        "mwg-rs:Name",
        "Iptc4xmpExt:PersonInImage",
        "MPReg:PersonDisplayName",
    ] {
        facts.people.extend(all(names));
    }
    // digiKam writes a tag by its place in a tree: its last part is the tag.
    let trees = all("digiKam:TagsList");
    let leaves = trees.iter().filter_map(|path| path.rsplit('/').next());
    facts.tags.extend(leaves.map(str::to_owned));
    for (name, rank) in [
        ("exif:DateTimeOriginal", Rank::OriginalCopy),
        ("photoshop:DateCreated", Rank::OriginalCopy),
        ("exif:DateTimeDigitized", Rank::Digitized),
        ("xmp:CreateDate", Rank::Digitized),
    ] {
        if let Some(clock) = first(name).and_then(when::iso) {
            facts.times.push(Taken {
                rank,
                clock,
                source: format!("{} {name}", origin.name),
                offset_source: None,
            });
        }
    }
    let latitude = first("exif:GPSLatitude").and_then(|text| degrees(text, 'N', 'S'));
    let longitude = first("exif:GPSLongitude").and_then(|text| degrees(text, 'E', 'W'));
    if let (Some(latitude), Some(longitude)) = (latitude, longitude) {
        facts.place = Place::new(latitude, longitude, origin.name);
        let below = matches!(first("exif:GPSAltitudeRef"), Some("1" | "3"));
        let altitude = first("exif:GPSAltitude").and_then(quotient);
        facts.altitude_m = altitude.map(|metres| if below { -metres } else { metres });
    }
    Ok(facts)
}

/// All properties with a text, in their order.
fn properties(packet: &[u8]) -> Result<Vec<(String, String)>, String> {
    // Some programs write UTF-16, with or without a mark (XMP part 3 §2.1).
    let encoding = match packet {
        [0, b'<', ..] => encoding_rs::UTF_16BE,
        [b'<', 0, ..] => encoding_rs::UTF_16LE,
        _ => encoding_rs::UTF_8,
    };
    let (text, _, _) = encoding.decode(packet);
    // Cameras pad packets with zeroes, and some put a zero before them.
    let mut reader = NsReader::from_str(text.trim_matches(|of: char| of == '\0' || of.is_whitespace()));
    reader.config_mut().check_end_names = false;
    let mut found = Vec::new();
    // Names of the open elements; those that only structure (rdf) are empty.
    let mut open: Vec<String> = Vec::new();
    let mut is_xmp = false;
    let mut written = String::new();
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                written.clear();
                let (namespace, local) = reader.resolver().resolve_element(element.name());
                let name = known(&namespace, local.as_ref());
                is_xmp |= name.starts_with("rdf:");
                for attribute in element.attributes().flatten() {
                    let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
                    let name = known(&namespace, local.as_ref());
                    let value = unescape(&attribute.value).unwrap_or_default();
                    keep(&mut found, name, &value);
                }
                if matches!(event, Event::Start(_)) {
                    if open.len() >= DEEPEST {
                        return Err(format!("nested deeper than {DEEPEST} levels"));
                    }
                    open.push(name);
                }
            }
            Event::Text(text) => written.push_str(text),
            Event::CData(text) => written.push_str(text),
            Event::GeneralRef(reference) => {
                let entity = format!("&{};", &**reference);
                written.push_str(&unescape(&entity).unwrap_or_default());
            }
            Event::End(_) => {
                // The text belongs to the innermost property around it.
                let property = open
                    .iter()
                    .rev()
                    .find(|name| !name.is_empty() && !name.starts_with("rdf:"));
                keep(&mut found, property.cloned().unwrap_or_default(), &written);
                written.clear();
                open.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if is_xmp {
        Ok(found)
    } else {
        Err("no RDF in it".to_owned())
    }
}

/// Prefix and name of a property in one of [`NAMESPACES`], else nothing.
fn known(namespace: &ResolveResult<'_>, local: &str) -> String {
    let ResolveResult::Bound(namespace) = namespace else {
        return String::new();
    };
    let prefix = NAMESPACES.iter().find(|(uri, _)| *uri == namespace.as_ref());
    prefix.map_or_else(String::new, |(_, prefix)| format!("{prefix}:{local}"))
}

fn keep(found: &mut Vec<(String, String)>, name: String, text: &str) {
    let text = text.trim();
    if !name.is_empty() && !text.is_empty() {
        found.push((name, text.to_owned()));
    }
}

/// `12/5` or `2.4`.
fn quotient(text: &str) -> Option<f64> {
    let number = match text.split_once('/') {
        Some((over, under)) => over.parse::<f64>().ok()? / under.parse::<f64>().ok()?,
        None => text.parse().ok()?,
    };
    number.is_finite().then_some(number)
}

/// `47,22,31.5N` or `47,22.525N` (XMP part 2 §3.3), and the plain number that some programs write.
fn degrees(text: &str, plus: char, minus: char) -> Option<f64> {
    let last = text.chars().last()?.to_ascii_uppercase();
    let sign = match last {
        last if last == plus => 1.0,
        last if last == minus => -1.0,
        _ => return text.parse().ok(),
    };
    let mut angle = 0.0;
    let mut unit = 1.0;
    for part in text.get(..text.len() - 1)?.split(',') {
        angle += part.trim().parse::<f64>().ok()? / unit;
        unit *= 60.0;
    }
    Some(sign * angle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &str = r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <r:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
  xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:m="http://www.metadataworkinggroup.com/schemas/regions/"
  xmp:Rating="4" exif:GPSLatitude="33,51.5S" exif:GPSLongitude="151,12,30E"
  exif:DateTimeOriginal="2011-12-13T14:15:16.5+10:00" xmp:Label="not read">
  <dc:title><r:Alt><r:li xml:lang="x-default">Harbour &amp; bridge</r:li><r:li xml:lang="de">Hafen</r:li></r:Alt></dc:title>
  <dc:subject><r:Bag><r:li>sea</r:li><r:li>city</r:li></r:Bag></dc:subject>
  <exif:GPSAltitude>125/2</exif:GPSAltitude><exif:GPSAltitudeRef>1</exif:GPSAltitudeRef>
  <m:Regions><r:Description><m:RegionList><r:Bag>
   <r:li><r:Description m:Name="Ada" m:Type="Face"/></r:li><r:li r:parseType="Resource"><m:Name>Grace</m:Name></r:li>
  </r:Bag></m:RegionList></r:Description></m:Regions>
 </r:Description></r:RDF></x:xmpmeta><?xpacket end="w"?>"#;

    #[test]
    fn properties_are_found_in_all_their_places_and_by_any_prefix() {
        let facts = facts(PACKET.as_bytes(), SIDECAR).unwrap();
        assert_eq!(facts.title.as_deref(), Some("Harbour & bridge"));
        assert_eq!(facts.tags, ["sea", "city"]);
        assert_eq!(facts.people, ["Ada", "Grace"]);
        assert_eq!(facts.rating, Some(4));
        let place = facts.place.unwrap();
        assert!((place.latitude + 33.858_333_3).abs() < 1e-6);
        assert!((place.longitude - 151.208_333_3).abs() < 1e-6);
        assert_eq!(facts.altitude_m, Some(-62.5));
        assert_eq!(facts.times[0].source, "sidecar XMP exif:DateTimeOriginal");
        assert_eq!(facts.times[0].clock.offset_min, Some(600));
    }

    #[test]
    fn a_packet_may_be_utf_16() {
        let little: Vec<u8> = PACKET.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = PACKET.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for packet in [little, big] {
            assert_eq!(facts(&packet, EMBEDDED).unwrap().rating, Some(4));
        }
    }

    #[test]
    fn what_is_no_xmp_says_so() {
        let bomb = "<a>".repeat(100);
        for bad in ["", "not XML", "<html><body>x</body></html>", "<a", bomb.as_str()] {
            assert!(facts(bad.as_bytes(), EMBEDDED).is_err(), "{bad}");
        }
    }
}
