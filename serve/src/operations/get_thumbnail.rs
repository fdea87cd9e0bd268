//! `get_thumbnail`: the small picture of a photo.

use super::get_item::{Item, collected, missing, of_item};
use crate::operation::{Call, Effect, Method, Operation, Original, Output, Reply, TRUSTED, parse};
use crate::problem::Problem;
use arrow_array::cast::AsArray as _;
use bytes::Bytes;
use store::query::Query;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_thumbnail",
    about: "Gives the small picture of a photo, as JPEG.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/items/{item}/thumbnail",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<Item>(),
    example: r#"{"dataset": "photos", "item": "the _item of a row"}"#,
    output: Output::Bytes,
    call: |call, input| Box::pin(async move { thumbnail(call, parse(input)?).await }),
};

async fn thumbnail(call: Call<'_>, input: Item) -> Result<Reply, Problem> {
    let dataset = collected(&input.dataset, &call.caller.view)?;
    let select = format!("SELECT _item FROM {}", dataset.name);
    if of_item(call, dataset, &select, &input.item).await?.num_rows() == 0 {
        return Err(missing(&input.item));
    }
    // Whoever may see the photo may see it smaller.
    let mut query = Query::from("SELECT jpeg FROM photo_thumbnails WHERE _item = :item LIMIT 1");
    query
        .parameters
        .insert("item".to_owned(), input.item.as_str().into());
    let rows = call.gateway.ask(query).await?;
    let jpeg = rows.column_by_name("jpeg").and_then(|column| {
        let column = column.as_binary_view_opt()?;
        column.iter().flatten().next().map(Bytes::copy_from_slice)
    });
    Ok(Reply::Bytes(Original {
        media_type: "image/jpeg".to_owned(),
        name: "thumbnail.jpg".to_owned(),
        bytes: jpeg.ok_or_else(|| missing(&input.item))?,
    }))
}
