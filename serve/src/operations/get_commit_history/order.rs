//! The order of commits that were made in the same moment, and where a page of them begins.
//!
//! - In: commits by moment, repository, id. Out: the same, and of one moment and repository no parent before its child.
//! - More than [`MOST_TIED`] of one moment stay in the order of their ids: an import may give a whole history one date.
//! - Not here: commits of different moments, whose dates are their order.

use super::{End, Row};
use std::collections::HashMap;

/// Commits of one moment and repository that are put in order.
pub(super) const MOST_TIED: usize = 200;

/// The commits in their order, without those that the answer before had.
pub(super) fn ordered(rows: Vec<Row>, after: Option<&End>) -> Vec<Row> {
    let mut all = Vec::with_capacity(rows.len());
    let mut rest = rows.into_iter().peekable();
    while let Some(first) = rest.next() {
        let place = (first.moment, first.repository.clone());
        let mut tied = vec![first];
        while let Some(next) = rest.next_if(|next| next.moment == place.0 && next.repository == place.1) {
            tied.push(next);
        }
        // Of those that were too many only what is left is seen now.
        let goes_on = after.is_some_and(|end| end.by_id && end.t == place.0 && end.r == place.1);
        if goes_on || tied.len() > MOST_TIED {
            for row in &mut tied {
                row.by_id = true;
            }
        } else {
            tied = children_first(tied);
        }
        all.append(&mut tied);
    }
    let is_last =
        |end: &End, row: &Row| row.moment == end.t && row.repository == end.r && row.commit == end.c;
    if let Some(end) = after.filter(|end| !end.by_id)
        && let Some(last) = all.iter().rposition(|row| is_last(end, row))
    {
        all.drain(..=last);
    }
    all
}

/// The same commits, each after all of its children.
fn children_first(mut left: Vec<Row>) -> Vec<Row> {
    let mut children: HashMap<String, usize> = HashMap::new();
    for parent in left.iter().flat_map(parents) {
        *children.entry(parent.clone()).or_default() += 1;
    }
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let has_none = |row: &Row| children.get(&row.commit).is_none_or(|count| *count == 0);
        // Git has no circles; rows that say so come as they are.
        let next = left.remove(left.iter().position(has_none).unwrap_or_default());
        for parent in parents(&next) {
            if let Some(count) = children.get_mut(parent) {
                *count = count.saturating_sub(1);
            }
        }
        sorted.push(next);
    }
    sorted
}

fn parents(row: &Row) -> impl Iterator<Item = &String> {
    row.parents.iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(moment: i64, commit: &str, parents: &[&str]) -> Row {
        let row = json!({
            "repository": "dkc", "commit": commit, "moment": moment, "parents": parents,
            "subject": "", "files_changed": 0,
        });
        serde_json::from_value(row).unwrap()
    }

    fn end(moment: i64, commit: &str, by_id: bool) -> End {
        End {
            t: moment,
            r: "dkc".to_owned(),
            c: commit.to_owned(),
            by_id,
        }
    }

    fn ids(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.commit.as_str()).collect()
    }

    fn history() -> Vec<Row> {
        // As the statement gives them: `b` is newest, then `d`, `a`, `c`, then `e` of the second before.
        vec![
            row(2, "a", &["c"]),
            row(2, "b", &["d"]),
            row(2, "c", &["e"]),
            row(2, "d", &["a", "c"]),
            row(1, "e", &[]),
        ]
    }

    #[test]
    fn no_parent_comes_before_its_child() {
        assert_eq!(ids(&ordered(history(), None)), ["b", "d", "a", "c", "e"]);
        let circle = vec![row(1, "a", &["b"]), row(1, "b", &["a"])];
        assert_eq!(ids(&ordered(circle, None)), ["a", "b"]);
    }

    #[test]
    fn a_page_begins_where_the_one_before_ended() {
        for (last, rest) in [
            ("b", vec!["d", "a", "c", "e"]),
            ("a", vec!["c", "e"]),
            ("c", vec!["e"]),
        ] {
            let rows = ordered(history(), Some(&end(2, last, false)));
            assert_eq!(ids(&rows), rest, "{last}");
        }
    }

    #[test]
    fn too_many_of_a_moment_stay_in_the_order_of_their_ids() {
        let many = |from: usize| -> Vec<Row> {
            let of = |at: usize| row(1, &format!("{at:04}"), &[&format!("{:04}", at.saturating_sub(1))]);
            (from..=MOST_TIED + 1).map(of).collect()
        };
        let all = ordered(many(1), None);
        assert!(all.iter().all(|row| row.by_id) && ids(&all).is_sorted());
        // Of the next page there are few enough to be sorted, and they are not.
        let rest = ordered(many(100), Some(&end(1, "0099", true)));
        assert!(rest.iter().all(|row| row.by_id) && ids(&rest).is_sorted());
        assert_eq!(rest.len(), MOST_TIED + 2 - 100);
    }
}
