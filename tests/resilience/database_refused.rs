//! Databases that are refused at the start, with what to do instead.
//!
//! Owns: the rule that `serve` ends with a sentence where only an operator can help, that `check-config
//! --connect` says the same, and that nothing was changed.

use std::process::Command;

use crate::migrations::execute;
use crate::support::gateway::breakwater;
use crate::support::postgres::{PASSWORD, Postgres};

/// What the command says, and its exit status; it has to end by itself.
fn said(arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command.arg("30").arg(breakwater(folder.path()).get_program()).args(arguments);
    command.env_clear().env("API_PORT", "0").envs(settings.to_vec()).current_dir(folder.path());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Both commands refuse these settings with these words.
pub(crate) fn is_refused(settings: &[(&str, &str)], words: &[&str]) {
    let commands: [&[&str]; 2] = [&["serve"], &["check-config", "--connect"]];
    for arguments in commands {
        let (status, text) = said(arguments, settings);
        assert_eq!(status, 1, "{arguments:?}: {text}");
        for words in words {
            assert!(text.contains(words), "{arguments:?}: {words} in\n{text}");
        }
    }
}

const NEWER: &str = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')";
const ADVICE: &[&str] = &["step 20990101000000", "start that version", "migrate --down"];

#[test]
fn a_file_that_a_newer_version_has_changed_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let url = format!("sqlite://{}", path.display());
    let settings = [("DATABASE_URL", url.as_str())];
    let (status, text) = said(&["migrate"], &settings);
    assert_eq!(status, 0, "{text}");
    execute(&path, NEWER);
    let before = std::fs::read(&path).unwrap();
    is_refused(&settings, ADVICE);
    let (status, text) = said(&["migrate"], &settings);
    assert!(status == 1 && text.contains("start that version"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is quarantined");
}

#[test]
fn a_server_that_a_newer_version_has_changed_is_refused() {
    let server = Postgres::start();
    let url = server.url();
    let settings = [("DATABASE_URL", url.as_str())];
    let (status, text) = said(&["migrate"], &settings);
    assert_eq!(status, 0, "{text}");
    server.sql(NEWER);
    is_refused(&settings, ADVICE);
    server.stop();
}

#[test]
fn what_is_no_replica_of_the_primary_is_refused() {
    let (primary, other) = (Postgres::start(), Postgres::start());
    let (replica, foreign) = (primary.replica(), other.replica());
    let primary_url = primary.url();
    let refused = |url: &str, words: &[&str]| {
        is_refused(&[("DATABASE_URL", &primary_url), ("DATABASE_REPLICA_URLS", url)], words);
    };
    let port = |server: &Postgres| server.address().to_string();
    refused(&primary_url, &[&port(&primary), "it is no replica", "name a standby of the primary"]);
    refused(&other.url(), &[&port(&other), "it is no replica", "pg_is_in_recovery()"]);
    refused(&foreign.url(), &[&port(&foreign), "system identifier is another one"]);
    let good = replica.url();
    let settings = [("DATABASE_URL", primary_url.as_str()), ("DATABASE_REPLICA_URLS", &good)];
    let (status, text) = said(&["check-config", "--connect"], &settings);
    assert!(text.contains(&format!("replica {}: ok", port(&replica))), "{status} {text}");
    assert!(!text.contains(PASSWORD), "{text}");
    [replica, foreign, primary, other].into_iter().for_each(Postgres::stop);
}

#[test]
fn addresses_that_nothing_can_be_reached_by_are_refused_with_what_to_write() {
    for (setting, url, words) in [
        ("DATABASE_URL", "mysql://h/d", "expected sqlite://PATH or postgres://"),
        ("REDIS_URL", "http://h:6379", "expected redis[s]://"),
        (
            "REDIS_URL",
            "redis+cluster://h/3",
            "a cluster has no databases: redis+cluster://host,host",
        ),
        ("DATABASE_REPLICA_URLS", "mysql://h/d", "expected none, or a list"),
        ("DATABASE_REPLICA_URLS", "postgres://h/d", "none while DATABASE_URL is a file"),
    ] {
        for command in ["serve", "check-config"] {
            let (status, text) = said(&[command], &[(setting, url)]);
            assert_eq!(status, 2, "{text}");
            assert!(text.contains(setting) && text.contains(words), "{words} in\n{text}");
        }
    }
}
