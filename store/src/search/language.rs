//! The query language, as programs for mail and photos have it.
//!
//! ```text
//! from:jane "annual report" (draft OR final) -invoice date:2024-01..2024-03
//! ```
//! - Words and phrases in quotes, all of which should be there; `OR` between two of them (it binds tighter, as in web
//!   searches); `-` or `NOT` before what must not be there; brackets. `AND` says what a blank says.
//! - `name:value` is an operator if the name is one of [`schemas::Operator`], in any case; blanks may follow the colon.
//!   Any other word with a colon is a word (`12:30`, `Re:`, a URL), with one exception: a name one slip away from an
//!   operator's (`form:jane`), if what follows fits that operator, is told as a mistake. Quotes make a word of anything.
//! - `*` in the value of an operator stands for anything; the value is then the whole of what it is compared with,
//!   else it may be any part of it. Case makes no difference.
//! - In: text, and the present moment for `yesterday`. Out: [`Query`], which prints as a query that means the same.
//! - Not here: what is found.

mod analysis;
mod grammar;
mod period;
mod values;

pub use analysis::Analysis;
pub use period::Period;

use jiff::Zoned;
use schemas::{Dataset, Operator, View, datasets};
use std::fmt::{self, Display};
use std::ops::Range;

/// Bytes of a query at most: some pages of text.
pub const MOST_BYTES: usize = 16 * 1024;

/// Words at most, those in quotes too. `a.b` is two, as the index has it.
pub const MOST_WORDS: usize = 1_000;

/// Phrases at most: of each all rows are looked for, and where in them its words stand.
pub const MOST_PHRASES: usize = 6;

/// Words in quotes at most.
pub const MOST_QUOTED: usize = 64;

/// Words that must not be there at most: of each all rows are looked for.
pub const MOST_UNWANTED: usize = 16;

/// Words beside operators within OR or NOT at most: of each all rows are looked for.
pub const MOST_MIXED: usize = 8;

/// Operators at most: each costs a scan of a column.
pub const MOST_OPERATORS: usize = 20;

/// Stars in a value at most; some that follow each other are one.
pub const MOST_STARS: usize = 8;

/// Brackets within each other at most.
pub const MOST_DEPTH: usize = 32;

/// What is searched for.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// All of these; at least two.
    All(Vec<Query>),
    /// One of these is enough; at least two.
    Any(Vec<Query>),
    /// Not this.
    Not(Box<Query>),
    /// A word, as it was written.
    Word(String),
    /// Words that follow each other.
    Phrase(String),
    /// What an operator asks for.
    Where(Condition),
}

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A text that one of the operator's columns has.
    Text {
        /// The operator.
        operator: Operator,
        /// The text; `*` stands for anything.
        value: String,
    },
    /// A span of time.
    Date(Period),
    /// A place.
    Near {
        /// Degrees, north positive.
        latitude: f64,
        /// Degrees, east positive.
        longitude: f64,
        /// Distance at most.
        kilometres: f64,
    },
    /// That there are attachments.
    Attachment,
    /// One of some datasets.
    In(Vec<&'static Dataset>),
}

/// Why a query cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of the query: {what}")]
pub struct WrongQuery {
    /// Characters before the mistake and one.
    pub column: usize,
    /// Its bytes.
    pub span: Range<usize>,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Query {
    /// Reads a query; `now` is what `yesterday` and `2weeks` count from.
    ///
    /// # Errors
    /// [`WrongQuery`] with the place of the mistake.
    pub fn parse(text: &str, now: &Zoned) -> Result<Self, WrongQuery> {
        grammar::parse(text, now)
    }

    /// Whether it names no dataset that a reader may not see.
    pub fn is_within(&self, view: &View) -> bool {
        match self {
            Self::All(queries) | Self::Any(queries) => queries.iter().all(|query| query.is_within(view)),
            Self::Not(query) => query.is_within(view),
            Self::Where(Condition::In(datasets)) => datasets.iter().all(|dataset| view.shows(dataset.name)),
            Self::Where(_) | Self::Word(_) | Self::Phrase(_) => true,
        }
    }

    /// Reads a query of a reader, who learns nothing of datasets that they may not see.
    ///
    /// # Errors
    /// What is wrong, in words; few of them where they could tell of what is hidden.
    pub fn parse_within(text: &str, now: &Zoned, view: &View) -> Result<Self, String> {
        let read = Self::parse(text, now);
        match (read, &view.datasets) {
            (read, None) => read.map_err(|wrong| wrong.to_string()),
            (Ok(query), Some(_)) if query.is_within(view) => Ok(query),
            _ => Err("the query cannot be read, or is `in:` a dataset that is not there".to_owned()),
        }
    }

    /// A query of words alone, whatever they look like; none of none.
    pub fn of_words(text: &str) -> Option<Self> {
        Self::all(
            text.split_whitespace()
                .map(|word| Self::Word(word.to_owned()))
                .collect(),
        )
    }

    /// All of some queries, which may themselves be all of some.
    pub fn all(queries: Vec<Self>) -> Option<Self> {
        let mut flat = Vec::with_capacity(queries.len());
        for query in queries {
            match query {
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        one_or(flat, Self::All)
    }

    /// The query, of rows of these datasets only.
    pub fn within(self, datasets: Vec<&'static Dataset>) -> Self {
        let only = Self::Where(Condition::In(datasets));
        match self {
            Self::All(mut queries) => {
                queries.push(only);
                Self::All(queries)
            }
            query => Self::All(vec![query, only]),
        }
    }

    /// Any of some queries, which may themselves be any of some.
    pub fn any(queries: Vec<Self>) -> Option<Self> {
        let mut flat = Vec::with_capacity(queries.len());
        for query in queries {
            match query {
                Self::Any(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        one_or(flat, Self::Any)
    }

    /// Not a query; twice not is it again.
    pub fn without(query: Self) -> Self {
        match query {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// The queries that must all hold.
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::All(queries) => queries,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether an index of words can answer it: words and phrases only, none of which is not wanted.
    pub fn is_words(&self) -> bool {
        match self {
            Self::All(queries) | Self::Any(queries) => queries.iter().all(Self::is_words),
            Self::Word(_) | Self::Phrase(_) => true,
            Self::Not(_) | Self::Where(_) => false,
        }
    }

    /// The conjuncts that an index of words finds.
    pub fn words(&self) -> impl Iterator<Item = &Self> {
        self.conjuncts().iter().filter(|query| query.is_words())
    }

    /// The conjuncts of phrases alone: what stands in quotes must be there.
    pub fn exact(&self) -> impl Iterator<Item = &Self> {
        self.words().filter(|query| query.is_exact())
    }

    fn is_exact(&self) -> bool {
        match self {
            Self::All(queries) | Self::Any(queries) => queries.iter().all(Self::is_exact),
            Self::Phrase(_) => true,
            Self::Word(_) | Self::Not(_) | Self::Where(_) => false,
        }
    }

    /// What must not be there and an index of words finds.
    pub fn unwanted(&self) -> impl Iterator<Item = &Self> {
        self.conjuncts().iter().filter_map(|query| match query {
            Self::Not(query) if query.is_words() => Some(query.as_ref()),
            _ => None,
        })
    }

    /// The other conjuncts: for a filter.
    pub fn conditions(&self) -> impl Iterator<Item = &Self> {
        let is_condition = |query: &&Self| match query {
            Self::Not(query) => !query.is_words(),
            query => !query.is_words(),
        };
        self.conjuncts().iter().filter(is_condition)
    }

    /// The words and phrases that should be there, one after the other, as a model of meaning takes them.
    pub fn wanted(&self) -> String {
        let mut wanted = Vec::new();
        self.gather(&mut wanted);
        wanted.join(" ")
    }

    fn gather<'a>(&'a self, wanted: &mut Vec<&'a str>) {
        match self {
            Self::All(queries) | Self::Any(queries) => queries.iter().for_each(|query| query.gather(wanted)),
            Self::Word(text) | Self::Phrase(text) => wanted.push(text),
            Self::Not(_) | Self::Where(_) => {}
        }
    }

    /// The datasets that may have what it asks for.
    pub fn datasets(&self) -> Vec<&'static Dataset> {
        let searchable = datasets::ALL
            .iter()
            .copied()
            .filter(|dataset| dataset.search.is_some());
        searchable
            .filter(|dataset| self.known_of(dataset) != Some(false))
            .collect()
    }

    /// Whether all rows of a dataset fit, or none, as far as that can be told without reading them.
    pub fn known_of(&self, dataset: &Dataset) -> Option<bool> {
        match self {
            Self::All(queries) => decided(queries, dataset, false),
            Self::Any(queries) => decided(queries, dataset, true),
            Self::Not(query) => query.known_of(dataset).map(|known| !known),
            Self::Word(_) | Self::Phrase(_) => None,
            Self::Where(Condition::In(chosen)) => Some(chosen.iter().any(|one| one.name == dataset.name)),
            Self::Where(condition) => {
                let search = dataset.search.as_ref();
                let answers = search.is_some_and(|search| search.answers(condition.operator()));
                (!answers).then_some(false)
            }
        }
    }
}

/// `decides` if one query says so, its opposite if all say that.
fn decided(queries: &[Query], dataset: &Dataset, decides: bool) -> Option<bool> {
    let mut all_known = true;
    for query in queries {
        match query.known_of(dataset) {
            Some(known) if known == decides => return Some(decides),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decides)
}

fn one_or(mut queries: Vec<Query>, many: fn(Vec<Query>) -> Query) -> Option<Query> {
    match queries.len() {
        0 | 1 => queries.pop(),
        _ => Some(many(queries)),
    }
}

impl Condition {
    /// Its operator; of dates, the one that it prints as.
    pub fn operator(&self) -> Operator {
        match self {
            Self::Text { operator, .. } => *operator,
            Self::Date(period) => period.operator(),
            Self::Near { .. } => Operator::Near,
            Self::Attachment => Operator::Has,
            Self::In(_) => Operator::In,
        }
    }
}

impl Display for Query {
    /// As a query that reads as this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(queries) => joined(queries, " ", f, |query| matches!(query, Self::Any(_))),
            Self::Any(queries) => joined(queries, " OR ", f, |query| matches!(query, Self::All(_))),
            Self::Not(query) => {
                // Two dashes begin a word, such as an option of a command.
                let dashes = matches!(query.as_ref(), Self::Word(word) if word.starts_with('-'));
                f.write_str(if dashes { "NOT " } else { "-" })?;
                bracketed(query, f, |query| matches!(query, Self::All(_) | Self::Any(_)))
            }
            Self::Word(word) => f.write_str(word),
            Self::Phrase(phrase) => quoted(phrase, f),
            Self::Where(condition) => write!(f, "{condition}"),
        }
    }
}

fn joined(
    queries: &[Query],
    between: &str,
    f: &mut fmt::Formatter<'_>,
    needs_brackets: fn(&Query) -> bool,
) -> fmt::Result {
    for (at, query) in queries.iter().enumerate() {
        if at > 0 {
            f.write_str(between)?;
        }
        bracketed(query, f, needs_brackets)?;
    }
    Ok(())
}

fn bracketed(query: &Query, f: &mut fmt::Formatter<'_>, needs_brackets: fn(&Query) -> bool) -> fmt::Result {
    if needs_brackets(query) {
        write!(f, "({query})")
    } else {
        write!(f, "{query}")
    }
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.operator().name())?;
        match self {
            Self::Text { value, .. } if value.is_empty() || value.contains(grammar::ends_word) => {
                quoted(value, f)
            }
            Self::Text { value, .. } => f.write_str(value),
            Self::Date(period) => write!(f, "{period}"),
            Self::Near {
                latitude,
                longitude,
                kilometres,
            } => write!(f, "{latitude},{longitude},{kilometres}"),
            Self::Attachment => f.write_str("attachment"),
            Self::In(datasets) => {
                let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests;
