//! What of a page is text, and what is not.

use super::*;
use proptest::prelude::*;

#[test]
fn what_a_browser_does_not_show_is_not_text() {
    for (html, text) in [
        // Preheaders of newsletters.
        (
            "<body><div style=\"display:none;max-height:0;overflow:hidden\">Pre <b>header</b>&#847;&zwnj;</div><p>Hello",
            "Hello",
        ),
        (
            "<div style=\"display:none!important;visibility:hidden;mso-hide:all;font-size:1px;color:#fff;line-height:1px;\
             max-height:0px;max-width:0px;opacity:0;overflow:hidden;\"> Pre </div><table><tr><td>Hello</td></tr></table>",
            "Hello",
        ),
        ("<DIV STYLE='DISPLAY : none !important'>x</DIV>a", "a"),
        ("<p>a<span style=visibility:hidden>x</span>b</p>", "ab"),
        ("a<div hidden>x<div>y</div>z</div>b", "ab"),
        ("a<div HIDDEN=until-found>x</div>b", "ab"),
        ("a<template><p>x<template>y</template>z</template>b", "ab"),
        ("a<!-- x --><!--[if mso]>y<![endif]-->b", "ab"),
        (
            "<head><title>x</title><style>y</style><script>z</script></head>a",
            "a",
        ),
        ("a<noscript><img src=x></noscript><iframe>y</iframe>b", "ab"),
        (
            "<div style='display:none'><h1>x</h1><ul><li>y</ul><br>z</div>a",
            "a",
        ),
        // An end tag of nothing that is open ends nothing.
        ("<div style='display:none'>x</section></span></td>y</div>a", "a"),
        ("<div hidden><b><div>x</b>y</div>z</div>a", "a"),
        ("<div hidden><div hidden/>x</div>a", "a"),
    ] {
        assert_eq!(text_of_mail(html), text, "{html}");
    }
}

#[test]
fn what_is_shown_is_not_lost() {
    for (html, text) in [
        (
            "<p>a<p style='content:\"display:none\"'>b<p style=\"display:none-ish\">c",
            "a\n\nb\n\nc",
        ),
        (
            "<div aria-hidden=true>a</div><div data-style='display:none' class=hidden>b</div>",
            "a\nb",
        ),
        ("<p style='color:red' style='display:none'>a", "a"),
        ("<p hidden style='display:block'>a", "a"),
        ("<div style='display:none' style=''>x</div>a", "a"),
        // What holds nothing hides nothing.
        (
            "<img hidden>a<br style=display:none>b<input type=hidden hidden>c",
            "abc",
        ),
        ("<hr hidden>a<wbr style='display:none'/>b", "ab"),
        ("<div hidden/>a<svg><path style='display:none'/></svg>b", "ab"),
        ("<title/><p>a<script src=x />b", "ab"),
        // What ends without an end tag.
        ("<p hidden>x<p>a", "a"),
        ("<p style=display:none>x<div>a</div>", "a"),
        ("<p hidden>x<table><tr><td>a</table>", "a"),
        ("<div><p hidden>x</p>a</div><p>b", "a\n\nb"),
        ("<table><tr><td><p hidden>x</td><td>a</table>", "a"),
        ("<tr><td><p hidden>x<td>a<tr><td>b", "a\nb"),
        ("<div><p hidden>x</div>a<p>b", "a\n\nb"),
        ("<p hidden>x<main>a</main><p>b", "a\n\nb"),
        ("<ul><li hidden>x<li>a</ul>", "a"),
        ("<ul><li>a<li hidden>x</ul>b", "a\nb"),
        ("<ul><li hidden>x<ul><li>y</ul>z<li>a</ul>", "a"),
        ("<ol><li hidden>x<ul><li>y<li>z</ul></li><li>a</ol>", "a"),
        ("<ul><li hidden>x<ul><li hidden>y</ul>z</ul>a", "a"),
        ("<ul><li>a<ul><li hidden>x<li>b</ul><li>c</ul>", "a\nb\nc"),
        ("<dl><dt hidden>x<dd>a<dd hidden>y<dt>b</dl>", "a\nb"),
        ("<dl><dd hidden>x<dl><dt>y<dd>z</dl></dl>a", "a"),
        ("<select><option hidden>x<option>a</select>b", "a b"),
        (
            "<select><optgroup hidden><option>x<optgroup><option>a</select>",
            "a",
        ),
        (
            "<table><tr><td hidden>x<td>a<th hidden>y<tr><td>b</table>",
            "a\nb",
        ),
        ("<table><tr hidden><td>x<tr><td>a</table>b", "a\nb"),
        ("<table><thead hidden><tr><th>x<tbody><tr><td>a</table>b", "a\nb"),
        ("<table><caption hidden>x<tr><td>a</table>", "a"),
        ("<table><tbody hidden><tr><td>x</table>a", "a"),
        ("<tr><td hidden>x<table><tr><td>y<tr><td>z</table>w<td>a", "a"),
        ("<tr><td hidden><table><tr hidden><td>y</table>z</tr>a", "a"),
        ("<ruby>a<rt hidden>x<rt>b</ruby>", "ab"),
        ("<ul><li hidden>x<template><li>y</template>z<li>a</ul>", "a"),
        // What another of its kind ends.
        ("<a hidden>x<a href=y>a</a>b</a>c", "abc"),
        ("<a hidden>x<table><tr><td><a>y</a></table>z</a>a", "a"),
        ("<button hidden>x<button>a</button>", "a"),
        // What never ends, as far as its own end tags tell.
        ("<div><li hidden>a</div>b", "a\nb"),
        ("<div><span style=display:none>a</div>b", "a\nb"),
        ("<div style='display:none'>a<p>b", "a\n\nb"),
        (
            "<body><div hidden>a<table><tr><td>b</table>c</body></html>",
            "a\nb\nc",
        ),
        ("<div hidden>x</div>a<div hidden>b", "a\nb"),
        ("a<template>b", "ab"),
        (
            "<i hidden>a<p>b</p><div hidden>x<div hidden>y</div>z</div><span hidden>x</span>c",
            "a\n\nb\n\nc",
        ),
        // What ends more often than it begins.
        ("<div hidden>x</div></div>a", "a"),
        // CDATA of XHTML.
        (
            "<?xml version='1.0'?>\n<html><p>a <![CDATA[<b> & ]]]>c<![CDATA[]]><style><![CDATA[x]]></style>",
            "a <b> & ]c",
        ),
        ("<p>a<![CDATA[x]]>b", "ab"),
        // A page that a script shows.
        (
            "<html hidden><body style='visibility:hidden'>a</body></html>",
            "a",
        ),
        ("<section style='opacity:0'>a</section>", "a"),
    ] {
        assert_eq!(text_of_mail(html), text, "{html}");
    }
}

#[test]
fn words_of_blocks_do_not_run_together() {
    for name in [
        "main",
        "nav",
        "aside",
        "figure",
        "figcaption",
        "details",
        "summary",
        "fieldset",
        "legend",
        "caption",
        "menu",
        "div",
        "optgroup",
        "button",
        "select",
        "td",
    ] {
        let words = text_of_mail(&format!("a<{name}>b</{name}><{name}>c</{name}>d"));
        let words: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(words, ["a", "b", "c", "d"], "{name}");
    }
}

#[test]
fn a_hidden_heading_is_none() {
    let page =
        read("<h1>One</h1><h2 hidden>x</h2><div hidden><h2>y</h2></div><h2>Two<span hidden>z</span></h2>end");
    assert_eq!(page.text, "One\n\nTwo\n\nend");
    assert_eq!(page.headings, [(1, 0..3), (2, 5..8)]);
    let page = read("<h1>One<div hidden>x</h1>y</div> and a half");
    assert_eq!((&*page.text, page.headings), ("One and a half", vec![(1, 0..3)]));
}

#[test]
fn deep_and_broken_pages_are_read_in_time() {
    let deep = format!(
        "{}<b hidden>x</b>a{}",
        "<div hidden><b><p>".repeat(20_000),
        "</i></td>".repeat(20_000)
    );
    assert_eq!(text_of_mail(&deep), "xa");
    let lists = "<ul><li hidden>x".repeat(20_000);
    assert_eq!(text_of_mail(&format!("{lists}{}a", "</ul>".repeat(20_000))), "a");
}

#[test]
fn quotations_of_mails_are_marked_and_those_of_documents_are_not() {
    for (html, text) in [
        (
            "<p>Yes.</p><blockquote type=cite>a<br>b <b>c</b></blockquote>No.",
            "Yes.\n\n> a\n> b c\nNo.",
        ),
        (
            "<blockquote><p>a<blockquote>b</blockquote><p>c</blockquote>d",
            "> a\n>> b\n\n> c\nd",
        ),
        // What is hidden, empty or never began leaves nothing open.
        (
            "<blockquote hidden>x</blockquote>a<div hidden><blockquote>y</div>b",
            "ab",
        ),
        ("</blockquote>a<blockquote/>b", "a\nb"),
    ] {
        assert_eq!(text_of_mail(html), text, "{html}");
    }
    let deep = format!("{}a", "<blockquote>".repeat(100_000));
    assert_eq!(text_of_mail(&deep), ">>>>>>>>>>>>>>>> a");
    assert_eq!(read("<p>a</p><blockquote>b</blockquote>").text, "a\n\nb");
}

const PARTS: &[&str] = &[
    "<div>",
    "</div>",
    "<p>",
    "</p>",
    "<h1>",
    "</h1>",
    "<td>",
    "</td>",
    "<li>",
    "<span>",
    "</span>",
    "<div hidden>",
    "<b style='display:none'>",
    "</b>",
    "<p hidden>",
    "<td hidden>",
    "<table>",
    "</table>",
    "<tr>",
    "<ul>",
    "</ul>",
    "<li hidden>",
    "<a>",
    "</a>",
    "<a hidden>",
    "<br hidden>",
    "<template>",
    "</template>",
    " one ",
    " two ",
    " three ",
];

proptest! {
    /// Words come in the order in which they are there, and headings are within the text.
    #[test]
    fn hiding_only_takes_away(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..30),
    ) {
        let html = parts.concat();
        let page = read(&html);
        let mut left = parts.iter().map(|part| part.trim());
        for word in page.text.split_whitespace() {
            prop_assert!(left.any(|other| other == word), "{} in {}", page.text, html);
        }
        for (_, heading) in &page.headings {
            prop_assert!(heading.start <= heading.end, "{}", html);
        }
    }
}
