//! The contract every supervised actor keeps, whatever it does.
//!
//! Owns: one set of clauses and what they need to know of an actor ([`Subject`]). Each actor's file
//! says how it is started and what its table holds, and `contract!` makes one test of each clause.

mod cache;
mod clauses;
mod fixture;
mod limiter;
mod metrics;
mod subject;
mod upstream;

/// One test for each clause of the contract.
macro_rules! contract {
    ($subject:ty) => {
        use crate::contract::clauses;

        #[actix::test]
        async fn a_panic_in_a_handler_loses_only_that_message() {
            clauses::panic_in_a_handler::<$subject>().await;
        }

        #[actix::test]
        async fn a_stop_is_followed_by_a_start() {
            clauses::stop::<$subject>().await;
        }

        #[actix::test]
        async fn a_hang_is_noticed_and_overcome() {
            clauses::hang::<$subject>().await;
        }

        #[actix::test]
        async fn a_full_queue_refuses_at_once() {
            clauses::full_queue::<$subject>().await;
        }

        #[actix::test]
        async fn a_storm_is_backed_off_from_and_gone_around() {
            clauses::storm::<$subject>().await;
        }

        #[actix::test]
        async fn the_last_handle_ends_it() {
            clauses::last_handle_dropped::<$subject>().await;
        }
    };
}
use contract;
pub(super) use fixture::until;
