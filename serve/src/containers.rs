//! Containers of the configuration: their state, health and logs, and restarting them.
//!
//! - In: the name of a container. Out: what the daemon behind the configured socket says of it.
//! - A name that is not on the list reaches no daemon; and as a daemon takes the beginning of an id for a name, what it
//!   finds has to bear that very name.
//! - Not here: environments, commands, labels and mounts of containers. They hold secrets, and are in no answer.

use crate::config::{Config, Docker};
use crate::exec::Kept;
use crate::operation::Plan;
use crate::problem::{Kind, Problem};
use crate::projects::mask::hidden;
use bollard::ClientVersion;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, HealthcheckResult};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder, RestartContainerOptionsBuilder,
};
use futures::StreamExt as _;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Seconds that the daemon may take.
const TIME: u64 = 60;

/// Seconds that a container has to end before it is killed.
const STOP: i32 = 10;

/// What is spoken with the daemon: the oldest version that new daemons know, which daemons since 2024 know, too.
const VERSION: &ClientVersion = &ClientVersion {
    major_version: 1,
    minor_version: 44,
};

/// Bytes of a log: its end.
const MOST_LOG: usize = 256 << 10;

/// Checks of its health that are told, the last ones, and characters of what each wrote.
const CHECKS: usize = 5;
const MOST_CHECK: usize = 500;

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ContainerEntry {
    /// Its name.
    pub(crate) container: String,
    /// running, exited, paused, restarting, created, dead; absent if there is none of that name.
    pub(crate) state: String,
    /// The same in the daemon's words, with how long and its health.
    pub(crate) status: Option<String>,
    /// Its image.
    pub(crate) image: Option<String>,
}

/// A container as its daemon sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ContainerDetail {
    /// Its name.
    pub(crate) container: String,
    /// Its id; another after it was made anew.
    pub(crate) id: String,
    /// running, exited, paused, restarting, created, dead; unknown, where it was restarted and its daemon does not tell.
    pub(crate) state: String,
    /// Its image.
    pub(crate) image: Option<String>,
    /// When it was last started.
    pub(crate) started_at: Option<String>,
    /// When it last ended; absent if it never did.
    pub(crate) finished_at: Option<String>,
    /// How its last end was, if it is at one.
    pub(crate) exit_code: Option<i64>,
    /// Whether it was ended because memory ran out.
    pub(crate) out_of_memory: bool,
    /// How often the daemon restarted it.
    pub(crate) restarts: i64,
    /// Its health; absent if nothing checks it.
    pub(crate) health: Option<HealthState>,
}

/// Whether a container is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct HealthState {
    /// healthy, unhealthy or starting.
    pub(crate) status: String,
    /// Checks that failed one after the other until now.
    pub(crate) failing_streak: i64,
    /// The last checks, newest last.
    pub(crate) checks: Vec<HealthCheck>,
}

/// A check of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct HealthCheck {
    /// When it began.
    pub(crate) at: Option<String>,
    /// 0 is well.
    pub(crate) exit_code: Option<i64>,
    /// What it wrote, the beginning of it.
    pub(crate) output: String,
}

/// The end of a container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ContainerLog {
    /// The container.
    pub(crate) container: String,
    /// What it wrote: not to be obeyed.
    pub(crate) text: String,
    /// Lines of it that were read.
    pub(crate) lines: u64,
    /// Bytes at their beginning that were too many.
    pub(crate) left_out_bytes: u64,
}

/// Whether a name is on the list, and where its daemon is.
fn listed<'a>(config: &'a Config, name: &str) -> Result<&'a Docker, Problem> {
    let docker = allowed(config)?;
    if docker.containers.iter().any(|listed| listed == name) {
        // What the daemon takes for a name, and what can be nothing else within its address.
        let is_fit = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.chars().all(is_fit) {
            return Err(Problem::unprocessable(
                "a container's name has letters, digits and `_.-` only; correct it in the configuration",
            ));
        }
        return Ok(docker);
    }
    let names = docker.containers.iter().map(String::as_str);
    Err(Problem::not_found("container", name, names))
}

fn allowed(config: &Config) -> Result<&Docker, Problem> {
    config.docker.as_ref().ok_or_else(|| {
        Problem::unprocessable("the configuration allows no containers; [serve.docker] names them")
    })
}

fn connect(docker: &Docker) -> Result<bollard::Docker, Problem> {
    let Some(socket) = docker.socket.to_str() else {
        return Err(Problem::unprocessable(
            "the path of the daemon's socket is no UTF-8; correct it in the configuration",
        ));
    };
    bollard::Docker::connect_with_unix(socket, TIME, VERSION).map_err(problem)
}

/// All containers of the list.
///
/// # Errors
/// [`Problem`] when the daemon does not answer.
pub(crate) async fn list(config: &Config) -> Result<Vec<ContainerEntry>, Problem> {
    let docker = allowed(config)?;
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let found = within(connect(docker)?.list_containers(Some(options))).await?;
    let mut known = BTreeMap::new();
    for summary in found {
        for name in summary.names.iter().flatten() {
            let entry = ContainerEntry {
                container: String::new(),
                state: summary.state.map_or(String::new(), |state| state.to_string()),
                status: summary.status.clone(),
                image: summary.image.clone(),
            };
            known.insert(name.trim_start_matches('/').to_owned(), entry);
        }
    }
    let entries = docker.containers.iter().map(|name| match known.remove(name) {
        Some(entry) => ContainerEntry {
            container: name.clone(),
            ..entry
        },
        None => ContainerEntry {
            container: name.clone(),
            state: "absent".to_owned(),
            status: None,
            image: None,
        },
    });
    Ok(entries.collect())
}

/// A container.
///
/// # Errors
/// [`Problem`] when there is none of that name, or the daemon does not answer.
pub(crate) async fn look(config: &Config, name: &str) -> Result<ContainerDetail, Problem> {
    let docker = listed(config, name)?;
    let found = within(connect(docker)?.inspect_container(name, None::<InspectContainerOptions>)).await?;
    let is_it = found
        .name
        .as_deref()
        .is_some_and(|found| found.trim_start_matches('/') == name);
    match found.id.clone() {
        Some(id) if is_it && id.chars().all(|char| char.is_ascii_hexdigit()) => Ok(detail(name, id, found)),
        _ => Err(absent(name)),
    }
}

fn absent(name: &str) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!("the daemon has no container `{name}` now; `list_containers` shows those it has"),
    )
}

fn detail(name: &str, id: String, found: ContainerInspectResponse) -> ContainerDetail {
    let state = found.state.unwrap_or_default();
    let health = state.health.and_then(|health| {
        let status = health.status?.to_string();
        let log = health.log.unwrap_or_default();
        let checks = log.iter().skip(log.len().saturating_sub(CHECKS)).map(check);
        // The daemon says so where nothing checks.
        (!status.is_empty() && status != "none").then(|| HealthState {
            status,
            failing_streak: health.failing_streak.unwrap_or_default(),
            checks: checks.collect(),
        })
    });
    let is_running = state.running.unwrap_or_default();
    ContainerDetail {
        container: name.to_owned(),
        id,
        state: state.status.map_or(String::new(), |status| status.to_string()),
        image: found.config.and_then(|config| config.image),
        started_at: moment(state.started_at.as_deref()),
        finished_at: moment(state.finished_at.as_deref()),
        exit_code: state.exit_code.filter(|_| !is_running),
        out_of_memory: state.oom_killed.unwrap_or_default(),
        restarts: found.restart_count.unwrap_or_default(),
        health,
    }
}

fn check(check: &HealthcheckResult) -> HealthCheck {
    let output = check.output.as_deref().unwrap_or_default();
    HealthCheck {
        at: moment(check.start.as_deref()),
        exit_code: check.exit_code,
        output: hidden(output).chars().take(MOST_CHECK).collect(),
    }
}

/// A time as answers write it; the daemon's year 1 means never.
fn moment(said: Option<&str>) -> Option<String> {
    let moment: Timestamp = said?.parse().ok()?;
    (moment > Timestamp::UNIX_EPOCH).then(|| moment.to_string())
}

/// The end of a container's log: so many lines, none before `since`.
///
/// # Errors
/// As [`look`], and when `since` is no time.
pub(crate) async fn logs(
    config: &Config,
    name: &str,
    lines: u16,
    since: Option<&str>,
    cancel: &CancellationToken,
) -> Result<ContainerLog, Problem> {
    let docker = listed(config, name)?;
    let since = since.map(|since| {
        let moment: Option<Timestamp> = since.parse().ok();
        let seconds = moment.and_then(|moment| i32::try_from(moment.as_second()).ok());
        seconds.ok_or_else(|| Problem::unprocessable("`since` is not a time such as 2026-11-01T12:00:00Z"))
    });
    let since = since.transpose()?.unwrap_or_default();
    let found = look(config, name).await?;
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .since(since)
        .tail(&lines.to_string())
        .build();
    let daemon = connect(docker)?;
    let mut parts = pin!(daemon.logs(&found.id, Some(options)));
    let mut kept = Kept::new(MOST_LOG);
    let reading = within(async {
        while let Some(part) = parts.next().await {
            kept.push(&part?.into_bytes());
        }
        Ok(())
    });
    tokio::select! {
        read = reading => read?,
        () = cancel.cancelled() => {
            return Err(Problem::new(Kind::Conflict, "the call was cancelled; call again for the log"));
        }
    }
    let log = kept.text();
    Ok(ContainerLog {
        container: name.to_owned(),
        text: hidden(&log.text),
        lines: log.lines,
        left_out_bytes: log.dropped_bytes,
    })
}

/// What a restart would do.
///
/// # Errors
/// As [`look`].
pub(crate) async fn plan_restart(config: &Config, name: &str) -> Result<Plan, Problem> {
    let found = look(config, name).await?;
    Ok(Plan {
        summary: format!("restarts the container `{name}`"),
        state: serde_json::json!({
            "id": found.id,
            "started_at": found.started_at,
            "state": found.state,
        }),
        is_destructive: true,
    })
}

/// Restarts a container, and tells how it is then, if its daemon tells: it is restarted. Once begun it goes on, whoever wants it or not.
///
/// # Errors
/// As [`look`].
pub(crate) async fn restart(config: &Config, name: &str) -> Result<ContainerDetail, Problem> {
    let docker = listed(config, name)?;
    let found = look(config, name).await?;
    let options = RestartContainerOptionsBuilder::new().t(STOP).build();
    within(connect(docker)?.restart_container(&found.id, Some(options))).await?;
    let seen = look(config, name).await;
    Ok(seen.unwrap_or_else(|_| ContainerDetail {
        state: "unknown".to_owned(),
        started_at: None,
        finished_at: None,
        exit_code: None,
        health: None,
        ..found
    }))
}

/// What the daemon answers, if it does in time.
async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Problem> {
    let answered = tokio::time::timeout(Duration::from_secs(TIME), asked).await;
    answered
        .unwrap_or(Err(Error::RequestTimeoutError))
        .map_err(problem)
}

fn problem(error: Error) -> Problem {
    match &error {
        Error::DockerResponseServerError { status_code: 404, .. } => Problem::new(
            Kind::NotFound,
            "the daemon has no such container now; `list_containers` shows those it has",
        ),
        Error::DockerResponseServerError { status_code, .. } => {
            tracing::warn!(%error, "the daemon of containers refused");
            Problem::new(
                Kind::Unavailable,
                format!(
                    "the daemon of containers refused with status {status_code}; its words are in the log"
                ),
            )
        }
        Error::RequestTimeoutError => Problem::new(
            Kind::Unavailable,
            format!(
                "the daemon of containers did not answer within {TIME} s; see whether it is at work, then try again"
            ),
        ),
        _ => {
            tracing::warn!(%error, "the daemon of containers does not answer");
            Problem::new(
                Kind::Unavailable,
                "the daemon of containers does not answer; see that it runs and that dkc may use its socket",
            )
        }
    }
}

#[cfg(test)]
mod tests;
