//! `dkc search eval`: how good answers are, by queries whose answers people judged.

use crate::commands::{self, Misused};
use crate::context::Context;
use crate::print;
use clap::Args;
use jiff::tz::TimeZone;
use miette::{IntoDiagnostic, Report, Result, WrapErr, miette};
use schemas::Dataset;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::Store;
use store::embedder::Reranker;
use store::lake::index::texts;
use store::search::evaluate::{CUT, Figures, Judgements, Topic};
use store::search::language::Query;
use store::search::{Mode, SearchError, Searcher};

/// The columns by which judgements name rows, the first that a dataset has.
const NAMES: [&str; 3] = ["path", "message_id", "commit"];

/// Searches for each topic and compares what it finds with what was judged relevant: nDCG@10, recall@10 and the mean
/// reciprocal rank, as trec_eval defines them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc search eval topics.tsv --in documents\n\n\
                  TOPICS has lines of an id, a tab and a query, or is as TREC writes topics. QRELS has lines of topic, \
                  iteration, document and relevance. A document is named by its path, its file name with or without \
                  ending, or its Message-ID or commit.")]
pub struct Arguments {
    /// The topics
    #[arg(value_name = "TOPICS")]
    topics: PathBuf,
    /// The judgements; the file beside the topics that ends in .qrels if absent
    #[arg(value_name = "QRELS")]
    judgements: Option<PathBuf>,
    /// The dataset that was judged
    #[arg(long = "in", value_name = "DATASET", default_value = "documents")]
    dataset: String,
    /// Measure what `dkc search --rerank` finds, too: slow
    #[arg(long)]
    rerank: bool,
}

/// A way to search.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Words,
    Meaning,
    Best,
    Reranked,
}

impl Way {
    fn mode(self) -> Mode {
        match self {
            Self::Words => Mode::Words,
            Self::Meaning => Mode::Meaning,
            Self::Best | Self::Reranked => Mode::Best,
        }
    }

    /// Rows that are asked for: more than are judged by their place, for the rank of the first that is relevant. When
    /// reranked, those that the model reads for a usual search, as each takes long.
    fn most(self) -> usize {
        match self {
            Self::Words | Self::Meaning | Self::Best => CUT * 10,
            Self::Reranked => CUT * 2,
        }
    }
}

#[derive(Serialize)]
struct Row {
    #[serde(rename = "mode")]
    way: Way,
    topics: usize,
    #[serde(flatten)]
    figures: Figures,
    p50_ms: f64,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let dataset = commands::searchable_dataset(&arguments.dataset)?;
    let read = |path: &Path| {
        fs::read_to_string(path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read `{}`", path.display()))
    };
    let judged = arguments
        .judgements
        .unwrap_or_else(|| arguments.topics.with_extension("qrels"));
    let topics = Topic::read(&read(&arguments.topics)?)
        .into_diagnostic()
        .wrap_err_with(|| format!("`{}`", arguments.topics.display()))?;
    let judgements = Judgements::read(&read(&judged)?)
        .into_diagnostic()
        .wrap_err_with(|| format!("`{}`", judged.display()))?;
    let mut ways = vec![Way::Words, Way::Meaning, Way::Best];
    if arguments.rerank {
        // A search would go on without it, and its figures be those of another way.
        let (_, models) = commands::asking(context)?;
        let name = models.reranker.ok_or(SearchError::NoReranker);
        let name = name.map_err(super::told)?;
        Reranker::check(&models.folder, &name).into_diagnostic()?;
        ways.push(Way::Reranked);
    }
    let names = names(dataset, context).await?;
    for note in unmeasured(&topics, &judgements, dataset, &names).map_err(Report::new)? {
        print::note(&note, context);
    }
    let searcher = super::searcher(context).await?;
    let mut rows = Vec::new();
    for way in ways {
        match measure(&searcher, way, dataset, &topics, &judgements, &names).await {
            Ok(row) => rows.push(row),
            Err(SearchError::Embed(error)) => print::note(&format!("{error}"), context),
            Err(error) => return Err(error).into_diagnostic(),
        }
    }
    if context.json {
        return print::json(&rows);
    }
    let rows = rows.into_iter().map(|row| {
        let figures = row.figures;
        [
            format!("{:?}", row.way).to_lowercase(),
            row.topics.to_string(),
            format!("{:.4}", figures.ndcg_at_10),
            format!("{:.4}", figures.recall_at_10),
            format!("{:.4}", figures.reciprocal_rank),
            format!("{:.1}", row.p50_ms),
        ]
    });
    print::table(["mode", "topics", "nDCG@10", "recall@10", "MRR", "p50, ms"], rows)
}

/// How judgements may name each row, by its key.
async fn names(dataset: &'static Dataset, context: &Context) -> Result<HashMap<Vec<String>, Vec<String>>> {
    let Some(column) = NAMES
        .into_iter()
        .find(|name| dataset.columns.iter().any(|column| column.name == *name))
    else {
        return Err(miette!(
            "rows of `{}` have no name that judgements could use",
            dataset.name
        ));
    };
    let store = Store::open(context.place()?).await.into_diagnostic()?;
    let mut batches = store.scan(dataset, None, None).await.into_diagnostic()?;
    let mut names = HashMap::new();
    while let Some(batch) = batches.recv().await {
        let batch = batch.into_diagnostic()?;
        let keys: Option<Vec<_>> = dataset.key.iter().map(|key| texts(&batch, key)).collect();
        let (Some(keys), Some(named)) = (keys, texts(&batch, column)) else {
            continue;
        };
        for (row, name) in named.iter().enumerate() {
            let path = Path::new(name.unwrap_or_default());
            let parts = [Some(path.as_os_str()), path.file_name(), path.file_stem()];
            let parts = parts.into_iter().flatten().filter_map(|part| part.to_str());
            let key = keys.iter().map(|column| column.value(row).to_owned()).collect();
            names.insert(key, parts.map(str::to_owned).collect());
        }
    }
    store.close().await;
    Ok(names)
}

/// What of topics and judgements does not count.
///
/// # Errors
/// [`Misused`] if that is all.
fn unmeasured(
    topics: &[Topic],
    judgements: &Judgements,
    dataset: &Dataset,
    names: &HashMap<Vec<String>, Vec<String>>,
) -> Result<Vec<String>, Misused> {
    let mut notes = Vec::new();
    let is_judged = |topic: &&Topic| judgements.documents(&topic.id).next().is_some();
    let judged = topics.iter().filter(is_judged).count();
    let told = format!("topics that are judged: {judged} of {}", topics.len());
    match judged {
        0 => {
            return Err(Misused {
                message: told,
                help: "topics and judgements name a topic by the same id, the first of a line".to_owned(),
            });
        }
        all if all == topics.len() => {}
        _ => notes.push(format!("{told}; the others do not count")),
    }
    let ids: HashSet<&str> = topics.iter().map(|topic| topic.id.as_str()).collect();
    let strange = judgements.topics().filter(|id| !ids.contains(id)).count();
    if strange > 0 {
        notes.push(format!(
            "judged topics without a query, which do not count: {strange}"
        ));
    }
    let wanted = topics.iter().flat_map(|topic| judgements.documents(&topic.id));
    let wanted: HashSet<&str> = wanted.collect();
    let there: HashSet<&str> = names.values().flatten().map(String::as_str).collect();
    let found = wanted.intersection(&there).count();
    let told = format!(
        "judged documents that `{}` has: {found} of {}",
        dataset.name,
        wanted.len()
    );
    match found {
        0 => Err(Misused {
            message: told,
            help: "a document is named by its path, its file name with or without ending, or its Message-ID or commit; \
                   `--in` names the dataset that was judged"
                .to_owned(),
        }),
        all if all == wanted.len() => Ok(notes),
        _ => {
            notes.push(format!("{told}; the others count as not found"));
            Ok(notes)
        }
    }
}

async fn measure(
    searcher: &Searcher,
    way: Way,
    dataset: &'static Dataset,
    topics: &[Topic],
    judgements: &Judgements,
    names: &HashMap<Vec<String>, Vec<String>>,
) -> Result<Row, SearchError> {
    let mut figures = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    for topic in topics {
        let judged: Vec<&str> = judgements.documents(&topic.id).collect();
        let Some(query) = Query::of_words(&topic.query).filter(|_| !judged.is_empty()) else {
            continue;
        };
        let query = query.within(vec![dataset]);
        let began = Instant::now();
        let (mode, most, zone) = (way.mode(), way.most(), TimeZone::UTC);
        let answer = match way {
            Way::Reranked => {
                let candidates = searcher.candidates(&query, mode, most, &zone).await?;
                candidates.reranked_by_model().await?
            }
            Way::Words | Way::Meaning | Way::Best => searcher.search(&query, mode, most, &zone).await?,
        };
        times.push(began.elapsed());
        // By that of its names which the judgements use.
        let found = answer.hits.iter().filter_map(|hit| {
            let names = names.get(&hit.key)?;
            names
                .iter()
                .find(|name| judged.contains(&name.as_str()))
                .or_else(|| names.first())
        });
        figures.push(judgements.figures(&topic.id, found.map(String::as_str)));
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Row {
        way,
        topics: figures.len(),
        figures: Figures::mean(&figures),
        p50_ms: median.as_secs_f64() * 1e3,
    })
}
