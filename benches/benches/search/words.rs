//! Words: which chunks have them, within which time.

use super::corpus::*;
use super::near::followed;
use super::*;

impl Bench {
    /// Words of 60,000 mails: the corpus ten times, each time with a word of its own.
    pub(super) async fn words(&self) -> Outcome {
        let vectors = Vectors::open(&self.data).await?;
        let chunks = vectors.chunks_with("mails", columns()).await?;
        if chunks.followed().await?.is_none() {
            let begin = Instant::now();
            for copy in 0..MANY.div_ceil(self.mails.len()) {
                let texts: Vec<String> = self
                    .mails
                    .iter()
                    .map(|mail| format!("{} copy{copy}", mail.text))
                    .collect();
                let rows = self
                    .mails
                    .iter()
                    .zip(&texts)
                    .enumerate()
                    .map(|(at, (mail, text))| Row {
                        key: format!("{copy} {at}"),
                        mail,
                        text,
                    });
                let rows: Vec<Row<'_>> = rows.collect();
                let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
                chunks.replace(&keys, &batch(&rows)?).await?;
            }
            chunks.set_followed(&followed()).await?;
            print("60,000 mails put", begin.elapsed().as_secs_f64(), "s");
            let begin = Instant::now();
            chunks.optimize().await?;
            print(
                "words of 60,000 mails indexed",
                begin.elapsed().as_secs_f64(),
                "s",
            );
        }
        let questions = self.questions();
        for count in [1, 2, 3, 8] {
            let terms: Vec<String> = questions
                .iter()
                .map(|subject| {
                    subject
                        .split_whitespace()
                        .rev()
                        .take(count)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect();
            let text = |terms: &str| {
                FtsQuery::from(MatchQuery::new(terms.to_owned()).with_column(Some("text".to_owned())))
            };
            ask(&chunks, &terms, &format!("{count} words of text"), 10, text).await?;
            let both = |terms: &str| {
                FtsQuery::from(MultiMatchQuery {
                    match_queries: [("text", 1.0), ("title", 2.0)]
                        .map(|(column, boost)| {
                            MatchQuery::new(terms.to_owned())
                                .with_column(Some(column.to_owned()))
                                .with_boost(boost)
                        })
                        .to_vec(),
                })
            };
            ask(
                &chunks,
                &terms,
                &format!("{count} words of title or text"),
                10,
                both,
            )
            .await?;
            ask(
                &chunks,
                &terms,
                &format!("{count} words of text, 1,000 hits"),
                1_000,
                text,
            )
            .await?;
        }
        print("memory with words", resident(), "MB");
        Ok(())
    }
}

pub(super) async fn ask(
    chunks: &Chunks,
    terms: &[String],
    what: &str,
    most: usize,
    query: impl Fn(&str) -> FtsQuery,
) -> Outcome {
    let mut times = Vec::new();
    let mut hits = 0;
    for terms in terms.iter().chain(terms) {
        let begin = Instant::now();
        let (found, _) = chunks.find(&query(terms), most, None).await?;
        hits += found.len();
        times.push(begin.elapsed());
    }
    let warm = times.split_off(terms.len());
    print_times(what, warm);
    print(
        &format!("{what}, hits"),
        hits as f64 / (2 * terms.len()) as f64,
        "a query",
    );
    Ok(())
}
