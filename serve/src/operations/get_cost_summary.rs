//! `get_cost_summary`: what services cost, as far as that is collected.
//!
//! - There is no dataset of costs yet, so it says that, and never that they are nothing. With the dataset come its sums,
//!   and how many months of them are asked for.

use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use schemas::{View, datasets};
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
    /// What the asker should know, and where else to look.
    note: String,
}

fn costs(call: Call<'_>, _: CostSummary) -> Costs {
    Costs {
        is_collected: false,
        costs: Vec::new(),
        note: note(&call.caller.view),
    }
}

/// Where costs can be found as long as they are not collected, of what the asker may see.
fn note(view: &View) -> String {
    let mut note =
        "no costs are collected: dkc has no dataset of them yet, and nothing can be configured that would \
        bring one, so nothing can be said about what services cost"
            .to_owned();
    if datasets::by_name("emails").is_some_and(|emails| view.searches(emails)) {
        note.push_str(
            "; bills come by mail: `search_emails` with `q`: `(invoice OR bill OR receipt)`, and `from` and `after`, \
             finds them",
        );
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Privacy;

    #[test]
    fn who_may_search_mails_is_told_how_to_find_bills_there() {
        assert!(note(&View::default()).contains("`search_emails`"));
        let without = View {
            datasets: Some(["photos".to_owned()].into()),
            hidden: Some(Privacy::Secret),
            ..View::default()
        };
        assert!(!note(&without).contains("mail"));
    }

    #[test]
    fn when_costs_are_collected_they_must_be_told() {
        assert!(
            datasets::by_name("costs").is_none(),
            "there is a dataset of costs now: sum it here"
        );
    }
}
