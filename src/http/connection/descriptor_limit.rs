//! How many descriptors the system gives the process.
//!
//! Owns: asking for more, and what too few are: so few that nobody could be served are refused at the start, and
//! `check-config` says the same before. A leaf.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, info};

/// What serves at least: database, log, upstream, and the threads take about 40 and each worker 4, and a
/// quarter or so is kept from clients elsewhere.
const LEAST: u32 = 64;
const LEAST_OF_WORKER: u32 = 5;

/// Asks for `wanted` descriptors before anything needs them.
///
/// # Errors
/// There are too few to serve anybody.
pub fn ask_for_descriptors(wanted: u32, workers: usize, log: &Logger) -> Result<(), String> {
    match shortage(raised_to(wanted, log), workers) {
        None => Ok(()),
        Some(Shortage { descriptors, least }) => Err(format!(
            "{descriptors} file descriptors are too few: {least} are needed with HTTP_WORKERS={workers}; \
             raise `ulimit -n` (LimitNOFILE) or have fewer workers"
        )),
    }
}

/// Too few descriptors to serve anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// As many as there can be.
    pub descriptors: u32,
    /// As many as are needed.
    pub least: u32,
}

/// What is missing of the descriptors that so many workers need; nothing is asked for.
pub fn shortage_for(workers: usize) -> Option<Shortage> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = current.zip(maximum).map(|(current, maximum)| current.max(maximum))?;
    shortage(most.try_into().unwrap_or(u32::MAX), workers)
}

fn shortage(descriptors: u32, workers: usize) -> Option<Shortage> {
    let of_workers = u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(LEAST_OF_WORKER);
    let least = LEAST.saturating_add(of_workers);
    (descriptors < least).then_some(Shortage { descriptors, least })
}

/// The descriptors there may be after asking for so many.
pub(super) fn raised_to(wanted: u32, log: &Logger) -> u32 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(had) = current.filter(|had| *had < u64::from(wanted)) else {
        return current.map_or(u32::MAX, |has| has.try_into().unwrap_or(u32::MAX));
    };
    let more = maximum.map_or(wanted.into(), |most| most.min(wanted.into()));
    let is_raised =
        more > had && setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum }).is_ok();
    if is_raised {
        info!(log, "more descriptors asked for"; "had" => had, "has" => more);
    }
    u32::try_from(if is_raised { more } else { had }).unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_number_that_is_needed() {
        for (descriptors, workers, least) in
            [(74, 2, None), (73, 2, Some(74)), (1_024, 193, Some(1_029)), (1_024, 192, None)]
        {
            let told = shortage(descriptors, workers);
            assert_eq!(told, least.map(|least| Shortage { descriptors, least }));
        }
        assert_eq!(shortage_for(1), None, "these tests have enough");
    }
}
