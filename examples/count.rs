//! Counts the house: how much code there is, how often each mechanism exists, who imports whom.
//!
//! Owns: the table of `make count`. Reads the sources as text, tests left out. The first column is
//! what was counted before the rooms were drawn again; the second is counted now. What only a run can
//! tell (a hit's instructions and files) is read from what `make bench-instructions` wrote; without
//! it the row says so. With a folder as argument it counts the sources in there.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use source::Source;

#[path = "count/imports.rs"]
mod imports;
#[path = "count/source.rs"]
mod source;

/// A kind of mechanism: its name, the types that are one of our own (each as `Type@part of its path`),
/// how many there were, and how one is named that all use.
type Machine = (&'static str, &'static [&'static str], &'static str, &'static str);

/// Users of a machine are not counted: a retry budget that counts in slots is no window of its own.
const MACHINES: &[Machine] = &[
    (
        "sliding windows",
        &[
            "Window@limits/window",
            "Window@breaker/window",
            "Window@resilience/window",
            "TimeSlots@resilience/slots",
            "RetryBudget@upstream/budget",
            "Minute@limits/abuse/minute",
            "SlidingWindow@metrics/windows",
            "Minutes@metrics/minutes",
        ],
        "6",
        "resilience::slots",
    ),
    (
        "token buckets",
        &[
            "TokenBucket@token_bucket",
            "Schedule@upstream/pacing",
            "Pace@resilience/pace",
            "Pace@http/connection",
            "Throttle@cache/throttle",
            "Guesses@upstream",
            "Guesses@access/guesses",
            "Sparse@http/sparse",
            "Bucket@faults/capacity",
        ],
        "7",
        "resilience::token_bucket",
    ),
    (
        "back-offs",
        &[
            "Backoff@resilience",
            "RestartHistory@supervision",
            "Setbacks@cache",
            "Faults@upstream/standing",
            "Policy@upstream/retry",
            "Care@database",
            "Penalty@limits/abuse",
            "Writer@tiers/database/writer",
        ],
        "7",
        "resilience::backoff",
    ),
    (
        "sharded maps",
        &[
            "ShardedMap@resilience",
            "Sharded@access",
            "Recent@limits/abuse",
            "Penalties@limits/abuse/penalties",
            "Table@limits/table",
            "Filter@limits/abuse",
            "Guesses@access/guesses",
        ],
        "5",
        "resilience::sharded_map",
    ),
];

/// Ways in which instances tell each other something, and the text that gives each away.
const CHANNELS: &[(&str, &str)] = &[
    ("stream of invalidations", "XADD"),
    ("map of access records", "HSET"),
    ("untold limits", "Untold"),
    ("arrears", "Arrears"),
    ("change log", "crate::replication"),
];

/// An endpoint and a service, followed through the files that name them.
const ENDPOINT: &[&str] = &["smart_match", "smartmatch", "smart-match"];
const SERVICE: &[&str] = &["aliexpress", "products"];

fn main() {
    let root = std::env::args()
        .nth(1)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), Into::into);
    let sources = source::read_all(&root.join("src"));
    let code: usize = sources.iter().map(|file| file.code.len()).sum();
    let comments: usize = sources.iter().map(|file| file.comments).sum();
    let measured = measured(&root);

    println!("| what | before | now | goal |");
    println!("|---|---|---|---|");
    row(
        "code lines in src, files",
        "37,978 in 388",
        &format!("{code} in {}", sources.len()),
        "≤ 26,000 in ≤ 240",
    );
    row("comment lines", "8,841", &comments.to_string(), "≤ 5,000");
    row("median lines of a file", "81", &median(&sources).to_string(), "as before");
    row("own files that a memory hit passes", "61", measured.get("files"), "≤ 25");
    row(
        "files that name one endpoint (smart match)",
        "19",
        &naming(&sources, ENDPOINT, "simulator/").to_string(),
        "2 and its test",
    );
    row(
        "files outside its folder that name the products' service",
        "~34",
        &naming(&sources, SERVICE, "products/").to_string(),
        "one line in app, one in config",
    );
    row("settings", "101", &settings(&root).to_string(), "about 60");
    mechanisms(&sources);
    circles(&sources, &measured);
}

fn mechanisms(sources: &[Source]) {
    for (name, words, before, shared) in MACHINES {
        let found = types(sources, words, shared);
        row(name, before, &format!("{}: {}", found.len(), found.join(", ")), "1 or 2");
    }
    let channels: Vec<_> = CHANNELS
        .iter()
        .filter(|(_, text)| sources.iter().any(|file| file.names(text)))
        .map(|(name, _)| *name)
        .collect();
    row(
        "ways in which instances tell each other something",
        "4",
        &format!("{}: {}", channels.len(), channels.join(", ")),
        "1",
    );
}

fn circles(sources: &[Source], measured: &Measured) {
    let imports = Imports::of(sources);
    row(
        "import circles between files",
        "23",
        &imports.circles().len().to_string(),
        "0 in http and limits",
    );
    row("import circles between rooms", "1", &imports.room_circles().len().to_string(), "0");
    row(
        "instructions of a hit that copy nothing, of the connection's dispatcher",
        "43,000",
        measured.get("instructions"),
        "≤ 22,000",
    );
    for circle in imports.circles().iter().chain(&imports.room_circles()) {
        println!("\ncircle: {}", circle.join(", "));
    }
}

fn row(what: &str, before: &str, now: &str, goal: &str) {
    println!("| {what} | {before} | {now} | {goal} |");
}

fn median(sources: &[Source]) -> usize {
    let mut lines: Vec<_> = sources.iter().map(|file| file.code.len()).collect();
    lines.sort_unstable();
    lines.get(lines.len() / 2).copied().unwrap_or_default()
}

/// Files that hold one of the words, outside of folders that end in `own`.
fn naming(sources: &[Source], words: &[&str], own: &str) -> usize {
    let elsewhere = sources.iter().filter(|file| !file.path.contains(own));
    elsewhere.filter(|file| words.iter().any(|word| file.names_word(word))).count()
}

/// Those of the machines that are there; who uses the `shared` one has none of its own.
fn types(sources: &[Source], machines: &[&str], shared: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (name, place) in machines.iter().filter_map(|machine| machine.split_once('@')) {
        for file in sources.iter().filter(|file| file.path.contains(place)) {
            let is_user = !file.path.starts_with("resilience/") && file.names(shared);
            if !is_user && file.code.iter().any(|line| defines(line, name)) {
                found.insert(format!("{name} ({})", file.path));
            }
        }
    }
    found.into_iter().collect()
}

/// Whether the line begins the definition of this type.
fn defines(line: &str, name: &str) -> bool {
    let rest = line.split_once("struct ").map(|(_, rest)| rest);
    rest.and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Rows of the settings page.
fn settings(root: &Path) -> usize {
    let page = fs::read_to_string(root.join("docs/settings.md")).unwrap_or_default();
    page.lines().filter(|line| line.starts_with("| `")).count()
}

struct Measured(BTreeMap<String, String>);

impl Measured {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("not measured: make bench-instructions", String::as_str)
    }
}

/// `name value` lines that the benchmark left.
fn measured(root: &Path) -> Measured {
    let text = fs::read_to_string(root.join("target/bench/instructions")).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Measured(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
