//! A commit object → its row: who, when, why.
//!
//! - In: the bytes of a commit, the mailmap. Out: the row without what the commit changed.
//! - Texts are in the encoding that the commit names, else UTF-8; what does not decode is shown as U+FFFD.

use encoding_rs::{Encoding, UTF_8};
use gix::ObjectId;
use gix::actor::SignatureRef;
use gix::bstr::{BStr, ByteSlice};
use gix::mailmap::Snapshot;
use gix::objs::CommitRef;
use schemas::datasets::git_commits::{GitCommit, Signature};

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

/// The commit of a repository, with no changes yet.
pub(super) fn decode(
    repository: &str,
    id: ObjectId,
    parents: &[ObjectId],
    commit: &CommitRef<'_>,
    mailmap: &Snapshot,
) -> GitCommit {
    let encoding = commit
        .encoding
        .and_then(|label| Encoding::for_label(label))
        .unwrap_or(UTF_8);
    let text = |bytes: &BStr| encoding.decode_without_bom_handling(bytes).0.into_owned();
    let (author, recorded) = signature(commit.author, mailmap, encoding);
    let (committer, _) = signature(commit.committer, mailmap, encoding);
    let message = text(commit.message);
    let (subject, body) = subject_and_body(&message);
    GitCommit {
        item: item(repository, &id),
        repository: repository.to_owned(),
        commit: id.to_string(),
        parents: parents.iter().map(ToString::to_string).collect(),
        author,
        committer,
        recorded_author_name: recorded.name,
        recorded_author_email: recorded.email,
        subject,
        body,
        insertions: 0,
        deletions: 0,
        files_changed: 0,
    }
}

/// The `_item` of a commit.
pub(super) fn item(repository: &str, id: &ObjectId) -> String {
    format!("{repository}@{id}")
}

/// Repository and commit of an `_item`; none when it is that of a repository.
pub(super) fn split_item(item: &str) -> Option<(&str, ObjectId)> {
    let (repository, id) = item.rsplit_once('@')?;
    Some((repository, ObjectId::from_hex(id.as_bytes()).ok()?))
}

/// A signature after the mailmap, and as it is recorded.
fn signature(raw: &BStr, mailmap: &Snapshot, encoding: &'static Encoding) -> (Signature, Signature) {
    let text = |bytes: &BStr| encoding.decode_without_bom_handling(bytes).0.into_owned();
    let Ok(found) = SignatureRef::from_bytes(raw) else {
        // Not as git writes it: all there is is the line.
        let name = text(raw.trim().as_bstr());
        let unread = Signature {
            name,
            ..Signature::default()
        };
        return (unread.clone(), unread);
    };
    let time = found.time().ok();
    let recorded = Signature {
        // Only its end, as git does (`split_ident_line`).
        name: text(found.name.trim_end().as_bstr()),
        email: text(found.email),
        time: time.and_then(|time| time.seconds.checked_mul(MICROS)),
        offset_min: time.map(|time| i64::from(time.offset) / 60),
    };
    // The mailmap is not in the encoding of a commit: git looks up what it has decoded.
    let shown = if encoding == UTF_8 {
        found
    } else {
        SignatureRef {
            name: recorded.name.as_str().into(),
            email: recorded.email.as_str().into(),
            time: found.time,
        }
    };
    let or = |mapped: Option<&BStr>, recorded: &String| {
        mapped.map_or_else(|| recorded.clone(), |mapped| mapped.to_str_lossy().into_owned())
    };
    let mapped = mailmap.try_resolve_ref(shown).map_or_else(
        || recorded.clone(),
        |mapped| Signature {
            name: or(mapped.name, &recorded.name),
            email: or(mapped.email, &recorded.email),
            ..recorded.clone()
        },
    );
    (mapped, recorded)
}

/// The first paragraph on one line, and the rest (`format_subject` in git's `pretty.c`).
fn subject_and_body(message: &str) -> (String, String) {
    let is_space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let mut subject = String::new();
    let mut lines = message.split_inclusive('\n');
    let mut rest = message.len();
    for line in lines.by_ref() {
        let text = line.trim_end_matches(is_space);
        if text.is_empty() {
            if subject.is_empty() {
                continue;
            }
            rest = lines.map(str::len).sum();
            break;
        }
        if !subject.is_empty() {
            subject.push(' ');
        }
        subject.push_str(text);
    }
    if rest == message.len() {
        rest = 0;
    }
    let body = message.get(message.len() - rest..).unwrap_or_default();
    let blank = body
        .split_inclusive('\n')
        .take_while(|line| line.trim_end_matches(is_space).is_empty())
        .map(str::len)
        .sum::<usize>();
    let body = body.get(blank..).unwrap_or_default();
    (subject, body.trim_end_matches(is_space).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_in_the_mailmap_as_git_shows_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let git = |arguments: &[&str]| fixtures::git::git(path, 0, arguments).trim().to_owned();
        git(&["init", "--quiet", "-b", "main"]);
        let tree = format!("tree {}\n", git(&["write-tree"]));
        let raw: [&[u8]; 4] = [
            tree.as_bytes(),
            b"author Ren\xe9 <rene@example.org> 1700000000 +0000\n",
            b"committer Ada <ada@example.org> 1700000000 +0000\n",
            b"encoding ISO-8859-1\n\nBegin\n",
        ];
        std::fs::write(path.join("raw"), raw.concat()).unwrap();
        let id = git(&["hash-object", "-t", "commit", "-w", "raw"]);
        let mailmap =
            "Ren\u{e9} D. <new@example.org> Ren\u{e9} <rene@example.org>\nZo\u{eb} <ada@example.org>\n";
        std::fs::write(path.join(".mailmap"), mailmap).unwrap();

        let repository = gix::open(path).unwrap();
        let found = ObjectId::from_hex(id.as_bytes()).unwrap();
        let commit = repository.find_commit(found).unwrap();
        let commit = commit.decode().unwrap();
        let row = decode("it", found, &[], &commit, &repository.open_mailmap());
        let told = [
            row.author.name,
            row.author.email,
            row.committer.name,
            row.committer.email,
            row.recorded_author_name,
        ];
        let shown = git(&["log", "-1", "--format=%aN|%aE|%cN|%cE|%an", &id]);
        assert_eq!(told.join("|"), shown);
        assert_eq!(told[2], "Zo\u{eb}");
    }

    #[test]
    fn the_subject_is_the_first_paragraph() {
        for (message, subject, body) in [
            ("One\n", "One", ""),
            ("One", "One", ""),
            ("", "", ""),
            ("\n\nOne\ntwo  \n\nBody\n\nmore\n\n", "One two", "Body\n\nmore"),
            ("One\n \n\n  indented\n", "One", "  indented"),
        ] {
            assert_eq!(
                subject_and_body(message),
                (subject.to_owned(), body.to_owned()),
                "{message:?}"
            );
        }
    }
}
