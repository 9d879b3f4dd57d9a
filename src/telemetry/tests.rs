//! The log seen from outside: what a line holds, what is left out, what is counted.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::Value;
use slog::{Level, Logger, debug, error, info, o, warn};

use super::log::{form, running, written};
use super::*;
use crate::config::kinds::Rollout;

/// A writer whose content can be looked at from outside.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect()
    }

    fn json(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands on the page after the log has ended.
fn logged(format: LogFormat, level: Level, say: impl FnOnce(&Logger, &LevelHandle)) -> Page {
    let page = Page::default();
    let telemetry = running(written(format, page.clone()), level, Losses::default());
    say(telemetry.logger(), &telemetry.level());
    drop(telemetry);
    page
}

fn for_request(root: &Logger, request_id: &'static str) -> Logger {
    root.new(slog::o!("request_id" => request_id))
}

#[test]
fn a_json_line_has_time_level_message_and_fields() {
    let page = logged(LogFormat::Json, Level::Info, |log, _| {
        let log = for_request(log, "r-1");
        warn!(log, "a \"quoted\"\nmessage"; "status" => 503, "duration_ms" => 0.5,
            "error" => %io::Error::other("broken"), "stale" => true);
    });
    let lines = page.json();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(line["level"], "warning");
    assert_eq!(line["msg"], "a \"quoted\"\nmessage");
    assert_eq!(line["request_id"], "r-1");
    assert_eq!(line["status"], 503);
    assert_eq!(line["duration_ms"], 0.5);
    assert_eq!(line["error"], "broken");
    assert_eq!(line["stale"], true);
    let time = line["ts"].as_str().unwrap();
    assert_eq!(time.len(), "2026-01-01T00:00:00.000Z".len());
    let form = &time::format_description::well_known::Rfc3339;
    assert!(time.ends_with('Z') && time::OffsetDateTime::parse(time, form).is_ok(), "{time}");
    assert!(page.lines()[0].starts_with("{\"ts\":"));
}

#[test]
fn every_line_of_a_request_has_its_id_and_no_other_line_has() {
    let page = logged(LogFormat::Json, Level::Info, |log, _| {
        let request = for_request(log, "r-2");
        let deeper = request.new(o!("actor" => "cache"));
        info!(log, "outside");
        info!(request, "inside");
        info!(deeper, "deeper");
    });
    let ids: Vec<_> = page.json().iter().map(|line| line["request_id"].clone()).collect();
    assert_eq!(ids, [Value::Null, "r-2".into(), "r-2".into()]);
    assert_eq!(page.json()[2]["actor"], "cache");
}

#[test]
fn the_level_can_be_changed_while_it_runs() {
    let page = logged(LogFormat::Json, Level::Warning, |log, level| {
        info!(log, "no"; "count" => slog::FnValue(|_| -> u8 { unreachable!() }));
        level.set(Level::Debug);
        assert_eq!(level.get(), Level::Debug);
        debug!(log, "yes");
        level.set(Level::Error);
        warn!(log, "no");
        error!(log, "yes");
    });
    assert_eq!(page.json().len(), 2);
    assert!(page.json().iter().all(|line| line["msg"] == "yes"));
}

#[test]
fn text_is_for_people() {
    let page = logged(LogFormat::Text, Level::Info, |log, _| {
        info!(log, "started"; "address" => "127.0.0.1:80", "count" => 2);
    });
    let lines = page.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with("INFO started, address: 127.0.0.1:80, count: 2"), "{}", lines[0]);
}

#[test]
fn what_others_said_forges_no_line_of_text_and_steers_no_terminal() {
    let page = logged(LogFormat::Text, Level::Info, |log, _| {
        warn!(log, "redis"; "error" => "no\n2026-11-30 CRIT forged\u{1b}[2J\u{202e}\u{9b}1m");
    });
    let lines = page.lines();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0]
            .ends_with(r"WARN redis, error: no\n2026-11-30 CRIT forged\u{1b}[2J\u{202e}\u{9b}1m"),
        "{}",
        lines[0]
    );
}

#[test]
fn the_form_follows_settings_and_terminal() {
    use LogFormat::{Json, Text};
    for (asked, share, terminal, expected) in [
        (None, 100, false, Json),
        (None, 100, true, Text),
        (Some(Json), 100, true, Json),
        (Some(Text), 100, false, Text),
        (None, 0, false, Text),
        (Some(Json), 0, false, Text),
        (None, 1, false, Json),
    ] {
        assert_eq!(form(asked, Rollout(share), terminal), expected);
    }
}

#[test]
fn a_log_file_is_written_and_what_waits_is_flushed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("logs/gateway.log");
    let log = LogSettings { file: Some(path.clone()), ..LogSettings::default() };
    let telemetry = start(&log, Rollout(100)).unwrap();
    for number in 0..1_000 {
        info!(telemetry.logger(), "line"; "count" => number);
    }
    let losses = telemetry.losses();
    drop(telemetry);
    let text = std::fs::read_to_string(&path).unwrap();
    let counts: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, (0..1_000).collect::<Vec<_>>());
    assert_eq!((losses.dropped(), losses.failed()), (0, 0));
}

#[test]
fn a_log_file_that_cannot_be_opened_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogSettings { file: Some(directory.path().to_owned()), ..LogSettings::default() };
    assert!(start(&log, Rollout(100)).is_err());
}

/// Waits before its first line until it may go on.
struct Stuck(mpsc::Receiver<()>, Page);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An error means that the other end is gone: go on for ever.
        self.0.recv().unwrap_or_default();
        self.1.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_come_too_fast_are_dropped_and_counted_and_nobody_waits() {
    let (go_on, wait) = mpsc::channel();
    let page = Page::default();
    let sink = written(LogFormat::Json, Stuck(wait, page.clone()));
    let telemetry = running(sink, Level::Info, Losses::default());
    let losses = telemetry.losses();
    for number in 0..10_000_u32 {
        info!(telemetry.logger(), "line"; "count" => number);
    }
    assert!(losses.dropped() > 0);
    drop(go_on);
    drop(telemetry);
    let written = u64::try_from(page.lines().len()).unwrap();
    assert_eq!(written + losses.dropped(), 10_000);
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_the_log_goes_on() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let telemetry = running(written(LogFormat::Json, Full), Level::Info, Losses::default());
    let losses = telemetry.losses();
    for _ in 0..3 {
        info!(telemetry.logger(), "lost");
    }
    drop(telemetry);
    assert_eq!((losses.failed(), losses.dropped()), (3, 0));
}

#[test]
fn a_log_file_that_is_written_again_says_how_many_lines_were_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.log");
    // Every line that is written there meets a full disk.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let settings = LogSettings { file: Some(path.clone()), ..LogSettings::default() };
    let telemetry = start(&settings, Rollout(100)).unwrap();
    let losses = telemetry.losses();
    for _ in 0..3 {
        info!(telemetry.logger(), "lost");
    }
    while losses.failed() < 3 {
        std::thread::yield_now();
    }
    let trouble = losses.trouble().unwrap();
    assert!(trouble.contains("gateway.log: No space left on device"), "{trouble}");
    std::fs::remove_file(&path).unwrap();
    info!(telemetry.logger(), "written");
    drop(telemetry);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[1]["msg"], "the log is written again");
    assert_eq!((&lines[1]["lost"], &lines[1]["problem"]), (&3.into(), &trouble.into()));
    assert_eq!(losses.trouble(), None);
}

#[test]
fn a_line_logged_after_the_end_is_counted_as_dropped() {
    let telemetry =
        running(written(LogFormat::Json, Page::default()), Level::Info, Losses::default());
    let (log, losses) = (telemetry.logger().clone(), telemetry.losses());
    drop(telemetry);
    info!(log, "too late");
    assert_eq!(losses.dropped(), 1);
}

#[test]
fn a_panic_s_message_is_short_and_without_passwords() {
    let say = |payload: Box<dyn std::any::Any + Send>| panic_message(&*payload);
    assert_eq!(say(Box::new("plain")), "plain");
    assert_eq!(say(Box::new("redis://:pw@h".to_owned())), "redis://:[hidden]@h");
    assert_eq!(say(Box::new(7)), "not a text");
    assert_eq!(say(Box::new("x".repeat(10_000))).len(), 500);
}

#[test]
fn a_level_that_is_not_logged_is_told_beforehand() {
    let page = logged(LogFormat::Json, Level::Info, |log, level| {
        use slog::Drain as _;
        assert!(log.is_enabled(Level::Info) && !log.is_enabled(Level::Debug));
        level.set(Level::Debug);
        assert!(for_request(log, "r-2").is_enabled(Level::Debug));
    });
    assert!(page.lines().is_empty());
}
