//! Originals and rejects → rows of their datasets.

use crate::apart::convert_apart;
use crate::error::RunError;
use arrow_array::RecordBatch;
use schemas::datasets::raw::{self, RawRow};
use schemas::datasets::rejects::{self, RejectRow};
use schemas::{Original, Provenance, RawItem, Reject, Rows};
use transforms::{Converted, converter_of};

/// Rows of `raw`.
pub fn raw_rows(originals: &[RawItem], provenance: &Provenance) -> Result<RecordBatch, RunError> {
    let mut rows = Rows::of_lake(&raw::DATASET, provenance.clone());
    for original in originals {
        rows.push(&RawRow::from(original))?;
    }
    Ok(rows.finish()?)
}

/// Rows of `rejects`.
pub fn reject_rows(rejected: &[Reject], provenance: &Provenance) -> Result<RecordBatch, RunError> {
    let mut rows = Rows::of_lake(&rejects::DATASET, provenance.clone());
    for reject in rejected {
        tracing::info!(source = %provenance.source, item = reject.item, reason = reject.reason, "rejected");
        rows.push(&RejectRow {
            source: &provenance.source,
            reject,
        })?;
    }
    Ok(rows.finish()?)
}

/// Rows of the datasets that the originals' media types become, and what could not be converted.
pub fn convert(originals: &[RawItem], provenance: &Provenance) -> Converted {
    let mut all = Converted::default();
    let mut rest = originals;
    // Neighbours of one media type are converted together; collectors push them so.
    while let Some(first) = rest.first() {
        let same = rest
            .iter()
            .take_while(|item| item.media_type == first.media_type)
            .count();
        let (group, others) = rest.split_at(same);
        rest = others;
        match converter_of(first.media_type) {
            Some((converter, _)) => all.add(match converter.isolated {
                true => convert_apart(group, provenance),
                false => (converter.convert)(group, provenance),
            }),
            None => all.rejects.extend(group.iter().filter_map(unconverted)),
        }
    }
    all
}

/// Why an original became no rows. One by reference brought its rows along.
fn unconverted(original: &RawItem) -> Option<Reject> {
    matches!(original.original, Original::Bytes(_))
        .then(|| original.reject(format!("no converter takes `{}`", original.media_type)))
}
