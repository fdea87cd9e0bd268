//! Rows as operations want them: those of a question of dkc's own with their types, and those that a search finds in
//! one dataset.
//!
//! - In: SQL of dkc's own making with parameters; words and values of operators, as a caller wrote them. Out: rows, hits.
//! - All of it goes through the caller's view.
//! - Not here: SQL of others (`run_sql`), searches over all datasets (`search`).

use crate::operation::Call;
use crate::operations::search::problem;
use crate::problem::{Kind, Problem};
use jiff::Zoned;
use jiff::tz::TimeZone;
use schemas::{Dataset, Operator, View};
use serde::de::DeserializeOwned;
use store::export::{Format, encode};
use store::query;
use store::search::language::{Condition, Query};
use store::search::{Answer, Hit, Mode};

/// The rows of a question, as the caller may see them. The text is dkc's own; what a caller gave is in the parameters.
pub(crate) async fn select<T: DeserializeOwned>(
    call: Call<'_>,
    text: String,
    parameters: query::Parameters,
) -> Result<Vec<T>, Problem> {
    let asked = query::Query {
        text,
        parameters,
        view: View::clone(&call.caller.view),
        ..query::Query::default()
    };
    let rows = call.gateway.ask(asked).await?;
    let rows = encode(&rows, Format::Json).map_err(|error| Problem::internal(&error))?;
    serde_json::from_slice(&rows).map_err(|error| Problem::internal(&error))
}

/// Parameters of one name and its value each.
pub(crate) fn given<const N: usize>(values: [(&str, &str); N]) -> query::Parameters {
    let values = values.into_iter();
    values
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

/// Adds a parameter for each value, and gives their names as `IN` takes them: `:item0, :item1`.
pub(crate) fn several<'a>(
    name: &str,
    values: impl IntoIterator<Item = &'a str>,
    parameters: &mut query::Parameters,
) -> String {
    let mut names = Vec::new();
    for (number, value) in values.into_iter().enumerate() {
        names.push(format!(":{name}{number}"));
        parameters.insert(format!("{name}{number}"), value.into());
    }
    names.join(", ")
}

/// What a caller gave, unless it is blank.
pub(crate) fn said(value: Option<&String>) -> Option<&str> {
    value.map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A query as a caller wrote it; none of blanks.
pub(crate) fn wanted(call: Call<'_>, text: &str) -> Result<Option<Query>, Problem> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let query = Query::parse_within(text, &Zoned::now(), &call.caller.view);
    query.map(Some).map_err(Problem::unprocessable)
}

/// What an operator asks for with the value that the input has under a name.
pub(crate) fn condition(name: &str, operator: Operator, value: &str) -> Result<Query, Problem> {
    let value = value.trim().to_owned();
    // Written by the language and read by it: a value is a value, whatever it looks like.
    let written = Query::Where(Condition::Text { operator, value }).to_string();
    Query::parse(&written, &Zoned::now())
        .map_err(|wrong| Problem::unprocessable(format!("`{name}`: {}", wrong.what)))
}

/// The best rows of a dataset for a query, by words and by meaning; by words, and with a note, where there is no model.
pub(crate) async fn found(
    call: Call<'_>,
    dataset: &'static Dataset,
    query: Query,
    most: usize,
) -> Result<Answer, Problem> {
    searchable(&call.caller.view, dataset)?;
    let searcher = call.gateway.searcher().await.map_err(problem)?;
    let query = query.within(vec![dataset]);
    let answer = searcher
        .search(&query, Mode::Best, most, &TimeZone::system())
        .await;
    answer.map_err(problem)
}

/// Refuses to search a dataset of which the caller may not read all. What is asked of its rows before a search asks here
/// first: to whom columns are masked, they would look as if nothing were in them.
pub(crate) fn searchable(view: &View, dataset: &Dataset) -> Result<(), Problem> {
    match view.not_searched(dataset) {
        Some(why) => Err(Problem::new(Kind::Forbidden, why)),
        None => Ok(()),
    }
}

/// That a column is masked for the caller, as a note; nothing where it can be read, whether or not anything is in it.
pub(crate) fn mask(view: &View, dataset: &Dataset, column: &str, what: &str) -> Option<String> {
    let mut columns = dataset.all_columns();
    let is_read = columns.any(|known| known.name == column && view.reads(known));
    (!is_read).then(|| format!("{what} are masked for this token"))
}

/// Source and item of a hit.
pub(crate) fn place(hit: &Hit) -> (&str, &str) {
    match hit.key.as_slice() {
        [source, item, ..] => (source, item),
        _ => ("", ""),
    }
}

/// The beginning of a text, of so many bytes at most, and whether it is not all.
pub(crate) fn shortened(mut text: String, most: usize) -> (String, bool) {
    let is_cut = text.len() > most;
    text.truncate(text.floor_char_boundary(most));
    (text, is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_a_value() {
        for value in ["jane", "Jane Doe", "x OR from:bo", "a\"b\\c", "(", "-x"] {
            let read = condition("from", Operator::From, value).unwrap();
            let wanted = Query::Where(Condition::Text {
                operator: Operator::From,
                value: value.to_owned(),
            });
            assert_eq!(read, wanted);
        }
        let period = condition("after", Operator::After, "2024-03").unwrap();
        assert!(matches!(period, Query::Where(Condition::Date(_))));
    }

    #[test]
    fn what_is_no_date_is_told_with_the_name_of_its_input() {
        let problem = condition("taken_after", Operator::After, "soonish").unwrap_err();
        assert_eq!(problem.kind, Kind::Unprocessable);
        assert!(
            problem.detail.starts_with("`taken_after`: `soonish` is no date"),
            "{problem:?}"
        );
    }

    #[test]
    fn what_is_masked_is_told_and_not_searched() {
        let dataset = schemas::datasets::by_name("emails").unwrap();
        let public = View {
            hidden: Some(schemas::Privacy::Private),
            ..View::default()
        };
        let note = |view: &View| mask(view, dataset, "folders", "the folders of mail");
        let told = note(&public).unwrap();
        assert_eq!(told, "the folders of mail are masked for this token");
        assert_eq!(note(&View::default()), None);
        assert_eq!(searchable(&public, dataset).unwrap_err().kind, Kind::Forbidden);
        assert!(searchable(&View::default(), dataset).is_ok());
    }

    #[test]
    fn each_value_has_a_parameter_of_its_own() {
        let mut parameters = given([("folder", "INBOX")]);
        assert_eq!(several("item", ["a", "b"], &mut parameters), ":item0, :item1");
        assert_eq!(parameters.len(), 3);
        assert_eq!(parameters["item1"], "b");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("grün".to_owned(), 3), ("gr".to_owned(), true));
        assert_eq!(shortened("grün".to_owned(), 5), ("grün".to_owned(), false));
    }
}
