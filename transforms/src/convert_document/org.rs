//! Org mode → its headings and links. The text stays as it is (Org syntax: headings, keywords, blocks, links).

use super::outline::{Link, Mark, Outline};
use std::collections::HashSet;

/// Words before a heading that say how far it is.
const STATES: &[&str] = &["TODO", "DONE", "NEXT", "WAITING", "CANCELLED"];

/// Keywords that name a file's own such words.
const OWN_STATES: &[&str] = &["#+todo", "#+seq_todo", "#+typ_todo"];

/// Blocks whose text is not Org.
const VERBATIM: &[&str] = &["src", "example", "export", "comment"];

/// Reads an org file.
pub(super) fn read(text: String) -> Outline {
    let outline = parts(&text);
    Outline { text, ..outline }
}

/// The title, headings and links.
fn parts(text: &str) -> Outline {
    let states = states(text);
    let mut outline = Outline::default();
    let mut verbatim: Option<String> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim();
        let lower = words.to_ascii_lowercase();
        let block = |word: &str| Some(lower.strip_prefix(word)?.split_whitespace().next()?.to_owned());
        if let Some(heading) = heading(line, at, &states) {
            // Emacs ends any block at a heading, be it closed or not; a star that is none has a comma before it.
            verbatim = None;
            outline.marks.push(heading);
            links(line, at, &mut outline.links);
        } else if verbatim.is_some() {
            if block("#+end_") == verbatim {
                verbatim = None;
            }
        } else if let Some(name) = block("#+begin_") {
            verbatim = Some(name).filter(|name| VERBATIM.contains(&name.as_str()));
        } else if let Some(title) = lower.strip_prefix("#+title:").and_then(|_| words.get(8..)) {
            outline.title = Some(title.trim().to_owned()).filter(|title| !title.is_empty());
        } else {
            links(line, at, &mut outline.links);
        }
        at += line.len();
    }
    outline
}

/// The words that say how far a heading is, with those that the file names: `#+TODO: OPEN(o) | CLOSED(c)`.
fn states(text: &str) -> HashSet<&str> {
    let own = text.lines().filter_map(|line| {
        let (keyword, words) = line.trim().split_once(':')?;
        let is_own = OWN_STATES.iter().any(|own| keyword.eq_ignore_ascii_case(own));
        is_own.then_some(words)
    });
    let own = own
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.split('(').next())
        .filter(|word| *word != "|");
    STATES.iter().copied().chain(own).collect()
}

/// `** TODO [#A] Words :tag:` is a heading of level 2.
fn heading(line: &str, at: usize, states: &HashSet<&str>) -> Option<Mark> {
    let level = line.bytes().take_while(|byte| *byte == b'*').count();
    let words = line.get(level..)?.strip_prefix(' ')?.trim();
    let words = without(words, |word| states.contains(word));
    // `[#A]` or `[#10]`: how urgent it is.
    let words = without(words, |word| {
        word.starts_with("[#") && word.ends_with(']') && word.len() <= 5
    });
    let words = without(words, |word| word == "COMMENT");
    let is_tags = |last: &str| last.len() > 2 && last.starts_with(':') && last.ends_with(':');
    let words = match words.rsplit_once(' ') {
        Some((words, last)) if is_tags(last) => words,
        _ => words,
    };
    (level > 0).then(|| Mark::heading(at, level as i64, words.trim()))
}

/// The words without the first, if it is one of those.
fn without(words: &str, is_one: impl Fn(&str) -> bool) -> &str {
    match words.split_once(' ') {
        Some((first, rest)) if is_one(first) => rest.trim_start(),
        _ => words,
    }
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
