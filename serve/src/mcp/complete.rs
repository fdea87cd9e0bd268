//! Completion: what can stand in an address or in a prompt, while somebody types it.
//!
//! - In: a template or a prompt, a part of it, what is typed so far. Out: values that begin with that, whatever their
//!   case; none where the caller may not see them, as where there are none.
//! - The values are collected text: they are made harmless, and who was shown some has read what others wrote.
//! - Not here: what completes what (`resources`, `prompts`).

use super::fence::harmless;
use super::options::Options;
use super::{listing, prompts};
use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::lake::visible;
use crate::operation::{Face, Operation};
use crate::problem::Problem;
use crate::registry;
use crate::resources::{self, Entry, Values, Variable};
use rmcp::ErrorData;
use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};
use schemas::{Column, Dataset, Kind, View};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use store::export::{Format, encode};
use store::query::{Parameters, Query};
use uuid::Uuid;

/// Characters that may be typed: no value that is completed is longer.
const MOST_TYPED: usize = 500;

/// The operation that tells of those who write mails: prompts complete people by them.
const OF_PEOPLE: &str = "search_emails";

/// Values that begin with what is typed.
///
/// # Errors
/// That there is no such template, prompt or part of it; that the caller asks too often.
pub(super) async fn complete(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    request: CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let id = Uuid::now_v7().simple().to_string();
    let mut ticket = gateway.ticket("complete", Some(caller), Face::Mcp, &Value::Null, &id);
    caller.count().map_err(|problem| {
        ticket.fail(problem.kind.name());
        ErrorData::invalid_request(problem.detail, None)
    })?;
    let argument = &request.argument;
    let mut beside = Vec::new();
    let (values, operation) = match &request.r#ref {
        Reference::Resource(reference) => {
            let (entry, variable) = of_template(gateway, caller, options, &reference.uri, &argument.name)?;
            let given = request
                .context
                .as_ref()
                .and_then(|context| context.arguments.as_ref());
            beside = others(entry, variable, given);
            (
                variable.values,
                listing::operation(gateway, caller, options, entry),
            )
        }
        Reference::Prompt(reference) => {
            let values = prompts::find(&reference.name)?.argument(&argument.name)?.values;
            (values, registry::by_name(OF_PEOPLE))
        }
        _ => {
            let detail = "only templates of resources and prompts can be completed";
            return Err(ErrorData::invalid_params(detail, None));
        }
    };
    let typed = argument.value.to_lowercase();
    let operation = operation
        .filter(|operation| gateway.offers(operation, caller) && typed.chars().nth(MOST_TYPED).is_none());
    let found = match (values, operation) {
        (Values::None, _) | (_, None) => Vec::new(),
        (Values::Roots, Some(_)) => {
            let roots = gateway.config.roots.iter().map(|root| root.name.as_str());
            let mut roots: Vec<String> = roots
                .filter(|name| begins(name, &typed))
                .map(str::to_owned)
                .collect();
            roots.sort_unstable();
            roots
        }
        (Values::Column { dataset, column }, Some(operation)) => {
            let found = of_column(gateway, caller, operation, dataset, column, &typed, beside).await;
            found.unwrap_or_else(|problem| {
                tracing::warn!(
                    problem = problem.detail,
                    dataset,
                    column,
                    "nothing can be completed"
                );
                Vec::new()
            })
        }
    };
    Ok(CompleteResult::new(info(found)))
}

/// A template, and a variable of it.
fn of_template(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    uri: &str,
    name: &str,
) -> Result<(&'static Entry, &'static Variable), ErrorData> {
    let entries = resources::ALL.iter().flat_map(|resource| resource.entries);
    let offered = entries
        .filter(|entry| entry.is_template() && listing::operation(gateway, caller, options, entry).is_some());
    let uris = offered.clone().map(|entry| entry.uri);
    let found = offered.clone().find(|entry| entry.uri == uri);
    let entry = found.ok_or_else(|| prompts::missing("template", uri, uris))?;
    let names = entry.variables.iter().map(|variable| variable.name);
    let variable = entry.variables.iter().find(|variable| variable.name == name);
    let variable = variable.ok_or_else(|| prompts::missing("variable", name, names))?;
    Ok((entry, variable))
}

/// Another part of an address, which is given already: a value of a column.
struct Beside {
    dataset: &'static str,
    column: &'static str,
    value: String,
}

/// The other parts of an address that are given already.
fn others(entry: &Entry, variable: &Variable, given: Option<&HashMap<String, String>>) -> Vec<Beside> {
    let others = entry.variables.iter().filter(|other| other.name != variable.name);
    let others = others.filter_map(|other| match other.values {
        Values::Column { dataset, column } => Some(Beside {
            dataset,
            column,
            value: given?.get(other.name).filter(|value| !value.is_empty())?.clone(),
        }),
        Values::None | Values::Roots => None,
    });
    others.collect()
}

/// Whether a value begins with what is typed, which is in small letters.
fn begins(value: &str, typed: &str) -> bool {
    value.to_lowercase().starts_with(typed)
}

/// A value of a column.
#[derive(Deserialize)]
struct Given {
    /// It.
    value: String,
}

/// Values of a column that begin with what is typed; one more than is told, to tell that there are more.
async fn of_column(
    gateway: &Gateway,
    caller: &Caller,
    operation: &Operation,
    dataset: &str,
    column: &str,
    typed: &str,
    beside: Vec<Beside>,
) -> Result<Vec<String>, Problem> {
    let Ok(dataset) = visible(dataset, &caller.view) else {
        return Ok(Vec::new());
    };
    let column = dataset.all_columns().find(|known| known.name == column);
    let Some(column) = column.filter(|column| caller.view.reads(column)) else {
        return Ok(Vec::new());
    };
    let mut conditions = Vec::new();
    let mut parameters = Parameters::from([("typed".to_owned(), typed.into())]);
    for (number, beside) in beside.into_iter().enumerate() {
        let parameter = format!("given{number}");
        let other = visible(beside.dataset, &caller.view).ok();
        let condition = other.and_then(|other| {
            let column = other.all_columns().find(|known| known.name == beside.column)?;
            let column = Some(column).filter(|column| caller.view.reads(column))?;
            condition(dataset, other, column, &parameter)
        });
        if let Some(condition) = condition {
            conditions.push(condition);
            parameters.insert(parameter, beside.value.into());
        }
    }
    let mut query = Query::from(select(dataset, column, &conditions).as_str());
    query.parameters = parameters;
    query.view = View::clone(&caller.view);
    let rows = gateway.ask(query).await?;
    let text = encode(&rows, Format::Json).map_err(|error| Problem::internal(&error))?;
    let found: Vec<Given> = serde_json::from_slice(&text).map_err(|error| Problem::internal(&error))?;
    if !found.is_empty() {
        gateway.taint(caller, operation).await?;
    }
    let values = found.iter().map(|given| harmless(&given.value).into_owned());
    Ok(values.collect())
}

/// What is so of rows of a dataset that go with a value of a column, of it or another: a column of that name, or the same item.
fn condition(dataset: &Dataset, other: &Dataset, column: &Column, parameter: &str) -> Option<String> {
    let name = column.name;
    let is_it = match column.kind {
        Kind::TextList => format!("array_has(\"{name}\", :{parameter})"),
        _ => format!("\"{name}\" = :{parameter}"),
    };
    if dataset.all_columns().any(|own| own.name == name) {
        return Some(is_it);
    }
    let is_of_items = |dataset: &Dataset| dataset.key.starts_with(&["_source", "_item"]);
    (is_of_items(dataset) && is_of_items(other))
        .then(|| format!("_item IN (SELECT _item FROM {} WHERE {is_it})", other.name))
}

/// The statement that asks for values of a column, of rows of which all conditions are true.
fn select(dataset: &Dataset, column: &Column, conditions: &[String]) -> String {
    let (from, name) = (dataset.name, column.name);
    let value = match column.kind {
        Kind::TextList => format!("unnest(\"{name}\")"),
        _ => format!("\"{name}\""),
    };
    let rows = match conditions {
        [] => String::new(),
        conditions => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let most = CompletionInfo::MAX_VALUES + 1;
    format!(
        "SELECT DISTINCT value FROM (SELECT {value} AS value FROM {from}{rows}) AS given \
         WHERE value <> '' AND length(value) <= 500 AND starts_with(lower(value), CAST(:typed AS VARCHAR)) ORDER BY value LIMIT {most}"
    )
}

/// As many values as may be told.
fn info(mut values: Vec<String>) -> CompletionInfo {
    let has_more = values.len() > CompletionInfo::MAX_VALUES;
    values.truncate(CompletionInfo::MAX_VALUES);
    let total = u32::try_from(values.len()).ok().filter(|_| !has_more);
    CompletionInfo::with_pagination(values, total, has_more).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets;

    fn told(count: usize) -> CompletionInfo {
        info((0..count).map(|number| number.to_string()).collect())
    }

    #[test]
    fn no_more_are_told_than_may_be() {
        let all = told(CompletionInfo::MAX_VALUES);
        assert_eq!(
            (all.values.len(), all.total, all.has_more),
            (100, Some(100), Some(false))
        );
        let some = told(CompletionInfo::MAX_VALUES + 1);
        assert_eq!(
            (some.values.len(), some.total, some.has_more),
            (100, None, Some(true))
        );
        assert_eq!((told(0).total, told(0).has_more), (Some(0), Some(false)));
    }

    #[test]
    fn the_case_does_not_count() {
        assert!(begins("Über/Projekte", "über"));
        assert!(begins("Über", ""));
        assert!(!begins("Projekte", "über"));
    }

    #[test]
    fn what_is_typed_is_bound_and_never_part_of_the_statement() {
        let of = |dataset: &str, column: &str| {
            let dataset = datasets::by_name(dataset).unwrap();
            let column = dataset.all_columns().find(|known| known.name == column).unwrap();
            select(dataset, column, &[])
        };
        let list = of("emails", "folders");
        assert!(
            list.contains("(SELECT unnest(\"folders\") AS value FROM emails)"),
            "{list}"
        );
        let text = of("emails", "from_addr");
        assert!(
            text.contains("(SELECT \"from_addr\" AS value FROM emails)"),
            "{text}"
        );
        assert!(text.contains(":typed") && text.ends_with("LIMIT 101"), "{text}");
    }

    #[test]
    fn what_is_given_beside_it_says_of_which_rows() {
        let beside = |dataset: &str, other: &str, column: &str| {
            let other = datasets::by_name(other).unwrap();
            let column = other.all_columns().find(|known| known.name == column).unwrap();
            condition(datasets::by_name(dataset).unwrap(), other, column, "given0")
        };
        assert_eq!(
            beside("git_file_changes", "git_commits", "repository").unwrap(),
            "\"repository\" = :given0"
        );
        assert_eq!(
            beside("emails", "emails", "folders").unwrap(),
            "array_has(\"folders\", :given0)"
        );
        assert_eq!(
            beside("document_sections", "documents", "path").unwrap(),
            "_item IN (SELECT _item FROM documents WHERE \"path\" = :given0)"
        );
        // Which branches have a file is nowhere written.
        assert_eq!(beside("git_branches", "git_file_changes", "path"), None);
    }

    /// The statements are planned and run over an empty lake.
    #[tokio::test(flavor = "multi_thread")]
    async fn each_column_that_completes_something_can_be_asked() {
        use futures::TryStreamExt as _;
        let folder = tempfile::tempdir().unwrap();
        let store = store::Store::open_writer(folder.path()).await.unwrap();
        let limits = store::query::Limits {
            memory_bytes: 64 << 20,
            time: std::time::Duration::from_secs(60),
            threads: 1,
            rows: None,
            bytes: None,
        };
        let of_column = |values: Values| match values {
            Values::Column { dataset, column } => {
                let dataset = datasets::by_name(dataset).unwrap();
                let column = dataset.all_columns().find(|known| known.name == column);
                Some((dataset, column.unwrap()))
            }
            Values::None | Values::Roots => None,
        };
        let entries = resources::ALL.iter().flat_map(|resource| resource.entries);
        let mut asked = Vec::new();
        for entry in entries {
            let columns = entry
                .variables
                .iter()
                .filter_map(|variable| of_column(variable.values));
            let columns: Vec<_> = columns.collect();
            for (dataset, column) in &columns {
                let beside = columns.iter().enumerate();
                let beside = beside.filter_map(|(number, (other, column))| {
                    condition(dataset, other, column, &format!("given{number}"))
                });
                asked.push((*dataset, *column, beside.collect::<Vec<String>>()));
            }
        }
        let arguments = prompts::ALL.iter().flat_map(|prompt| prompt.arguments);
        let arguments = arguments.filter_map(|argument| of_column(argument.values));
        asked.extend(arguments.map(|(dataset, column)| (dataset, column, Vec::new())));
        for (known, column, conditions) in asked {
            let mut query = Query::from(select(known, column, &conditions).as_str());
            query.parameters.insert("typed".to_owned(), "a_%'b".into());
            for number in 0..9 {
                let parameter = format!("given{number}");
                if query.text.contains(&format!(":{parameter}")) {
                    query.parameters.insert(parameter, "a_%'b".into());
                }
            }
            let rows = store.reader(limits).answer(&query).await.unwrap();
            let batches: Vec<arrow_array::RecordBatch> = rows.try_collect().await.unwrap();
            assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
        }
    }
}
