//! Jupyter notebooks (nbformat 4) and Obsidian canvases (JSON Canvas 1.0) → Markdown, and what that says.

use super::markdown;
use super::outline::Outline;
use serde_json::Value;

/// Reads a notebook: cells of text as they are, code in fences; what the code printed is left out.
pub(super) fn notebook(json: &str) -> Result<Outline, String> {
    let notebook: Value = serde_json::from_str(json).map_err(|error| format!("not a notebook: {error}"))?;
    let cells = notebook.get("cells").and_then(Value::as_array);
    let cells = cells.ok_or("not a notebook: it has no `cells`")?;
    let language = notebook.pointer("/metadata/kernelspec/language");
    let language = language
        .or(notebook.pointer("/metadata/language_info/name"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut text = String::new();
    for cell in cells {
        let source = match cell.get("source") {
            Some(Value::String(source)) => source.clone(),
            Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let source = source.trim_end();
        if source.is_empty() {
            continue;
        }
        if cell.get("cell_type").and_then(Value::as_str) == Some("code") {
            let longest = source.split(|c| c != '`').map(str::len).max().unwrap_or(0);
            let fence = "`".repeat(longest.max(2) + 1);
            text.push_str(&format!("{fence}{language}\n{source}\n{fence}\n\n"));
        } else {
            text.push_str(source);
            text.push_str("\n\n");
        }
    }
    Ok(markdown::read(text))
}

/// Reads a canvas: cards in their order, groups as headings, edges left out.
pub(super) fn canvas(json: &str) -> Result<Outline, String> {
    let canvas: Value = serde_json::from_str(json).map_err(|error| format!("not a canvas: {error}"))?;
    let canvas = canvas.as_object().ok_or("not a canvas: it is no object")?;
    let nodes = canvas.get("nodes").and_then(Value::as_array);
    let mut text = String::new();
    for node in nodes.into_iter().flatten() {
        let value = |name: &str| node.get(name).and_then(Value::as_str).unwrap_or_default();
        let card = match value("type") {
            "text" => value("text").to_owned(),
            "file" => format!("![[{}{}]]", value("file"), value("subpath")),
            "link" => format!("<{}>", value("url")),
            "group" if !value("label").is_empty() => format!("## {}", value("label")),
            _ => continue,
        };
        text.push_str(card.trim_end());
        text.push_str("\n\n");
    }
    Ok(markdown::read(text))
}
