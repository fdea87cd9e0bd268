//! `list_folders`: the folders of mail.

use crate::lake::visible;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, answer, parse};
use crate::problem::Problem;
use crate::rows::{mask, select};
use crate::toolset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::query::Parameters;

/// Folders that are listed at most.
const MOST: usize = 2_000;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_folders",
    about: "Lists the folders of mail: how many messages, and when the newest was sent.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/emails/folders",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListFolders>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<FolderList>()),
    toolset: &toolset::EMAILS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await?) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListFolders {}

/// The folders.
#[derive(Serialize, JsonSchema)]
struct FolderList {
    /// The folders, by name.
    folders: Vec<Folder>,
    /// Whether there are more.
    is_cut: bool,
    /// What could not be told.
    notes: Vec<String>,
}

/// A folder.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Folder {
    /// Its name.
    folder: String,
    /// Messages in it.
    messages: i64,
    /// When the newest was sent, UTC.
    newest: Option<String>,
}

async fn list(call: Call<'_>, _: ListFolders) -> Result<FolderList, Problem> {
    let view = &call.caller.view;
    let dataset = visible("emails", view)?;
    let text = format!(
        "SELECT folder, count(*) AS messages, max(date) AS newest
         FROM (SELECT unnest(folders) AS folder, date FROM emails) GROUP BY folder ORDER BY folder LIMIT {}",
        MOST + 1
    );
    let mut folders: Vec<Folder> = select(call, text, Parameters::new()).await?;
    let is_cut = folders.len() > MOST;
    folders.truncate(MOST);
    let notes = mask(view, dataset, "folders", "the folders of mail");
    Ok(FolderList {
        folders,
        is_cut,
        notes: notes.into_iter().collect(),
    })
}

/// The names of the folders.
pub(super) async fn folder_names(call: Call<'_>) -> Result<Vec<String>, Problem> {
    let listed = list(call, ListFolders {}).await?;
    Ok(listed.folders.into_iter().map(|folder| folder.folder).collect())
}
