//! What agents may read by address: a URI names an operation and its input, so that all of it goes through the same door.
//!
//! - In: a URI such as `dkc://emails/message/ITEM`. Out: the operation and the input that it means; and what addresses
//!   there are, as templates (RFC 6570), always in the same order.
//! - What is in a URI is text: who calls the operation makes numbers of it where its input wants some.
//! - Not here: what the operations answer; who may call them (`dispatcher`); what completes a variable (`mcp::complete`).

mod credentials;
mod emails;
mod file_navigator;
mod git_integration;
mod masterplan_rag;
mod monitoring;
mod photos;
mod project_config;

use crate::toolset::Toolset;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Addresses of one kind of thing.
#[derive(Debug)]
pub struct Resource {
    /// The family of operations behind it; its name is this one's.
    pub toolset: &'static Toolset,
    /// The addresses; the first is the plain one.
    pub entries: &'static [Entry],
}

/// An address, or a template of addresses.
#[derive(Debug)]
pub struct Entry {
    /// It; what stands in braces, at its end, is one of `{name}`, `{+name}` and `{?name,name}`.
    pub uri: &'static str,
    /// Its name for programs.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What is read there, in a sentence.
    pub about: &'static str,
    /// The name of the operation.
    pub operation: &'static str,
    /// Input that is the same for all addresses.
    pub fixed: &'static [(&'static str, &'static str)],
    /// What stands in braces, in that order.
    pub variables: &'static [Variable],
}

/// A part of a template.
#[derive(Debug)]
pub struct Variable {
    /// Its name, that of the operation's parameter.
    pub name: &'static str,
    /// What can stand there.
    pub values: Values,
}

/// What completes a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    None,
    /// What a column of texts, or of lists of texts, has.
    Column {
        /// The dataset.
        dataset: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The names of the folders that the owner allowed.
    Roots,
}

impl Variable {
    /// One that nothing completes.
    const fn free(name: &'static str) -> Self {
        Self {
            name,
            values: Values::None,
        }
    }

    /// One that what a column has completes.
    const fn of(name: &'static str, dataset: &'static str, column: &'static str) -> Self {
        Self {
            name,
            values: Values::Column { dataset, column },
        }
    }

    /// One that begins with the name of an allowed folder.
    const fn root(name: &'static str) -> Self {
        Self {
            name,
            values: Values::Roots,
        }
    }
}

/// All resources, in the order in which documents list them.
pub const ALL: &[&Resource] = &[
    &masterplan_rag::RESOURCE,
    &file_navigator::RESOURCE,
    &git_integration::RESOURCE,
    &credentials::RESOURCE,
    &project_config::RESOURCE,
    &emails::RESOURCE,
    &photos::RESOURCE,
    &monitoring::RESOURCE,
];

impl Entry {
    /// Whether it stands for many addresses.
    pub(crate) fn is_template(&self) -> bool {
        self.uri.contains('{')
    }

    /// The input that an address means, if it is one of these.
    fn input(&self, uri: &str) -> Option<Map<String, Value>> {
        let (literal, expression) = match self.uri.split_once('{') {
            Some((literal, rest)) => (literal, rest.strip_suffix('}')?),
            None => (self.uri, ""),
        };
        let filled = uri.strip_prefix(literal)?;
        let fixed = self.fixed.iter();
        let mut input: Map<String, Value> = fixed
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        if expression.is_empty() {
            return filled.is_empty().then_some(input);
        }
        if let Some(names) = expression.strip_prefix('?') {
            for (name, value) in query(filled)? {
                let is_known = names.split(',').any(|known| known == name);
                if !is_known || input.insert(name, Value::String(value)).is_some() {
                    return None;
                }
            }
            return Some(input);
        }
        let (name, value) = match expression.strip_prefix('+') {
            Some(name) => (name, filled),
            None if filled.contains(['/', '?', '#']) => return None,
            None => (expression, filled),
        };
        if value.is_empty() {
            return None;
        }
        let value = percent_decode_str(value).decode_utf8().ok()?;
        input.insert(name.to_owned(), Value::String(value.into_owned()));
        Some(input)
    }
}

/// Names and values of the query that an address ends with, if it does.
fn query(filled: &str) -> Option<Vec<(String, String)>> {
    if filled.is_empty() {
        return Some(Vec::new());
    }
    let query = filled.strip_prefix('?')?;
    // What is no UTF-8 would be replaced below.
    percent_decode_str(query).decode_utf8().ok()?;
    serde_urlencoded::from_str(query).ok()
}

/// The operation and input that a URI means.
pub(crate) fn find(uri: &str) -> Option<(&'static Resource, &'static Entry, Map<String, Value>)> {
    let mut all = ALL
        .iter()
        .flat_map(|resource| resource.entries.iter().map(move |entry| (*resource, entry)));
    all.find_map(|(resource, entry)| Some((resource, entry, entry.input(uri)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{input, registry};
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use schemas::{Kind, datasets};
    use serde_json::json;

    /// What is written in place of `{+path}`: slashes stay.
    const REST: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

    fn entries() -> impl Iterator<Item = (&'static Resource, &'static Entry)> {
        ALL.iter()
            .flat_map(|resource| resource.entries.iter().map(move |entry| (*resource, entry)))
    }

    /// The address with these values, as RFC 6570 fills it; with `+` for spaces in a query if it is a form.
    fn filled(entry: &Entry, values: &[String], is_form: bool) -> String {
        let Some((literal, expression)) = entry.uri.split_once('{') else {
            return entry.uri.to_owned();
        };
        let pairs: Vec<(&str, &String)> = entry
            .variables
            .iter()
            .map(|variable| variable.name)
            .zip(values)
            .collect();
        let encoded = |value: &str, kept| utf8_percent_encode(value, kept).to_string();
        match expression.chars().next() {
            Some('?') if is_form => format!("{literal}?{}", serde_urlencoded::to_string(pairs).unwrap()),
            Some('?') => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={}", encoded(value, NON_ALPHANUMERIC)))
                    .collect();
                format!("{literal}?{}", pairs.join("&"))
            }
            Some('+') => format!("{literal}{}", encoded(&values[0], REST)),
            _ => format!("{literal}{}", encoded(&values[0], NON_ALPHANUMERIC)),
        }
    }

    fn odd() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{1,20}",
            "[ä ö/?#%&=+{}.:~-]{1,20}",
            prop::sample::select(vec![
                "%41",
                "%",
                "a/b c",
                "/home/ä/x?y#z",
                "../..",
                "?q=1&path=2",
                "\u{0}\n"
            ])
            .prop_map(str::to_owned),
        ]
    }

    #[test]
    fn they_are_in_the_order_of_the_documents() {
        let names: Vec<&str> = ALL.iter().map(|resource| resource.toolset.name).collect();
        assert_eq!(
            names,
            [
                "masterplan-rag",
                "file-navigator",
                "git-integration",
                "secrets-manager",
                "project-config",
                "emails",
                "photos",
                "monitoring"
            ]
        );
        for resource in ALL {
            let plain = format!("dkc://{}", resource.toolset.name);
            assert_eq!(resource.entries[0].uri, plain);
            assert!(!resource.entries[0].is_template());
            for entry in &resource.entries[1..] {
                assert!(entry.uri.starts_with(&format!("{plain}/")), "{}", entry.uri);
            }
        }
        for about in [|entry: &Entry| entry.uri, |entry: &Entry| entry.name] {
            let mut all: Vec<&str> = entries().map(|(_, entry)| about(entry)).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }

    #[test]
    fn each_is_an_operation_of_its_family_and_has_the_input_that_this_needs() {
        for (resource, entry) in entries() {
            let uri = entry.uri;
            let operation = registry::by_name(entry.operation);
            let operation = operation.unwrap_or_else(|| panic!("{uri}: no `{}`", entry.operation));
            assert_eq!(operation.toolset.name, resource.toolset.name, "{uri}");
            assert!(operation.plan.is_none(), "{uri} acts");
            let properties = input::properties(operation);
            let given: Vec<&str> = entry
                .fixed
                .iter()
                .map(|(name, _)| *name)
                .chain(entry.variables.iter().map(|variable| variable.name))
                .collect();
            for name in &given {
                assert!(
                    properties.contains_key(*name),
                    "{uri}: no `{name}` in `{}`",
                    operation.name
                );
            }
            let needed = input::schema(operation).get("required").and_then(Value::as_array);
            for name in needed.into_iter().flatten().filter_map(Value::as_str) {
                assert!(
                    given.contains(&name),
                    "{uri}: `{}` needs `{name}`",
                    operation.name
                );
            }
        }
    }

    #[test]
    fn each_template_names_its_variables() {
        for (_, entry) in entries() {
            let uri = entry.uri;
            let expression = match uri.split_once('{') {
                Some((_, rest)) => rest.strip_suffix('}').unwrap(),
                None => "",
            };
            assert!(!expression.contains(['{', '}']), "{uri}");
            let named: Vec<&str> = expression
                .trim_start_matches(['?', '+'])
                .split(',')
                .filter(|name| !name.is_empty())
                .collect();
            let variables: Vec<&str> = entry.variables.iter().map(|variable| variable.name).collect();
            assert_eq!(named, variables, "{uri}");
            assert!(expression.starts_with('?') || variables.len() <= 1, "{uri}");
        }
    }

    #[test]
    fn what_completes_a_variable_is_a_column_of_texts() {
        for (_, entry) in entries() {
            for variable in entry.variables {
                let Values::Column { dataset, column } = variable.values else {
                    continue;
                };
                let known = datasets::by_name(dataset).unwrap();
                let column = known.all_columns().find(|known| known.name == column);
                let kind = column.unwrap_or_else(|| panic!("{}: {dataset}", entry.uri)).kind;
                assert!(matches!(kind, Kind::Text | Kind::TextList), "{}", entry.uri);
            }
        }
    }

    #[test]
    fn what_is_none_of_them_is_not_found() {
        for uri in [
            "",
            "dkc://",
            "dkc://nothing",
            "dkc://emails/",
            "dkc://emails?q=x",
            "dkc://emailsx",
            "file:///etc/passwd",
            "dkc://emails/message/",
            "dkc://emails/message/a/b",
            "dkc://emails/message/a?b=c",
            "dkc://emails/message/%ff",
            "dkc://emails/search?q=a&q=b",
            "dkc://emails/search?q=a&other=b",
            "dkc://emails/search?q=%ff",
            "dkc://emails/searchq=a",
            "dkc://photos/thumbnail/x?dataset=emails",
            "dkc://file-navigator/file/",
            "dkc://file-navigator/file/home/%c3",
        ] {
            assert!(find(uri).is_none(), "{uri}");
        }
    }

    #[test]
    fn a_uri_means_an_operation_and_its_input() {
        for (uri, operation, input) in [
            ("dkc://emails", "list_folders", json!({})),
            ("dkc://emails/message/a%2Fb", "get_email", json!({"item": "a/b"})),
            ("dkc://emails/search", "search_emails", json!({})),
            (
                "dkc://emails/search?q=a+b%20c%2B",
                "search_emails",
                json!({"q": "a b c+"}),
            ),
            (
                "dkc://photos/thumbnail/x",
                "get_thumbnail",
                json!({"dataset": "photos", "item": "x"}),
            ),
            (
                "dkc://file-navigator/file/home/a%20b.txt?",
                "read_file",
                json!({"path": "home/a b.txt?"}),
            ),
        ] {
            let (_, entry, found) = find(uri).unwrap();
            assert_eq!(
                (entry.operation, Value::Object(found)),
                (operation, input),
                "{uri}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_found_again(values in prop::collection::vec(odd(), 8), is_form in any::<bool>()) {
            for (_, entry) in entries() {
                let uri = filled(entry, &values, is_form);
                let (_, found, input) = find(&uri).unwrap();
                prop_assert_eq!((found.name, found.uri), (entry.name, entry.uri), "{}", uri);
                let mut meant: Map<String, Value> = entry
                    .fixed
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                    .collect();
                for (variable, value) in entry.variables.iter().zip(&values) {
                    meant.insert(variable.name.to_owned(), Value::from(value.as_str()));
                }
                prop_assert_eq!(&input, &meant, "{}", uri);
                let meanings = entries().filter(|(_, other)| other.input(&uri).is_some()).count();
                prop_assert_eq!(meanings, 1, "{}", uri);
            }
        }

        #[test]
        fn any_text_is_answered(rest in "\\PC*") {
            for (_, entry) in entries() {
                let literal = entry.uri.split('{').next().unwrap_or_default();
                let uri = format!("{literal}{rest}");
                let meanings = entries().filter(|(_, other)| other.input(&uri).is_some()).count();
                prop_assert!(meanings <= 1, "{}", uri);
                prop_assert_eq!(meanings == 1, find(&uri).is_some());
            }
        }
    }
}
