//! Encrypted connections (TLS, RFC 8446), and the certificates that programs prove themselves with.
//!
//! - In: the files of a certificate, of its key, and of the authorities that sign for programs. Out: how connections are
//!   accepted.
//! - Certificates are renewed while the gateway runs: files that changed are read anew within a minute. While they cannot
//!   be, what was read before serves on.
//! - Not here: reading and checking certificates is rustls's; what a caller without one may not do is `guard`'s.

use crate::config::Tls;
use axum_server::tls::TlsInfo;
use axum_server::tls_rustls::RustlsConfig;
use governor::{Quota, RateLimiter};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);

/// Refusals that are logged in a minute, at most: whoever can connect can be refused.
const LOGGED: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not have what it is read for.
    #[error("`{}` has no {what} in PEM", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// What the files have does not go together.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// What rustls says.
        reason: String,
    },
}

/// What connections are encrypted with.
#[derive(Debug)]
pub struct Encryption {
    files: Tls,
    digest: blake3::Hash,
    config: RustlsConfig,
}

impl Encryption {
    /// Reads the files.
    ///
    /// # Errors
    /// [`EncryptionError`] when they are not what they should be.
    pub fn open(files: &Tls) -> Result<Self, EncryptionError> {
        let (digest, config) = read(files)?;
        Ok(Self {
            files: files.clone(),
            digest,
            config: RustlsConfig::from_config(Arc::new(config)),
        })
    }

    /// How connections are accepted; it follows [`Self::follow`].
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Takes what the files have when they change, for as long as it is polled.
    pub(super) async fn follow(mut self) {
        let mut looks = interval(BETWEEN_LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let files = self.files.clone();
        let Ok(read) = spawn_blocking(move || read(&files)).await else {
            return;
        };
        match read {
            Ok((digest, _)) if digest == self.digest => {}
            Ok((digest, config)) => {
                tracing::info!("the certificate was read anew");
                self.digest = digest;
                self.config.reload_from_config(Arc::new(config));
            }
            Err(error) => tracing::warn!(%error, "the certificate of before serves on"),
        }
    }
}

/// Whether whoever sent a request has proven to have a certificate that an authority of ours signed.
pub(super) fn is_certified(request: &axum::http::Extensions) -> bool {
    let told = request.get::<Arc<TlsInfo>>();
    told.is_some_and(|told| !told.peer_certificates.is_empty())
}

/// Logs connections that end because the certificate that was shown is expired, or of an authority that is not ours.
pub(super) fn log_refusals() -> impl Fn(Option<&SocketAddr>, &io::Error) + Send + Sync + 'static {
    let limiter = RateLimiter::direct(Quota::per_minute(LOGGED));
    move |peer, error| {
        let reason = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(reason @ rustls::Error::InvalidCertificate(_)) = reason
            && limiter.check().is_ok()
        {
            let peer = peer.map(ToString::to_string);
            tracing::warn!(peer, %reason, "a certificate of a program was refused");
        }
    }
}

/// The digest of the files, and what they say.
fn read(files: &Tls) -> Result<(blake3::Hash, ServerConfig), EncryptionError> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes_of = |path: &Path| match std::fs::read(path) {
        Ok(bytes) => {
            hasher.update(&bytes);
            Ok(bytes)
        }
        Err(source) => Err(EncryptionError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    };
    let chain = certificates(&files.certificate, &bytes_of(&files.certificate)?)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes_of(&files.key)?).map_err(|_| EncryptionError::Empty {
        path: files.key.clone(),
        what: "private key",
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&files.certificate, &error))?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut authorities = RootCertStore::empty();
            for authority in certificates(path, &bytes_of(path)?)? {
                authorities
                    .add(authority)
                    .map_err(|error| refused(path, &error))?;
            }
            // People come with a token alone.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| refused(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| refused(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((hasher.finalize(), config))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, EncryptionError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(EncryptionError::Empty {
            path: path.to_owned(),
            what: "certificate",
        }),
    }
}

fn refused(path: &Path, error: &dyn std::error::Error) -> EncryptionError {
    EncryptionError::Refused {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::generate_simple_self_signed;
    use std::fs;

    fn files(folder: &Path) -> Tls {
        Tls {
            certificate: folder.join("server.pem"),
            key: folder.join("key.pem"),
            clients: None,
        }
    }

    fn write(files: &Tls) {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn what_is_wrong_with_the_files_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let said = |files: &Tls| Encryption::open(files).unwrap_err().to_string();
        assert!(said(&files).contains("server.pem") && said(&files).contains("cannot read"));
        write(&files);
        Encryption::open(&files).unwrap();
        let other = Tls {
            clients: Some(folder.path().join("nobody.pem")),
            ..files.clone()
        };
        assert!(said(&other).contains("nobody.pem"));
        fs::write(folder.path().join("nobody.pem"), "no certificate").unwrap();
        assert!(said(&other).contains("has no certificate in PEM"));
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        assert!(said(&files).contains("cannot be used"), "{}", said(&files));
        fs::write(&files.key, "-").unwrap();
        assert!(said(&files).contains("has no private key"));
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        write(&files);
        let mut encryption = Encryption::open(&files).unwrap();
        let config = encryption.config();
        let first = config.get_inner();
        fs::write(&files.certificate, "broken").unwrap();
        encryption.look().await;
        assert!(Arc::ptr_eq(&first, &config.get_inner()));
        write(&files);
        encryption.look().await;
        let second = config.get_inner();
        assert!(!Arc::ptr_eq(&first, &second));
        encryption.look().await;
        assert!(Arc::ptr_eq(&second, &config.get_inner()));
    }
}
