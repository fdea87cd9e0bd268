//! `dkc://emails`: folders of mail, search, messages, attachments.
//!
//! - In: the operations of this family. Out: the addresses of what they answer. Not here: what they do (`operations`).

use super::{Entry, Resource, Variable};
use crate::toolset;

/// The resource.
pub(crate) const RESOURCE: Resource = Resource {
    toolset: &toolset::EMAILS,
    entries: &[
        Entry {
            uri: "dkc://emails",
            name: "emails",
            title: "Folders of mail",
            about: "The folders of mail.",
            operation: "list_folders",
            fixed: &[],
            variables: &[],
        },
        Entry {
            uri: "dkc://emails/search{?q,folder,from,after,before}",
            name: "emails-search",
            title: "Search in mail",
            about: "Messages by their words, sender, folder and date.",
            operation: "search_emails",
            fixed: &[],
            variables: &[
                Variable::free("q"),
                Variable::of("folder", "emails", "folders"),
                Variable::of("from", "emails", "from_addr"),
                Variable::free("after"),
                Variable::free("before"),
            ],
        },
        Entry {
            uri: "dkc://emails/message/{item}",
            name: "emails-message",
            title: "A message",
            about: "One message, whole.",
            operation: "get_email",
            fixed: &[],
            variables: &[Variable::free("item")],
        },
        Entry {
            uri: "dkc://emails/attachment{?item,ordinal}",
            name: "emails-attachment",
            title: "What is attached to a message",
            about: "Something attached to a message: its text, or a picture.",
            operation: "read_attachment",
            fixed: &[("dataset", "emails")],
            variables: &[Variable::free("item"), Variable::free("ordinal")],
        },
    ],
};
