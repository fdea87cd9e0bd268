//! Changes of files as text: headers and hunks, as git writes them.
//!
//! - There is room for so many lines and bytes. The first that does not fit, and all after it, are left out.
//! - The lines that differ are found, and put into hunks, by `gix::diff`.

use super::Change;
use gix::bstr::BStr;
use gix::diff::blob::unified_diff::{ConsumeHunk, ContextSize, DiffLineKind, HunkHeader};
use gix::diff::blob::{Algorithm, InternedInput, UnifiedDiff, diff_with_slider_heuristics};
use std::io;

/// What there is no more room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Lines.
    Lines,
    /// Bytes.
    Bytes,
}

/// A text that grows.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    lines_left: usize,
    most_bytes: usize,
    full: Option<Full>,
}

impl Text {
    /// An empty one, with room for so much.
    pub(super) fn new(most_lines: usize, most_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            lines_left: most_lines,
            most_bytes,
            full: None,
        }
    }

    /// What there was no room for, if something was left out.
    pub(super) fn full(&self) -> Option<Full> {
        self.full
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The text; bytes that are no UTF-8 are `U+FFFD`.
    pub(super) fn finish(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A line, without its end.
    pub(super) fn say(&mut self, line: &str) {
        self.push(&[line.as_bytes(), b"\n"]);
    }

    /// A line, in parts, with its end.
    fn push(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.full.is_some() {
            return;
        }
        if self.lines_left == 0 {
            self.full = Some(Full::Lines);
        } else if self.bytes.len() + length > self.most_bytes {
            self.full = Some(Full::Bytes);
        } else {
            self.lines_left -= 1;
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
    }

    /// Which file it is, and what became of the whole of it.
    pub(super) fn begin(&mut self, change: &Change) {
        let [old, new] = names(change);
        self.say(&format!("diff --git {} {}", named("a/", old), named("b/", new)));
        let modes = [change.before, change.after].map(|file| file.map(|file| file.mode.kind()));
        match modes.map(|mode| mode.map(|mode| mode.as_octal_str())) {
            [None, Some(mode)] => self.say(&format!("new file mode {mode}")),
            [Some(mode), None] => self.say(&format!("deleted file mode {mode}")),
            [Some(old), Some(new)] if old != new => {
                self.say(&format!("old mode {old}"));
                self.say(&format!("new mode {new}"));
            }
            _ => {}
        }
        if change.old_path.is_some() {
            self.say(&format!("rename from {}", named("", old)));
            self.say(&format!("rename to {}", named("", new)));
        }
    }

    /// That what is in a file is another, without saying how.
    pub(super) fn differ(&mut self, change: &Change, what: &str, why: &str) {
        let [old, new] = sides(change);
        self.say(&format!("{what} {old} and {new} differ{why}"));
    }

    /// The lines of a file that are others.
    ///
    /// # Errors
    /// None of its own: what the library says.
    pub(super) fn compare(
        &mut self,
        change: &Change,
        before: &[u8],
        after: &[u8],
        algorithm: Algorithm,
    ) -> gix::Result<()> {
        let input = InternedInput::new(before, after);
        let diff = diff_with_slider_heuristics(algorithm, &input);
        if diff.count_additions() == 0 && diff.count_removals() == 0 {
            return Ok(());
        }
        let [old, new] = sides(change);
        self.say(&format!("--- {old}{}", end_of(&old)));
        self.say(&format!("+++ {new}{}", end_of(&new)));
        UnifiedDiff::new(&diff, &input, Hunks(self), ContextSize::symmetrical(3))
            .consume()
            .map_err(gix::Error::from_error)
    }
}

/// Paths before and after.
fn names(change: &Change) -> [&BStr; 2] {
    let new = &change.path;
    let old = change.old_path.as_ref().unwrap_or(new);
    [old, new].map(|path| BStr::new(path.as_slice()))
}

/// What stands for a file before and after.
fn sides(change: &Change) -> [String; 2] {
    let [old, new] = names(change);
    let side = |is_there: bool, prefix, path| match is_there {
        true => named(prefix, path),
        false => "/dev/null".to_owned(),
    };
    [
        side(change.before.is_some(), "a/", old),
        side(change.after.is_some(), "b/", new),
    ]
}

/// A path, in quotes if something in it could be taken for more than a path.
fn named(prefix: &str, path: &BStr) -> String {
    let name = format!("{prefix}{path}");
    let is_odd = |c: char| c.is_control() || matches!(c, '"' | '\\');
    match name.contains(is_odd) {
        true => format!("{name:?}"),
        false => name,
    }
}

/// What follows a name before its line ends: where it has a space, `patch` could not tell otherwise.
fn end_of(name: &str) -> &'static str {
    if name.contains(' ') { "\t" } else { "" }
}

/// Writes hunks into a text.
struct Hunks<'a>(&'a mut Text);

impl ConsumeHunk for Hunks<'_> {
    type Out = ();

    fn consume_hunk(&mut self, header: HunkHeader, lines: &[(DiffLineKind, &[u8])]) -> io::Result<()> {
        let Self(text) = self;
        text.say(&format!(
            "@@ -{} +{} @@",
            range(header.before_hunk_start, header.before_hunk_len),
            range(header.after_hunk_start, header.after_hunk_len)
        ));
        for &(kind, line) in lines {
            let prefix: &[u8] = match kind {
                DiffLineKind::Context => b" ",
                DiffLineKind::Add => b"+",
                DiffLineKind::Remove => b"-",
            };
            if line.ends_with(b"\n") {
                text.push(&[prefix, line]);
            } else {
                text.push(&[prefix, line, b"\n"]);
                text.say("\\ No newline at end of file");
            }
        }
        Ok(())
    }

    fn finish(self) -> Self::Out {}
}

/// The lines of a hunk: from which, and how many. Of none it is the line before them.
fn range(start: u32, length: u32) -> String {
    match length {
        0 => format!("{},0", start.saturating_sub(1)),
        1 => start.to_string(),
        _ => format!("{start},{length}"),
    }
}
