//! How many connections fit into the descriptors that the process may have.
//!
//! Owns: asking the system for as many descriptors as the settings want, and how many connections are
//! left when it does not give them. Refuses: connections that would take the descriptors of everything
//! else; without one nobody can be accepted or even refused, and neither upstream, Redis nor database
//! can be reached.

use std::num::NonZeroU32;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, info, warn};

use crate::http::connection::ConnectionLimits;
use crate::http::settings::HttpSettings;

/// Descriptors that are not connections of clients: upstream, Redis, database, log.
const OTHERS: u64 = 256;
/// Connections of clients in all; one more is refused. A busy instance has some thousand, and each costs
/// some kilobytes.
const MOST_CONNECTIONS: u32 = 20_000;
/// Those of a worker's loop.
const EACH_WORKER: u64 = 8;

/// What the settings want, or what fits.
pub(super) fn limits(settings: &HttpSettings, log: &Logger) -> ConnectionLimits {
    let (server, limits) = (&settings.server, &settings.limits);
    let wanted = (MOST_CONNECTIONS, server.max_connections_per_address);
    let workers = u64::try_from(server.workers).unwrap_or(u64::MAX);
    let reserve = OTHERS.saturating_add(workers.saturating_mul(EACH_WORKER));
    let descriptors = raised_to(reserve.saturating_add(u64::from(wanted.0)), log);
    let fitting = descriptors.map_or(wanted, |there| fitting(wanted, there, reserve));
    if fitting != wanted {
        warn!(log, "fewer connections than wanted, there are too few descriptors (ulimit -n)";
            "descriptors" => descriptors, "max_connections" => fitting.0,
            "max_connections_per_address" => fitting.1);
    }
    ConnectionLimits {
        most: fitting.0,
        per_address: NonZeroU32::new(fitting.1).filter(|_| limits.enabled),
        trusted: limits.trusted_proxies.clone(),
        ipv6_prefix: limits.ipv6_prefix,
    }
}

/// The descriptors there may be after asking for so many; `None` for any number.
fn raised_to(wanted: u64, log: &Logger) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let had = current.filter(|had| *had < wanted)?;
    let more = maximum.map_or(wanted, |most| most.min(wanted));
    if more > had && setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum }).is_ok() {
        info!(log, "more descriptors asked for"; "had" => had, "has" => more);
        return Some(more);
    }
    Some(had)
}

/// What fits of the connections wanted, in all and from each address (0: any); one address never takes
/// more than half of what was cut.
fn fitting(wanted: (u32, u32), descriptors: u64, reserve: u64) -> (u32, u32) {
    let room = descriptors.saturating_sub(reserve).max(descriptors / 2).max(1);
    let all = u32::try_from(room).unwrap_or(u32::MAX);
    if all >= wanted.0 {
        return wanted;
    }
    // 0 stays 0: any number.
    (all, wanted.1.min((all / 2).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_everything_else() {
        let wanted = (20_000, 1_000);
        assert_eq!(fitting(wanted, 1_048_576, 288), wanted);
        assert_eq!(fitting(wanted, 20_288, 288), wanted);
        assert_eq!(fitting(wanted, 4_096, 288), (3_808, 1_000));
        assert_eq!(fitting(wanted, 1_024, 288), (736, 368));
        assert_eq!(fitting(wanted, 300, 288), (150, 75));
        assert_eq!(fitting(wanted, 1, 288), (1, 1));
        assert_eq!(fitting((20_000, 0), 1_024, 288), (736, 0));
        assert_eq!(fitting((100, 100), 1_024, 288), (100, 100));
    }
}
