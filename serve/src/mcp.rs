//! The face for agents: MCP on standard input and output, and over HTTP.
//!
//! - In: a [`Gateway`], a caller. Out: tools, resources and prompts; each call goes through the same door as those of
//!   people. Both the stateless protocol (2026-07-28) and the earlier one with `initialize` are spoken; nothing is kept
//!   between calls that another process would lack.
//! - Reading order: [`Options`] says what an agent is given, `catalogue` describes it, `call` does it, `answer` says it in
//!   few words, `fence` marks what others wrote, `budget` keeps it short, `approval` asks the owner.
//! - Not here: what the operations do; versions of the protocol (rmcp).

mod answer;
mod approval;
mod budget;
mod call;
mod catalogue;
mod complete;
pub(crate) mod continuation;
mod fence;
mod http;
mod lines;
mod listing;
mod message;
mod options;
mod prompts;
mod provenance;
mod server;
mod stdio;
mod subscriptions;

pub use catalogue::{Cost, cost};
pub(crate) use http::routes;
pub use options::Options;

use crate::caller::Caller;
use crate::dispatcher::Gateway;
use lines::Lines;
use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use secrecy::SecretString;
use server::{Server, Whose};
use std::sync::Arc;
use stdio::Ends;
use tokio_util::sync::CancellationToken;

/// Why a conversation over standard input and output ended badly.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// It could not begin.
    #[error("the agent did not begin as MCP has it; `docs/agents.md` tells how to connect one")]
    Begin(#[source] Box<ServerInitializeError>),
    /// A task of it ended by a mistake of ours.
    #[error("the conversation broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Serves one agent over standard input and output until it leaves, be it only by closing its ends, or `stop`; with its
/// token, until that is revoked.
///
/// # Errors
/// [`McpError`].
pub async fn stdio(
    gateway: Arc<Gateway>,
    caller: Caller,
    token: Option<SecretString>,
    options: Options,
    stop: CancellationToken,
) -> Result<(), McpError> {
    let keeping = gateway.clone();
    let kept = tokio::spawn(async move { keeping.keep().await });
    let own = Whose::Own {
        caller: Box::new(caller),
        options,
        token,
    };
    let server = Server::new(gateway.clone(), own);
    let Ends {
        input,
        output,
        left,
        blocking,
    } = stdio::ends();
    let ending = stop.child_token();
    let watched = ending.clone();
    let watching = tokio::spawn(async move {
        watched.run_until_cancelled(left).await;
        watched.cancel();
    });
    let lines = Lines::new(input, output, ending.clone());
    let ended = match server.serve_with_ct(lines, ending).await {
        Ok(running) => running.waiting().await.map(|_| ()).map_err(McpError::BrokeOff),
        // An agent that left, or a stop, before it began is no failure.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => Ok(()),
        Err(error) => Err(McpError::Begin(Box::new(error))),
    };
    watching.abort();
    drop(blocking);
    gateway.stop.cancel();
    gateway.close();
    // It panics nowhere; if it did, the log says so.
    let _ = kept.await;
    ended
}
