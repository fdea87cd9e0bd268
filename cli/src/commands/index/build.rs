//! `dkc index build`: the index as the lake and the model are now.

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

/// How long a run waits for another dkc that is at work on the index, which may take hours.
const PATIENCE: Duration = Duration::from_secs(10);

/// Indexes what is new, and lets the model read all that it has not read, the newest first. When it is stopped, the next
/// time goes on from there.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc index build\n  dkc index build emails --anew")]
pub struct Arguments {
    /// Datasets; all that can be searched without one
    #[arg(value_name = "DATASET")]
    datasets: Vec<String>,
    /// Make the index again from the lake, whatever state it is in. Vectors that can be read are kept
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
        return Err(miette!(
            help = "`dkc index build` goes on from there",
            "stopped; what was indexed stays"
        ));
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
    /// Whether to wait for the model, which may take hours; else only for the static one, which takes moments.
    pub waits: bool,
    /// Says when to stop.
    pub cancel: &'a CancellationToken,
}

impl Fresh<'_> {
    /// Indexes the datasets of these names; all without one. Of two dkc one waits for the other.
    ///
    /// # Errors
    /// Whatever stopped it, in words for the user; what was done stays.
    pub async fn all(&self, names: &[String]) -> Result<Vec<Built>> {
        let _alone = self.alone().await?;
        self.follow(names).await
    }

    /// The same from the beginning.
    async fn anew(&self, names: &[String]) -> Result<Vec<Built>> {
        let _alone = self.alone().await?;
        self.forget(names).await?;
        self.follow(names).await
    }

    async fn alone(&self) -> Result<File> {
        let patience = (!self.waits).then_some(PATIENCE);
        let alone = super::alone(self.context, patience, self.cancel).await?;
        alone.ok_or_else(|| {
            miette!(
                help = "what is new is indexed after the next run, or by `dkc index build`",
                "another dkc is at work on the index"
            )
        })
    }

    async fn follow(&self, names: &[String]) -> Result<Vec<Built>> {
        let vectors = Vectors::open(&self.context.data).await.into_diagnostic()?;
        let progress = Arc::new(Progress::default());
        let shown = show("rows to search", &progress, self.context);
        let built = self.cut(&vectors, names, &progress).await;
        shown.abort();
        let mut built = built?;
        if !self.waits && built.iter().all(|built| built.indexed == Indexed::default()) {
            return Ok(built);
        }
        let model = self.search.model.clone();
        // The one that takes moments reads everything before the one that takes hours begins.
        let mut names = vec![static_of(&model)];
        names.extend(self.waits.then_some(model));
        for name in names {
            let Some(embedder) = self.open(&name).await? else {
                continue;
            };
            for built in &mut built {
                built.embedded += self.embed(&vectors, built.dataset, &embedder).await?;
            }
        }
        Ok(built)
    }

    /// Brings chunks and their words to the newest snapshot.
    async fn cut(&self, vectors: &Vectors, names: &[String], progress: &Progress) -> Result<Vec<Built>> {
        let models = self.context.models()?;
        let tokens = Arc::new(Tokens::of(&models, &self.search.model));
        let mut built = Vec::new();
        for (dataset, search) in super::chosen(names)? {
            let follow = || {
                index::follow(
                    self.store,
                    vectors,
                    dataset,
                    search,
                    &tokens,
                    progress,
                    self.cancel,
                )
            };
            let indexed = match follow().await {
                // It holds nothing that the lake does not, and nobody may be there to ask for it.
                Err(IndexError::Vector(
                    error @ (VectorError::Lance { .. } | VectorError::Outdated { .. }),
                )) => {
                    let report = Err::<(), _>(error).into_diagnostic();
                    if let Err(report) = report {
                        let name = dataset.name;
                        print::error(
                            &report.wrap_err(format!("the index of {name} is made again from the lake")),
                            self.context.json,
                        );
                    }
                    vectors.forget_chunks(dataset.name).into_diagnostic()?;
                    follow().await
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

    /// Opens a model, if it is there.
    async fn open(&self, name: &str) -> Result<Option<Arc<Embedder>>> {
        let (models, name) = (self.context.models()?, name.to_owned());
        let threads = NonZeroUsize::new(self.limits.of_a_query().threads).unwrap_or(NonZeroUsize::MIN);
        let opened = tokio::task::spawn_blocking(move || Embedder::open(&models, &name, threads));
        match opened.await.into_diagnostic()? {
            Ok(embedder) => Ok(Some(Arc::new(embedder))),
            Err(error @ EmbedError::Absent { .. }) => {
                if self.waits {
                    print::note(&error.to_string(), self.context);
                }
                Ok(None)
            }
            Err(error) => Err(error).into_diagnostic(),
        }
    }

    /// Lets a model read what it has not read of a dataset.
    async fn embed(&self, vectors: &Vectors, dataset: &str, embedder: &Arc<Embedder>) -> Result<usize> {
        let chunks = vectors.chunks(dataset).await.into_diagnostic()?;
        let Some(chunks) = chunks.filter(|_| !self.cancel.is_cancelled()) else {
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
        // A run that only takes rows away, or was killed before it tidied, leaves vectors of texts nobody says.
        if texts > 0 || stale > 0 {
            space.optimize(&chunks).await.into_diagnostic()?;
        }
        Ok(texts)
    }

    /// Forgets chunks, and vectors that cannot be read or are of other files by the name of the model.
    async fn forget(&self, names: &[String]) -> Result<()> {
        let vectors = Vectors::open(&self.context.data).await.into_diagnostic()?;
        let model = &self.search.model;
        let mut embedders = Vec::new();
        for name in [static_of(model), model.clone()] {
            embedders.extend(self.open(&name).await?);
        }
        for (dataset, _) in super::chosen(names)? {
            vectors.forget_chunks(dataset.name).into_diagnostic()?;
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
