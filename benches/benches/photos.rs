//! Photos → what they say of themselves, on all cores, without a digest: what reading metadata alone takes.
//!
//! - In: the folder that `DKC_BENCH_PHOTOS` names; `photos.py` makes it.
//! - Out: photos a second; `photos.py` reads it.

#![expect(clippy::print_stdout, reason = "a figure is what it is for")]

use rayon::prelude::*;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder =
        env::var_os("DKC_BENCH_PHOTOS").ok_or("DKC_BENCH_PHOTOS is not set; run: benches/photos.py")?;
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let paths: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
    let took = benches::fastest(|| {
        paths.par_iter().try_for_each(|path| {
            let photo = collectors::photos::metadata(path)?;
            photo.taken_at.map(drop).ok_or("no time was read".to_owned())
        })
    })?;
    println!("{:.0}", paths.len() as f64 / took.as_secs_f64());
    Ok(())
}
