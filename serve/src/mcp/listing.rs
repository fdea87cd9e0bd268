//! Resources: which there are, and reading one.
//!
//! - A resource is an operation with an input, which its address says: reading goes through the same door as calling.
//! - Not here: what there is (`resources`), what completes an address (`complete`).

use super::answer;
use super::budget::{self, Cut};
use super::fence::{Fence, defused, harmless};
use super::options::Options;
use super::provenance::{PROVENANCE, provenance};
use crate::caller::Caller;
use crate::dispatcher::Gateway;
use crate::input;
use crate::operation::{Call, Effect, Face, Operation, Output};
use crate::problem::{Kind, Problem};
use crate::registry;
use crate::resources::{self, Entry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{
    MetaObject, PaginatedRequestParams, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Entries of one page.
const PAGE: usize = 50;

/// Tokens of a resource; what is longer is read by its tool, which goes on.
const MOST: usize = 25_000;

/// What an answer is written in.
const JSON: &str = "application/json";

/// What an answer in a fence is written in.
const FENCED: &str = "text/plain";

/// The entries of a caller, of one kind.
fn entries(gateway: &Gateway, caller: &Caller, options: &Options, templates: bool) -> Vec<&'static Entry> {
    let all = resources::ALL.iter().flat_map(|resource| resource.entries);
    let own = all.filter(|entry| {
        entry.is_template() == templates && operation(gateway, caller, options, entry).is_some()
    });
    own.collect()
}

/// The operation behind an entry, if the caller may call it.
pub(super) fn operation(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    entry: &Entry,
) -> Option<&'static Operation> {
    registry::by_name(entry.operation).filter(|operation| {
        operation.effect == Effect::Read
            && options.reads(operation.toolset)
            && gateway.offers(operation, caller)
    })
}

/// What is read of an entry: what others wrote stands in a fence, and so is no JSON. A picture or attachment is of its own kind.
fn media_type(entry: &Entry) -> Option<&'static str> {
    let operation = registry::by_name(entry.operation)?;
    match operation.output {
        Output::Bytes => None,
        _ if operation.holds_collected => Some(FENCED),
        _ => Some(JSON),
    }
}

/// A page of a list, and where the next one begins.
fn page<T>(all: Vec<T>, cursor: Option<&str>) -> Result<(Vec<T>, Option<String>), ErrorData> {
    let from = match cursor {
        None => 0,
        Some(cursor) => cursor
            .parse::<usize>()
            .ok()
            .filter(|from| *from < all.len())
            .ok_or_else(no_such_page)?,
    };
    let end = from + PAGE;
    let next = (end < all.len()).then(|| end.to_string());
    Ok((all.into_iter().skip(from).take(PAGE).collect(), next))
}

fn no_such_page() -> ErrorData {
    ErrorData::invalid_params("the cursor is of no list here; begin without one", None)
}

/// Refuses any cursor: what is asked for is a list of one page.
pub(super) fn whole(request: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor.as_ref()) {
        None => Ok(()),
        Some(_) => Err(no_such_page()),
    }
}

/// A page of the resources that have an address of their own.
pub(super) fn resources(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    cursor: Option<&str>,
) -> Result<(Vec<Resource>, Option<String>), ErrorData> {
    let all = entries(gateway, caller, options, false);
    let all = all.into_iter().map(|entry| {
        let resource = Resource::new(entry.uri, entry.name)
            .with_title(entry.title)
            .with_description(entry.about);
        match media_type(entry) {
            Some(media_type) => resource.with_mime_type(media_type),
            None => resource,
        }
    });
    page(all.collect(), cursor)
}

/// A page of the resources whose address has parts to be filled in.
pub(super) fn templates(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    cursor: Option<&str>,
) -> Result<(Vec<ResourceTemplate>, Option<String>), ErrorData> {
    let all = entries(gateway, caller, options, true);
    let all = all.into_iter().map(|entry| {
        let template = ResourceTemplate::new(entry.uri, entry.name)
            .with_title(entry.title)
            .with_description(entry.about);
        match media_type(entry) {
            Some(media_type) => template.with_mime_type(media_type),
            None => template,
        }
    });
    page(all.collect(), cursor)
}

/// Reads a resource.
///
/// # Errors
/// That there is none of this address, or why it cannot be read.
pub(super) async fn read(
    gateway: &Gateway,
    caller: &Caller,
    options: &Options,
    uri: &str,
    cancel: &CancellationToken,
) -> Result<ReadResourceResult, ErrorData> {
    let missing = || {
        let data = json!({ "uri": harmless(uri) });
        ErrorData::resource_not_found(
            "there is no such resource; resources/list has those that there are",
            Some(data),
        )
    };
    let (_, entry, given) = resources::find(uri).ok_or_else(missing)?;
    let operation = operation(gateway, caller, options, entry).ok_or_else(missing)?;
    let id = Uuid::now_v7().simple().to_string();
    let failed = |problem: Problem| {
        let detail = match Fence::new() {
            Ok(fence) if operation.holds_collected => fence.around(&problem.detail),
            _ => harmless(&problem.detail).into_owned(),
        };
        match problem.kind {
            Kind::NotFound => ErrorData::resource_not_found(detail, Some(json!({ "uri": harmless(uri) }))),
            Kind::Internal | Kind::Unavailable => ErrorData::internal_error(detail, None),
            _ => ErrorData::invalid_params(detail, None),
        }
    };
    let mut ticket = gateway
        .admit(
            operation,
            Ok(caller),
            Face::Mcp,
            &Value::Object(given.clone()),
            &id,
        )
        .await
        .map_err(failed)?;
    let done = async {
        let input = input::of_texts(operation, given)?;
        let call = Call {
            face: Face::Mcp,
            gateway,
            caller,
            progress: None,
            cancel,
        };
        let reply = gateway
            .perform(operation, call, Value::Object(input.clone()), &mut ticket)
            .await?;
        let mut answer = answer::of(reply, None, &mut ticket).await?;
        let Cut { mut value, rest } = budget::cut(std::mem::take(&mut answer.value), None, MOST)?;
        let shown = value.get("rows").and_then(Value::as_array).map_or(0, Vec::len);
        if answer.rest(rest, shown).is_some()
            && let Some(value) = value.as_object_mut()
        {
            let note = format!(
                "this is not all: the tool `{}` goes on from page to page",
                operation.name
            );
            value.insert("note".to_owned(), note.into());
        }
        let mut meta = None;
        let mut media_type = JSON;
        let mut text = value.to_string();
        if operation.holds_collected {
            let mut members = Map::new();
            members.insert(
                PROVENANCE.to_owned(),
                provenance(gateway, operation, &value, &input),
            );
            meta = Some(MetaObject(members));
            text = Fence::new()?.json(&defused(value));
            media_type = FENCED;
        }
        let mut contents = vec![ResourceContents::text(text, uri).with_mime_type(media_type)];
        if let Some((media_type, bytes)) = answer.picture {
            contents = vec![ResourceContents::blob(STANDARD.encode(bytes), uri).with_mime_type(media_type)];
        }
        let contents = contents.into_iter().map(|content| match &meta {
            Some(meta) => content.with_meta(meta.clone()),
            None => content,
        });
        Ok(ReadResourceResult::new(contents.collect()))
    };
    let done: Result<_, Problem> = done.await;
    match done {
        Ok(read) => Ok(read),
        Err(problem) => {
            ticket.fail(problem.kind.name());
            // What is near the name that was asked for was collected, too.
            if operation.holds_collected {
                gateway.taint(caller, operation).await.map_err(failed)?;
            }
            Err(failed(problem))
        }
    }
}
