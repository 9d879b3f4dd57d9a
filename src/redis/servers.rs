//! The servers of one Redis, as all threads know them.
//!
//! Owns: what a connection to any of them is made from, and who was the primary when sentinels were last
//! asked. When another one was elected every thread connects anew. Connects to nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Client, ConnectionAddr, ConnectionInfo, RedisConnectionInfo};

use super::address::{self, Address, EXPECTED, Form};
use super::cluster::Map;
use super::health::Fault;
use super::tls::{BadFile, TlsFiles};
use crate::config::kinds::Refusal;
use crate::failure::StoreError;

/// Sentinels are asked so often whether there is another primary, a cluster who has which slot.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// It holds the password: it is not to be shown.
pub struct Servers {
    address: Address,
    /// `None` without TLS.
    tls: Option<TlsFiles>,
    primary: Mutex<Option<Primary>>,
    /// How often another primary was found.
    changes: AtomicU64,
    looked: Mutex<Option<Instant>>,
    /// The nodes, where they are a cluster.
    pub(super) map: Map,
}

/// A primary, as sentinels name it. Of two the one with the higher epoch was elected later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) epoch: u64,
}

impl Primary {
    fn is_at_same_place(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").finish_non_exhaustive()
    }
}

impl Servers {
    /// What `url` names; the files count where it asks for TLS. Nothing is read yet.
    pub fn new(url: &str, files: TlsFiles) -> Result<Arc<Self>, StoreError> {
        let refused = |why: Refusal| StoreError::Failed(why.unwrap_or_else(|| EXPECTED.to_owned()));
        let address = address::read(url).map_err(refused)?;
        let tls = address::uses_tls(url).then_some(files);
        let (primary, looked) = (Mutex::default(), Mutex::default());
        let (changes, map) = (AtomicU64::new(0), Map::default());
        Ok(Arc::new(Self { address, tls, primary, changes, looked, map }))
    }

    /// What is wrong with the files of TLS, if they are used.
    pub fn try_files(&self) -> Result<(), BadFile> {
        self.tls.as_ref().map_or(Ok(()), |files| files.read().map(drop))
    }

    pub(super) const fn form(&self) -> &Form {
        &self.address.form
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.address.form, Form::Cluster)
    }

    /// Where the servers of the address are.
    pub(super) fn places(&self) -> impl Iterator<Item = &ConnectionAddr> {
        self.address.servers.iter().map(ConnectionInfo::addr)
    }

    pub(super) const fn login(&self) -> &RedisConnectionInfo {
        &self.address.login
    }

    /// What a connection to the only server of the address is made from.
    pub(super) fn first(&self) -> Result<ConnectionInfo, Fault> {
        let first = self.address.servers.first().cloned();
        self.with_tls(first.ok_or_else(|| Fault::Failed("no server is named".to_owned()))?)
    }

    /// What connections to the servers of the address are made from.
    pub(super) fn named(&self) -> Result<Vec<ConnectionInfo>, Fault> {
        self.address.servers.iter().map(|server| self.with_tls(server.clone())).collect()
    }

    /// What a connection to a server that was found is made from.
    pub(super) fn at(&self, host: &str, port: u16) -> Result<ConnectionInfo, Fault> {
        use deadpool_redis::redis::IntoConnectionInfo;
        let host = host.to_owned();
        let address = match &self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let server = address.into_connection_info()?.set_redis_settings(self.login().clone());
        self.with_tls(server)
    }

    fn with_tls(&self, server: ConnectionInfo) -> Result<ConnectionInfo, Fault> {
        let Some(files) = &self.tls else { return Ok(server) };
        let Some(certificates) = files.read().map_err(|bad| Fault::Failed(bad.to_string()))? else {
            return Ok(server);
        };
        Ok(Client::build_with_tls(server, certificates)?.get_connection_info().clone())
    }

    /// What connections have to be as new as.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(super) fn primary(&self) -> Option<Primary> {
        lock(&self.primary).clone()
    }

    /// Takes over what sentinels name as the primary, unless one is known that was elected later.
    pub(super) fn elected(&self, primary: Primary) {
        if self.primary().is_none_or(|known| known.epoch <= primary.epoch) {
            self.found(primary);
        }
    }

    /// Takes over a primary that says itself that it is one.
    pub(super) fn found(&self, primary: Primary) {
        let mut known = lock(&self.primary);
        if known.as_ref().is_some_and(|known| !known.is_at_same_place(&primary)) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        *known = Some(primary);
    }

    /// Whether it is time to look for another primary; this call begins the look.
    pub(super) fn begins_look(&self, now: Instant) -> bool {
        let mut looked = lock(&self.looked);
        let is_due = looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY);
        if is_due {
            *looked = Some(now);
        }
        is_due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(port: u16, epoch: u64) -> Primary {
        Primary { host: "10.0.0.1".to_owned(), port, epoch }
    }

    #[test]
    fn who_was_elected_last_is_the_primary_whoever_is_heard_last() {
        let servers = Servers::new("redis+sentinel://a,b/shop", TlsFiles::default()).unwrap();
        let after = |heard: Primary, known: Primary, changes| {
            servers.elected(heard);
            assert_eq!((servers.primary(), servers.changes()), (Some(known), changes));
        };
        after(primary(1, 0), primary(1, 0), 0);
        after(primary(2, 1), primary(2, 1), 1);
        // A sentinel that was cut off.
        after(primary(1, 0), primary(2, 1), 1);
        after(primary(2, 1), primary(2, 1), 1);
        after(primary(2, 4), primary(2, 4), 1);
        after(primary(1, 5), primary(1, 5), 2);
    }

    #[test]
    fn sentinels_are_not_asked_at_every_turn() {
        let servers = Servers::new("redis+sentinel://a/shop", TlsFiles::default()).unwrap();
        let now = crate::clock::monotonic();
        assert!(servers.begins_look(now));
        assert!(!servers.begins_look(now + LOOK_EVERY / 2));
        assert!(servers.begins_look(now + LOOK_EVERY));
    }
}
