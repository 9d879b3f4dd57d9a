//! A writer that passes on whole lines.
//!
//! Owns: the line in the making. Formatters write a line in dozens of pieces; passed on as they
//! come they would be as many system calls, and a file could be rotated in mid-line. When what is
//! behind it fails, the line is given up and the next one starts clean.

use std::io::{self, Write};

/// Collects what is written until it is flushed.
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
