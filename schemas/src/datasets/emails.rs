//! `emails`: one row a message.

use crate::dataset::{Column, Dataset, Home, Kind};
use crate::names::Instant;
use crate::rows::{Row, Value};
use crate::search::{Field, Operator, Search};

/// The dataset.
pub const DATASET: Dataset = Dataset {
    name: "emails",
    about: "One row a mail message. Copies of the same bytes in several folders are one message.",
    key: &["_source", "_item"],
    unit: "_item",
    columns: &[
        Column::new(
            "message_id",
            Kind::Text,
            "Message-ID without angle brackets; absent when the mail has none.",
        )
        .nullable()
        .source("RFC 5322 §3.6.4"),
        Column::new(
            "thread_id",
            Kind::Text,
            "The same for all messages of a conversation, found by References and In-Reply-To.",
        )
        .source("RFC 5256 REFERENCES, without the subject step"),
        Column::new(
            "in_reply_to",
            Kind::TextList,
            "Message-IDs this one answers, without angle brackets.",
        )
        .source("RFC 5322 §3.6.4"),
        Column::new(
            "references",
            Kind::TextList,
            "Message-IDs of the conversation so far, oldest first.",
        )
        .source("RFC 5322 §3.6.4"),
        Column::new("date", Kind::Instant, "When the sender says it was sent; UTC.")
            .nullable()
            .source("RFC 5322 §3.6.1"),
        Column::new(
            "date_offset_min",
            Kind::Int,
            "The sender's offset from UTC in minutes, as written in Date.",
        )
        .nullable()
        .source("RFC 5322 §3.3"),
        Column::new("from_name", Kind::Text, "Display name of the first author.")
            .nullable()
            .private()
            .source("RFC 5322 §3.6.2"),
        Column::new("from_addr", Kind::Text, "Address of the first author.")
            .nullable()
            .private()
            .source("RFC 5322 §3.6.2"),
        Column::new("to", Kind::TextList, "Addresses of the primary recipients.")
            .private()
            .source("RFC 5322 §3.6.3"),
        Column::new("cc", Kind::TextList, "Addresses of the other recipients.")
            .private()
            .source("RFC 5322 §3.6.3"),
        Column::new(
            "bcc",
            Kind::TextList,
            "Addresses of the blind recipients, where the copy kept them.",
        )
        .private()
        .source("RFC 5322 §3.6.3"),
        Column::new(
            "reply_to",
            Kind::TextList,
            "Addresses the author wants answers at.",
        )
        .private()
        .source("RFC 5322 §3.6.2"),
        Column::new("subject", Kind::Text, "Subject, decoded.")
            .nullable()
            .private()
            .source("RFC 5322 §3.6.5"),
        Column::new(
            "body_text",
            Kind::Text,
            "Plain text of the body: the text parts, or what a reader sees of the HTML part.",
        )
        .nullable()
        .private(),
        Column::new(
            "folders",
            Kind::TextList,
            "Folders that hold the message, sorted.",
        )
        .private()
        .source("RFC 9051 §5.1"),
        Column::new(
            "flags",
            Kind::TextList,
            "Flags and keywords on any copy of the message, sorted.",
        )
        .source("RFC 9051 §2.3.2"),
        Column::new("received_at", Kind::Instant, "When the mailbox received it; UTC.")
            .nullable()
            .source("RFC 9051 §2.3.3"),
        Column::new(
            "list_id",
            Kind::Text,
            "Identifier of the mailing list, without angle brackets.",
        )
        .nullable()
        .source("RFC 2919"),
        Column::new("size_bytes", Kind::Int, "Size of the original in bytes."),
        Column::new(
            "attachment_count",
            Kind::Int,
            "Rows of `email_attachments` that belong to the message.",
        ),
    ],
    home: Home::Lake,
    search: Some(Search {
        title: &["subject"],
        text: &["body_text"],
        sections: None,
        date: &["date", "received_at"],
        wall_clock: false,
        fields: &[
            Field::new(Operator::Filename, &["filename"]).of("email_attachments"),
            Field::new(Operator::From, &["from_name", "from_addr"]),
            Field::new(Operator::Has, &["attachment_count"]),
            Field::new(Operator::List, &["list_id"]),
            Field::new(Operator::Subject, &["subject"]),
            Field::new(Operator::To, &["to", "cc", "bcc"]),
        ],
    }),
};

/// One message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Email {
    /// `_item`.
    pub item: String,
    /// `message_id`.
    pub message_id: Option<String>,
    /// `thread_id`.
    pub thread_id: String,
    /// `in_reply_to`.
    pub in_reply_to: Vec<String>,
    /// `references`.
    pub references: Vec<String>,
    /// `date`.
    pub date: Option<Instant>,
    /// `date_offset_min`.
    pub date_offset_min: Option<i64>,
    /// `from_name`.
    pub from_name: Option<String>,
    /// `from_addr`.
    pub from_addr: Option<String>,
    /// `to`.
    pub to: Vec<String>,
    /// `cc`.
    pub cc: Vec<String>,
    /// `bcc`.
    pub bcc: Vec<String>,
    /// `reply_to`.
    pub reply_to: Vec<String>,
    /// `subject`.
    pub subject: Option<String>,
    /// `body_text`.
    pub body_text: Option<String>,
    /// `folders`.
    pub folders: Vec<String>,
    /// `flags`.
    pub flags: Vec<String>,
    /// `received_at`.
    pub received_at: Option<Instant>,
    /// `list_id`.
    pub list_id: Option<String>,
    /// `size_bytes`.
    pub size_bytes: i64,
    /// `attachment_count`.
    pub attachment_count: i64,
}

impl Row for Email {
    const DATASET: &'static Dataset = &DATASET;

    fn item(&self) -> &str {
        &self.item
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::text(self.message_id.as_deref()),
            Value::Text(&self.thread_id),
            Value::TextList(&self.in_reply_to),
            Value::TextList(&self.references),
            Value::instant(self.date),
            Value::int(self.date_offset_min),
            Value::text(self.from_name.as_deref()),
            Value::text(self.from_addr.as_deref()),
            Value::TextList(&self.to),
            Value::TextList(&self.cc),
            Value::TextList(&self.bcc),
            Value::TextList(&self.reply_to),
            Value::text(self.subject.as_deref()),
            Value::text(self.body_text.as_deref()),
            Value::TextList(&self.folders),
            Value::TextList(&self.flags),
            Value::instant(self.received_at),
            Value::text(self.list_id.as_deref()),
            Value::Int(self.size_bytes),
            Value::Int(self.attachment_count),
        ]
    }
}
