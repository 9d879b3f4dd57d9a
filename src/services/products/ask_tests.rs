//! Shares of clients, and what the last resort stands in for.

use super::*;

#[test]
fn a_rollout_is_a_share_of_clients_and_stable() {
    let on = |percent| (0..1_000).filter(|client| is_on(Rollout(percent), *client)).count();
    assert_eq!((on(0), on(25), on(100)), (0, 250, 1_000));
    assert!(is_on(Rollout(30), 729) && !is_on(Rollout(29), 729));
}

#[test]
fn the_last_resort_stands_in_for_failures_behind_us_only() {
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
