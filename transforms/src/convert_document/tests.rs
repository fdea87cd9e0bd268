//! What each kind of document is read to.

use super::*;
use schemas::{Attributes, Digest, SourceName};

fn outline(media_type: &'static str, text: &str) -> Outline {
    read(&item(media_type, text.as_bytes())).unwrap()
}

fn item(media_type: &'static str, bytes: &[u8]) -> RawItem {
    let sha256 = Digest::of(bytes);
    RawItem {
        item: sha256.to_string(),
        media_type,
        fetched_at: 0,
        sha256,
        original: Original::Bytes(bytes.to_vec().into()),
        attributes: Attributes {
            path: Some("/notes/plan.md".to_owned()),
            ..Attributes::default()
        },
    }
}

/// Headings with their level, id and first line.
fn headings(outline: &Outline) -> Vec<(String, i64, Option<String>, i64)> {
    let sections = outline.sections().into_iter();
    sections
        .filter_map(|section| {
            Some((
                section.heading?.to_owned(),
                section.level?,
                section.section_id.map(str::to_owned),
                section.first_line,
            ))
        })
        .collect()
}

const PLAN: &str = "---
title: \"The plan\"
tags: [a]
---
Before.

# A14) Storage *now*

```sh
# no heading
```

~~~
## neither
~~~

> [!note] Callout
> See [[Backups|the backups]] and ![[disk.png]].

B011 `code`
---
[out](https://example.org/x) [near](../b.md) ![i](i.png)
<https://auto.example>

    # indented
";

#[test]
fn markdown_gives_headings_links_and_lines_as_obsidian_sees_them() {
    let read = outline("text/markdown", PLAN);
    assert_eq!(read.title(), Some("The plan"));
    assert_eq!(
        headings(&read),
        [
            ("A14) Storage now".to_owned(), 1, Some("A14".to_owned()), 7),
            ("B011 code".to_owned(), 2, Some("B011".to_owned()), 20),
        ]
    );
    let links: Vec<_> = read
        .links
        .iter()
        .map(|link| (link.kind, link.target.as_str(), link.text.as_str()))
        .collect();
    assert_eq!(
        links,
        [
            ("wikilink", "Backups", "the backups"),
            ("embed", "disk.png", "disk.png"),
            ("url", "https://example.org/x", "out"),
            ("path", "../b.md", "near"),
            ("image", "i.png", "i"),
            ("url", "https://auto.example", "https://auto.example"),
        ]
    );
    assert_eq!(read.text, PLAN);
}

#[test]
fn org_html_notebooks_and_canvases_have_headings_too() {
    let org = outline(
        "text/org",
        "#+TITLE: Notes\n* TODO A1) First :work:\n#+begin_src sh\n* no\n#+end_src\n** Second\n[[file:a.org][A]]\n",
    );
    assert_eq!(org.title(), Some("Notes"));
    assert_eq!(
        headings(&org),
        [
            ("A1) First".to_owned(), 1, Some("A1".to_owned()), 2),
            ("Second".to_owned(), 2, None, 6),
        ]
    );
    assert_eq!(
        (org.links[0].target.as_str(), org.links[0].text.as_str()),
        ("a.org", "A")
    );

    let html = outline(
        "text/html",
        "<title>T &amp; t</title><body><h1>One <b>two</b></h1><p>x<h2></h2><h3>Three</h3><script>no</script>",
    );
    assert_eq!(html.title(), Some("T & t"));
    assert_eq!(
        headings(&html),
        [
            ("One two".to_owned(), 1, None, 1),
            ("Three".to_owned(), 3, None, 5)
        ]
    );

    let notebook = outline(
        "application/x-ipynb+json",
        r##"{"cells": [{"cell_type": "markdown", "source": ["# Note\n", "text"]},
            {"cell_type": "code", "source": "# comment\nx = '```'", "outputs": []}],
            "metadata": {"kernelspec": {"language": "python"}}}"##,
    );
    assert_eq!(headings(&notebook), [("Note".to_owned(), 1, None, 1)]);
    assert!(
        notebook.text.contains("````python\n# comment"),
        "{}",
        notebook.text
    );

    let canvas = outline(
        "application/x-canvas+json",
        r##"{"nodes": [{"type": "group", "label": "G"}, {"type": "text", "text": "hello"},
            {"type": "file", "file": "a.md", "subpath": "#b"}, {"type": "link", "url": "https://x.example"}]}"##,
    );
    assert_eq!(headings(&canvas), [("G".to_owned(), 2, None, 1)]);
    assert_eq!(canvas.links.len(), 2);
}

#[test]
fn text_of_any_encoding_is_read_and_what_is_no_text_is_not() {
    assert_eq!(decoded("é".as_bytes()).unwrap(), "é");
    assert_eq!(decoded(b"\xe9 \x80").unwrap(), "é €");
    assert_eq!(decoded(b"\xff\xfea\0\xe9\0").unwrap(), "aé");
    assert_eq!(decoded(b"\xef\xbb\xbfa\r\nb\x07").unwrap(), "a\nb");
    assert!(decoded(b"\x7fELF\0\0").is_err());
}

#[test]
fn rows_add_up_and_a_bad_document_stops_no_other() {
    let provenance = Provenance {
        source: SourceName::new("notes".to_owned()).unwrap(),
        run: schemas::RunId("r".to_owned()),
    };
    let items = [
        item("text/markdown", PLAN.as_bytes()),
        item("text/plain", b"\0"),
        item("application/pdf", b"%PDF-1.7 nothing"),
        item("application/epub+zip", b"PK"),
        item("text/plain", b"words"),
    ];
    let converted = convert(&items, &provenance);
    assert_eq!(converted.rejects.len(), 3, "{:#?}", converted.rejects);
    let rows = |name: &str| {
        let batches = converted.rows.iter().filter(|(dataset, _)| dataset.name == name);
        batches.map(|(_, batch)| batch.num_rows()).sum::<usize>()
    };
    assert_eq!(
        (
            rows("documents"),
            rows("document_sections"),
            rows("document_links")
        ),
        (2, 4, 6)
    );
}
