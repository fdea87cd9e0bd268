//! A reply in few words: one JSON object, of a size that is bounded.
//!
//! - In: what an operation replied, and where to go on. Out: an [`Answer`]. Rows are arrays in the order of `columns`:
//!   the names of columns once, not with every row.
//! - Not here: marking what others wrote (`fence`), cutting it to what an agent wants to read (`budget`).

use super::budget::Position;
use crate::dispatcher::Ticket;
use crate::operation::{Original, Page, Reply, Rows};
use crate::problem::{Kind, Problem};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use store::export::{ExportError, Form, Format, encode, write_stream};
use store::query::QueryError;

/// Rows that are looked at for one answer.
const MOST_ROWS: usize = 2_000;

/// Bytes of rows as JSON, or of a file, for one answer.
const MOST_BYTES: usize = 4 << 20;

/// Bytes of a picture.
const MOST_PICTURE: usize = 1 << 20;

/// Where rows are in an answer.
const ROWS: &str = "/rows";

/// What an operation answered.
pub(super) struct Answer {
    /// It, an object.
    pub(super) value: Value,
    /// A picture beside it: media type, bytes.
    pub(super) picture: Option<(String, Bytes)>,
    /// Where to begin in the value.
    pub(super) from: Option<Position>,
    /// Rows that are not in the value because they came before.
    skipped: usize,
    /// Whether there are rows after those in the value.
    has_more: bool,
    /// The snapshot it is of, if it is of one.
    pub(super) snapshot: Option<i64>,
}

impl Answer {
    fn new(value: Value, from: Option<Position>) -> Self {
        Self {
            snapshot: value.get("snapshot").and_then(Value::as_i64),
            value,
            picture: None,
            from,
            skipped: 0,
            has_more: false,
        }
    }

    /// Where it goes on, after a part of it that ended there.
    pub(super) fn rest(&self, rest: Option<Position>, shown: usize) -> Option<Position> {
        let at = |offset: usize| Position {
            pointer: ROWS.to_owned(),
            offset,
        };
        match rest {
            Some(rest) if rest.pointer == ROWS => Some(at(self.skipped + rest.offset)),
            Some(rest) => Some(rest),
            None => self.has_more.then(|| at(self.skipped + shown)),
        }
    }
}

/// A reply as an object, from a place on; what goes out is counted.
///
/// # Errors
/// [`Problem`] when it cannot be told to an agent.
pub(super) async fn of(reply: Reply, from: Option<Position>, ticket: &mut Ticket) -> Result<Answer, Problem> {
    match reply {
        Reply::Json(value) => Ok(Answer::new(object(value), from)),
        Reply::Planned(planned) => {
            let value = serde_json::to_value(&planned).map_err(|error| Problem::internal(&error))?;
            Ok(Answer::new(value, from))
        }
        // The caller sees to it before; what is told is the same.
        Reply::Waiting(approval) => Ok(Answer::new(json!({ "waiting": approval.id }), from)),
        Reply::Page(page) => page_of(page, from, ticket),
        Reply::Rows(rows) => match rows.format {
            Some(format) => file(rows, format, from, ticket).await,
            None => rows_of(rows, from, ticket).await,
        },
        Reply::Bytes(original) => {
            ticket.count(1, original.bytes.len() as u64);
            Ok(bytes_of(original, from))
        }
    }
}

fn object(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        other => json!({ "value": other }),
    }
}

fn columns(schema: &Schema) -> Vec<&str> {
    schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect()
}

/// The rows of a batch, each an array in the order of the columns.
fn arrays(rows: &RecordBatch) -> Result<(Vec<Value>, usize), Problem> {
    let text = encode(rows, Format::Json).map_err(|error| Problem::internal(&error))?;
    let objects: Vec<Map<String, Value>> =
        serde_json::from_slice(&text).map_err(|error| Problem::internal(&error))?;
    let schema = rows.schema();
    let columns = columns(&schema);
    let arrays = objects.into_iter().map(|mut row| {
        let cells = columns
            .iter()
            .map(|column| row.remove(*column).unwrap_or_default());
        Value::Array(cells.collect())
    });
    Ok((arrays.collect(), text.len()))
}

/// An answer of rows, with what is told beside them.
fn with_rows(columns: &[&str], rows: Vec<Value>, about: Value) -> Value {
    let mut value = Map::new();
    value.insert("columns".to_owned(), json!(columns));
    value.insert("rows".to_owned(), Value::Array(rows));
    if let Value::Object(about) = about {
        value.extend(about);
    }
    Value::Object(value)
}

fn page_of(page: Page, from: Option<Position>, ticket: &mut Ticket) -> Result<Answer, Problem> {
    let schema = page.rows.schema();
    let (rows, bytes) = arrays(&page.rows)?;
    ticket.count(rows.len() as u64, bytes as u64);
    let mut value = with_rows(&columns(&schema), rows, page.about);
    // Of the input of the next page, all but this the agent has.
    let after = page.next.as_ref().and_then(|next| next.get("after")).cloned();
    if let (Some(after), Some(value)) = (after, value.as_object_mut()) {
        value.insert("after".to_owned(), after);
    }
    Ok(Answer::new(value, from))
}

async fn rows_of(rows: Rows, from: Option<Position>, ticket: &mut Ticket) -> Result<Answer, Problem> {
    let schema = rows.rows.schema();
    let mut stream = rows.rows;
    let mut skip = match &from {
        Some(from) if from.pointer == ROWS => from.offset,
        Some(_) | None => 0,
    };
    let skipped = skip;
    let (mut all, mut bytes, mut has_more) = (Vec::new(), 0, false);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| Problem::from(QueryError::from(error)))?;
        let passed = skip.min(batch.num_rows());
        skip -= passed;
        let left = batch.num_rows() - passed;
        let room = MOST_ROWS - all.len();
        let (own, size) = arrays(&batch.slice(passed, left.min(room)))?;
        all.extend(own);
        bytes += size;
        if left > room || bytes > MOST_BYTES || (all.len() == MOST_ROWS && left == room) {
            has_more = left > room || stream.next().await.is_some();
            break;
        }
    }
    ticket.count(all.len() as u64, bytes as u64);
    let value = with_rows(&columns(&schema), all, rows.about);
    // The rows before are not here: those that are begin the part.
    let from = from.map(|from| match from.pointer == ROWS {
        true => Position { offset: 0, ..from },
        false => from,
    });
    Ok(Answer {
        skipped,
        has_more,
        ..Answer::new(value, from)
    })
}

/// A file of rows, where it is one of text.
async fn file(
    rows: Rows,
    format: Format,
    from: Option<Position>,
    ticket: &mut Ticket,
) -> Result<Answer, Problem> {
    if !matches!(
        format,
        Format::Csv | Format::Json | Format::Ndjson | Format::Markdown
    ) {
        return Err(Problem::unprocessable(format!(
            "`{}` is not given here: ask for csv, json, ndjson or md here, or for this over REST",
            format.name()
        )));
    }
    let mut out = Bounded(Vec::new());
    let written = write_stream(rows.rows, Form::from(format), &mut out).await;
    let written = written.map_err(|error| match error {
        ExportError::Write(_) => Problem::new(
            Kind::TooLarge,
            format!(
                "it has more than {} MiB: ask SQL for what you need of it, or have its owner export it over REST",
                MOST_BYTES >> 20
            ),
        ),
        error => Problem::internal(&error),
    })?;
    ticket.count(written.rows, written.bytes);
    let mut value = json!({
        "format": format.name(),
        "row_count": written.rows,
        "text": String::from_utf8_lossy(&out.0),
    });
    if let (Value::Object(about), Some(value)) = (rows.about, value.as_object_mut()) {
        value.extend(about);
    }
    Ok(Answer::new(value, from))
}

/// Bytes that refuse to become too many.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was collected, where an agent can read or see it.
fn bytes_of(original: Original, from: Option<Position>) -> Answer {
    let is_picture = original.is_picture();
    let mut value = json!({
        "media_type": original.media_type,
        "name": original.name,
        "size_bytes": original.bytes.len(),
    });
    let mut picture = None;
    let text = std::str::from_utf8(&original.bytes).ok();
    let text = text.filter(|text| text.len() <= MOST_BYTES && !text.contains('\0'));
    if let Some(value) = value.as_object_mut() {
        if is_picture && original.bytes.len() <= MOST_PICTURE {
            picture = Some((original.media_type, original.bytes));
        } else if let Some(text) = text {
            value.insert("text".to_owned(), text.into());
        } else {
            let note = "it is no text, or too large to be shown here; its owner can get it over REST";
            value.insert("note".to_owned(), note.into());
        }
    }
    Answer {
        picture,
        ..Answer::new(value, from)
    }
}
