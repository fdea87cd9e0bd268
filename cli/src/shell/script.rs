//! A text, typed or from a file, step by step: queries end with `;`, dot-commands with their line.

use store::query::text::statements;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A query.
    Query(String),
    /// A dot-command, without its dot.
    Command(String),
}

/// The steps of a text, each with the number of the line on which it ends. The last query may lack its `;`.
pub fn steps(text: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut begun = String::new();
    let query = |at: usize| move |query: &str| (at, Step::Query(query.to_owned()));
    for (at, line) in (1..).zip(text.split_inclusive('\n')) {
        if let Some(command) = line.strip_prefix('.')
            && is_blank(&begun)
        {
            begun.clear();
            steps.push((at, Step::Command(command.trim().to_owned())));
            continue;
        }
        begun.push_str(line);
        if line.contains(';') {
            let (done, rest) = statements(&begun);
            if !done.is_empty() || rest.is_empty() {
                steps.extend(done.into_iter().map(query(at)));
                // The end of its line, for a comment may end there.
                begun = format!("{rest}\n");
            }
        }
    }
    let (done, rest) = statements(&begun);
    let queries = done.into_iter().chain((!rest.is_empty()).then_some(rest));
    steps.extend(queries.map(query(text.trim_end().lines().count())));
    steps
}

/// Whether nothing is to be done.
fn is_blank(text: &str) -> bool {
    statements(text) == (Vec::new(), "")
}

/// Whether what was typed so far can be done.
pub fn is_complete(text: &str) -> bool {
    text.starts_with('.') || statements(text).1.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_queries_and_commands_in_order() {
        let query = |text: &str| Step::Query(text.to_owned());
        let command = |text: &str| Step::Command(text.to_owned());
        for (text, wanted) in [
            ("", vec![]),
            ("select 1", vec![query("select 1")]),
            (
                "-- a report\n.mode csv\nselect\n  1;\n.tables",
                vec![command("mode csv"), query("select\n  1;"), command("tables")],
            ),
            (
                "select 1; select ';\n.x';\n;;",
                vec![query("select 1;"), query("select ';\n.x';")],
            ),
            ("select 1\n.5;", vec![query("select 1\n.5;")]),
            (
                "select 1; -- one\n.quit\n",
                vec![query("select 1;"), command("quit")],
            ),
            ("/* ;\n.x\n*/ select 2;", vec![query("/* ;\n.x\n*/ select 2;")]),
        ] {
            let found: Vec<Step> = steps(text).into_iter().map(|(_, step)| step).collect();
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn a_step_is_told_by_the_line_on_which_it_ends() {
        let text = "-- a report\n.mode csv\n\nselect\n  1; select 2;\n.save x\nselect\n3\n\n";
        let lines: Vec<usize> = steps(text).into_iter().map(|(at, _)| at).collect();
        assert_eq!(lines, [2, 5, 5, 6, 8]);
    }

    #[test]
    fn what_is_typed_waits_for_its_end() {
        for text in ["", "select 1;", "select 1; -- done", ".tables", "-- nothing"] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["select", "select 1 -- ;", "select ';", "select 1; select", "/* ;"] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
