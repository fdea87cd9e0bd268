//! What is wrong in the configuration, where, and what would be right.

use miette::{Diagnostic, NamedSource, Report, SourceSpan};
use std::ops::Range;
use std::sync::Arc;

/// One mistake.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Mistake {
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    text: NamedSource<Arc<str>>,
    #[label]
    span: SourceSpan,
}

/// All mistakes of a file, in its order.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{} mistakes in the configuration", .mistakes.len())]
pub struct Mistakes {
    #[related]
    mistakes: Vec<Mistake>,
}

impl Mistakes {
    /// Those mistakes, sorted by place.
    pub fn of(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.span.offset());
        Self { mistakes }
    }

    /// The one mistake, or all under one title.
    pub fn into_report(mut self) -> Report {
        match self.mistakes.pop() {
            Some(only) if self.mistakes.is_empty() => Report::new(only),
            Some(last) => {
                self.mistakes.push(last);
                Report::new(self)
            }
            None => Report::new(self),
        }
    }
}

/// What is wrong with the configuration and shows at no place in its file, such as a password that a server refuses.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Misconfigured {
    message: String,
    #[help]
    help: Option<String>,
}

impl Misconfigured {
    /// That it is wrong, and what would be right.
    pub fn report(message: impl Into<String>, help: Option<String>) -> Report {
        Report::new(Self {
            message: message.into(),
            help,
        })
    }
}

/// Whether a report tells of mistakes in the configuration: trying again helps nobody.
pub fn is_mistake(report: &Report) -> bool {
    report.is::<Mistake>() || report.is::<Mistakes>() || report.is::<Misconfigured>()
}

/// A place in the configuration. Its text holds no secret, see [`super::redact`].
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub title: Arc<str>,
    pub text: Arc<str>,
    pub span: Range<usize>,
}

impl Place {
    /// The place at `span` of the same text; this place without one.
    pub fn at(&self, span: Option<Range<usize>>) -> Self {
        let span = span.filter(|span| span.end <= self.text.len());
        Self {
            span: span.unwrap_or_else(|| self.span.clone()),
            ..self.clone()
        }
    }

    /// A mistake here.
    pub fn mistake(&self, message: impl Into<String>, help: Option<String>) -> Mistake {
        Mistake {
            message: message.into(),
            help,
            text: NamedSource::new(&self.title, self.text.clone()),
            span: self.span.clone().into(),
        }
    }
}

/// A help sentence: the name that was probably meant, else all names.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let all = names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match closest(wrong, names.iter().copied()) {
        Some(name) if names.len() > 1 => format!("did you mean `{name}`? all: {all}"),
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("use one of {all}"),
    }
}

/// The name that was probably meant, if any is like it.
pub fn closest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wrong, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// How alike (Jaro–Winkler, 0 to 1) a name must be to be offered. Lower: far-fetched offers.
const LIKENESS: f64 = 0.7;
