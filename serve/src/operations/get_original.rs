//! `get_original`: the bytes of an item as they were fetched.

use super::get_item::{Item, bytes_in, kept_of, missing};
use crate::operation::{Call, Effect, Method, OWNERS, Operation, Original, Output, Reply, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use schemas::datasets;
use store::page::Cell;

/// Larger files that are kept by reference are read where they lie.
const MOST_BYTES: i64 = 256 << 20;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_original",
    about: "Gives the bytes of an item as they were fetched: the `.eml`, the photo, the document.",
    effect: Effect::Read,
    roles: OWNERS,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/items/{item}/original",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<Item>(),
    example: r#"{"dataset": "emails", "item": "the _item of a row"}"#,
    output: Output::Bytes,
    toolset: &toolset::ROWS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { original(call, parse(input)?).await }),
};

async fn original(call: Call<'_>, input: Item) -> Result<Reply, Problem> {
    let raw = kept_of(
        call,
        &input,
        "SELECT media_type, size_bytes, bytes, path FROM raw",
    )
    .await?;
    let text = |name: &str| match raw
        .column_by_name(name)
        .filter(|column| !column.is_empty())
        .map(|column| Cell::of(column, 0))
    {
        Some(Cell::Text(text)) => Some(text),
        _ => None,
    };
    let media_type = text("media_type").ok_or_else(|| missing(&input.item))?;
    let size = raw
        .column_by_name("size_bytes")
        .and_then(|sizes| sizes.as_primitive_opt::<Int64Type>());
    if size.is_some_and(|sizes| sizes.value(0) > MOST_BYTES) {
        return Err(Problem::new(
            Kind::TooLarge,
            format!(
                "the original has over {} MiB; it is read where it lies",
                MOST_BYTES >> 20
            ),
        ));
    }
    let bytes = match (bytes_in(&raw, "bytes"), text("path")) {
        (Some(bytes), _) => bytes,
        (None, Some(path)) => {
            let read = tokio::fs::read(&path).await.map_err(|error| {
                tracing::warn!(%error, path, "an original is kept by reference and cannot be read");
                Problem::new(
                    Kind::Gone,
                    "the original was kept where it lay, and cannot be read there any more",
                )
            })?;
            read.into()
        }
        (None, None) => return Err(missing(&input.item)),
    };
    Ok(Reply::Bytes(Original {
        name: format!("{}{}", datasets::raw::DATASET.name, ending(&media_type)),
        media_type,
        bytes,
    }))
}

/// How a file of a media type is called.
fn ending(media_type: &str) -> &'static str {
    match media_type {
        "message/rfc822" => ".eml",
        "image/jpeg" => ".jpg",
        "image/png" => ".png",
        "image/heic" => ".heic",
        "application/pdf" => ".pdf",
        "text/markdown" => ".md",
        "text/plain" => ".txt",
        _ => "",
    }
}
