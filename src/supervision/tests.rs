//! An actor per way of dying: what is lost, what is kept, what the table says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Message, MessageResult, ResponseFuture};

use super::*;
use crate::resilience::backoff::Backoff;

const SOON: Duration = Duration::from_secs(5);

/// Counts what it handles in a table that outlives it.
struct Counter {
    handled: Arc<AtomicU64>,
    own: u64,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Count;

#[derive(Message)]
#[rtype(result = "()")]
struct Poison;

#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

#[derive(Message)]
#[rtype(result = "()")]
struct PoisonedWork;

/// Blocks until the receiver is told; panics when nobody is left to tell it. Its own sender goes
/// with it.
#[derive(Message)]
#[rtype(result = "()")]
struct Stall(std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<()>);

impl Handler<Count> for Counter {
    type Result = MessageResult<Count>;
    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.own += 1;
        MessageResult(self.own)
    }
}

impl Handler<Poison> for Counter {
    type Result = MessageResult<Poison>;
    fn handle(&mut self, _: Poison, _: &mut Self::Context) -> Self::Result {
        panic!("poisoned");
    }
}

impl Handler<Leave> for Counter {
    type Result = MessageResult<Leave>;
    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) -> Self::Result {
        ctx.stop();
        MessageResult(())
    }
}

impl Handler<Stall> for Counter {
    type Result = MessageResult<Stall>;
    fn handle(&mut self, stall: Stall, _: &mut Self::Context) -> Self::Result {
        let Stall(release, _over) = stall;
        release.recv().expect("poisoned after a stall");
        MessageResult(())
    }
}

impl Handler<PoisonedWork> for Counter {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: PoisonedWork, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("poisoned work") })
    }
}

#[derive(Default)]
struct Notes {
    all: Mutex<Vec<String>>,
    one_more: tokio::sync::Notify,
}

impl Notes {
    fn add(&self, note: String) {
        self.all.lock().unwrap().push(note);
        self.one_more.notify_waiters();
    }
    fn count(&self, prefix: &str) -> usize {
        self.all.lock().unwrap().iter().filter(|note| note.starts_with(prefix)).count()
    }
    /// Returns when there is a note like that.
    async fn heard(&self, prefix: &str) {
        loop {
            let one_more = self.one_more.notified();
            if self.count(prefix) > 0 {
                return;
            }
            one_more.await;
        }
    }
}

impl Observer for Notes {
    fn restarted(
        &self,
        actor: &'static str,
        _: usize,
        reason: RestartReason,
        _: Option<&str>,
        wait: Duration,
    ) {
        self.add(format!("restarted {actor} {} {}", reason.label(), wait.as_millis()));
    }
    fn hung(&self, actor: &'static str, _: usize, _: Duration) {
        self.add(format!("hung {actor}"));
    }
    fn recovered(&self, actor: &'static str, _: usize) {
        self.add(format!("recovered {actor}"));
    }
    fn task_panicked(&self, owner: &'static str, panic: &str) {
        self.add(format!("task {owner} {panic}"));
    }
}

fn spec(capacity: usize) -> Spec {
    let policy = RestartPolicy { intensity: 100, ..RestartPolicy::default() };
    Spec { name: "counter", instance: 0, capacity, policy }
}

struct Stage {
    supervisor: Supervisor,
    notes: Arc<Notes>,
    handled: Arc<AtomicU64>,
}

impl Stage {
    fn new() -> Self {
        let notes = Arc::new(Notes::default());
        let supervisor = Supervisor::new(notes.clone()).unwrap();
        Self { supervisor, notes, handled: Arc::default() }
    }

    fn factory(&self) -> impl Fn() -> Counter + Send + Sync + use<> {
        let handled = Arc::clone(&self.handled);
        move || Counter { handled: Arc::clone(&handled), own: 0 }
    }

    fn here(&self, spec: Spec) -> Handle<Counter> {
        self.supervisor.start_here(spec, self.factory())
    }
}

#[actix::test]
async fn a_panic_loses_only_the_poisoned_message() {
    let stage = Stage::new();
    let counter = stage.here(spec(1000));
    for _ in 0..10 {
        counter.tell(Count).unwrap();
        counter.tell(Poison).unwrap();
        counter.tell(Count).unwrap();
    }
    assert_eq!(counter.ask(Poison, SOON).await, Err(AskError::Died));
    assert_eq!(counter.ask(Count, SOON).await, Ok(1), "state is rebuilt");
    assert_eq!(stage.handled.load(Ordering::Relaxed), 21, "bystanders are kept");
    let status = &stage.supervisor.status()[0];
    assert_eq!((status.restarts, status.queue), (11, 0));
    assert_eq!(status.last_panic.as_deref(), Some("poisoned"));
}

#[actix::test]
async fn a_stop_restarts_with_the_queue_kept() {
    let stage = Stage::new();
    let counter = stage.here(spec(1000));
    counter.tell(Count).unwrap();
    counter.tell(Leave).unwrap();
    counter.tell(Count).unwrap();
    assert_eq!(counter.ask(Count, SOON).await, Ok(2));
    assert_eq!(stage.notes.count("restarted counter stop 0"), 1);
}

#[actix::test]
async fn a_panic_in_the_work_of_one_message_reaches_only_its_caller() {
    let stage = Stage::new();
    let counter = stage.here(spec(10));
    assert_eq!(counter.ask_queued(PoisonedWork, SOON).await, Err(AskError::Died));
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    assert_eq!(stage.supervisor.status()[0].restarts, 0);
}

/// Asks with a caller that is polled once and then dropped.
async fn ask_once(counter: &Handle<Counter>) -> Option<Result<u64, AskError>> {
    use futures_util::FutureExt as _;
    counter.ask(Count, SOON).now_or_never()
}

#[actix::test]
async fn an_idle_actor_of_this_thread_answers_in_place() {
    let stage = Stage::new();
    let counter = stage.here(spec(10));
    assert_eq!(ask_once(&counter).await, None, "not started yet: through the inbox");
    tokio::task::yield_now().await;
    assert_eq!(ask_once(&counter).await, Some(Ok(1)), "a caller that is gone costs nothing");
    let status = &stage.supervisor.status()[0];
    assert_eq!((status.handled, status.queue), (2, 0));
    counter.tell(Count).unwrap();
    assert_eq!(ask_once(&counter).await, None, "what is queued comes first");
    tokio::task::yield_now().await;
    assert_eq!(counter.ask(Count, SOON).await, Ok(3));
}

#[actix::test]
async fn an_actor_of_another_thread_answers_through_its_inbox() {
    let stage = Stage::new();
    let counter = stage.supervisor.start_on_own_thread(spec(10), stage.factory()).unwrap();
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    assert_eq!(ask_once(&counter).await, None);
}

#[actix::test]
async fn a_panic_in_place_loses_only_its_message_and_a_storm_of_them_backs_off() {
    let stage = Stage::new();
    let minute = Duration::from_secs(60);
    let backoff = Backoff { first: minute, longest: minute };
    let policy = RestartPolicy { intensity: 3, backoff, ..RestartPolicy::default() };
    let counter = stage.here(Spec { policy, ..spec(100) });
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    for restarts in 1..=4 {
        // Both are sent before anybody else gets a turn.
        let both = futures_util::future::join(counter.ask(Poison, SOON), counter.ask(Count, SOON));
        let next =
            if restarts < 4 { Ok(1) } else { Err(AskError::NotDelivered(Undelivered::Down)) };
        assert_eq!(both.await, (Err(AskError::Died), next));
        assert_eq!(stage.supervisor.status()[0].restarts, restarts);
    }
    assert_eq!(stage.supervisor.status()[0].last_panic.as_deref(), Some("poisoned"));
    assert_eq!(stage.supervisor.status()[0].state, ActorState::BackingOff);
    assert_eq!(ask_once(&counter).await, Some(Err(AskError::NotDelivered(Undelivered::Down))));
}

#[actix::test]
async fn a_stop_in_place_restarts() {
    let stage = Stage::new();
    let counter = stage.here(spec(10));
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    assert_eq!(counter.ask(Leave, SOON).await, Ok(()));
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    assert_eq!(stage.notes.count("restarted counter stop 0"), 1);
}

#[actix::test]
async fn a_hang_in_place_is_seen_and_is_over_when_it_ends() {
    let stage = Stage::new();
    let counter = stage.here(spec(10));
    counter.ask(Count, SOON).await.unwrap();
    let (release, stalled) = std::sync::mpsc::channel();
    let (notes, held) = (Arc::clone(&stage.notes), std::sync::mpsc::channel().0);
    // The watchdog's beat has to be in the inbox before a hang can be told from idleness.
    let watcher = std::thread::spawn(move || {
        while notes.count("hung") == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        release.send(()).unwrap();
    });
    counter.ask(Stall(stalled, held), SOON).await.unwrap();
    watcher.join().unwrap();
    stage.notes.heard("recovered").await;
    assert_eq!(counter.ask(Count, SOON).await, Ok(2), "the same incarnation goes on");
    assert_eq!(stage.supervisor.status()[0].restarts, 0);
}

/// Asks itself, or its peer that asks it back, from inside a turn of its own.
struct Mirror {
    own: Arc<Mutex<Option<Handle<Mirror>>>>,
    peer: Arc<Mutex<Option<Handle<Mirror>>>>,
}

impl Actor for Mirror {
    type Context = Context<Self>;
}

/// Goes back and forth so many times, then answers 0.
#[derive(Message)]
#[rtype(result = "Result<u32, AskError>")]
struct Reflect(u32);

/// Is answered at once.
#[derive(Message)]
#[rtype(result = "()")]
struct Touch;

impl Handler<Touch> for Mirror {
    type Result = MessageResult<Touch>;
    fn handle(&mut self, _: Touch, _: &mut Self::Context) -> Self::Result {
        MessageResult(())
    }
}

impl Handler<Reflect> for Mirror {
    type Result = actix::ResponseActFuture<Self, Result<u32, AskError>>;
    fn handle(&mut self, Reflect(times): Reflect, _: &mut Self::Context) -> Self::Result {
        let target = if times % 2 == 0 { &self.own } else { &self.peer };
        let target = target.lock().unwrap().clone().unwrap();
        // Polled inside this actor's context, so the actor is busy while it asks.
        Box::pin(actix::fut::wrap_future(async move {
            if times == 0 {
                return Ok(0);
            }
            target.ask(Touch, SOON).await?;
            target.ask_queued(Reflect(times - 1), SOON).await?.map(|below| below + 1)
        }))
    }
}

#[actix::test]
async fn an_actor_that_asks_itself_or_is_asked_back_gets_its_answer_through_the_inbox() {
    let stage = Stage::new();
    let (one, other) = (Arc::default(), Arc::default());
    let start = |own: &Arc<Mutex<Option<Handle<Mirror>>>>, peer: &Arc<_>| {
        let (own, peer) = (Arc::clone(own), Arc::clone(peer));
        let kept = Arc::clone(&own);
        let make = move || Mirror { own: Arc::clone(&own), peer: Arc::clone(&peer) };
        let handle = stage.supervisor.start_here(spec(10), make);
        *kept.lock().unwrap() = Some(handle.clone());
        handle
    };
    let (first, _second) = (start(&one, &other), start(&other, &one));
    for _ in 0..3 {
        assert_eq!(first.ask_queued(Reflect(7), SOON).await, Ok(Ok(7)));
    }
    assert!(stage.supervisor.status().iter().all(|actor| actor.restarts == 0));
}

#[actix::test]
async fn the_bound_is_a_bound_from_any_number_of_handles() {
    let stage = Stage::new();
    let counter = stage.here(spec(4));
    let clones: Vec<_> = (0..100).map(|_| counter.clone()).collect();
    let accepted = clones.iter().filter(|handle| handle.tell(Count).is_ok()).count();
    assert_eq!(accepted, 4);
    assert_eq!(counter.tell(Count), Err(Undelivered::Full));
    tokio::task::yield_now().await;
    assert_eq!(counter.ask(Count, SOON).await, Ok(5));
}

#[actix::test]
async fn a_storm_backs_off_and_callers_are_told_at_once() {
    let stage = Stage::new();
    let minute = Duration::from_secs(60);
    let backoff = Backoff { first: minute, longest: minute };
    let policy = RestartPolicy { intensity: 3, backoff, ..RestartPolicy::default() };
    let counter = stage.here(Spec { policy, ..spec(100) });
    for _ in 0..4 {
        counter.tell(Poison).unwrap();
    }
    counter.tell(Count).unwrap();
    while stage.notes.count("restarted") < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        counter.ask(Count, SOON).await,
        Err(AskError::NotDelivered(Undelivered::Down)),
        "bypassed while backing off"
    );
    assert_eq!(stage.supervisor.status()[0].state, ActorState::BackingOff);
    tokio::time::pause();
    tokio::time::sleep(minute + Duration::from_millis(1)).await;
    tokio::time::resume();
    assert_eq!(counter.ask(Count, SOON).await, Ok(2), "the waiting message came first");
}

#[actix::test]
async fn thousands_of_panics_lose_no_bystander() {
    let stage = Stage::new();
    let policy = RestartPolicy { intensity: usize::MAX, ..RestartPolicy::default() };
    let counter = stage.here(Spec { policy, ..spec(100_000) });
    for _ in 0..2_000 {
        counter.tell(Count).unwrap();
        counter.tell(Poison).unwrap();
        counter.tell(Count).unwrap();
    }
    counter.ask(Count, Duration::from_secs(60)).await.unwrap();
    assert_eq!(stage.handled.load(Ordering::Relaxed), 4_001);
}

#[actix::test]
async fn a_hung_actor_moves_to_a_new_thread_and_keeps_its_queue() {
    let stage = Stage::new();
    let counter = stage.supervisor.start_on_own_thread(spec(100), stage.factory()).unwrap();
    counter.ask(Count, SOON).await.unwrap();
    assert_eq!(stage.supervisor.strike("counter", Chaos::Hang(Duration::from_secs(3))), 1);
    let asked_at = crate::clock::monotonic();
    // Asked before anyone knows of the hang: waits in the inbox and is handled by the successor.
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    assert!(crate::clock::monotonic() - asked_at < Duration::from_secs(2), "did not wait it out");
    assert_eq!(stage.notes.count("restarted counter hang"), 1);
    assert_eq!(stage.supervisor.status()[0].state, ActorState::Running);
}

#[actix::test]
async fn a_hang_on_a_worker_is_over_when_a_message_is_taken_and_not_before() {
    let stage = Stage::new();
    let (supervisor, factory) = (stage.supervisor.clone(), stage.factory());
    let (started, handle) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let worker = std::thread::spawn(move || {
        actix_rt::Runtime::new().unwrap().block_on(async move {
            started.send(supervisor.start_here(spec(100), factory)).unwrap();
            drop(ended.await);
        });
    });
    let counter = handle.recv().unwrap();
    counter.ask(Count, SOON).await.unwrap();
    let (release, stalled) = std::sync::mpsc::channel();
    counter.tell(Stall(stalled, std::sync::mpsc::channel().0)).unwrap();
    stage.notes.heard("hung").await;
    // Several looks of the watchdog.
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(stage.notes.count("recovered"), 0);
    release.send(()).unwrap();
    stage.notes.heard("recovered").await;
    assert_eq!(counter.ask(Count, SOON).await, Ok(2), "the same incarnation goes on");
    assert_eq!((stage.notes.count("hung"), stage.notes.count("recovered")), (1, 1));
    drop((counter, end));
    worker.join().unwrap();
}

#[actix::test]
async fn how_a_replaced_incarnation_ends_is_nobodys_business() {
    let stage = Stage::new();
    let minute = Duration::from_secs(60);
    let backoff = Backoff { first: minute, longest: minute };
    let policy = RestartPolicy { intensity: 0, backoff, ..RestartPolicy::default() };
    let spec = Spec { policy, ..spec(100) };
    let counter = stage.supervisor.start_on_own_thread(spec, stage.factory()).unwrap();
    let (release, stalled) = std::sync::mpsc::channel();
    let (held, over) = std::sync::mpsc::channel();
    counter.tell(Stall(stalled, held)).unwrap();
    assert_eq!(counter.ask(Count, SOON).await, Ok(1), "answered by the successor");
    // The old one panics now, long after it was replaced.
    drop(release);
    // Nothing is sent on it: it ends with the old one.
    let ended = over.recv_timeout(SOON);
    assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    for _ in 0..20 {
        assert_eq!(counter.ask(Count, SOON).await.map(|_| ()), Ok(()));
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.supervisor.status()[0].restarts, 1);
}

#[actix::test]
async fn a_factory_that_panics_is_retried() {
    let stage = Stage::new();
    let failures = Arc::new(AtomicU64::new(3));
    let make = stage.factory();
    let counter = stage.supervisor.start_here(spec(10), move || {
        assert!(
            failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_err(),
            "not yet"
        );
        make()
    });
    assert_eq!(counter.ask(Count, SOON).await, Ok(1));
    assert_eq!(stage.supervisor.status()[0].last_panic.as_deref(), Some("not yet"));
}

#[actix::test]
async fn the_last_handle_ends_the_actor_after_what_is_queued() {
    let stage = Stage::new();
    let counter = stage.here(spec(10));
    let other = counter.clone();
    drop(counter);
    other.ask(Count, SOON).await.unwrap();
    other.tell(Count).unwrap();
    drop(other);
    while stage.supervisor.status().first().is_some_and(|a| a.state != ActorState::Finished) {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.handled.load(Ordering::Relaxed), 2);
    assert_eq!(stage.notes.count("restarted"), 0);
}

#[actix::test]
async fn a_watched_task_tells_of_its_panic() {
    let notes = Arc::new(Notes::default());
    let observer: Arc<dyn Observer> = notes.clone();
    let died = run_watched("owner", observer, async { panic!("in a task") }).await;
    assert_eq!(died.map(|(): ()| ()), Err(TaskDied("in a task".into())));
    assert_eq!(notes.count("task owner in a task"), 1);
}
