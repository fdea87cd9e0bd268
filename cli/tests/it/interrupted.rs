//! Commands that are interrupted, and what must be true after the next try: the same rows as without interruption.

use crate::it::lab::{self, Lab, MAIL};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// A source, a data directory to begin from, and what a command must make of them.
pub struct Scene {
    /// The command.
    pub command: &'static [&'static str],
    /// Not to be run itself.
    start: Lab,
    /// Facts of the lake when nothing interrupts the command.
    expected: Value,
    /// How long that took.
    pub took: Duration,
    /// Whether originals lie at the source and changed there: the lake is whole only once the command has ended.
    pub originals_changed: bool,
}

impl Scene {
    /// The first run over a Maildir: some batches, since four of its mails are large.
    pub fn first() -> Self {
        let lab = Lab::new(MAIL);
        lab.deliver("", &with_large(fixtures::corpus::sample(400), 4));
        lab.deliver(".Archive.2024", &fixtures::corpus::sample(50));
        Self::of(lab, &["run"])
    }

    /// A later run: new mails, flags, moves, deletions.
    pub fn changes() -> Self {
        Self::of(Self::changed(), &["run"])
    }

    /// The files of some runs merged, and all but the newest snapshot forgotten.
    pub fn compaction() -> Self {
        let lab = Self::changed();
        lab.run();
        let before = lab::duckdb(&[(&lab, None)]).remove(0);
        let scene = Self::of(lab, &["compact", "--expire-older-than", "0s"]);
        assert_eq!(scene.expected, before);
        scene
    }

    /// A lake, and a Maildir that has changed since.
    fn changed() -> Lab {
        let lab = Lab::new(MAIL);
        let names = lab.deliver("", &fixtures::corpus::sample(400));
        lab.deliver(".Archive.2024", &fixtures::corpus::sample(50));
        lab.run();
        for (n, name) in names.iter().enumerate() {
            let old = format!("cur/{name}:2,");
            match n % 10 {
                1 => lab.rename(&old, &format!("cur/{name}:2,FS")),
                4 => lab.rename(&old, &format!(".Archive.2024/cur/moved.{name}:2,S")),
                7 => fs::remove_file(lab.path("mail").join(old)).unwrap(),
                _ => {}
            }
        }
        let rest = fixtures::corpus::sample(460).split_off(400);
        lab.deliver("", &with_large(rest, 3));
        lab
    }

    /// A command, and what to begin from.
    pub fn of(start: Lab, command: &'static [&'static str]) -> Self {
        let undisturbed = Self {
            command,
            start,
            expected: Value::Null,
            took: Duration::ZERO,
            originals_changed: false,
        };
        let lab = undisturbed.fresh("undisturbed");
        let began = Instant::now();
        lab.output(command);
        let took = began.elapsed();
        lab.is_whole();
        let expected = lab::duckdb(&[(&lab, None)]).remove(0);
        Self {
            expected,
            took,
            ..undisturbed
        }
    }

    /// What the command made when nothing interrupted it.
    pub fn undisturbed(&self) -> Lab {
        self.start.with_data("undisturbed")
    }

    /// A data directory as it was before the command.
    pub fn fresh(&self, name: &str) -> Lab {
        if self.start.data().exists() {
            self.start.copied_to(name)
        } else {
            self.start.with_data(name)
        }
    }

    /// Asserts, after an interruption, that the lake is whole, and tries again.
    pub fn try_again(&self, lab: &Lab) {
        if !self.originals_changed {
            lab.is_whole();
        }
        let again = lab.json(self.command);
        again["runs"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(lab::adds_up);
        lab.is_whole();
    }

    /// Asserts that each lake holds what it does without interruption, no more and no less.
    pub fn assert_equal(&self, labs: &[Lab]) {
        // A hundred lakes at once would be a long command line, and a long wait for the first difference.
        for some in labs.chunks(25) {
            let lakes: Vec<(&Lab, Option<i64>)> = some.iter().map(|lab| (lab, None)).collect();
            for (lab, found) in some.iter().zip(lab::duckdb(&lakes)) {
                for (table, facts) in self.expected.as_object().unwrap() {
                    let place = format!("{table} of {}", lab.data().display());
                    for fact in ["rows", "keys", "content"] {
                        assert_eq!(
                            facts[fact], found[table][fact],
                            "{fact} of {place}: {:#}",
                            found[table]
                        );
                    }
                }
            }
        }
    }
}

/// The mails, and `count` more of 9 MB among them, of which two fill a batch.
fn with_large(mut mails: Vec<Vec<u8>>, count: usize) -> Vec<Vec<u8>> {
    for n in 0..count {
        mails.insert((n + 1) * mails.len() / (count + 1), large(n));
    }
    mails
}

/// A mail of 9 MB: four of them are more than shares a snapshot.
pub fn large(n: usize) -> Vec<u8> {
    let line = format!("line of attachment {n}\n");
    let mail = format!(
        "Message-ID: <large-{n}@test>\nFrom: a@test\nSubject: large {n}\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n\
         MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee attachment.\n--b\n\
         Content-Type: application/octet-stream; name=\"{n}.bin\"\nContent-Disposition: attachment\n\n{}--b--\n",
        line.repeat(9_000_000 / line.len())
    );
    mail.into_bytes()
}
