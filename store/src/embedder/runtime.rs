//! ONNX Runtime, loaded once in a process.
//!
//! - In: the folder of models. Out: its environment.
//! - Not here: sessions (`transformer`).

use super::EmbedError;
use ort::environment::Environment;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The shared library, in the folder of models.
const LIBRARY: &str = "libonnxruntime.so";

/// The environment of `models`; whichever is loaded first stays for the life of the process.
pub(super) fn load(models: &Path) -> Result<Environment, EmbedError> {
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let path = models.join(LIBRARY);
    let failed = |source| EmbedError::Runtime {
        path: path.clone(),
        source,
    };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    // Which library is loaded must not hide that one is missing.
    fs::metadata(&path).map_err(|error| failed(error.into()))?;
    if let Some(environment) = loaded.as_ref() {
        return Ok(environment.clone());
    }
    let environment = ort::init_from(&path)
        .map_err(|error| failed(error.into()))?
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.into()))?;
    *loaded = Some(environment.clone());
    Ok(environment)
}
