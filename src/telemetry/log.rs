//! The root logger: builds it from the settings and stops it in order; and the panic hook.
//!
//! Owns: the form of a line and its way from any thread to the one that writes. Refuses: a log file
//! that cannot be opened, and to repeat passwords of a panic. When the writer is behind, lines are
//! dropped and counted.

use std::any::Any;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::mpsc;
use std::time::Duration;

use slog::{
    BorrowedKV, Drain, FnValue, Level, Logger, OwnedKVList, PushFnValue, Record, RecordStatic,
    error, o,
};
use slog_async::{AsyncCore, AsyncGuard};

use super::drains::{Adjustable, LevelHandle, Lines, Text, counting};
use super::losses::{Losses, Watched};
use super::rotation::{RotatingFile, Rotation};
use super::settings::{LogFormat, LogSettings};
use crate::clock;
use crate::config::kinds::Rollout;
use crate::config::redact;

/// Lines that may wait for the writer; some megabytes at most.
const WAITING: usize = 4_096;

/// Longest time to wait for the last lines when stopping.
const LAST_WORDS: Duration = Duration::from_secs(2);

type Sink = Box<dyn Drain<Ok = (), Err = io::Error> + Send>;

pub struct Telemetry {
    logger: Logger,
    level: LevelHandle,
    losses: Losses,
    guard: Option<AsyncGuard>,
}

impl Telemetry {
    pub fn logger(&self) -> &Logger {
        &self.logger
    }

    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }

    pub fn losses(&self) -> Losses {
        self.losses.clone()
    }
}

impl Drop for Telemetry {
    /// Waits for the writer, but not for ever: whoever reads the log may have stopped reading.
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        let (done, written) = mpsc::channel();
        let flushing = std::thread::Builder::new().name("log-flush".to_owned()).spawn(move || {
            drop(guard);
            done.send(()).unwrap_or_default();
        });
        if flushing.is_ok() {
            written.recv_timeout(LAST_WORDS).unwrap_or_default();
        }
    }
}

/// Starts the log that the settings ask for: to the file if there is one, else to standard error;
/// text at a terminal and JSON elsewhere unless the format is set. Structured logging switched off
/// means text in any case; a share of requests is on.
///
/// # Errors
/// When the log file cannot be opened.
pub fn start(log: &LogSettings, structured: Rollout) -> io::Result<Telemetry> {
    let terminal = log.file.is_none() && io::stderr().is_terminal();
    let format = form(log.format, structured, terminal);
    let (sink, losses) = match &log.file {
        Some(path) => {
            let file = RotatingFile::open(path, Rotation::default())?;
            (written(format, file), Losses::of(&format!("LOG_FILE {}", path.display())))
        }
        None => (written(format, io::stderr()), Losses::default()),
    };
    Ok(running(sink, log.level, losses))
}

pub(super) fn form(asked: Option<LogFormat>, structured: Rollout, terminal: bool) -> LogFormat {
    match asked {
        _ if structured == Rollout(0) => LogFormat::Text,
        Some(format) => format,
        None if terminal => LogFormat::Text,
        None => LogFormat::Json,
    }
}

pub(super) fn written(format: LogFormat, writer: impl Write + Send + 'static) -> Sink {
    match format {
        LogFormat::Json => Box::new(json(Lines::new(writer))),
        LogFormat::Text => Box::new(Text::new(writer)),
    }
}

fn json<W: Write + Send + 'static>(writer: W) -> slog_json::Json<W> {
    slog_json::Json::new(writer)
        .set_flush(true)
        .add_key_value(o!("ts" => FnValue(|record: &Record<'_>| record.tag().to_owned())))
        .add_key_value(o!("level" => FnValue(|record: &Record<'_>| word(record.level()))))
        .add_key_value(o!("msg" => PushFnValue(|record: &Record<'_>, serializer| {
            serializer.emit(record.msg())
        })))
        .build()
}

/// Puts the sink on a thread of its own and everything before it that makes it a log.
pub(super) fn running(sink: Sink, level: Level, losses: Losses) -> Telemetry {
    let (core, guard) = AsyncCore::custom(Watched { drain: sink, losses: losses.clone() })
        .chan_size(WAITING)
        .thread_name("log".to_owned())
        .build_with_guard();
    let queue = counting(Timed(core), &losses.dropped);
    let level = LevelHandle::new(level);
    // Decided before anything about a line is formatted.
    let drain = Adjustable { drain: queue, level: level.clone() };
    Telemetry { logger: Logger::root(drain, o!()), level, losses, guard: Some(guard) }
}

/// Notes the time when a line is logged, not when it is written. The record's tag carries it to
/// the writing thread: it is the one part of a record that travels there and is not shown.
struct Timed<D>(D);

impl<D: Drain> Drain for Timed<D> {
    type Ok = D::Ok;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<D::Ok, D::Err> {
        let now = clock::now().rfc3339();
        let parts = RecordStatic { location: record.location(), tag: &now, level: record.level() };
        self.0.log(&Record::new(&parts, record.msg(), BorrowedKV(&record.kv())), values)
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.0.is_enabled(level)
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

const LONGEST_PANIC: usize = 500;

/// From now on a panic of any thread is one error line with its message and place, in place of the
/// text on standard error.
///
/// ```
/// use breakwater::config::kinds::Rollout;
/// use breakwater::telemetry::{LogSettings, install_panic_hook, start};
///
/// let file = std::env::temp_dir().join(format!("breakwater-{}.log", std::process::id()));
/// let settings = LogSettings { file: Some(file.clone()), ..LogSettings::default() };
/// let telemetry = start(&settings, Rollout(100))?;
/// install_panic_hook(telemetry.logger().clone());
///
/// let died = std::thread::spawn(|| panic!("redis://:pw@cache is gone")).join();
/// assert!(died.is_err());
/// drop(telemetry);
/// let lines = std::fs::read_to_string(&file)?;
/// assert_eq!(lines.lines().count(), 1);
/// assert!(lines.contains(r#""level":"error","msg":"panic""#));
/// assert!(lines.contains(r#""panic":"redis://:[hidden]@cache is gone""#));
/// # std::fs::remove_file(file)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn install_panic_hook(logger: Logger) {
    std::panic::set_hook(Box::new(move |info| report(&logger, info)));
}

fn report(logger: &Logger, info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    error!(logger, "panic";
        "panic" => panic_message(info.payload()),
        "location" => info.location().map(ToString::to_string),
        "thread" => thread.name().unwrap_or("unnamed").to_owned(),
    );
}

/// What a panic said, without passwords and cut where it gets too long.
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    let said = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text");
    redact(said).chars().take(LONGEST_PANIC).collect()
}
