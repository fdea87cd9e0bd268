//! The formats of answers, and which of them a client wants (RFC 9110 §12.5.1).

use crate::operation::{Operation, Output};
use crate::problem::{Kind, Problem};
use axum::http::{HeaderMap, header};
use store::export::Format;

/// The formats of rows, with their media types, the preferred first.
pub(super) const FORMATS: &[(Format, &str)] = &[
    (Format::Json, "application/json"),
    (Format::Ndjson, "application/x-ndjson"),
    (Format::Csv, "text/csv"),
    (Format::Markdown, "text/markdown"),
    (Format::ArrowStream, "application/vnd.apache.arrow.stream"),
    (Format::Arrow, "application/vnd.apache.arrow.file"),
    (Format::Parquet, "application/vnd.apache.parquet"),
    (Format::Js, "text/javascript"),
];

/// The media type of a format.
pub(super) fn media_type(format: Format) -> &'static str {
    let known = FORMATS.iter().find(|(known, _)| *known == format);
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

/// The format of an answer: what the request names, else what the client accepts most gladly.
///
/// # Errors
/// [`Kind::NotAcceptable`] when there is none.
pub(super) fn negotiate(
    operation: &Operation,
    named: Option<&str>,
    headers: &HeaderMap,
) -> Result<Format, Problem> {
    let is_given = matches!(operation.output, Output::Rows) && !operation.takes_format();
    if is_given || matches!(operation.output, Output::Bytes) {
        return Ok(Format::Json);
    }
    let formats = match operation.output {
        Output::Rows => FORMATS,
        _ => FORMATS.get(..1).unwrap_or_default(),
    };
    if let Some(name) = named {
        let format: Option<Format> = name.parse().ok();
        let known = format.filter(|format| formats.iter().any(|(known, _)| known == format));
        return known.ok_or_else(|| {
            let names = FORMATS.iter().map(|(format, _)| format.name());
            Problem::no_such(Kind::BadRequest, "format", name, names)
        });
    }
    // The most wanted; of those that are wanted alike, the one that stands first here.
    let best = formats
        .iter()
        .rev()
        .map(|(format, media_type)| (*format, weight(media_type, headers)));
    let best = best
        .filter(|(_, weight)| *weight > 0.0)
        .max_by(|one, other| one.1.total_cmp(&other.1));
    best.map(|(format, _)| format).ok_or_else(|| {
        let known: Vec<&str> = formats.iter().map(|(_, media_type)| *media_type).collect();
        Problem::new(
            Kind::NotAcceptable,
            format!("it can be had as {}", known.join(", ")),
        )
    })
}

/// How gladly a client takes a media type: 0 is not at all; whoever says nothing takes any.
pub(super) fn weight(media_type: &str, headers: &HeaderMap) -> f64 {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|value| !value.trim().is_empty())
        .collect();
    if accepted.is_empty() {
        return 1.0;
    }
    let offers = accepted
        .iter()
        .flat_map(|line| line.split(','))
        .filter_map(|one| one.trim().parse::<mime::Mime>().ok());
    let fitting = offers.filter_map(|offer| {
        let (kind, sub) = media_type.split_once('/')?;
        // The more exact an offer, the more it says.
        let exact = match (offer.type_().as_str(), offer.essence_str().split_once('/')?.1) {
            ("*", _) => 0,
            (own, "*") if own == kind => 1,
            (own, exact) if own == kind && exact == sub => 2,
            _ => return None,
        };
        let quality = offer
            .get_param("q")
            .and_then(|q| q.as_str().parse::<f64>().ok())
            .unwrap_or(1.0);
        Some((exact, quality))
    });
    fitting
        .max_by_key(|(exact, _)| *exact)
        .map_or(0.0, |(_, quality)| quality)
}
