//! Words and phrases of a query → what LanceDB's index of words takes.
//!
//! - In: queries for which [`Query::is_words`] holds. Out: queries of LanceDB.

use super::language::Query;
use lancedb::index::scalar::{BooleanQuery, FtsQuery, MultiMatchQuery, Occur, Operator, PhraseQuery};

/// The columns that have an index of words, and how much more a word there says.
const COLUMNS: [(&str, f32); 2] = [("text", 1.0), ("title", 2.0)];

/// A query for chunks that have all of some queries.
pub(super) fn all_of<'a>(queries: impl Iterator<Item = &'a Query>) -> Option<FtsQuery> {
    together(queries, Operator::And, || Occur::Must)
}

/// A query for chunks that have any of some queries, those with more of them first.
pub(super) fn any_of<'a>(queries: impl Iterator<Item = &'a Query>) -> Option<FtsQuery> {
    together(queries, Operator::Or, || Occur::Should)
}

fn together<'a>(
    queries: impl Iterator<Item = &'a Query>,
    operator: Operator,
    occur: fn() -> Occur,
) -> Option<FtsQuery> {
    let (mut words, mut others) = (Vec::new(), Vec::new());
    for query in queries {
        match query {
            Query::Word(word) => words.push(word.as_str()),
            Query::Phrase(phrase) => others.extend(phrase_of(phrase)),
            Query::All(queries) => others.extend(all_of(queries.iter())),
            Query::Any(queries) => others.extend(any_of(queries.iter())),
            Query::Not(_) | Query::Where(_) => {}
        }
    }
    let words = match words.as_slice() {
        [] => None,
        words => by_column(words.join(" "), operator),
    };
    let mut all: Vec<FtsQuery> = words.into_iter().chain(others).collect();
    match all.len() {
        0 | 1 => all.pop(),
        _ => Some(BooleanQuery::new(all.into_iter().map(|query| (occur(), query))).into()),
    }
}

/// Words in the text or in the title. LanceDB 0.41 also knows both as one text (BM25F), at a hundred times the time.
fn by_column(words: String, operator: Operator) -> Option<FtsQuery> {
    let columns = COLUMNS.iter().map(|(column, _)| (*column).to_owned()).collect();
    let boosts = COLUMNS.iter().map(|(_, boost)| *boost).collect();
    let query = MultiMatchQuery::try_new(words, columns).and_then(|query| query.try_with_boosts(boosts));
    Some(query.ok()?.with_operator(operator).into())
}

fn phrase_of(phrase: &str) -> Option<FtsQuery> {
    if !phrase.contains(char::is_alphanumeric) {
        return None;
    }
    let columns = COLUMNS.iter().map(|(column, _)| {
        let query = PhraseQuery::new(phrase.to_owned()).with_column(Some((*column).to_owned()));
        (Occur::Should, query.into())
    });
    Some(BooleanQuery::new(columns).into())
}
