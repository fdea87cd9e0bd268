//! `dkc://project-config`: manifests and dependencies of projects in the allowed folders.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::PROJECTS,
    entries: &[
        Entry {
            uri: "dkc://project-config",
            name: "project-config",
            title: "Projects",
            about: "The projects of all allowed folders.",
            operation: "list_projects",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://project-config/projects{?root}",
            name: "project-config-projects",
            title: "Projects of a folder",
            about: "The projects of one allowed folder.",
            operation: "list_projects",
            fixed: &[],
            variables: &[Variable::root("root")],
        },
        Entry {
            uri: "dkc://project-config/manifest/{+path}",
            name: "project-config-manifest",
            title: "A manifest",
            about: "Name, version, scripts and entry points of a project.",
            operation: "get_package_json",
            fixed: &[],
            variables: &[Variable::root("path")],
        },
        Entry {
            uri: "dkc://project-config/dependencies/{+path}",
            name: "project-config-dependencies",
            title: "Dependencies",
            about: "What a project needs, as its manifest says.",
            operation: "list_dependencies",
            fixed: &[],
            variables: &[Variable::root("path")],
        },
    ],
};
