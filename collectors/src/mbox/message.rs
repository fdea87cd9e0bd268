//! One message out of an mbox: its quoting undone, its flags read.

use super::Format;
use memchr::memmem;

/// Undoes the quoting of lines that begin with `From `.
///
/// mboxrd puts `>` before every line of `>`s and `From `, so one is taken away; mboxo does so only for plain
/// `From `, and what was `>From ` before cannot be told from it. mboxcl2 does not quote.
pub(super) fn unquote(bytes: Vec<u8>, format: Format, is_counted: bool) -> Vec<u8> {
    if is_counted || format == Format::Mboxcl2 {
        return bytes;
    }
    let mut out = Vec::new();
    let mut kept = 0;
    for found in memmem::find_iter(&bytes, b">From ") {
        let before = bytes.get(..found).unwrap_or_default();
        let quotes = before.iter().rev().take_while(|&&byte| byte == b'>').count();
        let line = found - quotes;
        let starts_line = line == 0 || bytes.get(line - 1) == Some(&b'\n');
        if starts_line && (quotes == 0 || format != Format::Mboxo) {
            out.extend_from_slice(bytes.get(kept..line).unwrap_or_default());
            kept = line + 1;
        }
    }
    if kept == 0 {
        return bytes;
    }
    out.extend_from_slice(bytes.get(kept..).unwrap_or_default());
    out
}

/// Flags by their IMAP names, from `Status` and `X-Status` (mail readers on Unix) and `X-Mozilla-Status`.
pub(super) fn flags(message: &[u8]) -> Vec<String> {
    let mut flags = Vec::new();
    let mut add = |is_set: bool, flag: &str| flags.extend(is_set.then(|| flag.to_owned()));
    let lines = message
        .split(|&byte| byte == b'\n')
        .take_while(|line| !matches!(line, [] | [b'\r']));
    for line in lines.filter(|line| matches!(line.first(), Some(b'S' | b's' | b'X' | b'x'))) {
        let Some((name, value)) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(':'))
        else {
            continue;
        };
        if name.eq_ignore_ascii_case("Status") {
            add(value.contains('R'), "\\Seen");
        } else if name.eq_ignore_ascii_case("X-Status") {
            add(value.contains('A'), "\\Answered");
            add(value.contains('D'), "\\Deleted");
            add(value.contains('F'), "\\Flagged");
            add(value.contains('T'), "\\Draft");
        } else if name.eq_ignore_ascii_case("X-Mozilla-Status") {
            let bits = u16::from_str_radix(value.trim(), 16).unwrap_or(0);
            add(bits & 0x0001 != 0, "\\Seen");
            add(bits & 0x0002 != 0, "\\Answered");
            add(bits & 0x0004 != 0, "\\Flagged");
            add(bits & 0x0008 != 0, "\\Deleted");
            add(bits & 0x1000 != 0, "$Forwarded");
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unquoted(text: &str, format: Format) -> String {
        String::from_utf8(unquote(text.as_bytes().to_vec(), format, false)).unwrap()
    }

    #[test]
    fn mboxrd_takes_one_quote_away_and_mboxo_only_the_only_one() {
        let text = ">From a\n>>From b\n> From c\nx >From d\n>>>From e\n";
        assert_eq!(
            unquoted(text, Format::Mboxrd),
            "From a\n>From b\n> From c\nx >From d\n>>From e\n"
        );
        assert_eq!(
            unquoted(text, Format::Mboxo),
            "From a\n>>From b\n> From c\nx >From d\n>>>From e\n"
        );
        assert_eq!(unquoted(text, Format::Mboxcl2), text);
    }

    #[test]
    fn status_headers_become_flags_and_the_body_does_not() {
        let text = b"Status: RO\nX-Status: AF\nX-Mozilla-Status: 1001\nSubject: x\n\nX-Status: D\n";
        assert_eq!(
            flags(text),
            ["\\Seen", "\\Answered", "\\Flagged", "\\Seen", "$Forwarded"]
        );
    }

    proptest! {
        #[test]
        fn unquoting_undoes_mboxrd_quoting(lines in proptest::collection::vec(">{0,3}(From |x| )[a-z >]{0,9}", 0..20)) {
            let quote = |line: &String| {
                let is_from = line.trim_start_matches('>').starts_with("From ");
                format!("{}{line}\n", if is_from { ">" } else { "" })
            };
            let quoted: String = lines.iter().map(quote).collect();
            let plain: String = lines.iter().map(|line| line.clone() + "\n").collect();
            prop_assert_eq!(unquoted(&quoted, Format::Auto), plain);
        }
    }
}
