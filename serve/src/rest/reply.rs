//! A reply → a response: the format, the headers, the bytes as they come.
//!
//! - What is long is written by a thread of its own into a channel that holds little: memory does not grow with the
//!   answer, and a client that reads slowly makes the query wait.
//! - An answer that breaks off ends without its last chunk (RFC 9112 §7.1), so that the client sees it.

mod disposition;

use super::answers::Answers;
use super::etag::Tag;
use super::format::media_type;
use crate::dispatcher::Ticket;
use crate::operation::{Operation, Original, Page, Reply, Rows};
use crate::problem::{Kind, Problem};
use arrow_array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use disposition::disposition;
use futures::channel::{mpsc, oneshot};
use futures::{SinkExt as _, Stream, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::{self, Write};
use std::time::Duration;
use store::approvals::Approval;
use store::export::{ExportError, Form, Format, SendableRecordBatchStream, chained, encode, write_stream};
use tokio::runtime::Handle;

/// Bytes that are sent at once, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// A client that reads nothing for so long has left: its turn is for others.
const STALLED: Duration = Duration::from_secs(30);

/// That a client has the answer of this name already.
pub(super) fn not_modified(tag: &Tag) -> Response {
    let mut answer = response(StatusCode::NOT_MODIFIED, None, Body::empty());
    name(&mut answer, tag);
    answer
}

/// Says what an answer is named, and what of a request it depends on: the same with its body and without.
fn name(answer: &mut Response, tag: &Tag) {
    let depends_on = match tag.is_weak() {
        true => "Accept, Accept-Encoding, Authorization",
        false => "Accept, Authorization",
    };
    insert(answer, header::ETAG, tag.as_str());
    insert(answer, header::VARY, depends_on);
}

/// A problem as a response.
pub(crate) fn problem(problem: &Problem, id: &str) -> Response {
    let body = serde_json::to_vec(&problem.document(id)).unwrap_or_default();
    let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = response(status, Some("application/problem+json"), body.into());
    if problem.kind == Kind::Unauthorized {
        insert(&mut answer, header::WWW_AUTHENTICATE, "Bearer realm=\"dkc\"");
    }
    if let Some(seconds) = problem.retry_after {
        insert(&mut answer, header::RETRY_AFTER, &seconds.to_string());
    }
    answer
}

/// A reply as a response.
///
/// # Errors
/// [`Problem`], when it cannot be written in the format, or breaks off before its first row.
pub(super) async fn write(
    reply: Reply,
    operation: &Operation,
    format: Format,
    tag: Option<Tag>,
    answers: &Answers,
    mut ticket: Ticket,
) -> Result<Response, Problem> {
    let mut answer = match reply {
        Reply::Json(value) => {
            let body = serde_json::to_vec(&value).map_err(|error| Problem::internal(&error))?;
            ticket.count(0, body.len() as u64);
            response(StatusCode::OK, Some("application/json"), body.into())
        }
        Reply::Page(page) => {
            let page = Written::of(page, operation, format)?;
            if let Some(tag) = &tag {
                answers.keep(tag, &page);
            }
            return Ok(page.answer(format, tag.as_ref(), ticket));
        }
        Reply::Rows(rows) => rows_as(rows, format, ticket).await?,
        Reply::Planned(planned) => {
            let body = serde_json::to_vec(&planned).map_err(|error| Problem::internal(&error))?;
            response(StatusCode::ACCEPTED, Some("application/json"), body.into())
        }
        Reply::Waiting(approval) => return Err(waiting(&approval)),
        Reply::Bytes(original) => {
            ticket.count(1, original.bytes.len() as u64);
            bytes_as(original)
        }
    };
    if let Some(tag) = tag {
        name(&mut answer, &tag);
    }
    Ok(answer)
}

/// Why something is not done yet.
fn waiting(approval: &Approval) -> Problem {
    let Approval { id, request, .. } = approval;
    Problem::new(
        Kind::Conflict,
        format!(
            "nothing is done yet: that it {} waits for its owner (`dkc approve {id}`, or POST /api/v1/approvals/{id}/approve); send the same again once it is approved",
            request.summary
        ),
    )
    .after(5)
}

fn response(status: StatusCode, media_type: Option<&'static str>, body: Body) -> Response {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    if let Some(media_type) = media_type {
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    answer
}

fn insert(answer: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// A page as its bytes.
#[derive(Clone)]
pub(super) struct Written {
    body: Bytes,
    rows: u64,
    /// Where the next one is.
    link: Option<HeaderValue>,
}

impl Written {
    fn of(page: Page, operation: &Operation, format: Format) -> Result<Self, Problem> {
        let next = page.next.as_ref().map(|next| url(operation, next, format));
        let mut body = encode(&page.rows, format).map_err(|error| Problem::internal(&error))?;
        if format == Format::Json {
            let mut about = page.about;
            if let Some(about) = about.as_object_mut() {
                about.insert("next_url".to_owned(), next.clone().into());
            }
            body = around(&about, &body);
        }
        let link = next.map(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")));
        Ok(Self {
            body: body.into(),
            rows: page.rows.num_rows() as u64,
            link: link.and_then(Result::ok),
        })
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        self.body.len() + self.link.as_ref().map_or(0, HeaderValue::len)
    }

    /// It as a response.
    pub(super) fn answer(self, format: Format, tag: Option<&Tag>, mut ticket: Ticket) -> Response {
        ticket.count(self.rows, self.body.len() as u64);
        let mut answer = response(StatusCode::OK, Some(media_type(format)), self.body.into());
        if let Some(link) = self.link {
            answer.headers_mut().insert(header::LINK, link);
        }
        if let Some(tag) = tag {
            name(&mut answer, tag);
        }
        answer
    }
}

/// What stands before and after rows in JSON: an object whose member `rows` they are.
fn ends(about: &Value) -> (Vec<u8>, Vec<u8>) {
    let mut after = serde_json::to_vec(about).unwrap_or_default();
    match after.as_mut_slice() {
        [first, _, _, ..] => *first = b',',
        _ => after = b"}".to_vec(),
    }
    (b"{\"rows\":".to_vec(), after)
}

fn around(about: &Value, rows: &[u8]) -> Vec<u8> {
    let (mut body, after) = ends(about);
    body.extend_from_slice(rows);
    body.extend(after);
    body
}

/// The address of an operation with an input.
fn url(operation: &Operation, input: &Value, format: Format) -> String {
    let mut path = operation.path.to_owned();
    let mut query = Vec::new();
    for (name, value) in input.as_object().into_iter().flatten() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let place = format!("{{{name}}}");
        if path.contains(&place) {
            let part = utf8_percent_encode(&text(value), NON_ALPHANUMERIC).to_string();
            path = path.replace(&place, &part);
            continue;
        }
        match value {
            Value::Null => {}
            Value::Array(all) => query.extend(all.iter().map(|one| (name.as_str(), text(one)))),
            one => query.push((name.as_str(), text(one))),
        }
    }
    if format != Format::Json {
        query.push((super::input::FORMAT, format.name().to_owned()));
    }
    let query = serde_urlencoded::to_string(query).unwrap_or_default();
    format!("{path}?{query}")
}

async fn rows_as(rows: Rows, format: Format, mut ticket: Ticket) -> Result<Response, Problem> {
    let format = rows.format.unwrap_or(format);
    let mut stream = rows.rows;
    // So that it is not begun in vain: some columns have no form in some formats.
    if let Err(error) = encode(&RecordBatch::new_empty(stream.schema()), format) {
        let problem = Problem::unprocessable(error.to_string());
        ticket.fail(problem.kind.name());
        return Err(problem);
    }
    // Until its first rows are there, it can still be refused with a status.
    let first = match stream.next().await {
        Some(Ok(batch)) => Some(batch),
        Some(Err(error)) => {
            let problem = Problem::from(store::query::QueryError::from(error));
            ticket.fail(problem.kind.name());
            return Err(problem);
        }
        None => None,
    };
    let (sender, receiver) = mpsc::channel(PIECES);
    let (whole, is_whole) = oneshot::channel();
    let ends = match format {
        Format::Json => ends(&rows.about),
        _ => Default::default(),
    };
    let runtime = Handle::current();
    let name = format!("{}.{}", rows.name, format.name());
    tokio::task::spawn_blocking(move || {
        let out = Pieces {
            sender,
            piece: BytesMut::with_capacity(PIECE),
        };
        let form = Form {
            name: &rows.name,
            ..Form::from(format)
        };
        runtime.block_on(pour(first, stream, form, ends, out, whole, ticket));
    });
    let mut answer = response(
        StatusCode::OK,
        Some(media_type(format)),
        Body::from_stream(ended(receiver, is_whole)),
    );
    if !matches!(format, Format::Json) {
        insert(
            &mut answer,
            header::CONTENT_DISPOSITION,
            &disposition("attachment", &name),
        );
    }
    Ok(answer)
}

/// What is written, with an error as its end unless it is said to be whole: whoever writes may leave a client that has
/// stalled, or panic.
fn ended(
    pieces: mpsc::Receiver<Result<Bytes, io::Error>>,
    is_whole: oneshot::Receiver<()>,
) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let end = futures::stream::once(is_whole).filter_map(|whole| {
        let broken = whole.err().map(|_| Err(io::Error::other("the answer broke off")));
        std::future::ready(broken)
    });
    pieces.chain(end)
}

/// Writes rows in pieces, and says so once all of them are.
async fn pour(
    first: Option<RecordBatch>,
    rest: SendableRecordBatchStream,
    form: Form<'_>,
    (before, after): (Vec<u8>, Vec<u8>),
    mut out: Pieces,
    whole: oneshot::Sender<()>,
    mut ticket: Ticket,
) {
    let poured = async {
        out.write_all(&before)?;
        let written = write_stream(chained(first, rest), form, &mut out).await?;
        out.write_all(&after)?;
        out.flush()?;
        Ok::<_, ExportError>((written.rows, written.bytes + (before.len() + after.len()) as u64))
    };
    match poured.await {
        Ok((rows, bytes)) => {
            ticket.count(rows, bytes);
            // Whoever left does not hear it.
            let _ = whole.send(());
        }
        Err(ExportError::Write(_)) => ticket.fail("client-left"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "an answer broke off");
            ticket.fail("broke-off");
        }
    }
}

/// Writes into a channel.
struct Pieces {
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
    piece: BytesMut,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, BytesMut::with_capacity(PIECE));
        // This thread writes nothing else: it may wait for the client, as long as that goes on reading. The budget of a
        // task (tokio's `coop`) must not count here, or it would be used up for good.
        let sending = tokio::time::timeout(STALLED, self.sender.send(Ok(piece.freeze())));
        match futures::executor::block_on(tokio::task::coop::unconstrained(sending)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() + bytes.len() > PIECE {
            self.send()?;
        }
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The media type of bytes as they are sent; any bytes where what they are said to be is none.
pub(super) fn type_of(original: &Original) -> String {
    match original.media_type.parse::<mime::Mime>() {
        Ok(media_type) => media_type.to_string(),
        Err(_) => "application/octet-stream".to_owned(),
    }
}

/// Bytes that somebody else made: a browser may show a picture, and runs nothing.
fn bytes_as(original: Original) -> Response {
    let is_picture = matches!(
        original.media_type.as_str(),
        "image/jpeg" | "image/png" | "image/webp" | "image/gif" | "image/avif"
    );
    let media_type = type_of(&original);
    let mut answer = response(StatusCode::OK, None, original.bytes.into());
    insert(&mut answer, header::CONTENT_TYPE, &media_type);
    insert(
        &mut answer,
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'",
    );
    let how = if is_picture { "inline" } else { "attachment" };
    insert(
        &mut answer,
        header::CONTENT_DISPOSITION,
        &disposition(how, &original.name),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

    #[tokio::test]
    async fn an_answer_that_is_not_said_to_be_whole_ends_with_an_error() {
        for is_said in [true, false] {
            let (mut sender, receiver) = mpsc::channel(PIECES);
            let (whole, is_whole) = oneshot::channel();
            sender.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
            drop(sender);
            match is_said {
                true => whole.send(()).unwrap(),
                false => drop(whole),
            }
            let pieces: Vec<bool> = ended(receiver, is_whole)
                .map(|piece| piece.is_ok())
                .collect()
                .await;
            let wanted: &[bool] = if is_said { &[true] } else { &[true, false] };
            assert_eq!(pieces, wanted);
        }
    }

    #[test]
    fn no_page_runs_or_shows_what_somebody_sent() {
        for (media_type, told, how) in [
            ("text/html", "text/html", "attachment"),
            ("image/svg+xml", "image/svg+xml", "attachment"),
            ("text/javascript", "text/javascript", "attachment"),
            ("application/pdf", "application/pdf", "attachment"),
            ("image/png", "image/png", "inline"),
            (
                "text/html\r\nX-Other: a",
                "application/octet-stream",
                "attachment",
            ),
            ("nonsense", "application/octet-stream", "attachment"),
        ] {
            let answer = bytes_as(Original {
                media_type: media_type.to_owned(),
                name: "größe".to_owned(),
                sha256: "00ff".to_owned(),
                bytes: Bytes::from_static(b"<script>"),
            });
            let header = |name: HeaderName| answer.headers()[name].to_str().unwrap();
            assert_eq!(header(CONTENT_TYPE), told);
            assert!(header(CONTENT_DISPOSITION).starts_with(how), "{media_type}");
            assert!(header(CONTENT_SECURITY_POLICY).starts_with("sandbox;"));
        }
    }
}
