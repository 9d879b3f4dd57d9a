//! Keeps the house straight: who may import whom, and where a package may be named.
//!
//! Owns: the table of `src/lib.rs` as a check. Reads the sources as text: every `crate::room` in a
//! room's files (its unit tests included) must be allowed here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and what each may name, beside itself and what everyone may: clock and failure.
const ROOMS: &[(&str, &[&str])] = &[
    ("app", &["*"]),
    ("cli", &["config", "console"]),
    (
        "http",
        &[
            "access",
            "cache",
            "config",
            "limits",
            "metrics",
            "origin",
            "otlp",
            "replication",
            "resilience",
            "supervision",
            "telemetry",
        ],
    ),
    ("services", &["cache", "config", "http", "limits", "metrics", "origin", "resilience"]),
    (
        "cache",
        &["config", "database", "metrics", "redis", "replication", "resilience", "supervision"],
    ),
    ("redis", &["config", "resilience"]),
    ("otlp", &["config", "metrics", "origin", "resilience", "supervision"]),
    ("origin", &["config", "metrics", "resilience", "supervision"]),
    ("replication", &["database", "redis"]),
    ("access", &["config", "database", "limits", "replication", "resilience"]),
    ("limits", &["config", "resilience", "supervision"]),
    ("metrics", &["resilience", "supervision"]),
    ("supervision", &["resilience"]),
    ("resilience", &[]),
    ("database", &["config", "resilience"]),
    ("telemetry", &["config", "console"]),
    ("config", &[]),
];
/// Rooms that know no service, and the words that would give one away.
const CORE: &[&str] = &[
    "access",
    "cache",
    "database",
    "http",
    "limits",
    "metrics",
    "origin",
    "otlp",
    "redis",
    "replication",
    "resilience",
    "supervision",
];
const WORDS_OF_SERVICES: &[&str] = &["aliexpress", "product", "affiliate"];

const EVERYONE: &[&str] = &["clock", "failure"];

/// Packages that only some files may name.
const PACKAGES: &[(&str, &[&str])] = &[
    (
        "diesel",
        &["src/database/", "src/cache/tiers/database/", "src/replication/", "src/access/audit.rs"],
    ),
    ("tokio_postgres", &["src/database/postgres/"]),
    ("deadpool_redis", &["src/redis/"]),
    ("failsafe", &["src/resilience/breaker/"]),
    ("quick_cache", &["src/cache/tiers/memory.rs", "src/resilience/sharded_map.rs"]),
    ("awc", &["src/origin/transport/", "src/services/products/simulator/"]),
    ("prometheus_client", &["src/metrics/"]),
    ("StatusCode", &["src/http/", "src/services/products/simulator/"]),
    ("SystemTime", &["src/clock.rs"]),
];

/// What a test sets although it is no setting, to see that it is told or refused.
const NO_SETTINGS: &[(&str, &str)] = &[
    ("tests/service/process_commands.rs", "RATE_LIMIT_PER_MINUTE"),
    ("tests/service/process_commands.rs", "HTTP_PROXY"),
    ("tests/service/accounts.rs", "ALIEXPRESS_APP_SECRET_2"),
];

fn sources() -> Vec<(String, String)> {
    files_in("src")
}

fn files_in(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 100, "found only {} source files", files.len());
    files
}

/// Lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Room names after `crate::` in a line.
fn named_rooms(line: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    };
    line.split("crate::").skip(1).map(name).filter(|room| !room.is_empty()).collect()
}

#[test]
fn rooms_import_only_whom_they_may() {
    let known: BTreeSet<_> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some(room) = file.strip_prefix("src/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room.0) else {
            wrong.push(format!("{file}: room {} is not in the table", room.0));
            continue;
        };
        for line in code(&text) {
            for named in named_rooms(line) {
                let fine = named == room.0
                    || allowed.contains(&"*")
                    || allowed.contains(&named.as_str())
                    || EVERYONE.contains(&named.as_str())
                    || !known.contains(named.as_str()) && named != "console";
                if !fine {
                    wrong.push(format!("{file}: names crate::{named}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_names_no_service() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let path = file.strip_prefix("src/").unwrap_or(&file);
        let in_core = CORE.iter().any(|room| path.starts_with(&format!("{room}/")));
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        if !in_core || is_test {
            continue;
        }
        let own = text.split_once("#[cfg(test)]\nmod tests {").map_or(&*text, |(own, _)| own);
        for line in code(own) {
            let line = line.to_lowercase();
            if WORDS_OF_SERVICES.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn packages_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (package, places) in PACKAGES {
            let here = places.iter().any(|place| file.starts_with(place));
            let word = |line: &str| {
                line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *package)
            };
            if !here && code(&text).any(word) {
                wrong.push(format!("{file}: names {package}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_log_line_names_its_request_with_its_place_in_the_trace() {
    let by_hand = |text: &str| code(text).any(|line| line.contains("\"request_id\" =>"));
    let files =
        sources().into_iter().filter(|(file, text)| !file.ends_with("tests.rs") && by_hand(text));
    let wrong: Vec<_> = files.map(|(file, _)| file).collect();
    assert!(wrong.is_empty(), "use trace::Ids: {}", wrong.join(", "));
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(file, _)| file)
        .collect();
    assert!(silent.is_empty(), "no module doc: {}", silent.join(", "));
}

/// Names like those of settings that are set to something: the first of several arguments or of a pair.
fn names_set(text: &str) -> Vec<&str> {
    let pieces: Vec<_> = text.split('"').collect();
    let set = pieces.windows(3).filter_map(|piece| match piece {
        [before, name, after] if before.trim_end().ends_with('(') => {
            after.trim_start().starts_with(',').then_some(*name)
        }
        _ => None,
    });
    let is_name = |name: &&str| {
        name.contains('_')
            && name.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c))
    };
    set.filter(is_name).collect()
}

/// What is no setting changes nothing, and a test that sets it tests something else.
#[test]
fn tests_set_only_what_is_a_setting() {
    // Made of the settings themselves; another test sees to that.
    let page = include_str!("../docs/settings.md");
    let known: BTreeSet<_> = page.split('`').collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (file, text) in files_in("tests") {
        for name in names_set(&text) {
            seen += 1;
            if !known.contains(name) && !NO_SETTINGS.contains(&(&file, name)) {
                wrong.push(format!("{file}: {name} is no setting"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 300, "found only {seen}");
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert_eq!(
        named_rooms("use crate::cache::Tier; let x = crate::http::y;"),
        BTreeSet::from(["cache".to_owned(), "http".to_owned()])
    );
    assert!(code("// crate::http\nlet a;").eq(["let a;"]));
    let sets =
        "plan.with(\n \"A_B\",\n \"1\").with(\"C_D\", x); var(\"E_F\"); [(\"G_H2\", \"I_J\")]";
    assert_eq!(names_set(sets), ["A_B", "C_D", "G_H2"]);
}
