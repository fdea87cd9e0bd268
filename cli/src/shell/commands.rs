//! The dot-commands, with the meanings that SQLite's and DuckDB's shells gave them.
//!
//! - In: a line without its dot. Out: settings changed, words printed, or a script to run.
//! - A script that came from a file or a pipe can use no command that reads or writes files: whoever wrote the script
//!   need not be the one who runs it.

use super::{Next, Script, Shell, saved};
use crate::config;
use miette::{IntoDiagnostic, Result, WrapErr, bail, miette};
use schemas::{Dataset, Kind};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use store::export::Format;
use store::query::parameter;

/// A command, for `.help` and completion.
pub struct Command {
    pub name: &'static str,
    arguments: &'static str,
    about: &'static str,
    touches_files: bool,
}

const fn command(name: &'static str, arguments: &'static str, about: &'static str) -> Command {
    Command {
        name,
        arguments,
        about,
        touches_files: false,
    }
}

const fn with_files(command: Command) -> Command {
    Command {
        touches_files: true,
        ..command
    }
}

/// All of them. The beginning of a name that no other has is enough.
pub const COMMANDS: &[Command] = &[
    command("exit", "", "End, as Ctrl-D does"),
    command(
        "explain",
        "auto|on|off",
        "Show plans as text: where answers are tables, always, never",
    ),
    command("help", "[COMMAND]", "List the commands"),
    command(
        "mode",
        "[MODE]",
        "Write answers as table, line, csv, json, ndjson or markdown",
    ),
    with_files(command("once", "FILE", "Write the next answer to a file")),
    with_files(command(
        "output",
        "[FILE]",
        "Write answers to a file; without one, show them again",
    )),
    command(
        "parameter",
        "set NAME VALUE | unset NAME | clear | list",
        "Give `:NAME` a value, or take it away",
    ),
    command("quit", "", "End, as Ctrl-D does"),
    with_files(command("read", "FILE", "Do what a file says")),
    with_files(command("run", "NAME", "Do what a saved query says")),
    with_files(command("save", "NAME", "Save the last query, under a name")),
    command("saved", "", "List the saved queries"),
    command(
        "schema",
        "[TABLE]",
        "Describe tables and their columns; `%` stands for any text",
    ),
    command(
        "tables",
        "[TEXT]",
        "List the tables whose names contain it; `%` stands for any text",
    ),
    command("timer", "on|off", "Tell how long answers took"),
];

impl Shell<'_> {
    /// Does what a line says, without its dot.
    pub(super) fn command(&mut self, line: &str, is_typed: bool) -> Result<Next> {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let command = found(name)?;
        if command.touches_files && !is_typed {
            bail!(
                help = "redirect the output of `dkc sql`, or type the command at its prompt",
                "a script cannot use `.{}`, which reads or writes a file",
                command.name
            );
        }
        let rest = unquoted(rest.trim());
        let usage = || miette!("write .{} {}", command.name, command.arguments);
        match (command.name, rest) {
            ("exit" | "quit", _) => return Ok(Next::Quit),
            ("explain", rest) => self.manner.explain = rest.parse().map_err(|()| usage())?,
            ("help", rest) => self.show(&help(rest)?)?,
            ("mode", "") => self.show(&format!("mode: {}\n", mode_name(self.format)))?,
            ("mode", mode) => self.format = mode_of(mode)?,
            ("once", path) if !path.is_empty() => self.manner.once = Some(self.made(path)?),
            ("output", "" | "stdout") => self.manner.output = None,
            ("output", path) => self.manner.output = Some(self.made(path)?),
            ("parameter", rest) => self.parameter(rest).ok_or_else(usage)??,
            ("read", path) if !path.is_empty() => {
                let text = std::fs::read_to_string(path)
                    .into_diagnostic()
                    .wrap_err_with(|| format!("cannot read `{path}`"))?;
                let origin = format!("`{path}`");
                return Ok(Next::Script(Script { origin, text }));
            }
            ("run", name) if !name.is_empty() => {
                let text = saved::text(self.store.data(), name)?;
                let origin = format!("the saved query `{name}`");
                return Ok(Next::Script(Script { origin, text }));
            }
            ("save", name) if !name.is_empty() => {
                let last = self.manner.last.as_deref();
                let last = last.ok_or_else(|| miette!("there is no query to save yet"))?;
                let path = saved::save(self.store.data(), name, last)?;
                self.show(&format!("{}\n", path.display()))?;
            }
            ("saved", _) => {
                let names = saved::names(self.store.data());
                self.show(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
            }
            ("schema", name) => self.show(&schema(name)?)?,
            ("tables", part) => {
                let part = part.to_lowercase();
                let named = schemas::datasets::tables().filter(|table| match part.contains('%') {
                    true => is_like(table.name, &part),
                    false => table.name.contains(&part),
                });
                let lines = named.map(|dataset| format!("{:<18} {}\n", dataset.name, dataset.about));
                self.show(&lines.collect::<String>())?;
            }
            ("timer", "on") => self.manner.timer = true,
            ("timer", "off") => self.manner.timer = false,
            _ => return Err(usage()),
        }
        Ok(Next::Continue)
    }

    /// Prints words where answers go.
    fn show(&mut self, text: &str) -> Result<()> {
        let file = self.chosen_file()?;
        let mut out = self.out(file);
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .into_diagnostic()
    }

    /// A new file for answers.
    fn made(&self, path: &str) -> Result<File> {
        if self.store.holds(Path::new(path)) {
            bail!(
                help = "choose a folder outside it",
                "`{path}` is in the data directory, which is dkc's own"
            );
        }
        File::create(path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write `{path}`"))
    }

    /// `None` when it is used wrongly.
    fn parameter(&mut self, rest: &str) -> Option<Result<()>> {
        let (verb, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let rest = rest.trim();
        let bare = |name: &str| name.trim_start_matches([':', '$', '@']).to_owned();
        match verb {
            "set" => {
                let (name, value) = rest.split_once(char::is_whitespace)?;
                self.parameters.insert(bare(name), parameter(value.trim()));
            }
            "unset" => drop(self.parameters.remove(&bare(rest))),
            "clear" => self.parameters.clear(),
            "list" => {
                let lines = self
                    .parameters
                    .iter()
                    .map(|(name, value)| format!(":{name} {value}\n"));
                let text: String = lines.collect();
                return Some(self.show(&text));
            }
            _ => return None,
        }
        Some(Ok(()))
    }
}

/// The command of that name, or of that beginning.
fn found(name: &str) -> Result<&'static Command> {
    let exact = COMMANDS.iter().find(|command| command.name == name);
    let is_begun = |command: &&Command| !name.is_empty() && command.name.starts_with(name);
    let begun: Vec<&Command> = COMMANDS.iter().filter(is_begun).collect();
    match (exact, begun.as_slice()) {
        (Some(command), _) => Ok(command),
        (None, [command]) => Ok(*command),
        (None, []) => Err(miette!(
            help = config::nearest(name, COMMANDS.iter().map(|command| command.name)),
            "there is no command `.{name}`"
        )),
        (None, several) => {
            let names: Vec<String> = several
                .iter()
                .map(|command| format!("`.{}`", command.name))
                .collect();
            Err(miette!(
                help = format!("write {}", names.join(" or ")),
                "`.{name}` is the beginning of {} commands",
                several.len()
            ))
        }
    }
}

/// The text between quotes, if it is in some: a path may have spaces.
fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(text)
}

fn help(name: &str) -> Result<String> {
    let name = name.trim_start_matches('.');
    let commands: Vec<&Command> = match name {
        "" => COMMANDS.iter().collect(),
        name => vec![found(name)?],
    };
    let lines = commands.iter().map(|command| {
        format!(
            ".{:<9} {:<43} {}\n",
            command.name, command.arguments, command.about
        )
    });
    let mut text: String = lines.collect();
    if name.is_empty() {
        text.push_str(
            "A query ends with `;` and may take many lines. Tab completes, Ctrl-R searches what was typed before,\n\
             Ctrl-C gives up what is running or being typed, Ctrl-D ends.\n",
        );
    }
    Ok(text)
}

fn mode_of(mode: &str) -> Result<Format> {
    let name = match mode {
        // As others call them.
        "box" | "duckbox" | "column" => "table",
        "jsonlines" => "ndjson",
        other => other,
    };
    if Format::TEXT.contains(&name)
        && let Ok(format) = name.parse()
    {
        return Ok(format);
    }
    Err(miette!(
        help = config::nearest(mode, Format::TEXT.iter().copied()),
        "there is no mode `{mode}`"
    ))
}

fn mode_name(format: Format) -> &'static str {
    let names = Format::TEXT.iter().copied();
    let mut same = names.filter(|name| name.parse().is_ok_and(|named: Format| named == format));
    same.next().unwrap_or_default()
}

/// Tables as statements that would make them, with what their columns mean.
fn schema(name: &str) -> Result<String> {
    let tables: Vec<&Dataset> = match name {
        "" => schemas::datasets::tables().collect(),
        pattern if pattern.contains('%') => {
            let wanted = pattern.to_lowercase();
            let named = schemas::datasets::tables().filter(|table| is_like(table.name, &wanted));
            named.collect()
        }
        name => vec![crate::commands::table(name)?],
    };
    if tables.is_empty() {
        bail!("no table is like `{name}`");
    }
    Ok(tables.into_iter().map(statement).collect())
}

/// Whether a name is like a pattern of SQL's LIKE. `_` means itself: names are full of it.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn statement(dataset: &Dataset) -> String {
    let columns = dataset.all_columns().map(|column| {
        let kind = match column.kind {
            Kind::Text => "VARCHAR",
            Kind::TextList => "VARCHAR[]",
            Kind::Int => "BIGINT",
            Kind::Float => "DOUBLE",
            Kind::Bool => "BOOLEAN",
            Kind::Instant => "TIMESTAMPTZ",
            Kind::Bytes => "BLOB",
        };
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("  {} {kind}{null}, -- {}\n", column.name, column.doc)
    });
    format!(
        "-- {}\nCREATE TABLE {} (\n{}  PRIMARY KEY ({})\n);\n",
        dataset.about,
        dataset.name,
        columns.collect::<String>(),
        dataset.key.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_its_name_or_a_beginning_of_it() {
        for (typed, name) in [
            ("save", "save"),
            ("saved", "saved"),
            ("param", "parameter"),
            ("q", "quit"),
        ] {
            assert_eq!(found(typed).unwrap().name, name);
        }
        for (typed, help) in [
            ("", "use one of"),
            ("nothing", "use one of"),
            ("sav", "write `.save` or `.saved`"),
            ("tabels", "did you mean `tables`?"),
        ] {
            let error = found(typed).map(|command| command.name).unwrap_err();
            let told = error.help().unwrap().to_string();
            assert!(told.contains(help), "{typed}: {told}");
        }
    }

    #[test]
    fn every_mode_has_its_name() {
        for name in Format::TEXT {
            assert_eq!(mode_name(mode_of(name).unwrap()), *name);
        }
        for others in ["box", "column", "duckbox"] {
            assert_eq!(mode_of(others).unwrap(), Format::Table);
        }
        assert!(mode_of("parquet").is_err());
    }

    #[test]
    fn a_name_is_like_a_pattern() {
        for (pattern, is) in [
            ("git_commits", true),
            ("git_%", true),
            ("%s", true),
            ("%comm%", true),
            ("g%t%s", true),
            ("%", true),
            ("git", false),
            ("%comm", false),
            ("commits%", false),
            ("%ts%s", false),
        ] {
            assert_eq!(is_like("git_commits", pattern), is, "{pattern}");
        }
        assert!(schema("nothing%").is_err());
        assert!(schema("GIT_comm%").unwrap().contains("CREATE TABLE git_commits"));
    }

    #[test]
    fn a_path_may_stand_in_quotes() {
        assert_eq!(unquoted("'a b.csv'"), "a b.csv");
        assert_eq!(unquoted("\"a b.csv\""), "a b.csv");
        assert_eq!(unquoted("it's"), "it's");
    }
}
