//! `audit`: what was asked of dkc, by whom, and what came of it. Kept in a database of its own, because nothing
//! in it is ever changed. It is not among [`ALL`](super::ALL): only the role `dev` sees it.

use crate::dataset::{Column, Dataset, Home, Kind};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "audit",
    about: "One row a request: who asked for what, and what came of it. Each row's hash covers the row before it.",
    key: &["seq"],
    unit: "request",
    columns: &[
        Column::new(
            "seq",
            Kind::Int,
            "Number of the record: 1, 2, 3, …, without a gap.",
        ),
        Column::new("at", Kind::Instant, "When the request came; UTC."),
        Column::new(
            "who",
            Kind::Text,
            "Id of the token that asked, or - when it was not known.",
        ),
        Column::new(
            "role",
            Kind::Text,
            "public, user, dev, automated, or - when it was not known who asks.",
        ),
        Column::new("operation", Kind::Text, "What was asked for."),
        Column::new("face", Kind::Text, "Where it was asked, such as rest or mcp."),
        Column::new(
            "input",
            Kind::Text,
            "Digest of the input as JSON with sorted keys: the first 32 hexadecimal digits.",
        )
        .source("BLAKE3"),
        Column::new("rows", Kind::Int, "Rows of the answer."),
        Column::new("bytes", Kind::Int, "Bytes of the answer."),
        Column::new("outcome", Kind::Text, "ok, or the name of the problem."),
        Column::new("duration_us", Kind::Int, "How long it took, in microseconds."),
        Column::new(
            "request",
            Kind::Text,
            "Id of the request, as its answer and the log have it.",
        ),
        Column::new(
            "hash",
            Kind::Text,
            "Keyed hash of the hash before it and of this record; hexadecimal.",
        )
        .source("BLAKE3"),
    ],
    home: Home::Relational,
    search: None,
};
