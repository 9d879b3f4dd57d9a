//! The rules as files: promtool accepts them, every alert has its cases and its entry in the runbook.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::prometheus::{folder, is_installed};

/// The names of all alerts, as they stand in the rules.
fn alerts() -> BTreeSet<String> {
    let rules = fs::read_to_string(folder().join("prometheus/rules/breakwater.yml")).unwrap();
    let named = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    named.map(str::to_owned).collect()
}

#[test]
fn every_alert_has_an_entry_in_the_runbook_and_every_entry_an_alert() {
    let runbook = fs::read_to_string(folder().join("../docs/runbook.md")).unwrap();
    let mut entries = BTreeSet::new();
    for entry in runbook.split("\n## ").skip(1) {
        let (title, text) = entry.split_once('\n').unwrap();
        for part in ["**Meaning.**", "**First look.**", "**What to do.**"] {
            assert!(text.contains(part), "{title} lacks {part}");
        }
        entries.insert(title.to_owned());
    }
    assert_eq!(entries, alerts());
    let rules = fs::read_to_string(folder().join("prometheus/rules/breakwater.yml")).unwrap();
    for alert in alerts() {
        let anchor = format!("runbook: docs/runbook.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{alert} does not link to its entry");
    }
}

#[test]
fn every_alert_has_a_firing_and_a_silent_case() {
    let cases = ["breakwater_test.yml", "objectives_test.yml"];
    let cases = cases.map(|name| fs::read_to_string(folder().join("prometheus/tests").join(name)));
    let cases: String = cases.into_iter().map(Result::unwrap).collect();
    for alert in alerts() {
        assert!(cases.contains(&format!("- name: {alert} fires\n")), "{alert} has no firing case");
        assert!(
            cases.contains(&format!("- name: {alert} is silent ")),
            "{alert} has no silent case"
        );
    }
}

#[test]
fn promtool_accepts_rules_and_configuration_and_all_cases_hold() {
    if !is_installed() {
        return;
    }
    let config = folder().join("prometheus/prometheus.yml");
    promtool(&["check", "config", config.to_str().unwrap()]);
    for name in ["breakwater_test.yml", "objectives_test.yml"] {
        let cases = folder().join("prometheus/tests").join(name);
        promtool(&["test", "rules", cases.to_str().unwrap()]);
    }
}

fn promtool(arguments: &[&str]) {
    let ended = Command::new("promtool").args(arguments).output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}
