//! `dkc search`: rows by their words and by what they mean.

mod eval;

use super::own::Own;
use crate::config::Misconfigured;
use crate::context::Context;
use crate::print;
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use miette::{Diagnostic, IntoDiagnostic, Report, Result, SourceSpan, miette};
use serde_json::{Value, json};
use store::search::language::{Analysis, Query, WrongQuery};
use store::search::{Answer, Hit, Mode, SearchError, Searcher};

/// Finds rows of mails, documents, photos and commits. See docs/guides/search.md for the language of queries.
#[derive(Debug, Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "Example:\n  dkc search invoice hosting\n  dkc search 'from:jane has:attachment after:2024'\n  \
                  dkc search --meaning 'where did I decide to drop Docker Swarm' --in documents\n  \
                  dkc search -- -draft \"annual report\""
)]
pub struct Arguments {
    #[command(flatten)]
    asked: Own<Asked>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is looked for, and how.
#[derive(Debug, Args)]
struct Asked {
    /// What to look for: words, \"phrases\", operators such as from:jane
    #[arg(required = true, value_name = "QUERY")]
    query: Vec<String>,
    /// By words alone
    #[arg(long, conflicts_with_all = ["meaning", "best"])]
    words: bool,
    /// By what they mean alone
    #[arg(long, conflicts_with = "best")]
    meaning: bool,
    /// By both, which is the default
    #[arg(long)]
    best: bool,
    /// Let the model that is set as `search.reranker` read the best 20 and order them: slow
    #[arg(long)]
    rerank: bool,
    /// Datasets to look in, with commas between
    #[arg(long = "in", value_name = "DATASETS", value_delimiter = ',')]
    datasets: Vec<String>,
    /// How many rows to list
    #[arg(long, default_value_t = 10, value_name = "ROWS", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Say how the query was understood, and do not search
    #[arg(long)]
    analyze: bool,
    /// Say of each row how it came to its place
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure how good answers are, by queries whose answers people judged
    Eval(eval::Arguments),
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    if let Some(Command::Eval(arguments)) = arguments.command {
        return eval::run(arguments, context).await;
    }
    let Own(arguments) = arguments.asked;
    let text = arguments.query.join(" ");
    let query = Query::parse(&text, &Zoned::now()).map_err(|wrong| Mistake::of(wrong, &text))?;
    let query = within(query, &arguments.datasets)?;
    if arguments.analyze {
        return match context.json {
            true => print::json(&Analysis(&query).json()),
            false => print::text(&Analysis(&query).to_string()),
        };
    }
    let mode = match (arguments.words, arguments.meaning) {
        (true, _) => Mode::Words,
        (_, true) => Mode::Meaning,
        _ => Mode::Best,
    };
    let searcher = searcher(context).await?;
    let zone = TimeZone::system();
    let (most, reranks) = (arguments.limit.into(), arguments.rerank);
    let answer = found(&searcher, &query, mode, most, &zone, reranks).await;
    let answer = answer.map_err(told)?;
    for note in &answer.notes {
        print::note(note, context);
    }
    if context.json {
        let hits: Vec<Value> = answer.hits.iter().map(as_json).collect();
        return print::json(&json!({ "hits": hits, "notes": answer.notes }));
    }
    if answer.hits.is_empty() {
        print::note("nothing fits", context);
        return Ok(());
    }
    let hits = answer.hits.iter().enumerate();
    let lines: Vec<String> = hits
        .map(|(at, hit)| as_text(at + 1, hit, &zone, arguments.explain))
        .collect();
    print::text(&lines.join("\n"))
}

/// What a search finds, reranked if that is asked for.
async fn found(
    searcher: &Searcher,
    query: &Query,
    mode: Mode,
    most: usize,
    zone: &TimeZone,
    reranks: bool,
) -> Result<Answer, SearchError> {
    match reranks {
        true => {
            let candidates = searcher.candidates(query, mode, most, zone).await?;
            candidates.reranked().await
        }
        false => searcher.search(query, mode, most, zone).await,
    }
}

/// Why there is no answer; what only an edit of the configuration helps is told as such.
fn told(error: SearchError) -> Report {
    match error {
        SearchError::NoReranker => Misconfigured::report(error.to_string(), None),
        error => Report::from_err(error),
    }
}

/// The index, opened.
async fn searcher(context: &Context) -> Result<Searcher> {
    let (limits, models) = super::asking(context)?;
    if !context.data.join("lake").is_dir() {
        return Err(miette!(
            help = "`dkc run` collects and indexes what the configuration names",
            "there is nothing to search in `{}`",
            context.data.display()
        ));
    }
    Searcher::open(context.place()?, &models, limits)
        .await
        .into_diagnostic()
}

/// The query, of these datasets only.
fn within(query: Query, datasets: &[String]) -> Result<Query> {
    if datasets.is_empty() {
        return Ok(query);
    }
    let chosen = datasets.iter().map(|name| super::searchable_dataset(name));
    Ok(query.within(chosen.collect::<Result<_>>()?))
}

/// A query that cannot be read, with the place pointed at.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{wrong}")]
#[diagnostic(help("docs/guides/search.md tells what a query may have; `--analyze` how one is understood"))]
pub struct Mistake {
    wrong: WrongQuery,
    #[source_code]
    text: String,
    #[label]
    span: SourceSpan,
}

impl Mistake {
    fn of(wrong: WrongQuery, text: &str) -> Self {
        Self {
            span: wrong.span.clone().into(),
            wrong,
            text: text.to_owned(),
        }
    }
}

fn date(hit: &Hit, zone: &TimeZone) -> Option<String> {
    let moment = Timestamp::from_microsecond(hit.date?).ok()?;
    // A photo says what the clock there showed.
    let is_local = hit
        .dataset
        .search
        .as_ref()
        .is_some_and(|search| search.wall_clock);
    let zone = if is_local { TimeZone::UTC } else { zone.clone() };
    Some(moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string())
}

fn as_json(hit: &Hit) -> Value {
    let date = hit.date.and_then(|date| Timestamp::from_microsecond(date).ok());
    let key: serde_json::Map<String, Value> = hit
        .dataset
        .key
        .iter()
        .zip(&hit.key)
        .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
        .collect();
    json!({
        "dataset": hit.dataset.name,
        "key": key,
        "title": hit.title,
        "date": date.map(|date| date.to_string()),
        "heading": hit.heading,
        "part": hit.part,
        "snippet": hit.snippet.text,
        "matches": hit.snippet.matches,
        "others": hit.others,
        "score": hit.score,
        "why": hit.why,
    })
}

fn as_text(number: usize, hit: &Hit, zone: &TimeZone, explains: bool) -> String {
    let title = hit.title.as_deref().unwrap_or("(no title)");
    let date = date(hit, zone).unwrap_or_else(|| "undated".to_owned());
    let mut lines = format!(
        "{number:>3}. {title}\n     {} · {date} · {}\n",
        hit.dataset.name,
        hit.key.join(" ")
    );
    if let Some(heading) = hit.heading.as_deref().filter(|heading| *heading != title) {
        lines.push_str(&format!("     § {heading}\n"));
    }
    let snippet = hit.snippet.marked("**", "**");
    if !snippet.is_empty() {
        let part = if hit.part == "body" {
            String::new()
        } else {
            format!("({}) ", hit.part)
        };
        lines.push_str(&format!("     {part}{snippet}\n"));
    }
    if explains {
        lines.push_str(&format!("     {}\n", explained(hit)));
    }
    lines
}

/// How a row came to its place.
fn explained(hit: &Hit) -> String {
    let why = &hit.why;
    let words = why.words_rank.zip(why.bm25).map(|(rank, bm25)| {
        let some = match why.all_words {
            Some(false) => ", some of them",
            _ => "",
        };
        format!("by words {rank} (BM25 {bm25:.3}{some})")
    });
    let meaning = why.meaning_rank.zip(why.cosine).map(|(rank, cosine)| {
        let weight = why.weight.map(|weight| format!(", weight {weight}"));
        format!(
            "by meaning {rank} (cosine {cosine:.3}{})",
            weight.unwrap_or_default()
        )
    });
    let reranked = why.reranked.map(|score| format!("reranked {score:.3}"));
    let others = (hit.others > 0).then(|| format!("other parts found {}", hit.others));
    let parts = [words, meaning, why.model.clone(), reranked];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let mut told = match parts.is_empty() {
        true => "by its date, as operators alone have no score".to_owned(),
        false => format!("score {:.4}: {}", hit.score, parts.join(", ")),
    };
    if let Some(others) = others {
        told.push_str(&format!("; {others}"));
    }
    told
}
