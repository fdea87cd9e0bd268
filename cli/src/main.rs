//! `dkc`: the command line of the Data Knowledge Center.
//!
//! - In: arguments, `dkc.toml`. Out: results on standard output, words for the user on standard error,
//!   an exit code: 0 done, 1 failed, 2 used wrongly, by its arguments or its configuration.
//! - Not here: logic. Parse, load, call one function, print.

mod commands;
mod config;
mod context;
mod print;
mod shell;

use clap::Parser;
use commands::Command;
use context::{Context, Global};
use std::process::ExitCode;

/// glibc keeps an arena for each thread and gives little of it back: a service of many threads grew by 110 MB within six
/// minutes of a run each second, and not at all with this one (`make bench-service`).
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Collects your own data, keeps every original, and answers questions about it in SQL.
#[derive(Debug, Parser)]
#[command(name = "dkc", version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "Example:
  dkc init
  dkc add maildir path=~/Mail name=mail
  dkc run
  dkc sql -c 'SELECT from_addr, count(*) FROM emails GROUP BY 1 ORDER BY 2 DESC LIMIT 10'";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print::usage(&error),
    };
    let json = cli.global.json;
    // Their exit code says what they found, whether or not somebody read it.
    let is_judge = matches!(
        cli.command,
        Command::Run(_) | Command::Verify(_) | Command::Doctor(_)
    );
    let done = match cli.command {
        // It has no home, and so no context.
        Command::ConvertWorker => commands::convert_worker::run(),
        command => Context::new(cli.global).and_then(|context| run(command, &context)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `dkc … | head`: whoever read has seen enough.
        Err(_) if print::reader_left() && !is_judge => ExitCode::SUCCESS,
        Err(report) => {
            print::error(&report, json);
            // Whoever runs dkc again and again knows then that only an edit helps.
            let is_misused = report.is::<commands::search::Mistake>() || report.is::<commands::Misused>();
            match config::is_mistake(&report) || is_misused {
                true => ExitCode::from(print::USED_WRONGLY),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs a command in a runtime; the worker makes one of its own.
fn run(command: Command, context: &Context) -> miette::Result<()> {
    if let Command::QueryWorker(arguments) = command {
        return commands::query_worker::run(arguments, context);
    }
    print::start_log(context);
    // Two providers may be linked in; rustls wants to be told which one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| miette::miette!("cannot start: {error}"))?;
    let done = runtime.block_on(command.run(context));
    // A file that was being read may still be read, and is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}
