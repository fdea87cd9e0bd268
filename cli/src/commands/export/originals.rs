//! `dkc export --originals` and `--attachments`.

use super::Arguments;
use crate::context::Context;
use crate::print;
use miette::{IntoDiagnostic, Result, bail};
use pipelines::originals::{Bytes, export_originals};
use serde_json::json;
use std::path::Path;
use store::Store;
use store::export::{Folder, Origin, Selection};

/// Problems that are printed one by one.
const SHOWN: usize = 20;

pub(super) async fn run(
    arguments: &Arguments,
    to: &Path,
    origin: Origin,
    store: &Store,
    context: &Context,
) -> Result<()> {
    super::refuse_inside(store, &to.join("file"))?;
    let which = if arguments.attachments {
        Bytes::Attachments
    } else {
        Bytes::Original
    };
    let query = match (&origin.dataset, &origin.query) {
        (Some(name), _) => super::keys_of(name)?,
        (None, query) => query.clone().unwrap_or_default(),
    };
    let rows = super::ask(&origin, arguments.as_of.is_none(), query, context).await?;
    let selection = Selection::of(rows).await.into_diagnostic()?;
    let snapshot = origin.snapshot;
    let folder = Folder::open(to, origin, arguments.force).into_diagnostic()?;
    let (exported, manifest) = export_originals(store, snapshot, selection, which, folder)
        .await
        .into_diagnostic()?;
    if context.json {
        print::json(&json!({
            "folder": to.display().to_string(),
            "written": exported.written,
            "unchanged": exported.unchanged,
            "problems": exported.problems,
            "snapshot": snapshot,
            "manifest": manifest.display().to_string(),
        }))?;
    } else {
        print::text(&format!(
            "{}: {} written, {} there already, {} not written",
            to.display(),
            print::counted(exported.written, "file"),
            exported.unchanged,
            exported.problems.len()
        ))?;
        if !exported.problems.is_empty() {
            let shown = exported.problems.iter().take(SHOWN);
            print::table(
                ["source", "item", "problem"],
                shown.map(|problem| {
                    let ordinal = problem
                        .ordinal
                        .map(|n| format!(", attachment {n}"))
                        .unwrap_or_default();
                    [
                        problem.source.clone(),
                        format!("{}{ordinal}", problem.item),
                        problem.reason.clone(),
                    ]
                }),
            )?;
        }
    }
    match exported.problems.len() {
        0 => Ok(()),
        problems => bail!(
            help = "`--json` lists all of them; the other files are there",
            "{} could not be written",
            print::counted(problems, "file")
        ),
    }
}
