//! Every family that can be there from the start is, with all its series at 0.

use super::*;
use crate::metrics::{Listed, ListedSeries, render};

/// The beginnings of lines that a family must have; of what counts, the whole lines.
fn wanted(family: &Listed, text: &str) -> Vec<String> {
    let ListedSeries::Bounded(series) = &family.series else { return Vec::new() };
    let counter = format!("# TYPE {}_total counter", family.name);
    let histogram = format!("# TYPE {} histogram", family.name);
    let (end, value) = if text.contains(&counter) {
        ("_total", "0")
    } else if text.contains(&histogram) {
        // The start itself asks the database.
        ("_count", if family.name == "db_query_duration_seconds" { "" } else { "0" })
    } else {
        ("", "")
    };
    let labels = |values: &Vec<&'static str>| {
        let pairs = family.labels.iter().zip(values);
        let pairs: Vec<_> = pairs.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
    };
    series.iter().map(|values| format!("{}{end}{} {value}", family.name, labels(values))).collect()
}

#[actix_web::test]
async fn every_series_that_can_be_named_is_there_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let log = Logger::root(slog::Discard, o!());
    let in_force = InForce::new(None, settings(folder.path()), |_| ());
    let gateway = Gateway::start(in_force, log, Losses::default()).await.unwrap();
    let metrics = &gateway.shared.metrics;
    let text = render(metrics).unwrap();
    let (mut open, mut missing) = (Vec::new(), Vec::new());
    for family in metrics.catalogue() {
        match &family.series {
            ListedSeries::Open(why) => {
                assert!(why.len() > 20, "{}: {why}", family.name);
                open.push(family.name);
            }
            ListedSeries::Bounded(series) => {
                assert!(
                    !series.is_empty(),
                    "{} has no series: nobody names its words",
                    family.name
                );
            }
        }
        for line in wanted(&family, &text) {
            if !text.lines().any(|shown| shown.starts_with(&line)) {
                missing.push(line);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?} in\n{text}");
    let declared = text.lines().filter(|line| line.starts_with("# TYPE "));
    let of_process = declared.clone().filter(|line| line.contains(" process_")).count();
    assert_eq!(declared.count() - of_process + open.len(), metrics.catalogue().len(), "{text}");
    assert_eq!(
        open,
        [
            "http_requests",
            "http_request_duration_seconds",
            "cache_operation_latency_seconds",
            "cache_entries",
            "cache_bytes",
            "upstream_account_budget_remaining",
            "db_replication_lag_seconds",
        ],
        "a family that is new here needs its reason, and an alert on it cannot see its first event"
    );
    gateway.stop().await;
}
