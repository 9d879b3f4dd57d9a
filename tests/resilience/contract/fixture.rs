//! A supervisor for one test, and what it reported.
//!
//! Owns: names of their own for the threads of each test, notes of what the observer received, and
//! bounded waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use breakwater::clock;
use breakwater::supervision::{
    ActorStatus, Handle, Observer, RestartPolicy, RestartReason, Spec, Supervisor,
};

use super::subject::{SOON, Subject};
use crate::quiet;

/// What the observer heard, in order.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    /// How often exactly this was heard.
    pub(crate) fn count(&self, note: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|heard| *heard == note).count()
    }
}

impl Observer for Notes {
    fn restarted(
        &self,
        _: &'static str,
        _: usize,
        reason: RestartReason,
        _: Option<&str>,
        _: Duration,
    ) {
        self.add(reason.label());
    }

    fn hung(&self, _: &'static str, _: usize, _: Duration) {
        self.add("hung");
    }

    fn recovered(&self, _: &'static str, _: usize) {
        self.add("recovered");
    }

    fn task_panicked(&self, owner: &'static str, panic: &str) {
        self.add(format!("task {owner}: {panic}"));
    }
}

/// One actor on its fixture.
pub(crate) struct Fixture<S: Subject> {
    /// The supervisor, of this one actor only.
    pub(crate) supervisor: Supervisor,
    /// What it was told.
    pub(crate) notes: Arc<Notes>,
    /// The actor's table.
    pub(crate) subject: Arc<S>,
    /// How it is started.
    pub(crate) spec: Spec,
}

impl<S: Subject> Fixture<S> {
    /// A fixture with the application's restart policy and this much room in the inbox.
    pub(crate) fn with_room_for(capacity: usize) -> Self {
        static FIXTURES: AtomicUsize = AtomicUsize::new(0);
        quiet::panics_on_request();
        let notes = Arc::new(Notes::default());
        let supervisor = Supervisor::new(notes.clone()).unwrap();
        let subject = Arc::new(S::new(&supervisor));
        let instance = FIXTURES.fetch_add(1, Ordering::Relaxed);
        let spec = Spec { name: S::NAME, instance, capacity, policy: RestartPolicy::default() };
        Self { supervisor, notes, subject, spec }
    }

    /// Starts the actor: on this thread, or on its own.
    pub(crate) fn start(&self) -> Handle<S::Actor> {
        self.subject.start(&self.supervisor, self.spec)
    }

    /// Starts the actor on another thread, as if that were its worker; the thread ends with the
    /// second part.
    pub(crate) fn start_elsewhere(&self) -> (Handle<S::Actor>, tokio::sync::oneshot::Sender<()>) {
        let (subject, supervisor) = (Arc::clone(&self.subject), self.supervisor.clone());
        let spec = self.spec;
        let (started, handle) = channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            actix_rt::Runtime::new().unwrap().block_on(async move {
                started.send(subject.start(&supervisor, spec)).unwrap();
                drop(ended.await);
            });
        });
        (handle.recv_timeout(SOON).unwrap(), end)
    }

    /// The actor as the table sees it.
    pub(crate) fn status(&self) -> ActorStatus {
        self.supervisor.status().pop().expect("it is in the table")
    }

    /// The name of the actor's thread, as the system tells it.
    pub(crate) fn thread_name(&self) -> String {
        format!("{}-{}", S::NAME, self.spec.instance).chars().take(15).collect()
    }
}

/// Waits until `ready`, at most a while.
pub(crate) async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + SOON;
    while !ready() {
        assert!(clock::monotonic() < deadline, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
