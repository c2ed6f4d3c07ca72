//! TLS on our own port: the certificate and its key, and how they are renewed while connections go on.
//!
//! Only TLS 1.2 and 1.3 are spoken, and only HTTP/1.1 is offered, because Twilio's WebSockets need it. Certificates
//! live for weeks; whoever renews them writes the two files anew, and within [`crate::limits::CERTIFICATE_LOOK`] new
//! handshakes get the new one. Connections that exist keep what they began with. A renewal that cannot be used leaves
//! the old certificate in force and says so in the log.

use crate::limits;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Where the certificate and its key are, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate of this server first, then those that lead to a root.
    pub certificate: PathBuf,
    /// The private key of the first certificate: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// Between two looks whether they changed; [`crate::limits::CERTIFICATE_LOOK`] is meant for this.
    pub look_every: Duration,
}

/// Why a certificate cannot be used. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{what}: cannot read {}: {source}; give this user the right to read it", path.display())]
    Unreadable {
        /// The setting that names the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{what}: expected {expected} in {}", path.display())]
    Unusable {
        /// The setting that names the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// The key belongs to another certificate.
    #[error(
        "TLS_KEY_FILE: expected the key of the first certificate in {}, but {} holds another one",
        certificate.display(), key.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The library refuses these settings.
    #[error("cannot set up TLS: {0}")]
    Library(rustls::Error),
}

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";

/// What the two files held when they were last read.
struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl TlsSettings {
    /// Reads both files and sees whether a server could use them.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and what was expected in it.
    pub fn check(&self) -> Result<(), TlsError> {
        self.certified(&self.read()?).map(|_| ())
    }

    fn read(&self) -> Result<Files, TlsError> {
        Ok(Files { certificate: read(CERTIFICATE, &self.certificate)?, key: Zeroizing::new(read(KEY, &self.key)?) })
    }

    fn certified(&self, files: &Files) -> Result<CertifiedKey, TlsError> {
        let bad_certificate = || TlsError::Unusable {
            what: CERTIFICATE,
            path: self.certificate.clone(),
            expected: "one or more certificates in PEM (-----BEGIN CERTIFICATE-----), this server's first",
        };
        let bad_key = || TlsError::Unusable {
            what: KEY,
            path: self.key.clone(),
            expected: "one private key in PEM that is not encrypted (-----BEGIN PRIVATE KEY-----)",
        };
        let chain = CertificateDer::pem_slice_iter(&files.certificate);
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|_| bad_certificate())?;
        if chain.is_empty() {
            return Err(bad_certificate());
        }
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| bad_key())?;
        let provider = aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            rustls::Error::InvalidCertificate(_) => bad_certificate(),
            _ => bad_key(),
        })?;
        // A key whose public half is not known could not be compared; a certificate must be one at the least.
        certified
            .end_entity_cert()
            .and_then(|first| rustls::server::ParsedCertificate::try_from(first).map(|_| ()))
            .map_err(|_| bad_certificate())?;
        Ok(certified)
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { what, path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limits::CERTIFICATE_MAX).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}

/// The certificate in force. The only thing that changes while the server runs.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// TLS, ready for handshakes.
pub(crate) struct Tls {
    settings: TlsSettings,
    current: Arc<Current>,
    files: Files,
    config: Arc<ServerConfig>,
    look_every: Duration,
}

impl Tls {
    pub(crate) fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        let files = settings.read()?;
        let current = Arc::new(Current(RwLock::new(Arc::new(settings.certified(&files)?))));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Library)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            settings: settings.clone(),
            current,
            files,
            config: Arc::new(config),
            look_every: settings.look_every,
        })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Takes what is in the files now. True when that is another certificate than before.
    fn renew(&mut self) -> Result<bool, TlsError> {
        let files = self.settings.read()?;
        if files.certificate == self.files.certificate && files.key == self.files.key {
            return Ok(false);
        }
        let certified = Arc::new(self.settings.certified(&files)?);
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        self.files = files;
        Ok(true)
    }

    /// Looks after the files until `stop`.
    pub(crate) async fn watch(mut self, stop: CancellationToken) {
        let mut failures = 0_u32;
        while stop.run_until_cancelled(tokio::time::sleep(self.look_every)).await.is_some() {
            let looked = tokio::task::spawn_blocking(move || {
                let renewed = self.renew();
                (self, renewed)
            });
            let Ok((tls, renewed)) = looked.await else { return };
            self = tls;
            match renewed {
                Ok(changed) => {
                    failures = 0;
                    if changed {
                        tracing::info!("the renewed TLS certificate is in force");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // Between the two writes of a renewal the files do not belong together: once is no reason to worry.
                    if failures == 2 {
                        tracing::error!(%error, "the renewed TLS certificate cannot be used; the old one stays");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A directory with a certificate and its key.
    fn files() -> (tempfile::TempDir, TlsSettings) {
        let dir = tempfile::tempdir().unwrap();
        let settings = TlsSettings {
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            look_every: limits::CERTIFICATE_LOOK,
        };
        write(&settings);
        (dir, settings)
    }

    fn write(settings: &TlsSettings) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&settings.certificate, made.cert.pem()).unwrap();
        std::fs::write(&settings.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        let (dir, good) = files();
        good.check().unwrap();
        let said = |settings: &TlsSettings| settings.check().unwrap_err().to_string();
        let lost = TlsSettings { key: dir.path().join("lost.pem"), ..good.clone() };
        assert!(said(&lost).starts_with("TLS_KEY_FILE: cannot read") && said(&lost).contains("lost.pem"));
        let swapped = TlsSettings { certificate: good.key.clone(), key: good.certificate.clone(), ..good.clone() };
        assert!(said(&swapped).starts_with("TLS_CERT_FILE: expected one or more certificates"), "{}", said(&swapped));
        let no_key = TlsSettings { key: good.certificate.clone(), ..good.clone() };
        assert!(said(&no_key).starts_with("TLS_KEY_FILE: expected one private key"), "{}", said(&no_key));
        let (_other_dir, other) = files();
        let mixed = TlsSettings { key: other.key.clone(), ..good.clone() };
        assert!(said(&mixed).contains("holds another one"), "{}", said(&mixed));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&good.certificate, garbage).unwrap();
        assert!(said(&good).starts_with("TLS_CERT_FILE: expected"), "{}", said(&good));
    }

    #[test]
    fn a_renewal_that_cannot_be_used_changes_nothing() {
        let (_dir, settings) = files();
        let mut tls = Tls::load(&settings).unwrap();
        let in_force = |tls: &Tls| tls.current.0.read().unwrap().cert.clone();
        let first = in_force(&tls);
        assert!(!tls.renew().unwrap());
        std::fs::write(&settings.key, "half").unwrap();
        assert!(tls.renew().is_err());
        assert_eq!(in_force(&tls), first);
        write(&settings);
        assert!(tls.renew().unwrap());
        assert_ne!(in_force(&tls), first);
    }
}
