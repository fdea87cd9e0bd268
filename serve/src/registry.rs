//! All operations, in the order in which documents list them.

use crate::operation::Operation;
use crate::operations::*;

/// All operations.
pub const ALL: &[&Operation] = &[
    &list_datasets::OPERATION,
    &describe_dataset::OPERATION,
    &read_rows::OPERATION,
    &export_dataset::OPERATION,
    &get_item::OPERATION,
    &get_original::OPERATION,
    &get_thumbnail::OPERATION,
    &run_sql::OPERATION,
    &list_queries::OPERATION,
    &run_query::OPERATION,
    &search::OPERATION,
    &list_pipelines::OPERATION,
    &list_runs::OPERATION,
    &get_run::OPERATION,
    &list_events::OPERATION,
    &list_tools::OPERATION,
    &list_tokens::OPERATION,
    &create_token::OPERATION,
    &revoke_token::OPERATION,
    &list_audit::OPERATION,
    &verify_audit::OPERATION,
];

/// The operation of a name.
pub fn by_name(name: &str) -> Option<&'static Operation> {
    ALL.iter().copied().find(|operation| operation.name == name)
}
