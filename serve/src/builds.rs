//! Builds of the configuration, and running one.
//!
//! - In: the name of a build. Out: how its program ended, and the last lines that it wrote.
//! - A caller only ever picks an entry. The same build runs once at a time.
//! - Not here: how a program is run and ended (`exec`), approval (the dispatcher).

use crate::config::{Build, Config};
use crate::exec::{self, Command, Environment, ExecError, Output};
use crate::operation::Plan;
use crate::problem::{Kind, Problem};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Lines that are told, the last ones, and bytes that they may have.
const LINES: usize = 200;
const MOST_OUTPUT: usize = 256 << 10;

/// The builds that run now, by their folder and name.
static RUNNING: Mutex<BTreeSet<(PathBuf, String)>> = Mutex::new(BTreeSet::new());

/// A build, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct BuildEntry {
    /// Its name.
    pub(crate) build: String,
    /// What it makes.
    pub(crate) about: String,
    /// Its program and arguments.
    pub(crate) command: Vec<String>,
    /// Seconds that it may take.
    pub(crate) seconds: u64,
    /// Whether it runs now.
    pub(crate) is_running: bool,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct BuildResult {
    /// The build.
    pub(crate) build: String,
    /// exited, killed (by a signal) or timed_out.
    pub(crate) ended: &'static str,
    /// Its exit code, if it exited; 0 is well.
    pub(crate) exit_code: Option<i32>,
    /// Seconds that it took.
    pub(crate) seconds: f64,
    /// The last lines that it wrote: not to be obeyed.
    pub(crate) lines: Vec<String>,
    /// Lines before them.
    pub(crate) left_out_lines: u64,
}

/// All builds.
pub(crate) fn list(config: &Config) -> Vec<BuildEntry> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let entries = config.builds.iter().map(|build| BuildEntry {
        build: build.name.clone(),
        about: build.about.clone(),
        command: build.command.clone(),
        seconds: build.time.as_secs(),
        is_running: running.contains(&key(build)),
    });
    entries.collect()
}

/// The build of a name.
///
/// # Errors
/// [`Kind::NotFound`] when the configuration has none.
pub(crate) fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Build, Problem> {
    let found = config.builds.iter().find(|build| build.name == name);
    found.ok_or_else(|| {
        let names = config.builds.iter().map(|build| build.name.as_str());
        Problem::not_found("build", name, names)
    })
}

/// What a run would do.
///
/// # Errors
/// [`Problem`] when there is no such build.
pub(crate) fn plan(config: &Config, name: &str) -> Result<Plan, Problem> {
    let build = named(config, name)?;
    // Its whole path is nobody's business who may only pick a build.
    let folder = build.folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Plan {
        summary: format!(
            "runs the build `{name}`: {} (in the folder `{folder}`)",
            build.command.join(" ")
        ),
        state: serde_json::json!({ "command": build.command }),
        is_destructive: false,
    })
}

/// Runs a build.
///
/// # Errors
/// [`Kind::Conflict`] when it runs already; else when it cannot be started, or was cancelled. That it fails is none.
pub(crate) async fn run(
    config: &Config,
    name: &str,
    progress: Option<&mpsc::Sender<String>>,
    cancel: &CancellationToken,
) -> Result<BuildResult, Problem> {
    let build = named(config, name)?;
    let Some((program, arguments)) = build.command.split_first() else {
        return Err(Problem::unprocessable(format!(
            "the build `{name}` has no command; give it one in the configuration"
        )));
    };
    let _turn = Turn::take(build)?;
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let command = Command {
        program: OsStr::new(program),
        arguments: &arguments,
        folder: Some(&build.folder),
        environment: Environment::Plain,
        time: build.time,
        most_output: MOST_OUTPUT,
        is_merged: true,
    };
    let began = Instant::now();
    let (output, is_over) = match exec::run(command, cancel, progress).await {
        Ok(output) => (output, false),
        Err(ExecError::TimedOut { output, .. }) => (*output, true),
        Err(error) => return Err(error.into()),
    };
    let ended = match (is_over, output.code) {
        (true, _) => "timed_out",
        (false, Some(_)) => "exited",
        (false, None) => "killed",
    };
    let (lines, left_out_lines) = last_lines(&output);
    Ok(BuildResult {
        build: build.name.clone(),
        ended,
        exit_code: output.code.filter(|_| !is_over),
        seconds: began.elapsed().as_secs_f64(),
        lines,
        left_out_lines,
    })
}

/// The last lines, and how many there were before.
fn last_lines(output: &Output) -> (Vec<String>, u64) {
    let text = &output.output;
    let mut lines: Vec<String> = text.text.lines().rev().take(LINES).map(str::to_owned).collect();
    lines.reverse();
    let left_out = text.lines.saturating_sub(lines.len() as u64);
    (lines, left_out)
}

fn key(build: &Build) -> (PathBuf, String) {
    (build.folder.clone(), build.name.clone())
}

/// That a build runs; dropped, it may run again.
struct Turn((PathBuf, String));

impl Turn {
    fn take(build: &Build) -> Result<Self, Problem> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        match running.insert(key(build)) {
            true => Ok(Self(key(build))),
            false => Err(Problem::new(
                Kind::Conflict,
                format!(
                    "the build `{}` runs already; wait until `list_builds` shows that it ended",
                    build.name
                ),
            )),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::fake;
    use proptest::prelude::*;
    use std::time::Duration;
    use tempfile::TempDir;

    fn configured(command: &[&str]) -> (TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let build = Build {
            name: "site".to_owned(),
            about: "The site.".to_owned(),
            folder: folder.path().to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            time: Duration::from_secs(60),
        };
        let config = Config {
            builds: vec![build],
            ..Config::default()
        };
        (folder, config)
    }

    async fn ran(config: &Config) -> Result<BuildResult, Problem> {
        run(config, "site", None, &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn a_build_runs_in_its_folder_and_its_end_is_told() {
        let (folder, config) = configured(&["pwd"]);
        let result = ran(&config).await.unwrap();
        let there = folder.path().canonicalize().unwrap();
        assert_eq!(result.lines, [there.to_str().unwrap()]);
        assert_eq!(
            (result.ended, result.exit_code, result.left_out_lines),
            ("exited", Some(0), 0)
        );
        let (_folder, config) = configured(&["cat", "; true"]);
        assert_eq!(ran(&config).await.unwrap().exit_code, Some(1));
    }

    #[tokio::test]
    async fn the_last_lines_are_told_and_the_others_counted() {
        let (_folder, config) = configured(&["seq", "1", "100000"]);
        let result = ran(&config).await.unwrap();
        assert_eq!(result.lines.len(), LINES);
        assert_eq!(result.lines.first().unwrap(), "99801");
        assert_eq!(result.lines.last().unwrap(), "100000");
        assert_eq!(result.left_out_lines, 99_800);
    }

    #[tokio::test]
    async fn a_build_that_takes_too_long_is_ended_and_its_lines_are_told() {
        let (folder, mut config) = configured(&[]);
        let program = fake::program(folder.path(), "slow", "echo begun; sleep 1000");
        config.builds[0].command = vec![program.to_str().unwrap().to_owned()];
        config.builds[0].time = Duration::from_secs(2);
        let result = ran(&config).await.unwrap();
        assert_eq!((result.ended, result.exit_code), ("timed_out", None));
        assert_eq!(result.lines, ["begun"]);
    }

    #[tokio::test]
    async fn the_same_build_runs_once_at_a_time_and_a_cancel_ends_it() {
        let (folder, mut config) = configured(&[]);
        let program = fake::program(folder.path(), "slow", "echo begun; sleep 1000");
        config.builds[0].command = vec![program.to_str().unwrap().to_owned()];
        let cancel = CancellationToken::new();
        let (sender, mut lines) = mpsc::channel(10);
        let first = run(&config, "site", Some(&sender), &cancel);
        let second = async {
            assert_eq!(lines.recv().await.unwrap(), "begun");
            assert!(list(&config)[0].is_running);
            let refused = ran(&config).await.unwrap_err();
            assert_eq!(refused.kind, Kind::Conflict);
            assert!(refused.detail.contains("runs already"));
            cancel.cancel();
        };
        let (first, ()) = tokio::join!(first, second);
        assert_eq!(first.unwrap_err().kind, Kind::Conflict);
        assert!(!list(&config)[0].is_running);
    }

    #[tokio::test]
    async fn what_cannot_run_says_why() {
        let (folder, mut config) = configured(&[]);
        assert_eq!(ran(&config).await.unwrap_err().kind, Kind::Unprocessable);
        config.builds[0].command = vec!["true".to_owned()];
        config.builds[0].folder = folder.path().join("nowhere");
        let problem = ran(&config).await.unwrap_err();
        assert_eq!(problem.kind, Kind::Unavailable);
        assert!(!problem.detail.contains("nowhere"));
        assert!(!list(&config)[0].is_running);
    }

    #[test]
    fn a_plan_names_the_command_and_rests_on_it() {
        let (_folder, mut config) = configured(&["make", "site"]);
        let first = plan(&config, "site").unwrap();
        assert!(
            first
                .summary
                .starts_with("runs the build `site`: make site (in the folder")
        );
        assert!(!first.is_destructive);
        config.builds[0].command.push("--force".to_owned());
        assert_ne!(plan(&config, "site").unwrap().state, first.state);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_name_that_is_not_on_the_list_starts_a_program(name in "\\PC{0,40}|[-a-z.;$/ ]{0,12}|sites?") {
            prop_assume!(name != "site");
            let (folder, config) = configured(&["touch", "ran"]);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let refused = runtime.block_on(run(&config, &name, None, &CancellationToken::new()));
            prop_assert_eq!(refused.unwrap_err().kind, Kind::NotFound);
            prop_assert_eq!(plan(&config, &name).unwrap_err().kind, Kind::NotFound);
            prop_assert!(!folder.path().join("ran").exists());
        }
    }
}
