//! `search_schema`: the datasets and columns that a few words mean.

use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use schemas::{Dataset, datasets};
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "search_schema",
    about: "Finds the datasets and columns whose names or descriptions have any of these words; best first.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/schema",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<SearchSchema>(),
    example: r#"{"q": "who sent it"}"#,
    output: Output::Json(|types| types.subschema_for::<FoundColumns>()),
    toolset: &toolset::DATA,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&find(call, parse(input)?)) }),
};

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SearchSchema {
    /// Words.
    #[schemars(length(max = 200))]
    q: String,
    /// Columns.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
}

fn twenty() -> u16 {
    20
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct FoundColumns {
    /// The columns, best first.
    columns: Vec<FoundColumn>,
}

/// A column.
#[derive(Serialize, JsonSchema)]
struct FoundColumn {
    /// Its dataset.
    dataset: &'static str,
    /// Its name.
    column: &'static str,
    /// What it holds.
    about: &'static str,
}

fn find(call: Call<'_>, input: SearchSchema) -> FoundColumns {
    let words: Vec<String> = input.q.split_whitespace().map(str::to_lowercase).collect();
    // How often a word is in a name counts more than in what is told of it.
    let fit = |name: &str, about: &str| {
        let (name, about) = (name.to_lowercase(), about.to_lowercase());
        let of_word = |word: &String| {
            3 * usize::from(name.contains(word.as_str())) + usize::from(about.contains(word.as_str()))
        };
        words.iter().map(of_word).sum::<usize>()
    };
    let view = &call.caller.view;
    let shown = datasets::tables().filter(|dataset| view.shows(dataset.name));
    let columns = shown.flat_map(|dataset: &'static Dataset| {
        let of_dataset = fit(dataset.name, dataset.about);
        let columns = dataset.columns.iter().filter(|column| view.reads(column));
        columns.map(move |column| (of_dataset, dataset.name, column))
    });
    let mut found: Vec<(usize, FoundColumn)> = columns
        .filter_map(|(of_dataset, dataset, column)| {
            let own = 2 * fit(column.name, column.doc) + of_dataset;
            let column = FoundColumn {
                dataset,
                column: column.name,
                about: column.doc,
            };
            (own > 0).then_some((own, column))
        })
        .collect();
    // Stable: of two that fit alike the first stays first.
    found.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
    let columns = found.into_iter().map(|(_, column)| column);
    FoundColumns {
        columns: columns.take(input.limit.into()).collect(),
    }
}
