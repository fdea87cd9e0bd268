//! Which tools an agent is given, and how.
//!
//! - In: what a command line or an address says. Out: [`Options`], checked. Not here: what it may call.

use crate::problem::{Kind, Problem};
use crate::toolset::{self, Toolset};

/// Which tools an agent is given, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The toolsets, by name; those that are so by default without it.
    toolsets: Option<Vec<&'static str>>,
    /// Whether there is one tool for each toolset.
    pub(super) is_grouped: bool,
}

/// What stands for all toolsets.
const ALL: &str = "all";

impl Options {
    /// Toolsets with commas between, or `all`; the usual ones without any.
    ///
    /// # Errors
    /// That there is no such toolset.
    pub fn new(toolsets: Option<&str>, grouped: bool) -> Result<Self, Problem> {
        Self::among(toolsets, grouped, |_| true)
    }

    /// The same for somebody who is not to learn of toolsets that are not given to them.
    fn among(
        toolsets: Option<&str>,
        grouped: bool,
        is_given: impl Fn(&Toolset) -> bool,
    ) -> Result<Self, Problem> {
        let for_agents = || {
            let all = toolset::ALL.iter().copied();
            all.filter(|toolset| toolset.is_for_agents() && is_given(toolset))
        };
        let Some(list) = toolsets else {
            return Ok(Self {
                toolsets: None,
                is_grouped: grouped,
            });
        };
        let mut chosen = Vec::new();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == ALL {
                chosen.extend(for_agents().map(|toolset| toolset.name));
                continue;
            }
            let known = toolset::by_name(name).filter(|toolset| toolset.is_for_agents());
            let names = for_agents().map(|toolset| toolset.name).chain([ALL]);
            let unknown = || Problem::no_such(Kind::BadRequest, "toolset", name, names);
            chosen.push(known.ok_or_else(unknown)?.name);
        }
        Ok(Self {
            toolsets: Some(chosen),
            is_grouped: grouped,
        })
    }

    /// What the query of an address says: `toolsets=search,emails&grouped=true`.
    ///
    /// # Errors
    /// That it cannot be read, or says something else.
    pub(super) fn of_query(query: &str, is_given: impl Fn(&Toolset) -> bool) -> Result<Self, Problem> {
        let wrong = |detail: String| Problem::new(Kind::BadRequest, detail);
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|error| wrong(format!("the query cannot be read: {error}")))?;
        let (mut toolsets, mut grouped) = (None, false);
        for (name, value) in pairs {
            match name.as_str() {
                "toolsets" => toolsets = Some(value),
                "grouped" => {
                    grouped = value
                        .parse()
                        .map_err(|_| wrong("`grouped` must be true or false".to_owned()))?;
                }
                _ => {
                    let names = ["grouped", "toolsets"].into_iter();
                    return Err(Problem::no_such(
                        Kind::UnknownParameter,
                        "parameter",
                        &name,
                        names,
                    ));
                }
            }
        }
        Self::among(toolsets.as_deref(), grouped, is_given)
    }

    /// Whether an agent may read the resources of a toolset: they cost nothing until they are read, so all of them where it
    /// did not choose.
    pub(super) fn reads(&self, toolset: &Toolset) -> bool {
        toolset.is_for_agents()
            && self
                .toolsets
                .as_ref()
                .is_none_or(|chosen| chosen.contains(&toolset.name))
    }

    /// Whether an agent is given a toolset.
    pub(super) fn has(&self, toolset: &Toolset) -> bool {
        toolset.is_for_agents()
            && match &self.toolsets {
                Some(chosen) => chosen.contains(&toolset.name),
                None => toolset.is_default,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolsets_are_chosen_by_name_and_the_owners_are_never_among_them() {
        let usual = Options::new(None, false).unwrap();
        assert!(usual.has(&toolset::SEARCH) && usual.has(&toolset::DATA));
        assert!(!usual.has(&toolset::EMAILS) && !usual.has(&toolset::OWNER));
        let some = Options::new(Some("emails, photos"), true).unwrap();
        assert!(some.has(&toolset::EMAILS) && some.has(&toolset::PHOTOS) && some.is_grouped);
        assert!(!some.has(&toolset::SEARCH));
        let all = Options::new(Some("all"), false).unwrap();
        let missing: Vec<_> = toolset::ALL.iter().filter(|toolset| !all.has(toolset)).collect();
        assert_eq!(missing, [&&toolset::OWNER]);
        assert!(Options::new(Some("owner"), false).is_err());
        let near = Options::new(Some("email"), false).unwrap_err();
        assert!(near.detail.contains("did you mean `emails`"), "{}", near.detail);
        assert_eq!(
            Options::of_query("toolsets=emails%2Cphotos&grouped=true", |_| true).unwrap(),
            Options::new(Some("emails,photos"), true).unwrap()
        );
        assert!(Options::of_query("tools=all", |_| true).is_err());
    }
}
