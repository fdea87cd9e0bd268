//! The index of a HEIC or AVIF file → its size in pixels and where its XMP lies (ISO/IEC 23008-12, 14496-12).
//!
//! - In: the file's bytes. Out: what the `meta` box says of the primary image.
//! - CR3 and QuickTime are made of such boxes too: the camera's directories in the one, a named text in the other.
//! - Not here: Exif in the file (`kamadak-exif` finds it), and pixels. No library at hand tells the size.

/// What the index says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index<'a> {
    /// Width and height of the primary image, as stored.
    pub size: Option<(i64, i64)>,
    /// An XMP packet.
    pub xmp: Option<&'a [u8]>,
    /// Whether the file ends before a box of it does.
    pub is_cut: bool,
}

/// Boxes looked at in one box; cameras write a few hundred.
const MOST_BOXES: usize = 100_000;

/// Reads the index.
///
/// # Errors
/// Why the file has none that could be read.
pub(super) fn index(file: &[u8]) -> Result<Index<'_>, &'static str> {
    let mut meta = None;
    let mut is_cut = false;
    for found in Boxes(Bytes(file)).take(MOST_BOXES) {
        is_cut |= found.is_cut;
        if &found.kind == b"meta" && meta.is_none() {
            if found.is_cut {
                return Err("the file ends within its index (`meta`)");
            }
            meta = found.body.0.get(4..);
        }
    }
    let meta = meta.ok_or("it has no index (`meta`)")?;
    let mut index = read_meta(file, meta).ok_or("its index (`meta`) is damaged")?;
    index.is_cut = is_cut;
    Ok(index)
}

/// The TIFF structures of a CR3: its directories of the image, of Exif and of GPS.
pub(super) fn canon_blocks(file: &[u8]) -> Vec<&[u8]> {
    let children = |of| Boxes(Bytes(of)).take(MOST_BOXES);
    let in_moov = children(file).filter(|found| &found.kind == b"moov");
    let canons = in_moov
        .flat_map(|moov| children(moov.body.0))
        .filter(|found| &found.kind == b"uuid");
    canons
        .filter_map(|uuid| uuid.body.0.get(16..))
        .flat_map(children)
        .filter(|found| matches!(&found.kind, b"CMT1" | b"CMT2" | b"CMT4"))
        .map(|found| found.body.0)
        .collect()
}

/// The text that the `meta` box of a QuickTime film has under a name: `keys` numbers the names from 1, and `ilst` has a
/// box of that number ("QuickTime File Format", metadata).
pub(super) fn quicktime_text<'a>(meta: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let child = |of: &'a [u8], kind: &[u8]| {
        let mut boxes = Boxes(Bytes(of)).take(MOST_BOXES);
        boxes.find(|found| found.kind == kind).map(|found| found.body.0)
    };
    // After a version and a count each name is a box, whose kind is that of the name.
    let names = child(meta, b"keys")?.get(8..)?;
    let place = Boxes(Bytes(names))
        .take(MOST_BOXES)
        .position(|found| found.body.0 == name)?;
    let number = u32::try_from(place + 1).ok()?;
    let item = child(child(meta, b"ilst")?, &number.to_be_bytes())?;
    // Before the text stand its type and its language.
    std::str::from_utf8(child(item, b"data")?.get(8..)?).ok()
}

fn read_meta<'a>(file: &'a [u8], meta: &'a [u8]) -> Option<Index<'a>> {
    let child = |of: &'a [u8], kind: &[u8; 4]| {
        let mut boxes = Boxes(Bytes(of)).take(MOST_BOXES);
        boxes.find(|found| &found.kind == kind).map(|found| found.body.0)
    };
    let mut index = Index::default();
    let primary = child(meta, b"pitm").and_then(|pitm| {
        let mut pitm = Bytes(pitm);
        let wide = pitm.uint(1)? > 0;
        pitm.take(3)?;
        pitm.uint(if wide { 4 } else { 2 })
    });
    if let (Some(primary), Some(properties)) = (primary, child(meta, b"iprp")) {
        let all: Vec<_> = Boxes(Bytes(child(properties, b"ipco")?))
            .take(MOST_BOXES)
            .collect();
        let mut of_primary = associations(child(properties, b"ipma")?, primary)?.into_iter();
        index.size = of_primary.find_map(|number| {
            let property = all
                .get(number.checked_sub(1)?)
                .filter(|found| &found.kind == b"ispe")?;
            let mut ispe = Bytes(property.body.0);
            ispe.take(4)?;
            Some((ispe.uint(4)? as i64, ispe.uint(4)? as i64))
        });
    }
    let items = child(meta, b"iinf").and_then(xmp_item);
    if let (Some(item), Some(places)) = (items, child(meta, b"iloc")) {
        index.xmp = place_of(places, item).and_then(|(in_index, begin, length)| {
            let whole = if in_index { child(meta, b"idat")? } else { file };
            let begin = usize::try_from(begin).ok()?;
            whole.get(begin..begin.checked_add(usize::try_from(length).ok()?)?)
        });
    }
    Some(index)
}

/// Numbers, from 1, of the properties of an item (`ipma`).
fn associations(ipma: &[u8], item: u64) -> Option<Vec<usize>> {
    let mut ipma = Bytes(ipma);
    let version = ipma.uint(1)?;
    let flags = ipma.uint(3)?;
    for _ in 0..ipma.uint(4)? {
        let of = ipma.uint(if version < 1 { 2 } else { 4 })?;
        let mut numbers = Vec::new();
        for _ in 0..ipma.uint(1)? {
            // The top bit says whether a reader must know the property.
            let number = if flags & 1 == 1 {
                ipma.uint(2)? & 0x7fff
            } else {
                ipma.uint(1)? & 0x7f
            };
            numbers.push(number as usize);
        }
        if of == item {
            return Some(numbers);
        }
    }
    Some(Vec::new())
}

/// Number of the item that is XMP (`iinf`).
fn xmp_item(iinf: &[u8]) -> Option<u64> {
    let mut iinf = Bytes(iinf);
    let wide = iinf.uint(1)? > 0;
    iinf.take(3)?;
    iinf.uint(if wide { 4 } else { 2 })?;
    let mut entries = Boxes(iinf).take(MOST_BOXES);
    entries.find_map(|entry| {
        let mut infe = entry.body;
        let version = infe.uint(1)?;
        infe.take(3)?;
        let item = infe.uint(if version < 3 { 2 } else { 4 })?;
        infe.take(2)?;
        let is_xmp = infe.take(4)? == b"mime"
            && infe
                .0
                .split(|&byte| byte == 0)
                .any(|text| text == b"application/rdf+xml");
        is_xmp.then_some(item)
    })
}

/// Where an item lies (`iloc`): in the index itself or in the file, from which byte, how many bytes. Only items in
/// one piece; XMP is.
fn place_of(iloc: &[u8], wanted: u64) -> Option<(bool, u64, u64)> {
    let mut iloc = Bytes(iloc);
    let version = iloc.uint(1)?;
    iloc.take(3)?;
    let sizes = iloc.uint(2)?;
    let (offset, length, base) = (sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15);
    let extent_index = if version > 0 { sizes & 15 } else { 0 };
    for _ in 0..iloc.uint(if version < 2 { 2 } else { 4 })? {
        let item = iloc.uint(if version < 2 { 2 } else { 4 })?;
        let method = if version > 0 { iloc.uint(2)? & 15 } else { 0 };
        iloc.uint(2)?;
        let start = iloc.uint(base)?;
        let extents = iloc.uint(2)?;
        for _ in 0..extents {
            iloc.uint(extent_index)?;
            let place = (start.checked_add(iloc.uint(offset)?)?, iloc.uint(length)?);
            if item == wanted && extents == 1 && method < 2 {
                return Some((method == 1, place.0, place.1));
            }
        }
    }
    None
}

/// Bytes that are left to read.
#[derive(Debug, Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of so many bytes, at most 8.
    fn uint(&mut self, bytes: u64) -> Option<u64> {
        let taken = self.take(usize::try_from(bytes).ok().filter(|&bytes| bytes <= 8)?)?;
        Some(
            taken
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        )
    }
}

/// One box.
struct Found<'a> {
    kind: [u8; 4],
    body: Bytes<'a>,
    /// Whether it says that it is longer than what is there.
    is_cut: bool,
}

/// Boxes that follow each other.
struct Boxes<'a>(Bytes<'a>);

impl<'a> Iterator for Boxes<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let there = self.0.0.len() as u64;
        let mut size = self.0.uint(4)?;
        let kind: [u8; 4] = self.0.take(4)?.try_into().ok()?;
        let mut header = 8;
        match size {
            0 => size = there,
            1 => {
                size = self.0.uint(8)?;
                header = 16;
            }
            _ => {}
        }
        let body = size.checked_sub(header)?;
        let is_cut = size > there;
        let here = usize::try_from(body).unwrap_or(usize::MAX).min(self.0.0.len());
        let body = Bytes(self.0.take(here)?);
        Some(Found { kind, body, is_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = (body.len() as u32 + 8).to_be_bytes();
        [&size[..], kind, body].concat()
    }

    /// A file whose second property is the size of its only item.
    fn file() -> Vec<u8> {
        let ispe = boxed(
            b"ispe",
            &[[0; 4], 4_032_u32.to_be_bytes(), 3_024_u32.to_be_bytes()].concat(),
        );
        let ipco = boxed(b"ipco", &[boxed(b"colr", b"nclx"), ispe].concat());
        let ipma = boxed(b"ipma", &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 1, 0x82]);
        let iprp = boxed(b"iprp", &[ipco, ipma].concat());
        let pitm = boxed(b"pitm", &[0, 0, 0, 0, 0, 1]);
        let infe = boxed(b"infe", b"\x02\0\0\0\0\x02\0\0mime\0application/rdf+xml\0");
        let iinf = boxed(b"iinf", &[b"\0\0\0\0\0\x01".to_vec(), infe].concat());
        let iloc = boxed(
            b"iloc",
            &[
                1, 0, 0, 0, 0x44, 0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3,
            ],
        );
        let idat = boxed(b"idat", b".XMP.");
        let meta = boxed(b"meta", &[vec![0; 4], pitm, iprp, iinf, iloc, idat].concat());
        [
            boxed(b"ftyp", b"heic\0\0\0\0mif1"),
            meta,
            boxed(b"mdat", b"pixels"),
        ]
        .concat()
    }

    #[test]
    fn the_index_tells_size_and_xmp() {
        let file = file();
        let read = index(&file).unwrap();
        assert_eq!(read.size, Some((4_032, 3_024)));
        assert_eq!(read.xmp, Some(&b"XMP"[..]));
        assert!(!read.is_cut);
        assert!(index(&file[..file.len() - 1]).unwrap().is_cut);
        assert!(index(&file[..100]).is_err());
        assert!(index(b"").is_err());
    }

    #[test]
    fn a_text_of_quicktime_is_found_by_its_name() {
        let keys = [
            vec![0, 0, 0, 0, 0, 0, 0, 2],
            boxed(b"mdta", b"com.example.first"),
            boxed(b"mdta", b"com.example.second"),
        ];
        let data = |text: &[u8]| boxed(b"data", &[b"\0\0\0\x01\0\0\0\0", text].concat());
        // In another order than their names.
        let items = [
            boxed(&[0, 0, 0, 2], &data(b"other")),
            boxed(&[0, 0, 0, 1], &data(b"one")),
        ];
        let meta = [
            boxed(b"hdlr", b""),
            boxed(b"keys", &keys.concat()),
            boxed(b"ilst", &items.concat()),
        ]
        .concat();
        let text = |name: &str| quicktime_text(&meta, name.as_bytes());
        assert_eq!(text("com.example.first"), Some("one"));
        assert_eq!(text("com.example.second"), Some("other"));
        assert_eq!(text("com.example.third"), None);
        assert_eq!(quicktime_text(b"", b"com.example.first"), None);
    }

    proptest! {
        #[test]
        fn damage_is_an_answer_and_no_panic(place in 0_usize..300, byte: u8, cut in 0_usize..400) {
            let mut file = file();
            if let Some(at) = file.get_mut(place) {
                *at = byte;
            }
            let _ = index(&file[..cut.min(file.len())]);
        }
    }
}
