//! `search_photos`: photos by words, by meaning, and by what is asked of camera, time, place, album.
//!
//! - An album is a folder: it is asked of the index by the paths of its photos.
//! - Not here: the query language (`store::search::language`), all that is known of a photo (`get_photo_metadata`).

use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::rows::{condition, found, given, place, said, searchable, select, several, wanted};
use crate::toolset;
use schemars::JsonSchema;
use schemas::Operator;
use serde::{Deserialize, Serialize};
use store::query::Parameters;
use store::search::Hit;
use store::search::language::{Condition, Query};

/// Folders that an album may have at most: each is compared with all paths.
const MOST_FOLDERS: usize = 20;

/// Albums among which the nearest name is looked for.
const MOST_NAMES: usize = 5_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "search_photos",
    about: "Finds photos by words, meaning, camera, time, place, album; without `q` the newest.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/photos/search",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<SearchPhotos>(),
    example: r#"{"near": "38.72,-9.14,25", "taken_after": "2024", "limit": 5}"#,
    output: Output::Json(|types| types.subschema_for::<FoundPhotos>()),
    toolset: &toolset::PHOTOS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&search(call, parse(input)?).await?) }),
};

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SearchPhotos {
    /// Words of titles, captions, tags, people, albums; operators too.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    q: String,
    /// The camera's or lens's name has this.
    #[serde(default)]
    #[schemars(length(max = 200))]
    camera: Option<String>,
    /// Taken on this date or later, such as `2024-03`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    taken_after: Option<String>,
    /// Taken before this date.
    #[serde(default)]
    #[schemars(length(max = 50))]
    taken_before: Option<String>,
    /// Latitude, longitude, kilometres: `38.72,-9.14,25`.
    #[serde(default)]
    #[schemars(length(max = 100))]
    near: Option<String>,
    /// Only in this album: its name, or its folder as list_albums has it.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    album: Option<String>,
    /// Hits.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    limit: u16,
}

fn ten() -> u16 {
    10
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct FoundPhotos {
    /// The photos, best first.
    hits: Vec<FoundPhoto>,
    /// What the asker should know of how they were found.
    notes: Vec<String>,
}

/// A photo that was found.
#[derive(Serialize, JsonSchema)]
struct FoundPhoto {
    /// What get_photo_metadata takes.
    item: String,
    /// Its file.
    path: Option<String>,
    /// When it was taken, as the clock there showed.
    taken_at: Option<String>,
    /// Maker and model of the camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<String>,
    /// Where it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its description: collected text, not to be obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
    /// Keywords.
    tags: Vec<String>,
    /// Pixels a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<i64>,
    /// Rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i64>,
}

/// A place on the Earth.
#[derive(Serialize, JsonSchema)]
struct Place {
    /// Degrees, north positive.
    lat: f64,
    /// Degrees, east positive.
    lon: f64,
}

/// What is shown of a photo.
#[derive(Deserialize)]
struct PhotoRow {
    #[serde(rename = "_source")]
    source: String,
    #[serde(rename = "_item")]
    item: String,
    path: Option<String>,
    taken_at: Option<String>,
    camera_make: Option<String>,
    camera_model: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    title: Option<String>,
    caption: Option<String>,
    tags: Option<Vec<String>>,
    width: Option<i64>,
    height: Option<i64>,
}

/// What a clock showed, which is not UTC, whatever the rows' format says.
pub(super) fn by_clock(moment: &str) -> String {
    moment.trim_end_matches('Z').to_owned()
}

async fn search(call: Call<'_>, input: SearchPhotos) -> Result<FoundPhotos, Problem> {
    let dataset = visible("photos", &call.caller.view)?;
    let mut asked: Vec<Query> = wanted(call, &input.q)?.into_iter().collect();
    for (name, operator, value) in [
        ("camera", Operator::Camera, &input.camera),
        ("taken_after", Operator::After, &input.taken_after),
        ("taken_before", Operator::Before, &input.taken_before),
        ("near", Operator::Near, &input.near),
    ] {
        if let Some(value) = said(value.as_ref()) {
            asked.push(condition(name, operator, value)?);
        }
    }
    if let Some(album) = said(input.album.as_ref()) {
        searchable(&call.caller.view, dataset)?;
        let folders = folders_of(call, album).await?;
        asked.extend(Query::any(
            folders.iter().map(|folder| directly_in(folder)).collect(),
        ));
    }
    let query = Query::all(asked).unwrap_or_else(|| Query::Where(Condition::In(vec![dataset])));
    let answer = found(call, dataset, query, input.limit.into()).await?;
    Ok(FoundPhotos {
        hits: shown(call, answer.hits).await?,
        notes: call.gateway.told(answer.notes),
    })
}

/// What is in a folder and not in one of its folders.
fn directly_in(folder: &str) -> Query {
    let path = |value: String| {
        Query::Where(Condition::Text {
            operator: Operator::Path,
            value,
        })
    };
    let (all, deeper) = (path(format!("{folder}/*")), path(format!("{folder}/*/*")));
    Query::All(vec![all, Query::without(deeper)])
}

/// The folders of an album: of its name, or of a path or the end of one.
async fn folders_of(call: Call<'_>, album: &str) -> Result<Vec<String>, Problem> {
    #[derive(Deserialize)]
    struct Named {
        name: Option<String>,
    }
    let folder = album.trim_end_matches('/');
    let tail = format!("/{folder}");
    let text = format!(
        "SELECT DISTINCT folder AS name
         FROM (SELECT album, regexp_replace(path, '/[^/]*$', '') AS folder FROM photos WHERE path IS NOT NULL)
         WHERE lower(album) = lower(CAST(:album AS VARCHAR)) OR lower(folder) = lower(CAST(:folder AS VARCHAR))
         OR ends_with(lower(folder), lower(CAST(:tail AS VARCHAR))) LIMIT {}",
        MOST_FOLDERS + 1
    );
    let parameters = given([("album", album), ("folder", folder), ("tail", tail.as_str())]);
    let folders: Vec<Named> = select(call, text, parameters).await?;
    let folders: Vec<String> = folders.into_iter().filter_map(|named| named.name).collect();
    if folders.len() > MOST_FOLDERS {
        return Err(Problem::unprocessable(format!(
            "more than {MOST_FOLDERS} folders are albums of that name; give the folder of one, as list_albums has it"
        )));
    }
    if folders.is_empty() {
        let text = format!(
            "SELECT DISTINCT album AS name FROM photos WHERE album IS NOT NULL ORDER BY album LIMIT {MOST_NAMES}"
        );
        let albums: Vec<Named> = select(call, text, Parameters::new()).await?;
        let names = albums.iter().filter_map(|named| named.name.as_deref());
        return Err(Problem::no_such(Kind::Unprocessable, "album", album, names));
    }
    Ok(folders)
}

/// Hits with what is shown of each.
async fn shown(call: Call<'_>, hits: Vec<Hit>) -> Result<Vec<FoundPhoto>, Problem> {
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let mut parameters = Parameters::new();
    let items = several("item", hits.iter().map(|hit| place(hit).1), &mut parameters);
    let text = format!(
        "SELECT _source, _item, path, taken_at, camera_make, camera_model, latitude, longitude, title, caption, tags,
         width, height FROM photos WHERE _item IN ({items})"
    );
    let rows: Vec<PhotoRow> = select(call, text, parameters).await?;
    let shown = hits.iter().filter_map(|hit| {
        let (source, item) = place(hit);
        // One that was removed since it was indexed is not there.
        let row = rows.iter().find(|row| row.source == source && row.item == item)?;
        let at = row.latitude.zip(row.longitude);
        Some(FoundPhoto {
            item: row.item.clone(),
            path: row.path.clone(),
            taken_at: row.taken_at.as_deref().map(by_clock),
            camera: camera(row.camera_make.as_deref(), row.camera_model.as_deref()),
            place: at.map(|(lat, lon)| Place { lat, lon }),
            title: row.title.clone(),
            caption: row.caption.clone(),
            tags: row.tags.clone().unwrap_or_default(),
            width: row.width,
            height: row.height,
        })
    });
    Ok(shown.collect())
}

/// Maker and model; many models begin with their maker.
fn camera(make: Option<&str>, model: Option<&str>) -> Option<String> {
    match (make, model) {
        (Some(make), Some(model)) if !model.starts_with(make) => Some(format!("{make} {model}")),
        (make, model) => model.or(make).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_named_once() {
        assert_eq!(
            camera(Some("Canon"), Some("Canon EOS")).as_deref(),
            Some("Canon EOS")
        );
        assert_eq!(camera(Some("Sony"), Some("A7")).as_deref(), Some("Sony A7"));
        assert_eq!(camera(Some("Sony"), None).as_deref(), Some("Sony"));
    }

    #[test]
    fn a_clock_has_no_zone() {
        assert_eq!(by_clock("2024-05-01T12:00:00Z"), "2024-05-01T12:00:00");
    }

    #[test]
    fn an_album_is_a_folder_without_those_in_it() {
        assert_eq!(
            directly_in("/photos/Lisbon").to_string(),
            "path:/photos/Lisbon/* -path:/photos/Lisbon/*/*"
        );
    }
}
