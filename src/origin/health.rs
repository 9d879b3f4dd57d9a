//! Credential health: what of our configuration an upstream does not accept.
//!
//! Owns: the faults of one credential, each held by a failure memo under the credential or the one
//! operation that it names, and the log lines about them: one error when a fault begins, one info when
//! it ends, the gauge in between. After such a fault every further call would be refused as well, so
//! one is tried per pause and all others are refused here, within microseconds. Any answer of use ends
//! the credential's fault and the operation's. Older than the actor, so a restart forgets nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Misconfiguration;
use crate::clock::Timestamp;
use crate::resilience::backoff::{Backoff, FailureMemo, Pauses};

/// Soon after a restart or a repair it should be found out; later, hardly any call is spent.
pub const PAUSES: Pauses = Pauses {
    backoff: Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(300) },
    trial: Duration::from_secs(5),
};

#[derive(Debug, Default)]
pub struct CredentialHealth {
    /// By the operation that is refused; `None`: all of them.
    faults: Mutex<BTreeMap<Option<&'static str>, Fault>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub what: Misconfiguration,
    pub reason: String,
    pub since: Timestamp,
    pub advice: String,
    memo: FailureMemo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub credential: &'static str,
    pub what: Misconfiguration,
    /// The one operation it is about; `None`: all of them.
    pub operation: Option<&'static str>,
    pub since: Timestamp,
    pub advice: String,
}

/// A call that was made, whose outcome says something about its credential.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) operation: &'static str,
    pub(super) started: Instant,
}

impl Fault {
    pub(super) fn new(
        what: Misconfiguration,
        reason: String,
        advice: String,
        (now, since): (Instant, Timestamp),
    ) -> Self {
        Self { what, reason, since, advice, memo: FailureMemo::new(PAUSES, now) }
    }

    pub fn wait(&self, now: Instant) -> Duration {
        self.memo.wait(now)
    }
}

impl CredentialHealth {
    pub fn faults(&self) -> usize {
        self.lock().len()
    }

    /// Whether a call may be made now; takes nothing.
    pub fn peek(&self, operation: &'static str, now: Instant) -> Result<(), Box<Fault>> {
        let faults = self.lock();
        let mut held = scopes(operation).into_iter().filter_map(|scope| faults.get(&scope));
        held.find(|fault| !fault.wait(now).is_zero())
            .map_or(Ok(()), |held| Err(Box::new(held.clone())))
    }

    /// A call is made now: if a fault holds it back, it is the one try of this pause.
    pub fn start(&self, operation: &'static str, now: Instant) -> Result<(), Box<Fault>> {
        self.peek(operation, now)?;
        let mut faults = self.lock();
        for scope in scopes(operation) {
            if let Some(fault) = faults.get_mut(&scope) {
                fault.memo.try_now(PAUSES, now);
            }
        }
        Ok(())
    }

    pub(super) fn failed(
        &self,
        made: Made,
        fault: Fault,
        now: Instant,
    ) -> (bool, Vec<Misconfiguration>) {
        let mut faults = self.lock();
        let scope = fault.what.of_operation.then_some(made.operation);
        // An upstream that refuses one operation has accepted the credential.
        let accepted = scope.and_then(|_| faults.remove(&None)).map(|fault| fault.what);
        let mut ended: Vec<_> = accepted.into_iter().collect();
        match faults.get_mut(&scope) {
            Some(before) if before.what == fault.what => {
                before.memo.failed_again(PAUSES, made.started, now);
                before.reason = fault.reason;
                (false, ended)
            }
            _ => {
                ended.extend(faults.insert(scope, fault).map(|other| other.what));
                (true, ended)
            }
        }
    }

    /// An answer of use ends what held it back.
    pub(super) fn succeeded(&self, operation: &'static str) -> Vec<Misconfiguration> {
        let mut faults = self.lock();
        let ended = scopes(operation).into_iter().filter_map(|scope| faults.remove(&scope));
        ended.map(|fault| fault.what).collect()
    }

    pub(super) fn forgive(&self) -> Vec<Misconfiguration> {
        std::mem::take(&mut *self.lock()).into_values().map(|fault| fault.what).collect()
    }

    pub(super) fn problems(&self, credential: &'static str) -> Vec<Problem> {
        let problem = |(operation, fault): (&Option<&'static str>, &Fault)| Problem {
            credential,
            what: fault.what,
            operation: *operation,
            since: fault.since,
            advice: fault.advice.clone(),
        };
        self.lock().iter().map(problem).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Option<&'static str>, Fault>> {
        // Nothing under this lock can panic between two changes that belong together.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn scopes(operation: &'static str) -> [Option<&'static str>; 2] {
    [None, Some(operation)]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);
    const KEY: Misconfiguration = Misconfiguration::of_credential("key");
    const SECRET: Misconfiguration = Misconfiguration::of_credential("secret");
    const PERMISSION: Misconfiguration = Misconfiguration::of_operation("permission");

    fn fault(what: Misconfiguration, now: Instant) -> Fault {
        let (reason, advice, since) = (String::new(), String::new(), Timestamp::default());
        Fault { what, reason, since, advice, memo: FailureMemo::new(PAUSES, now) }
    }

    /// A fault of the credential that was just met.
    pub(in crate::origin) fn key_fault(now: Instant) -> Fault {
        fault(KEY, now)
    }

    struct Rig {
        health: CredentialHealth,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            Self { health: CredentialHealth::default(), now: clock::monotonic() }
        }

        fn may(&self, operation: &'static str) -> bool {
            self.health.peek(operation, self.now).is_ok()
        }

        /// Makes a call that meets a fault; whether the fault is new, and what ended.
        fn meets(
            &self,
            operation: &'static str,
            what: Misconfiguration,
        ) -> (bool, Vec<Misconfiguration>) {
            let made = Made { operation, started: self.now };
            self.health.failed(made, fault(what, self.now), self.now)
        }
    }

    #[test]
    fn a_fault_of_the_credential_holds_every_operation_and_is_tried_once_a_pause() {
        let mut rig = Rig::new();
        assert_eq!(rig.meets("search", KEY), (true, vec![]));
        for pause in [5, 10, 20] {
            rig.now += pause * SECOND - SECOND / 10;
            assert!(!rig.may("search") && !rig.may("links"));
            rig.now += SECOND / 10;
            assert!(rig.health.start("links", rig.now).is_ok());
            assert!(!rig.may("search"), "somebody tries already");
            assert_eq!(rig.meets("links", KEY), (false, vec![]));
        }
        assert_eq!(rig.health.succeeded("search"), [KEY]);
        assert!(rig.may("links") && rig.health.faults() == 0);
    }

    #[test]
    fn a_fault_of_an_operation_holds_only_that_and_shows_that_the_credential_is_accepted() {
        let rig = Rig::new();
        rig.meets("search", KEY);
        assert_eq!(rig.meets("search", PERMISSION), (true, vec![KEY]));
        assert!(!rig.may("search") && rig.may("links"));
        assert_eq!(rig.health.succeeded("links"), []);
        assert!(!rig.may("search"));
        assert_eq!(rig.health.succeeded("search"), [PERMISSION]);
    }

    #[test]
    fn another_fault_takes_the_place_of_the_first() {
        let rig = Rig::new();
        rig.meets("search", KEY);
        assert_eq!(rig.meets("search", SECRET), (true, vec![KEY]));
        assert_eq!(rig.health.faults(), 1);
    }

    #[test]
    fn a_try_that_comes_to_nothing_is_made_again() {
        let mut rig = Rig::new();
        rig.meets("search", KEY);
        rig.now += PAUSES.backoff.first;
        assert!(rig.health.start("search", rig.now).is_ok());
        assert_eq!(rig.health.start("search", rig.now).unwrap_err().what, KEY);
        rig.now += PAUSES.trial;
        assert!(rig.health.start("search", rig.now).is_ok());
    }
}
