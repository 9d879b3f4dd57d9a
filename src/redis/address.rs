//! What `REDIS_URL` and the files of TLS beside it name.
//!
//! Owns: the forms of the address, and what a connection to one of its servers is made from. The files
//! are read whenever a connection is made, so a renewed certificate needs no restart; one that cannot be
//! read is told like a server that cannot be reached. Connects to nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadpool_redis::redis::{
    Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use url::Url;

use super::health::Fault;
use crate::config::kinds::Refusal;
use crate::config::redact;
use crate::failure::StoreError;

pub(super) const EXPECTED: &str =
    "redis[s]://[[user]:password@]host[:port][/database] or unix:///path";

/// Where Redis is, and how to get in. It holds the password: it is not to be shown.
pub struct Address {
    server: ConnectionInfo,
    /// `None` without TLS.
    tls: Option<TlsFiles>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

impl Address {
    /// The address in `url`; the files count where it asks for TLS. Nothing is read yet.
    pub fn new(url: &str, files: TlsFiles) -> Result<Arc<Self>, StoreError> {
        let refused = |why: Refusal| StoreError::Failed(why.unwrap_or_else(|| EXPECTED.to_owned()));
        let server = read(url).map_err(refused)?;
        let tls = uses_tls(url).then_some(files);
        Ok(Arc::new(Self { server, tls }))
    }

    /// What is wrong with the files of TLS, if they are used.
    pub fn try_files(&self) -> Result<(), BadFile> {
        self.tls.as_ref().map_or(Ok(()), |files| files.read().map(drop))
    }

    /// What a connection is made from.
    pub(super) fn server(&self) -> Result<ConnectionInfo, Fault> {
        self.with_tls(self.server.clone())
    }

    fn with_tls(&self, server: ConnectionInfo) -> Result<ConnectionInfo, Fault> {
        let Some(files) = &self.tls else { return Ok(server) };
        let Some(certificates) = files.read().map_err(|bad| Fault::Failed(bad.to_string()))? else {
            return Ok(server);
        };
        Ok(Client::build_with_tls(server, certificates)?.get_connection_info().clone())
    }
}

/// Whether connections to this address are encrypted.
pub(super) fn uses_tls(url: &str) -> bool {
    url.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("rediss"))
}

/// What the address names; an error without words where it is none at all.
pub(super) fn read(text: &str) -> Result<ConnectionInfo, Refusal> {
    let url = Url::parse(text).map_err(|_| None)?;
    let refused = |reason: &str| Err(Some(reason.to_owned()));
    match url.scheme() {
        "unix" | "redis+unix" if !url.path().is_empty() => {}
        "redis" | "rediss" if url.has_host() => {
            if !url.path().trim_start_matches('/').bytes().all(|byte| byte.is_ascii_digit()) {
                return refused("the database is a number");
            }
            if url.fragment().is_some() {
                return refused("without #; certificates are always checked");
            }
        }
        _ => return Err(None),
    }
    url.into_connection_info().map_err(|error| Some(error.to_string()))
}

/// The address as people may see it.
pub(super) fn show(text: &str) -> Option<String> {
    // As it is read: what would end a password in a text is encoded there.
    let url = Url::parse(text).ok()?;
    Some(redact(url.as_str()).into_owned())
}

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
#[path = "address_tests.rs"]
mod tests;
