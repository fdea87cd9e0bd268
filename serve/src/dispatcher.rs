//! The one door: who may, how often, what it costs, what is written down; then the operation.
//!
//! - In: an operation, a caller, an input. Out: its reply, and a [`Ticket`], which becomes the audit record when the
//!   last byte of the answer has gone, or will not go any more.
//! - An operation that acts is in the log before it begins; one that reads, soon after it ended.

use crate::caller::{Caller, Callers};
use crate::config::Config;
use crate::lake::{Head, Lake};
use crate::operation::{Call, DEV, Effect, Operation, Reply};
use crate::problem::{Kind, Problem};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use store::audit::{Audit, Entry};
use store::events::Events;
use store::query::{Limits, Reader, Workers};
use store::search::{Models, Searcher};
use store::tokens::Tokens;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How long a heavy operation waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// How long records wait for others, to be written together.
const TOGETHER: Duration = Duration::from_millis(100);

/// How often it is written down when tokens were last used.
const USES: Duration = Duration::from_secs(60);

/// How long calls that are under way at the end may take to be written down, and how many are at once.
const LAST: Duration = Duration::from_secs(2);
const RECORDS: usize = 1_024;

/// Queries of dkc's own making at once.
const ASKING: usize = 4;

/// Runs that are looked at for news.
const LATEST_RUNS: u32 = 50;

/// How many may listen to events at once.
const LISTENERS: usize = 1_000;

/// The gateway.
pub struct Gateway {
    /// How it listens and what it allows.
    pub config: Config,
    /// The lake.
    pub lake: Lake,
    /// Who may ask.
    pub callers: Callers,
    /// Runs SQL.
    pub workers: Workers,
    /// The log of calls.
    pub audit: Audit,
    /// What happened.
    pub(crate) events: Events,
    /// The number of the newest event.
    pub(crate) ends: watch::Sender<i64>,
    /// How many may listen to events.
    pub(crate) listeners: Arc<Semaphore>,
    /// Cancelled when the gateway is to end.
    pub stop: CancellationToken,
    closed: CancellationToken,
    /// Runs queries of dkc's own making, apart from what serves requests (F3).
    pub(crate) queries: Handle,
    pub(crate) asking: Semaphore,
    pub(crate) limits: Limits,
    pub(crate) models: Models,
    pub(crate) searcher: RwLock<Option<(Searcher, Instant)>>,
    heavy: Arc<Semaphore>,
    records: mpsc::UnboundedSender<Entry>,
    unwritten: Mutex<mpsc::UnboundedReceiver<Entry>>,
}

/// A call that was let in, or turned away; dropped, it is in the audit log.
pub struct Ticket {
    entry: Entry,
    began: Instant,
    records: mpsc::UnboundedSender<Entry>,
    /// Its own among the caller's, and that among all.
    turn: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Ticket {
    /// Counts what goes out.
    pub fn count(&mut self, rows: u64, bytes: u64) {
        self.entry.rows = self.entry.rows.saturating_add(rows as i64);
        self.entry.bytes = self.entry.bytes.saturating_add(bytes as i64);
    }

    /// Says how it ended, unless well.
    pub fn fail(&mut self, outcome: &str) {
        outcome.clone_into(&mut self.entry.outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let micros = self.began.elapsed().as_micros();
        self.entry.duration_us = i64::try_from(micros).unwrap_or(i64::MAX);
        self.turn = None;
        let labels = [
            ("operation", self.entry.operation.clone()),
            ("outcome", self.entry.outcome.clone()),
        ];
        metrics::counter!("dkc_calls_total", &labels).increment(1);
        metrics::histogram!("dkc_call_seconds", "operation" => self.entry.operation.clone())
            .record(self.began.elapsed().as_secs_f64());
        // Where nobody writes any more, the process is ending.
        let _ = self.records.send(std::mem::take(&mut self.entry));
    }
}

impl Gateway {
    /// A gateway to a data directory. [`Self::keep`] must run beside it.
    ///
    /// # Errors
    /// [`store::StoreError`] when it cannot be opened.
    pub async fn open(
        config: Config,
        store: Store,
        workers: Workers,
        limits: Limits,
        models: Models,
        queries: Handle,
    ) -> Result<Self, store::StoreError> {
        let callers = Callers::new(Tokens::open(store.data()).await?);
        let audit = Audit::open(store.data()).await?;
        let (records, unwritten) = mpsc::unbounded_channel();
        Ok(Self {
            heavy: Arc::new(Semaphore::new(config.heavy)),
            config,
            callers,
            workers,
            audit,
            events: Events::open(store.data()).await?,
            ends: watch::Sender::new(0),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            stop: CancellationToken::new(),
            closed: CancellationToken::new(),
            queries,
            asking: Semaphore::new(ASKING),
            lake: Lake::new(store).await?,
            limits,
            models,
            searcher: RwLock::default(),
            records,
            unwritten: Mutex::new(unwritten),
        })
    }

    /// Answers queries of dkc's own making.
    pub(crate) fn reader(&self) -> Reader {
        self.lake.store().reader(self.limits)
    }

    /// Follows the lake and writes the audit log until it is closed.
    pub async fn keep(&self) {
        let following = async {
            tokio::select! {
                ((), (), ()) = async { tokio::join!(self.lake.follow(), self.announce(), self.write_used()) } => {}
                () = self.closed.cancelled() => {}
            }
        };
        tokio::join!(following, self.write_records());
        if let Err(error) = self.callers.write_used().await {
            tracing::warn!(%error, "when tokens were last used is not written down");
        }
        self.audit.close().await;
    }

    /// Ends [`Self::keep`], once all that was called is written down.
    pub fn close(&self) {
        self.closed.cancel();
    }

    async fn write_used(&self) {
        loop {
            tokio::time::sleep(USES).await;
            if let Err(error) = self.callers.write_used().await {
                tracing::warn!(%error, "when tokens were last used is not written down");
            }
        }
    }

    /// Announces what changes in the lake, its runs and its health.
    async fn announce(&self) {
        let mut heads = self.lake.heads();
        loop {
            let head = heads.borrow_and_update().clone();
            if let Err(error) = self.announce_all(&head).await {
                tracing::error!(%error, "events cannot be written");
            }
            if heads.changed().await.is_err() {
                return;
            }
        }
    }

    async fn announce_all(&self, head: &Head) -> Result<(), store::StoreError> {
        for holding in head.holdings.values() {
            self.events.rows(holding).await?;
        }
        let mut runs = self.lake.store().runs().newest(None, LATEST_RUNS).await?;
        runs.reverse();
        for run in &runs {
            self.events.run(run).await?;
        }
        let failing = self
            .config
            .pipelines
            .iter()
            .filter(|pipeline| head.failing.contains(&pipeline.name));
        let health = serde_json::json!({
            "is_readable": head.failure.is_none(),
            "failing_pipelines": failing.count(),
        });
        self.events.health(&health).await?;
        self.events.forget().await?;
        self.ends.send_replace(self.events.ends().await?.1);
        Ok(())
    }

    /// Writes the records of calls until the gateway is closed, then those of calls that are still under way.
    async fn write_records(&self) {
        let mut unwritten = self.unwritten.lock().await;
        loop {
            let mut entries = Vec::new();
            tokio::select! {
                _ = unwritten.recv_many(&mut entries, 1) => {}
                () = self.closed.cancelled() => break,
            }
            let _ = tokio::time::timeout(TOGETHER, self.closed.cancelled()).await;
            while let Ok(entry) = unwritten.try_recv() {
                entries.push(entry);
            }
            self.append(&entries).await;
        }
        let deadline = tokio::time::Instant::now() + LAST;
        // Each call under way holds a sender, and so does the gateway.
        while self.records.strong_count() > 1 || !unwritten.is_empty() {
            let mut entries = Vec::new();
            if tokio::time::timeout_at(deadline, unwritten.recv_many(&mut entries, RECORDS))
                .await
                .is_err()
            {
                break;
            }
            self.append(&entries).await;
        }
    }

    async fn append(&self, entries: &[Entry]) {
        if let Err(error) = self.audit.append(entries).await {
            metrics::counter!("dkc_audit_failures_total").increment(entries.len() as u64);
            tracing::error!(%error, lost = entries.len(), "the audit log cannot be written");
        }
    }

    /// Lets a call in: its role, its rate, its turn.
    ///
    /// # Errors
    /// Why it was turned away; that is in the log, too.
    pub async fn admit(
        &self,
        operation: &'static Operation,
        caller: Result<&Caller, Problem>,
        face: &str,
        input: &Value,
        request: &str,
    ) -> Result<Ticket, Problem> {
        let (who, role) = match &caller {
            Ok(caller) => (caller.who.to_string(), caller.role.as_str()),
            Err(_) => ("-".to_owned(), "-"),
        };

        let mut ticket = Ticket {
            entry: Entry {
                at: jiff::Timestamp::now().as_microsecond(),
                who,
                role: role.to_owned(),
                operation: operation.name.to_owned(),
                face: face.to_owned(),
                input: store::audit::input_digest(input),
                outcome: "ok".to_owned(),
                request: request.to_owned(),
                ..Entry::default()
            },
            began: Instant::now(),
            records: self.records.clone(),
            turn: None,
        };
        let admitted = self.check(operation, caller, &mut ticket).await;
        admitted.inspect_err(|problem| ticket.fail(problem.kind.name()))?;
        Ok(ticket)
    }

    async fn check(
        &self,
        operation: &'static Operation,
        caller: Result<&Caller, Problem>,
        ticket: &mut Ticket,
    ) -> Result<(), Problem> {
        let caller = caller?;
        if !operation.roles.contains(&caller.role) {
            return Err(Problem::new(
                Kind::Forbidden,
                format!("the role `{}` may not call `{}`", caller.role, operation.name),
            ));
        }
        if operation.roles == DEV && caller.view.datasets.is_some() {
            return Err(Problem::new(
                Kind::Forbidden,
                "this is of all datasets, and the token may see some of them only",
            ));
        }
        caller.count()?;
        if operation.is_heavy {
            let turn = async {
                let own = caller.turns.clone().acquire_owned().await.ok()?;
                Some((own, self.heavy.clone().acquire_owned().await.ok()?))
            };
            ticket.turn = tokio::time::timeout(TURN, turn).await.ok().flatten();
            if ticket.turn.is_none() {
                return Err(Problem::new(
                    Kind::TooManyRequests,
                    "too many heavy operations are at work; try again in a moment",
                )
                .after(1));
            }
        }
        if operation.effect == Effect::Act {
            let begun = Entry {
                outcome: "begun".to_owned(),
                ..ticket.entry.clone()
            };
            self.audit.append(&[begun]).await.map_err(|error| {
                tracing::error!(%error, "the audit log cannot be written");
                Problem::new(
                    Kind::Unavailable,
                    "the audit log cannot be written, so nothing may be done; see the log",
                )
            })?;
        }
        Ok(())
    }

    /// Does what a call that was let in asks for.
    ///
    /// # Errors
    /// [`Problem`], of the input or of the operation.
    pub async fn perform(
        &self,
        operation: &'static Operation,
        caller: &Caller,
        input: Value,
        ticket: &mut Ticket,
    ) -> Result<Reply, Problem> {
        let call = Call {
            gateway: self,
            caller,
        };
        let done = tokio::time::timeout(self.config.answer_time, (operation.call)(call, input)).await;
        let done = done.unwrap_or_else(|_| {
            let seconds = self.config.answer_time.as_secs();
            Err(Problem::new(
                Kind::Unavailable,
                format!("there was no answer within {seconds} s; ask for less, or try again"),
            ))
        });
        done.inspect_err(|problem| ticket.fail(problem.kind.name()))
    }
}
