//! The table of all actors: starting them, asking after them, moving the stuck ones.
//!
//! Owns: every actor's membership and the watchdog's eyes. Actors on a worker's thread cannot be
//! moved (the worker is stuck with them); an actor with a thread of its own is given a new one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, Context};
use tokio::sync::mpsc::WeakUnboundedSender;

use super::cell::{ActorState, ActorStatus, Cell, RestartReason};
use super::chaos::Chaos;
use super::guard::{Watch, guard};
use super::handle::{Handle, Refusal};
use super::inbox::{Inbox, Letter};
use super::policy::RestartPolicy;
use super::watchdog::{self, Vigil};

/// Who is told about deaths and hangs (log and metrics). Called without any lock held.
pub trait Observer: Send + Sync + 'static {
    /// An incarnation ended; the next starts after `wait`.
    fn restarted(
        &self,
        actor: &'static str,
        instance: usize,
        reason: RestartReason,
        panic: Option<&str>,
        wait: Duration,
    );
    /// An actor makes no progress.
    fn hung(&self, actor: &'static str, instance: usize, for_how_long: Duration);
    /// A hung actor makes progress again.
    fn recovered(&self, actor: &'static str, instance: usize);
    /// A task beside an actor panicked.
    fn task_panicked(&self, owner: &'static str, panic: &str);
}

/// An observer that looks away, for tests and tools.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn restarted(&self, _: &'static str, _: usize, _: RestartReason, _: Option<&str>, _: Duration) {
    }
    fn hung(&self, _: &'static str, _: usize, _: Duration) {}
    fn recovered(&self, _: &'static str, _: usize) {}
    fn task_panicked(&self, _: &'static str, _: &str) {}
}

/// What an actor is called and how it is treated.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Name in status, logs and metrics.
    pub name: &'static str,
    /// Number among those of the same name.
    pub instance: usize,
    /// Letters that may wait.
    pub capacity: usize,
    /// Restart policy.
    pub policy: RestartPolicy,
}

/// One actor as the table sees it, whatever its type.
trait Member: Send + Sync {
    fn cell(&self) -> &Cell;
    fn put(&self, letter: Request) -> Result<(), Refusal>;
    /// Starts a new incarnation on a new thread; false when this one cannot be moved.
    fn relocate(&self) -> bool;
}

/// What the table itself puts into inboxes.
enum Request {
    Beat,
    Chaos(Chaos),
}

type Relocate<A> = Box<dyn Fn(Inbox<A>, u64) -> std::io::Result<()> + Send + Sync>;

struct MemberOf<A: Actor<Context = Context<A>>> {
    inbox: Inbox<A>,
    letters: WeakUnboundedSender<Letter<A>>,
    relocate: Option<Relocate<A>>,
}

impl<A: Actor<Context = Context<A>>> Member for MemberOf<A> {
    fn cell(&self) -> &Cell {
        &self.inbox.cell
    }

    fn put(&self, letter: Request) -> Result<(), Refusal> {
        let letters = self.letters.upgrade().ok_or(Refusal::Gone)?;
        let letter = match letter {
            Request::Beat => Letter::Beat,
            Request::Chaos(_) if !self.cell().enter() => return Err(Refusal::Full),
            Request::Chaos(chaos) => Letter::Chaos(chaos),
        };
        letters.send(letter).map_err(|_| Refusal::Gone)
    }

    fn relocate(&self) -> bool {
        let Some(relocate) = &self.relocate else { return false };
        relocate(self.inbox.clone(), self.cell().supersede()).is_ok()
    }
}

/// How long without progress until an actor counts as hung.
const HANG_LIMIT: Duration = Duration::from_millis(500);
/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long calls in flight on a replaced thread may go on.
const DRAIN: Duration = Duration::from_secs(15);

struct Table {
    members: Mutex<Vec<(Arc<dyn Member>, Vigil)>>,
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
            watchdog::run(LOOK_EVERY, &stopped, |now| watched.look(now));
        })?;
        Ok(Self { table, _watchdog: Arc::new(stop) })
    }

    /// Who is told about deaths.
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
        let (handle, inbox) = self.enlist(spec, None);
        let watch = self.watch(spec, inbox, 0);
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
        let factory = Arc::new(factory);
        let observer = self.observer();
        let again = Arc::clone(&factory);
        let relocate: Relocate<A> = Box::new(move |inbox, generation| {
            let watch =
                Watch { inbox, policy: spec.policy, observer: Arc::clone(&observer), generation };
            let factory = Arc::clone(&again);
            spawn_thread(spec, watch, move || factory())
        });
        let (handle, inbox) = self.enlist(spec, Some(relocate));
        spawn_thread(spec, self.watch(spec, inbox, 0), move || factory())?;
        Ok(handle)
    }

    /// Every actor that is not finished, in order of its start.
    #[must_use]
    pub fn status(&self) -> Vec<ActorStatus> {
        self.table.lock().iter().map(|(member, _)| member.cell().status()).collect()
    }

    /// Puts a fault into the inbox of every actor called `name`; says how many there are.
    #[must_use]
    pub fn strike(&self, name: &str, chaos: Chaos) -> usize {
        let named: Vec<_> = self
            .table
            .lock()
            .iter()
            .filter(|(member, _)| member.cell().name == name)
            .map(|(member, _)| Arc::clone(member))
            .collect();
        named.iter().filter(|member| member.put(Request::Chaos(chaos)).is_ok()).count()
    }

    fn watch<A: Actor>(&self, spec: Spec, inbox: Inbox<A>, generation: u64) -> Watch<A> {
        Watch { inbox, policy: spec.policy, observer: self.observer(), generation }
    }

    fn enlist<A>(&self, spec: Spec, relocate: Option<Relocate<A>>) -> (Handle<A>, Inbox<A>)
    where
        A: Actor<Context = Context<A>>,
    {
        let cell = Arc::new(Cell::new(spec.name, spec.instance, spec.capacity));
        let (letters, inbox) = Inbox::new(Arc::clone(&cell));
        let member: Arc<dyn Member> =
            Arc::new(MemberOf { inbox: inbox.clone(), letters: letters.downgrade(), relocate });
        self.table.lock().push((member, Vigil::new(crate::clock::monotonic())));
        (Handle::new(letters, cell), inbox)
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
        let cell = Arc::clone(&watch.inbox.cell);
        let generation = watch.generation;
        runtime.block_on(guard(watch, factory));
        if cell.generation() != generation {
            runtime.block_on(tokio::time::sleep(DRAIN));
        }
    })?;
    Ok(())
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<dyn Member>, Vigil)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look of the watchdog over all actors.
    fn look(&self, now: Instant) {
        let mut stuck = Vec::new();
        let mut recovered = Vec::new();
        {
            let mut members = self.lock();
            members.retain(|(member, _)| member.cell().state() != ActorState::Finished);
            for (member, vigil) in members.iter_mut() {
                match inspect(&**member, vigil, now) {
                    Finding::Well => {}
                    Finding::Stuck(time) => stuck.push((Arc::clone(member), time)),
                    Finding::Recovered => recovered.push(Arc::clone(member)),
                }
            }
        }
        for member in recovered {
            self.observer.recovered(member.cell().name, member.cell().instance);
        }
        for (member, time) in stuck {
            self.treat(&*member, time);
        }
    }

    fn treat(&self, member: &dyn Member, time: Duration) {
        let cell = member.cell();
        self.observer.hung(cell.name, cell.instance, time);
        if member.relocate() {
            // Its letters wait for the successor: nobody needs to be turned away.
            let wait = cell.died(None, |_| Duration::ZERO);
            self.observer.restarted(cell.name, cell.instance, RestartReason::Hang, None, wait);
        } else {
            cell.set_state(ActorState::Hung);
        }
    }
}

enum Finding {
    Well,
    Stuck(Duration),
    Recovered,
}

fn inspect(member: &dyn Member, vigil: &mut Vigil, now: Instant) -> Finding {
    let cell = member.cell();
    let state = cell.state();
    let watched = matches!(state, ActorState::Running | ActorState::Hung);
    let progressed = vigil.progressed(cell.handled());
    let stuck = vigil.look(cell.handled(), watched && cell.beat_pending(), now);
    if watched && cell.begin_beat() && member.put(Request::Beat).is_err() {
        cell.end_beat();
    }
    match (state, stuck >= HANG_LIMIT) {
        (ActorState::Running, true) => {
            vigil.renew(now);
            Finding::Stuck(stuck)
        }
        // Only a letter taken out ends a hang; time alone does not.
        (ActorState::Hung, _) if progressed => {
            cell.set_state(ActorState::Running);
            Finding::Recovered
        }
        _ => Finding::Well,
    }
}
