//! `dkc://monitoring`: whether all is well, and what it costs.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::MONITORING,
    entries: &[
        Entry {
            uri: "dkc://monitoring",
            name: "monitoring",
            title: "Uptime",
            about: "How the service and the pipelines fare.",
            operation: "get_uptime_status",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://monitoring/alerts",
            name: "monitoring-alerts",
            title: "Alerts",
            about: "What is wrong, the gravest first.",
            operation: "get_alerts",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://monitoring/costs",
            name: "monitoring-costs",
            title: "Costs",
            about: "What services cost.",
            operation: "get_cost_summary",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://monitoring/resources",
            name: "monitoring-resources",
            title: "Resources",
            about: "The sizes of the datasets, and the disk.",
            operation: "get_resource_usage",
            fixed: &[],
            variables: &[],
        },
    ],
};
