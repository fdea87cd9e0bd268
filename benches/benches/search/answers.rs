//! Whole answers, as a process that stays gives them: words, meaning, best; with an operator; the query's embedding
//! included. The first of each kind, which opens what it needs, is told apart.

use super::*;
use jiff::Zoned;
use store::query::Limits;
use store::search::language::Query;
use store::search::{Mode, Models, Searcher};

impl Bench {
    /// Over the data directory `DKC_BENCH_LAKE`, collected and indexed by dkc.
    pub(super) async fn answers(&self) -> Outcome {
        let data = env::var_os("DKC_BENCH_LAKE").ok_or("DKC_BENCH_LAKE is not set: a data directory")?;
        let models = Models {
            folder: self.models.clone(),
            first: DEFAULT_TRANSFORMER.to_owned(),
            reranker: None,
        };
        let limits = Limits {
            memory_bytes: 1 << 30,
            time: Duration::from_secs(60),
            threads: 2,
            rows: None,
            bytes: None,
        };
        let searcher = Searcher::open(&PathBuf::from(data), &models, limits).await?;
        searcher.keep_in_memory().await?;
        let now = Zoned::now();
        for mode in [Mode::Words, Mode::Meaning, Mode::Best] {
            for operator in ["", " after:2002-08 before:2002-09"] {
                let what = format!("answers, {mode:?}{operator}");
                let mut times = Vec::new();
                let mut hits = 0;
                let questions = self.questions();
                // Once more, when all that stays in memory is there.
                for question in questions.iter().chain(&questions) {
                    // Its words, whatever they look like.
                    let words = question.replace(|char: char| !char.is_alphanumeric(), " ");
                    let Ok(query) = Query::parse(&format!("{words}{operator}"), &now) else {
                        continue;
                    };
                    let begin = Instant::now();
                    let answer = searcher.search(&query, mode, 10, now.time_zone()).await?;
                    times.push(begin.elapsed());
                    hits += answer.hits.len();
                }
                let asked = times.len();
                let warm = times.split_off(asked / 2);
                let first = times.first().copied().unwrap_or_default();
                print(&format!("{what}, first"), first.as_secs_f64() * 1e3, "ms");
                print(&format!("{what}, hits"), hits as f64 / asked as f64, "a query");
                print_times(&what, warm);
            }
        }
        print("answers, memory", resident(), "MB");
        Ok(())
    }
}
