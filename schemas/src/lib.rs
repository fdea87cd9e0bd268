//! What every table is, and the few words that cross a crate border.
//!
//! - In: nothing. Out: datasets (name, key, documented columns), row builders, items, cursors.
//! - Not here: any I/O, clock, query engine or store. This crate only describes.

pub mod dataset;
pub mod datasets;
pub mod item;
pub mod media_type;
pub mod names;
pub mod near;
pub mod role;
pub mod rows;
pub mod search;
pub mod secret_names;
pub mod to_arrow;
pub mod view;

pub use dataset::{Column, Dataset, Home, Kind, Privacy};
pub use item::{Attributes, Location, Original, RawItem, Reject, Touched};
pub use names::{Cursor, Digest, Instant, RunId, SourceName};
pub use role::Role;
pub use rows::{Misfit, Provenance, Row, Rows, Value};
pub use search::{Field, Operator, Search};
pub use view::View;
