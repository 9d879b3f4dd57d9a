//! The settings of Redis.
//!
//! Owns: their declaration, and which addresses are served. Connects to nothing.

use std::time::Duration;

use url::Url;

use crate::config::kinds::{Kind, Optional, Refusal, millis, quoted_address};
use crate::config::{Secret, Section, redact};
use crate::settings;

settings! {
    #[derive(Eq)]
    pub struct RedisSettings in "redis" {
        url: Option<Secret> = None, "REDIS_URL", "url", Optional(RedisAddress),
            "the second cache tier; without it there are two tiers";
        timeout: Duration = super::DEFAULT_TIMEOUT, "REDIS_TIMEOUT_MS", "timeout_ms",
            millis(1, 10_000), "how long Redis may take for one command, connecting included";
    }
}

impl Section for RedisSettings {}

/// The address of a Redis server; hidden as a whole in `Debug`, without its password elsewhere.
struct RedisAddress;

impl Kind for RedisAddress {
    type Value = Secret;

    fn expected(&self) -> String {
        "redis://[[user]:password@]host[:port][/database] or unix:///path".to_owned()
    }

    fn read(&self, text: &str) -> Result<Secret, Refusal> {
        let url = Url::parse(text).map_err(|_| None)?;
        let database = url.path().trim_start_matches('/');
        let refused = |reason: &str| Err(Some(reason.to_owned()));
        match url.scheme() {
            "unix" | "redis+unix" if !url.path().is_empty() => Ok(Secret::new(text)),
            "redis" if url.has_host() && database.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Secret::new(text))
            }
            "redis" if url.has_host() => refused("the database is a number"),
            "rediss" => refused("this build speaks to redis without TLS only"),
            _ => Err(None),
        }
    }

    fn show(&self, value: &Secret) -> Option<String> {
        // As it is read: what would end a password in a text is encoded there.
        let url = Url::parse(value.expose()).ok()?;
        Some(redact(url.as_str()).into_owned())
    }

    fn quote(&self, text: &str) -> String {
        quoted_address(text)
    }
}
