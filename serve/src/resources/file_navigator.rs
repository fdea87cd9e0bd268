//! `dkc://file-navigator`: files of the folders that the owner allowed.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::FILES,
    entries: &[
        Entry {
            uri: "dkc://file-navigator",
            name: "file-navigator",
            title: "Allowed folders",
            about: "The folders whose files may be read.",
            operation: "list_project",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://file-navigator/folder/{+path}",
            name: "file-navigator-folder",
            title: "A folder",
            about: "What is in a folder.",
            operation: "list_project",
            fixed: &[],
            variables: &[Variable::root("path")],
        },
        Entry {
            uri: "dkc://file-navigator/tree/{+path}",
            name: "file-navigator-tree",
            title: "A tree of folders",
            about: "A folder with what is beneath it.",
            operation: "tree_structure",
            fixed: &[],
            variables: &[Variable::root("path")],
        },
        Entry {
            uri: "dkc://file-navigator/file/{+path}",
            name: "file-navigator-file",
            title: "A file",
            about: "The text of a file.",
            operation: "read_file",
            fixed: &[],
            variables: &[Variable::root("path")],
        },
        Entry {
            uri: "dkc://file-navigator/find{?name,root}",
            name: "file-navigator-find",
            title: "Find files",
            about: "Files by a part of their name.",
            operation: "find_file",
            fixed: &[],
            variables: &[Variable::free("name"), Variable::root("root")],
        },
    ],
};
