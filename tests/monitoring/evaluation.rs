//! Every expression of rules and dashboards, evaluated against a gateway that met every fault.
//!
//! Owns: what counts as evaluated: each selector finds series that have the labels it matches and is grouped
//! by, the whole finds something, and what it finds has the labels that legends and summaries name.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::Value;

use crate::expressions::{labels_in_text, named};
use crate::faults::Scene;
use crate::prometheus::{Prometheus, folder, is_installed};

/// How long Prometheus may take to scrape twice and to evaluate every rule.
const WITHIN: Duration = Duration::from_secs(90);

/// An expression, and the labels that its legend or its summary names.
#[derive(Debug)]
struct Use {
    place: String,
    expression: String,
    texts: BTreeSet<String>,
}

impl Use {
    fn new(place: &str, expression: &str, text: &str) -> Self {
        let expression = expression.replace("$instance", ".*");
        Self { place: place.to_owned(), expression, texts: labels_in_text(text) }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn in_rules(prometheus: &Prometheus) -> Vec<Use> {
    let of = |rule: &Value| {
        let summary = text(&rule["annotations"]["summary"]);
        Use::new(text(&rule["name"]), text(&rule["query"]), summary)
    };
    prometheus.rules().iter().map(of).collect()
}

fn in_dashboards() -> Vec<Use> {
    let mut uses = Vec::new();
    for entry in fs::read_dir(folder().join("grafana/dashboards")).unwrap() {
        let file = fs::read_to_string(entry.unwrap().path()).unwrap();
        let dashboard: Value = serde_json::from_str(&file).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let (expression, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
                uses.push(Use::new(text(&panel["title"]), expression, legend));
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let query = text(&variable["query"]["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (expression, label) = inner.and_then(|inner| inner.rsplit_once(", ")).unwrap();
            uses.push(Use::new(query, expression, &format!("{{{{{label}}}}}")));
        }
    }
    uses
}

/// What is wrong with an expression; nothing when it is evaluated.
fn mistakes(prometheus: &Prometheus, one: &Use) -> Vec<String> {
    let read = named(&one.expression);
    let mut mistakes = Vec::new();
    let mut check = |asked: &str, series: &[Value], labels: &mut dyn Iterator<Item = &String>| {
        if series.is_empty() {
            mistakes.push(format!("{}: {asked} is empty", one.place));
        }
        for label in labels {
            if series.iter().any(|series| series.get(label).is_none()) {
                mistakes.push(format!("{}: {asked} has no label {label}", one.place));
            }
        }
    };
    for (selector, labels) in &read.selectors {
        let mut labels = labels.union(&read.grouped_by);
        check(selector, &prometheus.query(selector), &mut labels);
    }
    let whole = prometheus.query(&read.unfiltered);
    check(&one.expression, &whole, &mut one.texts.iter());
    mistakes
}

fn all_mistakes(prometheus: &Prometheus, uses: &[Use]) -> Vec<String> {
    uses.iter().flat_map(|one| mistakes(prometheus, one)).collect()
}

#[test]
fn every_expression_finds_what_it_names() {
    if !is_installed() {
        return;
    }
    let scene = Scene::start();
    let prometheus = Prometheus::scraping(scene.gateway.address);
    scene.suffer();
    let mut uses = in_rules(&prometheus);
    uses.extend(in_dashboards());
    assert!(uses.len() > 60, "only {} expressions were found", uses.len());
    let deadline = monotonic() + WITHIN;
    let mut left = all_mistakes(&prometheus, &uses);
    while !left.is_empty() && monotonic() < deadline {
        std::thread::sleep(Duration::from_millis(500));
        left = all_mistakes(&prometheus, &uses);
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
    wrong_names_are_refused(&prometheus);
    prometheus.stop();
    scene.stop();
}

/// The test of the test: by now everything is there, so what is missing is misspelt.
fn wrong_names_are_refused(prometheus: &Prometheus) {
    let good = "sum by (job) (rate(http_requests_total{job=\"breakwater\"}[5m])) > 1000";
    let legend = "{{job}}";
    assert_eq!(mistakes(prometheus, &Use::new("", good, legend)), [""; 0]);
    let metric = good.replace("requests_total", "request_total");
    let matcher = good.replace("{job=", "{jobb!=");
    let group = good.replace("by (job)", "by (jobb)");
    let half = format!("{good} or no_such_metric");
    for (expression, legend, said) in [
        (metric.as_str(), legend, "http_request_total{job=\"breakwater\"} is empty"),
        (&matcher, legend, "has no label jobb"),
        (&group, legend, "has no label jobb"),
        (&half, legend, "no_such_metric is empty"),
        (good, "{{instance}}", "has no label instance"),
    ] {
        let mistakes = mistakes(prometheus, &Use::new("", expression, legend));
        assert!(mistakes.iter().any(|one| one.contains(said)), "{expression}: {mistakes:?}");
    }
}
