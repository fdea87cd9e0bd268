//! What `dkc sql` does with queries and dot-commands, one after the other: typed at a terminal, or from a script.
//!
//! - In: texts. Out: answers on standard output, in a pager, or in a file that the user named.
//! - `commands` has the dot-commands; `editor` the line editor, with `complete` and `colours`; `plan` shows EXPLAIN.
//! - Not here: what SQL may do (`store::query`).

mod colours;
mod commands;
mod complete;
mod editor;
mod plan;
mod saved;
mod script;

use crate::context::Context;
use crate::print;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plan::Explain;
use reedline::Signal;
use script::Step;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;
use store::Store;
use store::export::{Form, Format, Written};
use store::lake::as_of::AsOf;
use store::query::{Parameters, Query, Workers};
use tokio::signal::unix::{SignalKind, signal};

/// Answers queries, with what the user has set for them.
pub struct Shell<'a> {
    /// The global options.
    pub context: &'a Context,
    /// The data directory.
    pub store: Store,
    /// Who answers.
    pub workers: Workers,
    /// How answers are written.
    pub format: Format,
    /// The lake as it was then.
    pub as_of: Option<AsOf>,
    /// Values of `:name`.
    pub parameters: Parameters,
    /// How its user is reached, and what he set.
    pub manner: Manner,
}

/// What dot-commands change, beside formats and parameters.
#[derive(Default)]
pub struct Manner {
    /// Whether a person waits at a terminal.
    is_terminal: bool,
    timer: bool,
    explain: Explain,
    /// Where answers go; the screen if absent.
    output: Option<File>,
    /// Where the next answer goes.
    once: Option<File>,
    /// The last query that was answered.
    last: Option<String>,
}

/// What is to be done step by step.
pub struct Script {
    /// Where it is from, for errors: `standard input`.
    pub origin: String,
    /// What it says.
    pub text: String,
}

/// What to do after a dot-command.
enum Next {
    Continue,
    Quit,
    /// Run a script.
    Script(Script),
}

impl Shell<'_> {
    /// Reads and answers until the user has had enough.
    ///
    /// # Errors
    /// When the terminal cannot be used. What is wrong with a query is told, and that is that.
    pub async fn interact(mut self) -> Result<()> {
        self.manner.is_terminal = true;
        let mut editor = editor::open(self.store.data()).into_diagnostic()?;
        print::note("`.help` lists what else there is; Ctrl-D ends.", self.context);
        loop {
            let text = match editor.read_line(&editor::Asks).into_diagnostic()? {
                Signal::Success(text) => text,
                Signal::CtrlD => break,
                _ => continue,
            };
            // A history that cannot be written is missed next time, and stops nobody now.
            let _ = editor.sync_history();
            match self.typed(&text).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(report) => print::error(&report, false),
            }
        }
        self.store.close().await;
        Ok(())
    }

    /// Does what was typed; `false` to end.
    async fn typed(&mut self, text: &str) -> Result<bool> {
        for (_, step) in script::steps(text) {
            match step {
                Step::Query(query) => self.query(&query).await?,
                Step::Command(line) => match self.command(&line, true)? {
                    Next::Continue => {}
                    Next::Quit => return Ok(false),
                    Next::Script(script) => self.script(&script).await?,
                },
            }
        }
        Ok(true)
    }

    /// Does what a script says, in order, up to the first error.
    ///
    /// # Errors
    /// What stopped it, and where that ends in the script.
    pub async fn script(&mut self, script: &Script) -> Result<()> {
        for (at, step) in script::steps(&script.text) {
            let done = match step {
                Step::Query(query) => self.query(&query).await.map(|()| Next::Continue),
                Step::Command(line) => self.command(&line, false),
            };
            let next = done.wrap_err_with(|| format!("line {at} of {}", script.origin))?;
            match next {
                Next::Continue => {}
                Next::Quit | Next::Script(_) => break,
            }
        }
        Ok(())
    }

    /// Answers one query.
    ///
    /// # Errors
    /// Why it was refused or broke off, or that the user interrupted it.
    pub async fn query(&mut self, text: &str) -> Result<()> {
        let began = Instant::now();
        let file = self.chosen_file()?;
        let written = if self.manner.is_terminal {
            let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
            tokio::select! {
                // To give an answer up ends the process that makes it.
                _ = interrupt.recv() => Err(miette!("interrupted")),
                written = self.answer(text, file) => written,
            }?
        } else {
            self.answer(text, file).await?
        };
        for line in &written.notes {
            print::note(line, self.context);
        }
        if self.manner.timer {
            let seconds = began.elapsed().as_secs_f64();
            print::note(
                &format!("Run Time (s): real {seconds:.3}, rows {}", written.rows),
                self.context,
            );
        }
        self.manner.last = Some(text.to_owned());
        Ok(())
    }

    async fn answer(&self, text: &str, file: Option<File>) -> Result<Written> {
        let query = Query {
            text: text.to_owned(),
            parameters: self.parameters.clone(),
            as_of: self.as_of,
            ..Query::default()
        };
        let rows = self.workers.run_user_sql(&query).await.into_diagnostic()?;
        let width = match file {
            Some(_) => None,
            None => print::terminal_width(),
        };
        let mut out = self.out(file);
        if self.manner.explain.applies(&rows.schema(), self.format) {
            return plan::write(rows, &mut out).await;
        }
        let form = Form {
            width,
            ..Form::from(self.format)
        };
        print::rows_to(rows, form, &mut out).await
    }

    /// The file that the user chose for what comes next, if he did.
    fn chosen_file(&mut self) -> Result<Option<File>> {
        match self.manner.once.take() {
            Some(file) => Ok(Some(file)),
            None => {
                let output = self.manner.output.as_ref();
                output.map(File::try_clone).transpose().into_diagnostic()
            }
        }
    }

    /// Where an answer goes.
    fn out(&self, file: Option<File>) -> Box<dyn Write + Send> {
        match file {
            Some(file) => Box::new(BufWriter::new(file)),
            None if self.manner.is_terminal => Box::new(print::Output::paged()),
            None => Box::new(BufWriter::new(print::Output::stdout())),
        }
    }
}
