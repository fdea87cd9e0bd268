//! `get_item`: all that is known of an item: its rows, its original, its run, where it was found.

use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use bytes::Bytes;
use schemars::JsonSchema;
use schemas::datasets::runs::{self, Run};
use schemas::{Dataset, Home, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::export::{Format, encode};
use store::page::Cell;
use store::query::Query;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_item",
    about: "Tells why a row is there: the rows of its item, the original they were made of, the run that stored them.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/items/{item}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<Item>(),
    example: r#"{"dataset": "emails", "item": "the _item of a row"}"#,
    output: Output::Json(|types| types.subschema_for::<Story>()),
    toolset: &toolset::DATA,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&story(call, parse(input)?).await?) }),
};

/// Which item.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    /// A dataset that has rows of it.
    pub(super) dataset: String,
    /// Its `_item`.
    pub(super) item: String,
}

/// All that is known of an item.
#[derive(Serialize, JsonSchema)]
struct Story {
    /// Its rows in the dataset.
    rows: Vec<Value>,
    /// Its originals, without their bytes; `get_original` has those.
    originals: Vec<Value>,
    /// The places where it was found.
    locations: Vec<Value>,
    /// Why parts of it were rejected.
    rejects: Vec<Value>,
    /// The run that wrote the rows.
    run: Option<Value>,
}

async fn story(call: Call<'_>, input: Item) -> Result<Story, Problem> {
    let view = &call.caller.view;
    let dataset = collected(&input.dataset, view)?;
    let rows = of_item(
        call,
        dataset,
        &format!("SELECT * FROM {}", dataset.name),
        &input.item,
    )
    .await?;
    if rows.num_rows() == 0 {
        return Err(missing(&input.item));
    }
    let rows = objects(&rows)?;
    let others = [
        (
            "raw",
            "SELECT media_type, fetched_at, sha256, size_bytes, path, _run FROM raw",
        ),
        (
            "locations",
            "SELECT location, folder, flags, received_at, _run FROM locations",
        ),
        ("rejects", "SELECT reason, raw FROM rejects"),
    ];
    let mut found = Vec::new();
    for (name, sql) in others {
        found.push(match visible(name, view) {
            Ok(other) => objects(&of_item(call, other, sql, &input.item).await?)?,
            Err(_) => Vec::new(),
        });
    }
    let run = match rows
        .first()
        .and_then(|row| row.get("_run"))
        .and_then(Value::as_str)
    {
        Some(run) if view.shows("runs") => call.gateway.lake.store().runs().get(run).await?,
        _ => None,
    };
    let mut found = found.into_iter();
    Ok(Story {
        rows,
        originals: found.next().unwrap_or_default(),
        locations: found.next().unwrap_or_default(),
        rejects: found.next().unwrap_or_default(),
        run: run.and_then(|run| masked(&run, view)),
    })
}

/// A run, without what may not be read.
fn masked(run: &Run, view: &View) -> Option<Value> {
    let mut run = serde_json::to_value(run).ok()?;
    for column in runs::DATASET.columns.iter().filter(|column| !view.reads(column)) {
        if let Some(value) = run.get_mut(column.name) {
            *value = Value::Null;
        }
    }
    Some(run)
}

/// A dataset whose rows have items.
pub(super) fn collected(name: &str, view: &View) -> Result<&'static Dataset, Problem> {
    let dataset = visible(name, view)?;
    match dataset.home {
        Home::Lake => Ok(dataset),
        Home::Relational => Err(Problem::unprocessable(format!(
            "the rows of `{}` have no items",
            dataset.name
        ))),
    }
}

/// Refuses an item of which the caller sees no row in the dataset. Whoever may see a row may see what it was made of, and
/// the same smaller, whether or not they may see the datasets that keep these.
pub(super) async fn seen(call: Call<'_>, input: &Item) -> Result<(), Problem> {
    let dataset = collected(&input.dataset, &call.caller.view)?;
    let own = format!("SELECT _item FROM {}", dataset.name);
    match of_item(call, dataset, &own, &input.item).await?.num_rows() {
        0 => Err(missing(&input.item)),
        _ => Ok(()),
    }
}

/// What a dataset keeps of an item that the caller has [`seen`].
pub(super) async fn kept_of(call: Call<'_>, item: &str, select: &str) -> Result<RecordBatch, Problem> {
    let mut query = Query::from(format!("{select} WHERE _item = :item LIMIT 1").as_str());
    query.parameters.insert("item".to_owned(), item.into());
    call.gateway.ask(query).await
}

/// The text in a column of the first row, if there is one.
pub(super) fn text_in(rows: &RecordBatch, column: &str) -> Option<String> {
    let column = rows.column_by_name(column).filter(|column| !column.is_empty())?;
    match Cell::of(column, 0) {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

/// The bytes in a column of the first row that has some.
pub(super) fn bytes_in(rows: &RecordBatch, column: &str) -> Option<Bytes> {
    let column = rows.column_by_name(column)?.as_binary_view_opt()?;
    column.iter().flatten().next().map(Bytes::copy_from_slice)
}

pub(super) fn missing(item: &str) -> Problem {
    let short: String = item.chars().take(80).flat_map(char::escape_debug).collect();
    Problem::new(
        Kind::NotFound,
        format!("the dataset has no row of the item `{short}`"),
    )
}

/// The rows of an item in a dataset.
pub(super) async fn of_item(
    call: Call<'_>,
    dataset: &'static Dataset,
    select: &str,
    item: &str,
) -> Result<RecordBatch, Problem> {
    visible(dataset.name, &call.caller.view)?;
    let mut query = Query::from(format!("{select} WHERE _item = :item LIMIT 1000").as_str());
    query.parameters.insert("item".to_owned(), item.into());
    query.view = View::clone(&call.caller.view);
    call.gateway.ask(query).await
}

/// Rows as objects.
pub(super) fn objects(rows: &RecordBatch) -> Result<Vec<Value>, Problem> {
    let text = encode(rows, Format::Json).map_err(|error| Problem::internal(&error))?;
    serde_json::from_slice(&text).map_err(|error| Problem::internal(&error))
}
