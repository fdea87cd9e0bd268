//! The only place that writes to standard output and standard error.
//!
//! Nothing printed can command a terminal: what was collected, or what a server said, may hold control
//! characters, and on a terminal they are shown as signs. So there is no colour either; only what is being
//! typed has some (`shell`).

mod fit;
mod pager;

pub use fit::{Columns, LeftOut, Moment};

use crate::context::Context;
use jiff::tz::TimeZone;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, IntoDiagnostic, Report, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use store::export::{self, ExportError, Form, Format, SendableRecordBatchStream, Written};

/// Prints lines of text.
///
/// # Errors
/// When standard output is closed.
pub fn text(text: &str) -> Result<()> {
    let mut out = Output::stdout();
    writeln!(out, "{}", text.trim_end()).into_diagnostic()
}

/// Prints a value as JSON.
///
/// # Errors
/// When standard output is closed.
pub fn json(value: &impl Serialize) -> Result<()> {
    text(&serde_json::to_string_pretty(value).into_diagnostic()?)
}

/// Prints a small table, as wide as it is.
///
/// # Errors
/// When standard output is closed.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Result<()> {
    table_of(&header, rows.into_iter().map(Vec::from))
}

/// The same, with as many columns as the header has.
///
/// # Errors
/// When standard output is closed.
pub fn table_of(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(header.iter().copied());
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| export::visible(cell).into_owned()));
    }
    text(&table.to_string())
}

/// Prints a table, of which a narrow terminal gets fewer columns. `rows` writes moments as it is told.
///
/// # Errors
/// When standard output is closed.
pub fn table_fitted<const N: usize>(
    columns: &Columns<N>,
    rows: impl Fn(Moment) -> Vec<[String; N]>,
) -> Result<()> {
    let Some(width) = terminal_width() else {
        return table(columns.header, rows(moment));
    };
    let (header, rows) = columns.shown(rows, width);
    table_of(&header, rows)
}

/// A moment to the second, as tables and sentences show it: on the clock of this machine, and how far that is from UTC.
/// JSON has microseconds since 1970 instead.
pub fn moment(instant: schemas::Instant) -> String {
    moment_in(instant, TimeZone::system())
}

/// A moment to the minute, on the clock of this machine; which year it is of is known.
pub fn minute(instant: schemas::Instant) -> String {
    let at = jiff::Timestamp::from_microsecond(instant).map(|at| at.to_zoned(TimeZone::system()));
    at.map_or_else(|_| String::new(), |at| at.strftime("%m-%d %H:%M").to_string())
}

fn moment_in(instant: schemas::Instant, zone: TimeZone) -> String {
    let at = jiff::Timestamp::from_microsecond(instant).map(|at| at.to_zoned(zone));
    at.map_or_else(
        |_| String::new(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    )
}

/// So many of something whose name takes an s where they are several or none.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, name: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {name}{s}")
}

/// Prints the rows of a query as they come, as JSON with `--json`, and notes about them on standard error.
///
/// # Errors
/// When the query breaks off, or standard output is closed.
pub async fn rows(
    stream: SendableRecordBatchStream,
    form: impl Into<Form<'_>>,
    context: &Context,
) -> Result<Written> {
    let form = form.into();
    let form = Form {
        format: if context.json { Format::Json } else { form.format },
        width: terminal_width(),
        ..form
    };
    let written = rows_to(stream, form, &mut io::BufWriter::new(Output::stdout())).await?;
    for line in &written.notes {
        note(line, context);
    }
    Ok(written)
}

/// Writes the rows of a query as they come, for people or programs to read at once.
///
/// # Errors
/// When the query breaks off, or `out` refuses.
pub async fn rows_to(
    stream: SendableRecordBatchStream,
    form: Form<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Written> {
    let written = match export::write_stream(stream, form, out).await {
        // Whoever reads it in a pager has seen enough. Of standard output `main` hears.
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe && !reader_left() => {
            return Ok(Written::default());
        }
        written => written.into_diagnostic()?,
    };
    if form.format == Format::Json {
        out.write_all(b"\n")
            .and_then(|()| out.flush())
            .into_diagnostic()?;
    }
    Ok(written)
}

/// Warns the user on standard error, also with `--quiet`: where nobody looks on, as in a crontab, it is what gets mailed.
pub fn warning(text: &str) {
    let _ = writeln!(Output::stderr(), "{text}");
}

/// Tells the user something on standard error, unless `--quiet`; with `--json`, as JSON in a line of its own.
pub fn note(text: &str, context: &Context) {
    if !context.quiet {
        // There is nowhere left to say that standard error is closed.
        let _ = writeln!(Output::stderr(), "{}", note_text(text, context.json));
    }
}

fn note_text(text: &str, json: bool) -> String {
    match json {
        true => json!({ "note": text }).to_string(),
        false => text.to_owned(),
    }
}

/// Prints why the command failed.
pub fn error(report: &Report, json: bool) {
    let text = if json {
        json!({ "error": as_json(&**report) }).to_string()
    } else {
        as_text(report)
    };
    let _ = writeln!(Output::stderr(), "{}", text.trim_end());
}

/// Exit code of a command whose arguments or configuration are wrong.
pub const USED_WRONGLY: u8 = 2;

/// Prints why the arguments are wrong, or the help that was asked for.
pub fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let text = error.render().to_string();
    if !error.use_stderr() {
        return match self::text(&text) {
            Err(_) if !reader_left() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        };
    }
    let text = if wants_json {
        let mut lines = text.trim_start_matches("error: ").lines();
        let message = lines.next().unwrap_or_default().to_owned();
        let help = lines
            .filter(|line| !line.trim().is_empty())
            .collect::<Vec<_>>()
            .join("\n");
        json!({ "error": { "message": message, "help": help, "causes": [] } }).to_string()
    } else {
        text
    };
    let _ = writeln!(Output::stderr(), "{}", text.trim_end());
    ExitCode::from(USED_WRONGLY)
}

/// Begins to log to standard error: warnings (with `--quiet` too), more with `-v`, or what the variable `DKC_LOG` says.
pub fn start_log(context: &Context) {
    let level = match context.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("DKC_LOG");
    let mut filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // At `trace` the one prints what is sent to the server, and so the password. The other prints what it finds wrong
    // with a video, which is in `rejects`. Lance warns of each table that it makes, rmcp of each mistake of an agent, which is
    // told it.
    for silent in [
        "async_imap::imap_stream=info",
        "nom_exif=off",
        "lance=error",
        "bollard=info",
        "rmcp=error",
    ] {
        if let Ok(silent) = silent.parse() {
            filter = filter.add_directive(silent);
        }
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Output::stderr)
        .init();
}

/// Width of the terminal that standard output is, if it is one.
pub fn terminal_width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Whether writing to standard output has failed because its reader is gone.
pub fn reader_left() -> bool {
    READER_LEFT.load(Ordering::Relaxed)
}

/// The same printed, where the exit code tells what was found: that nobody read it to its end is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason.
pub fn unless_left(printed: Result<()>) -> Result<()> {
    if reader_left() { Ok(()) } else { printed }
}

static READER_LEFT: AtomicBool = AtomicBool::new(false);

fn as_text(report: &Report) -> String {
    let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0).clamp(40, 120));
    // Only the line of the mistake is shown: its neighbours may hold what is nobody's business.
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_context_lines(0)
        .with_links(false)
        .with_width(width);
    let mut text = String::new();
    match handler.render_report(&mut text, &**report) {
        Ok(()) => text,
        Err(_) => format!("{report}"),
    }
}

/// The same for programs: message, help, causes, and where it is in a file.
fn as_json(error: &dyn Diagnostic) -> Value {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let mut value = json!({
        "message": error.to_string(),
        "help": error.help().map(|help| help.to_string()),
        "causes": causes,
    });
    let label = error.labels().and_then(|mut labels| labels.next());
    let place = error
        .source_code()
        .zip(label)
        .and_then(|(text, label)| text.read_span(label.inner(), 0, 0).ok());
    if let (Some(object), Some(place)) = (value.as_object_mut(), place) {
        let at = json!({ "file": place.name(), "line": place.line() + 1, "column": place.column() + 1 });
        object.insert("at".to_owned(), at);
    }
    if let (Some(object), Some(related)) = (value.as_object_mut(), error.related()) {
        object.insert("mistakes".to_owned(), related.map(as_json).collect());
    }
    value
}

/// Standard output or standard error. On a terminal, control characters but the line end and the tab are
/// shown as signs.
pub struct Output {
    out: Box<dyn Write + Send>,
    is_stdout: bool,
    is_terminal: bool,
    /// The bytes of a character whose other bytes are still to come.
    begun: Vec<u8>,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            out: Box::new(io::stdout()),
            is_stdout: true,
            is_terminal,
            begun: Vec::new(),
        }
    }

    /// Standard output, which is a terminal, or a pager for what does not fit its screen.
    pub fn paged() -> Self {
        // The prompt needs a line too.
        let height = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
        Self {
            out: Box::new(pager::Pager::new(height.saturating_sub(1))),
            is_stdout: false,
            is_terminal: true,
            begun: Vec::new(),
        }
    }

    fn stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self {
            out: Box::new(io::stderr()),
            is_stdout: false,
            is_terminal,
            begun: Vec::new(),
        }
    }

    fn watch<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done
            && self.is_stdout
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            READER_LEFT.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            let done = self.out.write(bytes);
            return self.watch(done);
        }
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len(),
        };
        let rest = self.begun.split_off(whole);
        let text = std::mem::replace(&mut self.begun, rest);
        let done = self
            .out
            .write_all(shown(&String::from_utf8_lossy(&text)).as_bytes());
        self.watch(done).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.watch(done)
    }
}

/// `text` as a terminal may have it.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(['\n', '\t']) {
        let kept = part.trim_end_matches(['\n', '\t']);
        shown.push_str(&export::visible(kept));
        shown.push_str(part.get(kept.len()..).unwrap_or_default());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_line_ends_and_tabs_but_no_other_control_character() {
        assert_eq!(
            shown("a\tb\n\u{1b}[2J\r\n\u{9b}1m\u{7f}ü"),
            "a\tb\n␛[2J␍\n\\u{9b}1m␡ü"
        );
    }

    #[test]
    fn a_moment_is_shown_on_a_clock_and_says_which() {
        let at = 1_774_746_000_000_000;
        assert_eq!(moment_in(at, TimeZone::UTC), "2026-03-29T01:00:00+00:00");
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        // The clock there went on by an hour just then.
        assert_eq!(moment_in(at, berlin.clone()), "2026-03-29T03:00:00+02:00");
        assert_eq!(moment_in(at - 1, berlin), "2026-03-29T01:59:59+01:00");
        assert_eq!(moment_in(i64::MAX, TimeZone::UTC), "");
    }

    #[test]
    fn a_note_beside_results_as_json_is_json() {
        assert_eq!(note_text("no `x`", false), "no `x`");
        assert_eq!(note_text("no `x`", true), r#"{"note":"no `x`"}"#);
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(counted(1_usize, "check"), "1 check");
        assert_eq!(counted(0_u64, "check"), "0 checks");
        assert_eq!(counted(2_u64, "data file"), "2 data files");
    }

    #[test]
    fn a_character_written_in_two_pieces_stays_one() {
        let mut out = Output {
            out: Box::new(io::sink()),
            is_stdout: false,
            is_terminal: true,
            begun: Vec::new(),
        };
        assert_eq!(out.write(&[b'a', 0xc3]).unwrap(), 2);
        assert_eq!(out.begun, [0xc3]);
        assert_eq!(out.write(&[0xbc]).unwrap(), 1);
        assert!(out.begun.is_empty());
    }
}
