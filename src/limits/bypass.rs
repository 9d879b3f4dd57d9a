//! Admission while no actor answers: fail open, within the same bounds.
//!
//! Owns: the way around a [`super::RateLimiterActor`] that is down, hangs or backs off. The state
//! is in the table and outlives its actors, so whoever gives up on the actor decides here, on its
//! own thread, with the same accounts: the service goes on and no limit is lifted or reset. What
//! is lost is only what the actor adds to a plain decision, its own status. The handle that sends
//! the messages chooses this path, and counts how often it does.

use std::time::Instant;

use super::actor::Admit;
use super::admission::Admission;
use super::table::Table;

/// Decides as the actor would, by the instance's share where limits are shared.
#[must_use]
pub fn bypass(table: &Table, request: Admit, now: Instant) -> Admission {
    table.alone(request, now)
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::default_limits;
    use super::super::policy::{Class, Policies};
    use super::super::principal::{KeyId, Principal};
    use super::super::table::TableSettings;
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_table() {
        let now = crate::clock::monotonic();
        let policies = Policies::new(&default_limits());
        let table = Table::new(TableSettings::default(), policies, now);
        let request = Admit::one(Class::Search, Principal::Key(KeyId::INTERNAL));
        for _ in 0..1_000 {
            assert!(bypass(&table, request, now).is_admitted());
        }
        assert!(!bypass(&table, request, now).is_admitted());
        assert_eq!(table.status().classes.search.refused_minute, 1);
    }
}
