//! A client with its hash.
//!
//! Owns: [`Hashed`]: hashed once a request, and from then on told apart by that; and the hash
//! itself, keyed by chance, so that nobody can choose addresses or queries that meet in one place.
//! Refuses nothing and has no neighbours.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use crate::limits::principal::Principal;

/// What everything here is hashed by.
pub(super) type Keyed = SeedableRandomState;

/// A hash that this process alone knows.
pub(super) fn keyed() -> Keyed {
    // The standard library's keys come from the system.
    seeded(std::hash::RandomState::new().hash_one("abuse"))
}

/// The one of a seed.
pub(super) fn seeded(seed: u64) -> Keyed {
    Keyed::with_seed(seed, SharedSeed::global_random())
}

/// Who, with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) hash: u64,
    pub(super) principal: Principal,
}

impl Hashed {
    pub(super) fn of(principal: Principal, by: &Keyed) -> Self {
        Self { hash: by.hash_one(principal), principal }
    }
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_hash_differently_and_one_always_alike() {
        let who = Principal::of_address([203, 0, 113, 7].into(), 64);
        let (one, other) = (keyed(), keyed());
        assert_eq!(Hashed::of(who, &one), Hashed::of(who, &one));
        assert_ne!(Hashed::of(who, &one).hash, Hashed::of(who, &other).hash);
    }
}
