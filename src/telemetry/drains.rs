//! What stands between a logger and the file: the level, whole lines, text for people.
//!
//! Owns: the level of a running log, changed while the process runs. When what is behind it fails, the
//! line is given up and the failure handed on ([`super::losses`]).

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::console;
use slog::{Drain, KV, Key, Level, Never, OwnedKVList, Record, Serializer};

/// The level of a running log. Copies of a handle share it.
#[derive(Debug, Clone)]
pub struct LevelHandle(Arc<AtomicUsize>);

impl LevelHandle {
    pub(super) fn new(level: Level) -> Self {
        Self(Arc::new(AtomicUsize::new(level.as_usize())))
    }

    /// The least severe level that is logged.
    pub fn get(&self) -> Level {
        Level::from_usize(self.0.load(Ordering::Relaxed)).unwrap_or(Level::Info)
    }

    /// Takes effect with the next line of any thread.
    pub fn set(&self, level: Level) {
        self.0.store(level.as_usize(), Ordering::Relaxed);
    }

    pub(super) fn passes(&self, level: Level) -> bool {
        level.as_usize() <= self.0.load(Ordering::Relaxed)
    }
}

/// Lets through what the level allows, and says so beforehand: slog's own filter says of every level that
/// it is enabled, and lines that nobody sees would be put together.
pub(super) struct Adjustable<D> {
    pub(super) drain: D,
    pub(super) level: LevelHandle,
}

impl<D: Drain<Ok = ()>> Drain for Adjustable<D> {
    type Ok = ();
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), D::Err> {
        if self.level.passes(record.level()) { self.drain.log(record, values) } else { Ok(()) }
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.passes(level)
    }
}

/// The same drain without its errors, which are counted.
pub(super) fn counting<D: Drain>(
    drain: D,
    lost: &Arc<AtomicU64>,
) -> impl Drain<Ok = (), Err = Never> + use<D> {
    let lost = Arc::clone(lost);
    let count = move |_| lost.fetch_add(1, Ordering::Relaxed);
    drain.map_err(count).ignore_res()
}

/// Passes on whole lines. Formatters write a line in dozens of pieces; passed on as they come they
/// would be as many system calls, and a file could be rotated in mid-line.
pub(super) struct Lines<W> {
    inner: W,
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, line: Vec::with_capacity(1_024) }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.inner.write_all(&self.line).and_then(|()| self.inner.flush());
        self.line.clear();
        written
    }
}

/// Lines for a person: time, level, message, then the values in the order in which they were given. What
/// others said in them begins no line and steers no terminal.
/// The record's tag is the time.
pub(super) struct Text<W>(RefCell<W>);

impl<W: Write> Text<W> {
    pub(super) const fn new(writer: W) -> Self {
        Self(RefCell::new(writer))
    }
}

impl<W: Write> Drain for Text<W> {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        let mut pairs = Pairs::default();
        record.kv().serialize(record, &mut pairs)?;
        values.serialize(record, &mut pairs)?;
        pairs.0.reverse();
        let (time, level) = (record.tag(), record.level().as_short_str());
        let line = format!("{time} {level} {}{}", record.msg(), pairs.0.concat());
        let line = format!("{}\n", console::harmless(&line, &[]));
        let mut writer = self.0.borrow_mut();
        writer.write_all(line.as_bytes())?;
        writer.flush()
    }
}

#[derive(Default)]
struct Pairs(Vec<String>);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push(format!(", {key}: {value}"));
        Ok(())
    }
}
