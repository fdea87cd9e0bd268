//! What the word under the cursor may become: dot-commands and what they take; tables after FROM; columns of the tables
//! that the query reads; functions; keywords.

use super::commands::COMMANDS;
use super::saved;
use reedline::{Span, Suggestion};
use schemas::Dataset;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store::export::Format;
use store::query::FUNCTIONS;
use store::query::text::{Part, parts};

/// What queries are made of, apart from names.
const KEYWORDS: &[&str] = &[
    "AND",
    "ANTI",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "GROUPING SETS",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS LAST",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "QUALIFY",
    "RIGHT",
    "ROLLUP",
    "SELECT",
    "SEMI",
    "SHOW TABLES",
    "THEN",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Functions that stand in FROM.
const TABLE_FUNCTIONS: &[&str] = &[
    "as_of('",
    "changes('",
    "search('",
    "text_search('",
    "unnest(",
    "vector_search('",
];

/// After these stands a table.
const BEFORE_TABLES: &[&str] = &["FROM", "JOIN", "DESCRIBE", "LATERAL"];

/// Completes what is typed.
pub struct Completer {
    data: PathBuf,
}

impl Completer {
    /// For the saved queries of this data directory.
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
        }
    }
}

impl reedline::Completer for Completer {
    fn complete(&mut self, line: &str, pos: usize) -> Vec<Suggestion> {
        let before = line.get(..pos).unwrap_or(line);
        let (start, found) = match before.strip_prefix('.') {
            Some(command) => of_command(command, &self.data),
            None => of_query(line, before),
        };
        let suggestion = |(value, description)| Suggestion {
            value,
            description,
            span: Span::new(start.min(pos), pos),
            ..Suggestion::default()
        };
        found.into_iter().map(suggestion).collect()
    }
}

/// A word with what it means.
type Found = (String, Option<String>);

fn bare(word: impl Into<String>) -> Found {
    (word.into(), None)
}

fn begins_with(word: &str, begun: &str) -> bool {
    word.get(..begun.len())
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(begun))
}

/// Where the last word of a text begins, and the word.
fn last_word(text: &str) -> (usize, &str) {
    let start = text.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    (start, text.get(start..).unwrap_or_default())
}

fn of_command(typed: &str, data: &Path) -> (usize, Vec<Found>) {
    let (start, begun) = last_word(typed);
    let words: Vec<String> = match typed.split_once(' ').map(|(command, _)| command) {
        None => COMMANDS.iter().map(|command| command.name.to_owned()).collect(),
        Some("mode") => Format::TEXT.iter().map(|&mode| mode.to_owned()).collect(),
        Some("explain") => ["auto", "on", "off"].map(str::to_owned).to_vec(),
        Some("timer") => ["on", "off"].map(str::to_owned).to_vec(),
        Some("parameter") => ["clear", "list", "set", "unset"].map(str::to_owned).to_vec(),
        Some("help") => COMMANDS.iter().map(|command| command.name.to_owned()).collect(),
        Some("schema") => schemas::datasets::tables()
            .map(|table| table.name.to_owned())
            .collect(),
        Some("run") => saved::names(data),
        Some(_) => Vec::new(),
    };
    let fitting = words.into_iter().filter(|word| begins_with(word, begun));
    // Past the dot.
    (start + 1, fitting.map(bare).collect())
}

fn of_query(line: &str, before: &str) -> (usize, Vec<Found>) {
    let mut typed: Vec<(Part, &str)> = parts(before)
        .into_iter()
        .filter_map(|(part, span)| Some((part, before.get(span)?)))
        .collect();
    let begun = match typed.last() {
        Some((Part::Text | Part::Comment | Part::Unfinished | Part::Number | Part::Parameter, _)) => {
            return (before.len(), Vec::new());
        }
        Some((Part::Keyword | Part::Name, word)) => *word,
        _ => "",
    };
    if !begun.is_empty() {
        typed.pop();
    }
    let start = before.len() - begun.len();
    let read = Read::of(line);
    let found = match typed.as_slice() {
        [.., (_, whose), (Part::Sign, ".")] => read.columns(Some(whose)),
        _ => {
            let last = typed.iter().rev().find(|(part, _)| *part != Part::Space);
            let wants_table = last.is_some_and(|(_, word)| {
                BEFORE_TABLES
                    .iter()
                    .any(|before| word.eq_ignore_ascii_case(before))
            });
            match (wants_table, begun) {
                (true, _) => tables(),
                // A list that stays open while the next word begins would take the Enter that is meant for the query.
                (false, "") => Vec::new(),
                (false, _) => [read.columns(None), words()].concat(),
            }
        }
    };
    let fitting = found.into_iter().filter(|(word, _)| begins_with(word, begun));
    (start, fitting.collect())
}

fn tables() -> Vec<Found> {
    let tables =
        schemas::datasets::tables().map(|table| (table.name.to_owned(), Some(table.about.to_owned())));
    tables
        .chain(TABLE_FUNCTIONS.iter().map(|&function| bare(function)))
        .collect()
}

fn words() -> Vec<Found> {
    let functions = FUNCTIONS.iter().map(|name| bare(format!("{name}(")));
    let tables = schemas::datasets::tables().map(|table| bare(table.name));
    let keywords = KEYWORDS.iter().map(|&keyword| bare(keyword));
    keywords.chain(functions).chain(tables).collect()
}

/// The tables that a query reads, by the names that it gives them.
struct Read(BTreeMap<String, &'static Dataset>);

impl Read {
    fn of(line: &str) -> Self {
        let words = parts(line).into_iter().filter(|(part, _)| *part != Part::Space);
        let words: Vec<(Part, &str)> = words
            .filter_map(|(part, span)| Some((part, line.get(span)?)))
            .collect();
        let mut read = BTreeMap::new();
        for (n, (part, word)) in words.iter().enumerate() {
            // `emails`, or `'emails'` in a call.
            let (name, mut after) = match part {
                Part::Keyword | Part::Name => (*word, n + 1),
                Part::Text => (word.trim_matches('\''), n + 1),
                _ => continue,
            };
            let Some(dataset) = schemas::datasets::tables().find(|table| table.name == name) else {
                continue;
            };
            read.insert(dataset.name.to_owned(), dataset);
            if *part == Part::Text {
                let rest = words.iter().skip(after);
                after += rest.take_while(|(_, word)| *word != ")").count() + 1;
            }
            if words
                .get(after)
                .is_some_and(|(_, word)| word.eq_ignore_ascii_case("as"))
            {
                after += 1;
            }
            if let Some((Part::Name, alias)) = words.get(after) {
                read.insert(alias.to_lowercase(), dataset);
            }
        }
        Self(read)
    }

    /// The columns of a table, or of all that are read, or of all that there are.
    fn columns(&self, whose: Option<&str>) -> Vec<Found> {
        let named = whose.and_then(|name| self.0.get(&name.to_lowercase()));
        let mut tables: Vec<&Dataset> = match named {
            Some(dataset) => vec![dataset],
            None if self.0.is_empty() => schemas::datasets::tables().collect(),
            None => self.0.values().copied().collect(),
        };
        tables.dedup_by_key(|dataset| dataset.name);
        let mut columns: Vec<Found> = Vec::new();
        for column in tables.iter().flat_map(|dataset| dataset.all_columns()) {
            if !columns.iter().any(|(name, _)| name == column.name) {
                columns.push((column.name.to_owned(), Some(column.doc.to_owned())));
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reedline::Completer as _;

    /// What the `|` in a line may become.
    fn completed(line: &str) -> Vec<String> {
        let pos = line.find('|').unwrap();
        let line = line.replace('|', "");
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("queries")).unwrap();
        std::fs::write(data.path().join("queries/recent.sql"), "select 1;").unwrap();
        let found = Completer::new(data.path()).complete(&line, pos);
        let whole = |found: Suggestion| {
            let (before, after) = (&line[..found.span.start], &line[found.span.end..]);
            format!("{before}{}{after}", found.value)
        };
        found.into_iter().map(whole).collect()
    }

    #[test]
    fn a_word_becomes_what_fits_its_place() {
        for (line, wanted) in [
            ("sel|", "SELECT"),
            ("select subj|", "select subject"),
            ("select * from ema|", "select * from emails"),
            (
                "select * from emails where subj|",
                "select * from emails where subject",
            ),
            ("select subj| from emails", "select subject from emails"),
            (
                "select e.fro| from emails as e",
                "select e.from_addr from emails as e",
            ),
            ("select r.st| from runs r", "select r.state from runs r"),
            ("select coal| from emails", "select coalesce( from emails"),
            (
                "select o.subj| from as_of('emails', 3) o",
                "select o.subject from as_of('emails', 3) o",
            ),
            ("select 1 from cha|", "select 1 from changes('"),
            (".mo|", ".mode"),
            (".mode cs|", ".mode csv"),
            (".schema git_com|", ".schema git_commits"),
            (".run re|", ".run recent"),
        ] {
            let found = completed(line);
            assert!(found.iter().any(|found| found == wanted), "{line}: {found:?}");
        }
    }

    #[test]
    fn a_word_becomes_nothing_that_does_not_fit() {
        for line in [
            "select 'sel|'",
            "-- sel|",
            "select 12|",
            ".read fi|",
            "select zzz|",
        ] {
            assert_eq!(completed(line), Vec::<String>::new(), "{line}");
        }
        let found = completed("select r.s| from runs r join emails e on true");
        assert!(
            !found.iter().any(|found| found.contains("r.subject")),
            "{found:?}"
        );
    }

    #[test]
    fn keywords_are_in_order() {
        assert!(KEYWORDS.is_sorted());
    }
}
