//! Markdown (CommonMark, GitHub's and Obsidian's) → its headings and links. The text stays as it is.
//!
//! - A `#` within a fence is no heading: the parser knows (CommonMark 0.31 §4.5).
//! - Not here: what callouts and tables mean; they are text.

use super::outline::{Link, Mark, Outline};
use pulldown_cmark::{Event, LinkType, MetadataBlockKind, Options, Parser, Tag, TagEnd};

/// Reads Markdown.
pub(super) fn read(text: String) -> Outline {
    let mut outline = Outline::default();
    let mut heading: Option<(usize, i64, String)> = None;
    let mut open: Vec<Link> = Vec::new();
    let mut in_front_matter = false;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_WIKILINKS
        | Options::ENABLE_GFM;
    for (event, range) in Parser::new_ext(&text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((range.start, level as i64, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((at, level, words)) = heading.take() {
                    outline.marks.push(Mark::heading(at, level, words.trim()));
                }
            }
            Event::Start(Tag::MetadataBlock(MetadataBlockKind::YamlStyle)) => in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_front_matter = false,
            Event::Text(front_matter) if in_front_matter => {
                outline.title = front_matter.lines().find_map(title);
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
            Event::End(TagEnd::Link | TagEnd::Image) => outline.links.extend(open.pop()),
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
    outline.links.sort_by_key(|link| link.at);
    outline.text = text;
    outline
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
