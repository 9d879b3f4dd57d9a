//! Declarations: the upstream's account and how it is called. Owns no logic and refuses nothing;
//! see the parent.

use super::{Declaration, setting};
use crate::config::addresses::WebAddress;
use crate::config::kinds::{Kind, Limit, Millis, Positive, Seconds, Whole};
use crate::config::texts::{Code, Optional, SecretWord, Word};
use crate::upstream::aliexpress::terms::{Currency, Language};

pub(super) const SETTINGS: &[Declaration] = &[
    setting!("ALIEXPRESS_APP_KEY", "upstream", "app_key", in (app_key), Optional(Word),
        "key of the AliExpress account; without key and secret the simulator inside answers",
        show |settings| settings.upstream.credentials.as_ref().map(|account| account.app_key.clone())),
    setting!("ALIEXPRESS_APP_SECRET", "upstream", "app_secret", in (app_secret),
    Optional(SecretWord), "secret of the AliExpress account",
    show |settings| {
        SecretWord.show(&settings.upstream.credentials.as_ref()?.app_secret)
    }),
    setting!("ALIEXPRESS_TRACKING_ID", "upstream", "tracking_id",
        in settings.upstream.tracking_id, Optional(Word), "tracking id of affiliate links"),
    setting!("ALIEXPRESS_GATEWAY_URL", "upstream", "gateway_url",
        in settings.upstream.gateway_url, WebAddress, "address of the AliExpress gateway"),
    setting!("ALIEXPRESS_LANGUAGE", "upstream", "language", in settings.upstream.language,
        Code(|| Language::ALL.map(Language::code).to_vec()), "language of answers where a request names none"),
    setting!("ALIEXPRESS_CURRENCY", "upstream", "currency", in settings.upstream.currency,
        Code(|| Currency::REQUESTABLE.map(Currency::code).to_vec()), "currency of prices where a request names none"),
    setting!("UPSTREAM_RATE_PER_SECOND", "upstream", "rate_per_second", in (pacing.per_second),
        Positive(10_000.0),
        "calls a second; the simulator inside is paced only when one of the three is set",
        show |settings| settings.upstream.pacing.map(|pacing| pacing.per_second.to_string()),
        default "5"),
    setting!("UPSTREAM_BURST", "upstream", "burst", in (pacing.burst), Whole(1, 10_000),
        "calls that may go at once",
        show |settings| settings.upstream.pacing.map(|pacing| pacing.burst.to_string()),
        default "10"),
    setting!("UPSTREAM_DAILY_BUDGET", "upstream", "daily_budget", in (pacing.daily_budget),
        Limit(1_000_000_000), "calls a day",
        show |settings| settings.upstream.pacing.map(|pacing| pacing.daily_budget.to_string()),
        default "5000"),
    setting!("UPSTREAM_TIMEOUT_MS", "upstream", "timeout_ms",
        in settings.upstream.attempt_timeout, Millis(1, 120_000), "longest time of one attempt"),
    setting!("UPSTREAM_DNS_TIMEOUT_MS", "upstream", "dns_timeout_ms",
        in settings.upstream.dns_timeout, Millis(1, 60_000),
        "longest look-up of the gateway's name; then its last address is used, if there is one"),
    setting!("UPSTREAM_CONNECT_TIMEOUT_MS", "upstream", "connect_timeout_ms",
        in settings.upstream.connect_timeout, Millis(1, 60_000),
        "longest time to connect to it, and again to agree on TLS"),
    setting!("UPSTREAM_MAX_BODY_BYTES", "upstream", "max_body_bytes",
        in settings.upstream.max_body_bytes, Whole(65_536, 67_108_864),
        "largest answer that is read; a page of 50 products is about 100 kB"),
    setting!("RETRY_MAX_ATTEMPTS", "retry", "max_attempts",
        in settings.upstream.retry_max_attempts, Whole(1, 10),
        "attempts in all, the first one included"),
    setting!("RETRY_BASE_DELAY_MS", "retry", "base_delay_ms",
        in settings.upstream.retry_base_delay, Millis(1, 60_000),
        "wait before the second attempt; it doubles from there"),
    setting!("RETRY_MAX_DELAY_MS", "retry", "max_delay_ms", in settings.upstream.retry_max_delay,
        Millis(1, 600_000), "longest wait before an attempt"),
    setting!("BREAKER_FAILURES", "breaker", "failures", in settings.upstream.breaker_failures,
        Whole(1, 1_000), "failures in a row that open the breaker"),
    setting!("BREAKER_OPEN_SECONDS", "breaker", "open_seconds", in settings.upstream.breaker_open,
        Seconds(1, 3_600), "time it stays open before the first probe"),
];
