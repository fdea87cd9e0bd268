//! The answer to EXPLAIN, for people: the plan as it is, not as a cell of a table.

use arrow_array::cast::AsArray;
use arrow_schema::Schema;
use futures::StreamExt;
use miette::{IntoDiagnostic, Result};
use std::io::Write;
use std::str::FromStr;
use store::export::{Format, SendableRecordBatchStream, Written};

/// When plans are shown as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Explain {
    /// Where other answers are tables.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl FromStr for Explain {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

impl Explain {
    /// Whether rows of this schema are a plan to be shown as text.
    pub fn applies(self, schema: &Schema, format: Format) -> bool {
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let is_wanted = match self {
            Self::Auto => matches!(format, Format::Table | Format::Line),
            Self::On => true,
            Self::Off => false,
        };
        is_wanted && names == ["plan_type", "plan"]
    }
}

/// Writes a plan.
pub async fn write(mut rows: SendableRecordBatchStream, out: &mut (dyn Write + Send)) -> Result<Written> {
    let mut written = Written::default();
    while let Some(batch) = rows.next().await {
        let batch = batch.into_diagnostic()?;
        let texts = |n: usize| {
            batch
                .columns()
                .get(n)
                .and_then(|column| column.as_string_opt::<i32>())
        };
        let (Some(kinds), Some(plans)) = (texts(0), texts(1)) else {
            continue;
        };
        for (kind, plan) in kinds.iter().zip(plans) {
            written.rows += 1;
            writeln!(out, "{}", kind.unwrap_or_default()).into_diagnostic()?;
            for line in plan.unwrap_or_default().lines() {
                writeln!(out, "  {line}").into_diagnostic()?;
            }
        }
    }
    out.flush().into_diagnostic()?;
    Ok(written)
}
