//! `get_file_blame`: which commit each line of a file comes from.
//!
//! - Only repositories that were collected are opened, where they were then; `blame` says what is read of them.

use super::get_commit_history::{ask, check_repository};
use crate::blame::{Asked, Blamed, TIME, blame};
use crate::lake::visible;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::{Kind, Problem};
use crate::roots::apart;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use store::query::Parameters;

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
    let repository = place_of(call, &input.repository).await?;
    let history = call.gateway.histories.of(&repository).await?;
    let asked = Asked {
        repository,
        secret_folders: call.gateway.config.secret_folders.clone(),
        file: input.path.clone(),
        revision: input.revision,
        from_line: input.from_line,
        lines: input.lines.into(),
    };
    let blamed = apart(call.cancel, move |cancel| blame(&asked, history, cancel));
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
