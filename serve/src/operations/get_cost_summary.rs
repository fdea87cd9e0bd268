//! `get_cost_summary`: what services cost, as far as that is collected.
//!
//! - There is no dataset of costs yet, so it says that, and never that they are nothing. With the dataset come its sums,
//!   and how many months of them are asked for.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_cost_summary",
    about: "Tells what services cost by month; as yet only that no costs are collected.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/monitoring/costs",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<CostSummary>(),
    example: "{}",
    output: Output::Json(|types| types.subschema_for::<Costs>()),
    toolset: &toolset::MONITORING,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&costs(call, parse(input)?)) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CostSummary {}

/// What services cost.
#[derive(Serialize, JsonSchema)]
struct Costs {
    /// Whether costs are collected; if not, what they are is not known.
    is_collected: bool,
    /// Costs by month and service; empty as long as they are not collected.
    costs: Vec<Value>,
    /// What the asker should know.
    note: &'static str,
}

fn costs(_: Call<'_>, _: CostSummary) -> Costs {
    Costs {
        is_collected: false,
        costs: Vec::new(),
        note: "no costs are collected: dkc has no dataset of them yet, so that nothing can be said about what services \
               cost; look at the bills, or at the mails that bring them",
    }
}

#[cfg(test)]
mod tests {
    use schemas::datasets;

    #[test]
    fn when_costs_are_collected_they_must_be_told() {
        assert!(
            datasets::by_name("costs").is_none(),
            "there is a dataset of costs now: sum it here"
        );
    }
}
