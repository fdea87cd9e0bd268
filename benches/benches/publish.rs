//! Publishing to Postgres: `emails` without bodies, all of them and then again when nothing is new.
//!
//! - In: `DKC_BENCH_DATA`, a data directory with mails; `DKC_BENCH_POSTGRES`, the URL of an empty database.
//! - Out: a line a figure, with tabs between.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use schemas::datasets::emails::DATASET;
use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use store::relational::Publisher;
use store::{Place, Store};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let (Ok(data), Ok(url)) = (env::var("DKC_BENCH_DATA"), env::var("DKC_BENCH_POSTGRES")) else {
        println!("publish\tset DKC_BENCH_DATA and DKC_BENCH_POSTGRES");
        return Ok(());
    };
    let data = PathBuf::from(data);
    let store = Store::open(&data).await?;
    let place = Place {
        postgres: Some(url.into()),
        ..Place::from(&data)
    };
    let publisher = Publisher::open(&place)?.ok_or("there is no Postgres")?;
    let columns: Vec<&str> = DATASET
        .all_columns()
        .map(|column| column.name)
        .filter(|name| *name != "body_text")
        .collect();
    let began = Instant::now();
    let published = publisher
        .follow_columns(&store, &DATASET, &columns)
        .await?
        .ok_or("there was nothing to publish")?;
    let took = began.elapsed().as_secs_f64();
    println!("publish\trows\t{}", published.came.rows);
    println!(
        "publish\trows a second, without bodies\t{:.0}",
        published.came.rows as f64 / took
    );
    let began = Instant::now();
    publisher.follow_columns(&store, &DATASET, &columns).await?;
    println!(
        "publish\tms when nothing is new\t{:.1}",
        began.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}
