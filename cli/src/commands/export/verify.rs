//! `dkc export --verify`.

use crate::context::Context;
use crate::print;
use miette::{IntoDiagnostic, Result, bail};
use std::path::PathBuf;
use store::export::{self, Checked, Content, Manifest};
use store::lake::as_of::AsOf;
use store::{Store, StoreError};

pub(super) async fn run(paths: &[PathBuf], again: bool, context: &Context) -> Result<()> {
    let store = match again {
        true => Some(Store::open(context.place()?).await.into_diagnostic()?),
        false => None,
    };
    let mut all = Vec::new();
    for path in paths {
        let path = path.clone();
        let (mut checked, manifest) = tokio::task::spawn_blocking(move || export::check(&path))
            .await
            .into_diagnostic()?;
        if let (Some(store), Some(manifest)) = (&store, manifest) {
            ask_again(store, &manifest, &mut checked, context).await?;
        }
        all.push(checked);
    }
    if let Some(store) = store {
        store.close().await;
    }
    if context.json {
        print::json(&all)?;
    } else {
        print::table(
            ["file", "rows", "bytes", "compared", "result"],
            all.iter().map(|checked| {
                [
                    checked.path.display().to_string(),
                    checked.rows.map(|rows| rows.to_string()).unwrap_or_default(),
                    checked.bytes.to_string(),
                    checked.compared.join(", "),
                    match checked.problems.is_empty() {
                        true => "as it was written".to_owned(),
                        false => checked.problems.join("; "),
                    },
                ]
            }),
        )?;
    }
    match all.iter().filter(|checked| !checked.problems.is_empty()).count() {
        0 => Ok(()),
        bad => bail!(
            help = "export again, or restore the file from a backup",
            "{bad} of {} are not as they were written",
            all.len()
        ),
    }
}

/// Compares the rows that the lake gives now, at the same snapshot.
async fn ask_again(
    store: &Store,
    manifest: &Manifest,
    checked: &mut Checked,
    context: &Context,
) -> Result<()> {
    let origin = &manifest.origin;
    let Content::Table(table) = &manifest.content else {
        checked
            .problems
            .push("originals have no rows to ask for again".to_owned());
        return Ok(());
    };
    match store.moment(Some(AsOf::Snapshot(origin.snapshot))).await {
        Ok(moment) if moment.time == origin.snapshot_time => {}
        Ok(moment) => {
            checked.problems.push(format!(
                "it is of another lake: snapshot {} was made at {} there, at {} here",
                origin.snapshot, origin.snapshot_time, moment.time
            ));
            return Ok(());
        }
        Err(error @ StoreError::NoSnapshot { .. }) => {
            checked.problems.push(format!(
                "its rows cannot be compared, the snapshot has expired: {error}"
            ));
            return Ok(());
        }
        Err(error) => return Err(error).into_diagnostic(),
    }
    let newest = store.moment(None).await.into_diagnostic()?;
    let is_newest = newest.snapshot == origin.snapshot;
    let rows = super::rows(store, origin, is_newest, context).await?;
    export::compare_again(rows, table, checked)
        .await
        .into_diagnostic()
}
