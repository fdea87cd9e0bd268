//! The text of a document and where its parts begin.
//!
//! - In: text and marks, as a format's reader finds them. Out: sections with their lines, the title.
//! - Not here: any format.

use schemas::datasets::document_sections::DocumentSection;

/// A document that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// The title that it gives itself.
    pub title: Option<String>,
    pub text: String,
    /// In the order of their places.
    pub marks: Vec<Mark>,
    /// In the order of their places.
    pub links: Vec<Link>,
}

/// Where a section begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Byte of the text.
    pub at: usize,
    pub level: Option<i64>,
    pub heading: Option<String>,
    pub section_id: Option<String>,
}

impl Mark {
    pub fn heading(at: usize, level: i64, heading: &str) -> Self {
        Self {
            at,
            level: Some(level),
            section_id: section_id(heading).map(str::to_owned),
            heading: Some(heading.to_owned()),
        }
    }
}

/// A link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Byte of the text.
    pub at: usize,
    pub kind: &'static str,
    pub target: String,
    pub text: String,
}

impl Outline {
    /// The title: its own, else the first heading of level 1.
    pub fn title(&self) -> Option<&str> {
        let first = self.marks.iter().find(|mark| mark.level == Some(1));
        self.title
            .as_deref()
            .or_else(|| first.and_then(|mark| mark.heading.as_deref()))
            .filter(|title| !title.is_empty())
    }

    /// Adds a heading on a line of its own.
    pub fn push_heading(&mut self, level: i64, heading: &str) {
        self.end_paragraph();
        self.marks.push(Mark::heading(self.text.len(), level, heading));
        self.push_paragraph(heading);
    }

    /// Adds a paragraph, an empty line after the one before.
    pub fn push_paragraph(&mut self, paragraph: &str) {
        self.end_paragraph();
        self.text.push_str(paragraph.trim_end());
    }

    fn end_paragraph(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text
                .push_str(if self.text.ends_with('\n') { "\n" } else { "\n\n" });
        }
    }

    /// Where each line begins.
    pub fn line_starts(&self) -> Vec<usize> {
        let breaks = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect()
    }

    /// The sections, without item and number; what is before the first mark is one, if it says anything.
    pub fn sections(&self) -> Vec<DocumentSection<'_>> {
        let lines = self.line_starts();
        let first = self.marks.first().map_or(self.text.len(), |mark| mark.at);
        let before = self.text.get(..first).unwrap_or_default();
        let mut sections = Vec::with_capacity(self.marks.len() + 1);
        if !before.trim().is_empty() {
            sections.push(self.section(&lines, None, 0, first, Vec::new()));
        }
        let mut open: Vec<(i64, &str)> = Vec::new();
        for (index, mark) in self.marks.iter().enumerate() {
            let end = self.marks.get(index + 1).map_or(self.text.len(), |next| next.at);
            if let Some(level) = mark.level {
                open.retain(|(outer, _)| *outer < level);
            }
            let under = open.iter().map(|(_, heading)| (*heading).to_owned()).collect();
            sections.push(self.section(&lines, Some(mark), mark.at, end, under));
            if let (Some(level), Some(heading)) = (mark.level, mark.heading.as_deref()) {
                open.push((level, heading));
            }
        }
        sections
    }

    fn section<'a>(
        &'a self,
        lines: &[usize],
        mark: Option<&'a Mark>,
        begin: usize,
        end: usize,
        under: Vec<String>,
    ) -> DocumentSection<'a> {
        let text = self.text.get(begin..end).unwrap_or_default().trim_end();
        DocumentSection {
            item: "",
            ordinal: 0,
            heading: mark.and_then(|mark| mark.heading.as_deref()),
            section_id: mark.and_then(|mark| mark.section_id.as_deref()),
            level: mark.and_then(|mark| mark.level),
            under,
            first_line: line_of(lines, begin),
            last_line: line_of(lines, begin + text.len()),
            text,
        }
    }
}

/// The line, from 1, that holds a byte.
pub(super) fn line_of(lines: &[usize], at: usize) -> i64 {
    lines.partition_point(|start| *start <= at) as i64
}

/// The id that a heading begins with: a letter or two and digits, `B011` or, with a bracket, `A1)`. What lies under one may
/// be counted on, `A14.1`; `A14-B` names another section than `A14`, and has no id that is sure.
fn section_id(heading: &str) -> Option<&str> {
    let letters = heading.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits_at = |at: usize| heading.bytes().skip(at).take_while(u8::is_ascii_digit).count();
    let digits = digits_at(letters);
    let mut end = letters + digits;
    while heading.get(end..).is_some_and(|rest| rest.starts_with('.')) {
        match digits_at(end + 1) {
            0 => break,
            more => end += 1 + more,
        }
    }
    let id = heading.get(..end)?;
    let mut after = heading.get(end..)?.chars();
    let next = after.next();
    let is_alone = match next {
        None | Some(')' | ':' | ' ' | '–' | '—') => true,
        Some('.' | '-') => after.next().is_none_or(|letter| !letter.is_alphanumeric()),
        Some(_) => false,
    };
    let is_sure = digits >= 2 || next == Some(')');
    ((1..=2).contains(&letters) && digits >= 1 && is_alone && is_sure).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_plans_number_their_sections_with() {
        for (heading, id) in [
            ("A14) Storage", Some("A14")),
            ("A1) Storage", Some("A1")),
            ("B011", Some("B011")),
            ("B011 – Backups", Some("B011")),
            ("A14. Storage", Some("A14")),
            ("A14 - Storage", Some("A14")),
            ("A14- Storage", Some("A14")),
            ("A14.1) Details", Some("A14.1")),
            ("A14.1.12 Details", Some("A14.1.12")),
            ("A14.1. Details", Some("A14.1")),
            ("A1.2) Details", Some("A1.2")),
            ("A14-B) Details", None),
            ("A14.b) Details", None),
            ("A14.1-2 Details", None),
            ("Q3 results", None),
            ("EC2 costs", None),
            ("ISO27001 audit", None),
            ("A14b", None),
            ("Storage A14)", None),
            ("14) Storage", None),
        ] {
            assert_eq!(section_id(heading), id, "{heading}");
        }
    }

    #[test]
    fn sections_have_their_lines_and_what_they_lie_under() {
        let mut outline = Outline::default();
        outline.push_paragraph("before");
        outline.push_heading(1, "A14) One");
        outline.push_paragraph("text\nmore");
        outline.push_heading(3, "Deep");
        outline.push_heading(2, "Two");
        let found: Vec<_> = outline
            .sections()
            .into_iter()
            .map(|section| {
                let DocumentSection {
                    heading,
                    under,
                    first_line,
                    last_line,
                    ..
                } = section;
                (heading, under.join(">"), first_line, last_line)
            })
            .collect();
        assert_eq!(
            found,
            [
                (None, String::new(), 1, 1),
                (Some("A14) One"), String::new(), 3, 6),
                (Some("Deep"), "A14) One".to_owned(), 8, 8),
                (Some("Two"), "A14) One".to_owned(), 10, 10),
            ]
        );
        assert_eq!(outline.title(), Some("A14) One"));
    }
}
