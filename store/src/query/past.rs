//! Time travel in FROM: `as_of('emails', MOMENT)` is the table as it was, `changes('emails', SINCE [, UNTIL])` the
//! rows inserted, updated and deleted between two moments, by key.
//!
//! - In: a parsed statement. Out: the same with these calls replaced by tables of bound snapshots and by queries over
//!   them, so that they are planned, filtered and joined like any other; and the snapshots to bind.
//! - Two snapshots are compared, not the files between them: a compaction changes every file and no row, and a row
//!   that changed and changed back is as it was.
//! - A column that was added later was null before.

use super::QueryError;
use super::parameters::text_of;
use crate::lake::as_of::AsOf;
use crate::lake::catalog::Catalog;
use crate::lake::index::NOT_COMPARED;
use datafusion::sql::sqlparser::ast::{self, TableFactor, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use schemas::{Column, Dataset, Home, Kind, datasets, near};
use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

/// The functions, with how they are called.
pub(super) const FUNCTIONS: &[(&str, &str)] = &[
    ("as_of", "write as_of('emails', MOMENT)"),
    (
        "changes",
        "write changes('emails', SINCE) or changes('emails', SINCE, UNTIL)",
    ),
];

/// The name of the catalog that is bound to a snapshot.
pub(super) fn catalog_of(snapshot: i64) -> String {
    format!("snapshot {snapshot}")
}

/// Replaces the calls in a statement, which reads the lake as it was at `current`, and gives the snapshots to bind.
pub(super) async fn rewrite(
    statement: &mut ast::Statement,
    catalog: &Catalog,
    asked: &super::Query,
    current: i64,
) -> Result<BTreeSet<i64>, QueryError> {
    if !mentions(statement) {
        return Ok(BTreeSet::new());
    }
    let mut past = Past {
        snapshots: catalog.snapshot_times().await.map_err(QueryError::past)?,
        columns: catalog.column_lives().await.map_err(QueryError::past)?,
        asked,
        current,
        bound: BTreeSet::new(),
    };
    match statement.visit(&mut past) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(past.bound),
    }
}

/// Whether a call of one of the functions may be in a statement.
fn mentions(statement: &mut ast::Statement) -> bool {
    struct Any;
    impl VisitorMut for Any {
        type Break = ();
        fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
            match called(table) {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        }
    }
    statement.visit(&mut Any).is_break()
}

/// The function that a part of FROM calls, with how to call it.
fn called(table: &TableFactor) -> Option<(&'static str, &'static str)> {
    let TableFactor::Table {
        name, args: Some(_), ..
    } = table
    else {
        return None;
    };
    let [part] = name.0.as_slice() else { return None };
    let name = &part.as_ident()?.value;
    let found = FUNCTIONS
        .iter()
        .find(|(function, _)| name.eq_ignore_ascii_case(function));
    found.copied()
}

struct Past<'a> {
    /// Newest first.
    snapshots: Vec<(i64, String)>,
    /// Table, column, the snapshot that brought it, and the one that took it away.
    columns: Vec<(String, String, i64, Option<i64>)>,
    asked: &'a super::Query,
    current: i64,
    bound: BTreeSet<i64>,
}

impl VisitorMut for Past<'_> {
    type Break = QueryError;

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<QueryError> {
        let Some((function, usage)) = called(table) else {
            return ControlFlow::Continue(());
        };
        match self.replaced(table, function, usage) {
            Ok(replaced) => {
                *table = replaced;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Past<'_> {
    fn replaced(
        &mut self,
        table: &TableFactor,
        function: &str,
        usage: &str,
    ) -> Result<TableFactor, QueryError> {
        let wrong = || QueryError::Past(format!("`{table}` cannot be read: {usage}"));
        let TableFactor::Table {
            alias,
            args: Some(arguments),
            ..
        } = table
        else {
            return Err(wrong());
        };
        let arguments = arguments
            .args
            .iter()
            .map(|argument| text_of(argument, &self.asked.parameters));
        let arguments: Vec<String> = arguments.collect::<Option<_>>().ok_or_else(wrong)?;
        let (name, moments) = arguments.split_first().ok_or_else(wrong)?;
        let shows = |dataset: &&Dataset| self.asked.view.shows(dataset.name);
        let dataset = datasets::table(name).filter(shows).ok_or_else(|| {
            let known = datasets::tables().filter(shows);
            let known = known.filter(|dataset| dataset.home == Home::Lake);
            let known = known.map(|dataset| dataset.name);
            QueryError::NoSuch(near::no_such("dataset", name, known))
        })?;
        if dataset.home != Home::Lake {
            return Err(QueryError::NotInLake(dataset.name.to_owned()));
        }
        let moments = moments.iter().map(|moment| self.moment(moment));
        let moments: Vec<i64> = moments.collect::<Result<_, _>>()?;
        let sql = match (function, moments.as_slice()) {
            ("as_of", [snapshot]) => {
                self.bound.extend([*snapshot, self.current]);
                format!(
                    "SELECT * FROM {} AS \"{}\"",
                    self.side(dataset, *snapshot),
                    dataset.name
                )
            }
            ("changes", [since, until @ ..]) if until.len() < 2 => {
                let until = until.first().copied().unwrap_or(self.current);
                if until < *since {
                    return Err(QueryError::Backwards {
                        since: *since,
                        as_of: until,
                    });
                }
                self.bound.extend([*since, until, self.current]);
                format!(
                    "SELECT * FROM ({}) AS \"changes\"",
                    self.comparison(dataset, *since, until)
                )
            }
            _ => return Err(wrong()),
        };
        let mut relation = relation(&sql)?;
        if let (Some(given), TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) =
            (alias, &mut relation)
        {
            *alias = Some(given.clone());
        }
        Ok(relation)
    }

    fn moment(&self, text: &str) -> Result<i64, QueryError> {
        let moment: AsOf = text
            .parse()
            .map_err(|wrong| QueryError::Past(format!("{wrong}")))?;
        moment
            .among(&self.snapshots)
            .map_err(|error| QueryError::Past(error.to_string()))
    }

    /// The names of the columns that a dataset had at a snapshot; none, if it was not there yet.
    fn columns_at(&self, dataset: &Dataset, snapshot: i64) -> HashSet<&str> {
        let lives = self.columns.iter().filter(|(table, _, begin, end)| {
            table == dataset.name && *begin <= snapshot && end.is_none_or(|end| end > snapshot)
        });
        lives.map(|(_, column, ..)| column.as_str()).collect()
    }

    /// A dataset as a snapshot has it. Where it was not there yet it had no row.
    fn side(&self, dataset: &Dataset, snapshot: i64) -> String {
        match self.columns_at(dataset, snapshot).is_empty() {
            true => format!("(SELECT * FROM {} WHERE false)", at(dataset, self.current)),
            false => at(dataset, snapshot),
        }
    }

    /// The query that compares a dataset with itself: digests of rows first, so that a table with long texts need not
    /// fit into memory, then the rows of the keys that differ.
    fn comparison(&self, dataset: &Dataset, since: i64, until: i64) -> String {
        let (then, now) = (self.columns_at(dataset, since), self.columns_at(dataset, until));
        let everything: HashSet<&str> = dataset.all_columns().map(|column| column.name).collect();
        let known = |there: &HashSet<&str>| match there.is_empty() {
            true => everything.clone(),
            false => everything
                .iter()
                .copied()
                .filter(|name| there.contains(name))
                .collect(),
        };
        let (now_side, then_side) = (self.side(dataset, until), self.side(dataset, since));
        let (now, then) = (known(&now), known(&then));
        let keys: Vec<String> = dataset.key.iter().map(|key| format!("\"{key}\"")).collect();
        let listed = keys.join(", ");
        let equal = |a: &str, b: &str| {
            let equal = keys.iter().map(|key| format!("{a}.{key} = {b}.{key}"));
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let either = keys
            .iter()
            .map(|key| format!("coalesce(n.{key}, o.{key}) AS {key}"));
        let either = either.collect::<Vec<_>>().join(", ");
        let first = keys.first().cloned().unwrap_or_default();
        // What neither side knows is not shown.
        let shown: Vec<&Column> = dataset
            .all_columns()
            .filter(|column| now.contains(column.name) || then.contains(column.name))
            .collect();
        let all = |there: &HashSet<&str>| {
            let columns = shown.iter().map(|column| match there.contains(column.name) {
                true => format!("t.\"{0}\" AS \"{0}\"", column.name),
                false => format!("NULL AS \"{}\"", column.name),
            });
            columns.collect::<Vec<_>>().join(", ")
        };
        format!(
            "WITH n AS (SELECT {listed}, {} AS digest FROM {now_side}), \
                  o AS (SELECT {listed}, {} AS digest FROM {then_side}), \
                  c AS (SELECT {either}, CASE WHEN o.{first} IS NULL THEN 'insert' WHEN n.{first} IS NULL THEN 'delete' \
                               ELSE 'update' END AS change \
                        FROM n FULL OUTER JOIN o ON {n_is_o} WHERE n.digest IS DISTINCT FROM o.digest) \
             SELECT c.change AS change, {} FROM c JOIN {now_side} t ON {c_is_t} WHERE c.change <> 'delete' \
             UNION ALL SELECT c.change AS change, {} FROM c JOIN {then_side} t ON {c_is_t} WHERE c.change = 'delete'",
            digest(dataset, &shown, &now),
            digest(dataset, &shown, &then),
            all(&now),
            all(&then),
            n_is_o = equal("n", "o"),
            c_is_t = equal("c", "t"),
        )
    }
}

/// A table of a snapshot.
fn at(dataset: &Dataset, snapshot: i64) -> String {
    format!("\"{}\".main.\"{}\"", catalog_of(snapshot), dataset.name)
}

/// A digest of what a row says, without its key and without when and by which run it was made. Originals count by the
/// SHA-256 that stands beside them, so that they need not be read; other bytes by a digest of their own.
fn digest(dataset: &Dataset, shown: &[&Column], there: &HashSet<&str>) -> String {
    let has_sha256 = dataset.all_columns().any(|column| column.name == "sha256");
    let said = shown
        .iter()
        .filter(|column| !dataset.key.contains(&column.name) && !NOT_COMPARED.contains(&column.name))
        .filter(|column| column.kind != Kind::Bytes || !has_sha256)
        .map(|column| {
            let name = match there.contains(column.name) {
                true => format!("\"{}\"", column.name),
                false => "NULL".to_owned(),
            };
            match (column.kind, name.as_str()) {
                (Kind::TextList, "NULL") => "NULL, chr(30), NULL".to_owned(),
                // With its length: an empty list is not a list of an empty text.
                (Kind::TextList, _) => {
                    format!("array_length({name}), chr(30), array_to_string({name}, chr(30))")
                }
                (Kind::Bytes, name) if name != "NULL" => format!("{name} IS NULL, md5({name})"),
                // NULL is not an empty text.
                _ => format!("{name} IS NULL, CAST({name} AS VARCHAR)"),
            }
        })
        .collect::<Vec<_>>()
        .join(", chr(31), ");
    format!("md5(concat({said}))")
}

/// The only part of FROM in a query of ours.
fn relation(sql: &str) -> Result<TableFactor, QueryError> {
    let broken =
        || QueryError::Engine("a query of dkc's own cannot be read; this is a bug of dkc".to_owned());
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql).map_err(|_| broken())?;
    let Some(ast::Statement::Query(query)) = statements.pop() else {
        return Err(broken());
    };
    match *query.body {
        ast::SetExpr::Select(mut select) => select.from.pop().map(|from| from.relation).ok_or_else(broken),
        _ => Err(broken()),
    }
}
