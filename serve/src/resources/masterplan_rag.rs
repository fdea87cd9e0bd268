//! `dkc://masterplan-rag`: plans and other documents, by section.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::PLANS,
    entries: &[
        Entry {
            uri: "dkc://masterplan-rag",
            name: "masterplan-rag",
            title: "Documents",
            about: "The documents with their sections.",
            operation: "list_sections",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://masterplan-rag/search{?q,project}",
            name: "masterplan-rag-search",
            title: "Search in documents",
            about: "Passages of documents by what they mean.",
            operation: "semantic_search",
            fixed: &[],
            variables: &[
                Variable::free("q"),
                Variable::of("project", "documents", "project"),
            ],
        },
        Entry {
            uri: "dkc://masterplan-rag/document/{+path}",
            name: "masterplan-rag-document",
            title: "A document",
            about: "The sections of a document.",
            operation: "list_sections",
            fixed: &[],
            variables: &[Variable::of("path", "documents", "path")],
        },
        Entry {
            uri: "dkc://masterplan-rag/section{?path,section}",
            name: "masterplan-rag-section",
            title: "A section",
            about: "The text of one section of a document.",
            operation: "get_section",
            fixed: &[],
            variables: &[
                Variable::of("path", "documents", "path"),
                Variable::of("section", "document_sections", "section_id"),
            ],
        },
    ],
};
