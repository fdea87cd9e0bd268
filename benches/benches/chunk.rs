//! From rows to chunks, on one core: what indexing costs before a model sees anything.
//!
//! - Out: a line for each length function and shape: what, texts a second, MB of text a second, chunks, with tabs between.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use benches::fastest;
use bytes::Bytes;
use schemas::datasets::emails;
use schemas::{Attributes, Digest, Original, Provenance, RawItem, RunId, SourceName};
use std::error::Error;
use std::hint::black_box;
use transforms::chunk::{Chunker, Shape, Text, rows};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// About the tokens of a word-piece model, for the cost of counting them without a model.
fn tokens(text: &str) -> usize {
    text.split_whitespace().map(|word| word.len().div_ceil(5)).sum()
}

fn main() -> Outcome {
    let items: Vec<RawItem> = benches::mails()?.into_iter().map(item).collect();
    let provenance = Provenance {
        source: SourceName::new("bench")?,
        run: RunId("bench".to_owned()),
    };
    let converted = (transforms::convert_mail::CONVERTER.convert)(&items, &provenance);
    let search = emails::DATASET.search.as_ref().ok_or("emails are searched")?;
    let mut texts = Vec::new();
    for (_, batch) in converted
        .rows
        .iter()
        .filter(|(dataset, _)| dataset.name == "emails")
    {
        texts.extend(rows::texts(&emails::DATASET, search, batch, None)?);
    }
    let mails: Vec<Text<'_>> = texts.iter().map(rows::RowText::text).collect();
    let whole: Vec<&str> = mails.iter().map(|mail| mail.text).collect();
    let whole = [Text {
        shape: Shape::Plain,
        text: &whole.join("\n\n"),
        dataset: "documents",
        key: "one",
    }];
    measure("mails, tokens", &mails, &tokens)?;
    measure("mails, bytes by four", &mails, &|text| text.len().div_ceil(4))?;
    measure("one text, tokens", &whole, &tokens)
}

fn measure(what: &str, texts: &[Text<'_>], length: &dyn Fn(&str) -> usize) -> Outcome {
    let mut chunks = 0;
    let took = fastest(|| -> Outcome {
        let chunker = Chunker::new(128, 16, length);
        chunks = texts
            .iter()
            .map(|text| black_box(chunker.chunks(text)).len())
            .sum();
        Ok(())
    })?;
    let bytes: usize = texts.iter().map(|text| text.text.len()).sum();
    let seconds = took.as_secs_f64();
    println!(
        "{what}\t{:.0}\t{:.1}\t{chunks}",
        texts.len() as f64 / seconds,
        bytes as f64 / 1e6 / seconds
    );
    Ok(())
}

fn item(mail: Vec<u8>) -> RawItem {
    let sha256 = Digest::of(&mail);
    RawItem {
        item: sha256.to_string(),
        media_type: "message/rfc822",
        fetched_at: 0,
        sha256,
        original: Original::Bytes(Bytes::from(mail)),
        attributes: Attributes::default(),
    }
}
