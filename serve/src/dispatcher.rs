//! The one door: who may, how often, what it costs, what is written down; then the operation.
//!
//! - In: an operation, a caller, an input. Out: its reply, and a [`Ticket`], which becomes the audit record when the
//!   last byte of the answer has gone, or will not go any more.
//! - An operation that acts is in the log before it begins; one that reads, soon after it ended.

use crate::blame::Histories;
use crate::caller::{Caller, Callers};
use crate::config::Config;
use crate::lake::Lake;
use crate::operation::{APPLY, Call, Effect, Face, Operation, Reply};
use crate::problem::{Kind, Problem};
use bytes::Bytes;
use schemas::Role;
use schemas::datasets::email_attachments::EmailAttachment;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use store::alerts::AlertLog;
use store::approvals::Approvals;
use store::audit::{Audit, Entry};
use store::events::Events;
use store::query::{Limits, Reader, Workers};
use store::queue::Queue;
use store::run_log::RunLog;
use store::search::{Models, Searcher};
use store::tokens::Tokens;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How long a heavy operation waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// How long an act waits for it to be written down that it begins.
const RECORD: Duration = Duration::from_secs(5);

/// Queries of dkc's own making at once.
const ASKING: usize = 4;

/// How many may listen to events at once.
const LISTENERS: usize = 1_000;

/// Gives the attachment of a mail, of this `_item`, at a position, with its decoded bytes; none where it has none there. Why,
/// if it is no mail that can be read. Mails are read below the gateway, by what made their rows.
pub type CutAttachment = fn(&str, &[u8], i64) -> Result<Option<(EmailAttachment, Vec<u8>)>, String>;

/// Gives the text of a document, of this media type, name and content; none where nothing reads such documents. Why, if
/// this one cannot be read.
pub type ReadDocument = fn(&str, &str, Bytes) -> Result<Option<String>, String>;

/// What reads originals for the gateway.
#[derive(Clone, Copy)]
pub struct Readers {
    /// Mails.
    pub cut: CutAttachment,
    /// Documents.
    pub read: ReadDocument,
}

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
    /// Acts that wait for their owner.
    pub approvals: Approvals,
    /// Who read what others wrote, as far as it is written down already.
    pub(crate) tainted: std::sync::Mutex<HashMap<Arc<str>, Instant>>,
    /// What happened.
    pub(crate) events: Events,
    /// Where runs are asked for.
    pub(crate) queue: Queue,
    /// What runs said of themselves.
    pub(crate) run_log: RunLog,
    /// The number of the newest event.
    pub(crate) ends: watch::Sender<i64>,
    /// How many may listen to events.
    pub(crate) listeners: Arc<Semaphore>,
    /// Cancelled when the gateway is to end.
    pub stop: CancellationToken,
    pub(crate) closed: CancellationToken,
    /// Runs queries of dkc's own making, apart from what serves requests (F3).
    pub(crate) queries: Handle,
    pub(crate) asking: Semaphore,
    pub(crate) limits: Limits,
    pub(crate) models: Models,
    pub(crate) readers: Readers,
    pub(crate) searcher: RwLock<Option<(Searcher, Instant)>>,
    /// Which files of repositories were secrets once.
    pub(crate) histories: Histories,
    heavy: Arc<Semaphore>,
    pub(crate) records: mpsc::UnboundedSender<Entry>,
    pub(crate) unwritten: Mutex<mpsc::UnboundedReceiver<Entry>>,
}

/// A call that was let in, or turned away; dropped, it is in the audit log.
pub struct Ticket {
    /// What it says in the end; its outcome comes last.
    entry: Entry,
    operation: &'static str,
    outcome: &'static str,
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
    pub fn fail(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let micros = self.began.elapsed().as_micros();
        self.entry.duration_us = i64::try_from(micros).unwrap_or(i64::MAX);
        self.turn = None;
        self.outcome.clone_into(&mut self.entry.outcome);
        // Of names that stay nothing is copied.
        metrics::counter!("dkc_calls_total", "operation" => self.operation, "outcome" => self.outcome)
            .increment(1);
        metrics::histogram!("dkc_call_seconds", "operation" => self.operation)
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
        readers: Readers,
    ) -> Result<Self, store::StoreError> {
        crate::operations::get_uptime_status::begin();
        let place = store.place().clone();
        let callers = Callers::new(Tokens::open(&place).await?);
        let audit = Audit::open(&place).await?;
        let queue = Queue::open(&place).await?;
        let alerts = AlertLog::open(&place).await?;
        let (records, unwritten) = mpsc::unbounded_channel();
        Ok(Self {
            heavy: Arc::new(Semaphore::new(config.heavy)),
            config,
            callers,
            workers,
            audit,
            approvals: Approvals::open(&place).await?,
            tainted: std::sync::Mutex::default(),
            events: Events::open(&place).await?,
            run_log: RunLog::open(&place).await?,
            ends: watch::Sender::new(0),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            stop: CancellationToken::new(),
            closed: CancellationToken::new(),
            queries,
            asking: Semaphore::new(ASKING),
            lake: Lake::new(store, queue.clone(), alerts).await?,
            queue,
            limits,
            models,
            readers,
            searcher: RwLock::default(),
            histories: Histories::default(),
            records,
            unwritten: Mutex::new(unwritten),
        })
    }

    /// Answers queries of dkc's own making.
    pub(crate) fn reader(&self) -> Reader {
        self.lake.store().reader(self.limits)
    }

    /// What becomes the record of a call of this name.
    pub(crate) fn ticket(
        &self,
        name: &'static str,
        caller: Option<&Caller>,
        face: Face,
        input: &Value,
        request: &str,
    ) -> Ticket {
        let (who, role) = match caller {
            Some(caller) => (caller.who.to_string(), caller.role.as_str()),
            None => ("-".to_owned(), "-"),
        };
        Ticket {
            entry: Entry {
                at: jiff::Timestamp::now().as_microsecond(),
                who,
                role: role.to_owned(),
                operation: name.to_owned(),
                face: face.as_str().to_owned(),
                input: store::audit::input_digest(&without_apply(input)),
                request: request.to_owned(),
                ..Entry::default()
            },
            operation: name,
            outcome: "ok",
            began: Instant::now(),
            records: self.records.clone(),
            turn: None,
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
        face: Face,
        input: &Value,
        request: &str,
    ) -> Result<Ticket, Problem> {
        let known = caller.as_ref().ok().copied();
        let mut ticket = self.ticket(operation.name, known, face, input, request);
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
        if !(operation.toolset.is_on)(&self.config) {
            let name = operation.toolset.name;
            let detail = format!("`{name}` is off; docs/agents.md tells how its owner turns it on");
            return Err(Problem::new(Kind::NotFound, detail));
        }
        if !operation.roles.contains(&caller.role) {
            return Err(Problem::new(
                Kind::Forbidden,
                format!("the role `{}` may not call `{}`", caller.role, operation.name),
            ));
        }
        if operation.is_of_all() && caller.view.datasets.is_some() {
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
            let begun = [begun];
            let written = tokio::time::timeout(RECORD, self.audit.append(&begun)).await;
            if !matches!(written, Ok(Ok(()))) {
                tracing::error!(?written, "the audit log cannot be written");
                return Err(Problem::new(
                    Kind::Unavailable,
                    "the audit log cannot be written, so nothing may be done; see the log",
                )
                .after(5));
            }
        }
        Ok(())
    }

    /// Whether a caller may call an operation here.
    pub fn offers(&self, operation: &Operation, caller: &Caller) -> bool {
        (operation.toolset.is_on)(&self.config)
            && operation.roles.contains(&caller.role)
            && operation.toolset.is_shown(&caller.view)
            && !(operation.is_of_all() && caller.view.datasets.is_some())
    }

    /// Does what a call that was let in asks for. What acts on the world outside is planned first, and done once it is
    /// approved.
    ///
    /// # Errors
    /// [`Problem`], of the input or of the operation.
    pub async fn perform(
        &self,
        operation: &'static Operation,
        call: Call<'_>,
        input: Value,
        ticket: &mut Ticket,
    ) -> Result<Reply, Problem> {
        let done = match (operation.plan, operation.effect) {
            (Some(plan), _) => self.act(operation, plan, call, input).await,
            (None, Effect::Read) => self.in_time((operation.call)(call, input)).await,
            // What programs may ask for without a plan is what dkc does by itself in its time, such as a run.
            (None, Effect::Act) if operation.roles.contains(&Role::Automated) => {
                self.in_time((operation.call)(call, input)).await
            }
            (None, Effect::Act) => match self.check_untainted(call.caller).await {
                Ok(()) => self.in_time((operation.call)(call, input)).await,
                Err(problem) => Err(problem),
            },
        };
        let done = match done {
            Ok(reply) if !matches!(reply, Reply::Planned(_) | Reply::Waiting(_)) => {
                self.note_given(operation, &call).await.map(|()| reply)
            }
            done => done,
        };
        match &done {
            Ok(Reply::Planned(_)) => ticket.fail("planned"),
            Ok(Reply::Waiting(_)) => ticket.fail("waiting-for-approval"),
            Ok(_) => {}
            Err(problem) => ticket.fail(problem.kind.name()),
        }
        done
    }

    /// Notes who is given what an operation answers: an agent may have read what others wrote.
    ///
    /// # Errors
    /// As [`Self::taint`].
    pub(crate) async fn note_given(&self, operation: &Operation, call: &Call<'_>) -> Result<(), Problem> {
        match operation.holds_collected && !call.is_person() {
            true => self.taint(call.caller, operation).await,
            false => Ok(()),
        }
    }

    /// An answer, if it comes in time.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let answered = tokio::time::timeout(self.config.answer_time, answer).await;
        answered.unwrap_or_else(|_| {
            let seconds = self.config.answer_time.as_secs();
            Err(Problem::new(
                Kind::Unavailable,
                format!("there was no answer within {seconds} s; ask for less, or try again"),
            ))
        })
    }
}

/// An input, the same whether it plans or applies, so that both records show that they belong together.
pub(crate) fn without_apply(input: &Value) -> Cow<'_, Value> {
    let mut input = Cow::Borrowed(input);
    if input.get(APPLY).is_some()
        && let Some(members) = input.to_mut().as_object_mut()
    {
        members.retain(|name, _| name != APPLY);
    }
    input
}
