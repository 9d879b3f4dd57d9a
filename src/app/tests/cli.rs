//! The command line seen from outside: status, output and complaint of every command.

use std::path::PathBuf;
use std::sync::Mutex;

use super::super::*;
use crate::cli::{Commands, DONE, FAILED, MISUSED, Outcome, Simulation, execute};
use crate::config::{Mistakes, Settings, Tried};

/// Notes what it was asked to do; fails when told so.
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<String>>,
    fails: bool,
}

impl Recorder {
    fn note<T>(&self, what: String, answer: T) -> Result<T, Failure> {
        self.asked.lock().unwrap().push(what);
        if self.fails {
            let cause = std::io::Error::other("redis://:hunter2@cache refused");
            return Err(Box::new(cause));
        }
        Ok(answer)
    }
}

impl Commands for Recorder {
    fn schema(&self) -> Schema {
        SCHEMA
    }
    fn address(&self, settings: &Settings) -> SocketAddr {
        Breakwater.address(settings)
    }
    fn serve(&self, settings: Settings, file: Option<PathBuf>) -> Result<(), Failure> {
        self.note(format!("serve on {} from {file:?}", self.address(&settings).port()), ())
    }
    fn demo(&self, settings: Result<Settings, Mistakes>) -> Result<(), Failure> {
        self.note(format!("demo on {}", self.address(&settings?).port()), ())
    }
    fn connect(&self, _: Settings) -> Vec<Tried> {
        let noted = self.note("connect".to_owned(), "answers".to_owned());
        vec![Tried {
            what: "redis".to_owned(),
            setting: "REDIS_URL",
            outcome: noted.map_err(|failure| failure.to_string()),
            remedy: "look at it",
        }]
    }
    fn simulate(&self, _: Settings, simulation: Simulation) -> Result<(), Failure> {
        self.note(format!("simulate {} {:?}", simulation.listen, simulation.catalog), ())
    }
    fn migrate(&self, settings: Settings, down: bool) -> Result<String, Failure> {
        let path = settings.of::<DatabaseSettings>().address.to_string();
        self.note(
            format!("migrate {path}{}", if down { " down" } else { "" }),
            "2 migrations applied".to_owned(),
        )
    }
    fn openapi(&self, _: &Settings, gpt: bool) -> Result<String, Failure> {
        self.note(format!("openapi {gpt}"), "{}".to_owned())
    }
}

const NOTHING: [(&str, &str); 0] = [];

fn run_with(arguments: &[&str], environment: &[(&str, &str)], recorder: &Recorder) -> Outcome {
    // A breakwater.toml of the developer's own must not decide here.
    let named = arguments.contains(&"--config");
    let file = if named { &[][..] } else { &["--config", "/dev/null"] };
    let line = std::iter::once("breakwater").chain([file, arguments].concat());
    let environment = environment.iter().copied().collect();
    execute(line, &environment, recorder)
}

fn asked(arguments: &[&str]) -> String {
    let recorder = Recorder::default();
    let outcome = run_with(arguments, &NOTHING, &recorder);
    assert_eq!(outcome.status, DONE, "{outcome:?}");
    recorder.asked.into_inner().unwrap().join("; ")
}

#[test]
fn each_command_reaches_its_function() {
    assert_eq!(asked(&[]), "serve on 8080 from Some(\"/dev/null\")");
    assert_eq!(asked(&["serve"]), "serve on 8080 from Some(\"/dev/null\")");
    assert_eq!(asked(&["simulate"]), "simulate 127.0.0.1:9090 None");
    assert_eq!(
        asked(&["simulate", "--listen", "[::1]:0", "--catalog", "a.jsonl.gz"]),
        "simulate [::1]:0 Some(\"a.jsonl.gz\")"
    );
    assert_eq!(asked(&["migrate"]), "migrate breakwater.db");
    assert_eq!(asked(&["migrate", "--down"]), "migrate breakwater.db down");
    assert_eq!(asked(&["check-config", "--connect"]), "connect");
    assert_eq!(asked(&["openapi"]), "openapi false");
    assert_eq!(asked(&["openapi", "--gpt"]), "openapi true");
}

#[test]
fn the_file_may_be_named_before_or_after_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, "[server]\nport = 9001\n").unwrap();
    let name = file.to_str().unwrap();
    for line in [["--config", name, "serve"], ["serve", "--config", name]] {
        assert_eq!(asked(&line), format!("serve on 9001 from Some({file:?})"));
    }
    assert_eq!(asked(&["--config", name]), format!("serve on 9001 from Some({file:?})"));
}

#[test]
fn help_and_version_are_answers() {
    let help = run_with(&["--help"], &NOTHING, &Recorder::default());
    assert_eq!(help.status, DONE);
    for word in ["serve", "simulate", "check-config", "migrate", "openapi", "health", "--config"] {
        assert!(help.output.contains(word), "{word} is not in the help");
    }
    let version = run_with(&["--version"], &NOTHING, &Recorder::default());
    assert_eq!(version.output.trim(), format!("breakwater {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_told_and_has_status_2() {
    for line in [
        &["swim"][..],
        &["serve", "--fast"],
        &["simulate", "--listen", "nowhere"],
        &["--config"],
        &["serve", "migrate"],
    ] {
        let outcome = run_with(line, &NOTHING, &Recorder::default());
        assert_eq!(outcome.status, MISUSED, "{line:?}");
        assert!(outcome.complaint.contains("error:") && outcome.output.is_empty(), "{outcome:?}");
    }
}

#[test]
fn every_mistake_in_the_settings_is_told_and_nothing_is_started() {
    let wrong = [("API_PORT", "many"), ("HTTP_WORKERS", "0")];
    for command in ["serve", "simulate", "migrate", "check-config", "health"] {
        let recorder = Recorder::default();
        let outcome = run_with(&[command], &wrong, &recorder);
        assert_eq!(outcome.status, MISUSED);
        assert!(outcome.complaint.contains("2 mistakes"), "{}", outcome.complaint);
        assert!(outcome.complaint.contains("API_PORT = \"many\": expected a whole number"));
        assert!(recorder.asked.into_inner().unwrap().is_empty());
    }
}

#[test]
fn mistakes_near_misses_and_cautions_are_told_together() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_str().unwrap();
    let wrong = [
        ("API_PORT", "many"),
        ("ADMIN_API_KEY", "short"),
        ("RATE_LIMIT_PER_MINUTE", "9"),
        // Found by looking at the machine, not at the text.
        ("LOG_FILE", folder),
    ];
    let told = |command| {
        let outcome = run_with(&[command], &wrong, &Recorder::default());
        assert_eq!(outcome.status, MISUSED);
        outcome.complaint
    };
    let complaint = told("check-config");
    assert!(complaint.starts_with("breakwater: 2 mistakes in the configuration\n  API_PORT"));
    for said in
        ["\n  LOG_FILE = ", "\nbut: ADMIN_API_KEY has", "\nbut: RATE_LIMIT_PER_MINUTE is no"]
    {
        assert_eq!(complaint.matches(said).count(), 1, "{said} in {complaint}");
    }
    assert_eq!(told("serve"), complaint);
    // What a refused value would have meant is nobody's guess: no caution, no look at the machine.
    let wrong = [("SHUTDOWN_TIMEOUT_SECONDS", "x"), ("REQUEST_TIMEOUT_MS", "60000")];
    let outcome = run_with(&["serve"], &wrong, &Recorder::default());
    assert_eq!(outcome.complaint.lines().count(), 2, "{}", outcome.complaint);
}

#[test]
fn a_missing_file_is_a_wrong_configuration() {
    let outcome = run_with(&["--config", "no/such.toml"], &NOTHING, &Recorder::default());
    assert_eq!(outcome.status, MISUSED);
    assert!(outcome.complaint.contains("no/such.toml"), "{}", outcome.complaint);
}

#[test]
fn a_failure_has_status_1_and_hides_passwords() {
    for command in ["serve", "simulate", "migrate", "openapi"] {
        let recorder = Recorder { fails: true, ..Recorder::default() };
        let outcome = run_with(&[command], &NOTHING, &recorder);
        assert_eq!(outcome.status, FAILED);
        assert_eq!(outcome.complaint, "breakwater: redis://:[hidden]@cache refused");
    }
}

#[test]
fn good_settings_are_shown_with_their_source_and_without_secrets() {
    let environment = [("ADMIN_API_KEY", "hunter2"), ("REDIS_URL", "redis://:hunter2@cache")];
    let outcome = run_with(&["check-config"], &environment, &Recorder::default());
    assert_eq!(outcome.status, DONE);
    let line = |name: &str| {
        let found = outcome.output.lines().find(|line| line.starts_with(name)).unwrap();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("API_PORT "), "API_PORT 8080 (default)");
    assert_eq!(line("ADMIN_API_KEY "), "ADMIN_API_KEY [hidden] (environment)");
    assert_eq!(line("REDIS_URL "), "REDIS_URL redis://:[hidden]@cache (environment)");
    assert!(!outcome.output.contains("hunter2"));
}

#[test]
fn what_was_tried_begins_with_the_verdict_and_names_setting_and_remedy() {
    for (fails, status, expected) in [
        (
            false,
            DONE,
            "ok: 1 tried, and none failed\nredis: ok (REDIS_URL): answers\n\nthe configuration",
        ),
        (
            true,
            FAILED,
            "failed: 1 of the 1 that were tried\nredis: failed (REDIS_URL): redis://:[hidden]@cache refused; what to do: look at it\n\n",
        ),
    ] {
        let recorder = Recorder { fails, ..Recorder::default() };
        let outcome = run_with(&["check-config", "--connect"], &NOTHING, &recorder);
        assert_eq!(outcome.status, status);
        assert!(outcome.output.starts_with(expected), "{}", outcome.output);
    }
}

#[test]
fn an_admin_key_that_may_be_guessed_is_good_and_unwise() {
    for (key, unwise) in [("hunter2", true), ("fifteen-letters", true), ("sixteen-letters!", false)]
    {
        let outcome = run_with(&["check-config"], &[("ADMIN_API_KEY", key)], &Recorder::default());
        assert_eq!(outcome.status, DONE);
        let said = outcome.output.lines().any(|line| line.starts_with("but: ADMIN_API_KEY has"));
        assert_eq!(said, unwise, "{key}");
    }
}

#[test]
fn health_asks_the_address_in_the_settings() {
    // Port 0 never answers.
    let outcome = run_with(&["health"], &[("API_PORT", "0")], &Recorder::default());
    assert_eq!(outcome.status, FAILED);
    assert!(outcome.complaint.contains("http://127.0.0.1:0/health/live"), "{outcome:?}");
    let outcome = run_with(&["health", "--url", "ftp://x/"], &NOTHING, &Recorder::default());
    assert_eq!(outcome.status, FAILED);
}
