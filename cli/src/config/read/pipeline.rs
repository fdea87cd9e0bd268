//! The tables `[[pipeline]]`: each of them, and what they say of each other.

use super::Reader;
use crate::config::mistake::{Place, nearest};
use crate::config::timing::{self, Timing};
use crate::config::{Pipeline, file_keys, schema};
use collectors::Descriptor;
use pipelines::schedule::When;
use schemars::schema_for;
use schemas::SourceName;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use toml_edit::{Item, Table, TableLike, Value};

/// The keys of a `[[pipeline]]` beside those that say when it runs.
const OWN: [&str; 2] = ["name", "source"];

/// One pipeline runs after another.
struct Follows {
    /// This one.
    pipeline: SourceName,
    /// That one, as written.
    after: SourceName,
    /// Where it says so.
    span: Option<Range<usize>>,
}

impl Reader<'_> {
    /// All of them that are whole.
    pub(super) fn pipelines(&mut self, pipelines: &Item) -> Vec<Pipeline> {
        let Ok(tables) = pipelines.clone().into_array_of_tables() else {
            self.wrong(
                pipelines.span(),
                "`pipeline` takes a list of tables",
                "write `[[pipeline]]`, with two brackets",
            );
            return Vec::new();
        };
        let schema = schema_for!(Timing);
        let timing: Vec<&str> = schema::properties(&schema).collect();
        let mut read = Vec::new();
        let mut follows = Vec::new();
        let mut lines = HashMap::new();
        for table in tables.iter() {
            let place = self.start.at(table.span());
            let Some(pipeline) = self.pipeline(table, &place, &timing, &mut follows) else {
                continue;
            };
            let span = table.get("name").and_then(Item::span);
            let line = self.line(span.as_ref());
            if let Some(first) = lines.insert(pipeline.name.clone(), line) {
                self.wrong(
                    span,
                    format!(
                        "a second pipeline `{}`; the first is in line {first}",
                        pipeline.name
                    ),
                    "give it a name of its own",
                );
            }
            read.push(pipeline);
        }
        // Those too that are not whole: one mistake is enough for each.
        let names: Vec<&str> = tables
            .iter()
            .filter_map(|table| table.get("name")?.as_str())
            .collect();
        self.known(&follows, &names);
        self.circles(&follows);
        read
    }

    fn pipeline(
        &mut self,
        table: &Table,
        place: &Place,
        timing: &[&str],
        follows: &mut Vec<Follows>,
    ) -> Option<Pipeline> {
        let keys: Vec<&str> = OWN.iter().chain(timing).copied().collect();
        for (key, _) in table.iter().filter(|(key, _)| !keys.contains(key)) {
            let of_source =
                |descriptor: &&Descriptor| schema::properties(&(descriptor.schema)()).any(|of| of == key);
            let help = match key == "kind" || collectors::ALL.iter().any(of_source) {
                true => format!("`{key}` belongs into the table `source`: source = {{ kind = …, … }}"),
                false => nearest(key, keys.iter().copied()),
            };
            let span = table.key(key).and_then(|key| key.span());
            self.wrong(span, format!("unknown key `{key}` in `pipeline`"), help);
        }
        let name = self.text(
            table,
            "name",
            place,
            "every pipeline has one, such as name = \"mail\"",
        );
        let name = name.and_then(|name| {
            let checked = SourceName::new(name);
            checked
                .map_err(|error| self.wrong(table.get("name").and_then(Item::span), error.to_string(), ""))
                .ok()
        });
        let source = match table.get("source") {
            None => {
                let help = "it says what is collected: source = { kind = \"maildir\", path = \"~/Mail\" }";
                self.wrong(Some(place.span.clone()), "the pipeline has no `source`", help);
                None
            }
            Some(source) => self.source(source),
        };
        let timing: Timing = self.keys(table, timing, "");
        // What a pipeline without a name or a source says of its schedule is checked once it has them.
        let ((descriptor, source, secrets), name) = (source?, name?);
        let (plan, budget, faults) = timing::settle(&timing, &name, !file_keys(descriptor).is_empty());
        for fault in faults {
            self.wrong(nth_span(table, fault.key, fault.nth), fault.message, fault.help);
        }
        for when in &plan.when {
            if let When::After(after) = when {
                let is_it = |text: &String| text.parse::<When>().is_ok_and(|of| of == *when);
                let nth = timing.schedule.texts().iter().position(is_it);
                follows.push(Follows {
                    pipeline: name.clone(),
                    after: after.clone(),
                    span: nth_span(table, "schedule", nth.unwrap_or_default()),
                });
            }
        }
        let place = place.at(table.get("source").and_then(Item::span));
        Some(Pipeline {
            name,
            plan,
            budget,
            descriptor,
            source,
            secrets,
            place,
        })
    }

    /// Reports those that follow what is not there.
    fn known(&mut self, follows: &[Follows], names: &[&str]) {
        for Follows { after, span, .. } in follows {
            if !names.contains(&after.as_str()) {
                let message = format!("`schedule`: there is no pipeline `{after}` to come after");
                self.wrong(
                    span.clone(),
                    message,
                    nearest(after.as_str(), names.iter().copied()),
                );
            }
        }
    }

    /// Reports those that follow each other in a circle: they would begin each other without end.
    fn circles(&mut self, follows: &[Follows]) {
        let mut told = HashSet::new();
        for begin in follows {
            if told.contains(&begin.pipeline) {
                continue;
            }
            let Some(circle) = circle_of(begin, follows) else {
                continue;
            };
            let names: Vec<String> = circle.iter().map(|name| format!("`{name}`")).collect();
            let message = format!("`schedule`: {}, and so on without end", names.join(" after "));
            self.wrong(begin.span.clone(), message, "leave one `after` out");
            told.extend(circle.into_iter().cloned());
        }
    }
}

/// The way from a pipeline over what it follows back to itself, if there is one that begins so.
fn circle_of<'a>(begin: &'a Follows, follows: &'a [Follows]) -> Option<Vec<&'a SourceName>> {
    // The pipeline by which each was reached.
    let mut reached: HashMap<&SourceName, &SourceName> = HashMap::from([(&begin.after, &begin.pipeline)]);
    let mut next = VecDeque::from([&begin.after]);
    while let Some(here) = next.pop_front() {
        if *here == begin.pipeline {
            let mut way = vec![here];
            let mut at = here;
            while let Some(before) = reached.get(at) {
                way.push(before);
                at = before;
                if *at == begin.pipeline {
                    break;
                }
            }
            way.reverse();
            return Some(way);
        }
        for on in follows.iter().filter(|on| on.pipeline == *here) {
            if !reached.contains_key(&on.after) {
                reached.insert(&on.after, here);
                next.push_back(&on.after);
            }
        }
    }
    None
}

/// Where the text lies under a key, or the nth of its list.
fn nth_span(table: &dyn TableLike, key: &str, nth: usize) -> Option<Range<usize>> {
    let item = table.get(key)?;
    let one = item.as_array().and_then(|list| list.get(nth));
    one.and_then(Value::span).or_else(|| item.span())
}
