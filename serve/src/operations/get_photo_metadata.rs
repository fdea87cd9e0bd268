//! `get_photo_metadata`: all that is known of a photo.
//!
//! - Not here: the picture itself (`get_thumbnail`, `get_original`).

use super::get_item::missing;
use super::search_photos::by_clock;
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::rows::{given, select};
use crate::toolset;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use store::query::Query;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_photo_metadata",
    about: "Gives all that is known of a photo, and the address of its small picture.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/photos/metadata",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetPhotoMetadata>(),
    example: r#"{"item": "the item of a hit"}"#,
    output: Output::Json(|types| types.subschema_for::<PhotoMetadata>()),
    toolset: &toolset::PHOTOS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&get(call, parse(input)?).await?) }),
};

/// Which photo.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetPhotoMetadata {
    /// The `item` of a hit.
    #[schemars(length(min = 1, max = 1000))]
    item: String,
}

/// A photo.
#[derive(Serialize, JsonSchema)]
struct PhotoMetadata {
    /// The columns of `photos` that have a value; `taken_at` as the clock there showed it.
    columns: BTreeMap<String, Value>,
    /// The address of its small picture, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail: Option<String>,
    /// The same as a resource of MCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail_resource: Option<String>,
}

async fn get(call: Call<'_>, input: GetPhotoMetadata) -> Result<PhotoMetadata, Problem> {
    visible("photos", &call.caller.view)?;
    let item = input.item.trim();
    let text = "SELECT * FROM photos WHERE _item = :item ORDER BY _source LIMIT 1".to_owned();
    let rows: Vec<BTreeMap<String, Value>> = select(call, text, given([("item", item)])).await?;
    let row = rows.into_iter().next().ok_or_else(|| missing(item))?;
    // Whoever may see a photo may see that it has a small picture, as get_thumbnail has it.
    let mut query = Query::from("SELECT width FROM photo_thumbnails WHERE _item = :item LIMIT 1");
    query.parameters = given([("item", item)]);
    let has_thumbnail = call.gateway.ask(query).await?.num_rows() > 0;
    let encoded = utf8_percent_encode(item, NON_ALPHANUMERIC);
    Ok(PhotoMetadata {
        columns: known(row),
        thumbnail: has_thumbnail.then(|| format!("/api/v1/datasets/photos/items/{encoded}/thumbnail")),
        thumbnail_resource: has_thumbnail.then(|| format!("dkc://photos/thumbnail/{encoded}")),
    })
}

/// The columns that have a value.
fn known(mut row: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    row.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    if let Some(Value::String(taken)) = row.get_mut("taken_at") {
        *taken = by_clock(taken);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_value_is_not_there() {
        let row = json!({"title": null, "tags": [], "iso": 100, "taken_at": "2024-05-01T12:00:00Z"});
        let known = known(serde_json::from_value(row).unwrap());
        assert_eq!(
            json!(known),
            json!({"iso": 100, "taken_at": "2024-05-01T12:00:00"})
        );
    }
}
