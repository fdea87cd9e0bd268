//! Mails whose folders or flags changed at the source while their bytes stayed.
//!
//! - In: rows of `emails`, attributes by item. Out: the same rows with folders, flags and time of receipt
//!   as they are now.

use crate::error::TransformError;
use arrow_array::builder::{ListBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use schemas::Attributes;
use schemas::datasets::emails::DATASET;
use schemas::to_arrow::list_element;
use std::collections::HashMap;
use std::sync::Arc;

/// Replaces the columns that follow the source's attributes; rows of other items stay as they are.
///
/// # Errors
/// [`TransformError`] when the batch is no batch of `emails`.
pub fn touch_emails(
    emails: &RecordBatch,
    attributes: &HashMap<&str, &Attributes>,
) -> Result<RecordBatch, TransformError> {
    let items = emails
        .column_by_name("_item")
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or(TransformError::Column {
            dataset: DATASET.name,
            column: "_item",
            kind: "Utf8",
        })?;
    let list = || ListBuilder::new(StringBuilder::new()).with_field(list_element());
    let (mut folders, mut flags) = (list(), list());
    let mut received = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let unknown = Attributes::default();
    for item in items.iter().flatten() {
        let now = attributes.get(item).copied().unwrap_or(&unknown);
        for (column, texts) in [(&mut folders, &now.folders), (&mut flags, &now.flags)] {
            texts.iter().for_each(|text| column.values().append_value(text));
            column.append(true);
        }
        received.append_option(now.received_at);
    }
    let changed: [(&str, ArrayRef); 3] = [
        ("folders", Arc::new(folders.finish())),
        ("flags", Arc::new(flags.finish())),
        ("received_at", Arc::new(received.finish())),
    ];
    let schema = emails.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(emails.columns())
        .map(|(field, column)| {
            let new = changed.iter().find(|(name, _)| name == field.name());
            new.map_or_else(|| column.clone(), |(_, array)| array.clone())
        })
        .collect();
    RecordBatch::try_new(schema, columns).map_err(|source| TransformError::Arrow {
        dataset: DATASET.name,
        source,
    })
}
