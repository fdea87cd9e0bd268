//! `export_dataset`: all rows of a dataset, as a file.

use crate::lake::readable;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, Reply, Rows, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use schemas::{Home, View};
use serde::Deserialize;
use serde_json::json;
use store::export::Format;
use store::lake::as_of::AsOf;
use store::query::Query;

/// The formats of a file.
const FORMATS: &[&str] = &["csv", "json", "ndjson", "js", "md", "parquet", "arrow", "arrows"];

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "export_dataset",
    about: "Gives all rows of a dataset as text in the format that the file's name ends with: csv, json, ndjson, md; over REST \
            also js, parquet and arrow.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/exports/{file}",
    is_heavy: true,
    is_cacheable: true,
    input: |types| types.subschema_for::<ExportDataset>(),
    example: r#"{"file": "emails.csv"}"#,
    output: Output::Rows,
    toolset: &toolset::DATA,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { export(call, parse(input)?).await }),
};

/// Which file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportDataset {
    /// `DATASET.FORMAT`: the name of a dataset, a point, and one of csv, json, ndjson, js, md, parquet, arrow, arrows.
    file: String,
    /// The lake as it was: the number of a snapshot, or a time (RFC 3339).
    #[serde(default)]
    as_of: Option<String>,
}

/// That the name of a file does not say in which format it is.
fn no_format(dataset: &str) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!(
            "the file's name does not end with a format, as `{dataset}.csv` does; there are: {}",
            FORMATS.join(", ")
        ),
    )
}

async fn export(call: Call<'_>, input: ExportDataset) -> Result<Reply, Problem> {
    let (name, extension) = input.file.rsplit_once('.').unwrap_or((&input.file, ""));
    let view = &call.caller.view;
    let dataset = readable(name, view)?;
    let format: Option<Format> = extension.parse().ok().filter(|_| FORMATS.contains(&extension));
    let format = format.ok_or_else(|| no_format(dataset.name))?;
    let lake = &call.gateway.lake;
    let snapshot = lake.moment_of(dataset, input.as_of.as_deref()).await?;
    let rows = if dataset.home == Home::Lake && view.reads_all(dataset) {
        lake.store().rows_at(dataset, snapshot).await?
    } else {
        let query = Query {
            as_of: Some(AsOf::Snapshot(snapshot)),
            view: View::clone(view),
            ..Query::from(format!("SELECT * FROM {}", dataset.name).as_str())
        };
        call.gateway.workers.run_user_sql(&query).await?
    };
    Ok(Reply::Rows(Rows {
        rows,
        about: json!({ "snapshot": snapshot }),
        format: Some(format),
        name: dataset.name.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_formats_are_told_and_are_some() {
        let problem = no_format("emails");
        for format in FORMATS {
            assert!(format.parse::<Format>().is_ok(), "{format}");
            assert!(problem.detail.contains(format), "{problem:?}");
        }
    }
}
