//! Which commits there are, parents before children.
//!
//! - In: the commits that references lead to, and which commits are stored. Out: the others, in order.
//! - A shallow clone's history ends at its border.

use gix::hashtable::HashSet as IdSet;
use gix::{ObjectId, Repository};
use std::collections::BTreeSet;

/// Reads who is whose parent.
pub(super) struct History<'a> {
    repository: &'a Repository,
    graph: Option<gix::commitgraph::Graph>,
    border: BTreeSet<ObjectId>,
}

/// Commits that a walk came upon.
#[derive(Default)]
pub(super) struct Walked {
    /// Those that are not stored, parents before children.
    pub(super) order: Vec<ObjectId>,
    /// All that are a parent of one of these.
    pub(super) parents: IdSet,
    /// Those that could not be read, and why.
    pub(super) unreadable: Vec<(ObjectId, String)>,
}

impl<'a> History<'a> {
    pub(super) fn new(repository: &'a Repository) -> gix::Result<Self> {
        Ok(Self {
            repository,
            // A damaged one costs time, nothing else.
            graph: repository.commit_graph_if_enabled().unwrap_or_default(),
            border: border(repository)?,
        })
    }

    /// The parents of a commit, as far as they are there.
    pub(super) fn parents(&self, id: &ObjectId) -> gix::Result<Vec<ObjectId>> {
        if self.border.contains(id) {
            return Ok(Vec::new());
        }
        if let Some(graph) = &self.graph
            && let Some(commit) = graph.commit_by_id(id)
        {
            let parents = commit
                .iter_parents()
                .map(|parent| Ok(graph.id_at(parent?).to_owned()));
            return parents.collect();
        }
        Ok(self
            .repository
            .find_commit(*id)?
            .parent_ids()
            .map(|id| id.detach())
            .collect())
    }

    /// Walks from `tips` to what is stored.
    pub(super) fn walk(&self, tips: &[ObjectId], is_stored: impl Fn(&ObjectId) -> bool) -> Walked {
        let mut walked = Walked::default();
        let mut seen = IdSet::default();
        // Commits with the parents that are still to be seen before them.
        let mut open: Vec<(ObjectId, Vec<ObjectId>)> = Vec::new();
        for tip in tips {
            self.enter(*tip, &is_stored, &mut seen, &mut open, &mut walked);
            while let Some((id, parents)) = open.last_mut() {
                match parents.pop() {
                    Some(parent) => self.enter(parent, &is_stored, &mut seen, &mut open, &mut walked),
                    None => {
                        walked.order.push(*id);
                        open.pop();
                    }
                }
            }
        }
        walked
    }

    fn enter(
        &self,
        id: ObjectId,
        is_stored: &impl Fn(&ObjectId) -> bool,
        seen: &mut IdSet,
        open: &mut Vec<(ObjectId, Vec<ObjectId>)>,
        walked: &mut Walked,
    ) {
        if is_stored(&id) || !seen.insert(id) {
            return;
        }
        match self.parents(&id) {
            Ok(mut parents) => {
                walked.parents.extend(parents.iter().copied());
                // The first parent's line is walked first, so that neighbours in it stay neighbours.
                parents.reverse();
                open.push((id, parents));
            }
            Err(error) => walked.unreadable.push((id, error.to_string())),
        }
    }
}

/// The commits at which a shallow clone ends.
pub(super) fn border(repository: &Repository) -> gix::Result<BTreeSet<ObjectId>> {
    let commits = repository.shallow_commits()?;
    Ok(commits
        .iter()
        .flat_map(|commits| commits.iter().copied())
        .collect())
}
