//! Settings that no longer exist, and what to do instead.
//!
//! Owns: their names. Refuses: a start with one of them set, in the environment or in the file; the
//! mistake names the replacement. An entry stays for one version after the setting went.

pub(super) struct Removed {
    pub(super) variable: &'static str,
    /// `section.key` in the file.
    pub(super) path: &'static str,
    /// A clause: the replacement, or the constant that stands now.
    pub(super) instead: &'static str,
}

const fn removed(variable: &'static str, path: &'static str, instead: &'static str) -> Removed {
    Removed { variable, path, instead }
}

/// One line a setting: variable, `section.key`, what replaces it.
pub(super) const REMOVED: &[Removed] = &[
    removed("BREAKER_WINDOW_SECONDS", "breaker.window_seconds", "shares of calls look back 30 s"),
    removed("BREAKER_MIN_CALLS", "breaker.min_calls", "a share counts from 20 calls on"),
    removed(
        "BREAKER_FAILURE_PERCENT",
        "breaker.failure_percent",
        "half of the calls must fail to open the breaker; BREAKER_FAILURES counts those in a row",
    ),
    removed("BREAKER_PROBES", "breaker.probes", "three probes must succeed"),
    removed(
        "BREAKER_SLOW_MS",
        "breaker.slow_ms",
        "time-outs open the breaker, slow answers do not",
    ),
    removed(
        "BREAKER_SLOW_PERCENT",
        "breaker.slow_percent",
        "time-outs open the breaker, slow answers do not",
    ),
    removed(
        "BREAKER_RAMP_SECONDS",
        "breaker.ramp_seconds",
        "the rate grows by itself after closing",
    ),
    removed(
        "MEMORY_LIMIT_BYTES",
        "server.memory_limit_bytes",
        "what the container or the machine has is the bound",
    ),
    removed("RATE_LIMIT_PRESSURE", "limits.pressure", "limits are halved under pressure, always"),
    removed(
        "ABUSE_REPEATS_PER_MINUTE",
        "limits.abuse_repeats_per_minute",
        "the same question is allowed 20 times a minute; ABUSE_DETECTION switches that off",
    ),
    removed("ABUSE_SEQUENCE", "limits.abuse_sequence", "20 ids in a row in a minute are allowed"),
    removed(
        "ABUSE_PAGES",
        "limits.abuse_pages",
        "20 further pages of a search in a minute are allowed",
    ),
    removed("MAX_CONNECTIONS", "server.max_connections", "20000 connections may be open"),
    removed("HEAD_TIMEOUT_MS", "server.head_timeout_ms", "a request's head has 5 s to arrive"),
    removed(
        "SEND_TIMEOUT_MS",
        "server.send_timeout_ms",
        "a client that takes nothing of its answer for 10 s is disconnected",
    ),
    removed(
        "SHED_LAG_MS",
        "server.shed_lag_ms",
        "a share of the requests is refused while a worker is 20 ms late",
    ),
    removed(
        "UPSTREAM_DNS_TIMEOUT_MS",
        "upstream.dns_timeout_ms",
        "a look-up has 1 s; then the last address is used",
    ),
    removed(
        "UPSTREAM_CONNECT_TIMEOUT_MS",
        "upstream.connect_timeout_ms",
        "connecting has 1 s, and TLS another",
    ),
    removed("UPSTREAM_MAX_BODY_BYTES", "upstream.max_body_bytes", "4 MiB of an answer are read"),
    removed(
        "UPSTREAM_CONCURRENCY",
        "upstream.concurrency",
        "64 calls may be under way, and fewer while the upstream is slow",
    ),
    removed("UPSTREAM_QUEUE", "upstream.queue", "256 calls may wait"),
    removed(
        "UPSTREAM_HEDGING",
        "upstream.hedging",
        "a late call is not made a second time any more",
    ),
    removed(
        "CACHE_REVALIDATE_SECONDS",
        "cache.revalidate_seconds",
        "a stale answer is given at once for an hour, as far as CACHE_STALE_SECONDS reaches",
    ),
    removed(
        "CACHE_SOFT_TIMEOUT_MS",
        "cache.soft_timeout_ms",
        "a caller waits 250 ms for something newer",
    ),
    removed(
        "CACHE_EAGER_PERCENT",
        "cache.eager_percent",
        "a hit refreshes in the last tenth of the fresh time",
    ),
    removed(
        "CACHE_WARM_INTERVAL_SECONDS",
        "cache.warm_interval_seconds",
        "a round of warming begins every five minutes",
    ),
    removed(
        "CACHE_WARM_PER_SECOND",
        "cache.warm_per_second",
        "a round of warming makes one call a second",
    ),
    removed("RATE_LIMIT_SHARED", "limits.shared", "limits are shared wherever REDIS_URL is set"),
    removed(
        "ABUSE_KEY_PERCENT",
        "limits.abuse_key_percent",
        "a key may spend half of its limit on one pattern",
    ),
    removed("ALIEXPRESS_APP_KEY_2", "upstream.app_key_2", FURTHER),
    removed("ALIEXPRESS_APP_SECRET_2", "upstream.app_secret_2", FURTHER),
    removed("ALIEXPRESS_TRACKING_ID_2", "upstream.tracking_id_2", FURTHER),
    removed("ALIEXPRESS_APP_KEY_3", "upstream.app_key_3", FURTHER),
    removed("ALIEXPRESS_APP_SECRET_3", "upstream.app_secret_3", FURTHER),
    removed("ALIEXPRESS_TRACKING_ID_3", "upstream.tracking_id_3", FURTHER),
    removed("ALIEXPRESS_APP_KEY_4", "upstream.app_key_4", FURTHER),
    removed("ALIEXPRESS_APP_SECRET_4", "upstream.app_secret_4", FURTHER),
    removed("ALIEXPRESS_TRACKING_ID_4", "upstream.tracking_id_4", FURTHER),
];

const FURTHER: &str = "list the account in ALIEXPRESS_ACCOUNTS_JSON or [[upstream.accounts]]";

impl Removed {
    /// What a mistake says, to be read after "expected".
    pub(super) fn expected(&self) -> String {
        format!("no such setting; it was removed: {}", self.instead)
    }
}

pub(super) fn is_removed(variable: &str) -> bool {
    REMOVED.iter().any(|one| one.variable == variable)
}

pub(super) fn by_path(section: &str, key: &str) -> Option<&'static Removed> {
    REMOVED.iter().find(|one| one.path.split_once('.') == Some((section, key)))
}

pub(super) fn had_section(section: &str) -> bool {
    REMOVED.iter().any(|one| one.path.split_once('.').is_some_and(|(name, _)| name == section))
}

#[cfg(test)]
mod tests {
    use super::super::tests::SCHEMA;
    use super::super::{FileText, resolve};
    use super::REMOVED;

    #[test]
    fn a_removed_setting_is_a_mistake_that_names_the_replacement() {
        for removed in REMOVED {
            let name = "test.toml".to_owned();
            let file = FileText { name, text: format!("\n{} = 1\n", removed.path) };
            let environment = [(removed.variable, "1")].into_iter().collect();
            let mistakes = resolve(SCHEMA, Some(&file), &environment).unwrap_err();
            assert!(mistakes.cautions.is_empty(), "said once: {mistakes}");
            let texts: Vec<_> = mistakes.all.iter().map(ToString::to_string).collect();
            let because = format!("expected no such setting; it was removed: {}", removed.instead);
            assert_eq!(
                texts,
                [
                    format!("test.toml line 2, {}: {because}", removed.path),
                    format!("{}: {because}", removed.variable),
                ]
            );
        }
    }
}
