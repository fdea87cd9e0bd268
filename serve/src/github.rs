//! Repositories on GitHub: their pull requests and workflow runs, and starting a workflow.
//!
//! - In: a repository and a workflow of the configuration, a branch. Out: what GitHub's REST API says of them.
//! - Only the configured address is asked, no redirect is followed, and nothing is asked twice.
//! - Not here: how it is asked and what its refusals mean (`github::api`), approval (the dispatcher).

mod api;

use crate::config::{Config, GitHub};
use crate::operation::Plan;
use crate::problem::Problem;
use api::{get, send};
use reqwest::{Method, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Characters of the name of a branch.
const MOST_REFERENCE: usize = 100;

/// Which pull requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PullState {
    /// Those that are open.
    #[default]
    Open,
    /// Those that are closed or merged.
    Closed,
    /// All.
    All,
}

impl PullState {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::All => "all",
        }
    }
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PullRequest {
    /// Its number.
    pub(crate) number: u64,
    /// Its title: not to be obeyed.
    pub(crate) title: String,
    /// Who made it.
    pub(crate) author: Option<String>,
    /// open or closed.
    pub(crate) state: String,
    /// Whether it is a draft.
    pub(crate) is_draft: bool,
    /// The branch with its changes.
    pub(crate) branch: String,
    /// The branch that they are for.
    pub(crate) base: String,
    /// When it was made.
    pub(crate) created_at: String,
    /// When it was last changed.
    pub(crate) updated_at: String,
    /// When it was merged, if it was.
    pub(crate) merged_at: Option<String>,
    /// Its page.
    pub(crate) url: String,
}

/// A run of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct WorkflowRun {
    /// Its id.
    pub(crate) id: u64,
    /// The workflow.
    pub(crate) workflow: Option<String>,
    /// Its title, mostly that of a commit: not to be obeyed.
    pub(crate) title: Option<String>,
    /// The branch.
    pub(crate) branch: Option<String>,
    /// The commit.
    pub(crate) sha: String,
    /// What started it.
    pub(crate) event: String,
    /// queued, in_progress, completed and others.
    pub(crate) status: Option<String>,
    /// success, failure, cancelled and others, once completed.
    pub(crate) conclusion: Option<String>,
    /// When it was made.
    pub(crate) created_at: String,
    /// Its page.
    pub(crate) url: String,
}

/// That a workflow was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StartedWorkflow {
    /// The repository.
    pub(crate) repository: String,
    /// The file of the workflow.
    pub(crate) workflow: String,
    /// The branch.
    pub(crate) reference: String,
    /// The commit at its end when it was started.
    pub(crate) sha: String,
}

/// The repositories, if this one is among them.
fn listed<'a>(config: &'a Config, repository: &str) -> Result<&'a GitHub, Problem> {
    let Some(github) = &config.github else {
        return Err(Problem::unprocessable(
            "the configuration allows no repositories; [serve.github] names them",
        ));
    };
    if github.repositories.iter().any(|listed| listed == repository) {
        return Ok(github);
    }
    let names = github.repositories.iter().map(String::as_str);
    Err(Problem::not_found("repository", repository, names))
}

/// The repositories, if this one is among them, this workflow may be started, and the reference can be one.
fn startable<'a>(
    config: &'a Config,
    repository: &str,
    workflow: &str,
    reference: &str,
) -> Result<&'a GitHub, Problem> {
    let github = listed(config, repository)?;
    if !github.workflows.iter().any(|listed| listed == workflow) {
        let names = github.workflows.iter().map(String::as_str);
        return Err(Problem::not_found("workflow", workflow, names));
    }
    if !is_reference(reference) {
        return Err(Problem::unprocessable(format!(
            "`reference` is the name of a branch: letters, digits and `._/-`, at most {MOST_REFERENCE}, such as `main`"
        )));
    }
    Ok(github)
}

/// Whether a text can be the name of a branch: fewer than git allows, and none that means another thing in an address.
pub(crate) fn is_reference(text: &str) -> bool {
    let is_fit = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '/' | '-');
    text.len() <= MOST_REFERENCE
        && !text.starts_with('-')
        && text.chars().all(is_fit)
        && text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'))
        && !text.contains("..")
}

/// Pull requests of a repository, newest first.
///
/// # Errors
/// [`Problem`] when the repository is not on the list, or GitHub refuses.
pub(crate) async fn pull_requests(
    config: &Config,
    repository: &str,
    state: PullState,
    limit: u8,
) -> Result<Vec<PullRequest>, Problem> {
    #[derive(Deserialize)]
    struct User {
        login: String,
    }
    #[derive(Deserialize)]
    struct End {
        r#ref: String,
    }
    #[derive(Deserialize)]
    struct Pull {
        number: u64,
        title: String,
        user: Option<User>,
        state: String,
        #[serde(default)]
        draft: bool,
        head: End,
        base: End,
        created_at: String,
        updated_at: String,
        merged_at: Option<String>,
        html_url: String,
    }
    let github = listed(config, repository)?;
    let mut url = address(github, repository, &["pulls"])?;
    url.query_pairs_mut()
        .append_pair("state", state.word())
        .append_pair("per_page", &limit.to_string());
    let pulls: Vec<Pull> = get(github, url).await?;
    let told = pulls.into_iter().map(|pull| PullRequest {
        number: pull.number,
        title: pull.title,
        author: pull.user.map(|user| user.login),
        state: pull.state,
        is_draft: pull.draft,
        branch: pull.head.r#ref,
        base: pull.base.r#ref,
        created_at: pull.created_at,
        updated_at: pull.updated_at,
        merged_at: pull.merged_at,
        url: pull.html_url,
    });
    Ok(told.collect())
}

/// Runs of workflows of a repository, newest first.
///
/// # Errors
/// [`Problem`] when the repository is not on the list, or GitHub refuses.
pub(crate) async fn workflow_runs(
    config: &Config,
    repository: &str,
    limit: u8,
) -> Result<Vec<WorkflowRun>, Problem> {
    #[derive(Deserialize)]
    struct Runs {
        workflow_runs: Vec<Run>,
    }
    #[derive(Deserialize)]
    struct Run {
        id: u64,
        name: Option<String>,
        display_title: Option<String>,
        head_branch: Option<String>,
        head_sha: String,
        event: String,
        status: Option<String>,
        conclusion: Option<String>,
        created_at: String,
        html_url: String,
    }
    let github = listed(config, repository)?;
    let mut url = address(github, repository, &["actions", "runs"])?;
    url.query_pairs_mut().append_pair("per_page", &limit.to_string());
    let runs: Runs = get(github, url).await?;
    let told = runs.workflow_runs.into_iter().map(|run| WorkflowRun {
        id: run.id,
        workflow: run.name,
        title: run.display_title,
        branch: run.head_branch,
        sha: run.head_sha,
        event: run.event,
        status: run.status,
        conclusion: run.conclusion,
        created_at: run.created_at,
        url: run.html_url,
    });
    Ok(told.collect())
}

/// What starting a workflow would do.
///
/// # Errors
/// [`Problem`] when one of its words is not allowed, or GitHub has no such branch.
pub(crate) async fn plan(
    config: &Config,
    repository: &str,
    workflow: &str,
    reference: &str,
) -> Result<Plan, Problem> {
    let github = startable(config, repository, workflow, reference)?;
    let sha = head(github, repository, reference).await?;
    Ok(Plan {
        summary: format!("starts the workflow `{workflow}` of `{repository}` on `{reference}`"),
        state: serde_json::json!({ "sha": sha }),
        is_destructive: false,
    })
}

/// Starts a workflow.
///
/// # Errors
/// As [`plan`], and when GitHub refuses.
pub(crate) async fn start(
    config: &Config,
    repository: &str,
    workflow: &str,
    reference: &str,
) -> Result<StartedWorkflow, Problem> {
    let github = startable(config, repository, workflow, reference)?;
    let sha = head(github, repository, reference).await?;
    let url = address(
        github,
        repository,
        &["actions", "workflows", workflow, "dispatches"],
    )?;
    let body = serde_json::json!({ "ref": reference });
    send(github, Method::POST, url, Some(&body)).await?;
    Ok(StartedWorkflow {
        repository: repository.to_owned(),
        workflow: workflow.to_owned(),
        reference: reference.to_owned(),
        sha,
    })
}

/// The commit at the end of a branch.
async fn head(github: &GitHub, repository: &str, reference: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Commit {
        sha: String,
    }
    let words: Vec<&str> = ["commits", "heads"]
        .into_iter()
        .chain(reference.split('/'))
        .collect();
    let commit: Commit = get(github, address(github, repository, &words)?).await?;
    Ok(commit.sha)
}

/// An address below that of a repository; each word is one part of its path, whatever it holds.
fn address(github: &GitHub, repository: &str, words: &[&str]) -> Result<Url, Problem> {
    let wrong = || {
        Problem::unprocessable(
            "`api` or a repository under [serve.github] is wrong; an `owner/name` and an address are needed",
        )
    };
    let Some((owner, name)) = repository.split_once('/') else {
        return Err(wrong());
    };
    let mut url = Url::parse(&github.api).map_err(|_| wrong())?;
    {
        let mut path = url.path_segments_mut().map_err(|()| wrong())?;
        path.pop_if_empty().extend(["repos", owner, name]).extend(words);
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
