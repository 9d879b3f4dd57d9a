//! The table of all accounts, shared by every worker and older than any actor.
//!
//! Owns: who used how much of which limit. Decides and counts under the
//! lock of one shard, so the limits are exact however many workers ask. Bounded: in a full table a
//! client never seen takes the place of one that was not active lately, who then begins anew. Where
//! limits are shared it finds the account of a question that goes out and of its answer; without an
//! answer the account decides by this instance's share.

use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use super::account::Account;
use super::admission::{Admission, Admit, Class, LimitResult};
use super::client::Principal;
use super::policy::Policies;
use super::quota::Rules;
use super::settings::Limits;
use super::shared::{SharedAdmit, Sharing, SharingStatus};
use crate::resilience::sharded_map::ShardedMap;
use crate::resilience::tick::Tick;

/// What the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TableStatus {
    /// Accounts kept now: one for each client and class.
    pub entries: usize,
    /// Accounts kept at most.
    pub capacity: usize,
    /// Accounts that made room for those of others.
    pub evicted: u64,
}

#[derive(Debug)]
pub struct Table {
    policies: Policies,
    origin: Instant,
    accounts: ShardedMap<(Class, Principal), Account>,
    sharing: Option<Sharing>,
}

impl Table {
    /// An empty table for so many accounts; `origin` is the instant that its time counts from.
    #[must_use]
    pub fn new(capacity: usize, policies: Policies, origin: Instant) -> Self {
        let accounts = ShardedMap::new(capacity);
        Self { policies, origin, accounts, sharing: None }
    }

    /// The same table on one of several instances that keep the limits together.
    #[must_use]
    pub fn shared(self, sharing: Sharing) -> Self {
        Self { sharing: Some(sharing), ..self }
    }

    /// How the limits are shared; `None` when they are this instance's own.
    #[must_use]
    pub fn sharing(&self) -> Option<SharingStatus> {
        self.kept_together().map(Sharing::status)
    }

    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.kept_together().is_some()
    }

    fn kept_together(&self) -> Option<&Sharing> {
        self.sharing.as_ref().filter(|_| self.is_enabled())
    }

    /// Whether clients are limited at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.policies.is_enabled()
    }

    /// These limits are in force from now on. What clients have used stays counted.
    pub fn take_over(&self, limits: &Limits) {
        self.policies.take_over(limits);
    }

    /// Decides at once and counts the request if it is admitted; where limits are shared, by this
    /// instance's share.
    #[must_use]
    pub fn decide(&self, request: Admit, now: Instant) -> Admission {
        let rules = self.rules_of(request);
        let Some(sharing) = &self.sharing else {
            return self.decided(request, rules, now, |account, now| account.decide(rules, now));
        };
        let share = sharing.share(rules);
        sharing.count_alone();
        let decide = |account: &mut Account, now| account.decide_alone(share, now);
        Admission { alone: true, ..self.decided(request, rules, now, decide) }
    }

    /// Decides if that can be done without asking Redis.
    ///
    /// # Errors
    /// The question that Redis has to be asked; then [`Self::settle`].
    pub fn consult(&self, request: Admit, now: Instant) -> Result<Admission, SharedAdmit> {
        let rules = self.rules_of(request);
        let Some(sharing) = self.sharing.as_ref().filter(|_| !rules.is_empty()) else {
            return Ok(self.decide(request, now));
        };
        let share = sharing.share(rules);
        let consult = |account: &mut Account, now| account.refusal(rules, share, now);
        let refusal = self.with_account(request, now, consult);
        refusal.map(|refusal| Admission::of(request.class, refusal)).ok_or_else(|| {
            sharing.count_question();
            SharedAdmit { request, rules }
        })
    }

    /// Takes in the verdict of Redis, or decides without one.
    #[must_use]
    pub fn settle(
        &self,
        question: SharedAdmit,
        shared: Option<LimitResult>,
        now: Instant,
    ) -> Admission {
        let SharedAdmit { request, rules } = question;
        let Some((sharing, shared)) = self.sharing.as_ref().zip(shared) else {
            return Admission { asked: true, ..self.decide(request, now) };
        };
        let share = sharing.share(rules);
        let settle = |account: &mut Account, now| account.settle(rules, share, shared, now);
        Admission { asked: true, ..self.decided(request, rules, now, settle) }
    }

    /// What the table holds; takes every shard's lock for a moment, one by one.
    #[must_use]
    pub fn status(&self) -> TableStatus {
        TableStatus {
            entries: self.accounts.len(),
            capacity: self.accounts.capacity(),
            evicted: self.accounts.evicted(),
        }
    }

    fn rules_of(&self, request: Admit) -> Rules {
        self.policies.rules(request.class, &request.principal, request.own)
    }

    fn with_account<T>(
        &self,
        request: Admit,
        now: Instant,
        work: impl FnOnce(&mut Account, Tick) -> T,
    ) -> T {
        let now = Tick::between(self.origin, now);
        self.accounts.update(&(request.class, request.principal), |account| work(account, now))
    }

    /// The answer to a request; without rules there is no account.
    fn decided(
        &self,
        request: Admit,
        rules: Rules,
        now: Instant,
        work: impl FnOnce(&mut Account, Tick) -> LimitResult,
    ) -> Admission {
        if rules.is_empty() {
            return Admission::of(request.class, LimitResult::UNLIMITED);
        }
        Admission::of(request.class, self.with_account(request, now, work))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::client::KeyId;
    use super::super::policy::tests::default_limits;
    use super::*;

    fn table(capacity: usize) -> (Table, Instant) {
        let now = crate::clock::monotonic();
        (Table::new(capacity, Policies::new(&default_limits()), now), now)
    }

    fn address(number: u32) -> Principal {
        Principal::of_address(Ipv4Addr::from_bits(number).into(), 64)
    }

    const KEY: Principal = Principal::Key(KeyId::INTERNAL);

    fn admits(table: &Table, class: Class, principal: Principal, now: Instant) -> bool {
        table.decide(Admit::new(class, principal), now).verdict.is_admitted()
    }

    #[test]
    fn fifty_clients_on_many_threads_get_exactly_the_limit() {
        let (table, now) = table(1_000);
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if admits(&table, Class::Search, address(1), now) {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
        assert_eq!(table.status().entries, 1);
    }

    #[test]
    fn classes_and_principals_do_not_share_limits() {
        let (table, now) = table(1_000);
        let admitted = |class, who| (0..2_000).filter(|_| admits(&table, class, who, now)).count();
        assert_eq!(admitted(Class::General, address(1)), 10);
        assert_eq!(admitted(Class::Search, address(1)), 100);
        assert_eq!(admitted(Class::General, address(2)), 10);
        assert_eq!(admitted(Class::General, KEY), 1_000);
        assert_eq!(admitted(Class::Search, KEY), 1_000);
    }

    #[test]
    fn an_exempt_request_leaves_no_trace() {
        let (table, now) = table(1_000);
        let before = table.status();
        assert!((0..1_000).all(|_| admits(&table, Class::Exempt, address(1), now)));
        assert_eq!(table.status(), before);
    }

    #[test]
    fn a_million_addresses_take_no_more_room_than_the_bound() {
        let (table, now) = table(2_000);
        let mut admitted = 0;
        for number in 0..1_000_000 {
            assert!(admits(&table, Class::General, address(number), now), "{number} is honest");
            if number % 10_000 == 0 {
                admitted += u32::from(admits(&table, Class::General, KEY, now));
                admitted += u32::from(admits(&table, Class::Search, address(u32::MAX), now));
            }
        }
        let status = table.status();
        assert!(status.entries <= status.capacity && status.capacity <= 2_000, "{status:?}");
        assert!(status.evicted >= 1_000_000 - 2_000, "{status:?}");
        assert_eq!(admitted, 200);
    }

    #[test]
    fn whoever_is_active_in_a_flood_keeps_the_account() {
        let (table, now) = table(2_000);
        let mut admitted = 0;
        for number in 0..500_000 {
            assert!(admits(&table, Class::General, address(number), now));
            if number % 1_000 == 0 {
                admitted += u32::from(admits(&table, Class::Search, address(u32::MAX), now));
            }
        }
        assert_eq!(admitted, 100, "of five hundred");
    }
}
