//! A digest of rows that does not ask for their order, nor for the format they are written in.

use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow_array::{RecordBatch, StructArray};
use arrow_schema::Field;
use schemas::Digest;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The sum, modulo 2^256, of the SHA-256 of each row as a JSON object. Unlike an exclusive or, a sum does not forget a
/// row that is there twice.
#[derive(Debug, Default)]
pub(super) struct RowsDigest {
    /// 64 bits each, the lowest first.
    sum: [u64; 4],
}

impl RowsDigest {
    /// Adds the rows of a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let field = Arc::new(Field::new_struct("", batch.schema().fields().clone(), false));
        let options = EncoderOptions::default().with_explicit_nulls(true);
        let rows = StructArray::from(batch.clone());
        let mut encoder = make_encoder(&field, &rows, &options)?;
        let mut text = Vec::new();
        for row in 0..batch.num_rows() {
            text.clear();
            encoder.encode(row, &mut text);
            self.add_digest(&Sha256::digest(&text).into());
        }
        Ok(())
    }

    fn add_digest(&mut self, digest: &[u8; 32]) {
        let mut carry = 0;
        let (words, _) = digest.as_chunks::<8>();
        for (sum, word) in self.sum.iter_mut().zip(words.iter().rev()) {
            let total = u128::from(*sum) + u128::from(u64::from_be_bytes(*word)) + carry;
            *sum = total as u64;
            carry = total >> 64;
        }
    }

    /// The sum, as a digest.
    pub(super) fn finish(&self) -> Digest {
        let mut bytes = [0; 32];
        let words = self.sum.iter().rev().flat_map(|word| word.to_be_bytes());
        for (byte, of_word) in bytes.iter_mut().zip(words) {
            *byte = of_word;
        }
        Digest(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array};

    fn digest(values: &[i64]) -> Digest {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let mut digest = RowsDigest::default();
        digest
            .add(&RecordBatch::try_from_iter([("n", column)]).unwrap())
            .unwrap();
        digest.finish()
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_their_number_does() {
        assert_eq!(digest(&[1, 2, 3]), digest(&[3, 1, 2]));
        assert_ne!(digest(&[1, 2, 2]), digest(&[1, 1, 2]));
        assert_ne!(digest(&[1, 2, 2]), digest(&[1]));
    }

    #[test]
    fn sums_carry_into_the_next_word() {
        let mut digest = RowsDigest::default();
        digest.add_digest(&[0xff; 32]);
        digest.add_digest(&[[0; 31].as_slice(), &[2]].concat().try_into().unwrap());
        assert_eq!(digest.finish().0, *[[0; 31].as_slice(), &[1]].concat());
    }
}
