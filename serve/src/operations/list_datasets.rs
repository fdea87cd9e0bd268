//! `list_datasets`: what there is.

use crate::lake::Head;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use schemas::{Dataset, View, datasets};
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_datasets",
    about: "Lists the datasets: how many rows each has, from which sources, and when they were last collected well.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/datasets",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListDatasets>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<DatasetList>()),
    toolset: &toolset::DATA,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?)) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListDatasets {}

/// The datasets.
#[derive(Serialize, JsonSchema)]
struct DatasetList {
    /// The snapshot of the lake that is told of.
    snapshot: i64,
    /// The datasets, those that hold something first.
    datasets: Vec<DatasetState>,
}

/// What there is of a dataset.
#[derive(Serialize, JsonSchema)]
pub(super) struct DatasetState {
    /// Its name.
    name: &'static str,
    /// What a row is.
    about: &'static str,
    /// Rows; absent where they are counted only when read.
    rows: Option<i64>,
    /// Bytes of its files.
    bytes: Option<i64>,
    /// The snapshot that last brought rows.
    changed_at_snapshot: Option<i64>,
    /// The pipelines that its rows came from.
    sources: Vec<String>,
    /// When all of them had last been collected well; absent when one never was.
    collected_at: Option<String>,
    /// Whether it can be searched.
    is_searchable: bool,
}

fn list(call: Call<'_>, _: ListDatasets) -> DatasetList {
    let head = call.gateway.lake.head();
    let shown = datasets::tables().filter(|dataset| call.caller.view.shows(dataset.name));
    let mut datasets: Vec<DatasetState> = shown
        .map(|dataset| state(dataset, &head, &call.caller.view))
        .collect();
    datasets.sort_by_key(|state| (state.rows.unwrap_or(0) == 0, state.name));
    DatasetList {
        snapshot: head.snapshot,
        datasets,
    }
}

/// What there is of a dataset.
pub(super) fn state(dataset: &'static Dataset, head: &Head, view: &View) -> DatasetState {
    let holding = head.holdings.get(dataset.name);
    DatasetState {
        name: dataset.name,
        about: dataset.about,
        rows: holding.map(|holding| holding.rows),
        bytes: holding.map(|holding| holding.bytes),
        changed_at_snapshot: holding.and_then(|holding| holding.changed_at),
        sources: holding.map_or_else(Vec::new, |holding| holding.sources.iter().cloned().collect()),
        collected_at: head.collected_at(dataset.name).map(|moment| moment.to_string()),
        is_searchable: view.searches(dataset),
    }
}
