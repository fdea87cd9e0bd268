//! A lake whose `git_commits` has millions of rows, written and compacted as the product does it.
//!
//! - In: the corpus (`DKC_CORPUS`), whose lines are what the commits say; the data directory to make
//!   (`DKC_BENCH_LAKE`) and how many rows (`DKC_BENCH_ROWS`). The same every time.
//! - Rows come as the git collector pushes them: repository after repository, newest first.
//! - `sql.py` asks of it.

use schemas::datasets::git_commits::{DATASET, GitCommit, Signature};
use schemas::{Cursor, Instant, Provenance, Rows, RunId, SourceName};
use std::error::Error;
use std::path::PathBuf;
use std::{env, mem};
use store::{Commit, Items, Store};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rows that are pushed at once, as `collectors::git` does.
const BATCH_ROWS: usize = 512;

const AUTHORS: u64 = 60_000;
const REPOSITORIES: u64 = 400;

/// Microseconds of a second.
const SECOND: Instant = 1_000_000;
/// 2005-01-01, 2026-01-01.
const TIMES: (Instant, Instant) = (1_104_537_600 * SECOND, 1_767_225_600 * SECOND);

/// Minutes ahead of UTC, the frequent ones first.
const OFFSETS: [i64; 16] = [
    0, 60, 120, -420, -480, -300, 480, 330, -240, 540, 180, 600, -360, 240, 345, 780,
];

#[tokio::main]
async fn main() -> Outcome {
    let data =
        PathBuf::from(env::var_os("DKC_BENCH_LAKE").ok_or("DKC_BENCH_LAKE is not set; run: make bench-sql")?);
    let mut rows: u64 = env::var("DKC_BENCH_ROWS")?.parse()?;
    let provenance = Provenance {
        source: SourceName::new("history")?,
        run: RunId("019b0000-0000-7000-8000-000000000000".to_owned()),
    };
    let mut history = History::new()?;
    let store = Store::open_writer(&data).await?;
    let mut committer = store.committer(&provenance.source).await?;
    while rows > 0 {
        let some = rows.min(BATCH_ROWS as u64);
        rows -= some;
        let mut batch = Rows::of_lake(&DATASET, provenance.clone());
        for _ in 0..some {
            batch.push(&history.next())?;
        }
        let staged = committer.stage(Commit {
            run: provenance.run.clone(),
            source: provenance.source.clone(),
            upserts: vec![(&DATASET, batch.finish()?)],
            differ: false,
            removals: Vec::new(),
            cursor: Some(Cursor(rows.into())),
            items: Items { new: some, gone: 0 },
            message: None,
        });
        staged.await.with?;
    }
    committer.commit_staged().await?;
    store.compact(jiff::Timestamp::now()).await?;
    store.close().await;
    Ok(())
}

/// The commits to come.
struct History {
    chance: Chance,
    /// Lines of text.
    lines: Vec<String>,
    repository: u64,
    /// Commits that are left of it, and the microseconds between them.
    left: u64,
    pace: Instant,
    time: Instant,
    parent: String,
}

impl History {
    fn new() -> Outcome<Self> {
        let mails = benches::mails()?;
        let texts = mails.iter().map(|mail| String::from_utf8_lossy(mail));
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        let mut lines: Vec<String> = lines
            .filter(|line| {
                (16..72).contains(&line.trim().len()) && line.split(' ').count() > 2 && is_prose(line)
            })
            .collect();
        lines.sort_unstable();
        lines.dedup();
        Ok(Self {
            chance: Chance(1),
            lines,
            repository: 0,
            left: 0,
            pace: 0,
            time: 0,
            parent: String::new(),
        })
    }

    fn next(&mut self) -> GitCommit {
        if self.left == 0 {
            self.repository += 1;
            self.left = 1_000 + self.chance.skewed(200_000);
            self.time =
                TIMES.1 - self.chance.below(TIMES.1.abs_diff(TIMES.0) / 2).cast_signed() / SECOND * SECOND;
            self.pace = (self.time - TIMES.0) / self.left.cast_signed();
            self.parent = self.id();
        }
        self.left -= 1;
        let seconds = self.chance.below(2 * self.pace.cast_unsigned()).cast_signed() / SECOND;
        self.time -= seconds * SECOND;
        let (number, who, by) = (
            self.repository % REPOSITORIES,
            self.chance.skewed(AUTHORS),
            self.chance.skewed(AUTHORS / 50),
        );
        let repository = format!("{}-{number}", self.word(number));
        let parent = self.id();
        let commit = mem::replace(&mut self.parent, parent.clone());
        let mut parents = vec![parent];
        if self.chance.below(12) == 0 {
            parents.push(self.id());
        }
        let is_merge = parents.len() > 1;
        let author = self.person(who, self.time);
        let committed = self.time + self.chance.skewed(30 * 86_400).cast_signed() * SECOND;
        let committer = if self.chance.below(3) == 0 {
            Signature {
                time: Some(committed),
                ..author.clone()
            }
        } else {
            self.person(by, committed)
        };
        let area = self.chance.skewed(900);
        let line = self.line();
        let subject = format!("{}: {line}", self.word(area));
        let body = (0..self.chance.skewed(7))
            .map(|_| self.line())
            .collect::<Vec<_>>();
        let [insertions, deletions, files] = [2_000, 900, 40].map(|most| match is_merge {
            true => 0,
            false => self.chance.skewed(most).cast_signed(),
        });
        GitCommit {
            item: format!("{repository}@{commit}"),
            repository,
            commit,
            parents,
            recorded_author_name: author.name.clone(),
            recorded_author_email: author.email.clone(),
            author,
            committer,
            subject,
            body: body.join("\n"),
            insertions,
            deletions,
            files_changed: files,
        }
    }

    fn id(&mut self) -> String {
        let [a, b, c] = [self.chance.next(), self.chance.next(), self.chance.next()];
        format!("{a:016x}{b:016x}{:08x}", c >> 32)
    }

    fn line(&mut self) -> String {
        let at = self.chance.skewed(self.lines.len() as u64) as usize;
        self.lines.get(at).cloned().unwrap_or_default()
    }

    /// A word that always is the same of a number.
    fn word(&self, number: u64) -> &str {
        let at = Chance(number).below(self.lines.len() as u64) as usize;
        let words = self
            .lines
            .get(at)
            .into_iter()
            .flat_map(|line| line.split(|c: char| !c.is_ascii_lowercase()));
        words.max_by_key(|word| word.len()).unwrap_or_default()
    }

    fn person(&self, number: u64, time: Instant) -> Signature {
        let (first, last) = (self.word(number), self.word(number + AUTHORS));
        let domain = self.word(2 * AUTHORS + Chance(number).skewed(3_000));
        Signature {
            name: format!("{first} {last}"),
            email: format!("{first}.{last}{number}@{domain}.example"),
            time: Some(time),
            offset_min: OFFSETS
                .get(Chance(number).skewed(OFFSETS.len() as u64) as usize)
                .copied(),
        }
    }
}

/// Whether a line is something that people write, and no field or markup.
fn is_prose(line: &str) -> bool {
    line.starts_with(char::is_alphabetic)
        && line
            .chars()
            .all(|c| c.is_ascii_alphabetic() || " ,.'-".contains(c))
}

/// SplitMix64: numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Below `end`, small ones far more often: the cube of an even chance.
    fn skewed(&mut self, end: u64) -> u64 {
        let even = self.next() as f64 / u64::MAX as f64;
        ((even.powi(3) * end as f64) as u64).min(end.saturating_sub(1))
    }
}
