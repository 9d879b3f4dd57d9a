//! The files of TLS towards Redis.
//!
//! Owns: reading them, and what is wrong with one that cannot be used. They are read whenever a connection
//! is made, so a renewed certificate needs no restart; a file that is broken then is told like a server
//! that cannot be reached.

use std::path::{Path, PathBuf};

use deadpool_redis::redis::{ClientTlsConfig, TlsCertificates};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The files of a connection with TLS, all in PEM form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who vouches for the servers, instead of the public authorities.
    pub ca: Option<PathBuf>,
    /// What this process shows of itself, and its key; both or neither.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// A file of TLS that cannot be used, and why.
#[derive(Debug)]
pub struct BadFile {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
    pub(super) expected: String,
}

impl std::fmt::Display for BadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { setting, path, expected } = self;
        write!(f, "{setting} `{}`: expected {expected}", path.display())
    }
}

impl From<BadFile> for std::io::Error {
    fn from(bad: BadFile) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, bad.to_string())
    }
}

impl TlsFiles {
    /// What the files hold; `None` where there are none.
    pub(super) fn read(&self) -> Result<Option<TlsCertificates>, BadFile> {
        let ca = self.ca.as_deref().map(of_authorities).transpose()?;
        let own = self.certificate.as_deref().zip(self.key.as_deref());
        let own = own.map(|(certificate, key)| of_client(certificate, key)).transpose()?;
        let any = ca.is_some() || own.is_some();
        Ok(any.then_some(TlsCertificates { client_tls: own, root_cert: ca }))
    }
}

fn of_authorities(path: &Path) -> Result<Vec<u8>, BadFile> {
    let bad = |expected: String| BadFile { setting: "REDIS_CA_FILE", path: path.into(), expected };
    let text = std::fs::read(path).map_err(|error| bad(format!("a readable file ({error})")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&text).map_err(bad)? {
        let added = roots.add(certificate);
        added.map_err(|error| bad(format!("certificates of authorities ({error})")))?;
    }
    Ok(text)
}

fn of_client(certificate: &Path, key: &Path) -> Result<ClientTlsConfig, BadFile> {
    let bad = |setting, path: &Path, expected| BadFile { setting, path: path.into(), expected };
    let read = |setting, path: &Path| {
        let unreadable = |error| bad(setting, path, format!("a readable file ({error})"));
        std::fs::read(path).map_err(unreadable)
    };
    const CERTIFICATE: &str = "REDIS_CERT_FILE";
    const KEY: &str = "REDIS_KEY_FILE";
    let (client_cert, client_key) = (read(CERTIFICATE, certificate)?, read(KEY, key)?);
    let chain = certificates(&client_cert).map_err(|said| bad(CERTIFICATE, certificate, said))?;
    let of_key = |said: String| bad(KEY, key, said);
    let private = PrivateKeyDer::from_pem_slice(&client_key)
        .map_err(|_| of_key("a private key in PEM form, without a password".to_owned()))?;
    CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| {
        of_key(format!("the key of the certificate in {CERTIFICATE} ({error})"))
    })?;
    Ok(ClientTlsConfig { client_cert, client_key })
}

/// The certificates in a text in PEM form: one at least.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err("one or more certificates in PEM form".to_owned()),
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
