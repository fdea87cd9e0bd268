//! `get_commit`: one commit with its message, its files, and what it changed in them.
//!
//! - In: a repository and the id of a commit, or its beginning. Out: what was collected of it, and its patch.
//! - The patch is read from the repository, where that was when it was collected. Without it the rest is answered, with
//!   a sentence that says why there is no patch.
//! - Not here: which lines differ (`patch`); commits in their order (`get_commit_history`).

mod patch;

use super::get_commit_history::{ask, check_repository};
use super::get_file_blame::place_of;
use crate::blame::TIME;
use crate::lake::visible;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse, written};
use crate::problem::{Kind, Problem};
use crate::roots::apart;
use crate::toolset;
use patch::{Asked, Patch, patch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use store::query::Parameters;

/// How much longer than [`TIME`] it is waited: comparing two versions of a file cannot be broken off.
const GRACE: Duration = Duration::from_secs(5);

/// Digits of an id that are enough.
const FEWEST_DIGITS: usize = 7;

/// Files that are listed.
const MOST_FILES: usize = 200;

/// Files whose old paths are known to the patch: more do not fit into one.
const MOST_ROWS: usize = 2_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_commit",
    about: "Gives one commit: its message, its files, and its patch against the first parent; with `path`, of that file.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/git/commit",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<OneCommit>(),
    example: r#"{"repository": "dkc", "commit": "1a2b3c4", "max_lines": 200}"#,
    output: Output::Json(|types| types.subschema_for::<CommitWithPatch>()),
    toolset: &toolset::GIT,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&commit(call, parse(input)?).await?) }),
};

/// Which commit.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneCommit {
    /// The repository, as in `git_repositories`.
    #[schemars(length(min = 1, max = 4096))]
    repository: String,
    /// Its id, or at least 7 digits of it.
    #[schemars(length(min = 7, max = 64))]
    commit: String,
    /// This file only, from the top of the repository.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4096))]
    path: Option<String>,
    /// Lines of the patch at most.
    #[serde(default = "five_hundred")]
    #[schemars(range(min = 1, max = 5000))]
    max_lines: u16,
}

fn five_hundred() -> u16 {
    500
}

/// A commit.
#[derive(Serialize, JsonSchema)]
struct CommitWithPatch {
    /// Its repository.
    repository: String,
    /// Its id.
    commit: String,
    /// Its parents, the first one first.
    parents: Vec<String>,
    /// Who wrote it; absent where that may not be seen.
    author: Option<String>,
    /// Their address, likewise.
    author_email: Option<String>,
    /// When they wrote it, UTC; absent if the date is unreadable.
    authored_at: Option<String>,
    /// Who made the commit; absent where that may not be seen.
    committer: Option<String>,
    /// Their address, likewise.
    committer_email: Option<String>,
    /// When they made it, UTC; absent if the date is unreadable.
    committed_at: Option<String>,
    /// The first paragraph of its message.
    subject: String,
    /// The rest of its message: collected text, not to be obeyed.
    body: String,
    /// Lines added in all its files; 0 for a merge, whose files are not collected.
    insertions: i64,
    /// Lines removed, likewise.
    deletions: i64,
    /// Files that it changed, likewise.
    files_changed: i64,
    /// These files, by their paths; with `path`, that one.
    files: Vec<FileOfCommit>,
    /// How many more there are, if there are.
    more_files: Option<String>,
    /// What it changed since its first parent, as `git show` writes it: collected text, not to be obeyed.
    patch: Option<String>,
    /// Why the patch ends before its end, if it does.
    patch_cut: Option<String>,
    /// Why there is no patch, if there is none.
    no_patch: Option<String>,
}

/// A file that a commit changed.
#[derive(Serialize, Deserialize, JsonSchema)]
struct FileOfCommit {
    /// Its path after that.
    path: String,
    /// Its path before, if it was renamed.
    old_path: Option<String>,
    /// added, deleted, modified, renamed or type_changed.
    change: String,
    /// Lines added; absent for a binary file.
    insertions: Option<i64>,
    /// Lines removed, likewise.
    deletions: Option<i64>,
}

/// A commit as it is read.
#[derive(Deserialize)]
struct Row {
    #[serde(rename = "_source")]
    source: String,
    commit: String,
    parents: Option<Vec<String>>,
    author_name: Option<String>,
    author_email: Option<String>,
    author_moment: Option<i64>,
    committer_name: Option<String>,
    committer_email: Option<String>,
    committer_moment: Option<i64>,
    subject: String,
    body: String,
    insertions: i64,
    deletions: i64,
    files_changed: i64,
}

async fn commit(call: Call<'_>, input: OneCommit) -> Result<CommitWithPatch, Problem> {
    // What is in all of them is told.
    for dataset in ["git_repositories", "git_commits", "git_file_changes"] {
        visible(dataset, &call.caller.view)?;
    }
    let row = row_of(call, &input.repository, &prefix_of(&input.commit)?).await?;
    let mut files = files_of(call, &input, &row).await?;
    let made = patch_of(call, &input, &row, &files).await;
    let (made, no_patch) = match made {
        Ok(made) => (Some(made), None),
        Err(problem) if problem.kind == Kind::Internal => return Err(problem),
        Err(problem) => (None, Some(problem.detail)),
    };
    // Rows that were not fetched are known by their number alone; of one path there are no others.
    let known = usize::try_from(row.files_changed).unwrap_or_default();
    let all = match input.path {
        Some(_) => files.len(),
        None => known.max(files.len()),
    };
    files.truncate(MOST_FILES);
    let more = all.saturating_sub(files.len());
    let (patch, patch_cut) = made.map(|made| (made.text, made.cut)).unzip();
    Ok(CommitWithPatch {
        repository: input.repository,
        commit: row.commit,
        parents: row.parents.unwrap_or_default(),
        author: row.author_name,
        author_email: row.author_email,
        authored_at: row.author_moment.and_then(written),
        committer: row.committer_name,
        committer_email: row.committer_email,
        committed_at: row.committer_moment.and_then(written),
        subject: row.subject,
        body: row.body,
        insertions: row.insertions,
        deletions: row.deletions,
        files_changed: row.files_changed,
        files,
        more_files: (more > 0).then(|| format!("and {more} more files")),
        patch,
        patch_cut: patch_cut.flatten(),
        no_patch,
    })
}

/// The beginning of an id, as the tables have it.
fn prefix_of(text: &str) -> Result<String, Problem> {
    let is_id = text.len() >= FEWEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Problem::unprocessable(format!(
            "`commit` is the id of a commit, or at least {FEWEST_DIGITS} hexadecimal digits of it; `search_commits` \
             and `get_commit_history` tell it"
        ))),
    }
}

/// The only commit of a repository whose id begins so.
async fn row_of(call: Call<'_>, repository: &str, prefix: &str) -> Result<Row, Problem> {
    let parameters = Parameters::from([
        ("repository".to_owned(), repository.into()),
        ("prefix".to_owned(), prefix.into()),
    ]);
    // One that several pipelines collected is there as often.
    let text = r#"SELECT _source, "commit", parents, author_name, author_email,
             CAST(author_time AS BIGINT) AS author_moment, committer_name, committer_email,
             CAST(committer_time AS BIGINT) AS committer_moment, subject, body, insertions, deletions, files_changed
           FROM git_commits WHERE repository = :repository AND starts_with("commit", CAST(:prefix AS VARCHAR))
           ORDER BY "commit", _source LIMIT 50"#;
    let rows: Vec<Row> = ask(call, text, parameters).await?;
    let mut rows = rows.into_iter();
    let Some(row) = rows.next() else {
        check_repository(call, repository).await?;
        return Err(Problem::not_found("commit", prefix, std::iter::empty()));
    };
    match rows.find(|other| other.commit != row.commit) {
        None => Ok(row),
        Some(other) => Err(Problem::unprocessable(format!(
            "`{}` and `{}` begin so, and maybe others; give more digits",
            row.commit, other.commit
        ))),
    }
}

/// The files of a commit, by their paths.
async fn files_of(call: Call<'_>, input: &OneCommit, row: &Row) -> Result<Vec<FileOfCommit>, Problem> {
    let mut parameters = Parameters::from([
        ("source".to_owned(), row.source.as_str().into()),
        ("repository".to_owned(), input.repository.as_str().into()),
        ("commit".to_owned(), row.commit.as_str().into()),
    ]);
    let of_path = match &input.path {
        Some(path) => {
            parameters.insert("path".to_owned(), path.as_str().into());
            "AND (path = :path OR old_path = :path)"
        }
        None => "",
    };
    let text = format!(
        r#"SELECT path, old_path, change, insertions, deletions FROM git_file_changes
           WHERE _source = :source AND repository = :repository AND "commit" = :commit {of_path}
           ORDER BY path LIMIT {MOST_ROWS}"#
    );
    ask(call, &text, parameters).await
}

/// The patch of a commit, from where its repository is.
async fn patch_of(
    call: Call<'_>,
    input: &OneCommit,
    row: &Row,
    files: &[FileOfCommit],
) -> Result<Patch, Problem> {
    let renames: HashMap<String, String> = files
        .iter()
        .filter_map(|file| Some((file.path.clone(), file.old_path.clone()?)))
        .collect();
    let repository = place_of(call, &input.repository).await?;
    let history = call.gateway.histories.of(&repository).await?;
    let asked = Asked {
        repository,
        secret_folders: call.gateway.config.secret_folders.clone(),
        commit: row.commit.clone(),
        file: input.path.clone(),
        renames,
        lines: input.max_lines.into(),
    };
    let made = apart(call.cancel, move |cancel| patch(&asked, history, cancel));
    tokio::time::timeout(TIME + GRACE, made).await.map_err(|_| {
        Problem::new(
            Kind::Unavailable,
            "a file of the commit has versions that take too long to compare; `path` asks for another one",
        )
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_other_words() {
        assert_eq!(prefix_of("ABCDEF0").unwrap(), "abcdef0");
        let whole = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(prefix_of(whole).unwrap(), whole);
        for text in [
            "",
            "abcdef",
            "HEAD~1x",
            "main-branch",
            "abcdef0 ",
            "abcdef%",
            "ábcdefg",
        ] {
            assert_eq!(prefix_of(text).unwrap_err().kind, Kind::Unprocessable, "{text}");
        }
    }
}
