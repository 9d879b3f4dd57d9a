//! The settings seen from outside: good and bad values, precedence, and that nothing secret shows.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::app::SCHEMA;
use crate::cache::CacheSettings;
use crate::config::kinds::Rollout;
use crate::config::{self, Environment, FileText, Mistakes, Settings, load, redact, settings_page};
use crate::http::settings::{Features, Server};
use crate::limits::{AbuseMode, Limits};
use crate::origin::pacing::{self, Rate, Shares};
use crate::origin::settings::UpstreamSettings;
use crate::services::products::settings::{AliExpressSettings, ProductSettings};

pub(super) fn from(environment: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    config::resolve(SCHEMA, None, &environment.iter().copied().collect())
}

pub(super) fn from_file(text: &str) -> Result<Settings, Mistakes> {
    config::resolve(SCHEMA, Some(&file(text)), &Environment::default())
}

fn file(text: &str) -> FileText {
    FileText { name: "test.toml".to_owned(), text: text.to_owned() }
}

/// The value shown for a variable, and its source's word.
pub(super) fn shown(settings: &Settings, variable: &str) -> String {
    let described = settings.describe();
    let setting = described.iter().find(|setting| setting.name == variable).unwrap();
    format!("{} {}", setting.value.as_deref().unwrap_or("none"), setting.source.word())
}

pub(super) fn told(result: Result<Settings, Mistakes>) -> Vec<String> {
    result.unwrap_err().all.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_gives_the_contract_s_defaults() {
    let settings = from(&[]).unwrap();
    assert_eq!(settings.describe(), Settings::unset(SCHEMA).describe());
    for (variable, value) in [
        ("API_HOST", "127.0.0.1"),
        ("API_PORT", "8080"),
        ("ALIEXPRESS_APP_KEY", "none"),
        ("ALIEXPRESS_GATEWAY_URL", "https://api-sg.aliexpress.com/sync"),
        ("ALIEXPRESS_LANGUAGE", "EN"),
        ("ALIEXPRESS_CURRENCY", "USD"),
        ("UPSTREAM_TIMEOUT_MS", "2000"),
        ("RETRY_MAX_ATTEMPTS", "3"),
        ("RETRY_BASE_DELAY_MS", "1000"),
        ("RETRY_MAX_DELAY_MS", "10000"),
        ("BREAKER_FAILURES", "5"),
        ("BREAKER_OPEN_SECONDS", "30"),
        ("REDIS_URL", "none"),
        ("DATABASE_URL", "sqlite://breakwater.db"),
        ("CACHE_TTL", "3600"),
        ("CACHE_TTL_PRODUCT", "86400"),
        ("CACHE_TTL_LINK", "2592000"),
        ("CACHE_TTL_SEARCH", "3600"),
        ("CACHE_TTL_HOT", "1800"),
        ("CACHE_TTL_CATEGORY", "604800"),
        ("CACHE_STALE_SECONDS", "86400"),
        ("CACHE_NEGATIVE_TTL", "60"),
        ("MAX_MEMORY_CACHE_ITEMS", "1000"),
        ("MAX_MEMORY_CACHE_BYTES", "104857600"),
        ("LAST_RESORT_CATALOG", "none"),
        ("ADMIN_API_KEY", "none"),
        ("ADMIN_READONLY_KEY", "none"),
        ("REQUIRE_API_KEY", "false"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("MAX_REQUESTS_PER_SECOND", "5"),
        ("RATE_LIMIT_BURST", "10"),
        ("MAX_REQUESTS_PER_MINUTE", "60"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "100"),
        ("RATE_LIMIT_SEARCH_BURST", "150"),
        ("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "1000"),
        ("RATE_LIMIT_INSTANCES", "2"),
        ("TRUSTED_PROXIES", "none"),
        ("CLIENT_ADDRESS_HEADER", "both"),
        ("IPV6_PREFIX", "64"),
        ("ABUSE_DETECTION", "on, or off with RATE_LIMIT_ENABLED=false"),
        ("ALLOWED_ORIGINS", "https://chat.openai.com, https://chatgpt.com"),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "auto"),
        ("LOG_FILE", "none"),
        ("ENABLE_RETRY_LOGIC", "on"),
        ("CHAOS_ENABLED", "false"),
    ] {
        assert_eq!(shown(&settings, variable), format!("{value} default"), "{variable}");
    }
    assert!(settings.of::<Server>().workers >= 1);
}

#[test]
fn toml_s_own_types_are_taken() {
    let settings = from_file(
        "server.port = 0x1F90\n[limits]\ntrusted_proxies = ['10.0.0.0/8', '::1']\nenabled = false\n\
         [upstream]\nrate_per_second = 2.5\n[features]\nretry_logic = 25\n[server.allowed_origins]\n",
    );
    let told = told(settings);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("server.allowed_origins") && told[0].contains("not a TOML table"));
    let settings = from_file(
        "server.port = 0x1F91\nserver.allowed_origins = []\n[limits]\n\
         trusted_proxies = ['10.0.0.0/8', '::1']\nenabled = false\n\
         [upstream]\nrate_per_second = 2.5\n[features]\nretry_logic = 25\n",
    )
    .unwrap();
    let (server, limits): (Server, Limits) = (settings.of(), settings.of());
    assert_eq!(server.port, 8081);
    assert!(server.allowed_origins.is_empty() && !limits.enabled);
    assert_eq!(limits.trusted_proxies.len(), 2);
    assert_eq!(settings.of::<UpstreamSettings>().per_second, Some(2.5));
    assert_eq!(settings.of::<Features>().retry_logic, Rollout(25));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = file("[server]\nport = 9001\nworkers = 3\n");
    let environment = [("API_PORT", "9002"), ("HTTP_WORKERS", "  ")].into_iter().collect();
    let settings = config::resolve(SCHEMA, Some(&file), &environment).unwrap();
    assert_eq!(shown(&settings, "API_PORT"), "9002 environment");
    assert_eq!(shown(&settings, "HTTP_WORKERS"), "3 file");
    assert_eq!(shown(&settings, "API_HOST"), "127.0.0.1 default");
}

#[test]
fn a_blank_value_is_not_set() {
    let blank = [("API_PORT", ""), ("REDIS_URL", " \t"), ("ALIEXPRESS_APP_KEY", "\n")];
    let unset = Settings::unset(SCHEMA).describe();
    assert_eq!(from(&blank).unwrap().describe(), unset);
    assert_eq!(from_file("[redis]\nurl = ''\n").unwrap().describe(), unset);
}

#[test]
fn every_mistake_is_named_at_once() {
    let file = file(
        "port = 1\nAPI_HOST = 'x'\n[server]\nprot = 1\nport = 70000\napi_port = 1\n\
         [servr]\nhost = 1\n[limits]\nper_minute = -5\nadmin_key = 'k'\nsince = 2026-01-01\n",
    );
    let environment = [("API_PORT", "8o8o"), ("LOG_LEVEL", "loud"), ("ALIEXPRESS_APP_KEY", "1")];
    let told = told(config::resolve(SCHEMA, Some(&file), &environment.into_iter().collect()));
    let expected = [
        "test.toml line 1, port: expected every key in a section",
        "test.toml line 2, API_HOST: expected every key in a section",
        "test.toml line 4, server.prot: expected one of the keys host, port, ",
        "test.toml line 5, server.port = \"70000\": expected a whole number from 0 to 65535",
        "test.toml line 6, server.api_port: expected one of the keys host, port, ",
        "test.toml line 7, [servr]: expected one of the sections server, upstream, ",
        "test.toml line 10, limits.per_minute = \"-5\": expected a whole number from 0 to 1000000000",
        "test.toml line 11, limits.admin_key: expected one of the keys enabled, ",
        "test.toml line 12, limits.since: expected one of the keys enabled, ",
        "API_PORT = \"8o8o\": expected a whole number",
        "LOG_LEVEL = \"loud\": expected critical, error,",
        "ALIEXPRESS_APP_SECRET: expected a value, because ALIEXPRESS_APP_KEY is set",
    ];
    for (line, start) in told.iter().zip(expected) {
        assert!(line.starts_with(start), "{start}\n{told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn broken_toml_is_told_with_its_lines_and_without_its_values() {
    let text = "[access]\nadmin_key = \"hunter2\ninternal_key = hunter3\n[server]\nport = 99999\n";
    let told = told(from_file(text));
    assert!(told.len() >= 2, "{told:#?}");
    assert!(
        told.iter().any(|line| line.starts_with("test.toml line 2: expected valid TOML")),
        "{told:#?}"
    );
    assert!(told.iter().any(|line| line.contains("server.port")), "{told:#?}");
    assert!(!told.concat().contains("hunter"), "{told:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_beside_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let environment = [("API_PORT", "x")].into_iter().collect();
    let told = told(load(SCHEMA, Some(&missing), &environment));
    assert_eq!(told.len(), 2);
    assert!(told[0].contains("missing.toml: expected a readable text file"), "{told:?}");
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(load(SCHEMA, Some(&binary), &Environment::default()).is_err());
}

#[test]
fn a_named_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("good.toml");
    std::fs::write(&path, "[cache]\nmemory_items = 7\n").unwrap();
    assert_eq!(
        load(SCHEMA, Some(&path), &Environment::default())
            .unwrap()
            .of::<CacheSettings>()
            .memory_items,
        7
    );
}

#[test]
fn credentials_come_in_pairs_and_are_stripped() {
    let pair = [("ALIEXPRESS_APP_KEY", " 512345\n"), ("ALIEXPRESS_APP_SECRET", "\thunter2 ")];
    let settings = from(&pair).unwrap();
    let accounts = settings.of::<AliExpressSettings>().accounts();
    let credentials = &accounts[0].credentials;
    assert_eq!(credentials.app_key, "512345");
    assert_eq!(credentials.app_secret.expose(), "hunter2");
    assert_eq!(shown(&settings, "ALIEXPRESS_APP_KEY"), "512345 environment");
    for lone in pair {
        let told = told(from(&[lone]));
        assert!(told.len() == 1 && told[0].contains("both or neither"), "{told:?}");
    }
    // One from each source is a pair, too.
    let file = file("[upstream]\napp_key = 512345\n");
    let settings = config::resolve(SCHEMA, Some(&file), &[pair[1]].into_iter().collect()).unwrap();
    assert_eq!(settings.of::<AliExpressSettings>().accounts(), accounts);
}

#[test]
fn the_simulator_inside_is_paced_only_when_that_is_set() {
    let pace = |set: &[(&str, &str)], simulated| {
        from(set).unwrap().of::<UpstreamSettings>().pace(simulated)
    };
    let paced = |burst| pacing::Settings {
        rate: Some(Rate { per_second: 5.0, burst }),
        daily_budget: Some(5_000),
        shares: Shares { client: 25, kept_for_keys: 20 },
        ..pacing::Settings::default()
    };
    assert_eq!(pace(&[], true), pacing::Settings::default());
    assert_eq!(pace(&[], false), paced(10));
    let set = [("UPSTREAM_BURST", "3")];
    assert_eq!(pace(&set, true), paced(3));
    assert_eq!(shown(&from(&set).unwrap(), "UPSTREAM_RATE_PER_SECOND"), "5 default");
}

#[test]
fn one_lifetime_is_for_every_kind_that_has_none_of_its_own() {
    let settings = from(&[("CACHE_TTL", "60"), ("CACHE_TTL_HOT", "5")]).unwrap();
    let (cache, own): (CacheSettings, ProductSettings) = (settings.of(), settings.of());
    let minute = Duration::from_secs(60);
    for lifetime in
        [cache.default_ttl, own.product_ttl, own.link_ttl, own.search_ttl, own.category_ttl]
    {
        assert_eq!(lifetime, minute);
    }
    assert_eq!(own.hot_ttl, Duration::from_secs(5));
    assert_eq!(shown(&settings, "CACHE_TTL_LINK"), "60 environment");
}

#[test]
fn without_limits_abuse_is_watched_only_when_that_is_set() {
    let mode = |set: &[(&str, &str)]| from(set).unwrap().of::<Limits>().abuse_mode();
    assert_eq!(mode(&[]), AbuseMode::On);
    assert_eq!(mode(&[("RATE_LIMIT_ENABLED", "false")]), AbuseMode::Off);
    let both = [("RATE_LIMIT_ENABLED", "false"), ("ABUSE_DETECTION", "shadow")];
    assert_eq!(mode(&both), AbuseMode::Shadow);
}

#[test]
fn the_longest_wait_is_not_below_the_first() {
    let told = told(from(&[("RETRY_BASE_DELAY_MS", "20000")]));
    assert_eq!(
        told,
        ["RETRY_MAX_DELAY_MS = 10000: expected at least RETRY_BASE_DELAY_MS, which is 20000"]
    );
    from(&[("RETRY_BASE_DELAY_MS", "20000"), ("RETRY_MAX_DELAY_MS", "20000")]).unwrap();
}

#[test]
fn what_is_wrong_with_an_address_of_postgres_is_told() {
    let expected = "DATABASE_URL = [hidden]: expected sqlite://PATH or \
         postgres://[user[:password]@]host[:port]/database[?sslmode=…]; ";
    for (address, reason) in [
        ("postgres://u:hunter2@h", "the name of the database is missing"),
        ("postgres://u:hunter2@h:port/d", "invalid value for option `port`"),
        ("postgres://u:hunter2@h/d?colour=red", "unknown option `colour`"),
        (
            "postgres://u:hunter2@h/d?sslmode=allow",
            "sslmode is disable, prefer, require or verify-full",
        ),
        (
            "postgres://u:hunter2@h/d?sslmode=require&sslrootcert=/ca.pem",
            "sslrootcert is used with sslmode=verify-full only",
        ),
    ] {
        let told = told(from(&[("DATABASE_URL", address)]));
        assert_eq!(told, [format!("{expected}{reason}")]);
    }
}

#[test]
fn no_secret_is_ever_shown() {
    const SECRET: &str = "hunter2";
    let bad = [
        ("ALIEXPRESS_APP_SECRET", "hunter2 x"),
        ("ADMIN_API_KEY", "hunter2 x"),
        ("INTERNAL_API_KEY", "hunter2\u{1}"),
        ("REDIS_URL", "redis//:hunter2@cache"),
        ("REDIS_URL", "rediss://:hunter2@cache#insecure"),
        ("REDIS_URL", "tcp://cache?password=hunter2"),
        ("DATABASE_URL", "postgres://u:hunter2@h/"),
        ("DATABASE_URL", "postgres://u:a hunter2@h/d"),
        ("ALIEXPRESS_GATEWAY_URL", "https://u:hunter2@h/"),
        ("ALLOWED_ORIGINS", "https://chatgpt.com, https://u:hunter2@h"),
        ("ALLOWED_ORIGINS", "https://u:a/hunter2@h"),
        ("LOG_LEVEL", "redis://:hunter2@cache"),
    ];
    for (variable, value) in bad {
        let mistakes = from(&[(variable, value)]).unwrap_err();
        assert!(!format!("{mistakes} {mistakes:?}").contains(SECRET), "{mistakes}");
    }
    let good = [
        ("ALIEXPRESS_APP_KEY", "1"),
        ("ALIEXPRESS_APP_SECRET", SECRET),
        ("ADMIN_API_KEY", SECRET),
        ("INTERNAL_API_KEY", SECRET),
        ("REDIS_URL", "redis://me:hunter2@cache/1"),
        ("DATABASE_URL", "postgres://me:a/b?c#hunter2@sql/d"),
    ];
    let settings = from(&good).unwrap();
    let described = serde_json::to_string(&settings.describe()).unwrap();
    assert!(!described.contains(SECRET) && described.contains("me:[hidden]@cache"), "{described}");
    assert!(described.contains("postgres://me:[hidden]@sql/d"), "{described}");
    assert!(!format!("{settings:?}").contains(SECRET));
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let told = told(from(&[("LOG_LEVEL", &"loud".repeat(1_000))]));
    assert!(told[0].len() < 250, "{}", told[0].len());
}

#[test]
fn names_and_keys_are_unique_and_every_default_is_accepted() {
    let mut seen = BTreeSet::new();
    for setting in Settings::unset(SCHEMA).describe() {
        assert!(seen.insert(setting.name.to_owned()) && seen.insert(setting.key.clone()));
        if let Some(value) = setting.value.filter(|value| !value.contains(", or off")) {
            from(&[(setting.name, &value)]).unwrap();
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_file_and_no_value_makes_it_panic(text in "\\PC*|[\\[\\]a-z.='\"#\n 0-9-]*", value in "\\PC*") {
        let _either = from_file(&text);
        let _either = from_file(&format!("[server]\n{text}"));
        for setting in Settings::unset(SCHEMA).describe() {
            let _either = from(&[(setting.name, &value)]);
        }
        let clean = redact(&value);
        proptest::prop_assert_eq!(redact(&clean), clean.clone());
    }
}

#[test]
fn the_settings_page_is_current() {
    assert!(
        settings_page(SCHEMA) == include_str!("../../../docs/settings.md"),
        "docs/settings.md is out of date: run `cargo run -- settings > docs/settings.md`"
    );
}
