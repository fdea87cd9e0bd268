//! Org mode → its headings and links. The text stays as it is (Org syntax: headings, links, blocks).

use super::outline::{Link, Mark, Outline};

/// Words before a heading that say how far it is.
const STATES: &[&str] = &["TODO", "DONE", "NEXT", "WAITING", "CANCELLED"];

/// Reads an org file.
pub(super) fn read(text: String) -> Outline {
    let mut outline = Outline::default();
    let mut in_block = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim();
        let lower = words.to_ascii_lowercase();
        if lower.starts_with("#+begin_") {
            in_block = true;
        } else if lower.starts_with("#+end_") {
            in_block = false;
        } else if let Some(title) = lower.strip_prefix("#+title:").and_then(|_| words.get(8..)) {
            outline.title = Some(title.trim().to_owned()).filter(|title| !title.is_empty());
        } else if !in_block {
            outline.marks.extend(heading(line, at));
            links(line, at, &mut outline.links);
        }
        at += line.len();
    }
    outline.text = text;
    outline
}

/// `** TODO Words :tag:` is a heading of level 2.
fn heading(line: &str, at: usize) -> Option<Mark> {
    let level = line.bytes().take_while(|byte| *byte == b'*').count();
    let words = line.get(level..)?.strip_prefix(' ')?.trim();
    let words = STATES
        .iter()
        .find_map(|state| words.strip_prefix(state)?.strip_prefix(' '))
        .unwrap_or(words);
    let is_tags = |last: &str| last.len() > 2 && last.starts_with(':') && last.ends_with(':');
    let words = match words.rsplit_once(' ') {
        Some((words, last)) if is_tags(last) => words,
        _ => words,
    };
    (level > 0).then(|| Mark::heading(at, level as i64, words.trim()))
}

/// `[[target][words]]` and `[[target]]`.
fn links(line: &str, at: usize, links: &mut Vec<Link>) {
    for (begin, _) in line.match_indices("[[") {
        let rest = line.get(begin + 2..).unwrap_or_default();
        let Some(inner) = rest.split("]]").next().filter(|inner| inner.len() < rest.len()) else {
            continue;
        };
        let (target, words) = inner.split_once("][").unwrap_or((inner, ""));
        links.push(Link {
            at: at + begin,
            kind: if target.contains("://") || target.starts_with("mailto:") {
                "url"
            } else {
                "path"
            },
            target: target.strip_prefix("file:").unwrap_or(target).to_owned(),
            text: words.to_owned(),
        });
    }
}
