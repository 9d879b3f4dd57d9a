//! The table of all actors: starts them, reports their status, moves the stuck ones. An actor that ends is
//! started again by its `guard`.
//!
//! The watchdog looks over the table from a thread of its own, because an actor may block any other.
//! An actor that hangs on a worker's thread cannot be moved, because the thread hangs with it; it is
//! reported. An actor with a thread of its own is given a new one.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, Context};
use tokio::sync::mpsc::WeakUnboundedSender;

use super::guard::{Watch, guard};
use super::handle::Handle;
use super::inbox::{Chaos, Inbox, Item};
use super::policy::RestartPolicy;
use super::record::{ActorState, ActorStatus, Observer, Record, RestartReason};

#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    pub instance: usize,
    pub capacity: usize,
    pub policy: RestartPolicy,
}

impl Spec {
    /// One with the usual policy.
    #[must_use]
    pub fn new(name: &'static str, instance: usize, capacity: usize) -> Self {
        Self { name, instance, capacity, policy: RestartPolicy::default() }
    }
}

/// One actor as the table sees it, whatever its type.
trait Member: Send + Sync {
    fn record(&self) -> &Record;
    /// False when nobody can send to it any more.
    fn send_heartbeat(&self) -> bool;
    /// False when its inbox is full, or nobody can send to it any more.
    fn inject(&self, chaos: Chaos) -> bool;
    /// Starts a new incarnation on a new thread; false when this one cannot be moved.
    fn relocate(&self) -> bool;
}

type Relocate<A> = Box<dyn Fn(Inbox<A>, u64) -> std::io::Result<()> + Send + Sync>;

struct MemberOf<A: Actor<Context = Context<A>>> {
    inbox: Inbox<A>,
    items: WeakUnboundedSender<Item<A>>,
    relocate: Option<Relocate<A>>,
}

impl<A: Actor<Context = Context<A>>> Member for MemberOf<A> {
    fn record(&self) -> &Record {
        &self.inbox.record
    }

    fn send_heartbeat(&self) -> bool {
        self.items.upgrade().is_some_and(|items| items.send(Item::Heartbeat).is_ok())
    }

    fn inject(&self, chaos: Chaos) -> bool {
        let Some(items) = self.items.upgrade() else { return false };
        self.record().enter() && items.send(Item::Chaos(chaos)).is_ok()
    }

    fn relocate(&self) -> bool {
        let Some(relocate) = &self.relocate else { return false };
        relocate(self.inbox.clone(), self.record().supersede()).is_ok()
    }
}

/// How long without progress until an actor counts as hung.
const HANG_LIMIT: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long calls in flight on a replaced thread may go on.
const DRAIN: Duration = Duration::from_secs(15);

struct Table {
    members: Mutex<Vec<(Arc<dyn Member>, Heartbeat)>>,
    observer: Arc<dyn Observer>,
}

/// Starts actors and knows them all. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    table: Arc<Table>,
    /// Dropping the last clone ends the watchdog.
    _watchdog: Arc<std::sync::mpsc::Sender<()>>,
}

impl Supervisor {
    /// A new table with its watchdog thread.
    ///
    /// # Errors
    /// The watchdog's thread could not be started.
    pub fn new(observer: Arc<dyn Observer>) -> std::io::Result<Self> {
        let table = Arc::new(Table { members: Mutex::new(Vec::new()), observer });
        let (stop, stopped) = std::sync::mpsc::channel();
        let watched = Arc::clone(&table);
        std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
                watched.look(crate::clock::monotonic());
            }
        })?;
        Ok(Self { table, _watchdog: Arc::new(stop) })
    }

    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.table.observer)
    }

    /// Starts an actor on this thread.
    #[expect(clippy::disallowed_methods, reason = "the guard is what watches")]
    pub fn start_here<A>(&self, spec: Spec, factory: impl Fn() -> A + 'static) -> Handle<A>
    where
        A: Actor<Context = Context<A>>,
    {
        let (handle, member) = self.enlist(spec, None);
        let (inbox, observer) = (member.inbox.clone(), self.observer());
        let watch = Watch { inbox, policy: spec.policy, observer, generation: 0 };
        drop(tokio::task::spawn_local(guard(watch, factory)));
        handle
    }

    /// Starts an actor on a thread of its own; a hung one is moved to another.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start_on_own_thread<A>(
        &self,
        spec: Spec,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> std::io::Result<Handle<A>>
    where
        A: Actor<Context = Context<A>>,
    {
        let (factory, observer) = (Arc::new(factory), self.observer());
        let start: Relocate<A> = Box::new(move |inbox, generation| {
            let observer = Arc::clone(&observer);
            let watch = Watch { inbox, policy: spec.policy, observer, generation };
            let factory = Arc::clone(&factory);
            spawn_thread(spec, watch, move || factory())
        });
        let (handle, member) = self.enlist(spec, Some(start));
        match &member.relocate {
            Some(start) => start(member.inbox.clone(), 0).map(|()| handle),
            None => Ok(handle),
        }
    }

    /// Every actor that is not finished, in order of its start.
    #[must_use]
    pub fn status(&self) -> Vec<ActorStatus> {
        self.table.lock().iter().map(|(member, _)| member.record().status()).collect()
    }

    /// Puts a fault into the inbox of every actor called `name`; says how many there are.
    #[must_use]
    pub fn strike(&self, name: &str, chaos: Chaos) -> usize {
        let named: Vec<_> = self
            .table
            .lock()
            .iter()
            .filter(|(member, _)| member.record().name == name)
            .map(|(member, _)| Arc::clone(member))
            .collect();
        named.iter().filter(|member| member.inject(chaos)).count()
    }

    fn enlist<A>(&self, spec: Spec, relocate: Option<Relocate<A>>) -> (Handle<A>, Arc<MemberOf<A>>)
    where
        A: Actor<Context = Context<A>>,
    {
        let record = Arc::new(Record::new(spec.name, spec.instance, spec.capacity));
        let (items, inbox) = Inbox::new(Arc::clone(&record));
        let member = Arc::new(MemberOf { inbox, items: items.downgrade(), relocate });
        let heartbeat = Heartbeat::new(crate::clock::monotonic());
        self.table.lock().push((Arc::<MemberOf<A>>::clone(&member), heartbeat));
        self.table.observer.started(spec.name);
        (Handle::new(items, record), member)
    }
}

fn spawn_thread<A>(
    spec: Spec,
    watch: Watch<A>,
    factory: impl Fn() -> A + Send + 'static,
) -> std::io::Result<()>
where
    A: Actor<Context = Context<A>>,
{
    let name = format!("{}-{}", spec.name, spec.instance);
    std::thread::Builder::new().name(name).spawn(move || {
        // Without a runtime nothing can run; the watchdog sees the silence.
        let Ok(runtime) = actix_rt::Runtime::new() else { return };
        let record = Arc::clone(&watch.inbox.record);
        let generation = watch.generation;
        runtime.block_on(guard(watch, factory));
        if record.generation() != generation {
            // Made inside: a timer needs the runtime around it.
            runtime.block_on(async { tokio::time::sleep(DRAIN).await });
        }
    })?;
    Ok(())
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<dyn Member>, Heartbeat)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Instant) {
        let mut stuck = Vec::new();
        let mut recovered = Vec::new();
        {
            let mut members = self.lock();
            members.retain(|(member, _)| member.record().state() != ActorState::Finished);
            for (member, heartbeat) in members.iter_mut() {
                match inspect(&**member, heartbeat, now) {
                    Finding::Healthy => {}
                    Finding::Stuck(time) => stuck.push((Arc::clone(member), time)),
                    Finding::Recovered => recovered.push(Arc::clone(member)),
                }
            }
        }
        for member in recovered {
            self.observer.recovered(member.record().name, member.record().instance);
        }
        for (member, time) in stuck {
            self.treat(&*member, time);
        }
    }

    fn treat(&self, member: &dyn Member, time: Duration) {
        let record = member.record();
        self.observer.hung(record.name, record.instance, time);
        if member.relocate() {
            // Its messages wait for the successor: none needs to be refused.
            let wait = record.died(None, |_| Duration::ZERO);
            self.observer.restarted(record.name, record.instance, RestartReason::Hang, None, wait);
        } else {
            record.set_state(ActorState::Hung);
        }
    }
}

/// What the watchdog knows about one actor between looks.
#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    handled: u64,
    since: Instant,
}

impl Heartbeat {
    fn new(now: Instant) -> Self {
        Self { handled: 0, since: now }
    }

    /// How long the actor has made no progress although something waits for it.
    fn look(&mut self, handled: u64, waiting: bool, now: Instant) -> Duration {
        if handled != self.handled || !waiting {
            self.handled = handled;
            self.since = now;
        }
        now.saturating_duration_since(self.since)
    }

    /// Counts the time without progress from `now` on; what was handled is remembered.
    fn renew(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether anything was handled since the last look.
    fn progressed(&self, handled: u64) -> bool {
        handled != self.handled
    }
}

enum Finding {
    Healthy,
    Stuck(Duration),
    Recovered,
}

fn inspect(member: &dyn Member, heartbeat: &mut Heartbeat, now: Instant) -> Finding {
    let record = member.record();
    let state = record.state();
    let watched = matches!(state, ActorState::Running | ActorState::Hung);
    let progressed = heartbeat.progressed(record.handled());
    let stuck = heartbeat.look(record.handled(), watched && record.heartbeat_pending(), now);
    if watched && record.begin_heartbeat() && !member.send_heartbeat() {
        record.end_heartbeat();
    }
    match (state, stuck >= HANG_LIMIT) {
        (ActorState::Running, true) => {
            heartbeat.renew(now);
            Finding::Stuck(stuck)
        }
        // Only a message taken out ends a hang; time alone does not.
        (ActorState::Hung, _) if progressed => {
            record.set_state(ActorState::Running);
            Finding::Recovered
        }
        _ => Finding::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_means_no_progress_while_something_waits() {
        let start = crate::clock::monotonic();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(start);
        assert_eq!(heartbeat.look(0, true, at(100)), Duration::from_millis(100));
        assert_eq!(heartbeat.look(1, true, at(200)), Duration::ZERO, "progress resets");
        assert_eq!(heartbeat.look(1, true, at(500)), Duration::from_millis(300));
        assert_eq!(heartbeat.look(1, false, at(900)), Duration::ZERO, "idle is not stuck");
        assert_eq!(heartbeat.look(1, true, at(950)), Duration::from_millis(50));
    }

    #[test]
    fn a_renewed_heartbeat_forgets_the_time_and_not_the_progress() {
        let start = crate::clock::monotonic();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.look(7, true, at(0));
        heartbeat.renew(at(500));
        assert!(!heartbeat.progressed(7) && heartbeat.progressed(8));
        assert_eq!(heartbeat.look(7, true, at(600)), Duration::from_millis(100));
    }
}
