//! `get_original`: the bytes of an item as they were fetched.

use super::get_item::{Item, bytes_in, kept_of, missing, seen, text_in};
use crate::operation::{Call, Effect, Method, OWNERS, Operation, Original, Output, Reply, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use bytes::Bytes;
use schemas::{Digest, datasets, media_type};
use std::fs::{self, File};
use std::io::{self, Read as _};

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
    is_cacheable: true,
    input: |types| types.subschema_for::<Item>(),
    example: r#"{"dataset": "emails", "item": "the _item of a row"}"#,
    output: Output::Bytes,
    toolset: &toolset::ROWS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { original(call, parse(input)?).await }),
};

async fn original(call: Call<'_>, input: Item) -> Result<Reply, Problem> {
    seen(call, &input).await?;
    Ok(Reply::Bytes(fetched(call, &input.item).await?))
}

/// The bytes of an item that the caller has [`seen`], as they were fetched.
pub(super) async fn fetched(call: Call<'_>, item: &str) -> Result<Original, Problem> {
    let select = "SELECT media_type, sha256, size_bytes, bytes, path FROM raw";
    let raw = kept_of(call, item, select).await?;
    let media_type = text_in(&raw, "media_type").ok_or_else(|| missing(item))?;
    let sha256 = text_in(&raw, "sha256").ok_or_else(|| missing(item))?;
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
    let bytes = match (bytes_in(&raw, "bytes"), text_in(&raw, "path")) {
        (Some(bytes), _) => bytes,
        (None, Some(path)) => read_there(path, &sha256).await?,
        (None, None) => return Err(missing(item)),
    };
    Ok(Original {
        name: named(datasets::raw::DATASET.name, &media_type),
        media_type,
        sha256,
        bytes,
    })
}

/// No more of a file than an original may have. What lies there now may be another, or a pipe.
fn read_regular(path: &str) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file any more"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a file that is kept by reference, if they are still those that were fetched.
async fn read_there(path: String, sha256: &str) -> Result<Bytes, Problem> {
    let reading = tokio::task::spawn_blocking(move || {
        let read = read_regular(&path).map(|bytes| (Digest::of(&bytes).to_string(), bytes));
        read.inspect_err(|error| {
            tracing::warn!(%error, path, "an original is kept by reference and cannot be read");
        })
    });
    let gone = |why: &str| {
        Problem::new(
            Kind::Gone,
            format!("the original was kept where it lay, and {why}"),
        )
    };
    match reading.await.map_err(|error| Problem::internal(&error))? {
        Ok((digest, bytes)) if digest == sha256 => Ok(bytes.into()),
        Ok(_) => Err(gone("another file lies there by now; run its pipeline again")),
        Err(_) => Err(gone("cannot be read there any more")),
    }
}

/// The name of a file that has none, of a media type.
pub(super) fn named(what: &str, media_type: &str) -> String {
    match media_type::extension(media_type) {
        Some(extension) => format!("{what}.{extension}"),
        None => what.to_owned(),
    }
}
