//! `dkc init`: the first configuration and the data directory.

use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{Result, miette};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `dkc.toml` with its keys explained, and makes the data directory for you alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc init\n  dkc init --config ~/.config/dkc/dkc.toml")]
pub struct Arguments {
    /// Write a new configuration though there is one; the old one stays beside it, as `dkc.toml.old`
    #[arg(long)]
    force: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let path = context.config_path()?;
    let old = if arguments.force { put_aside(&path)? } else { None };
    write_new(&path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            miette!(
                help = "`dkc add` extends it; `--force` puts it aside",
                "`{}` exists",
                path.display()
            )
        }
        _ => miette!("cannot write `{}`: {error}", path.display()),
    })?;
    let data = &context.data;
    make_private(data).map_err(|error| miette!("cannot make `{}`: {error}", data.display()))?;
    if context.json {
        return print::json(&json!({ "config": path, "data": data, "old_config": old }));
    }
    print::text(&format!(
        "Wrote {}; data goes to {}.",
        path.display(),
        data.display()
    ))?;
    if let Some(old) = old {
        print::text(&format!("The old configuration is {}.", old.display()))?;
    }
    let kinds = collectors::ALL
        .iter()
        .map(|descriptor| format!("\n  {}", descriptor.example));
    print::note(
        &format!("Next, add what to collect, such as:{}", kinds.collect::<String>()),
        context,
    );
    Ok(())
}

/// Renames the configuration to the first free name, and returns that; `None` without a configuration.
fn put_aside(path: &Path) -> Result<Option<PathBuf>> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let named = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if n == 1 {
            ".old".to_owned()
        } else {
            format!(".old{n}")
        });
        PathBuf::from(name)
    };
    // A hard link, unlike a rename, never replaces what has that name.
    for old in (1..).map(named) {
        match std::fs::hard_link(path, &old).and_then(|()| std::fs::remove_file(path)) {
            Ok(()) => return Ok(Some(old)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(miette!("cannot rename `{}`: {error}", path.display())),
        }
    }
    Ok(None)
}

fn write_new(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(TEMPLATE.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

const TEMPLATE: &str = r#"# What dkc collects. `dkc add KIND key=value…` appends to this file, an editor does as well:
# `dkc schema config > dkc.schema.json` writes its JSON Schema.
#
# Paths are relative to this file; `~` is your home directory.
# Secrets are never written here, only where they are:
#   env:NAME              an environment variable
#   file:PATH             a file with nothing else in it, readable by you alone
#   keyring:SERVICE/USER  the keyring of your desktop

# [limits]
# query_memory_mb = 512   # memory of one query; an eighth of the machine's without it
# query_seconds   = 60    # when a query is stopped
# threads         = 2     # all cores without it

# [search]
# model = "all-minilm-l6-v2"   # by which texts are compared; see `dkc index model`

# [alerts]                     # who is told when something is wrong; docs/guides/alerts.md
# webhook = "env:DKC_WEBHOOK"

# `dkc daemon` runs what has a schedule; docs/guides/schedules.md.

# [[pipeline]]
# name = "mail"
# schedule = "on change"       # or "@daily", "every 10m", "after NAME", or as cron has it
# source = { kind = "maildir", path = "~/Maildir" }

# [[pipeline]]
# name = "inbox"
# schedule = "*/15 * * * *"
# source = { kind = "imap", host = "mail.example.org", user = "me", password = "env:IMAP_PASSWORD" }
"#;
