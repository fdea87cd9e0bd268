//! `dkc migrate`: the tables of the store to Postgres, or back into files.

use super::reach::opened;
use crate::context::Context;
use crate::print;
use clap::{Args, ValueEnum};
use miette::{IntoDiagnostic, Result};
use store::Place;
use store::migrate::{Extent, Migrated, is_moved, migrate};

/// Moves the tables of the store, such as the catalog of the lake, runs and tokens, from SQLite files in the data directory
/// to the Postgres of the configuration, or back. The files of the lake stay where they are, and so do the keys. No other
/// dkc may be at work. The old tables are renamed, not deleted.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc migrate --to postgres --check\n  dkc migrate --to postgres")]
pub struct Arguments {
    /// Where the tables go
    #[arg(long, value_name = "WHERE")]
    pub to: To,
    /// Copy and compare all of it, then take it back
    #[arg(long)]
    pub check: bool,
}

/// Where the tables of a store can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// The database that the configuration names as `postgres` under `[store]`
    Postgres,
    /// Files in the data directory
    Sqlite,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let configured = context.place()?;
    if configured.postgres.is_none() {
        miette::bail!(
            help =
                "write `postgres = \"env:DKC_POSTGRES\"` under `[store]`, and its address into that variable",
            "the configuration names no Postgres"
        );
    }
    let files = Place {
        postgres: None,
        ..configured.clone()
    };
    opened(configured.reach().await)?;
    if is_there(arguments.to, &files, &configured).await? {
        return tell_that_it_is_there(&arguments, context);
    }
    let (from, to) = match arguments.to {
        To::Postgres => (files, configured),
        To::Sqlite => (configured, files),
    };
    let extent = if arguments.check {
        Extent::Check
    } else {
        Extent::Move
    };
    let migrated = migrate(&from, &to, extent, |table| {
        if table.rows > 0 && !context.json {
            print::note(
                &format!("{}: {}", table.table, print::counted(table.rows, "row")),
                context,
            );
        }
    })
    .await
    .into_diagnostic()?;
    if context.json {
        return print::json(&migrated);
    }
    tell(&migrated, &arguments, context)
}

/// Whether the tables of the data directory are where they are to go, and nowhere else.
async fn is_there(to: To, files: &Place, postgres: &Place) -> Result<bool> {
    let has_postgres = opened(postgres.has_postgres().await)?;
    if to == To::Sqlite {
        return Ok(files.has_files() && !has_postgres);
    }
    if files.has_files() || !has_postgres {
        return Ok(false);
    }
    opened(is_moved(postgres).await)
}

fn tell_that_it_is_there(arguments: &Arguments, context: &Context) -> Result<()> {
    if context.json {
        return print::json(&Migrated {
            tables: Vec::new(),
            set_aside: Vec::new(),
        });
    }
    let place = match arguments.to {
        To::Postgres => "in Postgres",
        To::Sqlite => "in files, and Postgres has none of them: take `postgres` out of the configuration",
    };
    print::text(&format!(
        "the tables of `{}` are there already, {place}; nothing was to be done",
        context.data.display()
    ))
}

fn tell(migrated: &Migrated, arguments: &Arguments, context: &Context) -> Result<()> {
    let rows: u64 = migrated.tables.iter().map(|table| table.rows).sum();
    let replaced: u64 = migrated.tables.iter().map(|table| table.replaced).sum();
    if replaced > 0 {
        let texts = print::counted(replaced, "text");
        let note = format!("{texts} of runs had a character U+0000; it is U+FFFD now");
        print::note(&note, context);
    }
    let tables = print::counted(migrated.tables.len(), "table");
    let rows = print::counted(rows, "row");
    if arguments.check {
        return print::text(&format!("{tables} with {rows} can be moved; nothing was"));
    }
    for old in &migrated.set_aside {
        print::note(&format!("the old tables are kept in {old}"), context);
    }
    if arguments.to == To::Sqlite {
        print::note("now take `postgres` out of the configuration", context);
        print::note(
            "datasets that were published to the schema `dkc` stay there as they are now, and are not kept up to date; \
             `DROP SCHEMA dkc CASCADE;` in that database removes them",
            context,
        );
    }
    print::text(&format!("moved {tables} with {rows}, and compared them"))
}
