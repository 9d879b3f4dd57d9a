//! The tables that are printed.
//!
//! Owns: their form. Nothing is judged here.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use crate::demand::RUSH;
use crate::episodes::Episode;
use crate::record::{Answer, Record};

/// The day as a whole: a row for each figure, a column for each client.
pub(crate) fn of_the_day(records: &[Record], episodes: &[Episode]) -> String {
    let mut text = line("", records.iter().map(|record| record.client.to_owned()), 13);
    let mut row = |name: &str, figure: &dyn Fn(&Record) -> String| {
        text += &line(name, records.iter().map(figure), 13);
    };
    row("questions", &|record| record.questions.len().to_string());
    row("calls", &|record| record.calls.len().to_string());
    row("  of these, retries", &|record| record.retries().to_string());
    row("  retries, share", &|record| {
        format!("{:.1} %", 100.0 * record.retries() as f64 / record.calls.len() as f64)
    });
    row("  in vain, upstream down", &|record| calls_in_vain(record, episodes).to_string());
    row("  most in a second", &|record| record.most_in_any(Duration::from_secs(1)).to_string());
    for (answer, name) in Answer::ALL {
        row(name, &|record| record.answered(answer).to_string());
    }
    text
}

/// Calls made while none could succeed.
pub(crate) fn calls_in_vain(record: &Record, episodes: &[Episode]) -> usize {
    let down = episodes.iter().filter(|episode| episode.trouble.is_down());
    down.map(|episode| record.calls_in(&(episode.begins..episode.ends()))).sum()
}

/// The day by what was going on: calls and answered questions of each client, and how long
/// after the end the first good answer came.
pub(crate) fn by_episode(records: &[Record], episodes: &[Episode]) -> String {
    let names = records.iter().map(|record| record.client.to_owned());
    let mut text = " ".repeat(10) + &line("", names, 27);
    write!(text, "{:<26}{:>10}", "", "questions").unwrap();
    for _ in records {
        write!(text, "{:>9}{:>8}{:>10}", "calls", "good", "after").unwrap();
    }
    text.push('\n');
    for (name, time) in times(episodes) {
        let asked = records[0].asked_in(&time).count();
        write!(text, "{name:<26}{asked:>10}").unwrap();
        for record in records {
            let after = record.first_good_after(time.end).map_or(0.0, |after| after.as_secs_f64());
            let (calls, good) = (record.calls_in(&time), record.good_in(&time));
            write!(text, "{calls:>9}{good:>8}{after:>8.1} s").unwrap();
        }
        text.push('\n');
    }
    text
}

fn times(episodes: &[Episode]) -> Vec<(String, Range<Duration>)> {
    let mut times: Vec<_> = episodes
        .iter()
        .map(|episode| (named(episode.begins, episode.name), episode.begins..episode.ends()))
        .collect();
    times.push((named(RUSH.start, "rush"), RUSH));
    times.sort_by_key(|(_, time)| time.start);
    times
}

fn named(begins: Duration, name: &str) -> String {
    let minutes = begins.as_secs() / 60;
    format!("{:02}:{:02} {name}", minutes / 60, minutes % 60)
}

fn line(name: &str, figures: impl Iterator<Item = String>, width: usize) -> String {
    let mut line = format!("{name:<26}");
    for figure in figures {
        write!(line, "{figure:>width$}").unwrap();
    }
    line + "\n"
}
