//! Listening, until told to stop.

use super::encryption::{Encryption, log_refusals};
use super::pulse::{Pulse, look};
use super::{health, router};
use crate::dispatcher::Gateway;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;
use sd_notify::NotifyState;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a client may take to say what it asks.
const HEADERS: Duration = Duration::from_secs(10);

/// Bytes of the head of a request.
const HEAD_BYTES: usize = 64 << 10;

/// How long answers that are under way may take once it is to stop.
const LAST: Duration = Duration::from_secs(8);

/// Serves a gateway on a listener until `stop`, encrypted if there is something to do it with; then answers what was asked,
/// and ends.
///
/// # Errors
/// [`io::Error`] when the listener fails.
pub async fn listen(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    encryption: Option<Encryption>,
    stop: CancellationToken,
) -> io::Result<()> {
    health::begin();
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let (says, pulse) = Pulse::new();
    let router = router(gateway.clone(), pulse).into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEAD_BYTES);
    let (keeping, stopping) = (gateway.clone(), gateway.clone());
    let kept = tokio::spawn(async move {
        tokio::join!(
            keeping.keep(),
            look(&keeping, says),
            health::keep_summing(&keeping)
        )
    });
    tokio::spawn(async move {
        handle.listening().await;
        // Where no service manager listens, nobody is told.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        stop.cancelled().await;
        stopping.stop.cancel();
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        handle.graceful_shutdown(Some(LAST));
    });
    let served = match encryption {
        None => server.serve(router).await,
        Some(encryption) => {
            let server = server
                .accept_error_handler(log_refusals())
                .acceptor(RustlsAcceptor::new(encryption.config()));
            tokio::select! {
                served = server.serve(router) => served,
                () = encryption.follow() => Ok(()),
            }
        }
    };
    gateway.close();
    // It panics nowhere; if it did, the log says so.
    let _ = kept.await;
    served
}
