//! Credential health: what of our configuration an upstream does not accept.
//!
//! Owns: the faults of one credential, each held by a failure memo under the credential or the one
//! operation that it names, and the log lines about them: one error when a fault begins, one info when
//! it ends, the gauge in between. After such a fault every further call would be refused as well, so
//! one is tried per pause and all others are refused here, within microseconds. A fault of a credential
//! that was accepted before holds the operation alone until others meet it too. Any answer of use ends
//! the credential's fault and the operation's. Older than the actor, so a restart forgets nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Misconfiguration;
use super::evidence::{Asked, Evidence};
use crate::clock::Timestamp;
use crate::resilience::backoff::{Backoff, FailureMemo, Pauses};
use crate::resilience::breaker::CallResult;

/// Soon after a restart or a repair it should be found out; later, hardly any call is spent.
pub const PAUSES: Pauses = Pauses {
    backoff: Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(300) },
    trial: Duration::from_secs(5),
};

/// Several different questions are refused, and nobody knows why.
const UNKNOWN_REFUSAL: Misconfiguration = Misconfiguration::of_operation("unknown_refusal");
const UNKNOWN_ADVICE: &str = "different questions are refused with a code that is not known here, and \
    none is answered; the log has the upstream's words";

#[derive(Debug, Default)]
pub struct CredentialHealth(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the operation that is refused; `None`: all of them.
    faults: BTreeMap<Option<&'static str>, Fault>,
    /// An unknown refusal that is worth a word, and the operation that met it last. It holds nothing.
    unknown: Option<(&'static str, Fault)>,
    evidence: Evidence,
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
    pub(super) asked: Asked,
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
        self.lock().faults.len()
    }

    /// Whether a call may be made now; takes nothing.
    pub fn peek(&self, operation: &'static str, now: Instant) -> Result<(), Box<Fault>> {
        let State { faults, evidence, .. } = &mut *self.lock();
        for scope in scopes(operation) {
            let Some(fault) = faults.get(&scope) else { continue };
            if scope.is_none() && evidence.is_untried(operation) {
                continue;
            }
            let is_held = !fault.wait(now).is_zero();
            if is_held || scope.is_none() && evidence.may_probe(operation, now).is_err() {
                return Err(Box::new(fault.clone()));
            }
        }
        Ok(())
    }

    /// Whether an operation may find out if the upstream is well again, or how long it waits for one
    /// that worked to do so.
    pub fn may_probe(&self, operation: &'static str, now: Instant) -> Result<(), Duration> {
        self.lock().evidence.may_probe(operation, now)
    }

    /// What the end of a call says about the upstream: a question that failed before, or a method that
    /// fails while others work, says nothing of it. The end of a probe always counts.
    pub(super) fn weigh(
        &self,
        asked: Asked,
        result: CallResult,
        is_probe: bool,
        now: Instant,
    ) -> CallResult {
        let evidence = &mut self.lock().evidence;
        if is_probe {
            evidence.forget_failed();
        }
        match result {
            CallResult::Success => evidence.succeeded(asked.operation, now),
            CallResult::Failure => {
                if !evidence.failed(asked, now) && !is_probe {
                    return CallResult::Ignored;
                }
            }
            CallResult::Ignored => {}
        }
        result
    }

    /// A call is made now: if a fault holds it back, it is the one try of this pause.
    pub fn start(&self, operation: &'static str, now: Instant) -> Result<(), Box<Fault>> {
        self.peek(operation, now)?;
        let faults = &mut self.lock().faults;
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
        let State { faults, evidence, .. } = &mut *self.lock();
        let of_operation = fault.what.of_operation;
        let is_of_all = !of_operation && evidence.refused(made.asked);
        let scope = (!is_of_all).then_some(made.asked.operation);
        // An upstream that refuses one operation has accepted the credential.
        let accepted = of_operation.then(|| faults.remove(&None)).flatten().map(|fault| fault.what);
        let mut ended: Vec<_> = accepted.into_iter().collect();
        if is_of_all {
            faults.retain(|scope, fault| scope.is_none() || fault.what.of_operation);
        }
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
        let State { faults, unknown, .. } = &mut *self.lock();
        let ended = scopes(operation).into_iter().filter_map(|scope| faults.remove(&scope));
        ended.chain(unknown.take().map(|(_, fault)| fault)).map(|fault| fault.what).collect()
    }

    /// Notes a refusal that nobody knows the reason of; whether it begins to be worth a word.
    pub(super) fn refused_unknown(
        &self,
        made: Made,
        reason: &str,
        now: (Instant, Timestamp),
    ) -> bool {
        let State { unknown, evidence, .. } = &mut *self.lock();
        let begins = evidence.refused_unknown(made.asked) && unknown.is_none();
        if begins {
            let advice = UNKNOWN_ADVICE.to_owned();
            let fault = Fault::new(UNKNOWN_REFUSAL, reason.to_owned(), advice, now);
            *unknown = Some((made.asked.operation, fault));
        }
        begins
    }

    pub(super) fn forgive(&self) -> Vec<Misconfiguration> {
        let State { faults, unknown, .. } = &mut *self.lock();
        let faults = std::mem::take(faults).into_values();
        faults.chain(unknown.take().map(|(_, fault)| fault)).map(|fault| fault.what).collect()
    }

    pub(super) fn problems(&self, credential: &'static str) -> Vec<Problem> {
        let problem = |operation: Option<&'static str>, fault: &Fault| Problem {
            credential,
            what: fault.what,
            operation,
            since: fault.since,
            advice: fault.advice.clone(),
        };
        let State { faults, unknown, .. } = &*self.lock();
        let faults = faults.iter().map(|(operation, fault)| problem(*operation, fault));
        let unknown = unknown.iter().map(|(operation, fault)| problem(Some(operation), fault));
        faults.chain(unknown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

        /// Makes a call that is answered; what ended.
        fn works(&self, operation: &'static str) -> Vec<Misconfiguration> {
            let asked = Asked::new(operation, &0);
            self.health.weigh(asked, CallResult::Success, false, self.now);
            self.health.succeeded(operation)
        }

        /// Makes a call that meets a fault; whether the fault is new, and what ended.
        fn meets(
            &self,
            operation: &'static str,
            what: Misconfiguration,
        ) -> (bool, Vec<Misconfiguration>) {
            let made = Made { asked: Asked::new(operation, &operation), started: self.now };
            self.health.failed(made, fault(what, self.now), self.now)
        }
    }

    #[test]
    fn a_fault_of_the_credential_holds_every_operation_and_is_tried_once_a_pause() {
        let mut rig = Rig::new();
        assert_eq!(rig.meets("search", KEY), (true, vec![]));
        // Another operation is tried at once: nothing was ever answered.
        assert!(!rig.may("search") && rig.may("links"));
        assert_eq!(rig.meets("links", KEY), (false, vec![]));
        for pause in [10, 20, 40] {
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
    fn a_fault_of_a_proven_credential_holds_the_operation_until_others_meet_it() {
        let mut rig = Rig::new();
        rig.works("search");
        assert_eq!(rig.meets("links", SECRET), (true, vec![]));
        assert!(!rig.may("links") && rig.may("search"));
        rig.works("search");
        rig.meets("links", SECRET);
        rig.meets("details", SECRET);
        assert!(!rig.may("details") && rig.may("search"));
        assert_eq!(rig.meets("search", SECRET), (true, vec![]));
        assert!(!rig.may("search") && !rig.may("categories"));
        assert_eq!(rig.health.faults(), 1, "it is that of the credential now");
        // The try goes to a method that worked.
        rig.now += PAUSES.backoff.first;
        assert!(!rig.may("links") && rig.may("search"));
        rig.works("search");
        assert!(rig.may("links") && rig.health.faults() == 0);
    }

    #[test]
    fn unknown_refusals_of_several_questions_are_told_and_hold_nothing() {
        let rig = Rig::new();
        let refused = |question: u32| {
            let made = Made { asked: Asked::new("search", &question), started: rig.now };
            rig.health.refused_unknown(made, "code 77", (rig.now, Timestamp::default()))
        };
        assert_eq!([1, 2, 2, 3, 4].map(refused), [false, false, false, true, false]);
        let problems = rig.health.problems("upstream");
        assert_eq!(problems.iter().map(|one| one.what).collect::<Vec<_>>(), [UNKNOWN_REFUSAL]);
        assert!(rig.may("search") && rig.health.faults() == 0);
        assert_eq!(rig.works("links"), [UNKNOWN_REFUSAL]);
        assert!(rig.health.problems("upstream").is_empty());
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
