//! The text of `GET /metrics`.
//!
//! Owns: the two formats a scraper may ask for. The package writes `OpenMetrics` 1.0, in which a
//! counter's family is named without `_total`. Older readers (and `promtool check metrics`) know
//! only the Prometheus text format 0.0.4, in which the family is named like its samples; they
//! would take our counters for untyped. So 0.0.4 is the default and `OpenMetrics` goes to who
//! asks for it by `Accept`. Refuses: anything but these two. Asks no other room and no actor: a
//! scrape works whatever is down.

use std::fmt;

use prometheus_client::encoding::text::encode;

use super::families::Metrics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// `OpenMetrics` text format 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format an `Accept` header asks for: `OpenMetrics` when it is named and not refused by
    /// `q=0`, else the Prometheus text format, whatever was sent.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let wanted = accept.unwrap_or_default().split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|media| media.eq_ignore_ascii_case("application/openmetrics-text"));
            named && !parts.any(refuses)
        });
        if wanted { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whether a parameter of a media range is a quality of zero.
fn refuses(parameter: &str) -> bool {
    parameter
        .strip_prefix("q=")
        .and_then(|quality| quality.trim().parse::<f32>().ok())
        .is_some_and(|quality| quality <= 0.0)
}

/// All metrics as text.
///
/// # Errors
/// None in practice: writing to a string does not fail; the package's signature has the error.
pub fn render(metrics: &Metrics, format: Format) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    metrics.with_registry(|registry| encode(&mut text, registry))?;
    Ok(match format {
        Format::OpenMetrics => text,
        Format::Prometheus => to_prometheus(&text),
    })
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
