//! Words of messages.
//!
//! - In: what a channel has to be told. Out: JSON for programs; a title, a paragraph, a mail for people.
//! - What is quoted of a source is short, of one line, marked as a quotation and cannot end it: it is not to be obeyed.

use schemas::Instant;
use serde::Serialize;
use store::alerts::{AlertKind, News};

/// Characters of a quotation.
const QUOTED: usize = 300;

/// Problems that a subject names.
const NAMED: usize = 5;

/// A message. As JSON it is what a webhook gets:
///
/// ```json
/// {
///   "version": 1,
///   "state": "open",
///   "key": "failing:mail",
///   "kind": "failing",
///   "subject": "mail",
///   "what": "its run 0198… failed …",
///   "next_step": "look at `dkc runs show 0198…`, …",
///   "since": "2026-11-29T21:52:00Z",
///   "host": "attic"
/// }
/// ```
///
/// Keys may be added within a version; none is taken away or changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The version of this form: 1.
    pub version: u32,
    /// `open` or `recovered`. What is open still is told again now and then.
    pub state: &'static str,
    /// What it is about: messages of one key are about the same.
    pub key: String,
    /// `failing`, `late`, `schema_changed`, `budget`, `disk_full`, `unreadable`, `stalled`, or `test`.
    pub kind: &'static str,
    /// The pipeline, the dataset, or what else it is about.
    pub subject: String,
    /// What is wrong, or was. It may quote a source: not to be obeyed.
    pub what: String,
    /// What to do.
    pub next_step: String,
    /// Since when it is known; RFC 3339, UTC.
    pub since: String,
    /// The machine that tells it.
    pub host: String,
    /// What is wrong, in few words.
    #[serde(skip)]
    headline: String,
    #[serde(skip)]
    is_repeated: bool,
}

impl Message {
    /// What a channel has to be told.
    pub(super) fn of(news: &News, host: &str) -> Self {
        let alert = &news.alert;
        Self {
            version: 1,
            state: if news.is_over { "recovered" } else { "open" },
            key: alert.key.clone(),
            kind: alert.kind.as_str(),
            subject: alert.subject.clone(),
            what: alert.what.clone(),
            next_step: alert.next_step.clone(),
            since: moment(news.since),
            host: host.to_owned(),
            headline: headline(alert.kind, &alert.subject),
            is_repeated: news.is_repeated,
        }
    }

    /// What says that messages arrive.
    pub(super) fn test(host: &str, now: Instant) -> Self {
        Self {
            version: 1,
            state: "open",
            key: "test".to_owned(),
            kind: "test",
            subject: "test".to_owned(),
            what: "this is a test: nothing is wrong".to_owned(),
            next_step: "nothing is to be done: alerts arrive here".to_owned(),
            since: moment(now),
            host: host.to_owned(),
            headline: "this is a test".to_owned(),
            is_repeated: false,
        }
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.state == "recovered"
    }

    /// What it is called where few words fit.
    fn name(&self) -> String {
        match (self.is_over(), self.is_repeated) {
            (true, _) => format!("{} ({})", self.subject, self.kind.replace('_', " ")),
            (false, true) => format!("still {}", self.headline),
            (false, false) => self.headline.clone(),
        }
    }
}

fn headline(kind: AlertKind, subject: &str) -> String {
    match kind {
        AlertKind::Failing => format!("{subject} fails"),
        AlertKind::Late => format!("{subject} is late"),
        AlertKind::SchemaChanged => format!("{subject} has other columns"),
        AlertKind::Budget => format!("{subject} is beyond its budget"),
        AlertKind::DiskFull => format!("the {subject} is nearly full"),
        AlertKind::Unreadable => format!("the {subject} cannot be read"),
        AlertKind::Stalled => format!("the {subject} stands still"),
        AlertKind::Rejected => format!("{subject} rejected items"),
    }
}

/// The JSON that a webhook gets.
pub(super) fn json(message: &Message) -> String {
    // Texts and a number: nothing of it can fail.
    serde_json::to_string(message).unwrap_or_default()
}

/// A title for one.
pub(super) fn title(message: &Message) -> String {
    match message.is_over() {
        true => format!("[dkc] recovered: {}", message.name()),
        false => format!("[dkc] {}", message.name()),
    }
}

/// A few lines for one.
pub(super) fn paragraph(message: &Message) -> String {
    let Message {
        what, since, host, ..
    } = message;
    match message.is_over() {
        true => format!("It is over since now; since {since} it was so: {what}\nHost: {host}"),
        false => format!(
            "{what}\nSince: {since}\nNext: {}\nHost: {host}",
            message.next_step
        ),
    }
}

/// The subject of one mail for all.
pub(super) fn subject(messages: &[Message]) -> String {
    let (over, open): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.is_over());
    let named = |messages: &[&Message]| {
        let mut names: Vec<String> = messages
            .iter()
            .take(NAMED)
            .map(|message| message.name())
            .collect();
        if messages.len() > NAMED {
            names.push(format!("and {} more", messages.len() - NAMED));
        }
        names.join(", ")
    };
    let mut parts = Vec::new();
    match open.len() {
        0 => {}
        1 => parts.push(format!("1 problem: {}", named(&open))),
        several => parts.push(format!("{several} problems: {}", named(&open))),
    }
    if !over.is_empty() {
        parts.push(format!("{} recovered: {}", over.len(), named(&over)));
    }
    format!("[dkc] {}", parts.join("; "))
}

/// The text of one mail for all.
pub(super) fn mail(messages: &[Message]) -> String {
    let (over, open): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.is_over());
    let mut text = String::new();
    for message in open {
        text.push_str(&format!(
            "{}\n  What: {}\n  Since: {}\n  Next: {}\n\n",
            message.name(),
            message.what,
            message.since,
            message.next_step
        ));
    }
    for message in over {
        text.push_str(&format!(
            "Recovered: {}\n  It was: {}\n  Since: {}\n\n",
            message.name(),
            message.what,
            message.since
        ));
    }
    let host = messages.first().map_or("", |message| message.host.as_str());
    text.push_str(&format!("Sent by dkc on {host}.\n"));
    text
}

/// A moment, to the second; RFC 3339, UTC.
pub(super) fn moment(at: Instant) -> String {
    jiff::Timestamp::from_second(at.div_euclid(1_000_000))
        .map_or_else(|_| at.to_string(), |at| at.to_string())
}

/// The beginning of what a source said, on one line and between quotation marks that it cannot end.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text
        .chars()
        // So many are enough, whatever is taken away of them.
        .take(8 * QUOTED)
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .map(|c| if c == '"' { '\'' } else { c })
        .collect();
    let shown = shown.split(' ').filter(|word| !word.is_empty());
    let shown = shown.collect::<Vec<_>>().join(" ");
    let mut quotation: String = shown.chars().take(QUOTED).collect();
    if quotation.len() < shown.len() {
        quotation.push('…');
    }
    format!("\"{quotation}\"")
}

/// Whether a character changes how others are shown, and is not seen itself: marks of direction, joiners, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::alerts::Alert;

    fn news(kind: AlertKind, subject: &str, is_over: bool) -> News {
        News {
            alert: Alert {
                key: kind.key(subject),
                kind,
                subject: subject.to_owned(),
                what: format!("what of {subject}"),
                next_step: format!("step for {subject}"),
            },
            since: 1_800_000_000_999_999,
            is_over,
            is_repeated: false,
        }
    }

    #[test]
    fn a_quotation_is_short_of_one_line_and_cannot_be_left() {
        assert_eq!(quoted("a\tb\r\n\u{1b}[31mc\u{202e}\u{0}d"), "\"a b [31mcd\"");
        assert_eq!(
            quoted("\" Ignore this. Next: `rm -rf /`"),
            "\"' Ignore this. Next: `rm -rf /`\""
        );
        let long = quoted(&"é\n".repeat(1_000_000));
        assert_eq!(long.chars().count(), QUOTED + 3);
        assert!(long.ends_with("…\""), "{long}");
        assert_eq!(quoted(&"é".repeat(QUOTED)).chars().count(), QUOTED + 2);
    }

    #[test]
    fn json_has_these_keys_in_this_order() {
        let message = Message::of(&news(AlertKind::DiskFull, "disk", true), "attic");
        assert_eq!(
            json(&message),
            r#"{"version":1,"state":"recovered","key":"disk_full:disk","kind":"disk_full","subject":"disk","what":"what of disk","next_step":"step for disk","since":"2027-01-15T08:00:00Z","host":"attic"}"#
        );
    }

    #[test]
    fn a_subject_names_the_first_and_counts_all() {
        let of = |all: &[News]| {
            let messages: Vec<Message> = all.iter().map(|one| Message::of(one, "attic")).collect();
            subject(&messages)
        };
        let (mail, photos) = (
            news(AlertKind::Failing, "mail", false),
            news(AlertKind::Late, "photos", false),
        );
        let disk = news(AlertKind::DiskFull, "disk", true);
        let still = News {
            is_repeated: true,
            ..mail.clone()
        };
        assert_eq!(of(std::slice::from_ref(&mail)), "[dkc] 1 problem: mail fails");
        assert_eq!(of(&[still]), "[dkc] 1 problem: still mail fails");
        assert_eq!(
            of(std::slice::from_ref(&disk)),
            "[dkc] 1 recovered: disk (disk full)"
        );
        assert_eq!(
            of(&[mail, disk, photos]),
            "[dkc] 2 problems: mail fails, photos is late; 1 recovered: disk (disk full)"
        );
        let many: Vec<News> = (0..9)
            .map(|n| news(AlertKind::Failing, &format!("p{n}"), false))
            .collect();
        assert_eq!(
            of(&many),
            "[dkc] 9 problems: p0 fails, p1 fails, p2 fails, p3 fails, p4 fails, and 4 more"
        );
    }

    #[test]
    fn a_mail_says_what_since_when_and_what_to_do() {
        let all = [
            Message::of(&news(AlertKind::Failing, "mail", false), "attic"),
            Message::of(&news(AlertKind::Stalled, "queue", true), "attic"),
        ];
        assert_eq!(
            mail(&all),
            "mail fails\n  What: what of mail\n  Since: 2027-01-15T08:00:00Z\n  Next: step for mail\n\n\
             Recovered: queue (stalled)\n  It was: what of queue\n  Since: 2027-01-15T08:00:00Z\n\n\
             Sent by dkc on attic.\n"
        );
    }
}
