//! Markdown (CommonMark, GitHub's and Obsidian's) → its title, headings and links. The text stays as it is.
//!
//! - A `#` within a fence is no heading: the parser knows (CommonMark 0.31 §4.5).
//! - Not here: what callouts and tables mean; they are text.

use super::outline::{Link, Mark, Outline};
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

/// Reads Markdown.
pub(super) fn read(text: String) -> Outline {
    let mut outline = Outline::default();
    mark(&mut outline, &text);
    outline.text = text;
    outline
}

/// Adds the headings and links of a part that is about to be put at the end of the outline's text. Only what a document
/// begins with is front matter.
pub(super) fn mark(outline: &mut Outline, part: &str) {
    let begin = outline.text.len();
    let length = if begin == 0 { front_matter(part) } else { 0 };
    let (front_matter, body) = part.split_at_checked(length).unwrap_or(("", part));
    if begin == 0 {
        outline.title = front_matter.lines().find_map(title);
    }
    let (_, mut of_front_matter) = parts(front_matter);
    of_front_matter.retain(|link| is_value(front_matter, link));
    let (marks, links) = parts(body);
    let at = begin + length;
    outline.marks.extend(marks.into_iter().map(|mark| Mark {
        at: at + mark.at,
        ..mark
    }));
    outline.links.extend(of_front_matter);
    outline.links.extend(links.into_iter().map(|link| Link {
        at: at + link.at,
        ..link
    }));
}

/// How many bytes of front matter a text begins with. The parser takes it anywhere, also where `---` is but a rule, so it
/// is asked only for what stands at the very beginning.
fn front_matter(text: &str) -> usize {
    if !text.starts_with("---") {
        return 0;
    }
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    match Parser::new_ext(text, options).into_offset_iter().next() {
        Some((Event::Start(Tag::MetadataBlock(_)), range)) if range.start == 0 => range.end,
        _ => 0,
    }
}

/// Whether a link of front matter is one to Obsidian: `[[…]]` in quotes, which `[[1, 2], [3]]` of YAML is not.
fn is_value(front_matter: &str, link: &Link) -> bool {
    let before = link.at.checked_sub(1);
    let before = before.and_then(|before| front_matter.as_bytes().get(before));
    matches!(link.kind, "wikilink" | "embed") && matches!(before, Some(b'"' | b'\''))
}

/// The headings and links of Markdown without front matter.
fn parts(text: &str) -> (Vec<Mark>, Vec<Link>) {
    let mut marks = Vec::new();
    let mut links: Vec<Link> = Vec::new();
    let mut heading: Option<(usize, i64, String)> = None;
    let mut open: Vec<Link> = Vec::new();
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_WIKILINKS
        | Options::ENABLE_GFM;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((range.start, level as i64, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((at, level, words)) = heading.take() {
                    marks.push(Mark::heading(at, level, words.trim()));
                }
            }
            Event::Start(Tag::Link {
                link_type, dest_url, ..
            }) => {
                open.push(link(range.start, link_type, false, &dest_url));
            }
            Event::Start(Tag::Image {
                link_type, dest_url, ..
            }) => {
                open.push(link(range.start, link_type, true, &dest_url));
            }
            Event::End(TagEnd::Link | TagEnd::Image) => links.extend(open.pop()),
            Event::Text(words) | Event::Code(words) => {
                if let Some((.., said)) = &mut heading {
                    said.push_str(&words);
                }
                for link in &mut open {
                    link.text.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((.., said)) = &mut heading {
                    said.push(' ');
                }
            }
            _ => {}
        }
    }
    // An image in a link ends before it.
    links.sort_by_key(|link| link.at);
    (marks, links)
}

/// The title in a line of YAML, if it is that line and in plain style or quotes.
fn title(line: &str) -> Option<String> {
    let title = line.strip_prefix("title:")?.trim();
    let quoted = |quote| {
        title
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    let title = quoted('"').or_else(|| quoted('\'')).unwrap_or(title);
    (!title.is_empty()).then(|| title.to_owned())
}

fn link(at: usize, link_type: LinkType, is_image: bool, target: &str) -> Link {
    let has_scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    // In a table the bar of `[[Page\|words]]` has a backslash, so that it ends no cell; it is none of the page's name.
    let target = match link_type {
        LinkType::WikiLink { has_pothole: true } => target.strip_suffix('\\').unwrap_or(target),
        _ => target,
    };
    Link {
        at,
        kind: match link_type {
            LinkType::WikiLink { .. } if is_image => "embed",
            LinkType::WikiLink { .. } => "wikilink",
            _ if is_image => "image",
            LinkType::Email => "url",
            _ if has_scheme => "url",
            _ => "path",
        },
        target: target.to_owned(),
        text: String::new(),
    }
}
