//! `photos`: one row a photo or video, read from its file and from what lies beside it.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::Instant;
use crate::rows::{Row, Value};
use crate::search::{Field, Operator, Search};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "photos",
    about: "One row a photo or video file, equal files once; what its own metadata, an XMP sidecar or Google Takeout say. The file stays where it is.",
    key: &["_source", "_item"],
    unit: "_item",
    columns: &[
        Column::new(
            "path",
            Kind::Text,
            "Absolute path of the file; of equal files the first by name, `locations` has all.",
        )
        .private(),
        Column::new("media_type", Kind::Text, "Media type, by the file's content.").source("RFC 2046"),
        Column::new("size_bytes", Kind::Int, "Size of the file in bytes."),
        Column::new("sha256", Kind::Text, "SHA-256 of the file, hexadecimal; the same as `_item`.").source("FIPS 180-4"),
        Column::new(
            "taken_at",
            Kind::Instant,
            "When it was taken, as the wall clock there showed it: date and time of day to be read as they stand, without a zone. With `taken_offset_min` 0 it is UTC.",
        )
        .nullable(),
        Column::new(
            "taken_source",
            Kind::Text,
            "What gave `taken_at`: `Exif DateTimeOriginal`, `Exif DateTimeDigitized`, `Exif DateTime` (last change, when nothing better is there), `XMP …`, `sidecar XMP …`, `QuickTime CreationDate`, `QuickTime CreateDate`, `Takeout photoTakenTime`. Never the file's name or time.",
        )
        .nullable(),
        Column::new(
            "taken_offset_min",
            Kind::Int,
            "Minutes that the clock was ahead of UTC; absent when nothing says so.",
        )
        .nullable(),
        Column::new(
            "offset_source",
            Kind::Text,
            "What gave `taken_offset_min`: an offset tag, the zone in the time itself, or a UTC time (GPS, Takeout) that differs from `taken_at` as much as a zone does.",
        )
        .nullable(),
        Column::new(
            "taken_at_utc",
            Kind::Instant,
            "The moment it was taken; UTC. Only where an offset is known.",
        )
        .nullable(),
        Column::new("camera_make", Kind::Text, "Maker of the camera.").nullable().source("Exif 2.32"),
        Column::new("camera_model", Kind::Text, "Model of the camera.").nullable().source("Exif 2.32"),
        Column::new("lens", Kind::Text, "Model of the lens.").nullable().source("Exif 2.32, XMP aux:Lens"),
        Column::new("software", Kind::Text, "Program or firmware that wrote the file.").nullable().source("Exif 2.32"),
        Column::new("focal_length_mm", Kind::Float, "Focal length in millimetres.").nullable().source("Exif 2.32"),
        Column::new("f_number", Kind::Float, "Aperture: focal length by its diameter.").nullable().source("Exif 2.32"),
        Column::new("exposure_s", Kind::Float, "Exposure time in seconds.").nullable().source("Exif 2.32"),
        Column::new("iso", Kind::Int, "Sensitivity.").nullable().source("ISO 12232"),
        Column::new(
            "orientation",
            Kind::Int,
            "How to turn it for display: 1 as it is, 3 by 180°, 6 by 90° clockwise, 8 by 90° counter-clockwise, 2, 4, 5, 7 mirrored.",
        )
        .nullable()
        .source("Exif 2.32"),
        Column::new("width", Kind::Int, "Pixels a row as stored, before turning.").nullable(),
        Column::new("height", Kind::Int, "Rows as stored, before turning.").nullable(),
        Column::new("duration_s", Kind::Float, "Length of a video in seconds.").nullable(),
        Column::new("latitude", Kind::Float, "Degrees, north positive; WGS 84.").nullable().private(),
        Column::new("longitude", Kind::Float, "Degrees, east positive; WGS 84.").nullable().private(),
        Column::new("altitude_m", Kind::Float, "Metres above sea level; below it negative.").nullable().private(),
        Column::new(
            "location_source",
            Kind::Text,
            "What gave the position: `Exif GPS`, `XMP`, `sidecar XMP`, `QuickTime`, `Takeout geoData`, `Takeout geoDataExif`.",
        )
        .nullable(),
        Column::new("title", Kind::Text, "Title.").nullable().private().source("XMP dc:title"),
        Column::new(
            "caption",
            Kind::Text,
            "Description: XMP dc:description, Exif ImageDescription, or Takeout's.",
        )
        .nullable()
        .private(),
        Column::new("tags", Kind::TextList, "Keywords, sorted.").private().source("XMP dc:subject"),
        Column::new(
            "people",
            Kind::TextList,
            "Names of people in it, sorted: named regions, PersonInImage, Takeout's people.",
        )
        .private()
        .source("MWG regions, IPTC Extension"),
        Column::new("rating", Kind::Int, "Stars: 0 to 5, -1 rejected.").nullable().source("XMP xmp:Rating"),
        Column::new(
            "album",
            Kind::Text,
            "Title of the Takeout album it lies in, else the name of its folder.",
        )
        .nullable()
        .private(),
        Column::new(
            "perceptual_hash",
            Kind::Int,
            "64 bits of what it looks like once turned; those of similar pictures differ in few bits.",
        )
        .nullable()
        .source("gradient hash (dHash) of 8 × 8"),
        Column::new(
            "problem",
            Kind::Text,
            "What of it could not be read; the other columns stand.",
        )
        .nullable()
        .private(),
    ],
    home: Home::Lake,
    search: Some(Search {
        title: &["title", "path"],
        text: &["title", "caption", "tags", "people", "album"],
        sections: None,
        date: &["taken_at"],
        wall_clock: true,
        fields: &[
            Field::new(Operator::Camera, &["camera_make", "camera_model", "lens"]),
            Field::new(Operator::Filename, &["path"]),
            Field::new(Operator::Near, &["latitude", "longitude"]),
            Field::new(Operator::Path, &["path"]),
            Field::new(Operator::Subject, &["title"]),
        ],
    }),
};

/// One photo or video; fields are the columns of their names.
#[expect(missing_docs, reason = "the columns' sentences explain them")]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Photo {
    pub item: String,
    pub path: String,
    pub media_type: &'static str,
    pub size_bytes: i64,
    pub taken_at: Option<Instant>,
    pub taken_source: Option<String>,
    pub taken_offset_min: Option<i64>,
    pub offset_source: Option<String>,
    pub taken_at_utc: Option<Instant>,
    pub camera_make: Option<String>,
    pub camera_model: Option<String>,
    pub lens: Option<String>,
    pub software: Option<String>,
    pub focal_length_mm: Option<f64>,
    pub f_number: Option<f64>,
    pub exposure_s: Option<f64>,
    pub iso: Option<i64>,
    pub orientation: Option<i64>,
    pub width: Option<i64>,
    pub height: Option<i64>,
    pub duration_s: Option<f64>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub altitude_m: Option<f64>,
    pub location_source: Option<&'static str>,
    pub title: Option<String>,
    pub caption: Option<String>,
    pub tags: Vec<String>,
    pub people: Vec<String>,
    pub rating: Option<i64>,
    pub album: Option<String>,
    pub perceptual_hash: Option<i64>,
    pub problem: Option<String>,
}

impl Row for Photo {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        fn text(text: &Option<String>) -> Value<'_> {
            Value::text(text.as_deref())
        }
        vec![
            Value::Text(&self.path),
            Value::Text(self.media_type),
            Value::Int(self.size_bytes),
            Value::Text(&self.item),
            Value::instant(self.taken_at),
            text(&self.taken_source),
            Value::int(self.taken_offset_min),
            text(&self.offset_source),
            Value::instant(self.taken_at_utc),
            text(&self.camera_make),
            text(&self.camera_model),
            text(&self.lens),
            text(&self.software),
            Value::float(self.focal_length_mm),
            Value::float(self.f_number),
            Value::float(self.exposure_s),
            Value::int(self.iso),
            Value::int(self.orientation),
            Value::int(self.width),
            Value::int(self.height),
            Value::float(self.duration_s),
            Value::float(self.latitude),
            Value::float(self.longitude),
            Value::float(self.altitude_m),
            Value::text(self.location_source),
            text(&self.title),
            text(&self.caption),
            Value::TextList(&self.tags),
            Value::TextList(&self.people),
            Value::int(self.rating),
            text(&self.album),
            Value::int(self.perceptual_hash),
            text(&self.problem),
        ]
    }
}
