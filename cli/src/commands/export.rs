//! `dkc export`: a dataset or a query as a file, with a manifest; originals out again.

mod originals;
mod verify;

use crate::context::Context;
use crate::{commands, print};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use miette::{IntoDiagnostic, Result, bail, miette};
use schemas::{Home, datasets};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use store::Store;
use store::export::{self, Form, Format, Manifest, Origin, SendableRecordBatchStream};
use store::lake::as_of::AsOf;
use store::query::{Query, Spare};

/// Writes rows to a file in the format of its extension, and a manifest beside it; or originals to a folder; or checks
/// what was written.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dkc export emails --to emails.parquet\n  dkc export --query 'SELECT date, subject FROM emails' --to subjects.xlsx\n  dkc export emails --to - --format arrow | python3 read.py\n  dkc export --originals --query \"SELECT * FROM emails WHERE from_addr = 'a@b.example'\" --to mails\n  dkc export email_attachments --attachments --to attachments\n  dkc export --verify emails.parquet mails"
)]
pub struct Arguments {
    /// A whole dataset
    #[arg(required_unless_present_any = ["query", "verify"], conflicts_with = "query")]
    pub dataset: Option<String>,
    /// What a query returns
    #[arg(long, value_name = "SQL")]
    pub query: Option<String>,
    /// The file: .csv, .json, .ndjson, .js, .md, .parquet, .arrow, .arrows, .xlsx or .txt; `-` is standard output. Of
    /// originals the folder
    #[arg(long, value_name = "FILE|DIR", required_unless_present = "verify")]
    pub to: Option<PathBuf>,
    /// The format, if not that of the extension
    #[arg(long, value_parser = PossibleValuesParser::new(Format::ALL).try_map(|name| name.parse::<Format>()))]
    pub format: Option<Format>,
    /// Name of the constant in .js, and of the sheet in .xlsx [default: of the dataset or the file]
    #[arg(long)]
    pub name: Option<String>,
    /// The lake as it was: the number of a snapshot, or a time; without an offset it is local
    #[arg(long, value_name = "SNAPSHOT|TIME")]
    pub as_of: Option<AsOf>,
    /// Replace what exists
    #[arg(long)]
    pub force: bool,
    /// Write the originals of the rows, byte for byte, a file each; a query must give `_source` and `_item`
    #[arg(long, conflicts_with_all = ["attachments", "format", "name"])]
    pub originals: bool,
    /// Write the attachments of the rows, decoded, a file each; with `ordinal` in a query only these
    #[arg(long, conflicts_with_all = ["format", "name"])]
    pub attachments: bool,
    /// Compare files, or folders of originals, with their manifests
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        conflicts_with_all = ["dataset", "query", "to", "format", "name", "as_of", "force", "originals", "attachments"]
    )]
    pub verify: Vec<PathBuf>,
    /// With --verify: ask the lake again, at the same snapshot, and compare the rows
    #[arg(long, requires = "verify")]
    pub again: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let Some(to) = &arguments.to else {
        return verify::run(&arguments.verify, arguments.again, context).await;
    };
    let dataset = match &arguments.dataset {
        Some(name) => Some(commands::dataset(name)?.name.to_owned()),
        None => None,
    };
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let moment = store.moment(arguments.as_of).await.into_diagnostic()?;
    let origin = Origin {
        dataset,
        query: arguments.query.clone(),
        snapshot: moment.snapshot,
        snapshot_time: moment.time,
    };
    if arguments.originals || arguments.attachments {
        originals::run(&arguments, to, origin, &store, context).await?;
    } else {
        table(&arguments, to, origin, &store, context).await?;
    }
    store.close().await;
    Ok(())
}

async fn table(
    arguments: &Arguments,
    to: &Path,
    origin: Origin,
    store: &Store,
    context: &Context,
) -> Result<()> {
    let is_stdout = to == Path::new("-");
    let format = match arguments.format {
        Some(Format::Arrow) if is_stdout => Format::ArrowStream,
        Some(format) => format,
        None if is_stdout => {
            bail!(
                help = "add `--format csv` or another",
                "standard output has no extension that names a format"
            )
        }
        None => Format::of_path(to).into_diagnostic()?,
    };
    let of_file = (!is_stdout).then(|| export::name_of_path(to));
    let name = match (&arguments.name, format) {
        (Some(name), Format::Js) if export::identifier(name) != *name => {
            bail!(
                help = format!("`{}` would do", export::identifier(name)),
                "`{name}` cannot be the name of a constant"
            )
        }
        (Some(name), _) => Some(name.clone()),
        (None, Format::Xlsx) => origin.dataset.clone().or(of_file),
        (None, _) => of_file.or(origin.dataset.clone()),
    };
    let form = Form {
        name: name.as_deref().unwrap_or("rows"),
        ..Form::from(format)
    };
    if is_stdout {
        if !format.is_text() && io::stdout().is_terminal() {
            bail!(
                help = "write to a file, or into a pipe",
                "a terminal cannot show {}",
                format.name()
            );
        }
        print::rows(
            rows(store, &origin, arguments.as_of.is_none(), context).await?,
            form,
            context,
        )
        .await?;
        return Ok(());
    }
    refuse_inside(store, to)?;
    let snapshot = origin.snapshot;
    let rows = rows(store, &origin, arguments.as_of.is_none(), context).await?;
    let written = export::write_file(rows, to, form, origin, arguments.force)
        .await
        .into_diagnostic()?;
    for line in &written.notes {
        print::note(line, context);
    }
    let path = to.display().to_string();
    if context.json {
        return print::json(&serde_json::json!({
            "file": path,
            "rows": written.rows,
            "bytes": written.bytes,
            "snapshot": snapshot,
            "manifest": Manifest::path_of(to).display().to_string(),
        }));
    }
    print::text(&format!(
        "{path}: {}, {}",
        print::counted(written.rows, "row"),
        print::counted(written.bytes, "byte")
    ))
}

/// The rows that were asked for, at their snapshot: those of a dataset in an order that stays.
async fn rows(
    store: &Store,
    origin: &Origin,
    is_newest: bool,
    context: &Context,
) -> Result<SendableRecordBatchStream> {
    let query = match (&origin.dataset, &origin.query) {
        (Some(name), _) => match commands::dataset(name)? {
            dataset if dataset.home == Home::Lake => {
                return store.rows_at(dataset, origin.snapshot).await.into_diagnostic();
            }
            dataset => format!(
                "SELECT * FROM {} ORDER BY {}",
                dataset.name,
                dataset.key.join(", ")
            ),
        },
        (None, Some(query)) => query.clone(),
        (None, None) => return Err(miette!("nothing was asked for")),
    };
    ask(origin, is_newest, query, context).await
}

/// The answer to a query at the snapshot of an export.
async fn ask(
    origin: &Origin,
    is_newest: bool,
    query: String,
    context: &Context,
) -> Result<SendableRecordBatchStream> {
    let query = Query {
        as_of: Some(AsOf::Snapshot(origin.snapshot)),
        is_newest,
        ..Query::from(query.as_str())
    };
    let workers = commands::workers(context, Spare::First)?;
    workers.run_user_sql(&query).await.into_diagnostic()
}

fn refuse_inside(store: &Store, path: &Path) -> Result<()> {
    if store.holds(path) {
        bail!(
            help = "choose a folder outside it",
            "`{}` is in the data directory, which is dkc's own",
            path.display()
        );
    }
    Ok(())
}

/// The columns that say which items a dataset is about, as a query.
fn keys_of(name: &str) -> Result<String> {
    let dataset = commands::dataset(name)?;
    if dataset.home != Home::Lake {
        bail!(
            help = "choose a dataset that is made of originals, such as `emails`",
            "`{name}` has no originals"
        );
    }
    let ordinal = if dataset.name == datasets::email_attachments::DATASET.name {
        ", ordinal"
    } else {
        ""
    };
    Ok(format!("SELECT _source, _item{ordinal} FROM {name}"))
}
