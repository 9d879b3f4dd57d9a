//! Commands to a cluster: each goes to the node that has its key.
//!
//! Owns: the map of slots that all threads share, a health for each node, a thread's connections to the
//! nodes, and following redirections. A command that was sent on was not done, so it is sent again whatever
//! it does; one whose answer was lost is not (`command`). A node that fails is left alone by itself: its
//! keys are misses, the others' are not. The ping asks every node and reads the map anew: each second, and
//! at once after a node has failed or sent a command on. So a replica that was made the primary is found
//! without a restart.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::{Cmd, ConnectionAddr, Pipeline, Value, cmd};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::command::{Request, Time, under_breaker};
use super::connection::Shared;
use super::health::{Effect, Fault, Health};
use super::servers::Servers;
use super::slots::{Node, Redirect, Slots};
use super::split::{self, Part};
use super::{Redis, keys, meaning};
use crate::clock;
use crate::resilience::breaker::{Breaker, Settings};

/// How often a command may be sent on.
const HOPS: u32 = 4;
/// Failures in a row after which a node is left alone, and for how long.
const FAILURES: u32 = 3;
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What all threads know of a cluster.
#[derive(Default)]
pub(super) struct Map {
    slots: Mutex<Option<Arc<Slots>>>,
    is_stale: AtomicBool,
    healths: Mutex<BTreeMap<Node, Arc<Health>>>,
}

impl Map {
    fn slots(&self) -> Option<Arc<Slots>> {
        lock(&self.slots).clone()
    }

    fn take(&self, slots: Slots) -> Arc<Slots> {
        let slots = Arc::new(slots);
        self.is_stale.store(false, Ordering::Relaxed);
        // What left the cluster is no trouble any more.
        lock(&self.healths).retain(|node, _| slots.nodes().contains(node));
        *lock(&self.slots) = Some(Arc::clone(&slots));
        slots
    }

    fn moved(&self, slot: u16, to: Node) {
        if let Some(slots) = &mut *lock(&self.slots) {
            Arc::make_mut(slots).learn(slot, to);
        }
        self.goes_stale();
    }

    fn goes_stale(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    fn health(&self, node: &Node) -> Arc<Health> {
        let new = || {
            let settings = Settings { open_max: LONGEST_REST, ..Settings::new(FAILURES, REST) };
            Arc::new(Health::new(Breaker::new("redis node", settings, Arc::new(|_| {}))))
        };
        Arc::clone(lock(&self.healths).entry(node.clone()).or_insert_with(new))
    }

    /// What is wrong with a node, with its name.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.healths).iter().find_map(|(node, health)| {
            let avoided = || health.breaker().is_open().then(|| "it does not answer".to_owned());
            health
                .trouble(clock::monotonic())
                .or_else(avoided)
                .map(|said| format!("{node}: {said}"))
        })
    }

    /// Whether no node takes writes.
    pub(super) fn refuses_writes(&self) -> bool {
        let healths = lock(&self.healths);
        !healths.is_empty() && healths.values().all(|health| health.refuses_writes())
    }
}

/// A thread's connections to the nodes.
#[derive(Default)]
pub(super) struct Nodes {
    connections: Mutex<HashMap<Node, Arc<Shared>>>,
    // Held while the map is read.
    reading: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
}

impl Nodes {
    fn connection(&self, servers: &Arc<Servers>, node: &Node, limit: Duration) -> Arc<Shared> {
        let new = || Arc::new(Shared::new(servers, Some(node.clone()), limit));
        Arc::clone(lock(&self.connections).entry(node.clone()).or_insert_with(new))
    }
}

/// A part on its way.
struct Sent {
    part: Part,
    /// Where it was sent on to; else it goes where its slot is.
    to: Option<Node>,
    asking: bool,
}

impl Sent {
    const fn new(part: Part) -> Self {
        Self { part, to: None, asking: false }
    }
}

/// What came of parts: the answers, those that were sent on, and the heaviest fault.
#[derive(Default)]
struct Outcome {
    done: Vec<(Part, Value)>,
    again: Vec<Sent>,
    fault: Option<Fault>,
}

impl Outcome {
    fn add(&mut self, fault: Fault) {
        if self.fault.as_ref().is_none_or(|known| fault.weight() > known.weight()) {
            self.fault = Some(fault);
        }
    }
}

impl Redis {
    /// The answer to each of the commands, which may be an error.
    pub(super) async fn ask_cluster(
        &self,
        commands: &[&Cmd],
        effect: Effect,
    ) -> Result<Vec<Value>, Fault> {
        let parts = commands.iter().enumerate();
        let parts = parts.flat_map(|(place, command)| split::split(place, command));
        let done = self.send_parts(parts.map(Sent::new).collect(), effect).await?;
        Ok(split::join(done, commands.len()))
    }

    /// The answer of the node that has this slot.
    pub(super) async fn ask_slot(
        &self,
        slot: u16,
        command: &Cmd,
        effect: Effect,
    ) -> Result<Vec<Value>, Fault> {
        let part = Part::whole(0, slot, command.clone());
        let done = self.send_parts(vec![Sent::new(part)], effect).await?;
        Ok(split::join(done, 1))
    }

    /// The answer of this node.
    pub(super) async fn ask_node(
        &self,
        node: &Node,
        command: &Cmd,
        effect: Effect,
    ) -> Result<Vec<Value>, Fault> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command.clone()).ignore_errors();
        self.send_to_node(node, commands, effect, Time::new(self.timeout)).await
    }

    async fn send_parts(
        &self,
        mut waiting: Vec<Sent>,
        effect: Effect,
    ) -> Result<Vec<(Part, Value)>, Fault> {
        let time = Time::new(self.timeout);
        let slots = match self.servers.map.slots() {
            Some(slots) => slots,
            None => self.read_map(time).await?,
        };
        let mut outcome = Outcome::default();
        for _ in 0..HOPS {
            let mut groups: BTreeMap<Node, Vec<Sent>> = BTreeMap::new();
            for sent in waiting.drain(..) {
                match sent.to.as_ref().or_else(|| slots.owner(sent.part.slot)).cloned() {
                    Some(node) => groups.entry(node).or_default().push(sent),
                    None => {
                        self.servers.map.goes_stale();
                        let slot = sent.part.slot;
                        let text = format!("CLUSTERDOWN: no node has the slot {slot}");
                        outcome.add(Fault::Failed(text));
                    }
                }
            }
            let groups = groups.into_iter();
            let sent = groups.map(|(node, sent)| self.send_group(node, sent, effect, time));
            for group in join_all(sent).await {
                outcome.done.extend(group.done);
                waiting.extend(group.again);
                group.fault.into_iter().for_each(|fault| outcome.add(fault));
            }
            if waiting.is_empty() {
                return outcome.fault.map_or(Ok(outcome.done), Err);
            }
        }
        Err(outcome.fault.unwrap_or_else(|| {
            Fault::Failed("CLUSTERDOWN: the nodes send a command from one to the other".to_owned())
        }))
    }

    async fn send_group(
        &self,
        node: Node,
        group: Vec<Sent>,
        effect: Effect,
        time: Time,
    ) -> Outcome {
        let mut commands = Pipeline::with_capacity(group.len());
        commands.ignore_errors();
        for Sent { part, asking, .. } in &group {
            if *asking {
                commands.cmd("ASKING");
            }
            commands.add_command(part.command.clone());
        }
        let mut outcome = Outcome::default();
        let values = match self.send_to_node(&node, commands, effect, time).await {
            Ok(values) => values,
            Err(fault) => {
                self.servers.map.goes_stale();
                outcome.add(fault);
                return outcome;
            }
        };
        let mut values = values.into_iter();
        for Sent { part, asking, .. } in group {
            let value = if asking { values.nth(1) } else { values.next() };
            let value = value.unwrap_or(Value::Nil);
            match redirect(&value, &node) {
                Some(Redirect::Moved { slot, to }) => {
                    self.servers.map.moved(slot, to.clone());
                    outcome.again.push(Sent { part, to: Some(to), asking: false });
                }
                Some(Redirect::Ask { to }) => {
                    outcome.again.push(Sent { part, to: Some(to), asking: true });
                }
                None => outcome.done.push((part, value)),
            }
        }
        outcome
    }

    /// The answers of one node, of which some may be errors. Its health learns from them.
    async fn send_to_node(
        &self,
        node: &Node,
        commands: Pipeline,
        effect: Effect,
        time: Time,
    ) -> Result<Vec<Value>, Fault> {
        let health = self.servers.map.health(node);
        let connection = self.nodes.connection(&self.servers, node, self.timeout);
        let request = Request::Many(commands);
        let answered = async {
            let answers =
                self.ask::<Vec<Value>>(&connection, &health, &request, effect, time).await;
            let said = match &answers {
                Ok(values) => worst(values).map_or(Ok(()), Err),
                Err(fault) => Err(fault.clone()),
            };
            if matches!(said, Err(Fault::NoWrites(_) | Fault::Failed(_))) {
                self.servers.map.goes_stale();
            }
            (answers, said)
        };
        under_breaker(&health, effect, answered).await?
    }

    /// Reads the map of whichever node answers first.
    async fn read_map(&self, time: Time) -> Result<Arc<Slots>, Fault> {
        let before = self.servers.map.slots();
        let _reading = self.nodes.reading.lock().await;
        // Somebody else has read it meanwhile.
        if let (None, Some(slots)) = (before, self.servers.map.slots()) {
            return Ok(slots);
        }
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let request = Request::One(question);
        let mut answers: FuturesUnordered<_> =
            self.candidates().into_iter().map(|node| self.map_of(node, &request, time)).collect();
        let mut problem = Fault::TooLate;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(slots) => return Ok(self.servers.map.take(slots)),
                Err(fault) => problem = fault,
            }
        }
        Err(problem)
    }

    async fn map_of(&self, node: Node, request: &Request, time: Time) -> Result<Slots, Fault> {
        let connection = self.nodes.connection(&self.servers, &node, self.timeout);
        // Whoever is left alone may know the map all the same.
        let health = &self.health;
        let answer = self.ask::<Value>(&connection, health, request, Effect::Probes, time).await?;
        let none = || Fault::Failed(format!("{node} names no slots of a cluster"));
        Slots::read(answer, &node).ok_or_else(none)
    }

    /// The nodes that are known, and those of the address.
    fn candidates(&self) -> Vec<Node> {
        let known = self.servers.map.slots();
        let known = known.iter().flat_map(|slots| slots.nodes().into_iter().cloned());
        let named = self.servers.places().filter_map(|place| {
            let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) =
                place
            else {
                return None;
            };
            Some(Node::new(host, *port))
        });
        let mut all: Vec<Node> = known.chain(named).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Another node each time: one that is away must not be asked for ever.
    pub(super) fn any_node(&self) -> Result<Arc<Shared>, Fault> {
        let all = self.candidates();
        let turn = self.nodes.turn.fetch_add(1, Ordering::Relaxed);
        let node = turn.checked_rem(all.len()).and_then(|index| all.get(index));
        let node = node.ok_or(Fault::NotAsked)?;
        Ok(self.nodes.connection(&self.servers, node, self.timeout))
    }

    /// All nodes that have slots.
    pub(super) async fn all_nodes(&self) -> Result<Vec<Node>, Fault> {
        let slots = match self.servers.map.slots() {
            Some(slots) => slots,
            None => self.read_map(Time::new(self.timeout)).await?,
        };
        Ok(slots.nodes().into_iter().cloned().collect())
    }

    /// Writes a key that lives a few seconds at every node. The cluster lives while one of them does.
    pub(super) async fn ping_cluster(&self, set: impl Fn(&str) -> Cmd) -> Result<(), Fault> {
        let asked = async {
            let lives = self.ping_nodes(set).await;
            (lives.clone(), lives)
        };
        under_breaker(&self.health, Effect::Probes, asked).await?
    }

    async fn ping_nodes(&self, set: impl Fn(&str) -> Cmd) -> Result<(), Fault> {
        let map = &self.servers.map;
        let is_due = self.servers.begins_look(clock::monotonic());
        let slots = match map.slots() {
            Some(slots) if !is_due && !map.is_stale.load(Ordering::Relaxed) => slots,
            known => match (self.read_map(Time::new(self.timeout)).await, known) {
                (Ok(slots), _) | (Err(_), Some(slots)) => slots,
                (Err(fault), None) => return Err(fault),
            },
        };
        let keys = slots.a_key_each(|number| format!("{}:{number}", keys::ALIVE));
        let asked = keys.iter().map(|(node, key)| {
            let set = set(key);
            async move { self.ask_node(node, &set, Effect::Probes).await }
        });
        let said = join_all(asked).await.into_iter().map(|answer| {
            // Who refuses writes lives.
            worst(&answer?).filter(|fault| fault.weight() > 1).map_or(Ok(()), Err)
        });
        let said: Vec<Result<(), Fault>> = said.collect();
        if said.iter().any(Result::is_ok) {
            return Ok(());
        }
        let faults = said.into_iter().filter_map(Result::err);
        Err(faults.max_by_key(Fault::weight).unwrap_or(Fault::NotAsked))
    }
}

fn redirect(value: &Value, node: &Node) -> Option<Redirect> {
    let Value::ServerError(error) = value else { return None };
    Redirect::read(error, node)
}

/// The heaviest of the errors, but for those that send a command on.
pub(super) fn worst(values: &[Value]) -> Option<Fault> {
    let faults = values.iter().filter_map(|value| {
        let Value::ServerError(error) = value else { return None };
        let is_fault = !matches!(error.code(), "MOVED" | "ASK");
        is_fault.then(|| meaning::fault(error.code(), error.details().unwrap_or_default()))
    });
    faults.reduce(|first, next| if next.weight() > first.weight() { next } else { first })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
