//! Faults of the configuration that stand, and when the upstream may be asked again: a pure state
//! machine.
//!
//! Owns: the rule. After a permanent fault of the configuration every further question would be
//! refused as well, so one is asked per back-off ([`FIRST_PAUSE`] doubling to [`LONGEST_PAUSE`]) and
//! all others are refused here. A fault of the account holds every method, one of a method
//! (permission, tracking id) only that. Any answer of use ends the account's fault and the
//! method's. Refuses: to read a clock, and to count a fault twice because several calls that were
//! under way together met it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock::Timestamp;
use crate::origin::{Misconfiguration, Outcome};

/// How long nothing is asked after the first refusal.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long at most, however often the upstream refused.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A try that was granted and then not made (no slot, no time, caller gone) may be granted again
/// after this: no waiting caller spends the one try of minutes, none repeats it at once either.
pub(super) const RETURNED_AFTER: Duration = Duration::from_secs(1);

/// One fault that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: Misconfiguration,
    /// The upstream's own words, for the log.
    pub reason: String,
    /// When it was first seen.
    pub since: Timestamp,
    /// Tries it has outlived, the first included.
    refusals: u32,
    /// Nothing is asked before.
    next_try: Instant,
}

impl Fault {
    /// How long the upstream is still left alone.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        self.next_try.saturating_duration_since(now)
    }
}

/// All that stand.
#[derive(Debug, Default)]
pub struct Faults {
    account: Option<Fault>,
    methods: BTreeMap<&'static str, Fault>,
}

/// The right to ask one question. `Some` when a fault stands and this is the try that is made.
pub type Lease = Option<Instant>;

/// What an outcome changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A fault that did not stand before.
    pub begun: Option<Misconfiguration>,
    /// Faults that stand no more.
    pub ended: Vec<Misconfiguration>,
}

/// How long nothing is asked after `refusals` tries.
pub(super) fn pause(refusals: u32) -> Duration {
    let doublings = refusals.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

impl Faults {
    /// How many stand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.methods.len().saturating_add(usize::from(self.account.is_some()))
    }

    /// Whether none stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each that stands, and the method it is of.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&'static str>, &Fault)> {
        let methods = self.methods.iter().map(|(method, fault)| (Some(*method), fault));
        self.account.iter().map(|fault| (None, fault)).chain(methods)
    }

    fn of_mut(&mut self, method: &str) -> impl Iterator<Item = &mut Fault> {
        self.account.iter_mut().chain(self.methods.get_mut(method))
    }

    /// Whether [`Self::ask`] would grant a question now; takes nothing.
    ///
    /// # Errors
    /// The fault because of which it would not.
    pub fn peek(&self, method: &str, now: Instant) -> Result<(), Fault> {
        let mut standing = self.account.iter().chain(self.methods.get(method));
        standing.find(|fault| fault.next_try > now).map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Whether a question may be asked now. Granting a try takes it: until its outcome is noted,
    /// or the pause is over, nobody else gets one.
    ///
    /// # Errors
    /// The fault because of which it may not.
    pub fn ask(&mut self, method: &str, now: Instant) -> Result<Lease, Fault> {
        if let Some(fault) = self.of_mut(method).find(|fault| fault.next_try > now) {
            return Err(fault.clone());
        }
        let longest = self.of_mut(method).map(|fault| pause(fault.refusals)).max();
        let lease = longest.map(|pause| now + pause);
        if let Some(until) = lease {
            self.of_mut(method).for_each(|fault| fault.next_try = until);
        }
        Ok(lease)
    }

    /// A question that was granted is not asked after all.
    pub fn give_back(&mut self, method: &str, lease: Lease, asked_at: Instant) {
        let Some(lease) = lease else { return };
        for fault in self.of_mut(method).filter(|fault| fault.next_try == lease) {
            fault.next_try = lease.min(asked_at + RETURNED_AFTER);
        }
    }

    /// Notes what became of a question that was granted with `lease`.
    pub fn note<T>(
        &mut self,
        method: &'static str,
        lease: Lease,
        outcome: &Outcome<T>,
        now: Instant,
        wall: Timestamp,
    ) -> Change {
        let what = outcome.misconfiguration();
        match outcome {
            Outcome::Ok(_) | Outcome::Empty => Change { begun: None, ended: self.end(method) },
            Outcome::Permanent { reason, .. } => what.map_or_else(Change::default, |what| {
                let (reason, next_try) = (reason.clone(), now + pause(1));
                let fault = Fault { what, reason, since: wall, refusals: 1, next_try };
                self.stand(method, lease, fault, now)
            }),
            Outcome::Throttled { .. } | Outcome::Transient { .. } | Outcome::BadResponse { .. } => {
                Change::default()
            }
        }
    }

    fn stand(&mut self, method: &'static str, lease: Lease, fault: Fault, now: Instant) -> Change {
        let of_method = fault.what.is_of_method();
        // Whoever refuses a method, or an id, has accepted the key and the signature.
        let accepted = if of_method { self.account.take() } else { None };
        let before = if of_method { self.methods.get_mut(method) } else { self.account.as_mut() };
        let mut ended: Vec<_> = accepted.into_iter().map(|fault| fault.what).collect();
        match before {
            Some(before) if before.what == fault.what => {
                if lease.is_some() {
                    before.refusals = before.refusals.saturating_add(1);
                    before.next_try = now + pause(before.refusals);
                    before.reason = fault.reason;
                }
                Change { begun: None, ended }
            }
            other => {
                let begun = Some(fault.what);
                if let Some(other) = other {
                    ended.push(other.what);
                    *other = fault;
                } else if of_method {
                    self.methods.insert(method, fault);
                } else {
                    self.account = Some(fault);
                }
                Change { begun, ended }
            }
        }
    }

    fn end(&mut self, method: &str) -> Vec<Misconfiguration> {
        let ended = self.account.take().into_iter().chain(self.methods.remove(method));
        ended.map(|fault| fault.what).collect()
    }

    /// Forgets all of them: the configuration was put right, or somebody says so.
    pub fn clear(&mut self) -> Vec<Misconfiguration> {
        let methods = std::mem::take(&mut self.methods).into_values();
        self.account.take().into_iter().chain(methods).map(|fault| fault.what).collect()
    }
}
