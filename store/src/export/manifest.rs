//! What stands beside an export: what was asked, of which snapshot, and the digests by which it is checked.
//!
//! - In: an export. Out: JSON; and back, if nobody has touched it.
//! - Not here: whether the files are still what it says (`check`).

use jiff::Timestamp;
use schemas::Digest;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The shape of manifests written here. A change that old programs would misread raises it.
const VERSION: u32 = 1;

/// A larger file is no manifest of ours: about a million originals.
const MOST_BYTES: u64 = 1 << 30;

/// The manifest of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this shape.
    pub manifest_version: u32,
    /// The program that wrote the export, with its version.
    pub program: String,
    /// When it did; UTC.
    pub made_at: Timestamp,
    /// What was asked, and of which snapshot.
    pub origin: Origin,
    /// What was written.
    pub content: Content,
    /// SHA-256 of all the above, as JSON without spaces: shows that nobody has edited it. It is no signature.
    pub seal: String,
}

/// What was asked, and of which snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// A whole dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Or a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The snapshot that was read.
    pub snapshot: i64,
    /// When that was committed; UTC.
    pub snapshot_time: Timestamp,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Rows in one file.
    Table(Table),
    /// Originals, or attachments, a file each.
    Originals(Vec<Original>),
}

/// Rows in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Name of the file, which lies beside the manifest.
    pub file: String,
    /// Its format.
    pub format: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: u64,
    /// The digest of its rows, whatever their order: the sum, modulo 2^256, of the SHA-256 of each as a JSON object.
    pub rows_digest: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in the file.
    pub name: String,
    /// Its type in Arrow, which most formats write as a simpler one.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// One original, or one attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Original {
    /// Name of the file, which lies beside the manifest.
    pub file: String,
    /// `_source` of the item.
    pub source: String,
    /// `_item`.
    pub item: String,
    /// Position of the attachment within its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<i64>,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: String,
}

/// Why there is no manifest to go by.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("there is no manifest `{}`: {source}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not one.
    #[error("`{}` is not a manifest of dkc: {source}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// It is of a later version.
    #[error("`{}` has version {found}, and this dkc knows {VERSION}; use a newer dkc", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Its seal does not fit.
    #[error("`{}` was edited: it is not as dkc wrote it", .0.display())]
    Edited(PathBuf),
}

impl Manifest {
    /// The manifest of what was just written.
    ///
    /// # Errors
    /// When it cannot be JSON, which does not happen.
    pub fn new(origin: Origin, content: Content) -> Result<Self, serde_json::Error> {
        let manifest = Self {
            manifest_version: VERSION,
            program: concat!("dkc ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_at: Timestamp::now(),
            origin,
            content,
            seal: String::new(),
        };
        Ok(Self {
            seal: manifest.sealed()?,
            ..manifest
        })
    }

    /// What its seal should be.
    fn sealed(&self) -> Result<String, serde_json::Error> {
        let open = Self {
            seal: String::new(),
            ..self.clone()
        };
        Ok(Digest::of(&serde_json::to_vec(&open)?).to_string())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] when there is none, or it is not as it was written.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let missing = |source| ManifestError::Missing {
            path: path.to_owned(),
            source,
        };
        let foreign = |source| ManifestError::Foreign {
            path: path.to_owned(),
            source,
        };
        if path.metadata().map_err(missing)?.len() > MOST_BYTES {
            return Err(missing(io::Error::other("it is too large to be one")));
        }
        let bytes = std::fs::read(path).map_err(missing)?;
        /// What all versions have.
        #[derive(Deserialize)]
        struct Any {
            manifest_version: u32,
        }
        let found = serde_json::from_slice::<Any>(&bytes)
            .map_err(foreign)?
            .manifest_version;
        if found > VERSION {
            return Err(ManifestError::Newer {
                path: path.to_owned(),
                found,
            });
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(foreign)?;
        if manifest.sealed().map_err(foreign)? != manifest.seal {
            return Err(ManifestError::Edited(path.to_owned()));
        }
        Ok(manifest)
    }

    /// Where the manifest of a file is: `FILE.manifest.json`.
    pub fn path_of(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(Self::ENDING);
        name.into()
    }

    /// The end of a manifest's name.
    pub const ENDING: &'static str = ".manifest.json";

    /// The name of a folder's manifest.
    pub const OF_FOLDER: &'static str = "originals.manifest.json";
}
