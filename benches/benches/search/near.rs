//! Vectors: near what, within which time, with which memory.

use super::corpus::*;
use super::*;

impl Bench {
    /// Chunks and the transformer's vectors of them, in LanceDB.
    pub(super) async fn fill(&self) -> Outcome {
        let vectors = Vectors::open(&self.data).await?;
        let all = self.chunks();
        print("chunks", all.len() as f64, "");
        let chunks = vectors.chunks_with("pieces", columns()).await?;
        if chunks.followed().await?.is_none() {
            let begin = Instant::now();
            for (number, part) in all.chunks(8_192).enumerate() {
                let rows = part.iter().enumerate().map(|(at, (mail, text))| Row {
                    key: format!("{}", number * 8_192 + at),
                    mail,
                    text,
                });
                let rows: Vec<Row<'_>> = rows.collect();
                let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
                let begin = Instant::now();
                chunks.replace(&keys, &batch(&rows)?).await?;
                print("put 8,192 chunks", begin.elapsed().as_secs_f64(), "s");
            }
            chunks.set_followed(&followed()).await?;
            print("chunks put", begin.elapsed().as_secs_f64(), "s");
            let begin = Instant::now();
            chunks.optimize().await?;
            print("words of chunks indexed", begin.elapsed().as_secs_f64(), "s");
        }
        for model in [DEFAULT_STATIC, DEFAULT_TRANSFORMER] {
            let embedder = Arc::new(self.open(model, 2)?);
            let space = vectors.space_or_new("pieces", embedder.stamp()).await?;
            let pending = space.compared(&chunks).await?.pending;
            let begin = Instant::now();
            for (done, part) in pending.chunks(2_048).enumerate() {
                let texts = Space::texts(&chunks, part).await?;
                let embedder = Arc::clone(&embedder);
                let found = tokio::task::spawn_blocking(move || embedder.embed(&texts)).await??;
                space.put(part, found).await?;
                let done = done * 2_048 + part.len();
                print(
                    &format!("{model}, {done} of {}", pending.len()),
                    done as f64 / begin.elapsed().as_secs_f64(),
                    "texts/s",
                );
            }
            space.optimize(&chunks).await?;
        }
        Ok(())
    }

    /// Files for programs in Python: texts, vectors, questions, and what vectors are filtered by.
    pub(super) async fn peers(&self) -> Outcome {
        let vectors = Vectors::open(&self.data).await?;
        let embedder = self.open(DEFAULT_TRANSFORMER, 2)?;
        let chunks = vectors.chunks("pieces").await?.ok_or("no chunks; run: fill")?;
        let space = vectors
            .space("pieces", embedder.stamp())
            .await?
            .ok_or("no vectors; run: fill")?;
        let dimension = embedder.stamp().dimension;
        let mut of = HashMap::new();
        space
            .each(None, |digests, numbers| {
                let vectors = digests.iter().flatten().zip(numbers.chunks_exact(dimension));
                of.extend(vectors.map(|(digest, vector)| (digest.to_vec(), vector.to_vec())));
            })
            .await?;
        let facts = chunks.all(&["digest", "sender", "date"], None).await?;
        let [digests, senders, dates] = [0, 1, 2].map(|column| facts.column(column));
        let (digests, senders) = (digests.as_fixed_size_binary(), senders.as_string::<i32>());
        let dates = dates.as_primitive::<TimestampMicrosecondType>();
        let bytes = |numbers: &[f32]| {
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let all: Vec<u8> = digests
            .iter()
            .flatten()
            .filter_map(|digest| of.get(digest))
            .flat_map(|vector| bytes(vector))
            .collect();
        std::fs::write(self.data.join("vectors.f32"), all)?;
        std::fs::write(
            self.data.join("questions.f32"),
            bytes(&embedder.embed(&self.questions())?),
        )?;
        std::fs::write(
            self.data.join("texts.json"),
            serde_json::to_vec(&self.some_texts())?,
        )?;
        let facts = serde_json::json!({
            "dimension": dimension,
            "senders": senders.iter().map(Option::unwrap_or_default).collect::<Vec<_>>(),
            "dates": dates.iter().map(Option::unwrap_or_default).collect::<Vec<_>>(),
            "sender": SENDER,
            "first": AUGUST.0,
            "last": AUGUST.1,
        });
        Ok(std::fs::write(self.data.join("facts.json"), facts.to_string())?)
    }

    /// What people ask, as far as a corpus tells: subjects of mails.
    pub(super) fn questions(&self) -> Vec<String> {
        let step = self.mails.len() / QUERIES;
        let subjects = self
            .mails
            .iter()
            .step_by(step.max(1))
            .map(|mail| mail.subject.replace("Re: ", ""));
        subjects
            .filter(|subject| subject.len() > 8)
            .take(QUERIES)
            .collect()
    }

    pub(super) async fn near(&self) -> Outcome {
        let vectors = Vectors::open(&self.data).await?;
        for model in [DEFAULT_STATIC, DEFAULT_TRANSFORMER] {
            let embedder = self.open(model, 1)?;
            let questions = self.questions();
            let questions = embedder.embed(&questions)?;
            let questions: Vec<&[f32]> = questions.chunks_exact(embedder.stamp().dimension).collect();
            let begin = Instant::now();
            let (facts, hot) = load(&vectors, embedder.stamp(), "pieces").await?;
            let what = |what: &str| format!("{model}, {} chunks, {what}", hot.with_vector());
            print(&what("loaded"), begin.elapsed().as_secs_f64(), "s");
            measure(&facts, &hot, &questions, &what("nearest"), None);
            print(
                &what("recall@10"),
                recall(
                    &vectors,
                    embedder.stamp(),
                    "pieces",
                    &questions,
                    async |question: &[f32]| in_memory(&hot, question),
                )
                .await?,
                "",
            );
            for (name, filter) in filters() {
                let fitting = facts.fitting(&filter, &[])?;
                let share = fitting.count_set_bits() as f64 / fitting.len() as f64;
                let what = what(&format!("by {name} ({:.1} %)", share * 100.0));
                measure(&facts, &hot, &questions, &what, Some(&filter));
            }
            print(&what("memory"), resident(), "MB");
            let space = vectors
                .space("pieces", embedder.stamp())
                .await?
                .ok_or("no vectors")?;
            let mut times = Vec::new();
            for question in questions.iter().take(20) {
                let begin = Instant::now();
                space.nearest(question, 10).await?;
                times.push(begin.elapsed());
            }
            print_times(&what("LanceDB itself"), times);
        }
        Ok(())
    }

    /// Makes 500,000 vectors: those of 60,000 chunks, and others near them.
    pub(super) async fn enlarge(&self) -> Outcome {
        const VECTORS: usize = 500_000;
        let vectors = Vectors::open(&self.data).await?;
        let embedder = self.open(DEFAULT_TRANSFORMER, 1)?;
        let stamp = embedder.stamp().clone();
        let chunks = vectors.chunks_with("large", columns()).await?;
        let space = vectors.space_or_new("large", &stamp).await?;
        if chunks.followed().await?.is_none() {
            let all = self.chunks();
            for first in (0..VECTORS).step_by(20_000) {
                let texts: Vec<String> = (first..first + 20_000).map(|n| format!("text {n}")).collect();
                let rows = texts
                    .iter()
                    .zip(all.iter().cycle())
                    .enumerate()
                    .map(|(at, (text, (mail, _)))| Row {
                        key: format!("{}", first + at),
                        mail,
                        text,
                    });
                let rows: Vec<Row<'_>> = rows.collect();
                let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
                chunks.replace(&keys, &batch(&rows)?).await?;
            }
            let seeds = all_vectors(&vectors, &stamp, "pieces").await?;
            let seeds: Vec<&[f32]> = seeds.chunks_exact(stamp.dimension).collect();
            let mut noise = Noise(7);
            for part in space.compared(&chunks).await?.pending.chunks(20_000) {
                let found = part.iter().flat_map(|_| {
                    let at = (noise.next() * seeds.len() as f32) as usize;
                    let seed = seeds.get(at).or(seeds.last()).copied().unwrap_or_default();
                    let moved: Vec<f32> = seed
                        .iter()
                        .map(|number| number + (noise.next() - 0.5) * 0.08)
                        .collect();
                    let length = moved.iter().map(|number| number * number).sum::<f32>().sqrt();
                    moved.into_iter().map(move |number| number / length)
                });
                space.put(part, found.collect()).await?;
            }
            chunks.set_followed(&followed()).await?;
            let begin = Instant::now();
            space.optimize(&chunks).await?;
            print(
                "500,000 vectors, LanceDB's index built",
                begin.elapsed().as_secs_f64(),
                "s",
            );
        }
        Ok(())
    }

    /// Measures them; in a process of its own for the sake of its memory.
    pub(super) async fn large(&self) -> Outcome {
        let vectors = Vectors::open(&self.data).await?;
        let embedder = self.open(DEFAULT_TRANSFORMER, 1)?;
        let stamp = embedder.stamp().clone();
        let space = vectors
            .space("large", &stamp)
            .await?
            .ok_or("no vectors; run: enlarge")?;
        let questions = embedder.embed(&self.questions())?;
        let questions: Vec<&[f32]> = questions.chunks_exact(stamp.dimension).collect();
        let before = resident();
        let begin = Instant::now();
        let (facts, hot) = load(&vectors, &stamp, "large").await?;
        print("500,000 vectors, loaded", begin.elapsed().as_secs_f64(), "s");
        print("500,000 vectors, memory", resident(), "MB");
        print("500,000 vectors, memory before", before, "MB");
        measure(&facts, &hot, &questions, "500,000 vectors, nearest", None);
        print("500,000 vectors, memory after queries", resident(), "MB");
        for (name, filter) in filters() {
            measure(
                &facts,
                &hot,
                &questions,
                &format!("500,000 vectors, by {name}"),
                Some(&filter),
            );
        }
        let some = questions.get(..50).unwrap_or(&questions);
        let near = async |question: &[f32]| in_memory(&hot, question);
        print(
            "500,000 vectors, recall@10",
            recall(&vectors, &stamp, "large", some, near).await?,
            "",
        );
        drop(hot);
        let near = async |question: &[f32]| of_lancedb(&space, question).await;
        print(
            "500,000 vectors, LanceDB itself, recall@10",
            recall(&vectors, &stamp, "large", some, near).await?,
            "",
        );
        let mut times = Vec::new();
        for question in some {
            let begin = Instant::now();
            of_lancedb(&space, question).await?;
            times.push(begin.elapsed());
        }
        print_times("500,000 vectors, LanceDB itself", times);
        Ok(())
    }
}

/// A number from 0 to 1 (splitmix64).
pub(super) struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64) as f32
    }
}

pub(super) fn filters() -> [(&'static str, Expr); 3] {
    let date = |micros: i64| {
        lit(datafusion::common::ScalarValue::TimestampMicrosecond(
            Some(micros),
            None,
        ))
    };
    [
        ("part of a sender", col("sender").like(lit("%tim%"))),
        (
            "date",
            col("date")
                .gt_eq(date(AUGUST.0))
                .and(col("date").lt(date(AUGUST.1))),
        ),
        ("sender", col("sender").eq(lit(SENDER))),
    ]
}

pub(super) fn followed() -> Followed {
    Followed {
        snapshot: 1,
        tokens: "words".to_owned(),
    }
}

pub(super) async fn load(vectors: &Vectors, stamp: &ModelStamp, dataset: &str) -> Outcome<(Facts, Hot)> {
    let chunks = vectors.chunks(dataset).await?.ok_or("no chunks; run: fill")?;
    let space = vectors
        .space(dataset, stamp)
        .await?
        .ok_or("no vectors; run: fill")?;
    let facts = Facts::load(chunks, &["row_key", "sender", "date"]).await?;
    let hot = Hot::load(&facts, space).await?;
    Ok((facts, hot))
}

fn in_memory(hot: &Hot, question: &[f32]) -> Outcome<Vec<f32>> {
    let near = hot.nearest(question, 10, None);
    Ok(near.iter().map(|near| near.cosine).collect())
}

async fn of_lancedb(space: &Space, question: &[f32]) -> Outcome<Vec<f32>> {
    let near = space.nearest(question, 10).await?;
    Ok(near.iter().map(|(_, cosine)| *cosine).collect())
}

/// Times of queries, the filter's included.
pub(super) fn measure(facts: &Facts, hot: &Hot, questions: &[&[f32]], what: &str, filter: Option<&Expr>) {
    let mut times = Vec::new();
    for question in questions {
        let begin = Instant::now();
        let fitting = filter.and_then(|filter| facts.fitting(filter, &[]).ok());
        std::hint::black_box(hot.nearest(question, 10, fitting.as_ref()));
        times.push(begin.elapsed());
    }
    print_times(what, times);
}

pub(super) async fn all_vectors(vectors: &Vectors, stamp: &ModelStamp, dataset: &str) -> Outcome<Vec<f32>> {
    let space = vectors
        .space(dataset, stamp)
        .await?
        .ok_or("no vectors; run: fill")?;
    let mut all = Vec::new();
    space
        .each(None, |_, numbers| all.extend_from_slice(numbers))
        .await?;
    Ok(all)
}

/// The share of the ten nearest by floats that is found. As near as the tenth is as good.
pub(super) async fn recall(
    vectors: &Vectors,
    stamp: &ModelStamp,
    dataset: &str,
    questions: &[&[f32]],
    nearest: impl AsyncFn(&[f32]) -> Outcome<Vec<f32>>,
) -> Outcome<f64> {
    let all = all_vectors(vectors, stamp, dataset).await?;
    let mut found = 0;
    for question in questions {
        let product = |vector: &[f32]| vector.iter().zip(*question).map(|(a, b)| a * b).sum::<f32>();
        let mut exact: Vec<f32> = all.chunks_exact(stamp.dimension).map(product).collect();
        exact.sort_by(|a, b| b.total_cmp(a));
        let tenth = exact.get(9).copied().unwrap_or(-1.0) - 1e-5;
        found += nearest(question)
            .await?
            .iter()
            .filter(|cosine| **cosine >= tenth)
            .count();
    }
    Ok(found as f64 / (10 * questions.len()) as f64)
}
