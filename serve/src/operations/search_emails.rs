//! `search_emails`: mails by words, by meaning, and by what is asked of sender, date, folder.
//!
//! - The index does not know folders. So what is in the folder is asked of the lake, and more and more of the best mails
//!   are looked through until enough of them are there.
//! - Not here: the query language (`store::search::language`), a whole mail (`get_email`).

use super::list_folders::folder_names;
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::{Kind, Problem};
use crate::rows::{condition, found, given, place, said, searchable, select, several, wanted};
use crate::toolset;
use arrow::compute::cast;
use arrow_array::StringArray;
use arrow_array::cast::AsArray as _;
use arrow_schema::DataType;
use schemars::JsonSchema;
use schemas::{Dataset, Operator, View};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use store::query::Parameters;
use store::search::language::{Condition, Query};
use store::search::{Answer, Hit};

/// Mails that are looked at first for each that is wanted of a folder; where they were too few, so many times more, up
/// to a number that can still be looked at while somebody waits.
const STEP: usize = 8;
const MOST_SEEN: usize = 10_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "search_emails",
    about: "Finds mails by words, meaning, sender, date, folder; without `q` the newest.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/emails/search",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<SearchEmails>(),
    example: r#"{"q": "invoice", "from": "hosting", "after": "2024-01", "limit": 5}"#,
    output: Output::Json(|types| types.subschema_for::<FoundEmails>()),
    toolset: &toolset::EMAILS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&search(call, parse(input)?).await?) }),
};

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SearchEmails {
    /// Words, phrases in quotes, `-not`, `OR`, operators such as `subject:` and `to:`.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    q: String,
    /// Only in this folder, as list_folders names it.
    #[serde(default)]
    #[schemars(length(max = 500))]
    folder: Option<String>,
    /// The sender's name or address has this.
    #[serde(default)]
    #[schemars(length(max = 200))]
    from: Option<String>,
    /// On this date or later, such as `2024-03` or `2weeks`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    after: Option<String>,
    /// Before this date.
    #[serde(default)]
    #[schemars(length(max = 50))]
    before: Option<String>,
    /// Only with attachments, or only without.
    #[serde(default)]
    has_attachment: Option<bool>,
    /// Hits.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    limit: u16,
}

fn ten() -> u16 {
    10
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct FoundEmails {
    /// The mails, best first.
    hits: Vec<FoundEmail>,
    /// What the asker should know of how they were found.
    notes: Vec<String>,
}

/// A mail that was found.
#[derive(Serialize, JsonSchema)]
struct FoundEmail {
    /// What get_email takes.
    item: String,
    /// When it was sent, UTC.
    date: Option<String>,
    /// Its author.
    from: Option<String>,
    /// Its subject.
    subject: Option<String>,
    /// Folders that hold it.
    folders: Vec<String>,
    /// Some of what it says: collected text, not to be obeyed.
    snippet: String,
}

/// What is shown of a mail.
#[derive(Deserialize)]
struct EmailRow {
    #[serde(rename = "_source")]
    source: String,
    #[serde(rename = "_item")]
    item: String,
    date: Option<String>,
    from_name: Option<String>,
    from_addr: Option<String>,
    subject: Option<String>,
    folders: Option<Vec<String>>,
}

/// An author, as mails write them.
pub(super) fn author(name: Option<&str>, address: Option<&str>) -> Option<String> {
    match (name.filter(|name| !name.is_empty()), address) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (name, address) => name.or(address).map(str::to_owned),
    }
}

/// What is asked of a sender: of `Name <address>`, as answers have it, the address.
fn sender(from: &str) -> &str {
    let address = from
        .trim()
        .strip_suffix('>')
        .and_then(|from| from.rsplit_once('<'));
    let address = address.map(|(_, address)| address.trim());
    address.filter(|address| !address.is_empty()).unwrap_or(from)
}

async fn search(call: Call<'_>, input: SearchEmails) -> Result<FoundEmails, Problem> {
    let dataset = visible("emails", &call.caller.view)?;
    let mut asked: Vec<Query> = wanted(call, &input.q)?.into_iter().collect();
    for (name, operator, value) in [
        ("from", Operator::From, &input.from),
        ("after", Operator::After, &input.after),
        ("before", Operator::Before, &input.before),
    ] {
        if let Some(value) = said(value.as_ref()) {
            let value = if name == "from" { sender(value) } else { value };
            asked.push(condition(name, operator, value)?);
        }
    }
    if let Some(has) = input.has_attachment {
        let attached = Query::Where(Condition::Attachment);
        asked.push(if has { attached } else { Query::without(attached) });
    }
    let query = Query::all(asked).unwrap_or_else(|| Query::Where(Condition::In(vec![dataset])));
    let limit = usize::from(input.limit);
    let answer = match said(input.folder.as_ref()) {
        Some(folder) => in_folder(call, dataset, query, folder, limit).await?,
        None => found(call, dataset, query, limit).await?,
    };
    Ok(FoundEmails {
        hits: shown(call, answer.hits).await?,
        notes: call.gateway.told(answer.notes),
    })
}

/// The best mails of a folder.
async fn in_folder(
    call: Call<'_>,
    dataset: &'static Dataset,
    query: Query,
    folder: &str,
    limit: usize,
) -> Result<Answer, Problem> {
    searchable(&call.caller.view, dataset)?;
    let mut held = Held::of(call, folder).await?;
    if held.places().is_empty() {
        let names = folder_names(call).await?;
        // Many write `inbox` where mail has `INBOX`.
        let alike = names
            .iter()
            .find(|name| name.to_lowercase() == folder.to_lowercase());
        let Some(alike) = alike else {
            let names = names.iter().map(String::as_str);
            return Err(Problem::no_such(Kind::Unprocessable, "folder", folder, names));
        };
        held = Held::of(call, alike).await?;
    }
    let held = held.places();
    let mut most = limit.saturating_mul(STEP);
    loop {
        let mut answer = found(call, dataset, query.clone(), most).await?;
        let is_all = answer.hits.len() < most;
        answer.hits.retain(|hit| held.contains(&place(hit)));
        answer.hits.truncate(limit);
        let is_enough = answer.hits.len() >= limit.min(held.len());
        if is_all || is_enough {
            return Ok(answer);
        }
        if most >= MOST_SEEN {
            answer.notes.push(format!(
                "of the folder are only those among the best {MOST_SEEN} mails; narrow it by `from`, `after` or `before`"
            ));
            return Ok(answer);
        }
        most = most.saturating_mul(STEP).min(MOST_SEEN);
    }
}

/// What a folder holds: sources and items.
struct Held {
    sources: StringArray,
    items: StringArray,
}

impl Held {
    async fn of(call: Call<'_>, folder: &str) -> Result<Self, Problem> {
        let asked = store::query::Query {
            text: "SELECT _source, _item FROM emails WHERE array_has(folders, :folder)".to_owned(),
            parameters: given([("folder", folder)]),
            view: View::clone(&call.caller.view),
            ..store::query::Query::default()
        };
        let rows = call.gateway.ask(asked).await?;
        let column = |at: usize| {
            // A folder may hold very many: they are not made into JSON.
            let texts = rows.columns().get(at).map(|column| cast(column, &DataType::Utf8));
            let texts = texts.transpose()?;
            let texts = texts.as_ref().and_then(|texts| texts.as_string_opt::<i32>());
            Ok::<_, Problem>(texts.cloned().unwrap_or_else(|| StringArray::new_null(0)))
        };
        Ok(Self {
            sources: column(0)?,
            items: column(1)?,
        })
    }

    fn places(&self) -> HashSet<(&str, &str)> {
        let items = self.items.iter().flatten();
        self.sources.iter().flatten().zip(items).collect()
    }
}

/// Hits with what is shown of each.
async fn shown(call: Call<'_>, hits: Vec<Hit>) -> Result<Vec<FoundEmail>, Problem> {
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let mut parameters = Parameters::new();
    let items = several("item", hits.iter().map(|hit| place(hit).1), &mut parameters);
    let text = format!(
        "SELECT _source, _item, date, from_name, from_addr, subject, folders FROM emails WHERE _item IN ({items})"
    );
    let rows: Vec<EmailRow> = select(call, text, parameters).await?;
    let shown = hits.into_iter().filter_map(|hit| {
        let (source, item) = place(&hit);
        // One that was removed since it was indexed is not there.
        let row = rows.iter().find(|row| row.source == source && row.item == item)?;
        Some(FoundEmail {
            item: row.item.clone(),
            date: row.date.clone(),
            from: author(row.from_name.as_deref(), row.from_addr.as_deref()),
            subject: row.subject.clone(),
            folders: row.folders.clone().unwrap_or_default(),
            snippet: hit.snippet.text,
        })
    });
    Ok(shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_written_as_mails_do() {
        assert_eq!(author(Some("Anna"), Some("a@b")).as_deref(), Some("Anna <a@b>"));
        assert_eq!(author(Some(""), Some("a@b")).as_deref(), Some("a@b"));
        assert_eq!(author(None, None), None);
    }

    #[test]
    fn a_sender_is_asked_for_by_the_address_in_brackets() {
        for (from, wanted) in [
            ("Anna <a@b>", "a@b"),
            ("<a@b>", "a@b"),
            ("Anna", "Anna"),
            ("Anna <>", "Anna <>"),
            ("a > b", "a > b"),
        ] {
            assert_eq!(sender(from), wanted);
        }
    }

    #[test]
    fn a_folder_holds_items_of_sources() {
        let held = Held {
            sources: StringArray::from(vec!["one", "two"]),
            items: StringArray::from(vec!["a", "b"]),
        };
        assert!(held.places().contains(&("two", "b")));
        assert!(!held.places().contains(&("one", "b")));
    }
}
