//! Figures and the tables they are printed in.

use std::time::Duration;

use serde_json::Value;

use crate::support::http::Connection;

/// A table with a heading; columns are as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these column names.
    pub(crate) fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let names = columns.iter().map(|&name| name.to_owned()).collect();
        Self { title: title.into(), rows: vec![names] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it; the first column to the left, figures to the right.
    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        println!("\n{}", self.title);
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}

/// The time that `share` (0 to 1) of the sorted times do not exceed; zero when there is none.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let all = f64::from(u32::try_from(sorted.len()).unwrap_or(u32::MAX));
    let enough = (1_u32..).zip(sorted).find(|(seen, _)| f64::from(*seen) >= share * all);
    enough.map(|(_, time)| *time).or(sorted.last().copied()).unwrap_or_default()
}

/// Milliseconds with two decimals.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// MiB with one decimal.
pub(crate) fn mebibytes(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}

/// Calls that a simulator has received in all.
pub(crate) fn simulator_calls(simulator: &mut Connection) -> u64 {
    let stats = simulator.get("/__simulator/stats").expect("the simulator answers").json();
    assert_eq!(stats["bad_signatures"], 0, "signatures fit");
    let calls = stats["calls"].as_object().expect("calls by method");
    calls.values().filter_map(Value::as_u64).sum()
}

/// The samples of one metric family: the label part of each and its value.
pub(crate) fn samples(metrics: &str, family: &str) -> Vec<(String, f64)> {
    let of_family = metrics.lines().filter_map(|line| line.strip_prefix(family));
    of_family
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' '))
        .filter_map(|(labels, value)| Some((labels.to_owned(), value.parse().ok()?)))
        .collect()
}
