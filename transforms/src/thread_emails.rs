//! Conversations: which mails belong together, by References and In-Reply-To (RFC 5256 §3 REFERENCES,
//! without its subject step).
//!
//! - In: batches of `emails`, in any order and any division. Out: `thread_id` of each row.
//! - A mail links the ids it names, oldest first, then itself: each is a child of the one before. Ids of
//!   mails we do not have are nodes like others, so a missing parent still holds its children together.
//! - A thread is a connected set; its id is the key of the node that is nobody's child (of several, or of
//!   none in a cycle: the smallest), so it does not depend on the order in which mails come.
//! - Not here: reading mails (`convert_mail`), deciding which rows to write.

use crate::error::TransformError;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray};
use hashbrown::HashTable;
use schemas::datasets::emails::DATASET;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, OnceLock};

/// First half of the SHA-256 of a message id: the node, and in hexadecimal the thread it may give its id to.
type Key = [u8; 16];

/// A message id that was seen.
struct Node {
    key: Key,
    /// A node of the same thread, nearer to its representative; the representative names itself.
    up: u32,
    /// Whether some mail names another one right before it.
    is_child: bool,
    /// Of a representative: the node that gives its thread the id, as far as seen when threads were joined.
    best: u32,
}

/// The conversations of the mails added so far; about 30 bytes a message id.
#[derive(Default)]
pub struct Threads {
    nodes: Vec<Node>,
    by_key: HashTable<u32>,
    /// For each node the one whose key is the id of its thread; made when asked for, dropped by `add`.
    roots: OnceLock<Vec<u32>>,
}

impl Threads {
    /// No mails yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the mails of a batch of `emails`. Adding one again changes nothing.
    ///
    /// # Errors
    /// [`TransformError::Column`] when the batch is no batch of `emails`.
    pub fn add(&mut self, emails: &RecordBatch) -> Result<(), TransformError> {
        let columns = Columns::of(emails)?;
        self.roots = OnceLock::new();
        let mut chain = Vec::new();
        for row in 0..emails.num_rows() {
            chain.clear();
            columns.named_by(row, |id| chain.push(key_of_id(id)));
            chain.push(columns.own.key(row));
            self.link(&chain);
        }
        Ok(())
    }

    /// Makes each key a child of the one before. A key that comes again, as when In-Reply-To names one of
    /// References, adds nothing: it would only turn its ancestors into its children.
    fn link(&mut self, chain: &[Key]) {
        let mut before: Option<u32> = None;
        let own = chain.last();
        for (at, key) in chain.iter().enumerate() {
            let is_last = at + 1 == chain.len();
            // A mail that names itself is not its own parent.
            let again =
                !is_last && (Some(key) == own || chain.iter().take(at.min(SEARCHED)).any(|k| k == key));
            if again {
                continue;
            }
            let node = self.node(key);
            if let Some(parent) = before.filter(|parent| *parent != node) {
                if let Some(node) = self.nodes.get_mut(node as usize) {
                    node.is_child = true;
                }
                self.join(parent, node);
            }
            before = Some(node);
        }
    }

    /// The number of the node of that key, made if there is none.
    fn node(&mut self, key: &Key) -> u32 {
        if let Some(at) = self.find(key) {
            return at;
        }
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Node {
            key: *key,
            up: next,
            is_child: false,
            best: next,
        });
        let nodes = &self.nodes;
        let hash = |at: &u32| nodes.get(*at as usize).map_or(0, |node| short(&node.key));
        self.by_key.insert_unique(short(key), next, hash);
        next
    }

    /// The number of the node of that key, if there is one.
    fn find(&self, key: &Key) -> Option<u32> {
        let is = |at: &u32| self.nodes.get(*at as usize).is_some_and(|node| node.key == *key);
        self.by_key.find(short(key), is).copied()
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.representative(a), self.representative(b));
        let best = [a, b]
            .map(|at| self.nodes.get(at as usize).map_or(at, |node| node.best))
            .into_iter()
            .min_by(|one, other| self.rank(*one).cmp(&self.rank(*other)));
        if let Some(node) = self.nodes.get_mut(a.max(b) as usize) {
            node.up = a.min(b);
        }
        if let (Some(node), Some(best)) = (self.nodes.get_mut(a.min(b) as usize), best) {
            node.best = best;
        }
    }

    /// Of a thread the node of the lowest rank names it: nobody's child, then the smallest key.
    fn rank(&self, at: u32) -> Option<(bool, &Key)> {
        self.nodes.get(at as usize).map(|node| (node.is_child, &node.key))
    }

    /// The representative of a node's thread; halves the way to it.
    fn representative(&mut self, mut at: u32) -> u32 {
        loop {
            let up = self.up(at);
            if up == at {
                return at;
            }
            let above = self.up(up);
            if let Some(node) = self.nodes.get_mut(at as usize) {
                node.up = above;
            }
            at = above;
        }
    }

    fn up(&self, at: u32) -> u32 {
        self.nodes.get(at as usize).map_or(at, |node| node.up)
    }

    /// For each node the one that names its thread.
    fn roots(&self) -> &[u32] {
        self.roots.get_or_init(|| {
            // `up` never points to a later node, so one pass finds all representatives.
            let mut representatives: Vec<u32> = Vec::with_capacity(self.nodes.len());
            for (at, node) in (0_u32..).zip(&self.nodes) {
                let up = if node.up == at {
                    at
                } else {
                    representatives.get(node.up as usize).copied().unwrap_or(at)
                };
                representatives.push(up);
            }
            let mut best: Vec<u32> = (0_u32..).take(self.nodes.len()).collect();
            for (at, representative) in (0_u32..).zip(&representatives) {
                if let Some(best) = best.get_mut(*representative as usize)
                    && self.rank(at) < self.rank(*best)
                {
                    *best = at;
                }
            }
            representatives
                .iter()
                .map(|at| best.get(*at as usize).copied().unwrap_or(*at))
                .collect()
        })
    }

    /// The thread of a mail; one that was not added is a thread of its own.
    fn thread_of(&self, own: &Key) -> Key {
        let root = self.find(own).and_then(|at| self.roots().get(at as usize));
        root.and_then(|at| self.nodes.get(*at as usize))
            .map_or(*own, |node| node.key)
    }

    /// The thread of a mail as it was seen when threads were joined: nearly always that of
    /// [`thread_of`](Self::thread_of), without looking at all nodes for it.
    fn thread_so_far(&self, own: &Key) -> Key {
        let Some(mut at) = self.find(own) else {
            return *own;
        };
        while self.up(at) != at {
            at = self.up(at);
        }
        let best = self.nodes.get(at as usize).map_or(at, |node| node.best);
        self.nodes.get(best as usize).map_or(*own, |node| node.key)
    }

    /// The same batch with the `thread_id`s of what was added.
    ///
    /// # Errors
    /// [`TransformError::Column`] when the batch is no batch of `emails`.
    pub fn assign(&self, emails: &RecordBatch) -> Result<RecordBatch, TransformError> {
        Self::with_threads(emails, |own| self.thread_of(own))
    }

    /// As [`assign`](Self::assign) while more is to be added: quick for each batch of many, and in rare cases not
    /// yet the thread that [`stale`](Self::stale) will find.
    ///
    /// # Errors
    /// [`TransformError::Column`] when the batch is no batch of `emails`.
    pub fn assign_so_far(&self, emails: &RecordBatch) -> Result<RecordBatch, TransformError> {
        Self::with_threads(emails, |own| self.thread_so_far(own))
    }

    fn with_threads(
        emails: &RecordBatch,
        thread_of: impl Fn(&Key) -> Key,
    ) -> Result<RecordBatch, TransformError> {
        let own = Own::of(emails)?;
        let ids = (0..emails.num_rows()).map(|row| Some(hex::encode(thread_of(&own.key(row)))));
        let ids: ArrayRef = Arc::new(ids.collect::<StringArray>());
        let at = emails
            .schema()
            .index_of(THREAD_ID)
            .map_err(|_| missing(THREAD_ID, "Utf8"))?;
        let mut arrays = emails.columns().to_vec();
        if let Some(array) = arrays.get_mut(at) {
            *array = ids;
        }
        RecordBatch::try_new(emails.schema(), arrays).map_err(|source| TransformError::Arrow {
            dataset: DATASET.name,
            source,
        })
    }

    /// Item and new `thread_id` of each row whose stored `thread_id` is another.
    ///
    /// # Errors
    /// [`TransformError::Column`] when the batch is no batch of `emails`.
    pub fn stale(&self, emails: &RecordBatch) -> Result<Vec<(String, String)>, TransformError> {
        let own = Own::of(emails)?;
        let stored = text(emails, THREAD_ID)?;
        let mut stale = Vec::new();
        let mut hexadecimal = [0; 32];
        for row in 0..emails.num_rows() {
            let thread = self.thread_of(&own.key(row));
            let is_same = hex::encode_to_slice(thread, &mut hexadecimal).is_ok()
                && stored.value(row).as_bytes() == hexadecimal;
            if !is_same {
                stale.push((own.items.value(row).to_owned(), hex::encode(thread)));
            }
        }
        Ok(stale)
    }
}

/// The thread of a mail as far as the mail itself tells.
pub(crate) fn thread_of(
    item: &str,
    message_id: Option<&str>,
    in_reply_to: &[String],
    references: &[String],
) -> String {
    let first = references.first().or(in_reply_to.first());
    hex::encode(first.map_or_else(|| own_key(item, message_id), |id| key_of_id(id)))
}

const THREAD_ID: &str = "thread_id";

/// How many ids before one are searched for the same one: a longer chain is no conversation, and must not
/// take time that grows with its square.
const SEARCHED: usize = 256;

/// A key is its own hash.
fn short(key: &Key) -> u64 {
    key.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

fn key_of_id(id: &str) -> Key {
    half(Sha256::digest(id))
}

/// The key of a mail: of its id, or of its item when it has none (no id holds a NUL).
fn own_key(item: &str, message_id: Option<&str>) -> Key {
    message_id.map_or_else(
        || {
            half(
                Sha256::new()
                    .chain_update("\0item\0")
                    .chain_update(item)
                    .finalize(),
            )
        },
        key_of_id,
    )
}

fn half(digest: impl Into<[u8; 32]>) -> Key {
    let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest.into();
    first
}

/// The columns of `emails` that tell mails apart.
struct Own<'a> {
    items: &'a StringArray,
    message_ids: &'a StringArray,
}

impl<'a> Own<'a> {
    fn of(emails: &'a RecordBatch) -> Result<Self, TransformError> {
        Ok(Self {
            items: text(emails, "_item")?,
            message_ids: text(emails, "message_id")?,
        })
    }

    fn key(&self, row: usize) -> Key {
        let message_id = self
            .message_ids
            .is_valid(row)
            .then(|| self.message_ids.value(row));
        own_key(self.items.value(row), message_id)
    }
}

/// The columns of `emails` that tell threads.
struct Columns<'a> {
    own: Own<'a>,
    references: &'a ListArray,
    in_reply_to: &'a ListArray,
}

impl<'a> Columns<'a> {
    fn of(emails: &'a RecordBatch) -> Result<Self, TransformError> {
        Ok(Self {
            own: Own::of(emails)?,
            references: list(emails, "references")?,
            in_reply_to: list(emails, "in_reply_to")?,
        })
    }

    /// The ids a mail names, oldest first.
    fn named_by(&self, row: usize, mut each: impl FnMut(&'a str)) {
        for lists in [self.references, self.in_reply_to] {
            let Some(ids) = lists.values().as_string_opt::<i32>() else {
                continue;
            };
            let offsets = lists.value_offsets();
            let (Some(start), Some(end)) = (offsets.get(row), offsets.get(row + 1)) else {
                continue;
            };
            for at in *start..*end {
                each(ids.value(usize::try_from(at).unwrap_or_default()));
            }
        }
    }
}

fn missing(column: &'static str, kind: &'static str) -> TransformError {
    TransformError::Column {
        dataset: DATASET.name,
        column,
        kind,
    }
}

fn text<'a>(emails: &'a RecordBatch, column: &'static str) -> Result<&'a StringArray, TransformError> {
    emails
        .column_by_name(column)
        .and_then(|array| array.as_string_opt())
        .ok_or(missing(column, "Utf8"))
}

fn list<'a>(emails: &'a RecordBatch, column: &'static str) -> Result<&'a ListArray, TransformError> {
    let array = emails
        .column_by_name(column)
        .and_then(|array| array.as_list_opt::<i32>());
    array
        .filter(|list| list.values().as_string_opt::<i32>().is_some())
        .ok_or(missing(column, "List(Utf8)"))
}

#[cfg(test)]
mod tests;
