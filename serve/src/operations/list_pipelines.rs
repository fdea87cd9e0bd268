//! `list_pipelines`: what is collected, and when.

use crate::config::Pipeline;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use schemas::SourceName;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_pipelines",
    about: "Lists the pipelines: what each collects, when it is due, how its last run ended.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/pipelines",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListPipelines>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<PipelineList>()),
    toolset: &toolset::MONITORING,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListPipelines {}

/// The pipelines.
#[derive(Serialize, JsonSchema)]
struct PipelineList {
    /// The pipelines, as the configuration has them.
    pipelines: Vec<PipelineState>,
}

/// A pipeline.
#[derive(Serialize, JsonSchema)]
struct PipelineState {
    /// What the configuration says.
    #[serde(flatten)]
    pipeline: Pipeline,
    /// When it last collected well; absent if it never did.
    collected_at: Option<String>,
    /// The state of its last run; absent if there was none.
    last_state: Option<&'static str>,
}

async fn list(call: Call<'_>, _: ListPipelines) -> Result<PipelineList, Problem> {
    let lake = &call.gateway.lake;
    let head = lake.head();
    let mut pipelines = Vec::new();
    // Their names tell what there is, which somebody who may not see all must not learn.
    let shown = call
        .gateway
        .config
        .pipelines
        .iter()
        .filter(|_| call.caller.view.datasets.is_none());
    for pipeline in shown {
        let last = match SourceName::new(pipeline.name.clone()) {
            Ok(name) => lake.store().runs().newest(Some(&name), 1).await?,
            Err(_) => Vec::new(),
        };
        let collected = head.collected.get(&pipeline.name);
        pipelines.push(PipelineState {
            pipeline: pipeline.clone(),
            collected_at: collected.and_then(|&ended| written(ended)),
            last_state: last.first().map(|run| run.state.as_str()),
        });
    }
    Ok(PipelineList { pipelines })
}
