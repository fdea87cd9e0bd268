//! `get_thumbnail`: the small picture of a photo.

use super::get_item::{Item, bytes_in, kept_of, missing, seen};
use crate::operation::{Call, Effect, Method, Operation, Original, Output, Reply, TRUSTED, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::Digest;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_thumbnail",
    about: "Gives the small picture of a photo, as JPEG.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/items/{item}/thumbnail",
    is_heavy: false,
    is_cacheable: true,
    input: |types| types.subschema_for::<GetThumbnail>(),
    example: r#"{"dataset": "photos", "item": "the _item of a row"}"#,
    output: Output::Bytes,
    toolset: &toolset::PHOTOS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { thumbnail(call, parse(input)?).await }),
};

/// Which photo.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetThumbnail {
    /// A dataset that has rows of it.
    #[serde(default = "photos")]
    dataset: String,
    /// Its `_item`.
    item: String,
}

fn photos() -> String {
    "photos".to_owned()
}

async fn thumbnail(call: Call<'_>, input: GetThumbnail) -> Result<Reply, Problem> {
    let input = Item {
        dataset: input.dataset,
        item: input.item,
    };
    seen(call, &input).await?;
    let rows = kept_of(call, &input.item, "SELECT jpeg FROM photo_thumbnails").await?;
    let bytes = bytes_in(&rows, "jpeg").ok_or_else(|| missing(&input.item))?;
    Ok(Reply::Bytes(Original {
        media_type: "image/jpeg".to_owned(),
        name: "thumbnail.jpg".to_owned(),
        // Of the small picture, not of the photo: another version of dkc may make another one.
        sha256: Digest::of(&bytes).to_string(),
        bytes,
    }))
}
