//! `dkc schema`: what the datasets hold, in the words of `schemas`.

use crate::context::Context;
use crate::{commands, config, print};
use clap::Args;
use miette::Result;
use schemas::{Dataset, Operator, Search, datasets, to_arrow};

/// Prints every column of every dataset, or of one; with `--json` the JSON Schema of a row.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc schema emails\n  dkc schema config > dkc.schema.json")]
pub struct Arguments {
    /// A dataset; `config` for the JSON Schema of dkc.toml, for editors
    #[arg(value_name = "DATASET")]
    dataset: Option<String>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let chosen: Vec<&'static Dataset> = match arguments.dataset.as_deref() {
        None => datasets::ALL.to_vec(),
        Some("config") => return print::json(&config::json_schema()),
        Some(name) => vec![commands::table(name)?],
    };
    if context.json {
        return match (chosen.as_slice(), arguments.dataset) {
            ([dataset], Some(_)) => print::json(&to_arrow::json_schema(dataset)),
            _ => print::json(
                &chosen
                    .iter()
                    .map(|of| (of.name, to_arrow::json_schema(of)))
                    .collect::<std::collections::BTreeMap<_, _>>(),
            ),
        };
    }
    for dataset in chosen {
        print::text(&format!("{}: {}", dataset.name, dataset.about))?;
        print::table(
            ["column", "kind", "null", "meaning"],
            dataset.all_columns().map(|column| {
                let key = if dataset.key.contains(&column.name) {
                    " (key)"
                } else {
                    ""
                };
                let source = column
                    .source
                    .map(|source| format!(" [{source}]"))
                    .unwrap_or_default();
                [
                    format!("{}{key}", column.name),
                    format!("{:?}", column.kind),
                    if column.nullable {
                        "yes".to_owned()
                    } else {
                        String::new()
                    },
                    format!("{}{source}", column.doc),
                ]
            }),
        )?;
        if let Some(search) = &dataset.search {
            print::text(&searched(search))?;
        }
        print::text("")?;
    }
    Ok(())
}

/// How a dataset is searched, in a sentence.
fn searched(search: &Search) -> String {
    let operators: Vec<String> = Operator::ALL
        .iter()
        .filter(|operator| search.answers(**operator))
        .map(|operator| format!("{}:", operator.name()))
        .collect();
    format!(
        "Searched by {} and {}; operators: {}",
        search.title.join(", "),
        search.text.join(", "),
        operators.join(" ")
    )
}
