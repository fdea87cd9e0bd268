//! From files to rows, step by step, on all cores: where the time of an ingest goes before the store.
//!
//! - Out: a line a step: what, messages a second, MB a second, with tabs between; `run.py` reads it.
//! - "mail-parser alone" is the floor: every part decoded, nothing made of it.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use bytes::Bytes;
use collectors::{Known, Progress, Sink};
use mail_parser::MessageParser;
use rayon::prelude::*;
use schemas::{Attributes, Digest, Original, Provenance, RawItem, RunId, SourceName};
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::{fs, io};
use toml_edit::{Table, value};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let mails = benches::mails()?;
    let directory = tempfile::tempdir()?;
    let paths = make_maildir(directory.path(), &mails)?;
    let corpus = Corpus {
        count: mails.len(),
        bytes: mails.iter().map(Vec::len).sum(),
    };

    corpus.print("mail-parser alone", benches::fastest(|| parse_all(&mails))?);
    corpus.print(
        "reading files alone",
        benches::fastest(|| read_all(&paths, |_| Ok(())))?,
    );
    corpus.print(
        "reading files, then mail-parser",
        benches::fastest(|| read_all(&paths, |mail| parse(&mail)))?,
    );
    corpus.print(
        "collector maildir alone",
        benches::fastest(|| collect(directory.path(), corpus.count))?,
    );
    let items: Vec<RawItem> = mails.into_iter().map(item).collect();
    corpus.print("converter alone", benches::fastest(|| convert(&items))?);
    Ok(())
}

struct Corpus {
    count: usize,
    bytes: usize,
}

impl Corpus {
    fn print(&self, what: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        let (messages, megabytes) = (self.count as f64 / seconds, self.bytes as f64 / 1e6 / seconds);
        println!("{what}\t{messages:.0}\t{megabytes:.1}");
    }
}

fn make_maildir(maildir: &Path, mails: &[Vec<u8>]) -> io::Result<Vec<PathBuf>> {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir(maildir.join(part))?;
    }
    let deliver = |(n, mail): (usize, &Vec<u8>)| {
        let path = maildir.join(format!("cur/{n:06}.host:2,S"));
        fs::write(&path, mail).map(|()| path)
    };
    mails.iter().enumerate().map(deliver).collect()
}

/// As its documentation begins: every header parsed, every part decoded.
static PARSER: LazyLock<MessageParser> = LazyLock::new(MessageParser::default);

fn parse(mail: &[u8]) -> Outcome {
    black_box(PARSER.parse(mail))
        .map(|_| ())
        .ok_or_else(|| "not a mail".into())
}

fn parse_all(mails: &[Vec<u8>]) -> Outcome {
    mails.par_iter().try_for_each(|mail| parse(mail))
}

fn read_all(paths: &[PathBuf], then: impl Fn(Vec<u8>) -> Outcome + Sync) -> Outcome {
    paths
        .par_iter()
        .try_for_each(|path| then(black_box(fs::read(path)?)))
}

fn collect(maildir: &Path, expected: usize) -> Outcome {
    let path = maildir
        .to_str()
        .ok_or("the temporary directory has no UTF-8 name")?;
    let table = Table::from_iter([("path", value(path))]);
    let mut collector = (collectors::maildir::DESCRIPTOR.build)(table)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let collected = runtime.block_on(async {
        let (sink, mut batches) = Sink::channel(Arc::new(Progress::default()), provenance()?);
        let run =
            tokio::spawn(async move { collector.collect(None, Arc::new(Known::default()), sink).await });
        let mut collected = 0;
        while let Some(batch) = batches.recv().await {
            collected += batch.originals.len();
        }
        run.await??;
        Outcome::Ok(collected)
    })?;
    if collected == expected {
        Ok(())
    } else {
        Err(format!("collected {collected} of {expected}").into())
    }
}

fn item(mail: Vec<u8>) -> RawItem {
    let sha256 = Digest::of(&mail);
    RawItem {
        item: sha256.to_string(),
        media_type: "message/rfc822",
        fetched_at: 0,
        sha256,
        original: Original::Bytes(Bytes::from(mail)),
        attributes: Attributes {
            folders: vec!["INBOX".to_owned()],
            ..Attributes::default()
        },
    }
}

fn convert(items: &[RawItem]) -> Outcome {
    let provenance = provenance()?;
    let converted = black_box((transforms::convert_mail::CONVERTER.convert)(items, &provenance));
    let rows: usize = converted
        .rows
        .iter()
        .filter(|(dataset, _)| dataset.name == "emails")
        .map(|(_, rows)| rows.num_rows())
        .sum();
    let answered = rows + converted.rejects.len();
    if answered == items.len() {
        Ok(())
    } else {
        Err(format!("{answered} rows of {} mails", items.len()).into())
    }
}

fn provenance() -> Result<Provenance, Box<dyn Error + Send + Sync>> {
    Ok(Provenance {
        source: SourceName::new("bench")?,
        run: RunId("bench".to_owned()),
    })
}
