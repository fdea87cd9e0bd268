//! The operations, each in its file.

pub(crate) mod create_token;
pub(crate) mod describe_dataset;
pub(crate) mod export_dataset;
pub(crate) mod get_item;
pub(crate) mod get_original;
pub(crate) mod get_run;
pub(crate) mod get_thumbnail;
pub(crate) mod list_audit;
pub(crate) mod list_datasets;
pub(crate) mod list_events;
pub(crate) mod list_pipelines;
pub(crate) mod list_queries;
pub(crate) mod list_runs;
pub(crate) mod list_tokens;
pub(crate) mod list_tools;
pub(crate) mod read_rows;
pub(crate) mod revoke_token;
pub(crate) mod run_query;
pub(crate) mod run_sql;
pub(crate) mod search;
pub(crate) mod verify_audit;
