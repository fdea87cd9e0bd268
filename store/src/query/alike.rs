//! The function that a reader's SQL has beside the engine's own.
//!
//! - Out: `bit_distance(a, b)`, in how many bits two integers differ: 0 to 64.
//! - Not here: which functions may be called (`functions`).

use arrow::array::Int64Array;
use arrow::compute::binary;
use arrow::datatypes::DataType;
use datafusion::common::cast::as_int64_array;
use datafusion::common::exec_err;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use std::sync::Arc;

/// `bit_distance(a, b)`: it tells how much alike two perceptual hashes are.
pub(super) fn bit_distance() -> ScalarUDF {
    let distance = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let [one, other] = arrays.as_slice() else {
            return exec_err!("bit_distance takes two integers");
        };
        let differing = |one: i64, other: i64| i64::from((one ^ other).count_ones());
        let distances: Int64Array = binary(as_int64_array(one)?, as_int64_array(other)?, differing)?;
        Ok(ColumnarValue::Array(Arc::new(distances)))
    };
    create_udf(
        "bit_distance",
        vec![DataType::Int64, DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(distance),
    )
}
