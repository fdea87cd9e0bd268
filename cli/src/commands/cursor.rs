//! `dkc cursor`: how far a pipeline has come.

use crate::context::Context;
use crate::print;
use clap::{Args, Subcommand};
use miette::IntoDiagnostic;
use miette::Result;
use schemas::{Cursor, SourceName};
use store::Store;

/// Shows, sets or clears where the next run of a pipeline begins.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc cursor show inbox\n  dkc cursor clear inbox")]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with a cursor.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print it, as JSON
    #[command(after_help = "Example:\n  dkc cursor show inbox")]
    Show {
        /// The pipeline
        pipeline: String,
    },
    /// Replace it: the next run begins there
    #[command(
        after_help = "Example:\n  dkc cursor show inbox > cursor.json\n  dkc cursor set inbox \"$(cat cursor.json)\""
    )]
    Set {
        /// The pipeline
        pipeline: String,
        /// The cursor, JSON as `show` prints it
        #[arg(value_name = "JSON", value_parser = |text: &str| serde_json::from_str::<serde_json::Value>(text))]
        cursor: serde_json::Value,
    },
    /// Forget it: the next run reads everything again, and stores what is not stored yet
    #[command(after_help = "Example:\n  dkc cursor clear inbox")]
    Clear {
        /// The pipeline
        pipeline: String,
    },
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let name = |name: &str| SourceName::new(name).into_diagnostic();
    match arguments.action {
        Action::Show { pipeline } => {
            let store = Store::open(context.place()?).await.into_diagnostic()?;
            let cursor = known(&store, &name(&pipeline)?, context).await?;
            store.close().await;
            match cursor {
                Some(cursor) => print::json(&cursor),
                None if context.json => print::json(&serde_json::Value::Null),
                None => miette::bail!(help = "`dkc run` makes one", "`{pipeline}` has no cursor"),
            }
        }
        Action::Set { pipeline, cursor } => set(&name(&pipeline)?, Some(Cursor(cursor)), context).await,
        Action::Clear { pipeline } => set(&name(&pipeline)?, None, context).await,
    }
}

/// The cursor of a pipeline; it is an error that there is none and that no pipeline has this name.
async fn known(store: &Store, pipeline: &SourceName, context: &Context) -> Result<Option<Cursor>> {
    let cursor = store.cursor(pipeline).await.into_diagnostic()?;
    if cursor.is_none() {
        context.load_config()?.pipeline(pipeline.as_str())?;
    }
    Ok(cursor)
}

async fn set(pipeline: &SourceName, cursor: Option<Cursor>, context: &Context) -> Result<()> {
    if cursor.as_ref().is_some_and(|cursor| !cursor.0.is_object()) {
        miette::bail!(help = "`dkc cursor show` prints one", "a cursor is a JSON object");
    }
    let store = Store::open_alone(context.place()?).await.into_diagnostic()?;
    known(&store, pipeline, context).await?;
    let snapshot = store
        .set_cursor(pipeline, cursor.clone())
        .await
        .into_diagnostic()?;
    store.close().await;
    if context.json {
        return print::json(
            &serde_json::json!({ "pipeline": pipeline, "cursor": cursor, "snapshot": snapshot }),
        );
    }
    let done = if cursor.is_some() { "set" } else { "cleared" };
    print::text(&format!("{pipeline}: cursor {done}, snapshot {snapshot}"))
}
