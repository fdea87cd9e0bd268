//! Requirements as Python writes them (PEP 508), a line each.
//!
//! - In: a line, or a `requirements.txt`. Out: names, and which versions of them, as written.
//! - Only the name is split off; no library of the workspace reads the rest, and nobody here needs it read. Options of
//!   pip, lines that name a file or an address without a package, and what other files hold are passed over.

use super::DependencyKind::{Development, Runtime};
use super::Said;
use regex::Regex;
use std::sync::LazyLock;

/// A name, then extras, versions, an address, a marker.
static LINE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*($|[\[<>=!~;@(].*$)").ok());

/// The address of a repository that says which package it holds, `git+https://…#egg=name`, as pip takes it.
static EGG: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:(?:-e|--editable)[\s=]\s*)?(\S+?)[#&]egg=([A-Za-z0-9][A-Za-z0-9._-]*)").ok()
});

/// The package in an address, and the address.
fn egg(line: &str) -> Option<(String, Option<String>)> {
    let found = EGG.as_ref()?.captures(line.trim())?;
    let (address, name) = (found.get(1)?.as_str(), found.get(2)?.as_str());
    Some((name.to_owned(), Some(format!("@ {address}"))))
}

/// The name in a requirement, and the rest of it.
pub(super) fn requirement(line: &str) -> Option<(String, Option<String>)> {
    let found = LINE.as_ref()?.captures(line.trim())?;
    let rest = found.get(2).map_or("", |rest| rest.as_str()).trim();
    Some((
        found.get(1)?.as_str().to_owned(),
        (!rest.is_empty()).then(|| rest.to_owned()),
    ))
}

/// A `requirements.txt` or `requirements.in`; those whose name says so are for development.
pub(super) fn requirements(name: &str, text: &str) -> Said {
    let is_for_work = ["dev", "test", "lint", "doc"]
        .iter()
        .any(|word| name.contains(word));
    let kind = if is_for_work { Development } else { Runtime };
    let mut said = Said::default();
    // pip joins lines that end with a backslash before it looks at them.
    let joined = text
        .trim_start_matches('\u{feff}')
        .replace("\\\r\n", " ")
        .replace("\\\n", " ");
    for line in joined.lines() {
        let line = without_comment(line);
        // Hashes and other options of a line.
        let line = line.split(" --").next().unwrap_or_default();
        if let Some((package, which)) = requirement(line).or_else(|| egg(line)) {
            said.needs(&package, which, kind, name);
        }
    }
    said
}

/// A line until its comment, which begins it or has a blank before it.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let comment = line.find(" #").or_else(|| line.find("\t#"));
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_from_the_rest() {
        for (line, expected) in [
            ("rich", Some(("rich", None))),
            (" zope.interface >= 5 ", Some(("zope.interface", Some(">= 5")))),
            (
                "a[b,c]~=1.0; python_version < '3.9'",
                Some(("a", Some("[b,c]~=1.0; python_version < '3.9'"))),
            ),
            (
                "pip @ https://x.test/pip.zip",
                Some(("pip", Some("@ https://x.test/pip.zip"))),
            ),
            ("./local", None),
            ("https://x.test/a.whl", None),
            ("-r other.txt", None),
            ("two words", None),
            ("", None),
        ] {
            let found = requirement(line);
            let found = found
                .as_ref()
                .map(|(name, rest)| (name.as_str(), rest.as_deref()));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn options_and_comments_are_passed_over() {
        let text = "# all\n--index-url https://u:p@x.test\nflask==3.0 \\\n  --hash=sha256:abc\nrich # pretty\n-e .\n\
             -e git+https://x.test/a.git@v1#egg=tool&subdirectory=b\n";
        let said = requirements("requirements-dev.txt", text);
        let found: Vec<_> = said
            .dependencies
            .iter()
            .map(|one| (one.name.as_str(), one.requirement.as_deref(), one.kind))
            .collect();
        assert_eq!(
            found,
            [
                ("flask", Some("==3.0"), Development),
                ("rich", None, Development),
                ("tool", Some("@ git+https://x.test/a.git@v1"), Development),
            ]
        );
    }
}
