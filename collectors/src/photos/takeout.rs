//! Google Takeout's JSON beside a photo, and beside an album → facts.
//!
//! - In: the bytes of `PHOTO.json`, `PHOTO.supplemental-metadata.json` or an album's `metadata.json`.
//! - Out: [`Facts`].
//! - Not here: which JSON belongs to which photo (`sidecars`).

use super::facts::{Facts, Place, Rank, Taken};
use super::when::Clock;
use serde::Deserialize;

/// The keys that are read; Google adds others as it likes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sidecar {
    title: String,
    description: String,
    photo_taken_time: Option<Time>,
    geo_data: Option<Geo>,
    geo_data_exif: Option<Geo>,
    people: Vec<Person>,
}

/// Seconds since 1970-01-01T00:00:00Z, in digits.
#[derive(Debug, Deserialize)]
struct Time {
    timestamp: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Geo {
    latitude: f64,
    longitude: f64,
    altitude: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Person {
    name: String,
}

/// What the JSON of a photo says.
///
/// # Errors
/// Why it is none.
pub(super) fn facts(json: &[u8]) -> Result<Facts, String> {
    let sidecar: Sidecar = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let mut facts = Facts {
        caption: Some(sidecar.description).filter(|text| !text.is_empty()),
        people: sidecar.people.into_iter().map(|person| person.name).collect(),
        ..Facts::default()
    };
    facts.people.retain(|name| !name.is_empty());
    let taken = sidecar
        .photo_taken_time
        .and_then(|time| time.timestamp.parse::<i64>().ok()?.checked_mul(1_000_000));
    // Google writes 0 where it knows nothing.
    if let Some(at) = taken.filter(|&at| at != 0) {
        let source = "Takeout photoTakenTime";
        facts.moments.push((at, source));
        facts.times.push(Taken {
            rank: Rank::Takeout,
            clock: Clock {
                at,
                offset_min: Some(0),
            },
            source: source.to_owned(),
            offset_source: None,
        });
    }
    for (geo, source) in [
        (sidecar.geo_data, "Takeout geoData"),
        (sidecar.geo_data_exif, "Takeout geoDataExif"),
    ] {
        let known = geo.filter(|geo| geo.latitude != 0.0 || geo.longitude != 0.0);
        if let (None, Some(geo)) = (facts.place, known) {
            facts.place = Place::new(geo.latitude, geo.longitude, source);
            facts.altitude_m = Some(geo.altitude).filter(|&metres| metres != 0.0);
        }
    }
    Ok(facts)
}

/// The title of an album, by its `metadata.json`.
pub(super) fn album(json: &[u8]) -> Option<String> {
    let album: Sidecar = serde_json::from_slice(json).ok()?;
    Some(album.title).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takeout_tells_time_place_and_people() {
        let json = r#"{"title": "IMG.jpg", "description": "At the lake", "imageViews": "1",
            "photoTakenTime": {"timestamp": "-86400", "formatted": "31.12.1969"},
            "geoData": {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0, "latitudeSpan": 0.0},
            "geoDataExif": {"latitude": -1.5, "longitude": 2.5, "altitude": 7.0},
            "people": [{"name": "Ada"}, {}]}"#;
        let facts = facts(json.as_bytes()).unwrap();
        assert_eq!(facts.caption.as_deref(), Some("At the lake"));
        assert_eq!(facts.people, ["Ada"]);
        assert_eq!(facts.times[0].clock.at, -86_400_000_000);
        assert_eq!(facts.times[0].clock.offset_min, Some(0));
        assert_eq!(facts.place.unwrap().source, "Takeout geoDataExif");
        assert_eq!(facts.altitude_m, Some(7.0));
        assert_eq!(album(br#"{"title": "Summer"}"#).as_deref(), Some("Summer"));
        assert_eq!(album(b"[]"), None);
        assert!(super::facts(b"{").is_err());
    }
}
