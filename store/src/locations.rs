//! Rows of `locations` → what they say.

use crate::error::StoreError;
use crate::lake::index;
use arrow_array::{Array, RecordBatch};
use schemas::Location;

/// The places in a batch.
pub(crate) fn of(batch: &RecordBatch) -> Result<Vec<Location>, StoreError> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::TimestampMicrosecondType;
    let unfit = |name: &str| StoreError::Unfit {
        reason: format!("`locations` lacks `{name}`"),
    };
    let text = |name: &str| index::texts(batch, name).ok_or_else(|| unfit(name));
    let (items, places, folders, versions) = (
        text("_item")?,
        text("location")?,
        text("folder")?,
        text("version")?,
    );
    let flags = batch
        .column_by_name("flags")
        .and_then(|c| c.as_list_opt::<i32>())
        .ok_or_else(|| unfit("flags"))?;
    let received = batch
        .column_by_name("received_at")
        .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| unfit("received_at"))?;
    (0..batch.num_rows())
        .map(|row| {
            let listed = flags.value(row);
            let listed = listed.as_string_opt::<i32>().ok_or_else(|| unfit("flags"))?;
            Ok(Location {
                location: places.value(row).to_owned(),
                item: items.value(row).to_owned(),
                folder: folders.value(row).to_owned(),
                version: versions.value(row).to_owned(),
                flags: listed.iter().flatten().map(str::to_owned).collect(),
                received_at: received.is_valid(row).then(|| received.value(row)),
            })
        })
        .collect()
}
