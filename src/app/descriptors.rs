//! How many connections fit into the descriptors that the process may have.
//!
//! Owns: asking the system for as many descriptors as the settings want, and how many connections are
//! left when it does not give them. Refuses: connections that would take the descriptors of everything
//! else; without one nobody can be accepted or even refused, and neither upstream, Redis nor database
//! can be reached.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, info, warn};

use crate::http::settings::Server;

/// Descriptors that are not connections of clients: upstream, Redis, database, log.
const OTHERS: u64 = 256;
/// Those of a worker's loop.
const EACH_WORKER: u64 = 8;

/// How many connections there may be, in all and from each address (0: any).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) all: u32,
    pub(super) per_address: u32,
}

/// What the settings want, or what fits.
pub(super) fn places(server: &Server, log: &Logger) -> Places {
    let wanted =
        Places { all: server.max_connections, per_address: server.max_connections_per_address };
    let workers = u64::try_from(server.workers).unwrap_or(u64::MAX);
    let reserve = OTHERS.saturating_add(workers.saturating_mul(EACH_WORKER));
    let Some(descriptors) = raised_to(reserve.saturating_add(u64::from(wanted.all)), log) else {
        return wanted;
    };
    let fitting = fitting(wanted, descriptors, reserve);
    if fitting != wanted {
        warn!(log, "fewer connections than set, there are too few descriptors (ulimit -n)";
            "descriptors" => descriptors, "max_connections" => fitting.all,
            "max_connections_per_address" => fitting.per_address);
    }
    fitting
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

/// What of the places wanted fits; one address never takes more than half of what was cut.
fn fitting(wanted: Places, descriptors: u64, reserve: u64) -> Places {
    let room = descriptors.saturating_sub(reserve).max(descriptors / 2).max(1);
    let all = u32::try_from(room).unwrap_or(u32::MAX);
    if all >= wanted.all {
        return wanted;
    }
    let half = (all / 2).max(1);
    let per_address = if wanted.per_address == 0 { 0 } else { wanted.per_address.min(half) };
    Places { all, per_address }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Places = Places { all: 20_000, per_address: 1_000 };

    fn places(all: u32, per_address: u32) -> Places {
        Places { all, per_address }
    }

    #[test]
    fn connections_leave_descriptors_to_everything_else() {
        assert_eq!(fitting(WANTED, 1_048_576, 288), WANTED);
        assert_eq!(fitting(WANTED, 20_288, 288), WANTED);
        assert_eq!(fitting(WANTED, 4_096, 288), places(3_808, 1_000));
        assert_eq!(fitting(WANTED, 1_024, 288), places(736, 368));
        assert_eq!(fitting(WANTED, 300, 288), places(150, 75));
        assert_eq!(fitting(WANTED, 1, 288), places(1, 1));
        assert_eq!(fitting(places(20_000, 0), 1_024, 288), places(736, 0));
        assert_eq!(fitting(places(100, 100), 1_024, 288), places(100, 100));
    }
}
