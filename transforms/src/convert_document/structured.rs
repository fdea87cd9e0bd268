//! Jupyter notebooks (nbformat 3 and 4) and Obsidian canvases (JSON Canvas 1.0) → Markdown, and what that says.

use super::markdown;
use super::outline::Outline;
use serde_json::Value;

/// Reads a notebook: cells of text as they are, code in fences; what the code printed is left out.
pub(super) fn notebook(json: &str) -> Result<Outline, String> {
    let notebook: Value = serde_json::from_str(json).map_err(|error| format!("not a notebook: {error}"))?;
    let cells = cells(&notebook).ok_or("not a notebook: it has no `cells`")?;
    let language = notebook.pointer("/metadata/kernelspec/language");
    let language = language
        .or(notebook.pointer("/metadata/language_info/name"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut outline = Outline::default();
    for cell in cells {
        let source = match cell.get("source").or_else(|| cell.get("input")) {
            Some(Value::String(source)) => source.clone(),
            Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let source = source.trim_end();
        if source.is_empty() {
            continue;
        }
        match cell.get("cell_type").and_then(Value::as_str) {
            Some("code") => {
                let longest = source.split(|c| c != '`').map(str::len).max().unwrap_or(0);
                let fence = "`".repeat(longest.max(2) + 1);
                let language = cell.get("language").and_then(Value::as_str).unwrap_or(language);
                add(&mut outline, &format!("{fence}{language}\n{source}\n{fence}"));
            }
            Some("heading") => {
                let level = cell.get("level").and_then(Value::as_u64).unwrap_or(1).clamp(1, 6);
                let heading = "#".repeat(level as usize);
                add(&mut outline, &format!("{heading} {}", source.replace('\n', " ")));
            }
            _ => add(&mut outline, source),
        }
    }
    Ok(outline)
}

/// The cells of a notebook; until nbformat 4 they lay in worksheets.
fn cells(notebook: &Value) -> Option<Vec<&Value>> {
    if let Some(cells) = notebook.get("cells").and_then(Value::as_array) {
        return Some(cells.iter().collect());
    }
    let worksheets = notebook.get("worksheets")?.as_array()?.iter();
    let cells = worksheets.filter_map(|worksheet| worksheet.get("cells")?.as_array());
    Some(cells.flatten().collect())
}

/// Adds a cell or a card. Each is read by itself: a fence or a comment that is left open ends with it.
fn add(outline: &mut Outline, part: &str) {
    let part = part.trim_end();
    outline.push_paragraph("");
    markdown::mark(outline, part);
    outline.push_paragraph(part);
}

/// Reads a canvas: cards in their order, groups as headings, edges left out.
pub(super) fn canvas(json: &str) -> Result<Outline, String> {
    let canvas: Value = serde_json::from_str(json).map_err(|error| format!("not a canvas: {error}"))?;
    let canvas = canvas.as_object().ok_or("not a canvas: it is no object")?;
    let nodes = canvas.get("nodes").and_then(Value::as_array);
    let mut outline = Outline::default();
    for node in nodes.into_iter().flatten() {
        let value = |name: &str| node.get(name).and_then(Value::as_str).unwrap_or_default();
        let card = match value("type") {
            "text" => value("text").to_owned(),
            "file" => format!("![[{}{}]]", value("file"), value("subpath")),
            "link" => format!("<{}>", value("url")),
            "group" if !value("label").is_empty() => format!("## {}", value("label")),
            _ => continue,
        };
        add(&mut outline, &card);
    }
    Ok(outline)
}
