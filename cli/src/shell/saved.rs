//! Queries that are kept by name: files in the folder `queries` of the data directory, which people may edit.

use miette::{IntoDiagnostic, Result, WrapErr, bail, miette};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

fn folder(data: &Path) -> PathBuf {
    data.join("queries")
}

fn path(data: &Path, name: &str) -> Result<PathBuf> {
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
    if !is_name {
        bail!(
            help = "write it of letters, digits, `-` and `_`",
            "`{name}` is no name of a saved query"
        );
    }
    Ok(folder(data).join(format!("{name}.sql")))
}

/// The names, in order.
pub fn names(data: &Path) -> Vec<String> {
    let files = fs::read_dir(folder(data)).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path());
    let of_sql = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    let mut names: Vec<String> = of_sql
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// What a query of this name says.
pub fn text(data: &Path, name: &str) -> Result<String> {
    let path = path(data, name)?;
    if !path.exists() {
        let names = names(data);
        let help = match names.is_empty() {
            true => "`.save NAME` keeps the last query that was answered".to_owned(),
            false => crate::config::nearest(name, names.iter().map(String::as_str)),
        };
        return Err(miette!(help = help, "there is no saved query `{name}`"));
    }
    fs::read_to_string(&path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read `{}`", path.display()))
}

/// Keeps a query; where it lies.
pub fn save(data: &Path, name: &str, query: &str) -> Result<PathBuf> {
    let path = path(data, name)?;
    let failed = || format!("cannot write `{}`", path.display());
    fs::create_dir_all(folder(data))
        .into_diagnostic()
        .wrap_err_with(failed)?;
    if path.exists() {
        bail!(
            help = "edit it, delete it, or choose another name",
            "`{}` is there already",
            path.display()
        );
    }
    let mut file = File::create_new(&path).into_diagnostic().wrap_err_with(failed)?;
    writeln!(file, "{query}")
        .into_diagnostic()
        .wrap_err_with(failed)?;
    Ok(path)
}
