//! Good values and bad ones, of every variable, from the environment and from the file.

use super::settings::{from, from_file, shown, told};
use crate::app::SCHEMA;
use crate::config::Settings;

/// Variable, what is set, what is in force.
const GOOD: &[(&str, &str, &str)] = &[
    ("API_HOST", "0.0.0.0", "0.0.0.0"),
    ("API_HOST", " localhost ", "127.0.0.1"),
    ("API_HOST", "[::1]", "::1"),
    ("API_PORT", "0", "0"),
    ("API_PORT", "65535", "65535"),
    ("HTTP_WORKERS", "512", "512"),
    ("MAX_CONNECTIONS_PER_ADDRESS", "0", "0"),
    ("MAX_REQUESTS_IN_FLIGHT", "1", "1"),
    ("ALIEXPRESS_TRACKING_ID", "\tshop-1\n", "shop-1"),
    ("ALIEXPRESS_GATEWAY_URL", "http://sim:9090/sync", "http://sim:9090/sync"),
    ("ALIEXPRESS_LANGUAGE", "fr", "FR"),
    ("ALIEXPRESS_CURRENCY", "eur", "EUR"),
    ("UPSTREAM_RATE_PER_SECOND", "0.5", "0.5"),
    ("UPSTREAM_DAILY_BUDGET", "0", "0"),
    ("REDIS_URL", "redis://cache", "redis://cache"),
    ("REDIS_URL", "redis://:pw@[::1]:6380/2", "redis://:[hidden]@[::1]:6380/2"),
    ("REDIS_URL", "rediss://:pw@cache:6380", "rediss://:[hidden]@cache:6380"),
    ("REDIS_URL", "redis+cluster://:pw@a:1,b", "redis+cluster://:[hidden]@a:1,b"),
    ("REDIS_URL", "rediss+cluster://a", "rediss+cluster://a"),
    ("REDIS_URL", "redis+sentinel://a/shop", "redis+sentinel://a/shop"),
    (
        "REDIS_URL",
        "rediss+sentinel://me:p w@a:1,[::1]:2/shop/3",
        "rediss+sentinel://me:[hidden]@a:1,[::1]:2/shop/3",
    ),
    ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("DATABASE_URL", "sqlite:///data/b.db", "sqlite:///data/b.db"),
    ("DATABASE_URL", "sqlite:data/b.db", "sqlite://data/b.db"),
    (
        "DATABASE_URL",
        "postgresql://shop:hunter2@db:5433/cache?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://shop:[hidden]@db:5433/cache?sslmode=verify-full&sslrootcert=/ca.pem",
    ),
    ("DATABASE_REPLICA_URLS", "none", "none"),
    ("DATABASE_POOL_SIZE", "8", "8"),
    ("DATABASE_POOL_OVERFLOW", "0", "0"),
    ("DATABASE_POOL_WAIT_MS", "50", "50"),
    ("CACHE_NEGATIVE_TTL", "0", "0"),
    ("CACHE_STALE_SECONDS", "0", "0"),
    ("ADMIN_API_KEY", " sesame ", "[hidden]"),
    ("ADMIN_READONLY_KEY", " millet ", "[hidden]"),
    ("REQUIRE_API_KEY", "YES", "true"),
    ("RATE_LIMIT_ENABLED", "off", "false"),
    ("MAX_REQUESTS_PER_SECOND", "0", "0"),
    ("TRUSTED_PROXIES", "10.1.2.3/8, ::1 192.168.1.1", "10.0.0.0/8, ::1/128, 192.168.1.1/32"),
    ("TRUSTED_PROXIES", "none", "none"),
    ("TRUSTED_PROXIES", "::ffff:10.0.0.0/104 ::ffff:192.0.2.7", "10.0.0.0/8, 192.0.2.7/32"),
    ("TRUSTED_PROXIES", "::/0, ::ffff:0:0/96", "::/0, 0.0.0.0/0"),
    ("CLIENT_ADDRESS_HEADER", "X-Forwarded-For", "x-forwarded-for"),
    ("IPV6_PREFIX", "128", "128"),
    ("RATE_LIMIT_INSTANCES", "1000", "1000"),
    ("ABUSE_DETECTION", "Shadow", "shadow"),
    (
        "ALLOWED_ORIGINS",
        "HTTPS://Shop.example,http://localhost:3000",
        "https://shop.example, http://localhost:3000",
    ),
    ("ALLOWED_ORIGINS", "none", "none"),
    ("LOG_LEVEL", "WARN", "warning"),
    ("LOG_LEVEL", "trace", "trace"),
    ("LOG_FORMAT", "Text", "text"),
    ("LOG_FORMAT", "auto", "auto"),
    ("LOG_FILE", "logs/b.log", "logs/b.log"),
    ("ENABLE_RETRY_LOGIC", "off", "off"),
    ("ENABLE_RETRY_LOGIC", "37", "37%"),
    ("ENABLE_RETRY_LOGIC", "5 %", "5%"),
    ("ENABLE_RETRY_LOGIC", "true", "on"),
    ("ENABLE_RETRY_LOGIC", "0", "off"),
    ("ENABLE_RETRY_LOGIC", "100", "on"),
    ("CHAOS_ENABLED", "1", "true"),
    ("ALIEXPRESS_PROPAGATE_TRACE", "on", "true"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", "http://collector:4318"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=s3cret, b=%20c", "api-key=[hidden],b=[hidden]"),
    ("OTEL_SERVICE_NAME", "the shop", "the shop"),
];

#[test]
fn good_values_are_taken() {
    for (variable, value, in_force) in GOOD {
        let settings = from(&[(variable, value)]).unwrap();
        assert_eq!(
            shown(&settings, variable),
            format!("{in_force} environment"),
            "{variable}={value}"
        );
    }
}

const BAD: &[(&str, &[&str])] = &[
    ("API_HOST", &["nowhere", "127.0.0.1:80", "256.0.0.1"]),
    ("API_PORT", &["65536", "-1", "80a", "8080.0", "0x50"]),
    ("HTTP_WORKERS", &["0", "513", "many"]),
    ("REQUEST_TIMEOUT_MS", &["0", "99999999999999999999"]),
    ("MAX_REQUESTS_IN_FLIGHT", &["0", "1000001", "many"]),
    ("SHUTDOWN_TIMEOUT_SECONDS", &["0"]),
    ("ALIEXPRESS_TRACKING_ID", &["two words", "ümlaut", "a\u{0}b"]),
    (
        "ALIEXPRESS_GATEWAY_URL",
        &["api.example", "ftp://h/", "http://", "https://h/?a=1", "https://u:p@h/"],
    ),
    ("ALIEXPRESS_LANGUAGE", &["E", "ENG", "E1"]),
    ("ALIEXPRESS_CURRENCY", &["$", "US", "U$D"]),
    ("UPSTREAM_RATE_PER_SECOND", &["0", "-1", "NaN", "inf", "10001", "1e-9", "five"]),
    ("UPSTREAM_BURST", &["0"]),
    ("UPSTREAM_TIMEOUT_MS", &["0", "120001"]),
    ("RETRY_MAX_ATTEMPTS", &["0", "11"]),
    ("BREAKER_FAILURES", &["0"]),
    (
        "REDIS_URL",
        &[
            "cache:6379",
            "http://cache",
            "redis://cache/first",
            "redis://",
            "rediss://cache/#insecure",
            "redis+cluster://a,b/1",
            "redis+cluster://",
            "redis+sentinel://a,b",
            "redis+sentinel://a,/shop",
            "redis+sentinel://a/shop/x",
            "redis+sentinel://a/shop?x=1",
            "redis+sentinel://a:x,b/shop",
        ],
    ),
    (
        "DATABASE_URL",
        &[
            "breakwater.db",
            "postgres://u:p@h/",
            "mysql://h",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://a?mode=ro",
            "sqlite:dir/",
        ],
    ),
    (
        "DATABASE_REPLICA_URLS",
        &[
            "db2",
            "a,postgres://h/d",
            "mysql://h/d",
            "postgres://h",
            "postgres://h/d?sslmode=x",
            "postgres://h/d,postgresql://u@h:5432/e",
        ],
    ),
    ("CACHE_TTL", &["0", "1h"]),
    ("MAX_MEMORY_CACHE_ITEMS", &["0"]),
    ("MAX_MEMORY_CACHE_BYTES", &["1023", "100MB"]),
    ("ADMIN_API_KEY", &["two words", "schlüssel"]),
    ("ADMIN_READONLY_KEY", &["two words", "schlüssel"]),
    ("REQUIRE_API_KEY", &["maybe", "2"]),
    ("MAX_REQUESTS_PER_SECOND", &["-1", "1000000001"]),
    (
        "TRUSTED_PROXIES",
        &["10.0.0.0/33", "proxy.local", "10.0.0.0/8,nowhere", "::ffff:10.0.0.0/95"],
    ),
    ("CLIENT_ADDRESS_HEADER", &["x-real-ip", "forwarded,x-forwarded-for"]),
    ("IPV6_PREFIX", &["0", "129", "256"]),
    ("RATE_LIMIT_INSTANCES", &["0", "1001", "two"]),
    ("ABUSE_DETECTION", &["true", "maybe"]),
    (
        "ALLOWED_ORIGINS",
        &["*", "shop.example", "https://shop.example/", "https://shop.example:443", "null"],
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        &["collector:4318", "grpc://collector:4317", "http://u:p@c", "http://c/?a=1"],
    ),
    ("OTEL_EXPORTER_OTLP_HEADERS", &["s3cret", "a b=c", "host=c", "a=%0d%0aHost:b", "a=%4"]),
    ("OTEL_SERVICE_NAME", &["the\u{7}shop"]),
    ("LOG_LEVEL", &["loud"]),
    ("LOG_FORMAT", &["xml"]),
    ("LOG_FILE", &["logs/"]),
    ("ENABLE_DATA_VALIDATION", &["101", "-1", "half", "12.5"]),
    ("CHAOS_ENABLED", &["perhaps"]),
];

#[test]
fn replicas_are_those_of_a_postgres_and_shown_without_passwords() {
    let replicas = "postgres://u:hunter2@b/d, postgres://u:hunter2@b:1,c/d?sslmode=disable";
    let set = [("DATABASE_URL", "postgres://u@a/d"), ("DATABASE_REPLICA_URLS", replicas)];
    let shown = shown(&from(&set).unwrap(), "DATABASE_REPLICA_URLS");
    assert_eq!(shown, format!("{} environment", replicas.replace("hunter2", "[hidden]")));
    let told = told(from(&set[1..]));
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(told.contains("none while DATABASE_URL is a file"), "{told}");
    assert!(told.contains("DATABASE_URL=postgres://"), "{told}");
}

#[test]
fn bad_values_are_refused_with_place_and_expectation() {
    for (variable, values) in BAD {
        for value in *values {
            let told = told(from(&[(variable, value)]));
            assert_eq!(told.len(), 1, "{variable}={value}: {told:?}");
            assert!(told[0].starts_with(&format!("{variable} = ")), "{told:?}");
            assert!(told[0].contains(": expected "), "{told:?}");
        }
    }
}

#[test]
fn the_same_values_are_judged_alike_in_the_file() {
    let path = |variable: &str| {
        let described = Settings::unset(SCHEMA).describe();
        described.into_iter().find(|setting| setting.name == variable).unwrap().key
    };
    let toml = |variable: &str, value: &str| {
        let path = path(variable);
        let (section, key) = path.split_once('.').unwrap();
        // JSON and TOML agree on strings.
        format!("[{section}]\n{key} = {}\n", serde_json::to_string(value).unwrap())
    };
    for (variable, value, in_force) in GOOD {
        let settings = from_file(&toml(variable, value)).unwrap();
        assert_eq!(shown(&settings, variable), format!("{in_force} file"), "{variable}={value}");
    }
    for (variable, values) in BAD {
        for value in *values {
            let told = told(from_file(&toml(variable, value)));
            let place = format!("test.toml line 2, {} = ", path(variable));
            assert!(told.len() == 1 && told[0].starts_with(&place), "{variable}={value}: {told:?}");
        }
    }
}
