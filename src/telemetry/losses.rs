//! Lines that never arrived, and why.
//!
//! Owns: the counts since the start; what is wrong with the place that lines go to, who is told of it
//! there and then, and the line that tells it when it is over. Nobody waits for any of it: a line that
//! cannot be written is given up, and the service goes on.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slog::{Drain, Level, Never, OwnedKVList, Record, RecordStatic, b, o};

use crate::clock;
use crate::console;

/// How often standard error is told of the same trouble.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A line that was written, but not as it should be: into the old file, because no new one can be made.
#[derive(Debug)]
pub(super) struct Kept(pub(super) String);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Kept {}

/// Counts of lost lines since the start, and what is wrong now. Copies share them.
#[derive(Debug, Clone)]
pub struct Losses {
    place: Arc<str>,
    pub(super) dropped: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

#[derive(Debug)]
struct Trouble {
    problem: String,
    /// Lines lost since it began.
    lost: u64,
    told: Option<Instant>,
}

impl Default for Losses {
    fn default() -> Self {
        Self::of("standard error")
    }
}

impl Losses {
    /// Of the log that is written to this place.
    pub(super) fn of(place: &str) -> Self {
        let (dropped, failed, trouble) = Default::default();
        Self { place: place.into(), dropped, failed, trouble }
    }

    /// Lines dropped because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// What is wrong with the log, with its place and the system's words; `None` when lines are written.
    pub fn trouble(&self) -> Option<String> {
        self.state().as_ref().map(|trouble| self.words(&trouble.problem))
    }

    fn words(&self, problem: &str) -> String {
        format!("{}: {problem}", self.place)
    }

    /// A line could not be written as it should; what a person is to be told of that now.
    fn failed_with(&self, problem: &io::Error, now: Instant) -> Option<String> {
        let is_kept = problem.get_ref().is_some_and(|inner| inner.is::<Kept>());
        let lost = u64::from(!is_kept);
        self.failed.fetch_add(lost, Ordering::Relaxed);
        let mut state = self.state();
        let new = || Trouble { problem: String::new(), lost: 0, told: None };
        let trouble = state.get_or_insert_with(new);
        trouble.lost = trouble.lost.saturating_add(lost);
        trouble.problem = problem.to_string();
        if trouble.told.is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY) {
            return None;
        }
        trouble.told = Some(now);
        let (what, lost) = (self.words(&trouble.problem), trouble.lost);
        Some(format!("breakwater: the log has trouble: {what}; lines lost: {lost}"))
    }

    /// A line was written: how the trouble before it was, if there was any, and how many lines it cost.
    fn written(&self) -> Option<(String, u64)> {
        let over = self.state().take()?;
        Some((self.words(&over.problem), over.lost))
    }

    fn state(&self) -> MutexGuard<'_, Option<Trouble>> {
        // A value is replaced or changed in whole under it.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands lines on, counts those that cannot be written, and tells people of it.
pub(super) struct Watched<D> {
    pub(super) drain: D,
    pub(super) losses: Losses,
}

impl<D: Drain<Ok = (), Err = io::Error>> Drain for Watched<D> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        match self.drain.log(record, values) {
            Ok(()) => {
                if let Some((problem, lost)) = self.losses.written() {
                    self.tell_it_is_over(record, &problem, lost);
                }
            }
            Err(problem) => {
                if let Some(words) = self.losses.failed_with(&problem, clock::monotonic()) {
                    console::complain(&words);
                }
            }
        }
        Ok(())
    }
}

impl<D: Drain<Ok = (), Err = io::Error>> Watched<D> {
    /// Straight to the file: it stands there whatever the level is.
    fn tell_it_is_over(&self, record: &Record<'_>, problem: &str, lost: u64) {
        let now = clock::now().rfc3339();
        let parts = RecordStatic { location: record.location(), tag: &now, level: Level::Warning };
        let message = format_args!("the log is written again");
        let pairs = b!("lost" => lost, "problem" => problem);
        // If it fails the next line tells of new trouble.
        self.drain.log(&Record::new(&parts, &message, pairs), &o!().into()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    #[test]
    fn a_person_is_told_once_a_minute_and_the_end_with_the_number_of_lines() {
        let (losses, start) = (Losses::of("LOG_FILE /x"), clock::monotonic());
        let at = |second| start + Duration::from_secs(second);
        let told = losses.failed_with(&full(), at(0)).unwrap();
        assert!(told.contains("LOG_FILE /x: ") && told.ends_with("lines lost: 1"), "{told}");
        assert_eq!(losses.failed_with(&full(), at(59)), None);
        assert!(losses.failed_with(&full(), at(60)).unwrap().ends_with("lines lost: 3"));
        assert!(losses.trouble().unwrap().starts_with("LOG_FILE /x: "));
        assert_eq!(losses.written().unwrap().1, 3);
        assert_eq!((losses.trouble(), losses.written(), losses.failed()), (None, None, 3));
        // Another trouble is told at once.
        assert!(losses.failed_with(&full(), at(61)).is_some());
    }

    #[test]
    fn a_line_in_the_old_file_is_trouble_and_not_lost() {
        let losses = Losses::default();
        let kept = io::Error::other(Kept("no new file can be made".to_owned()));
        assert!(losses.failed_with(&kept, clock::monotonic()).unwrap().ends_with("lines lost: 0"));
        assert_eq!(losses.trouble().unwrap(), "standard error: no new file can be made");
        assert_eq!(losses.failed(), 0);
    }
}
