//! Tasks beside actors, watched: a panic in one is an error for its caller, and is reported.
//!
//! The only places where a task is spawned. A task dies alone, and its death is reported.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::record::{Observer, panic_text};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDied(pub String);

impl fmt::Display for TaskDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task panicked: {}", self.0)
    }
}

impl std::error::Error for TaskDied {}

/// Runs `work` in place and turns its panic into an error, reported to `observer`.
///
/// # Errors
/// The work panicked.
pub async fn run_watched<T>(
    owner: &'static str,
    observer: Arc<dyn Observer>,
    work: impl Future<Output = T>,
) -> Result<T, TaskDied> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text = panic_text(&*panic);
        observer.task_panicked(owner, &text);
        TaskDied(text)
    })
}

/// Wait before a task that panicked is started again.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Spawns what `make` makes on this thread, and again after a panic, which is reported to
/// `observer`; it is over when the work is.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn keep_running<F: Future<Output = ()> + 'static>(
    owner: &'static str,
    observer: Arc<dyn Observer>,
    make: impl Fn() -> F + 'static,
) {
    observer.task_started(owner);
    let work = async move {
        while run_watched(owner, Arc::clone(&observer), make()).await.is_err() {
            tokio::time::sleep(RESTART_DELAY).await;
        }
    };
    drop(tokio::task::spawn_local(work));
}

/// Spawns `work` on this thread; a panic is reported to `observer` and ends only this task.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn spawn_watched(
    owner: &'static str,
    observer: Arc<dyn Observer>,
    work: impl Future<Output = ()> + 'static,
) {
    // The handle is dropped on purpose: the task reports its own end.
    drop(tokio::task::spawn_local(run_watched(owner, observer, work)));
}
