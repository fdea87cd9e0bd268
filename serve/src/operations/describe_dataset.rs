//! `describe_dataset`: the columns of a dataset, and what there is of it.

use super::list_datasets::{DatasetState, state};
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::to_arrow::json_schema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "describe_dataset",
    about: "Describes a dataset: its columns with what they mean, its key, how much there is, and how fresh each source is.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<DescribeDataset>(),
    example: r#"{"dataset": "emails"}"#,
    output: Output::Json(|types| types.subschema_for::<DatasetDescription>()),
    toolset: &toolset::DATA,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&describe(call, parse(input)?)?) }),
};

/// Which dataset.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DescribeDataset {
    /// Its name.
    dataset: String,
}

/// A dataset.
#[derive(Serialize, JsonSchema)]
struct DatasetDescription {
    /// What there is of it.
    #[serde(flatten)]
    state: DatasetState,
    /// The columns that name a row.
    key: &'static [&'static str],
    /// The columns that this caller cannot read: they are null.
    masked: Vec<&'static str>,
    /// A JSON Schema of a row.
    schema: serde_json::Value,
    /// The pipelines that its rows came from, each with when it was last collected well.
    freshness: Vec<Freshness>,
}

/// How fresh what came from a source is.
#[derive(Serialize, JsonSchema)]
struct Freshness {
    /// The pipeline.
    source: String,
    /// When it was last collected well; absent if it never was.
    collected_at: Option<String>,
}

fn describe(call: Call<'_>, input: DescribeDataset) -> Result<DatasetDescription, Problem> {
    let view = &call.caller.view;
    let dataset = visible(&input.dataset, view)?;
    let head = call.gateway.lake.head();
    let holding = head.holdings.get(dataset.name);
    let sources = holding.into_iter().flat_map(|holding| &holding.sources);
    let freshness = sources.map(|source| Freshness {
        source: source.clone(),
        collected_at: head.fares.collected.get(source).and_then(|&ended| written(ended)),
    });
    let masked = dataset.all_columns().filter(|column| !view.reads(column));
    Ok(DatasetDescription {
        state: state(dataset, &head, view),
        key: dataset.key,
        masked: masked.map(|column| column.name).collect(),
        schema: json_schema(dataset),
        freshness: freshness.collect(),
    })
}
