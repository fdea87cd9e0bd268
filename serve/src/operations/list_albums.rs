//! `list_albums`: the folders that photos lie in.

use super::search_photos::by_clock;
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::rows::{mask, select};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::query::Parameters;

/// Albums that are listed at most.
const MOST: usize = 1_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_albums",
    about: "Lists the albums, which are the folders of photos: how many photos, from when until when.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/photos/albums",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListAlbums>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<AlbumList>()),
    toolset: &toolset::PHOTOS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListAlbums {}

/// The albums.
#[derive(Serialize, JsonSchema)]
struct AlbumList {
    /// The albums, by folder.
    albums: Vec<Album>,
    /// Whether there are more.
    is_cut: bool,
    /// What could not be told.
    notes: Vec<String>,
}

/// An album.
#[derive(Serialize, JsonSchema)]
struct Album {
    /// The folder.
    folder: Option<String>,
    /// Its name.
    album: Option<String>,
    /// Photos in it.
    photos: i64,
    /// When the first was taken, as the clock there showed.
    from: Option<String>,
    /// When the last was taken.
    until: Option<String>,
}

#[derive(Deserialize)]
struct AlbumRow {
    folder: Option<String>,
    album: Option<String>,
    photos: i64,
    oldest: Option<String>,
    newest: Option<String>,
}

async fn list(call: Call<'_>, _: ListAlbums) -> Result<AlbumList, Problem> {
    let view = &call.caller.view;
    let dataset = visible("photos", view)?;
    let text = format!(
        "SELECT folder, max(album) AS album, count(*) AS photos, min(taken_at) AS oldest, max(taken_at) AS newest
         FROM (SELECT regexp_replace(path, '/[^/]*$', '') AS folder, album, taken_at FROM photos)
         GROUP BY folder ORDER BY folder LIMIT {}",
        MOST + 1
    );
    let mut rows: Vec<AlbumRow> = select(call, text, Parameters::new()).await?;
    let is_cut = rows.len() > MOST;
    rows.truncate(MOST);
    let albums = rows.into_iter().map(|row| Album {
        folder: row.folder,
        album: row.album,
        photos: row.photos,
        from: row.oldest.as_deref().map(by_clock),
        until: row.newest.as_deref().map(by_clock),
    });
    let notes = mask(view, dataset, "path", "the folders of photos");
    Ok(AlbumList {
        albums: albums.collect(),
        is_cut,
        notes: notes.into_iter().collect(),
    })
}
