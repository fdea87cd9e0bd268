//! `list_pull_requests`: pull requests of a repository on GitHub.

use crate::github::{self, PullRequest, PullState};
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::problem::Problem;
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_pull_requests",
    about: "Lists pull requests of a repository on GitHub.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/github/pull-requests",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListPullRequests>(),
    example: r#"{"repository": "me/site", "limit": 10}"#,
    output: Output::Json(|types| types.subschema_for::<PullRequestList>()),
    toolset: &toolset::GITHUB,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Of which repository.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListPullRequests {
    /// `owner/name`, one that the configuration allows.
    #[schemars(length(min = 3, max = 140))]
    repository: String,
    /// Which of them.
    #[serde(default)]
    state: PullState,
    /// How many, newest first.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 100))]
    limit: u8,
}

fn thirty() -> u8 {
    30
}

/// Pull requests of a repository on GitHub.
#[derive(Serialize, JsonSchema)]
struct PullRequestList {
    /// Newest first.
    pull_requests: Vec<PullRequest>,
}

async fn list(call: Call<'_>, asked: ListPullRequests) -> Result<PullRequestList, Problem> {
    if !(1..=100).contains(&asked.limit) {
        return Err(Problem::unprocessable("`limit` is from 1 to 100"));
    }
    let config = &call.gateway.config;
    let pull_requests = github::pull_requests(config, &asked.repository, asked.state, asked.limit).await?;
    Ok(PullRequestList { pull_requests })
}
