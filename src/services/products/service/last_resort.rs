//! The last resort: what is said when neither cache nor upstream can answer.
//!
//! Owns: which failures it stands in for, and how its answers are marked. They never go through the
//! cache, so no tier can hold one. Refuses: failures that the request itself or a fault of ours
//! caused, and what the catalogue cannot answer; both stay the failures they were.

use std::time::Duration;

use serde::Serialize;

use super::{Body, Origin, ProductService, Scope, Served, serialised};
use crate::cache::{Forward, Tier};
use crate::failure::{Failure, FailureKind};
use crate::services::products::answer::Digested;
use crate::services::products::last_resort::{DEGRADED_LAST_RESORT, LastResort};

impl ProductService {
    /// The last resort, if one is configured.
    #[must_use]
    pub fn last_resort(&self) -> Option<&LastResort> {
        self.settings.last_resort.as_deref()
    }

    /// What the last resort says in place of `failure`.
    ///
    /// # Errors
    /// `failure`: there is no last resort, it does not stand in for it, or `answer` has none.
    pub(super) fn resort<T: Serialize>(
        &self,
        scope: &Scope,
        failure: Failure,
        answer: impl FnOnce(&LastResort) -> Option<Digested<T>>,
    ) -> Result<Served, Failure> {
        let found = self.last_resort().filter(|_| stands_in_for(&failure)).and_then(answer);
        let Some(digested) = found else { return Err(failure) };
        self.count(&digested.dropped);
        let mut degraded = vec![DEGRADED_LAST_RESORT];
        degraded.extend(&digested.degraded);
        Ok(Served {
            body: Body::Own(serialised(&digested.data)?),
            origin: self.caches(scope).then_some(Origin::MISSED),
            degraded,
            empty: digested.empty,
            last_resort: true,
        })
    }
}

impl Origin {
    /// The cache was asked and nothing had the answer.
    const MISSED: Self = Self {
        forward: Forward::Miss,
        tier: Tier::Upstream,
        stale: false,
        collapsed: false,
        waited: true,
        age: Duration::ZERO,
        ttl_seconds: 0,
    };
}

/// Whether the failure is one of those behind us, not of the request and not of this process.
fn stands_in_for(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::UpstreamUnavailable
        | FailureKind::CircuitOpen
        | FailureKind::DeadlineExceeded
        | FailureKind::Overloaded => true,
        FailureKind::UpstreamRejected => !failure.by_caller,
        FailureKind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_in_for_failures_behind_us_only() {
        let rejected = Failure::new(FailureKind::UpstreamRejected, "the secret is wrong");
        let of_caller = Failure { by_caller: true, ..rejected.clone() };
        assert!(stands_in_for(&rejected) && !stands_in_for(&of_caller));
        for (kind, expected) in [
            (FailureKind::UpstreamUnavailable, true),
            (FailureKind::CircuitOpen, true),
            (FailureKind::DeadlineExceeded, true),
            (FailureKind::Overloaded, true),
            (FailureKind::Internal, false),
        ] {
            assert_eq!(stands_in_for(&Failure::new(kind, "")), expected, "{kind:?}");
        }
    }
}
