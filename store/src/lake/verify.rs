//! Is everything there, and as it was written? Reads every byte of the lake.

use crate::error::StoreError;
use crate::lake::catalog::{Catalog, LiveFile};
use crate::lake::{data_file, index};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use rayon::prelude::*;
use schemas::{Dataset, Digest, Home};
use serde::Serialize;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::path::Path;

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// Tables looked at.
    pub tables: usize,
    /// Data and delete files read.
    pub files: usize,
    /// Live rows read.
    pub rows: u64,
    /// Originals whose digest was computed again.
    pub originals: u64,
    /// What is wrong; empty when all is well.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, table or item.
    pub place: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

fn problem(place: impl ToString, problem: impl ToString) -> Problem {
    Problem {
        place: place.to_string(),
        problem: problem.to_string(),
    }
}

/// Reads the catalog, every file any snapshot names, every live row and every original.
///
/// # Errors
/// [`StoreError`] when the catalog cannot be read at all; damage found is in [`Verified::problems`].
pub async fn verify(catalog: &Catalog) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    for finding in catalog.integrity().await? {
        verified
            .problems
            .push(problem(catalog.database().label(), finding));
    }
    let head = catalog.head().await?;
    let mut originals: Option<HashSet<u64>> = None;
    // `raw` first: what is derived must have its original there.
    let mut datasets: Vec<&'static Dataset> = schemas::datasets::ALL
        .iter()
        .copied()
        .filter(|d| d.home == Home::Lake)
        .collect();
    datasets.sort_by_key(|dataset| dataset.name != "raw");
    for dataset in datasets {
        let files = catalog.all_files(dataset).await?;
        let live = catalog.files_at(dataset, head.id, None).await?;
        verified.tables += 1;
        verified.files += files.len();
        let (checked, units) = tokio::task::spawn_blocking(move || {
            let mut problems: Vec<Problem> = files.par_iter().filter_map(|file| intact(file).err()).collect();
            let damaged: HashSet<String> = problems.iter().map(|p| p.place.clone()).collect();
            let mut units = Units::default();
            for file in &live {
                let damage = [Some(&file.path), file.deletes.as_ref().map(|(_, path)| path)];
                if damage
                    .into_iter()
                    .flatten()
                    .any(|path| damaged.contains(&path.display().to_string()))
                {
                    continue;
                }
                if let Err(found) = rows_of(dataset, file, &mut units) {
                    problems.push(problem(file.path.display(), found));
                }
            }
            problems.append(&mut units.problems);
            (problems, units)
        })
        .await?;
        verified.problems.extend(checked);
        verified.rows += units.rows;
        verified.originals += units.originals;
        match &originals {
            None => originals = Some(units.items),
            Some(there) if matches!(dataset.name, "emails" | "email_attachments") => {
                let orphans = units.items.difference(there).count();
                if orphans > 0 {
                    verified.problems.push(problem(
                        dataset.name,
                        match orphans {
                            1 => "1 item has no original in `raw`".to_owned(),
                            several => format!("{several} items have no original in `raw`"),
                        },
                    ));
                }
            }
            Some(_) => {}
        }
    }
    Ok(verified)
}

/// Whether a file is there with the digest its name promises.
fn intact(path: &Path) -> Result<(), Problem> {
    let found = data_file::digest_of_file(path)
        .map_err(|error| problem(path.display(), format!("{error}; restore it from a backup")))?;
    match data_file::promised_digest(path) {
        Some(promised) if promised != found => Err(problem(
            path.display(),
            format!("its bytes changed since it was written (SHA-256 is {found}); restore it from a backup"),
        )),
        // Files of other programs promise nothing; that their rows can be read is checked beside.
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Units {
    rows: u64,
    originals: u64,
    keys: HashSet<u64>,
    items: HashSet<u64>,
    problems: Vec<Problem>,
}

/// Reads the live rows of a file and checks their number, their keys and, in `raw`, their digests.
fn rows_of(dataset: &Dataset, file: &LiveFile, units: &mut Units) -> Result<(), String> {
    let mut rows = 0;
    for batch in index::read_live(file, None).map_err(|e| e.to_string())? {
        let batch = batch
            .and_then(|b| data_file::to_dataset(dataset, &b))
            .map_err(|e| e.to_string())?;
        rows += batch.num_rows() as i64;
        check_keys(dataset, &batch, units)?;
        if dataset.name == "raw" {
            check_originals(&batch, units)?;
        }
    }
    units.rows += rows as u64;
    let expected = file.rows - file.deleted;
    if rows == expected {
        Ok(())
    } else {
        Err(format!("{rows} live rows, the catalog says {expected}"))
    }
}

fn check_keys(dataset: &Dataset, batch: &RecordBatch, units: &mut Units) -> Result<(), String> {
    let text = |name: &str| index::texts(batch, name).ok_or_else(|| format!("no text column `{name}`"));
    let (sources, items, unit) = (text("_source")?, text("_item")?, text(dataset.unit)?);
    let one_row_a_unit = dataset.key == ["_source", dataset.unit];
    for row in 0..batch.num_rows() {
        units.items.insert(hash([sources.value(row), items.value(row)]));
        if one_row_a_unit && !units.keys.insert(hash([sources.value(row), unit.value(row)])) {
            units.problems.push(problem(
                dataset.name,
                format!("`{}` of `{}` is there twice", unit.value(row), sources.value(row)),
            ));
        }
    }
    Ok(())
}

fn check_originals(batch: &RecordBatch, units: &mut Units) -> Result<(), String> {
    let text = |name: &str| index::texts(batch, name).ok_or_else(|| format!("no text column `{name}`"));
    let (items, digests, paths) = (text("_item")?, text("sha256")?, text("path")?);
    let bytes = batch
        .column_by_name("bytes")
        .and_then(|column| column.as_binary_view_opt())
        .ok_or("no column `bytes`")?;
    for row in 0..batch.num_rows() {
        units.originals += 1;
        let expected = digests.value(row);
        let wrong = if bytes.is_valid(row) {
            let found = Digest::of(bytes.value(row)).to_string();
            let wrong =
                || format!("the original's SHA-256 is {found}, and was {expected} when it was fetched");
            (found != expected).then(wrong)
        } else {
            let path = paths.value(row);
            match data_file::digest_of_file(Path::new(path)) {
                Ok(found) if found == expected => None,
                Ok(_) => Some(format!("`{path}` has changed since; the next run follows it")),
                Err(error) => Some(format!(
                    "{error}; if it was moved or deleted, the next run follows it"
                )),
            }
        };
        units
            .problems
            .extend(wrong.map(|wrong| problem(items.value(row), wrong)));
    }
    Ok(())
}

/// Equal for equal keys throughout this program.
fn hash(key: impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}
