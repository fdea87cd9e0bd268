//! A dataset → the SQL of its table: types, key, indexes, and its words as comments.
//!
//! - Out: statements, with every name quoted. Not here: who runs them, and when.

use schemas::{Column, Dataset, Home, Kind, Privacy, datasets};
use std::fmt::Write as _;

/// The schema that the tables are in.
pub const SCHEMA: &str = "dkc";

/// What of a dataset is published.
#[derive(Debug, Clone)]
pub struct Table {
    /// The dataset.
    pub dataset: &'static Dataset,
    /// Its columns, in the order of the dataset.
    pub columns: Vec<&'static Column>,
}

impl Table {
    /// A dataset with these columns, and those of its key.
    pub fn new(dataset: &'static Dataset, is_wanted: impl Fn(&Column) -> bool) -> Self {
        let columns = dataset
            .all_columns()
            .filter(|column| dataset.key.contains(&column.name) || is_wanted(column));
        Self {
            dataset,
            columns: columns.collect(),
        }
    }

    /// All that is published: what the lake has but originals, and columns that may hold a password. What is private
    /// is there for whom its owner grants it.
    pub fn all() -> impl Iterator<Item = Self> {
        datasets::ALL
            .iter()
            .filter(|dataset| dataset.home == Home::Lake && dataset.name != datasets::raw::DATASET.name)
            .map(|dataset| Self::new(dataset, |column| column.privacy < Privacy::Secret))
    }

    /// Names of its columns.
    pub fn column_names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|column| column.name).collect()
    }

    /// Where the columns of its key stand among its columns.
    pub fn key_places(&self) -> Vec<usize> {
        let places = self.columns.iter().enumerate();
        places
            .filter(|(_, column)| self.dataset.key.contains(&column.name))
            .map(|(place, _)| place)
            .collect()
    }

    /// What tells this table from one of another version of dkc.
    pub fn fingerprint(&self) -> String {
        let text = [
            self.create(),
            self.drop_indexes(),
            self.indexes(),
            self.comments(),
        ]
        .join("\n");
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("{}.{}", quoted(SCHEMA), quoted(self.dataset.name))
    }

    /// Makes it, without indexes: rows go in faster then.
    pub fn create(&self) -> String {
        let columns = self.columns.iter().map(|column| self.defined(column));
        format!("CREATE TABLE {} ({})", self.name(), listed(columns))
    }

    /// Brings an older one to these columns. `there` are those that it has, with their types.
    pub fn alter(&self, there: &[(String, String)]) -> String {
        let has = |column: &Column| {
            there
                .iter()
                .any(|(name, kind)| name == column.name && kind.eq_ignore_ascii_case(type_of(column.kind)))
        };
        let kept = |name: &str| {
            self.columns
                .iter()
                .any(|column| column.name == name && has(column))
        };
        let mut changes: Vec<String> = there
            .iter()
            .filter(|(name, _)| !kept(name))
            .map(|(name, _)| format!("DROP COLUMN {}", quoted(name)))
            .collect();
        for column in &self.columns {
            if !has(column) {
                changes.push(format!("ADD COLUMN {}", self.defined(column)));
            } else if self.dataset.key.contains(&column.name) {
                changes.push(format!("ALTER COLUMN {} SET NOT NULL", quoted(column.name)));
            } else {
                changes.push(format!("ALTER COLUMN {} DROP NOT NULL", quoted(column.name)));
            }
        }
        format!("ALTER TABLE {} {}", self.name(), changes.join(", "))
    }

    /// Takes its key and indexes away.
    pub fn drop_indexes(&self) -> String {
        let mut text = format!(
            "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}",
            self.name(),
            self.key_name()
        );
        for column in self.columns.iter().filter(|column| is_indexed(column)) {
            let _ = write!(
                text,
                "; DROP INDEX IF EXISTS {}.{}",
                quoted(SCHEMA),
                self.index_name(column)
            );
        }
        text
    }

    /// Gives it its key and indexes, and tells the planner what is in it.
    pub fn indexes(&self) -> String {
        // The key begins with `_source`, so that it finds the rows of a source too.
        let mut text = format!(
            "ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})",
            self.name(),
            self.key_name(),
            listed(self.dataset.key.iter().map(|name| quoted(name)))
        );
        for column in self.columns.iter().filter(|column| is_indexed(column)) {
            let _ = write!(
                text,
                "; CREATE INDEX {} ON {} ({})",
                self.index_name(column),
                self.name(),
                quoted(column.name)
            );
        }
        // Of columns that are compared; of lists it would take longer than all else. Autovacuum comes to them later.
        let compared = self
            .columns
            .iter()
            .filter(|column| is_indexed(column) || self.dataset.key.contains(&column.name));
        let compared = listed(compared.map(|column| quoted(column.name)));
        let _ = write!(text, "; ANALYZE {} ({compared})", self.name());
        text
    }

    /// Says in the database what the table and its columns are.
    pub fn comments(&self) -> String {
        let about = format!(
            "{} Kept in step with the lake by dkc, which overwrites changes.",
            self.dataset.about
        );
        let mut text = format!("COMMENT ON TABLE {} IS {}", self.name(), literal(&about));
        for column in &self.columns {
            let mut words = column.doc.to_owned();
            if let Some(source) = column.source {
                let _ = write!(words, " Defined by {source}.");
            }
            if column.privacy > Privacy::Open {
                words.push_str(" Private.");
            }
            let _ = write!(
                text,
                "; COMMENT ON COLUMN {}.{} IS {}",
                self.name(),
                quoted(column.name),
                literal(&words)
            );
        }
        text
    }

    /// The columns of its key, quoted.
    pub fn key(&self) -> Vec<String> {
        self.dataset.key.iter().map(|name| quoted(name)).collect()
    }

    /// Its columns, quoted.
    pub fn quoted_columns(&self) -> Vec<String> {
        self.columns.iter().map(|column| quoted(column.name)).collect()
    }

    fn defined(&self, column: &Column) -> String {
        // A file that is older than a column has nothing in it, whatever the dataset says today.
        let null = if self.dataset.key.contains(&column.name) {
            " NOT NULL"
        } else {
            ""
        };
        format!("{} {}{null}", quoted(column.name), type_of(column.kind))
    }

    fn key_name(&self) -> String {
        quoted(&format!("{}_key", self.dataset.name))
    }

    fn index_name(&self, column: &Column) -> String {
        quoted(&format!("{}_by_{}", self.dataset.name, column.name))
    }
}

/// The type of PostgreSQL for a kind, as `format_type` writes it.
pub const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::TextList => "text[]",
        Kind::Int => "bigint",
        Kind::Float => "double precision",
        Kind::Bool => "boolean",
        Kind::Instant => "timestamp with time zone",
        Kind::Bytes => "bytea",
    }
}

/// Whether people ask by it: what happened when.
fn is_indexed(column: &Column) -> bool {
    column.kind == Kind::Instant
}

/// A name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL has it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Things with commas between them.
pub fn listed(things: impl IntoIterator<Item = String>) -> String {
    things.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::emails;

    #[test]
    fn what_is_published_has_its_key_and_no_secret() {
        let tables: Vec<Table> = Table::all().collect();
        assert!(tables.iter().any(|table| table.dataset.name == "emails"));
        assert!(
            !tables
                .iter()
                .any(|table| ["raw", "runs"].contains(&table.dataset.name))
        );
        for table in &tables {
            assert_eq!(
                table.key_places().len(),
                table.dataset.key.len(),
                "{}",
                table.dataset.name
            );
            assert_eq!(
                table.dataset.key.first(),
                Some(&"_source"),
                "{}",
                table.dataset.name
            );
            assert!(
                table
                    .columns
                    .iter()
                    .all(|column| column.privacy < Privacy::Secret)
            );
            // PostgreSQL cuts longer names without a word, and two could become one.
            for column in &table.columns {
                assert!(table.index_name(column).len() <= 63 + 2, "{}", column.name);
            }
        }
    }

    #[test]
    fn names_and_words_are_quoted() {
        let table = Table::new(&emails::DATASET, |column| column.name == "to");
        assert_eq!(
            table.create(),
            r#"CREATE TABLE "dkc"."emails" ("_source" text NOT NULL, "_item" text NOT NULL, "to" text[])"#
        );
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        let words = Table::all().map(|table| table.comments()).collect::<String>();
        assert!(!words.contains('\\'), "a backslash would need another literal");
    }

    #[test]
    fn an_older_table_is_brought_to_the_columns_of_today() {
        let table = Table::new(&emails::DATASET, |column| ["to", "date"].contains(&column.name));
        let there = [
            ("_source", "text"),
            ("_item", "text"),
            ("date", "text"),
            ("gone", "bigint"),
            ("to", "text[]"),
        ];
        let there = there.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        let sql = table.alter(&there);
        assert!(sql.contains(r#"DROP COLUMN "date", DROP COLUMN "gone""#), "{sql}");
        assert!(
            sql.contains(r#"ADD COLUMN "date" timestamp with time zone"#),
            "{sql}"
        );
        assert!(!sql.contains(r#"ADD COLUMN "to""#), "{sql}");
        let other = Table::new(&emails::DATASET, |column| column.name == "to");
        assert_ne!(table.fingerprint(), other.fingerprint());
    }
}
