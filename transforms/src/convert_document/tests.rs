//! What each kind of document is read to.

use super::*;
use schemas::{Attributes, Digest, SourceName};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

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
        "#+TITLE: Notes\n* TODO A1) First :work:\n#+begin_src sh\n,* no\n#+end_src\n** Second\n[[file:a.org][A]]\n",
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

/// Kinds, targets and texts of links.
fn links(outline: &Outline) -> Vec<(&str, &str, &str)> {
    let links = outline.links.iter();
    links
        .map(|link| (link.kind, link.target.as_str(), link.text.as_str()))
        .collect()
}

#[test]
fn a_rule_in_the_middle_of_markdown_is_no_front_matter() {
    let text = "text\n\n---\n## A2) Two\n[x](y.md)\n\n---\n## A3) Three\ntitle: no\n";
    for (before, title, line) in [("", None, 4), ("---\ntitle: Mine\nb: 1\n---\n", Some("Mine"), 8)] {
        let read = outline("text/markdown", &format!("{before}{text}"));
        assert_eq!(
            headings(&read),
            [
                ("A2) Two".to_owned(), 2, Some("A2".to_owned()), line),
                ("A3) Three".to_owned(), 2, Some("A3".to_owned()), line + 4),
            ]
        );
        assert_eq!(links(&read), [("path", "y.md", "x")]);
        assert_eq!(read.title(), title);
    }
}

#[test]
fn links_of_obsidian_are_found_in_tables_and_in_front_matter() {
    let read = outline(
        "text/markdown",
        "---\nup: \"[[Note]]\"\nsee:\n  - '[[Other|words]]'\nmatrix: [[1]]\n---\n\n| a | b |\n|---|---|\n| [[Page\\|alias]] | x |\n",
    );
    assert_eq!(
        links(&read),
        [
            ("wikilink", "Note", "Note"),
            ("wikilink", "Other", "words"),
            ("wikilink", "Page", "alias"),
        ]
    );
    let lines = read.line_starts();
    let lines: Vec<_> = read
        .links
        .iter()
        .map(|link| outline::line_of(&lines, link.at))
        .collect();
    assert_eq!(lines, [2, 4, 10]);
}

#[test]
fn an_open_block_of_org_ends_at_a_heading_and_states_are_left_out() {
    let read = outline(
        "text/org",
        "#+TODO: OPEN(o) | SHUT(s!)\n#+begin_quote\n[[a.org][A]]\n#+end_quote\n#+begin_src sh\n[[ -f no.org ]]\n\
         * TODO [#A] A14) First\n[[b.org]]\n* OPEN COMMENT A15) Second :tag:\n#+begin_example\n[[no.org]]\n\
         #+begin_quote\n#+end_example\n** SHUT A16) Third\n",
    );
    assert_eq!(
        headings(&read),
        [
            ("A14) First".to_owned(), 1, Some("A14".to_owned()), 7),
            ("A15) Second".to_owned(), 1, Some("A15".to_owned()), 9),
            ("A16) Third".to_owned(), 2, Some("A16".to_owned()), 14),
        ]
    );
    assert_eq!(links(&read), [("path", "a.org", "A"), ("path", "b.org", "")]);
}

#[test]
fn notebooks_of_format_3_are_read_and_what_a_cell_leaves_open_ends_with_it() {
    let notebook = outline(
        "application/x-ipynb+json",
        r##"{"nbformat": 3, "worksheets": [{"cells": [
            {"cell_type": "heading", "level": 2, "source": ["A1) One"]},
            {"cell_type": "code", "language": "python", "input": ["x = 1\n", "# no"], "outputs": []},
            {"cell_type": "markdown", "source": "```\nopen"},
            {"cell_type": "markdown", "source": "<!-- open"},
            {"cell_type": "markdown", "source": "---\n# A2) Two\n\n---"}]}]}"##,
    );
    assert_eq!(
        headings(&notebook),
        [
            ("A1) One".to_owned(), 2, Some("A1".to_owned()), 1),
            ("A2) Two".to_owned(), 1, Some("A2".to_owned()), 14),
        ]
    );
    assert!(
        notebook.text.contains("```python\nx = 1\n# no\n```"),
        "{}",
        notebook.text
    );
    let canvas = outline(
        "application/x-canvas+json",
        r##"{"nodes": [{"type": "text", "text": "~~~\nopen"}, {"type": "text", "text": "# Later"}]}"##,
    );
    assert_eq!(headings(&canvas), [("Later".to_owned(), 1, None, 4)]);
}

/// An archive of these members.
fn archive(members: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, text) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A book whose chapters have these places and, in the archive, names.
fn book(chapters: &[(&str, &str)], encryption: &str) -> Result<Outline, String> {
    let mut package = String::from("<package><manifest>");
    for (id, (href, _)) in chapters.iter().enumerate() {
        package.push_str(&format!("<item id=\"c{id}\" href=\"{href}\"/>"));
    }
    package.push_str("</manifest><spine>");
    for id in 0..chapters.len() {
        package.push_str(&format!("<itemref idref=\"c{id}\"/>"));
    }
    package.push_str("</spine></package>");
    let mut members = vec![
        (
            "META-INF/container.xml",
            "<container><rootfile full-path=\"OEBPS/p.opf\"/></container>",
        ),
        ("META-INF/encryption.xml", encryption),
        ("OEBPS/p.opf", package.as_str()),
    ];
    let there = chapters.iter().filter(|(_, name)| !name.is_empty());
    members.extend(there.map(|(href, name)| (*name, *href)));
    read(&item("application/epub+zip", &archive(&members)))
}

#[test]
fn chapters_of_a_book_are_found_however_they_are_referred_to() {
    let chapters = [
        ("caf%C3%A9%281%29.xhtml", "OEBPS/café(1).xhtml"),
        ("gone.xhtml", ""),
        ("../Text/./1.xhtml#begin", "Text/1.xhtml"),
        ("100%.xhtml", "OEBPS/100%.xhtml"),
    ];
    let font = "<encryption><CipherReference URI=\"OEBPS/font.otf\"/></encryption>";
    let read = book(&chapters, font).unwrap();
    assert_eq!(
        read.text,
        "caf%C3%A9%281%29.xhtml\n\n../Text/./1.xhtml#begin\n\n100%.xhtml"
    );

    let chapter = "<encryption><EncryptedData><CipherData><CipherReference URI=\"Text/1.xhtml\"/></CipherData>\
                   </EncryptedData></encryption>";
    let reason = book(&chapters, chapter).unwrap_err();
    assert!(reason.contains("encrypted"), "{reason}");
    let reason = book(&[("gone.xhtml", "")], font).unwrap_err();
    assert!(reason.contains("none of the chapters"), "{reason}");
}

#[test]
fn a_text_box_is_read_once_after_the_paragraph_that_it_hangs_on() {
    let boxed = "<w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p></w:txbxContent>";
    let document = format!(
        "<w:document xmlns:w=\"w\" xmlns:mc=\"mc\"><w:p><w:pPr><w:pStyle w:val=\"h\"/></w:pPr><w:r><w:t>Before </w:t></w:r>\
         <w:r><mc:AlternateContent><mc:Choice>{boxed}</mc:Choice><mc:Fallback>{boxed}</mc:Fallback></mc:AlternateContent>\
         </w:r><w:r><w:t>after</w:t></w:r></w:p><w:p><w:r><mc:AlternateContent><mc:Choice><w:sign/></mc:Choice><mc:Fallback>\
         <w:t>☺</w:t></mc:Fallback></mc:AlternateContent></w:r></w:p></w:document>"
    );
    let styles =
        "<w:styles xmlns:w=\"w\"><w:style w:styleId=\"h\"><w:name w:val=\"heading 2\"/></w:style></w:styles>";
    let docx = archive(&[
        ("word/document.xml", document.as_str()),
        ("word/styles.xml", styles),
    ]);
    let read = office::docx(&docx).unwrap();
    assert_eq!(read.text, "Before after\n\nIn a box\n\n☺");
    assert_eq!(headings(&read), [("Before after".to_owned(), 2, None, 1)]);
}

#[test]
fn what_was_deleted_and_comments_are_no_text_of_an_odt() {
    let content = "<o:text xmlns:o=\"o\" xmlns:t=\"t\" xmlns:d=\"d\"><t:tracked-changes><t:changed-region><t:deletion>\
                   <t:p>Deleted</t:p></t:deletion></t:changed-region></t:tracked-changes><t:h t:outline-level=\"2\">Head\
                   <o:annotation><d:creator>Bob</d:creator><d:date>2024-01-01T00:00:00</d:date><t:p>Why?</t:p></o:annotation>\
                   ing</t:h><t:p>Said<o:frame><t:h>framed</t:h></o:frame></t:p></o:text>";
    let read = office::odt(&archive(&[("content.xml", content)])).unwrap();
    assert_eq!(read.text, "Heading\n\nSaid framed");
    assert_eq!(headings(&read), [("Heading".to_owned(), 2, None, 1)]);
}
