//! The tables of each part in each dialect, and making those that are missing.
//!
//! - What was made stays as it is; what is new comes in a file of its own, with a higher number.
//! - The tables of the catalog are DuckLake's: they are made together with the first snapshot (`lake::catalog`).

use super::{Part, is_postgres, lock};
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, SqlSafeStr};

/// Where sqlx writes down which files were applied.
const APPLIED: &str = "_sqlx_migrations";

/// A file: its number, its name, its text.
type Step = (i64, &'static str, &'static str);

/// Every statement up to 5 is `IF NOT EXISTS`: older data directories have these tables, and no list of files.
const SQLITE_STATE: &[Step] = &[
    (
        1,
        "runs",
        include_str!("../../migrations/sqlite/state/0001_runs.sql"),
    ),
    (
        2,
        "tokens",
        include_str!("../../migrations/sqlite/state/0002_tokens.sql"),
    ),
    (
        4,
        "events",
        include_str!("../../migrations/sqlite/state/0004_events.sql"),
    ),
    (
        5,
        "approvals",
        include_str!("../../migrations/sqlite/state/0005_approvals.sql"),
    ),
    (
        6,
        "queue",
        include_str!("../../migrations/sqlite/state/0006_queue.sql"),
    ),
    (
        7,
        "alerts",
        include_str!("../../migrations/sqlite/state/0007_alerts.sql"),
    ),
    (
        8,
        "runs_found",
        include_str!("../../migrations/sqlite/state/0008_runs_found.sql"),
    ),
];

const POSTGRES_STATE: &[Step] = &[
    (
        1,
        "runs",
        include_str!("../../migrations/postgres/state/0001_runs.sql"),
    ),
    (
        2,
        "tokens",
        include_str!("../../migrations/postgres/state/0002_tokens.sql"),
    ),
    (
        4,
        "events",
        include_str!("../../migrations/postgres/state/0004_events.sql"),
    ),
    (
        5,
        "approvals",
        include_str!("../../migrations/postgres/state/0005_approvals.sql"),
    ),
    (
        7,
        "alerts",
        include_str!("../../migrations/postgres/state/0007_alerts.sql"),
    ),
    (
        8,
        "runs_found",
        include_str!("../../migrations/postgres/state/0008_runs_found.sql"),
    ),
];

const SQLITE_AUDIT: &[Step] = &[(
    3,
    "audit",
    include_str!("../../migrations/sqlite/audit/0003_audit.sql"),
)];

const POSTGRES_AUDIT: &[Step] = &[(
    3,
    "audit",
    include_str!("../../migrations/postgres/audit/0003_audit.sql"),
)];

const fn steps(part: Part, is_postgres: bool) -> &'static [Step] {
    match (part, is_postgres) {
        (Part::Lake, _) => &[],
        (Part::State, false) => SQLITE_STATE,
        (Part::State, true) => POSTGRES_STATE,
        (Part::Audit, false) => SQLITE_AUDIT,
        (Part::Audit, true) => POSTGRES_AUDIT,
    }
}

/// Makes the tables of a part that are missing, and in Postgres their schema. One program does, others wait for it; where
/// nothing is missing nothing is written.
///
/// # Errors
/// [`MigrateError::VersionMissing`] when a newer dkc was here; else the database's refusal.
pub(super) async fn run(connection: &mut AnyConnection, part: Part) -> Result<(), MigrateError> {
    let is_postgres = is_postgres(connection);
    let known: Vec<Migration> = steps(part, is_postgres)
        .iter()
        .map(|(number, name, text)| {
            let text = text.into_sql_str();
            Migration::new(*number, (*name).into(), MigrationType::Simple, text, false)
        })
        .collect();
    if is_done(connection, &known).await? {
        return Ok(());
    }
    let begin = if is_postgres { "BEGIN" } else { "BEGIN IMMEDIATE" };
    let mut transaction = connection.begin_with(begin).await?;
    if is_postgres {
        lock(&mut transaction, part).await?;
        // Whoever may not make schemas may still use one that is there.
        if !has_schema(&mut transaction).await? {
            let make = format!("CREATE SCHEMA {}", part.schema());
            sqlx::query(AssertSqlSafe(make))
                .execute(&mut *transaction)
                .await?;
        }
    }
    if !known.is_empty() {
        let mut migrator = Migrator::with_migrations(known);
        // The transaction keeps others out. sqlx's own lock ends before it, and SQLite has none.
        migrator.set_locking(false);
        migrator.run_direct(None, &mut *transaction, false).await?;
    }
    Ok(transaction.commit().await?)
}

/// Whether all was made before, and nothing else.
async fn is_done(connection: &mut AnyConnection, known: &[Migration]) -> Result<bool, MigrateError> {
    let is_postgres = is_postgres(connection);
    if known.is_empty() {
        return Ok(!is_postgres || has_schema(connection).await?);
    }
    let list = if is_postgres {
        "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1"
    } else {
        "SELECT count(*) FROM sqlite_master WHERE name = $1"
    };
    let lists: i64 = sqlx::query_scalar(list)
        .bind(APPLIED)
        .fetch_one(&mut *connection)
        .await?;
    if lists == 0 {
        return Ok(false);
    }
    let applied = connection.list_applied_migrations(APPLIED).await?;
    let applied = applied.iter().map(|file| (file.version, &file.checksum));
    Ok(applied.eq(known.iter().map(|file| (file.version, &file.checksum))))
}

/// Whether the schema of a connection is there; Postgres only.
async fn has_schema(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    // The search path names one alone.
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = current_schema()")
        .fetch_one(connection)
        .await?;
    Ok(there > 0)
}
