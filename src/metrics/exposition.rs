//! The text of `GET /metrics`, in the Prometheus text format 0.0.4.
//!
//! Owns: rewriting what the package writes, which is `OpenMetrics` 1.0: there a counter's family is named
//! without `_total`, and readers of 0.0.4 would take our counters for untyped. Asks no other room and no
//! actor: a scrape works whatever is down.

use std::fmt;

use prometheus_client::encoding::text::encode;

use super::families::Metrics;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text.
///
/// # Errors
/// None in practice: writing to a string does not fail; the package's signature has the error.
pub fn render(metrics: &Metrics) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    metrics.with_registry(|registry| encode(&mut text, registry))?;
    Ok(to_prometheus(&text))
}

/// Rewrites `OpenMetrics` as Prometheus text 0.0.4: a counter's family is named like its samples,
/// `# UNIT` and `# EOF` do not exist. The samples themselves are the same in both.
fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        // HELP comes right before TYPE, which alone says whether the family is a counter.
        let kind = if line.starts_with("# HELP ") { lines.peek().copied() } else { Some(line) };
        if kind.is_some_and(|kind| kind.starts_with("# TYPE ") && kind.ends_with(" counter")) {
            push_total(&mut text, line);
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// Writes `# HELP name …` or `# TYPE name …` with `_total` behind the name.
fn push_total(text: &mut String, line: &str) {
    let mut words = line.splitn(4, ' ');
    for (at, word) in words.by_ref().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(word);
        if at == 2 {
            text.push_str("_total");
        }
    }
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
