//! Queries over a lake, through the guard and its process, and in the engine alone.
//!
//! - In: the data directory (`DKC_BENCH_LAKE`), the program (`DKC`), and on standard input a query a line.
//! - Out: a line a query, as soon as it is answered: milliseconds through the guard and without, with a tab between.
//!   `sql.py` reads it, and asks each query several times in turns with its peer.
//! - A query comes when the process that waits for it has had time to get ready, as one that a person types.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_ducklake::{DuckLakeCatalog, SqliteMetadataProvider};
use futures::TryStreamExt;
use std::error::Error;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, hint};
use store::query::{Limits, Query, Spare, Workers};
use store::search::Models;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long a process is given to get ready.
const BETWEEN: Duration = Duration::from_millis(150);

/// As `dkc` has them when nothing is configured, on two cores with 24 GiB of memory.
const LIMITS: Limits = Limits {
    memory_bytes: 3 << 30,
    time: Duration::from_secs(60),
    threads: 2,
    rows: None,
    bytes: None,
};

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome {
    let path = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .ok_or(format!("{name} is not set; run: make bench-sql"))
    };
    let (data, program) = (path("DKC_BENCH_LAKE")?, path("DKC")?);
    let workers = Workers::start(&program, &data, LIMITS, Models::default(), Spare::Always);
    let engine = plain(&data).await?;
    for query in io::stdin().lock().lines() {
        let query = query?;
        tokio::time::sleep(BETWEEN).await;
        let began = Instant::now();
        drain(workers.run_user_sql(&Query::from(query.as_str())).await?).await?;
        let guarded = began.elapsed();
        // Not beside the process that gets ready for the next query.
        tokio::time::sleep(BETWEEN).await;
        let began = Instant::now();
        drain(run_alone(&engine, &query).await?).await?;
        let alone = began.elapsed();
        println!("{}\t{}", guarded.as_secs_f64() * 1e3, alone.as_secs_f64() * 1e3);
    }
    Ok(())
}

async fn run_alone(engine: &SessionContext, query: &str) -> Outcome<SendableRecordBatchStream> {
    Ok(engine.sql(query).await?.execute_stream().await?)
}

async fn drain(mut rows: SendableRecordBatchStream) -> Outcome {
    while let Some(batch) = rows.try_next().await? {
        hint::black_box(batch);
    }
    Ok(())
}

/// The engine with its defaults, over the same tables.
async fn plain(data: &Path) -> Outcome<SessionContext> {
    let config = SessionConfig::new()
        .with_default_catalog_and_schema("lake", "main")
        .with_target_partitions(LIMITS.threads);
    let context = SessionContext::new_with_config(config);
    let catalog = data.join("lake").join("catalog.sqlite");
    let provider = SqliteMetadataProvider::new(&format!("sqlite://{}", catalog.display())).await?;
    context.register_catalog("lake", Arc::new(DuckLakeCatalog::new(provider)?));
    Ok(context)
}
