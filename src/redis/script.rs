//! Scripts that Redis keeps: sent once, then run by their hash.
//!
//! Owns: the hash under which Redis knows a script; a Redis that does not know it, because it was
//! started again, is sent it again. Refuses: to run a script twice. When the answer is lost, so is the
//! outcome; the caller has to do without.

use std::sync::OnceLock;

use deadpool_redis::redis::{self, Cmd};

use super::{Effect, Redis};
use crate::failure::StoreError;

/// How the error begins when Redis does not know a hash.
const UNKNOWN: &str = "NOSCRIPT";

/// A script that works on one key, for all workers.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    /// As Redis named it when it was first sent.
    hash: OnceLock<String>,
}

impl Script {
    pub const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    fn run(hash: &str, key: &str, arguments: &[u64]) -> Cmd {
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
        if let Some(hash) = script.hash.get() {
            match self.one(Script::run(hash, key, arguments), Effect::Counts).await {
                Err(StoreError::Refused(cause)) if cause.starts_with(UNKNOWN) => {}
                answer => return answer,
            }
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.text);
        let hash = self.one(load, Effect::Reads).await?;
        let hash = script.hash.get_or_init(|| hash);
        self.one(Script::run(hash, key, arguments), Effect::Counts).await
    }
}
