//! Words and phrases of a query → what LanceDB's index of words takes.
//!
//! - In: queries for which [`Query::is_words`] holds. Out: queries of LanceDB.

use super::language::Query;
use lancedb::index::scalar::{BooleanQuery, FtsQuery, MultiMatchQuery, Occur, Operator, PhraseQuery};

/// The columns that have an index of words, and how much more a word there says.
const COLUMNS: [(&str, f32); 2] = [("text", 1.0), ("title", 2.0)];

/// Words of English that stand in nearly every text: a question has them, and they tell nothing of what it asks for. In
/// quotes they count.
const FILLERS: &[&str] = &[
    "a", "about", "after", "all", "am", "an", "and", "any", "are", "as", "at", "be", "been", "before",
    "being", "but", "by", "can", "could", "did", "do", "does", "doing", "for", "from", "had", "has", "have",
    "having", "he", "her", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "me",
    "my", "no", "nor", "not", "of", "off", "on", "or", "our", "ours", "out", "over", "own", "s", "she",
    "should", "so", "some", "such", "than", "that", "the", "their", "theirs", "them", "then", "there",
    "these", "they", "this", "those", "through", "to", "too", "under", "until", "up", "was", "we", "were",
    "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "with", "would", "you", "your",
    "yours",
];

/// Whether a word tells nothing of what is looked for. In capitals it is a name: `IT`, `WHO`.
fn is_filler(word: &str) -> bool {
    let mut parts = word
        .split(|char: char| !char.is_alphanumeric())
        .filter(|part| !part.is_empty());
    parts.all(|part| {
        let is_name = part.len() > 1 && !part.contains(char::is_lowercase);
        !is_name && FILLERS.contains(&part.to_lowercase().as_str())
    })
}

/// The words and phrases of a query that tell what is looked for; all of them, if none does.
pub(super) fn telling(query: &Query) -> Vec<&Query> {
    let of_text = |query: &&Query| !matches!(query, Query::Word(word) if is_filler(word));
    or_all(query.words().collect(), of_text)
}

/// The same of words of a text.
pub(super) fn telling_of(text: &str) -> Vec<&str> {
    or_all(text.split_whitespace().collect(), |word| !is_filler(word))
}

fn or_all<T>(mut all: Vec<T>, tells: impl Fn(&T) -> bool) -> Vec<T> {
    if all.iter().any(&tells) {
        all.retain(tells);
    }
    all
}

/// Whether a query is a word that is one to an index of words too, unlike `a.b`.
pub(super) fn is_one(query: &Query) -> bool {
    matches!(query, Query::Word(word) if word.chars().all(char::is_alphanumeric))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Zoned;

    fn told(text: &str) -> String {
        let query = Query::parse(text, &Zoned::now()).unwrap();
        let told: Vec<String> = telling(&query).into_iter().map(ToString::to_string).collect();
        told.join(" ")
    }

    #[test]
    fn of_a_question_only_what_tells_something_is_looked_for() {
        for (question, wanted) in [
            ("what is the invoice number of Acme ?", "invoice number Acme"),
            ("what's in the IT budget", "IT budget"),
            ("\"to be or not\" is from hamlet", "\"to be or not\" hamlet"),
            ("the (cat OR the)", "cat OR the"),
            ("not to be", "not to be"),
            ("thesis", "thesis"),
        ] {
            assert_eq!(told(question), wanted, "{question}");
        }
        assert_eq!(telling_of("the fall of Rome"), ["fall", "Rome"]);
        assert_eq!(telling_of("of the"), ["of", "the"]);
        assert!(telling_of("").is_empty());
    }
}
