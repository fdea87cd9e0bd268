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
        ("<p>a<span style='opacity:0;'>x</span>b", "ab"),
        ("<p>a<font style='font-size:0px'>x</font>b", "ab"),
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
        (
            "<table><tr><td>a<td style='display:none'>x<td>b<tr hidden><td>y<tr><td>c</table>",
            "a b\nc",
        ),
        // An end tag of nothing that is open ends nothing.
        ("<div style='display:none'>x</section></span></td>y</div>a", "a"),
        ("<div hidden><b><div>x</b>y</div>z</div>a", "a"),
        ("<div hidden><table><tr><td>x</div>y</table>z</div>a", "a"),
        ("<div hidden><span><div>x</span>y</div>z</div>a", "a"),
        ("<div hidden><div hidden/>x</div>a", "a"),
    ] {
        assert_eq!(text_of_html(html), text, "{html}");
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
        ("<ul><li hidden>x<li>a<li>b</ul>", "a\nb"),
        ("<ul><li hidden>x<ul><li>y</ul><li>a</ul>b", "a\nb"),
        ("<dl><dt hidden>x<dd>a</dl>", "a"),
        ("<div><span style=display:none>x</div>a", "a"),
        ("<table><tr><td><div hidden>x</td><td>a</table>b", "a\nb"),
        ("<a style='display:none'>x<a>y</a>", "y"),
        ("<h1 hidden>x</h2>a", "a"),
        ("<select><option hidden>x<option>a</select>", "a"),
        // What never ends.
        ("<div style='display:none'>a<p>b", "a\n\nb"),
        (
            "<body><div hidden>a<table><tr><td>b</table>c</body></html>",
            "a\nb\nc",
        ),
        ("<div hidden>x</div><div hidden>a<div hidden>y</div>b", "ab"),
        ("a<template>b", "ab"),
        // A page that a script shows.
        ("<html hidden><body style='opacity:0'>a</body></html>", "a"),
        // What says otherwise for itself.
        (
            "<td style='font-size:0'><table><tr><td style='font-size:0px'><div style='font-size:13px'>a</div></table>",
            "a",
        ),
        (
            "<table><tr><td style='font-size:0'>x<div style='font-size:1em'>y</div><table><tr><td>a</table>",
            "a",
        ),
        (
            "<p style='visibility:hidden'>x<b style='visibility:visible'>a</b>",
            "a",
        ),
        (
            "<div style='display:none'>x<b style='display:inline'>y</b></div>a",
            "a",
        ),
        // What stands in a table outside of its cells is before it.
        ("<table hidden>a<tr>b<div>c</div><td>x</table>", "ab\nc"),
        ("<td style='display:none'>a</td>", "a"),
        ("<tr hidden><td>a</td></tr>", "a"),
    ] {
        assert_eq!(text_of_html(html), text, "{html}");
    }
}

#[test]
fn a_hidden_heading_is_none() {
    let page =
        read("<h1>One</h1><h2 hidden>x</h2><div hidden><h2>y</h2></div><h2>Two<span hidden>z</span></h2>end");
    assert_eq!(page.text, "One\n\nTwo\n\nend");
    assert_eq!(page.headings, [(1, 0..3), (2, 5..8)]);
}

#[test]
fn deep_and_broken_pages_are_read_in_time() {
    let deep = format!(
        "{}<b hidden>x</b>a{}",
        "<div><b><p>".repeat(20_000),
        "</i></td>".repeat(20_000)
    );
    assert_eq!(text_of_html(&deep), "a");
}

const PARTS: &[&str] = &[
    "<div>",
    "</div>",
    "<p>",
    "</p>",
    "<b>",
    "</b>",
    "<table>",
    "</table>",
    "<tr>",
    "<td>",
    "</td>",
    "<li>",
    "<span>",
    "</span>",
    "<div hidden>",
    "<b style='display:none'>",
    "<p hidden>",
    "<td hidden>",
    "<span style='font-size:0'>",
    "<br hidden>",
    "<template>",
    "</template>",
    " one ",
    " two ",
    " three ",
];

/// Ends what any of these opened, if it comes often enough.
const ENDS: &str = "</template></div></td></table></p></b></span></li>";

proptest! {
    /// Words come in the order in which they are there, and after all that hides has ended they are shown.
    #[test]
    fn hiding_only_takes_away_and_ends(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..30),
    ) {
        let html = parts.concat();
        let shown = text_of_html(&html);
        let mut left = parts.iter().map(|part| part.trim());
        for word in shown.split_whitespace() {
            prop_assert!(left.any(|other| other == word), "{} in {}", shown, html);
        }
        let ended = format!("{html}{} last", ENDS.repeat(parts.len() + 1));
        prop_assert!(text_of_html(&ended).ends_with("last"), "{}", ended);
    }
}
