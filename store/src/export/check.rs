//! Is an export still what its manifest says?
//!
//! - In: a file, its manifest, or a folder of originals. Out: what was compared, and what differs.
//! - Rows are counted by readers of their formats, most of which are not the writers.
//! - Not here: the lake. [`compare_again`] takes the rows that a query gives now.

use super::manifest::{Content, Manifest, ManifestError, Original, Table};
use super::{ExportError, Format, RowsDigest, SendableRecordBatchStream, cells};
use calamine::{DataType, Reader, Xlsx};
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Digest;
use serde::Serialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use sha2::Digest as _;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What came of a check.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// The file or the folder.
    pub path: PathBuf,
    /// Rows found, where the format says how many there are; of a folder, its files.
    pub rows: Option<u64>,
    /// Bytes found.
    pub bytes: u64,
    /// What was compared with the manifest.
    pub compared: Vec<&'static str>,
    /// What differs or is missing, a sentence each.
    pub problems: Vec<String>,
}

/// Reads a file, or all files of a folder, and compares them with their manifest. The manifest is given back when there
/// is one to trust.
pub fn check(path: &Path) -> (Checked, Option<Manifest>) {
    let mut checked = Checked {
        path: path.to_owned(),
        ..Checked::default()
    };
    let manifest = match path.is_dir() {
        true => path.join(Manifest::OF_FOLDER),
        false => of_manifest(path).map_or_else(|| Manifest::path_of(path), |_| path.to_owned()),
    };
    let manifest = match Manifest::read(&manifest) {
        Ok(read) => {
            checked.path = match &read.content {
                Content::Table(_) => of_manifest(&manifest).unwrap_or_default(),
                Content::Originals(_) => manifest.parent().unwrap_or(Path::new(".")).to_owned(),
            };
            read
        }
        Err(error) => {
            if matches!(error, ManifestError::Missing { .. }) && path.symlink_metadata().is_err() {
                checked.problems.push("there is no such file".to_owned());
            } else {
                checked.problems.push(error.to_string());
            }
            return (checked, None);
        }
    };
    match &manifest.content {
        Content::Table(table) => check_table(table, &mut checked),
        Content::Originals(originals) => check_originals(originals, &mut checked),
    }
    (checked, Some(manifest))
}

/// The file whose manifest this is.
fn of_manifest(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(Manifest::ENDING)?;
    Some(path.with_file_name(name))
}

fn check_table(table: &Table, checked: &mut Checked) {
    let path = checked.path.clone();
    match digest(&path) {
        Ok((bytes, sha256)) => {
            checked.bytes = bytes;
            checked.compared.extend(["bytes", "sha256"]);
            differs("bytes", bytes, table.bytes, &mut checked.problems);
            differs("SHA-256", sha256, table.sha256.clone(), &mut checked.problems);
        }
        Err(error) => {
            checked.problems.push(format!("it cannot be read: {error}"));
            return;
        }
    }
    match table.format.parse().map(|format| count(format, &path)) {
        Ok(Ok(Some((rows, names)))) => {
            checked.rows = Some(rows);
            checked.compared.push("rows");
            differs("rows", rows, table.rows, &mut checked.problems);
            if let Some(names) = names {
                checked.compared.push("columns");
                let wanted = table
                    .columns
                    .iter()
                    .map(|column| column.name.clone())
                    .collect::<Vec<_>>();
                differs(
                    "columns",
                    names.join(", "),
                    wanted.join(", "),
                    &mut checked.problems,
                );
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => checked
            .problems
            .push(format!("it cannot be read as {}: {error}", table.format)),
        Err(error) => checked.problems.push(error.to_string()),
    }
}

fn check_originals(originals: &[Original], checked: &mut Checked) {
    checked.compared.extend(["bytes", "sha256"]);
    checked.rows = Some(originals.len() as u64);
    for original in originals {
        let path = checked.path.join(&original.file);
        // A name that leads elsewhere is not one that dkc wrote.
        if Path::new(&original.file).file_name() != Some(original.file.as_ref()) {
            checked
                .problems
                .push(format!("`{}` is no name of a file", original.file));
            continue;
        }
        match digest(&path) {
            Ok((bytes, sha256)) => {
                checked.bytes += bytes;
                if (bytes, &sha256) != (original.bytes, &original.sha256) {
                    checked.problems.push(format!(
                        "`{}` has {bytes} bytes and SHA-256 {sha256}, in the manifest {} and {}",
                        original.file, original.bytes, original.sha256
                    ));
                }
            }
            Err(error) => checked
                .problems
                .push(format!("`{}` cannot be read: {error}", original.file)),
        }
    }
}

fn differs<T: PartialEq + std::fmt::Display>(what: &str, found: T, wanted: T, problems: &mut Vec<String>) {
    if found != wanted {
        problems.push(format!("{what}: {found}, in the manifest {wanted}"));
    }
}

/// Length and SHA-256 of a file.
pub(super) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut sha256 = sha2::Sha256::new();
    let bytes = io::copy(&mut file, &mut sha256)?;
    Ok((bytes, Digest(sha256.finalize().into()).to_string()))
}

type Counted = (u64, Option<Vec<String>>);

/// Rows of a file, and the names of its columns where each row need not be asked for them.
fn count(format: Format, path: &Path) -> Result<Option<Counted>, Box<dyn Error>> {
    let open = || File::open(path).map(BufReader::new);
    let names = |schema: &arrow_schema::Schema| {
        let fields = schema.fields().iter();
        Some(fields.map(|field| field.name().clone()).collect())
    };
    Ok(Some(match format {
        // It has no row ends that a value could not have as well.
        Format::Table | Format::Line => return Ok(None),
        Format::Csv => {
            let csv = arrow::csv::reader::Format::default().with_header(true);
            let (schema, _) = csv.infer_schema(open()?, Some(0))?;
            let as_text = schema.fields().iter().map(|field| {
                let field = field.as_ref().clone();
                field.with_data_type(arrow_schema::DataType::Utf8)
            });
            let as_text = arrow_schema::Schema::new(as_text.collect::<Vec<_>>());
            let rows = arrow::csv::ReaderBuilder::new(as_text.into())
                .with_format(csv)
                .build(open()?)?;
            (sum(rows)?, names(&schema))
        }
        Format::Json => (
            serde_json::Deserializer::from_reader(open()?).deserialize_seq(Elements)?,
            None,
        ),
        Format::Js => {
            let mut script = open()?;
            script.skip_until(b'=')?;
            (
                serde_json::Deserializer::from_reader(script).deserialize_seq(Elements)?,
                None,
            )
        }
        Format::Ndjson => {
            let mut rows = 0;
            for row in serde_json::Deserializer::from_reader(open()?).into_iter::<IgnoredAny>() {
                row?;
                rows += 1;
            }
            (rows, None)
        }
        Format::Markdown => {
            let lines = open()?
                .split(b'\n')
                .try_fold(0_u64, |lines, line| line.map(|_| lines + 1))?;
            (lines.checked_sub(2).ok_or("it has no header")?, None)
        }
        Format::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
            let rows = u64::try_from(reader.metadata().file_metadata().num_rows())?;
            (rows, names(reader.schema()))
        }
        Format::Arrow => {
            let reader = arrow::ipc::reader::FileReader::try_new(open()?, None)?;
            let schema = reader.schema();
            (sum(reader)?, names(&schema))
        }
        Format::ArrowStream => {
            let reader = arrow::ipc::reader::StreamReader::try_new(open()?, None)?;
            let schema = reader.schema();
            (sum(reader)?, names(&schema))
        }
        Format::Xlsx => count_sheet(open()?)?,
    }))
}

fn sum(
    mut batches: impl Iterator<Item = Result<arrow_array::RecordBatch, arrow_schema::ArrowError>>,
) -> Result<u64, arrow_schema::ArrowError> {
    batches.try_fold(0, |rows, batch| Ok(rows + batch?.num_rows() as u64))
}

fn count_sheet(file: BufReader<File>) -> Result<Counted, Box<dyn Error>> {
    let mut workbook = Xlsx::new(file)?;
    let sheet = workbook.sheet_names().first().cloned().unwrap_or_default();
    let mut cells = workbook.worksheet_cells_reader(&sheet)?;
    let (mut last, mut names) = (0, Vec::new());
    while let Some(cell) = cells.next_cell()? {
        let (row, _) = cell.get_position();
        last = last.max(row);
        if row == 0 {
            names.push(cell.get_value().get_string().unwrap_or_default().to_owned());
        }
    }
    Ok((u64::from(last), Some(names)))
}

/// Counts the elements of an array, of which none is kept.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while rows.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// Compares the rows that a query gives now with those that a file was made of, whatever their order.
///
/// # Errors
/// [`ExportError`] when the query breaks off.
pub async fn compare_again(
    mut stream: SendableRecordBatchStream,
    table: &Table,
    checked: &mut Checked,
) -> Result<(), ExportError> {
    let (schema, _) = cells::open_schema(&stream.schema());
    let (mut digest, mut rows) = (RowsDigest::default(), 0);
    while let Some(batch) = stream.next().await {
        let batch = cells::open(&batch.map_err(|error| ExportError::Query(error.into()))?, &schema)?;
        rows += batch.num_rows() as u64;
        digest.add(&batch)?;
    }
    checked.compared.push("rows of the lake");
    if rows != table.rows {
        differs("rows of the lake", rows, table.rows, &mut checked.problems);
    } else if digest.finish().to_string() != table.rows_digest {
        checked.problems.push(format!(
            "rows of the lake: {rows} as in the manifest, but not the same ones"
        ));
    }
    Ok(())
}
