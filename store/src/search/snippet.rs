//! The part of a text that shows why it was found.
//!
//! - In: a text, the words of a query. Out: some of its words, and where in them those of the query stand.

use crate::vectors::chunks::analysis;
use regex_syntax::is_word_character;
use serde::Serialize;
use std::collections::HashSet;
use std::ops::Range;

/// Characters of a snippet, about.
const LENGTH: usize = 200;

/// Characters before the first word that was found.
const BEFORE: usize = 60;

/// Part of a text, on one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// The text.
    pub text: String,
    /// Characters of it that the query asked for: from, until.
    pub matches: Vec<(usize, usize)>,
}

impl Snippet {
    /// With marks around what was asked for.
    pub fn marked(&self, before: &str, after: &str) -> String {
        let mut marked = String::with_capacity(self.text.len());
        let mut bounds = self.matches.iter().copied().peekable();
        for (at, char) in self.text.chars().enumerate() {
            if bounds.peek().is_some_and(|&(from, _)| from == at) {
                marked.push_str(before);
            }
            marked.push(char);
            if bounds.next_if(|&(_, until)| until == at + 1).is_some() {
                marked.push_str(after);
            }
        }
        marked
    }
}

/// Finds words of a query in texts: quickly those that begin like them, else those that the index takes for them.
#[derive(Debug)]
pub(super) struct Finder {
    /// In capitals, of which ς and σ share one.
    folded: Vec<String>,
    /// As the index has them.
    analyzed: HashSet<String>,
    /// Whether some are of a script without capitals. Many of those have no blanks either.
    is_caseless: bool,
}

impl Finder {
    /// Finds these words, whatever their case and ending.
    pub(super) fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let words = words.collect::<Vec<_>>().join(" ");
        let mut finder = Self {
            folded: Vec::new(),
            analyzed: HashSet::new(),
            is_caseless: words.contains(is_caseless),
        };
        analyze(&words, |word, _| {
            finder.analyzed.insert(word.to_owned());
        });
        let parts = words.split(|char: char| !char.is_alphanumeric());
        let parts = parts.filter(|part| !part.is_empty());
        finder
            .folded
            .extend(parts.map(|part| folded(part).collect::<String>()));
        finder
    }

    /// Where in a text the words stand, in bytes, each to its end; of those that are found quickly so many.
    fn found_in(&self, text: &str, most: usize) -> Vec<Range<usize>> {
        let mut found = match self.is_caseless {
            true => Vec::new(),
            false => self.begun_in(text).take(most).collect(),
        };
        if found.is_empty() && !self.analyzed.is_empty() {
            analyze(text, |word, range| match found.last_mut() {
                _ if !self.analyzed.contains(word) => {}
                // Of scripts without blanks a word may be several to the index.
                Some(last) if last.end == range.start => last.end = range.end,
                _ => found.push(range),
            });
        }
        found
    }

    /// Where words begin with these. No regular expression: compiling one of Unicode takes longer than reading the few
    /// texts that are shown.
    fn begun_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        let (mut within, mut until) = (false, 0);
        text.char_indices().filter_map(move |(from, char)| {
            let begins = !std::mem::replace(&mut within, is_word_character(char));
            if !begins || from < until {
                return None;
            }
            let rest = text.get(from..)?;
            let begun = self.folded.iter().filter_map(|word| after(rest, word));
            let rest = begun.min_by_key(|rest| rest.len())?;
            let end = rest.find(|char: char| !is_word_character(char));
            until = text.len() - end.map_or(0, |end| rest.len() - end);
            Some(from..until)
        })
    }

    /// The part of a text that has the first of the words, or its beginning.
    pub(super) fn snippet(&self, text: &str) -> Snippet {
        let first = self.found_in(text, 1).first().map(|first| first.start);
        let from = floor(text, first.unwrap_or_default(), BEFORE);
        let mut shown = String::new();
        let mut length = 0;
        if from > 0 {
            shown.push('…');
            length = 1;
        }
        let rest = text.get(from..).unwrap_or_default();
        for word in rest.split_whitespace() {
            if length > LENGTH {
                shown.push('…');
                break;
            }
            if !shown.is_empty() && shown != "…" {
                shown.push(' ');
                length += 1;
            }
            // A word of a machine may be longer than all that is shown.
            let end = word.char_indices().nth(LENGTH).map_or(word.len(), |(end, _)| end);
            let word = word.get(..end).unwrap_or_default();
            shown.push_str(word);
            length += word.chars().count();
        }
        let chars = |bytes: usize| shown.get(..bytes).map_or(0, |before| before.chars().count());
        // What the text does not have, its beginning has not.
        let matches = first.map(|_| self.found_in(&shown, usize::MAX));
        let matches = matches
            .into_iter()
            .flatten()
            .map(|found| (chars(found.start), chars(found.end)))
            .collect();
        Snippet { text: shown, matches }
    }
}

/// Tells the words of a text as the index has them (small, without accent and ending), and where they stand.
fn analyze(text: &str, mut tell: impl FnMut(&str, Range<usize>)) {
    let Ok(mut analyzer) = analysis().build() else {
        return;
    };
    let mut words = analyzer.token_stream_for_doc(text);
    while let Some(word) = words.next() {
        tell(&word.text, word.offset_from..word.offset_to);
    }
}

fn is_caseless(char: char) -> bool {
    char.is_alphabetic() && !char.is_uppercase() && !char.is_lowercase()
}

/// A text of which the case does not matter: in capitals, of which ς and σ share one.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_uppercase)
}

/// What of a text follows a folded word, if it begins with that.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (mut rest, mut word) = (text.chars(), word.chars());
    while !word.as_str().is_empty() {
        if !rest.next()?.to_uppercase().all(|char| word.next() == Some(char)) {
            return None;
        }
    }
    Some(rest.as_str())
}

/// The byte of a beginning of a word at most `most` characters before another.
fn floor(text: &str, at: usize, most: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let from = before.char_indices().rev().take(most).last();
    let from = match from {
        Some((from, _)) if from > 0 => from,
        _ => return 0,
    };
    let cut = before.get(from..).and_then(|cut| cut.find(char::is_whitespace));
    cut.map_or(from, |blank| from + blank + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_begins_a_little_before_the_first_word() {
        let text = format!(
            "{} Der Würfel\n  ist gefallen. {}",
            "vorher ".repeat(40),
            "nachher ".repeat(40)
        );
        let snippet = Finder::new(["WÜRF", "gefallen"].into_iter()).snippet(&text);
        assert!(snippet.text.starts_with("…vorher "), "{}", snippet.text);
        assert!(snippet.text.ends_with('…'));
        assert!(
            snippet
                .marked("[", "]")
                .contains("Der [Würfel] ist [gefallen]. nachher")
        );
    }

    #[test]
    fn a_word_is_found_at_its_beginning_only_whatever_its_case() {
        let marked = |words: &[&str], text| {
            let snippet = Finder::new(words.iter().copied()).snippet(text);
            snippet.marked("[", "]")
        };
        let text = "Invoices, reinvoice; IN_VOICE (invoice_7) ünïnvoice ΟΔΟΣ";
        assert_eq!(
            marked(&["invoice", "οδος"], text),
            "[Invoices], reinvoice; IN_VOICE ([invoice_7]) ünïnvoice [ΟΔΟΣ]"
        );
        assert_eq!(marked(&["a.c"], "abc a c"), "[abc] [a] [c]");
        // An accent may be a character of its own, and a number no digit.
        let text = "cafe\u{301}s e\u{301}cafe 80 m² m²";
        assert_eq!(
            marked(&["cafe", "m²"], text),
            "[cafe\u{301}s] e\u{301}cafe 80 [m²] [m²]"
        );
        // One word may begin with another, and both may stand within a third.
        assert_eq!(
            marked(&["in", "invoice"], "main invoices in"),
            "main [invoices] [in]"
        );
    }

    #[test]
    fn other_forms_of_a_word_and_words_without_blanks_are_found() {
        let marked = |words: &[&str], text| {
            let snippet = Finder::new(words.iter().copied()).snippet(text);
            snippet.marked("[", "]")
        };
        assert_eq!(marked(&["running"], "It runs or ran."), "It [runs] or ran.");
        assert_eq!(marked(&["muller"], "Herr Müller"), "Herr [Müller]");
        assert_eq!(
            marked(&["会議"], "明日の会議は十時からです。"),
            "明日の[会議]は十時からです。"
        );
        assert_eq!(marked(&["ประชุม"], "วันนี้มีประชุมใหญ่"), "วันนี้มี[ประชุม]ใหญ่");
    }

    #[test]
    fn without_words_a_snippet_is_the_beginning() {
        let finder = Finder::new(["..."].into_iter());
        assert_eq!(finder.snippet(" a\n\nb ").text, "a b");
        assert_eq!(finder.snippet("").text, "");
        let long = "x".repeat(1_000);
        assert!(finder.snippet(&long).text.chars().count() <= 201);
    }
}
