//! `dkc index build`: the index as the lake and the model are now.

use super::{Lock, Reader, alone};
use crate::commands::run::{cancel_on_signal, show};
use crate::config::{self, Limits, Search};
use crate::context::Context;
use crate::print;
use clap::Args;
use collectors::Progress;
use miette::{IntoDiagnostic, Result, miette};
use pipelines::IndexError;
use pipelines::index::{self, Embedded, Indexed};
use serde::Serialize;
use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use store::embedder::{EmbedError, Embedder, Tokens, static_of};
use store::vectors::{VectorError, Vectors};
use tokio_util::sync::CancellationToken;

/// How long a run waits for another dkc that writes to the index: with `--anew`, for hours.
const PATIENCE: Duration = Duration::from_secs(10);

/// Indexes what is new, and lets the model read all that it has not read, the newest first. When it is stopped, the next
/// time goes on from there.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc index build\n  dkc index build emails --anew")]
pub struct Arguments {
    /// Datasets; all that can be searched without one
    #[arg(value_name = "DATASET")]
    datasets: Vec<String>,
    /// Make the index again from the lake, whatever state it is in, behind the one that answers; it takes its place once
    /// it is whole. Vectors that can be read are kept
    #[arg(long)]
    anew: bool,
}

/// What was done for a dataset.
#[derive(Debug, Serialize)]
pub struct Built {
    dataset: &'static str,
    #[serde(flatten)]
    indexed: Indexed,
    embedded: usize,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    let (limits, search) = config::settings(context)?;
    super::chosen(&arguments.datasets)?;
    let store = Store::open_writer(context.place()?).await.into_diagnostic()?;
    let cancel = CancellationToken::new();
    tokio::spawn(cancel_on_signal(cancel.clone()));
    let fresh = Fresh {
        store: &store,
        context,
        limits,
        search: &search,
        waits: true,
        cancel: &cancel,
    };
    let built = match arguments.anew {
        true => fresh.anew(&arguments.datasets).await,
        false => fresh.all(&arguments.datasets).await,
    };
    store.close().await;
    let built = built?;
    if cancel.is_cancelled() {
        return Err(match arguments.anew {
            true => miette!(
                help = "`dkc index build --anew` begins again; vectors of texts stay",
                "stopped; where the new index is not whole, the one before it stays"
            ),
            false => miette!(
                help = "`dkc index build` goes on from there",
                "stopped; what was indexed stays"
            ),
        });
    }
    if context.json {
        return print::json(&built);
    }
    let count = |count: usize| count.to_string();
    print::table(
        ["dataset", "rows indexed", "rows removed", "texts embedded"],
        built.into_iter().map(|built| {
            [
                built.dataset.to_owned(),
                count(built.indexed.rows),
                count(built.indexed.removed),
                count(built.embedded),
            ]
        }),
    )
}

/// Makes the index as new as the lake.
pub struct Fresh<'a> {
    /// The lake, open for writing.
    pub store: &'a Store,
    /// Where models are, what the user wants to see.
    pub context: &'a Context,
    /// Bounds on what a model may use.
    pub limits: Limits,
    /// Which model.
    pub search: &'a Search,
    /// Whether to let the model read all, which may take hours; else only the static one does, which takes moments.
    pub waits: bool,
    /// Says when to stop.
    pub cancel: &'a CancellationToken,
}

impl Fresh<'_> {
    /// Indexes the datasets of these names; all without one. Of two dkc that write one waits for the other, and while a model
    /// reads that takes long, others write.
    ///
    /// # Errors
    /// Whatever stopped it, in words for the user; what was done stays.
    pub async fn all(&self, names: &[String]) -> Result<Vec<Built>> {
        let writing = self.alone().await?;
        let vectors = self.vectors().await?;
        let mut built = self.follow(&vectors, names).await?;
        drop(writing);
        if self.waits {
            let reading = alone(self.context, Lock::Reading, None, self.cancel).await?;
            // Else it is to stop.
            if reading.is_some() {
                self.read_on(vectors, &mut built).await?;
            }
        }
        Ok(built)
    }

    /// The same from the beginning, behind the index that answers, which is replaced once all is there. Whoever is killed
    /// before leaves that one as it was.
    async fn anew(&self, names: &[String]) -> Result<Vec<Built>> {
        let Some(_reading) = alone(self.context, Lock::Reading, None, self.cancel).await? else {
            // It is to stop.
            return Ok(Vec::new());
        };
        let writing = self.alone().await?;
        let vectors = self.vectors().await?;
        let built = self.behind(&vectors, names).await;
        if built.is_err() || self.cancel.is_cancelled() {
            // What was made of it may be what fills the disk.
            sweep(&vectors);
        }
        drop(writing);
        let mut built = built?;
        self.read_on(vectors, &mut built).await?;
        Ok(built)
    }

    async fn behind(&self, vectors: &Vectors, names: &[String]) -> Result<Vec<Built>> {
        self.forget(vectors, names).await?;
        let behind = vectors.behind();
        let mut built = self.cut(&behind, names).await?;
        if self.cancel.is_cancelled() {
            return Ok(built);
        }
        let mut answering = Vec::new();
        for built in &built {
            match vectors.chunks(built.dataset).await {
                Ok(Some(_)) => answering.push(built.dataset),
                // Words alone are better than what is damaged, or nothing.
                Ok(None) | Err(_) => vectors.switch(built.dataset).into_diagnostic()?,
            }
        }
        for name in self.names()? {
            self.read(&behind, &name, &mut built).await?;
        }
        if self.cancel.is_cancelled() {
            return Ok(built);
        }
        for dataset in answering {
            vectors.switch(dataset).into_diagnostic()?;
        }
        for (built, then) in built.iter_mut().zip(self.follow(vectors, names).await?) {
            built.indexed.rows += then.indexed.rows;
            built.indexed.removed += then.indexed.removed;
            built.embedded += then.embedded;
        }
        Ok(built)
    }

    async fn alone(&self) -> Result<File> {
        let patience = (!self.waits).then_some(PATIENCE);
        let alone = alone(self.context, Lock::Index, patience, self.cancel).await?;
        alone.ok_or_else(|| {
            miette!(
                help = "what is new is indexed after the next run, or by `dkc index build`",
                "another dkc is at work on the index"
            )
        })
    }

    /// Brings what answers to the newest snapshot, for words and for the static model.
    async fn follow(&self, vectors: &Vectors, names: &[String]) -> Result<Vec<Built>> {
        let mut built = self.cut(vectors, names).await?;
        if self.waits || built.iter().any(|built| built.indexed != Indexed::default()) {
            let model = static_of(&self.context.models()?, &self.search.model);
            self.read(vectors, &model, &mut built).await?;
        }
        Ok(built)
    }

    /// The vector store, without what nobody reads.
    async fn vectors(&self) -> Result<Vectors> {
        let vectors = Vectors::open(&self.context.data).await.into_diagnostic()?;
        sweep(&vectors);
        Ok(vectors)
    }

    /// Lets a model read what it has not read of what was built, while nobody else writes.
    async fn read(&self, vectors: &Vectors, model: &str, built: &mut [Built]) -> Result<()> {
        if let Some(embedder) = self.reader(model).await? {
            for built in built {
                built.embedded += self.embed(vectors, built.dataset, &embedder).await?;
            }
        }
        Ok(())
    }

    /// Lets the model read what it has not read of what answers, while others may write.
    async fn read_on(&self, vectors: Vectors, built: &mut [Built]) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Ok(());
        }
        let Some(embedder) = self.reader(&self.search.model).await? else {
            return Ok(());
        };
        let progress = Arc::new(Progress::default());
        let shown = show(&embedder.stamp().name, &progress, self.context);
        let datasets = built.iter().map(|built| built.dataset);
        let model = (embedder, self.threads());
        let mut reader = Reader::new(self.context, vectors, model, datasets, self.cancel);
        let read = reader.all(&progress, |step| {
            for built in built.iter_mut().filter(|built| built.dataset == step.dataset) {
                built.embedded += step.texts;
            }
        });
        let read = read.await;
        shown.abort();
        read
    }

    /// How many threads of a model read.
    fn threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.limits.of_a_query().threads).unwrap_or(NonZeroUsize::MIN)
    }

    /// Brings chunks and their words to the newest snapshot.
    async fn cut(&self, vectors: &Vectors, names: &[String]) -> Result<Vec<Built>> {
        let progress = Arc::new(Progress::default());
        let shown = show("rows to search", &progress, self.context);
        let built = self.cut_each(vectors, names, &progress).await;
        shown.abort();
        built
    }

    async fn cut_each(&self, vectors: &Vectors, names: &[String], progress: &Progress) -> Result<Vec<Built>> {
        let models = self.context.models()?;
        let tokens = Arc::new(Tokens::of(&models, &self.search.model));
        let mut built = Vec::new();
        for (dataset, search) in super::chosen(names)? {
            let (store, tokens, cancel) = (self.store, &tokens, self.cancel);
            let follow = async |vectors| {
                index::follow(store, vectors, dataset, search, tokens, progress, cancel).await
            };
            let indexed = match follow(vectors).await {
                // It holds nothing that the lake does not, and nobody may be there to ask for it. What can be read of it
                // answers until the other is whole.
                Err(IndexError::Vector(
                    error @ (VectorError::Lance { .. } | VectorError::Outdated { .. }),
                )) if !vectors.is_behind() => {
                    let report = Err::<(), _>(error).into_diagnostic();
                    if let Err(report) = report {
                        let name = dataset.name;
                        print::error(
                            &report.wrap_err(format!("the index of {name} is made again from the lake")),
                            self.context.json,
                        );
                    }
                    let behind = vectors.behind();
                    let made = match vectors.clear_behind(dataset.name) {
                        Ok(()) => follow(&behind).await,
                        Err(error) => Err(error.into()),
                    };
                    match made.is_ok() && !self.cancel.is_cancelled() {
                        true => vectors.switch(dataset.name).into_diagnostic()?,
                        // What was made of it may be what fills the disk.
                        false => vectors.sweep(dataset.name),
                    }
                    made
                }
                followed => followed,
            };
            built.push(Built {
                dataset: dataset.name,
                indexed: indexed.into_diagnostic()?,
                embedded: 0,
            });
        }
        Ok(built)
    }

    /// The models that read: the one that takes moments reads everything before the one that takes hours begins.
    fn names(&self) -> Result<Vec<String>> {
        let model = &self.search.model;
        let mut names = vec![static_of(&self.context.models()?, model), model.clone()];
        names.dedup();
        Ok(names)
    }

    /// Opens a model that is to read. One that cannot be opened is told: words are found without it, and what it has
    /// read stays.
    async fn reader(&self, name: &str) -> Result<Option<Arc<Embedder>>> {
        match self.open(name).await? {
            Ok(embedder) => return Ok(Some(embedder)),
            Err(error @ EmbedError::Absent { .. }) => {
                if self.waits && name == self.search.model {
                    print::note(&error.to_string(), self.context);
                }
            }
            Err(error) => print::note(&format!("`{name}` reads nothing: {error}"), self.context),
        }
        Ok(None)
    }

    /// Opens a model, or says why it cannot be.
    async fn open(&self, name: &str) -> Result<Result<Arc<Embedder>, EmbedError>> {
        let (models, name, threads) = (self.context.models()?, name.to_owned(), self.threads());
        let opened = tokio::task::spawn_blocking(move || Embedder::open(&models, &name, threads));
        Ok(opened.await.into_diagnostic()?.map(Arc::new))
    }

    /// Lets a model read what it has not read of a dataset.
    async fn embed(&self, vectors: &Vectors, dataset: &str, embedder: &Arc<Embedder>) -> Result<usize> {
        if self.cancel.is_cancelled() {
            return Ok(0);
        }
        let Some(chunks) = vectors.chunks(dataset).await.into_diagnostic()? else {
            return Ok(0);
        };
        let space = vectors
            .space_or_new(dataset, embedder.stamp())
            .await
            .into_diagnostic()?;
        let progress = Arc::new(Progress::default());
        let shown = show(
            &format!("{}, {}", dataset, embedder.stamp().name),
            &progress,
            self.context,
        );
        let embedded = index::embed(&chunks, &space, embedder, &progress, self.cancel).await;
        shown.abort();
        let Embedded { texts, stale } = embedded.into_diagnostic()?;
        match vectors.is_behind() {
            // What answers still says texts that these do not.
            true if texts > 0 => space.index().await.into_diagnostic()?,
            // A run that only takes rows away, or was killed before it tidied, leaves vectors of texts nobody says.
            false if texts > 0 || stale > 0 => space.optimize(&chunks).await.into_diagnostic()?,
            _ => {}
        }
        Ok(texts)
    }

    /// Forgets what a build that was killed left, and vectors that cannot be read or are of other files by the name of the
    /// model: nobody can ask for them.
    async fn forget(&self, vectors: &Vectors, names: &[String]) -> Result<()> {
        let mut embedders = Vec::new();
        for name in self.names()? {
            // What cannot be opened is told when it should read; of its vectors nothing can be said.
            embedders.extend(self.open(&name).await?.ok());
        }
        for (dataset, _) in super::chosen(names)? {
            vectors.clear_behind(dataset.name).into_diagnostic()?;
            vectors.forget_unreadable(dataset.name).await.into_diagnostic()?;
            for embedder in &embedders {
                let stamp = embedder.stamp();
                if let Err(VectorError::OtherModel { .. }) = vectors.space(dataset.name, stamp).await {
                    vectors
                        .forget_space(dataset.name, &stamp.name)
                        .into_diagnostic()?;
                }
            }
        }
        Ok(())
    }
}

/// Removes what nobody reads any more of any dataset.
fn sweep(vectors: &Vectors) {
    for (dataset, _) in index::searchable() {
        vectors.sweep(dataset.name);
    }
}
