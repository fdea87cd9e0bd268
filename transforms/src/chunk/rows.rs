//! Rows of a searchable dataset → the texts that chunks are made of.
//!
//! - In: a batch of a dataset that says how it is searched, and, if it has them, the sections of its documents.
//! - Out: a text for each row, with its shape.
//! - Not here: cutting.

use super::{Section, Shape, Text};
use crate::error::TransformError;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray};
use schemas::datasets::{document_sections, emails};
use schemas::{Dataset, Search};
use std::borrow::Cow;
use std::collections::HashMap;

/// What a row says, ready to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowText<'a> {
    dataset: &'static Dataset,
    key: String,
    text: Cow<'a, str>,
    sections: Vec<Section<'a>>,
}

impl RowText<'_> {
    /// It as a chunker takes it.
    pub fn text(&self) -> Text<'_> {
        Text {
            dataset: self.dataset.name,
            key: &self.key,
            text: &self.text,
            shape: match self.sections.as_slice() {
                [] if self.dataset.name == emails::DATASET.name => Shape::Mail,
                [] => Shape::Plain,
                sections => Shape::Sections(sections),
            },
        }
    }
}

/// What each row of a batch says. `sections` are rows of the dataset that [`Search::sections`] names; those of other
/// documents do no harm.
///
/// # Errors
/// [`TransformError::Column`] when a batch has not the columns of its dataset.
pub fn texts<'a>(
    dataset: &'static Dataset,
    search: &Search,
    batch: &'a RecordBatch,
    sections: Option<&'a RecordBatch>,
) -> Result<Vec<RowText<'a>>, TransformError> {
    let of_items = sections.map_or_else(|| Ok(HashMap::new()), first_lines)?;
    let keys = Columns::of(dataset, batch, dataset.key)?;
    let columns = Columns::of(dataset, batch, search.text)?;
    let items = Columns::of(dataset, batch, &["_source", "_item"])?;
    let row_text = |row: usize| {
        let text = columns.joined(row);
        let sections = of_items.get(&items.key(row));
        let sections = sections.map_or_else(Vec::new, |lines| placed(&text, lines));
        RowText {
            dataset,
            key: keys.key(row),
            text,
            sections,
        }
    };
    Ok((0..batch.num_rows()).map(row_text).collect())
}

/// The key of each row as [`Text::key`] has it: the values of the dataset's key columns, a unit separator between them,
/// which no text of ours holds.
///
/// # Errors
/// [`TransformError::Column`] when the batch has not these columns, or not as texts.
pub fn keys(dataset: &'static Dataset, batch: &RecordBatch) -> Result<Vec<String>, TransformError> {
    let columns = Columns::of(dataset, batch, dataset.key)?;
    Ok((0..batch.num_rows()).map(|row| columns.key(row)).collect())
}

/// Text columns, as lists or not, as the lake or the engine has them.
enum Texts<'a> {
    Plain(&'a StringArray),
    View(&'a StringViewArray),
    List(&'a ArrayRef),
}

struct Columns<'a>(Vec<Texts<'a>>);

impl<'a> Columns<'a> {
    fn of(
        dataset: &'static Dataset,
        batch: &'a RecordBatch,
        names: &[&'static str],
    ) -> Result<Self, TransformError> {
        let columns = names.iter().map(|name| {
            let column = batch.column_by_name(name);
            column.and_then(Texts::of).ok_or(TransformError::Column {
                dataset: dataset.name,
                column: name,
                kind: "texts",
            })
        });
        columns.collect::<Result<_, _>>().map(Self)
    }

    fn key(&self, row: usize) -> String {
        let values: Vec<Cow<'a, str>> = self.0.iter().map(|column| column.value(row)).collect();
        values.join("\u{1f}")
    }

    /// The values of a row, each on a line of its own.
    fn joined(&self, row: usize) -> Cow<'a, str> {
        let mut values = self
            .0
            .iter()
            .map(|column| column.value(row))
            .filter(|value| !value.is_empty());
        let first = values.next().unwrap_or_default();
        values.fold(first, |before, value| Cow::Owned(format!("{before}\n{value}")))
    }
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        let plain = column.as_string_opt().map(Self::Plain);
        plain
            .or_else(|| column.as_string_view_opt().map(Self::View))
            .or_else(|| column.as_list_opt::<i32>().map(|_| Self::List(column)))
    }

    /// A value; of a list all, with commas; nothing where it is null.
    fn value(&self, row: usize) -> Cow<'a, str> {
        match self {
            Self::Plain(column) if column.is_valid(row) => Cow::Borrowed(column.value(row)),
            Self::View(column) if column.is_valid(row) => Cow::Borrowed(column.value(row)),
            Self::List(column) => {
                let list = column.as_list_opt::<i32>().filter(|list| list.is_valid(row));
                let elements = list.map(|list| list.value(row));
                let texts = elements.as_ref().and_then(Texts::of);
                let texts = texts
                    .iter()
                    .flat_map(|texts| (0..texts.len()).map(|at| texts.value(at)));
                Cow::Owned(texts.collect::<Vec<_>>().join(", "))
            }
            _ => Cow::Borrowed(""),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(column) => column.len(),
            Self::View(column) => column.len(),
            Self::List(column) => column.len(),
        }
    }
}

/// First line, from 1, and heading of the sections of each item, in their order.
type FirstLines<'a> = HashMap<String, Vec<(i64, Option<&'a str>)>>;

fn first_lines(sections: &RecordBatch) -> Result<FirstLines<'_>, TransformError> {
    let dataset = &document_sections::DATASET;
    let wrong = |column| TransformError::Column {
        dataset: dataset.name,
        column,
        kind: "Utf8 or Int64",
    };
    let items = Columns::of(dataset, sections, &["_source", "_item"])?;
    let lines: &Int64Array = sections
        .column_by_name("first_line")
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| wrong("first_line"))?;
    let headings = sections.column_by_name("heading").and_then(Texts::of);
    let headings = headings.ok_or_else(|| wrong("heading"))?;
    let mut of_items = FirstLines::new();
    for row in 0..sections.num_rows() {
        let heading = match headings.value(row) {
            Cow::Borrowed(heading) => Some(heading).filter(|heading| !heading.is_empty()),
            Cow::Owned(_) => None,
        };
        let of_item = of_items.entry(items.key(row)).or_default();
        of_item.push((lines.value(row), heading));
    }
    of_items
        .values_mut()
        .for_each(|lines| lines.sort_by_key(|(line, _)| *line));
    Ok(of_items)
}

/// Sections with the bytes at which their lines begin.
fn placed<'a>(text: &str, lines: &[(i64, Option<&'a str>)]) -> Vec<Section<'a>> {
    let mut begins = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
    let mut sections = Vec::with_capacity(lines.len());
    let mut next = 1;
    let mut at = None;
    for (line, heading) in lines {
        while next <= *line {
            at = begins.next();
            next += 1;
            if at.is_none() {
                return sections;
            }
        }
        sections.push(Section {
            at: at.unwrap_or_default(),
            heading: *heading,
        });
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::datasets::document_sections::DocumentSection;
    use schemas::datasets::documents::{self, Document};
    use schemas::datasets::emails::Email;
    use schemas::datasets::photos::{self, Photo};
    use schemas::{Provenance, Row, Rows, RunId, SourceName};

    fn batch<R: Row>(rows: &[R]) -> RecordBatch {
        let provenance = Provenance {
            source: SourceName::new("test").unwrap(),
            run: RunId("1".to_owned()),
        };
        let mut built = Rows::of_lake(R::DATASET, provenance);
        rows.iter().for_each(|row| built.push(row).unwrap());
        built.finish().unwrap()
    }

    fn read<'a>(
        dataset: &'static Dataset,
        batch: &'a RecordBatch,
        sections: Option<&'a RecordBatch>,
    ) -> Vec<RowText<'a>> {
        texts(dataset, dataset.search.as_ref().unwrap(), batch, sections).unwrap()
    }

    #[test]
    fn the_text_of_a_mail_is_its_body() {
        let mails = batch(&[
            Email {
                item: "a".to_owned(),
                body_text: Some("Yes.\n> No?".to_owned()),
                ..Email::default()
            },
            Email {
                item: "b".to_owned(),
                ..Email::default()
            },
        ]);
        let rows = read(&emails::DATASET, &mails, None);
        let texts: Vec<_> = rows
            .iter()
            .map(RowText::text)
            .map(|of| (of.key, of.text, of.shape))
            .collect();
        assert_eq!(
            texts,
            [
                ("test\u{1f}a", "Yes.\n> No?", Shape::Mail),
                ("test\u{1f}b", "", Shape::Mail)
            ]
        );
        assert_eq!(
            keys(&emails::DATASET, &mails).unwrap(),
            ["test\u{1f}a", "test\u{1f}b"]
        );
    }

    #[test]
    fn the_text_of_a_photo_is_all_that_is_said_of_it() {
        let photos = batch(&[Photo {
            item: "a".to_owned(),
            caption: Some("At the sea".to_owned()),
            tags: vec!["beach".to_owned(), "night".to_owned()],
            album: Some("Lisbon".to_owned()),
            ..Photo::default()
        }]);
        let rows = read(&photos::DATASET, &photos, None);
        assert_eq!(rows[0].text().text, "At the sea\nbeach, night\nLisbon");
        assert_eq!(rows[0].text().shape, Shape::Plain);
    }

    #[test]
    fn the_sections_of_a_document_begin_at_their_lines() {
        let document = |item, text| Document {
            item,
            project: None,
            path: "/a.md",
            title: "A",
            media_type: "text/markdown",
            text,
            size_bytes: 0,
            words: 0,
            modified_at: None,
        };
        let documents = batch(&[
            document("a", "ä before\n# One\ntext\n# Two"),
            document("b", "text"),
        ]);
        let section = |item, first_line, heading| DocumentSection {
            item,
            ordinal: first_line,
            heading,
            section_id: None,
            level: None,
            under: Vec::new(),
            first_line,
            last_line: first_line,
            text: "",
        };
        // Not in their order, one of another document, one that lies behind the end.
        let sections = batch(&[
            section("a", 4, Some("Two")),
            section("a", 1, None),
            section("a", 2, Some("One")),
            section("c", 1, Some("Other")),
            section("a", 9, Some("Behind")),
        ]);
        let rows = read(&documents::DATASET, &documents, Some(&sections));
        let at = |at, heading| Section { at, heading };
        let expected = [at(0, None), at(10, Some("One")), at(21, Some("Two"))];
        assert_eq!(rows[0].text().shape, Shape::Sections(&expected));
        assert_eq!(rows[1].text().shape, Shape::Plain);
    }

    #[test]
    fn a_batch_of_another_dataset_is_refused() {
        let mails = batch(&[Email::default()]);
        let search = documents::DATASET.search.as_ref().unwrap();
        assert!(texts(&documents::DATASET, search, &mails, None).is_err());
    }
}
