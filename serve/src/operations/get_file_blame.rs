//! `get_file_blame`: which commit each line of a file comes from.
//!
//! - Only repositories that were collected are opened, where they were then; `blame` says what is read of them.

use super::get_commit_history::{ask, check_repository};
use super::get_item::objects;
use crate::blame::{Asked, Blamed, Past, Rename, TIME, blame};
use crate::lake::visible;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::{Kind, Problem};
use crate::roots::apart;
use crate::toolset;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use store::query::{Parameters, Query};

/// How much longer than [`TIME`] it is waited: comparing two versions of a file cannot be broken off.
const GRACE: Duration = Duration::from_secs(5);

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_file_blame",
    about: "Tells which commit, author and time each line of a file in a collected git repository comes from.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/git/blame",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<FileBlame>(),
    example: r#"{"repository": "dkc", "path": "README.md", "lines": 50}"#,
    output: Output::Json(|types| types.subschema_for::<BlamedFile>()),
    toolset: &toolset::GIT,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&blame_file(call, parse(input)?).await?) }),
};

/// Which lines of which file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileBlame {
    /// The repository, as in `git_repositories`.
    #[schemars(length(min = 1, max = 4096))]
    repository: String,
    /// The file, from the top of the repository.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
    /// A commit, branch or tag; `~n` goes back.
    #[serde(default = "head")]
    #[schemars(length(min = 1, max = 255))]
    revision: String,
    /// The first line, from 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4_194_304))]
    from_line: u32,
    /// Lines at most.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 2000))]
    lines: u16,
}

fn head() -> String {
    "HEAD".to_owned()
}

fn one() -> u32 {
    1
}

fn two_hundred() -> u16 {
    200
}

/// A file with the commits of its lines.
#[derive(Serialize, JsonSchema)]
struct BlamedFile {
    /// The repository.
    repository: String,
    /// The file.
    path: String,
    /// What was found.
    #[serde(flatten)]
    blamed: Blamed,
}

/// Where a repository is.
#[derive(Deserialize)]
struct Place {
    path: PathBuf,
}

async fn blame_file(call: Call<'_>, input: FileBlame) -> Result<BlamedFile, Problem> {
    // A blame tells what is in both.
    for dataset in ["git_repositories", "git_commits"] {
        visible(dataset, &call.caller.view)?;
    }
    let asked = Asked {
        repository: place_of(call, &input.repository).await?,
        secret_folders: call.gateway.config.secret_folders.clone(),
        past: past_of(call, &input.repository).await?,
        file: input.path.clone(),
        revision: input.revision,
        from_line: input.from_line,
        lines: input.lines.into(),
    };
    let blamed = apart(call.cancel, move |cancel| blame(&asked, cancel));
    let blamed = tokio::time::timeout(TIME + GRACE, blamed).await.map_err(|_| {
        Problem::new(
            Kind::Unavailable,
            "the file has versions that take too long to compare; ask for an older revision of it",
        )
    })?;
    Ok(BlamedFile {
        repository: input.repository,
        path: input.path,
        blamed: blamed?,
    })
}

/// Where the repository of a name is.
///
/// # Errors
/// [`Problem`] when there is no such repository, or two in different places.
pub(super) async fn place_of(call: Call<'_>, name: &str) -> Result<PathBuf, Problem> {
    let parameters = Parameters::from([("repository".to_owned(), name.into())]);
    let text = "SELECT DISTINCT path FROM git_repositories WHERE repository = :repository LIMIT 2";
    let mut places: Vec<Place> = ask(call, text, parameters).await?;
    match (places.pop(), places.is_empty()) {
        (Some(place), true) => Ok(place.path),
        (Some(_), false) => Err(Problem::unprocessable(
            "two pipelines have repositories of that name in different places; give one of those pipelines other \
             `paths`, so that their names differ",
        )),
        (None, _) => {
            check_repository(call, name).await?;
            // It came in between the two questions.
            Err(Problem::not_found("repository", name, std::iter::empty()))
        }
    }
}

/// A commit of several parents.
#[derive(Deserialize)]
struct Merge {
    commit: String,
}

/// A path of a file, and the one before if it was renamed.
#[derive(Deserialize)]
struct Named {
    path: String,
    old_path: Option<String>,
}

/// What was collected of a repository that tells which of its files were secrets once.
///
/// # Errors
/// [`Problem`] when it cannot be read.
pub(super) async fn past_of(call: Call<'_>, repository: &str) -> Result<Past, Problem> {
    let merges = r#"SELECT DISTINCT "commit" FROM git_commits
                    WHERE repository = :repository AND array_length(parents) > 1"#;
    let merges: Vec<Merge> = unseen(call, repository, merges).await?;
    let changes = "SELECT DISTINCT path, old_path FROM git_file_changes WHERE repository = :repository";
    let named: Vec<Named> = match merges.is_empty() {
        true => unseen(call, repository, &format!("{changes} AND old_path IS NOT NULL")).await?,
        false => unseen(call, repository, changes).await?,
    };
    let mut past = Past {
        merges: merges.into_iter().map(|merge| merge.commit).collect(),
        ..Past::default()
    };
    for Named { path, old_path } in named {
        match old_path {
            Some(old_path) => past.renames.push(Rename { path, old_path }),
            None => past.paths.push(path),
        }
    }
    Ok(past)
}

/// The rows of a question about one repository whose answer is for dkc alone.
async fn unseen<T: DeserializeOwned>(
    call: Call<'_>,
    repository: &str,
    text: &str,
) -> Result<Vec<T>, Problem> {
    // Who may not see them is kept from what was a secret all the same, so they are not asked for through the view.
    let mut query = Query::from(text);
    query
        .parameters
        .insert("repository".to_owned(), repository.into());
    let rows = objects(&call.gateway.ask(query).await?)?.into_iter();
    rows.map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::internal(&error))
}
