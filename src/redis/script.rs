//! Scripts that Redis keeps: sent once, then run by their hash.
//!
//! Owns: the hash under which Redis knows a script, and noticing that it does not know it any more.
//! Redis keeps scripts as long as it runs, so one that has forgotten a script has begun anew: what
//! it held is gone, unless it had been saved. One that was away at the start, when a script is first
//! sent, may have begun anew since as well. Refuses: to run a script twice. When the answer is
//! lost, so is the outcome; the caller has to do without.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_redis::redis::{self, Cmd};

use super::{Effect, Redis};
use crate::failure::StoreError;

/// How the error begins when Redis does not know a hash.
const UNKNOWN: &str = "NOSCRIPT";

/// A script that works on one key, for all workers.
#[derive(Debug)]
pub struct Script {
    text: String,
    known: Mutex<Known>,
    losses: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Known {
    /// Under which Redis knows it, as far as is known.
    hash: Option<Arc<str>>,
    /// How often it was sent.
    sent: u64,
    /// That Redis does not know it since then has been counted.
    missed: bool,
}

impl Script {
    /// This text, made a script of its own by `owner`: another process' copy of the same text must
    /// not hide that this one's is gone.
    #[must_use]
    pub fn new(text: &str, owner: u64) -> Self {
        let text = format!("{text}\n-- {owner:016x}");
        Self { text, known: Mutex::default(), losses: AtomicU64::default() }
    }

    /// How often Redis was found not to know it, but for the start. Counted before it is sent again.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redis does not know it though it was sent so often: counted by who is the first to find that.
    fn missed(&self, sent: u64) {
        let mut known = self.known();
        if known.sent == sent && !known.missed {
            self.losses.fetch_add(1, Ordering::AcqRel);
            *known = Known { hash: None, sent, missed: true };
        }
    }

    fn was_sent(&self, hash: &Arc<str>) {
        let mut known = self.known();
        let sent = known.sent.saturating_add(1);
        *known = Known { hash: Some(Arc::clone(hash)), sent, missed: false };
    }

    fn run(&self, hash: &str, key: &str, arguments: &[u64]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash).arg(1).arg(key).arg(arguments);
        command
    }
}

impl Redis {
    /// Runs `script` on `key`; its answer has to be a list of whole numbers.
    ///
    /// # Errors
    /// Redis was avoided, too late, failed, or refused; what the script does may be done all the
    /// same, but not twice.
    pub async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: &[u64],
    ) -> Result<Vec<i64>, StoreError> {
        let known = script.known().clone();
        if let Some(hash) = &known.hash {
            let command = script.run(hash, key, arguments);
            match self.one(command, Effect::Counts).await {
                Err(StoreError::Refused(cause)) if cause.starts_with(UNKNOWN) => {}
                answer => return answer,
            }
        }
        script.missed(known.sent);
        let hash = self.load(script).await?;
        self.one(script.run(&hash, key, arguments), Effect::Counts).await
    }

    /// Sends `script` for the first time, at the start.
    ///
    /// # Errors
    /// As [`Redis::run`].
    pub async fn introduce(&self, script: &Script) -> Result<(), StoreError> {
        self.load(script).await.map(drop)
    }

    async fn load(&self, script: &Script) -> Result<Arc<str>, StoreError> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&script.text);
        let hash: String = self.one(load, Effect::Reads).await?;
        let hash: Arc<str> = hash.into();
        script.was_sent(&hash);
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_counted_once_however_many_find_it() {
        let script = Script::new("return {}", 7);
        let hash: Arc<str> = "hash".into();
        script.was_sent(&hash);
        let known = script.known().clone();
        assert_eq!((known.hash.as_deref(), script.losses()), (Some("hash"), 0));
        script.missed(known.sent);
        script.missed(known.sent);
        assert_eq!((script.known().hash.as_deref(), script.losses()), (None, 1));
        script.was_sent(&hash);
        // Who has asked before that hears of it only now.
        script.missed(known.sent);
        assert_eq!((script.known().hash.as_deref(), script.losses()), (Some("hash"), 1));
    }

    #[test]
    fn what_is_first_sent_after_the_start_may_have_been_missed() {
        let script = Script::new("return {}", 7);
        let sent = script.known().sent;
        script.missed(sent);
        assert_eq!(script.losses(), 1);
    }

    #[test]
    fn every_process_has_a_script_of_its_own() {
        let [one, other] = [1, 2].map(|owner| Script::new("return {}", owner).text);
        assert_ne!(one, other);
        assert!(one.starts_with("return {}\n--"));
    }
}
