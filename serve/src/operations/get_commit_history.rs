//! `get_commit_history`: commits, newest first; of a file, how it evolved under all its names.
//!
//! - A file is followed through renames: of each name only the changes up to the rename that gave it the next one.
//!   What is before and after is told by the time of the commit, as branches have no other order in the rows.
//! - Reading order: `names` says which names a file had, `statement` writes the question, `order` sorts what was made
//!   in the same moment.
//! - Not here: finding commits by words (`search_commits`), lines of files (`get_file_blame`).

mod names;
mod order;

use super::get_item::objects;
use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse, written};
use crate::problem::{Kind, Problem};
use crate::toolset;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use names::{MOST_RENAMES, Name, names_of, repository_of};
use order::{MOST_TIED, ordered};
use schemars::JsonSchema;
use schemas::View;
use schemas::datasets::git_commits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::page::Cell;
use store::query::{Parameters, Query};

/// The moment of a commit whose dates cannot be read, as [`MOMENT`] has it: it is older than all others.
const NEVER: i64 = -9_000_000_000_000_000_000;

/// When a commit `c` was made, in microseconds since 1970.
const MOMENT: &str =
    "coalesce(CAST(coalesce(c.committer_time, c.author_time) AS BIGINT), -9000000000000000000)";

/// That a change `f` is of a commit `c`.
const OF_COMMIT: &str =
    r#"f._source = c._source AND f.repository = c.repository AND f."commit" = c."commit""#;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_commit_history",
    about: "Lists commits, newest first; with `path`, how that file evolved, through its renames.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/git/commits/history",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<CommitHistory>(),
    example: r#"{"repository": "dkc", "path": "README.md", "limit": 10}"#,
    output: Output::Json(|types| types.subschema_for::<CommitList>()),
    toolset: &toolset::GIT,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&history(call, parse(input)?).await?) }),
};

/// Which commits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CommitHistory {
    /// Of this repository; of all if absent.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4096))]
    repository: Option<String>,
    /// That changed this file.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4096))]
    path: Option<String>,
    /// Whose author's name or address contains this.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    author: Option<String>,
    /// From this day or time on.
    #[serde(default)]
    #[schemars(length(max = 64))]
    since: Option<String>,
    /// Before this day or time.
    #[serde(default)]
    #[schemars(length(max = 64))]
    until: Option<String>,
    /// Commits at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
    /// `next` of the answer before.
    #[serde(default)]
    #[schemars(length(max = 16384))]
    after: Option<String>,
}

fn twenty() -> u16 {
    20
}

/// Commits.
#[derive(Serialize, JsonSchema)]
struct CommitList {
    /// The commits, newest first.
    commits: Vec<CommitShown>,
    /// What to give as `after` for those that follow; absent at the end.
    next: Option<String>,
    /// What the asker should know of how they were found.
    notes: Vec<String>,
}

/// A commit.
#[derive(Serialize, JsonSchema)]
struct CommitShown {
    /// Its repository.
    repository: String,
    /// Its id.
    commit: String,
    /// When it was committed, UTC; absent if the date is unreadable.
    at: Option<String>,
    /// Who wrote it; absent where that may not be seen.
    author: Option<String>,
    /// The first paragraph of its message; absent where that may not be seen.
    subject: Option<String>,
    /// Lines added: with `path`, in that file; absent for a binary file.
    insertions: Option<i64>,
    /// Lines removed, likewise.
    deletions: Option<i64>,
    /// Files that it changed.
    files_changed: i64,
    /// What it did to the file that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileChanged>,
}

/// What a commit did to a file.
#[derive(Serialize, JsonSchema)]
struct FileChanged {
    /// added, deleted, modified, renamed or type_changed.
    change: String,
    /// Its path after that.
    path: String,
    /// Its path before, if it was renamed.
    old_path: Option<String>,
}

/// A commit as it is read.
#[derive(Deserialize)]
struct Row {
    repository: String,
    commit: String,
    moment: i64,
    parents: Option<Vec<String>>,
    author_name: Option<String>,
    subject: Option<String>,
    insertions: Option<i64>,
    deletions: Option<i64>,
    files_changed: i64,
    path: Option<String>,
    old_path: Option<String>,
    change: Option<String>,
    /// Whether too many are of its moment, so that their order is that of the ids.
    #[serde(skip)]
    by_id: bool,
}

/// Where an answer ended.
#[derive(Serialize, Deserialize)]
struct End {
    /// The moment of its last commit.
    t: i64,
    /// Its repository.
    r: String,
    /// Its id.
    c: String,
    /// Whether those of its moment are in the order of their ids.
    #[serde(rename = "b", default)]
    by_id: bool,
}

/// The name of a repository as it is read.
#[derive(Deserialize)]
struct Named {
    repository: String,
}

async fn history(call: Call<'_>, input: CommitHistory) -> Result<CommitList, Problem> {
    let view = &call.caller.view;
    visible(git_commits::DATASET.name, view)?;
    let mut notes = Vec::new();
    let mut names = Vec::new();
    let mut repository = input.repository.clone();
    if let Some(path) = &input.path {
        visible("git_file_changes", view)?;
        let of = match repository.take() {
            Some(repository) => repository,
            None => repository_of(call, path).await?,
        };
        names = names_of(call, &of, path).await?;
        if names.len() > MOST_RENAMES {
            notes.push(format!(
                "older names than {MOST_RENAMES} renames ago were not looked for"
            ));
        }
        repository = Some(of);
    }
    let (text, parameters) = statement(&input, repository.as_deref(), &names, view)?;
    let rows: Vec<Row> = ask(call, &text, parameters).await?;
    let mut rows = ordered(rows, end_of(&input)?.as_ref());
    if rows.is_empty()
        && let Some(repository) = &input.repository
    {
        check_repository(call, repository).await?;
    }
    let limit = usize::from(input.limit);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| has_more);
    let next = last.map(|last| {
        let end = End {
            t: last.moment,
            r: last.repository.clone(),
            c: last.commit.clone(),
            by_id: last.by_id,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&end).unwrap_or_default())
    });
    let commits = rows.into_iter().map(shown).collect();
    Ok(CommitList { commits, next, notes })
}

fn shown(row: Row) -> CommitShown {
    let file = row.change.zip(row.path).map(|(change, path)| FileChanged {
        change,
        path,
        old_path: row.old_path,
    });
    CommitShown {
        repository: row.repository,
        commit: row.commit,
        at: written(row.moment),
        author: row.author_name,
        subject: row.subject,
        insertions: row.insertions,
        deletions: row.deletions,
        files_changed: row.files_changed,
        file,
    }
}

/// Where the answer before ended.
fn end_of(input: &CommitHistory) -> Result<Option<End>, Problem> {
    let Some(after) = &input.after else {
        return Ok(None);
    };
    let bytes = URL_SAFE_NO_PAD.decode(after).ok();
    let end = bytes.and_then(|bytes| serde_json::from_slice::<End>(&bytes).ok());
    end.map(Some)
        .ok_or_else(|| Problem::unprocessable("`after` is not `next` of an answer; begin again without it"))
}

/// The question as SQL: one commit more than are wanted, which tells whether there are others, and room for all that
/// were made in the moments of the first and the last, which the rows alone cannot put in order.
fn statement(
    input: &CommitHistory,
    repository: Option<&str>,
    names: &[Name],
    view: &View,
) -> Result<(String, Parameters), Problem> {
    let mut parameters = Parameters::new();
    let mut bind = |name: &str, value: Value| {
        parameters.insert(name.to_owned(), value);
    };
    let mut inner = vec!["true".to_owned()];
    let mut outer = inner.clone();
    if let Some(repository) = repository {
        bind("repository", repository.into());
        inner.push("c.repository = :repository".to_owned());
    }
    if let Some(author) = &input.author {
        let columns = &["author_name", "author_email"];
        if columns.iter().any(|name| !reads(view, name)) {
            return Err(Problem::new(
                Kind::Forbidden,
                "authors are masked for this token, so commits cannot be chosen by them",
            ));
        }
        bind("author", author.as_str().into());
        let fits = columns.map(|name| format!("strpos(lower(c.{name}), lower(:author)) > 0"));
        inner.push(format!("({})", fits.join(" OR ")));
    }
    if let Some(since) = &input.since {
        bind("since", moment("since", since)?.into());
        outer.push("moment >= :since".to_owned());
    }
    if let Some(until) = &input.until {
        bind("until", moment("until", until)?.into());
        outer.push("moment < :until".to_owned());
    }
    if let Some(end) = end_of(input)? {
        bind("t", end.t.into());
        bind("r", end.r.into());
        let later = match end.by_id {
            true => {
                bind("c", end.c.into());
                r#"(repository > :r OR (repository = :r AND "commit" > :c))"#
            }
            // Those of its moment that were told are left out when they are in order.
            false => "repository >= :r",
        };
        outer.push(format!("(moment < :t OR (moment = :t AND {later}))"));
    }
    let mut of_names = Vec::new();
    for (at, name) in names.iter().enumerate() {
        bind(&format!("path{at}"), name.path.as_str().into());
        bind(&format!("from{at}"), name.from.into());
        bind(&format!("until{at}"), name.until.into());
        of_names.push(format!(
            "(path = :path{at} AND moment >= :from{at} AND moment <= :until{at})"
        ));
    }
    let (table, file) = match names {
        [] => (
            "git_commits c".to_owned(),
            "c.insertions, c.deletions, CAST(NULL AS VARCHAR) AS path, \
             CAST(NULL AS VARCHAR) AS old_path, CAST(NULL AS VARCHAR) AS change",
        ),
        _ => {
            outer.push(format!("({})", of_names.join(" OR ")));
            inner.push("f.repository = :repository".to_owned());
            (
                format!("git_commits c JOIN git_file_changes f ON {OF_COMMIT}"),
                "f.insertions, f.deletions, f.path, f.old_path, f.change",
            )
        }
    };
    let most = usize::from(input.limit) + 1 + 2 * MOST_TIED;
    let (inner, outer) = (inner.join(" AND "), outer.join(" AND "));
    let text = format!(
        r#"SELECT * FROM (
             SELECT c.repository, c."commit", {MOMENT} AS moment, c.parents, c.author_name, c.subject, c.files_changed, {file}
             FROM {table} WHERE {inner}) AS h
           WHERE {outer} ORDER BY moment DESC, repository, "commit" LIMIT {most}"#
    );
    Ok((text, parameters))
}

fn reads(view: &View, column: &str) -> bool {
    let mut columns = git_commits::DATASET.columns.iter();
    columns.any(|known| known.name == column && view.reads(known))
}

/// A day or a time, in microseconds since 1970.
fn moment(name: &str, text: &str) -> Result<i64, Problem> {
    let mut columns = git_commits::DATASET.columns.iter();
    let column = columns.find(|column| column.kind == schemas::Kind::Instant);
    match column.and_then(|column| Cell::parse(text, column)) {
        Some(Cell::Instant(moment)) => Ok(moment),
        _ => Err(Problem::unprocessable(format!(
            "`{name}` is neither a day nor a time such as 2026-11-01T12:00:00Z"
        ))),
    }
}

/// That a repository is known to the caller.
///
/// # Errors
/// [`Kind::NotFound`] when it is not, with the nearest name.
pub(super) async fn check_repository(call: Call<'_>, name: &str) -> Result<(), Problem> {
    // Who may not see the repositories learns nothing of which there are.
    if visible("git_repositories", &call.caller.view).is_err() {
        return Ok(());
    }
    let text = "SELECT DISTINCT repository FROM git_repositories ORDER BY repository LIMIT 10000";
    let found: Vec<Named> = ask(call, text, Parameters::new()).await?;
    match found.iter().any(|named| named.repository == name) {
        true => Ok(()),
        false => {
            let names = found.iter().map(|named| named.repository.as_str());
            Err(Problem::not_found("repository", name, names))
        }
    }
}

/// The rows of a question of dkc's own making, of what the caller may see.
pub(super) async fn ask<T: DeserializeOwned>(
    call: Call<'_>,
    text: &str,
    parameters: Parameters,
) -> Result<Vec<T>, Problem> {
    let query = Query {
        text: text.to_owned(),
        parameters,
        view: View::clone(&call.caller.view),
        ..Query::default()
    };
    let rows = objects(&call.gateway.ask(query).await?)?;
    let rows = rows.into_iter().map(serde_json::from_value);
    rows.collect::<Result<_, _>>()
        .map_err(|error| Problem::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Privacy;
    use serde_json::json;

    fn input(given: Value) -> CommitHistory {
        serde_json::from_value(given).unwrap()
    }

    #[test]
    fn what_was_given_is_bound_and_never_written_into_the_statement() {
        let hostile = "x' OR 1=1 --";
        let given = input(json!({
            "author": hostile, "since": "2026-01-01", "until": "2026-01-02T00:00:00Z", "limit": 7,
            "after": URL_SAFE_NO_PAD.encode(json!({"t": 5, "r": hostile, "c": hostile, "b": true}).to_string()),
        }));
        let names = [Name {
            path: hostile.to_owned(),
            from: 1,
            until: 2,
        }];
        let (text, parameters) = statement(&given, Some(hostile), &names, &View::default()).unwrap();
        assert!(!text.contains(hostile), "{text}");
        for (name, value) in [
            ("author", json!(hostile)),
            ("repository", json!(hostile)),
            ("r", json!(hostile)),
            ("c", json!(hostile)),
            ("path0", json!(hostile)),
            ("since", json!(1_767_225_600_000_000_i64)),
            ("until", json!(1_767_312_000_000_000_i64)),
        ] {
            assert_eq!(parameters.get(name), Some(&value), "{name}");
        }
        // Each that is bound is asked for, and the other way.
        let asked: std::collections::BTreeSet<&str> = text
            .split(':')
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next())
            .collect();
        assert_eq!(asked, parameters.keys().map(String::as_str).collect());
    }

    #[test]
    fn commits_are_not_chosen_by_an_author_who_is_masked() {
        let masked = View {
            hidden: Some(Privacy::Private),
            ..View::default()
        };
        let refused = statement(&input(json!({"author": "a"})), None, &[], &masked);
        assert_eq!(refused.unwrap_err().kind, Kind::Forbidden);
        assert!(statement(&input(json!({})), None, &[], &masked).is_ok());
    }

    #[test]
    fn what_is_no_time_and_no_end_is_refused() {
        for given in [
            json!({"since": "soon"}),
            json!({"until": "7"}),
            json!({"after": "!"}),
        ] {
            let refused = statement(&input(given.clone()), None, &[], &View::default());
            assert_eq!(refused.unwrap_err().kind, Kind::Unprocessable, "{given}");
        }
    }

    #[test]
    fn a_commit_without_a_date_has_none() {
        assert!(MOMENT.contains(&NEVER.to_string()));
        assert_eq!(written(NEVER), None);
        assert_eq!(written(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
