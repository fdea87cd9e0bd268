//! Names of folders: as the server writes them, as a person reads them, and which are wanted.

use crate::mailbox_name::readable;
use async_imap::imap_proto::{MailboxListData, NameAttribute};
use std::collections::HashSet;
use wildmatch::WildMatch;

/// A folder of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// As a person reads it.
    pub name: String,
    /// As the server writes it.
    raw: String,
    /// As a command needs it: modified UTF-7, quoted.
    pub quoted: String,
}

impl Folder {
    /// A folder that can be opened, from one line of `LIST`.
    pub fn listed(data: &MailboxListData<'_>) -> Option<Self> {
        let closed = data.name_attributes.iter().any(|attribute| match attribute {
            NameAttribute::NoSelect => true,
            NameAttribute::Extension(word) => word.eq_ignore_ascii_case("\\NonExistent"),
            _ => false,
        });
        let raw = unescaped(&data.name);
        if closed || raw.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
        let quoted = format!("\"{}\"", raw.replace('\\', "\\\\").replace('"', "\\\""));
        Some(Self {
            name: readable(&raw).unwrap_or_else(|| raw.clone()),
            raw,
            quoted,
        })
    }

    /// Each folder once, by name. Where two have one name, as `R&-D` and a broken `R&D` have, they keep those that the
    /// server writes: each of them is collected.
    pub fn each_once(mut folders: Vec<Self>) -> Vec<Self> {
        folders.sort_unstable_by(|a, b| a.raw.cmp(&b.raw));
        folders.dedup_by(|a, b| a.raw == b.raw);
        loop {
            folders.sort_by(|a, b| a.name.cmp(&b.name));
            let pairs = folders.iter().zip(folders.iter().skip(1));
            let shared = pairs.filter(|(a, b)| a.name == b.name);
            let shared: HashSet<String> = shared.map(|(a, _)| a.name.clone()).collect();
            if shared.is_empty() {
                return folders;
            }
            // At least one of two changes its name, so this comes to an end.
            for folder in folders.iter_mut().filter(|folder| shared.contains(&folder.name)) {
                folder.name.clone_from(&folder.raw);
            }
        }
    }
}

/// The text of a quoted string; imap-proto leaves its escapes in. A literal has none, and what is no escape
/// stays as it is.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        match (char, rest.clone().next()) {
            ('\\', Some(next @ ('\\' | '"'))) => {
                rest.next();
                out.push(next);
            }
            _ => out.push(char),
        }
    }
    out
}

/// A folder as `STATUS` or `EXAMINE` shows it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    pub messages: u32,
    pub uidvalidity: u32,
    pub uidnext: Option<u32>,
    pub highestmodseq: Option<u64>,
}

/// Which folders are wanted.
pub(super) struct Selection {
    wanted: Vec<(String, WildMatch)>,
    unwanted: Vec<WildMatch>,
}

impl Selection {
    /// From the patterns of the configuration; no pattern in `wanted` means all.
    pub fn new(wanted: &[String], unwanted: &[String]) -> Self {
        let pattern = |text: &String| {
            // The one name that is the same in any case (RFC 3501 §5.1).
            WildMatch::new(if text.eq_ignore_ascii_case("INBOX") {
                "INBOX"
            } else {
                text
            })
        };
        Self {
            wanted: wanted.iter().map(|text| (text.clone(), pattern(text))).collect(),
            unwanted: unwanted.iter().map(pattern).collect(),
        }
    }

    /// Whether the folder of that name is wanted.
    pub fn takes(&self, name: &str) -> bool {
        let is_wanted = self.wanted.iter().any(|(_, pattern)| pattern.matches(name));
        (self.wanted.is_empty() || is_wanted) && !self.unwanted.iter().any(|pattern| pattern.matches(name))
    }

    /// The patterns that choose none of these folders, each with the name that is most like it.
    pub fn unmatched(&self, folders: &[Folder]) -> Vec<(String, Option<String>)> {
        let names = || folders.iter().map(|folder| folder.name.as_str());
        let unmatched = self
            .wanted
            .iter()
            .filter(|(_, pattern)| !names().any(|name| pattern.matches(name)));
        let nearest = |text: &str| {
            let likeness = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &text.to_lowercase());
            names().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        };
        unmatched
            .map(|(text, _)| (text.clone(), nearest(text).map(str::to_owned)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox_name::readable;

    #[test]
    fn modified_utf_7_is_read() {
        assert_eq!(readable("Entw&APw-rfe").as_deref(), Some("Entwürfe"));
        assert_eq!(readable("R&-D").as_deref(), Some("R&D"));
        assert_eq!(
            readable("~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(),
            Some("~peter/mail/台北/日本語")
        );
        assert_eq!(readable("&2D3eAA-").as_deref(), Some("😀"));
    }

    #[test]
    fn a_name_that_is_no_modified_utf_7_stays_as_it_is() {
        for raw in ["a&b", "a&!!!-", "&2D0-x"] {
            let data = MailboxListData {
                name_attributes: vec![],
                delimiter: None,
                name: raw.into(),
            };
            let name = Folder::listed(&data).map(|folder| folder.name);
            assert!(name.is_some(), "{raw}");
        }
    }

    #[test]
    fn folders_whose_names_meet_keep_those_of_the_server() {
        let named = |raws: &[&str]| -> Vec<(String, String)> {
            let listed = raws.iter().map(|&raw| MailboxListData {
                name_attributes: vec![],
                delimiter: None,
                name: raw.into(),
            });
            let folders = listed.filter_map(|data| Folder::listed(&data)).collect();
            let folders = Folder::each_once(folders).into_iter();
            folders.map(|folder| (folder.name, folder.quoted)).collect()
        };
        let pair = |name: &str, raw: &str| (name.to_owned(), format!("\"{raw}\""));
        assert_eq!(
            named(&["INBOX", "A&-B", "INBOX"]),
            [pair("A&B", "A&-B"), pair("INBOX", "INBOX")]
        );
        assert_eq!(
            named(&["A&-B", "A&B", "A&-B"]),
            [pair("A&-B", "A&-B"), pair("A&B", "A&B")]
        );
        // `A&--B` is read as `A&-B`, which the first one is called now.
        assert_eq!(
            named(&["A&-B", "A&B", "A&--B"]),
            [pair("A&--B", "A&--B"), pair("A&-B", "A&-B"), pair("A&B", "A&B")]
        );
    }

    #[test]
    fn quotes_and_backslashes_reach_the_server_as_they_came() {
        let data = MailboxListData {
            name_attributes: vec![],
            delimiter: None,
            name: r#"a\"b\\c"#.into(),
        };
        let folder = Folder::listed(&data).unwrap();
        assert_eq!(
            (folder.name.as_str(), folder.quoted.as_str()),
            (r#"a"b\c"#, r#""a\"b\\c""#)
        );
    }

    #[test]
    fn patterns_choose_folders() {
        let patterns = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&patterns(&["inbox", "Archive/*"]), &patterns(&["Archive/201?"]));
        assert!(
            selection.takes("INBOX") && selection.takes("Archive/2020") && selection.takes("Archive/a/b")
        );
        assert!(!selection.takes("Archive/2019") && !selection.takes("Sent"));
        let gmail = Selection::new(&[], &patterns(&["[Gmail]/All Mail"]));
        assert!(gmail.takes("[Gmail]/Spam") && !gmail.takes("[Gmail]/All Mail"));
    }
}
