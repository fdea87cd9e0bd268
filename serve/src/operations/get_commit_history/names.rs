//! The names that a file had, and the repository that it is in.
//!
//! - In: a path. Out: each name with the time in which it was the file's; no more than [`MOST_RENAMES`] renames back.

use super::{MOMENT, NEVER, Named, OF_COMMIT, ask};
use crate::operation::Call;
use crate::problem::{Kind, Problem};
use serde::Deserialize;
use store::query::Parameters;

/// Renames that are followed at most.
pub(super) const MOST_RENAMES: usize = 20;

/// A name of a file, and from when until when it had it.
#[derive(Debug, PartialEq)]
pub(super) struct Name {
    /// Its path then.
    pub(super) path: String,
    /// The moment of the commit that gave it this name.
    pub(super) from: i64,
    /// The moment of the commit that gave it the next.
    pub(super) until: i64,
}

/// A rename as it is read.
#[derive(Deserialize)]
struct Rename {
    commit: String,
    moment: i64,
    old_path: String,
}

/// The names that a file had, the newest first.
pub(super) async fn names_of(call: Call<'_>, repository: &str, path: &str) -> Result<Vec<Name>, Problem> {
    let text = format!(
        r#"SELECT * FROM (
             SELECT f."commit", f.old_path, {MOMENT} AS moment
             FROM git_file_changes f JOIN git_commits c ON {OF_COMMIT}
             WHERE c.repository = :repository AND f.repository = :repository AND f.path = :path
               AND f.change = 'renamed' AND f.old_path IS NOT NULL AND f."commit" <> :last) AS h
           WHERE moment <= :until ORDER BY moment DESC, "commit" LIMIT 1"#
    );
    let mut names = Vec::new();
    let mut name = path.to_owned();
    let (mut until, mut last) = (i64::MAX, String::new());
    while names.len() < MOST_RENAMES {
        let parameters = Parameters::from([
            ("repository".to_owned(), repository.into()),
            ("path".to_owned(), name.as_str().into()),
            ("last".to_owned(), last.as_str().into()),
            ("until".to_owned(), until.into()),
        ]);
        let Some(rename) = ask::<Rename>(call, &text, parameters).await?.pop() else {
            break;
        };
        names.push(Name {
            path: std::mem::replace(&mut name, rename.old_path),
            from: rename.moment,
            until,
        });
        (until, last) = (rename.moment, rename.commit);
    }
    names.push(Name {
        path: name,
        from: NEVER,
        until,
    });
    Ok(names)
}

/// The only repository that has, or had, a file of a path.
pub(super) async fn repository_of(call: Call<'_>, path: &str) -> Result<String, Problem> {
    let parameters = Parameters::from([("path".to_owned(), path.into())]);
    let text =
        "SELECT DISTINCT repository FROM git_file_changes WHERE path = :path ORDER BY repository LIMIT 6";
    let mut found: Vec<Named> = ask(call, text, parameters).await?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Problem::no_such(
            Kind::NotFound,
            "file in any commit",
            path,
            std::iter::empty(),
        )),
        (Some(one), true) => Ok(one.repository),
        (Some(last), false) => {
            let names = found.iter().chain([&last]);
            let names: Vec<_> = names.map(|named| format!("`{}`", named.repository)).collect();
            Err(Problem::unprocessable(format!(
                "several repositories have had that path, among them {}; say which by `repository`",
                names.join(", ")
            )))
        }
    }
}
