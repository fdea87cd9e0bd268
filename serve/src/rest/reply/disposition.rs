//! What a client is to do with a file, and its name: the header `Content-Disposition`.
//!
//! - In: a name that somebody else may have given. Out: the header, with a name that does no harm where it is written.
//! - Not here: which answers are files (`reply`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use store::export::is_unsafe;

/// Characters of the name of a file; file systems allow 255 bytes.
const MOST_NAME: usize = 60;

/// What is escaped in a name (RFC 8187 §3.2.1: `attr-char` is not).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// What to do with a file, and its name (RFC 6266 §4.3): in ASCII, and where that is not all of it as it is (RFC 8187).
pub(super) fn disposition(how: &str, name: &str) -> String {
    let name = file_name(name);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.' | '_');
    let plain: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let exact = match plain == name {
        true => String::new(),
        false => format!("; filename*=UTF-8''{}", utf8_percent_encode(&name, ESCAPED)),
    };
    format!("{how}; filename=\"{plain}\"{exact}")
}

/// The name of a file out of what somebody called it: without folders, not hidden, without what shows as something else or
/// what some systems do not take. What is too long keeps its end, which says what it is.
fn file_name(called: &str) -> String {
    let last = called.rsplit(['/', '\\']).next().unwrap_or_default();
    let surplus = last.chars().count().saturating_sub(MOST_NAME);
    let is_odd = |c: char| is_unsafe(c) || matches!(c, '"' | '*' | ':' | '<' | '>' | '?' | '|');
    let end = last.chars().skip(surplus);
    let name: String = end.map(|c| if is_odd(c) { '_' } else { c }).collect();
    match name.trim_matches(['.', ' ']) {
        "" => "file".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_name_is_that_of_a_file_whatever_somebody_wrote() {
        for (called, wanted) in [
            ("report.pdf", "filename=\"report.pdf\""),
            ("Invoice 2024.pdf", "filename=\"Invoice 2024.pdf\""),
            (
                "a\"; filename=b.exe",
                "filename=\"a__ filename_b.exe\"; filename*=UTF-8''a_%3B%20filename%3Db.exe",
            ),
            ("a\r\nSet-Cookie: b.txt", "filename=\"a__Set-Cookie_ b.txt\""),
            (
                "Übersicht €.pdf",
                "filename=\"_bersicht _.pdf\"; filename*=UTF-8''%C3%9Cbersicht%20%E2%82%AC.pdf",
            ),
            ("../../.ssh/authorized_keys", "filename=\"authorized_keys\""),
            ("C:\\Windows\\a.exe", "filename=\"a.exe\""),
            (".bashrc", "filename=\"bashrc\""),
            ("gpj.\u{202e}exe", "filename=\"gpj._exe\""),
            (
                "50%41.txt",
                "filename=\"50_41.txt\"; filename*=UTF-8''50%2541.txt",
            ),
            ("..", "filename=\"file\""),
            ("", "filename=\"file\""),
        ] {
            let told = disposition("attachment", called);
            assert_eq!(told, format!("attachment; {wanted}"), "{called:?}");
            assert!(HeaderValue::from_str(&told).is_ok());
        }
        let long = disposition("attachment", &format!("{}.pdf", "😀".repeat(10_000)));
        assert!(long.ends_with("%80.pdf") && long.len() < 1_000, "{long}");
    }
}
