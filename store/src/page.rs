//! A page of the rows of a dataset: some columns, filters, an order, and where the page before it ended.
//!
//! - In: a [`Page`], whose names and values were checked against the dataset. Out: the rows, from memory
//!   ([`Listing`]), or the same question as SQL for all that is not in memory.
//! - The order is that of one column, rows without a value last, then that of the key, so that each row has one place.
//!   It is turned round as a whole, but for rows without a value.
//! - Not here: what a request looks like, who may see what (`serve`).

mod cell;
mod fitting;
mod listing;
mod order;

pub use cell::Cell;
pub use listing::Listing;

use crate::query::Parameters;
use schemas::{Column, Dataset, Kind};

/// How a value of a column is compared with that of a filter. A row without a value fits none but [`Compare::IsNull`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// It is the same.
    Equal,
    /// It is another.
    NotEqual,
    /// It is less.
    Less,
    /// It is less or the same.
    AtMost,
    /// It is more.
    More,
    /// It is more or the same.
    AtLeast,
    /// It contains this text, upper and lower case the same.
    Contains,
    /// The list contains this text.
    Has,
    /// There is none.
    IsNull,
    /// There is one.
    IsNotNull,
}

impl Compare {
    /// All, by the names that requests give them.
    pub const ALL: &[(&str, Self)] = &[
        ("eq", Self::Equal),
        ("ne", Self::NotEqual),
        ("lt", Self::Less),
        ("le", Self::AtMost),
        ("gt", Self::More),
        ("ge", Self::AtLeast),
        ("contains", Self::Contains),
        ("has", Self::Has),
        ("null", Self::IsNull),
        ("notnull", Self::IsNotNull),
    ];

    /// Whether it can be asked of a column.
    pub fn fits(self, kind: Kind) -> bool {
        match self {
            Self::IsNull | Self::IsNotNull => true,
            Self::Contains => kind == Kind::Text,
            Self::Has => kind == Kind::TextList,
            Self::Equal | Self::NotEqual => !matches!(kind, Kind::TextList | Kind::Bytes),
            Self::Less | Self::AtMost | Self::More | Self::AtLeast => {
                !matches!(kind, Kind::TextList | Kind::Bytes | Kind::Bool)
            }
        }
    }

    /// Whether it needs no value.
    pub fn is_unary(self) -> bool {
        matches!(self, Self::IsNull | Self::IsNotNull)
    }
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Of this column.
    pub column: &'static Column,
    /// Compared so.
    pub compare: Compare,
    /// With this; [`Cell::Null`] where it needs none.
    pub value: Cell,
}

impl Filter {
    /// Whether what fits it stands together where rows are in the order of its column.
    fn is_range(&self) -> bool {
        !matches!(
            self.compare,
            Compare::NotEqual | Compare::Contains | Compare::Has | Compare::IsNotNull
        )
    }
}

/// Where the page before ended: the last row's value in the column of the order, and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct After {
    /// Its value.
    pub value: Cell,
    /// Its key.
    pub key: Vec<Cell>,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Of which dataset.
    pub dataset: &'static Dataset,
    /// These columns.
    pub columns: Vec<&'static Column>,
    /// Of the rows that fit all of these.
    pub filters: Vec<Filter>,
    /// In the order of this column.
    pub order: &'static Column,
    /// Turned round.
    pub descending: bool,
    /// After this row.
    pub after: Option<After>,
    /// So many at most.
    pub rows: usize,
}

impl Page {
    /// The columns of the key, in the table's order.
    pub fn key(&self) -> Vec<&'static Column> {
        key_of(self.dataset)
    }

    /// The columns that are given: the page's own, and those that tell where it ended.
    fn given(&self) -> impl Iterator<Item = &'static Column> {
        let own = self.columns.iter().copied();
        own.chain([self.order]).chain(self.key())
    }

    /// The columns that are read: the filters' too.
    fn read(&self) -> impl Iterator<Item = &'static Column> {
        self.given()
            .chain(self.filters.iter().map(|filter| filter.column))
    }

    /// It as a query: its own columns, then the order's, then those of the key, which whoever asks needs to tell where
    /// the page ended. Values are parameters.
    pub fn to_sql(&self) -> (String, Parameters) {
        let mut parameters = Parameters::new();
        let mut bind = |value: &Cell| {
            let name = format!("p{}", parameters.len());
            let cast = match value {
                Cell::Instant(_) => format!("CAST(:{name} AS TIMESTAMP WITH TIME ZONE)"),
                _ => format!(":{name}"),
            };
            parameters.insert(name, value.to_json());
            cast
        };
        let mut conditions: Vec<String> = Vec::new();
        for Filter {
            column,
            compare,
            value,
        } in &self.filters
        {
            let name = quoted(column);
            conditions.push(match compare {
                Compare::IsNull => format!("{name} IS NULL"),
                Compare::IsNotNull => format!("{name} IS NOT NULL"),
                Compare::Contains => format!("strpos(lower({name}), lower({})) > 0", bind(value)),
                Compare::Has => format!("array_has({name}, {})", bind(value)),
                Compare::Equal => format!("{name} = {}", bind(value)),
                Compare::NotEqual => format!("{name} <> {}", bind(value)),
                Compare::Less => format!("{name} < {}", bind(value)),
                Compare::AtMost => format!("{name} <= {}", bind(value)),
                Compare::More => format!("{name} > {}", bind(value)),
                Compare::AtLeast => format!("{name} >= {}", bind(value)),
            });
        }
        let beyond = if self.descending { "<" } else { ">" };
        let direction = if self.descending { "DESC" } else { "ASC" };
        let order = quoted(self.order);
        let key = self.key();
        if let Some(After { value, key: last }) = &self.after {
            // (a, b) > (x, y), written out: a > x, or a = x and b > y.
            let mut later = String::from("false");
            for (column, value) in key.iter().zip(last).rev() {
                let (name, value) = (quoted(column), bind(value));
                later = format!("({name} {beyond} {value} OR ({name} = {value} AND {later}))");
            }
            conditions.push(match value {
                Cell::Null => format!("({order} IS NULL AND {later})"),
                value => {
                    let value = bind(value);
                    format!(
                        "({order} {beyond} {value} OR ({order} = {value} AND {later}) OR {order} IS NULL)"
                    )
                }
            });
        }
        let mut columns: Vec<&'static Column> = self.columns.clone();
        for column in std::iter::once(self.order).chain(self.key()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let columns: Vec<String> = columns.into_iter().map(quoted).collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), self.dataset.name);
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql.push_str(&format!(" ORDER BY {order} {direction} NULLS LAST"));
        for column in key.iter().filter(|column| **column != self.order) {
            sql.push_str(&format!(", {} {direction}", quoted(column)));
        }
        sql.push_str(&format!(" LIMIT {}", self.rows));
        (sql, parameters)
    }
}

/// The columns of a dataset's key.
pub fn key_of(dataset: &'static Dataset) -> Vec<&'static Column> {
    let columns = dataset
        .key
        .iter()
        .filter_map(|name| dataset.all_columns().find(|column| column.name == *name));
    columns.collect()
}

fn quoted(column: &Column) -> String {
    format!("\"{}\"", column.name)
}
