//! How many connections there may be.
//!
//! Owns: the bounds of the settings, as far as the system gives descriptors for them
//! ([`super::descriptor_limit`]). When it does not, fewer connections fit, and the log says so.

use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

use ipnet::IpNet;
use rustix::io::Errno;
use slog::{Logger, warn};

use super::descriptor_limit::raised_to;
use crate::http::settings::HttpSettings;

/// Connections of clients in all; one more is refused. A busy instance has some thousand, and each costs
/// some kilobytes.
const MOST_CONNECTIONS: u32 = 20_000;
/// Connections that one worker may hold beyond the limit: a refused one is the worker's for a moment,
/// and the server must not stop accepting because of it.
const REFUSED_AT_ONCE: u32 = 1_024;
/// Descriptors that clients leave to what is opened later: upstream, Redis, database, log; of few, an
/// eighth.
const MOST_SPARE: u32 = 256;
/// Descriptors that the process asks for.
pub const WANTED: u32 = MOST_CONNECTIONS + 2 * MOST_SPARE;

#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    pub most: u32,
    /// Descriptors of the process, of all kinds.
    pub descriptors: u32,
    /// From one address, or IPv6 prefix; `None` for any number.
    pub per_address: Option<NonZeroU32>,
    pub trusted: Vec<IpNet>,
    /// Bits of an IPv6 address that make a client.
    pub ipv6_prefix: u8,
}

impl ConnectionLimits {
    /// What the settings want, as far as there are descriptors; one address never takes more than half
    /// of those.
    pub fn from_settings(settings: &HttpSettings, log: &Logger) -> Self {
        let (limits, descriptors) = (&settings.limits, raised_to(WANTED, log));
        if descriptors < WANTED {
            warn!(log, "too few descriptors for all connections; raise `ulimit -n` (LimitNOFILE)";
                "descriptors" => descriptors, "wanted" => WANTED);
        }
        let of_address = settings.server.max_connections_per_address.min((descriptors / 2).max(1));
        Self {
            most: MOST_CONNECTIONS,
            descriptors,
            per_address: NonZeroU32::new(of_address),
            trusted: limits.trusted_proxies.clone(),
            ipv6_prefix: limits.ipv6_prefix,
        }
    }

    pub fn spare(&self) -> u32 {
        (self.descriptors / 8).min(MOST_SPARE)
    }

    pub fn first_spare(&self) -> u32 {
        self.descriptors - self.spare()
    }

    /// Connections that each of the workers may hold, refused ones included, before the server stops
    /// accepting. `in_use` are the descriptors at the start.
    pub fn most_of_worker(&self, workers: usize, in_use: u32) -> usize {
        let Self { most, descriptors, .. } = *self;
        let fitting = descriptors.saturating_sub(in_use).saturating_sub(self.spare() / 2);
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX) / workers.max(1);
        let most = usize::try_from(most.saturating_add(REFUSED_AT_ONCE)).unwrap_or(usize::MAX);
        most.min(fitting).max(1)
    }
}

/// The lowest number of a descriptor that is free: that of the next one. When all are in use it is the
/// first number beyond them; when that cannot be known, 0.
pub fn lowest_free(descriptors: u32) -> u32 {
    match UnixDatagram::unbound() {
        Ok(socket) => socket.as_raw_fd().unsigned_abs(),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => descriptors,
            Some(_) | None => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_descriptor_has_the_lowest_free_number() {
        let free = lowest_free(1_024);
        assert!((3..1_024).contains(&free), "{free}");
    }

    #[test]
    fn workers_accept_no_more_than_there_are_descriptors() {
        let limits = |descriptors| ConnectionLimits {
            most: 20_000,
            descriptors,
            per_address: None,
            trusted: Vec::new(),
            ipv6_prefix: 64,
        };
        assert_eq!(limits(1_024).most_of_worker(2, 30), (1_024 - 30 - 64) / 2);
        assert_eq!(limits(1_024).most_of_worker(512, 1_024), 1);
        assert_eq!(limits(u32::MAX).most_of_worker(2, 30), 21_024);
    }
}
