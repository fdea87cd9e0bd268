//! Which XMP and JSON files belong to which photo, by their names.
//!
//! - In: the names of a folder's `.xmp` and `.json` files. Out: those of one photo.
//! - XMP: `IMG_1.CR2.xmp` or `IMG_1.xmp`. Takeout: `IMG_1.jpg.json` or `IMG_1.jpg.supplemental-metadata.json`, cut
//!   where Google cuts it, with the number of a second `IMG_1(1).jpg` after all that.
//! - Not here: reading them.

use super::files::{Kind, Sidecar};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Characters of a name that Google leaves before `.json`.
const TAKEOUT_CUT: usize = 46;

/// What newer archives put between a photo's name and `.json`.
const TAKEOUT_TAIL: &str = ".supplemental-metadata";

/// How Google names what its editor made of a photo; it has no JSON of its own.
const EDITED: &[&str] = &[
    "-edited",
    "-bearbeitet",
    "-modifié",
    "-editado",
    "-modificato",
    "-bewerkt",
];

/// What an album's own JSON is called.
const ALBUM: &[&str] = &["metadata", "metadaten", "métadonnées", "metadatos", "metadati"];

/// Photos whose videos have no JSON of their own: live photos.
const STILLS: &[&str] = &[".heic", ".jpg", ".jpeg"];

/// The XMP and JSON files of a folder.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// By name in lower case without `.xmp`.
    xmp: HashMap<String, Sidecar>,
    /// By name in lower case without number and `.json`, and by number.
    json: HashMap<(String, String), Sidecar>,
    album: Option<Sidecar>,
}

impl Beside {
    /// Adds a file.
    pub fn add(&mut self, name: &str, path: PathBuf, size: u64, modified_ns: i64) {
        let lower = name.to_lowercase();
        let sidecar = |kind| Sidecar {
            path,
            kind,
            size,
            modified_ns,
        };
        if let Some(stem) = lower.strip_suffix(".xmp") {
            self.xmp.insert(stem.to_owned(), sidecar(Kind::Xmp));
        } else if let Some(stem) = lower.strip_suffix(".json") {
            if ALBUM.contains(&stem) {
                self.album = Some(sidecar(Kind::Album));
            } else {
                let (stem, number) = numbered(stem);
                self.json.insert((stem, number), sidecar(Kind::Takeout));
            }
        }
    }

    /// What tells of the photo at `path`, the most trusted first.
    pub fn of(&self, path: &Path) -> Vec<Sidecar> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Vec::new();
        };
        let name = name.to_lowercase();
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let xmp = self.xmp.get(&name).or_else(|| self.xmp.get(stem));
        let takeout = self.takeout(&name);
        [xmp, takeout, self.album.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn takeout(&self, name: &str) -> Option<&Sidecar> {
        if self.json.is_empty() {
            return None;
        }
        let (stem, extension) = name.rsplit_once('.')?;
        let mut names = vec![name.to_owned()];
        for edited in EDITED {
            let (plain, number) = numbered(stem);
            if let Some(original) = plain.strip_suffix(edited) {
                names.push(format!("{original}{number}.{extension}"));
            }
        }
        if matches!(extension, "mp4" | "mov") {
            names.extend(STILLS.iter().map(|still| format!("{stem}{still}")));
        }
        names.iter().find_map(|name| self.json_of(name))
    }

    /// The JSON of a photo of this name.
    fn json_of(&self, name: &str) -> Option<&Sidecar> {
        let (stem, extension) = name.rsplit_once('.')?;
        let (stem, number) = numbered(stem);
        let plain = format!("{stem}.{extension}");
        let whole = format!("{plain}{TAKEOUT_TAIL}");
        let shortest = plain.chars().count().min(TAKEOUT_CUT);
        let ends: Vec<usize> = whole
            .char_indices()
            .map(|(at, _)| at)
            .skip(shortest)
            .chain([whole.len()])
            .collect();
        let numbered = ends.iter().rev().find_map(|&end| {
            let cut = whole.get(..end)?.to_owned();
            self.json.get(&(cut, number.clone()))
        });
        // A name may have had a number before Google came.
        numbered.or_else(|| self.json.get(&(name.to_owned(), String::new())))
    }
}

/// A name without the number at its end, and the number: `img(1)` is `img` and `(1)`.
fn numbered(name: &str) -> (String, String) {
    let split = name.strip_suffix(')').and_then(|inner| {
        let (stem, digits) = inner.rsplit_once('(')?;
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| (stem.to_owned(), format!("({digits})")))
    });
    split.unwrap_or_else(|| (name.to_owned(), String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies beside each photo of a folder with these sidecars.
    fn matched(sidecars: &[&str], photo: &str) -> Vec<String> {
        let mut beside = Beside::default();
        for name in sidecars {
            beside.add(name, PathBuf::from(name), 1, 1);
        }
        let found = beside.of(Path::new(photo)).into_iter();
        found.map(|sidecar| sidecar.path.display().to_string()).collect()
    }

    #[test]
    fn sidecars_are_found_by_all_names_that_programs_give_them() {
        let long = "PXL_20230102_030405678.NIGHT.portrait-0123456789.jpg";
        let cut: String = long.chars().take(46).collect();
        for (sidecar, photo) in [
            ("IMG_1.xmp", "IMG_1.CR2"),
            ("IMG_1.CR2.XMP", "IMG_1.cr2"),
            ("IMG_1.jpg.json", "IMG_1.jpg"),
            ("IMG_1.jpg.supplemental-metadata.json", "IMG_1.jpg"),
            ("IMG_1.jpg.supplemental-metad.json", "IMG_1.jpg"),
            ("IMG_1.jpg.s.json", "IMG_1.jpg"),
            ("IMG_1.jpg(1).json", "IMG_1(1).jpg"),
            ("IMG_1.jpg.supplemental-metadata(12).json", "IMG_1(12).jpg"),
            ("IMG_1.jpg.json", "IMG_1-edited.jpg"),
            ("IMG_1.jpg(1).json", "IMG_1-edited(1).jpg"),
            ("IMG_1.HEIC.json", "IMG_1.MP4"),
            ("report(2).jpg.json", "report(2).jpg"),
            (format!("{cut}.json").as_str(), long),
            ("metadata.json", "IMG_1.jpg"),
        ] {
            assert_eq!(matched(&[sidecar], photo), [sidecar], "{photo}");
        }
    }

    #[test]
    fn what_belongs_to_another_photo_is_left_to_it() {
        let all = [
            "IMG_1.jpg.json",
            "IMG_1.jpg(1).json",
            "IMG_10.jpg.json",
            "IMG_2.xmp",
            "notes.json",
        ];
        assert_eq!(matched(&all, "IMG_1.jpg"), ["IMG_1.jpg.json"]);
        assert_eq!(matched(&all, "IMG_1(1).jpg"), ["IMG_1.jpg(1).json"]);
        assert_eq!(matched(&all, "IMG_1(2).jpg"), [""; 0]);
        assert_eq!(matched(&all, "IMG.jpg"), [""; 0]);
        assert_eq!(
            matched(&["IMG_1.jpg.xmp", "IMG_1.xmp"], "IMG_1.jpg"),
            ["IMG_1.jpg.xmp"]
        );
    }
}
