//! Builds of the configuration, and running one.
//!
//! - In: the name of a build. Out: how its program ended, and the last lines that it wrote.
//! - A caller only ever picks an entry. The same build runs once at a time.
//! - A plan rests on the command, the files that it names, the folder and the recipes in it, not on what else the folder
//!   holds.
//! - Not here: how a program is run and ended (`exec`), approval (the dispatcher).

use crate::config::{Build, Config};
use crate::exec::{self, Command, Environment, ExecError, Output};
use crate::operation::Plan;
use crate::problem::{Kind, Problem};
use crate::projects::mask::hidden;
use crate::roots::modified_at;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Lines that are told, the last ones, and bytes that they may have.
const LINES: usize = 200;
const MOST_OUTPUT: usize = 256 << 10;

/// Files that say what a build does: an edited one needs another plan.
const RECIPES: &[&str] = &[
    "CMakeLists.txt",
    "Cargo.toml",
    "Dockerfile",
    "GNUmakefile",
    "Justfile",
    "Makefile",
    "Taskfile.yaml",
    "Taskfile.yml",
    "build.gradle",
    "build.gradle.kts",
    "build.rs",
    "build.sh",
    "go.mod",
    "justfile",
    "makefile",
    "meson.build",
    "package.json",
    "pom.xml",
    "pyproject.toml",
    "setup.py",
];

/// Bytes of a recipe.
const MOST_RECIPE: u64 = 16 << 20;

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
/// [`Problem`] when there is no such build, or a recipe in its folder cannot be read.
pub(crate) async fn plan(config: &Config, name: &str) -> Result<Plan, Problem> {
    let build = named(config, name)?;
    let (place, command) = (build.folder.clone(), build.command.clone());
    let recipes = tokio::task::spawn_blocking(move || recipes(&place, &command));
    let recipes = recipes.await.map_err(|error| Problem::internal(&error))??;
    let folder = shown(config, build);
    let place = blake3::hash(build.folder.as_os_str().as_encoded_bytes());
    Ok(Plan {
        summary: format!(
            "runs the build `{name}`: {} (in the folder `{folder}`)",
            build.command.join(" ")
        ),
        state: serde_json::json!({
            "command": build.command,
            "folder": place.to_hex().as_str(),
            "recipes": recipes,
        }),
        is_destructive: false,
    })
}

/// A build's folder, as a plan names it: its whole path is nobody's business who may only pick a build. The last part,
/// and the one before it where another build's folder is called so too.
fn shown(config: &Config, build: &Build) -> String {
    let last = build.folder.file_name().unwrap_or_default();
    let is_alike = |other: &Build| other.folder != build.folder && other.folder.file_name() == Some(last);
    let before = build.folder.parent().and_then(Path::file_name);
    match before.filter(|_| config.builds.iter().any(is_alike)) {
        Some(before) => format!("{}/{}", before.to_string_lossy(), last.to_string_lossy()),
        None => last.to_string_lossy().into_owned(),
    }
}

/// The recipes in a folder and the files that words of the command name, such as the script that it runs, and the digest
/// of what each says.
fn recipes(folder: &Path, command: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    for word in command {
        let path = folder.join(word);
        // A program may be large, or there to be run only.
        if let Some(digest) = digest(&path).unwrap_or_else(|_| size_and_time(&path)) {
            found.insert(word.clone(), digest);
        }
    }
    for &name in RECIPES {
        let digest = digest(&folder.join(name)).map_err(|error| {
            tracing::warn!(%error, name, "a recipe of a build cannot be read");
            Problem::unprocessable(format!(
                "`{name}` in the folder of the build cannot be read, or has over {} MiB, so nothing can be planned on it",
                MOST_RECIPE >> 20
            ))
        })?;
        if let Some(digest) = digest {
            found.insert(name.to_owned(), digest);
        }
    }
    Ok(found)
}

/// What stands for what a file holds where it is not read.
fn size_and_time(path: &Path) -> Option<String> {
    let about = path.metadata().ok().filter(Metadata::is_file)?;
    Some(format!("{} bytes, {}", about.len(), modified_at(&about)?))
}

/// The digest of a regular file, if there is one.
fn digest(path: &Path) -> io::Result<Option<String>> {
    // A pipe of that name would otherwise be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let (mut hasher, mut file) = (blake3::Hasher::new(), file.take(MOST_RECIPE + 1));
    hasher.update_reader(&mut file)?;
    match file.limit() {
        0 => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(Some(hasher.finalize().to_hex().to_string())),
    }
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
    let mut lines: Vec<String> = text.text.lines().rev().take(LINES).map(hidden).collect();
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

    #[tokio::test]
    async fn a_plan_names_the_command_and_rests_on_it() {
        let (_folder, mut config) = configured(&["make", "site"]);
        let first = plan(&config, "site").await.unwrap();
        assert!(
            first
                .summary
                .starts_with("runs the build `site`: make site (in the folder")
        );
        assert!(!first.is_destructive);
        config.builds[0].command.push("--force".to_owned());
        assert_ne!(plan(&config, "site").await.unwrap().state, first.state);
    }

    #[tokio::test]
    async fn a_plan_rests_on_the_folder_and_its_recipes() {
        let (folder, mut config) = configured(&["make"]);
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("Makefile", "all:\n\ttrue\n");
        let first = plan(&config, "site").await.unwrap();
        write("notes.txt", "no recipe");
        assert_eq!(plan(&config, "site").await.unwrap().state, first.state);
        write("Makefile", "all:\n\tfalse\n");
        let edited = plan(&config, "site").await.unwrap();
        assert_ne!(edited.state, first.state);
        write("package.json", "{}");
        assert_ne!(plan(&config, "site").await.unwrap().state, edited.state);
        assert!(!edited.state.to_string().contains(folder.path().to_str().unwrap()));

        let (one, two) = (folder.path().join("one/web"), folder.path().join("two/web"));
        config.builds[0].folder = one;
        let alone = plan(&config, "site").await.unwrap();
        assert!(
            alone.summary.ends_with("(in the folder `web`)"),
            "{}",
            alone.summary
        );
        let mut other = config.builds[0].clone();
        (other.name, other.folder) = ("other".to_owned(), two);
        config.builds.push(other);
        let (site, other) = (
            plan(&config, "site").await.unwrap(),
            plan(&config, "other").await.unwrap(),
        );
        assert!(
            site.summary.ends_with("(in the folder `one/web`)"),
            "{}",
            site.summary
        );
        assert_ne!(site.state, other.state);
    }

    #[tokio::test]
    async fn a_plan_rests_on_the_script_that_the_command_runs() {
        let (folder, mut config) = configured(&[]);
        let script = folder.path().join("make.sh");
        let absolute = script.to_str().unwrap();
        let large = std::fs::File::create(folder.path().join("large")).unwrap();
        for command in [
            &["./make.sh"][..],
            &["sh", "make.sh", "large"],
            &["sh", "-e", absolute],
        ] {
            config.builds[0].command = command.iter().map(|&word| word.to_owned()).collect();
            std::fs::write(&script, "true\n").unwrap();
            large.set_len(MOST_RECIPE + 1).unwrap();
            let first = plan(&config, "site").await.unwrap();
            assert_eq!(plan(&config, "site").await.unwrap().state, first.state);
            std::fs::write(&script, "false\n").unwrap();
            let edited = plan(&config, "site").await.unwrap();
            assert_ne!(edited.state, first.state, "{command:?}");
            large.set_len(MOST_RECIPE + 2).unwrap();
            let is_other = plan(&config, "site").await.unwrap().state != edited.state;
            assert_eq!(is_other, command.contains(&"large"), "{command:?}");
        }
    }

    #[test]
    fn a_recipe_that_is_too_large_is_not_planned_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("justfile")).unwrap();
        file.set_len(MOST_RECIPE).unwrap();
        assert_eq!(recipes(folder.path(), &[]).unwrap().len(), 1);
        file.set_len(MOST_RECIPE + 1).unwrap();
        assert!(
            recipes(folder.path(), &[])
                .unwrap_err()
                .detail
                .contains("`justfile`")
        );
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
            let planned = runtime.block_on(plan(&config, &name));
            prop_assert_eq!(planned.unwrap_err().kind, Kind::NotFound);
            prop_assert!(!folder.path().join("ran").exists());
        }
    }
}
