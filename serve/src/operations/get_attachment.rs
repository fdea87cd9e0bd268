//! `get_attachment`: the bytes of what is attached to a mail.
//!
//! - They are cut out of the original by what made the row, and given only if they are those that the row tells of.
//! - Not here: how a mail is read ([`CutAttachment`](crate::dispatcher::CutAttachment)); which attachments it has
//!   (`get_email`); what an agent can read of them (`read_attachment`).

use super::get_item::{Item, seen, text_in};
use super::get_original::{fetched, named};
use crate::operation::{Call, Effect, Method, OWNERS, Operation, Original, Output, Reply, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use schemars::JsonSchema;
use schemas::datasets::email_attachments::EmailAttachment;
use serde::Deserialize;
use store::query::Query;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_attachment",
    about: "Gives the bytes of what is attached to a mail, decoded.",
    effect: Effect::Read,
    roles: OWNERS,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/items/{item}/attachments/{ordinal}",
    is_heavy: true,
    is_cacheable: true,
    input: |types| types.subschema_for::<GetAttachment>(),
    example: r#"{"dataset": "emails", "item": "the _item of a row", "ordinal": 0}"#,
    output: Output::Bytes,
    toolset: &toolset::EMAILS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { attachment(call, parse(input)?).await }),
};

/// Which attachment.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetAttachment {
    /// A dataset that has rows of the mail.
    #[serde(default = "emails")]
    dataset: String,
    /// The `_item` of the mail.
    item: String,
    /// The position of the attachment, from 0.
    #[schemars(range(min = 0))]
    pub(super) ordinal: i64,
}

fn emails() -> String {
    "emails".to_owned()
}

async fn attachment(call: Call<'_>, input: GetAttachment) -> Result<Reply, Problem> {
    let ordinal = input.ordinal;
    let (attachment, bytes) = cut(call, input).await?;
    let plain = || named(&format!("attachment-{ordinal}"), &attachment.media_type);
    Ok(Reply::Bytes(Original {
        name: attachment.filename.clone().unwrap_or_else(plain),
        media_type: attachment.media_type,
        sha256: attachment.sha256,
        bytes: bytes.into(),
    }))
}

/// An attachment with its bytes.
///
/// # Errors
/// [`Problem`] when the caller sees no such mail, or this has no such attachment.
pub(super) async fn cut(call: Call<'_>, input: GetAttachment) -> Result<(EmailAttachment, Vec<u8>), Problem> {
    let GetAttachment {
        dataset,
        item,
        ordinal,
    } = input;
    let input = Item { dataset, item };
    // Whoever may see a row of a mail may see what it was made of: its original has the attachments too.
    seen(call, &input).await?;
    let Item { item, .. } = input;
    let sha256 = digest(call, &item, ordinal).await?;
    let mail = fetched(call, &item).await?.bytes;
    let cut = call.gateway.readers.cut;
    let cutting = tokio::task::spawn_blocking(move || cut(&item, &mail, ordinal));
    let found = cutting.await.map_err(|error| Problem::internal(&error))?;
    found
        .ok()
        .flatten()
        .filter(|(attachment, _)| attachment.sha256 == sha256)
        .ok_or_else(|| {
            Problem::new(
                Kind::Conflict,
                "the mail is read otherwise now than when its rows were made; run `dkc rebuild`, then try again",
            )
        })
}

/// The SHA-256 of an attachment, as its row tells it.
async fn digest(call: Call<'_>, item: &str, ordinal: i64) -> Result<String, Problem> {
    let mut query = Query::from(
        "SELECT sha256 FROM email_attachments WHERE _item = :item AND ordinal = :ordinal LIMIT 1",
    );
    query.parameters.insert("item".to_owned(), item.into());
    query.parameters.insert("ordinal".to_owned(), ordinal.into());
    let rows = call.gateway.ask(query).await?;
    text_in(&rows, "sha256").ok_or_else(|| {
        Problem::new(
            Kind::NotFound,
            format!("the item has no attachment {ordinal}; they are counted from 0"),
        )
    })
}
