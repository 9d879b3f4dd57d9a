//! The contract of the database, on a file of SQLite and on a server of Postgres: one body for both.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use breakwater::cache::CacheKey;
use breakwater::cache::tiers::Row;
use breakwater::cache::tiers::database::{DatabaseTier, Swept, Writer};
use breakwater::clock::{self, Timestamp};
use breakwater::config::{Environment, Group, Schema, resolve};
use breakwater::database::{Address, DatabaseSettings, Event, Store, revert};
use breakwater::replication::{Change, Changes, Draft, Topic};
use breakwater::resilience::breaker::{self, Breaker};
use futures_util::future::{join, join_all};
use slog::Logger;

use crate::support::postgres::Postgres;

const DAY: i64 = 86_400_000;

const fn day(day: i64) -> Timestamp {
    Timestamp::from_millis(day * DAY + 1)
}

/// As the environment would name it.
pub(crate) fn settings(url: &str) -> DatabaseSettings {
    const SCHEMA: Schema = Schema(&[&[Group::of::<DatabaseSettings>()]]);
    let environment: Environment = [("DATABASE_URL", url)].into_iter().collect();
    resolve(SCHEMA, None, &environment).unwrap().of()
}

fn open(settings: &DatabaseSettings) -> Store {
    let (store, events) = Store::open(settings.clone(), clock::monotonic(), clock::now());
    assert_eq!(events, [Event::Opened]);
    store
}

pub(crate) fn tier(store: &Store) -> DatabaseTier {
    let writer =
        Writer::start(store.clone(), Arc::new(|told| assert!(told.is_ok(), "{told:?}"))).unwrap();
    let limits = breaker::Settings::new(3, Duration::from_secs(1));
    let breaker = Breaker::new("database", limits, Arc::new(|_| {}));
    DatabaseTier::new(store.clone(), Arc::new(breaker), writer)
}

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new(format!("test:search:{name}"))
}

pub(crate) fn row(name: &str, bytes: usize, stale_until: Timestamp) -> Row {
    Row {
        key: key(name),
        kind: "search",
        entry: vec![1; bytes].into(),
        stored_at: day(1),
        stale_until,
        question: (!name.starts_with('-')).then(|| Arc::from("{\"q\":\"a\\\\b \\u0000 ü\"}")),
    }
}

async fn put(tier: &DatabaseTier, rows: impl IntoIterator<Item = Row>) {
    rows.into_iter().for_each(|row| assert!(tier.writer.put(row)));
    tier.writer.flush().await;
    assert!(!tier.writer.is_refused());
}

async fn rows_are_stored_replaced_and_removed(settings: DatabaseSettings) {
    let tier = tier(&open(&settings));
    put(&tier, ["a", "b", "-c"].map(|name| row(name, 10, day(100)))).await;
    put(&tier, [Row { question: None, ..row("a", 0, day(100)) }]).await;
    let keys = ["a", "none", "b"].map(key);
    let found = tier.get(&keys.each_ref()).await.unwrap();
    let lengths: Vec<_> = found.iter().map(|found| found.as_ref().map(bytes::Bytes::len)).collect();
    assert_eq!(lengths, [Some(0), None, Some(10)]);
    // The question is still known of the one that was stored again without it.
    let most = tier.most_used(10, day(1)).await.unwrap();
    assert_eq!(most.len(), 2);
    assert!(most.iter().all(|row| row.question.contains("\\u0000 ü")), "{most:?}");
    let texts = tier.texts(&keys).await.unwrap();
    assert!(texts[key("a").as_str()].starts_with(b"{\"q\""), "{texts:?}");
    let (found, all) = tier.beginnings(vec![], "test:".to_owned(), 4, |_| true).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|(key, bytes, size)| (key.to_string(), bytes.len(), *size)).collect();
    let named = |name: &str, bytes, size| (key(name).to_string(), bytes, size);
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, [named("-c", 4, 10), named("a", 0, 0), named("b", 4, 10)]);
    assert!(all);
    assert_eq!(tier.remove(&key("b")).await, Ok(1));
    assert_eq!(tier.remove_matching("test:search:?").await, Ok((1, true)));
    assert_eq!(tier.remove_matching("*").await, Ok((1, true)));
}

async fn values_are_kept(settings: DatabaseSettings) {
    let tier = tier(&open(&settings));
    tier.writer.keep("breakers", "[1]".into(), day(1));
    tier.writer.flush().await;
    tier.writer.keep("breakers", "[2]".into(), day(2));
    tier.writer.flush().await;
    assert_eq!(tier.restore("breakers").await.unwrap().as_deref(), Some("[2]"));
    assert_eq!(tier.restore("nothing").await, Ok(None));
    tier.ping().await.unwrap();
}

async fn uses_are_added_and_fade(settings: DatabaseSettings) {
    let tier = tier(&open(&settings));
    put(&tier, ["a", "b"].map(|name| row(name, 10, day(100)))).await;
    tier.writer.used(vec![(key("a"), 10), (key("b"), 8), (key("unknown"), 1)], day(1));
    tier.writer.flush().await;
    let most = async |now| {
        let found = tier.most_used(10, now).await.unwrap();
        found.iter().map(|row| (row.key.clone(), row.uses)).collect::<Vec<_>>()
    };
    assert_eq!(most(day(1)).await, [(key("a"), 10), (key("b"), 8)]);
    tier.writer.used(vec![(key("b"), 2)], day(2));
    tier.writer.flush().await;
    assert_eq!(most(day(2)).await, [(key("b"), 6), (key("a"), 5)]);
    assert_eq!(most(day(90)).await, [(key("b"), 0), (key("a"), 0)]);
    assert_eq!(most(day(0)).await, [(key("a"), 10), (key("b"), 6)], "clocks step back");
}

async fn a_sweep_takes_what_is_past_and_what_is_used_least(settings: DatabaseSettings) {
    let tier = tier(&open(&settings));
    put(&tier, (0..1_500).map(|n| row(&n.to_string(), 10, day(2)))).await;
    put(&tier, (1_500..2_500).map(|n| row(&n.to_string(), 10_000, day(9)))).await;
    tier.writer.used((1_500..1_800).map(|n| (key(&n.to_string()), 3)).collect(), day(2));
    tier.writer.flush().await;
    let sweep = async |bytes| {
        let mut whole = Swept::default();
        loop {
            let step = tier.sweep(day(3), bytes).await.unwrap();
            let (expired, evicted) = (whole.expired + step.expired, whole.evicted + step.evicted);
            whole = Swept { expired, evicted, ..step };
            if !step.unfinished {
                return whole;
            }
        }
    };
    let swept = sweep(u64::MAX).await;
    assert_eq!((swept.expired, swept.evicted, swept.rows), (1_500, 0, 1_000));
    let swept = sweep(4_000_000).await;
    assert!((3_500_000..=3_600_000).contains(&swept.bytes), "{swept:?}");
    let keys: Vec<_> = (1_500..1_800).map(|n| key(&n.to_string())).collect();
    let found = tier.get(&keys.iter().collect::<Vec<_>>()).await.unwrap();
    assert!(found.iter().all(Option::is_some), "the used are kept");
}

/// A topic that keeps what it receives.
#[derive(Default)]
pub(crate) struct Notes(Mutex<BTreeMap<String, String>>);

impl Topic for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn apply(&self, changes: &[Change], whole: bool) -> usize {
        let mut notes = self.0.lock().unwrap();
        if whole {
            notes.clear();
        }
        for change in changes {
            match change.payload.clone() {
                Some(payload) => drop(notes.insert(change.key.clone(), payload)),
                None => drop(notes.remove(&change.key)),
            }
        }
        0
    }

    fn state(&self) -> Vec<Draft> {
        Vec::new()
    }
}

pub(crate) fn note(key: &str, payload: &str) -> Draft {
    let (key, payload) = (key.to_owned(), Some(payload.to_owned()));
    Draft { topic: "notes", key, payload, at: clock::now(), keep_until: None }
}

pub(crate) fn follower(store: &Store) -> (Arc<Notes>, Changes) {
    let notes = Arc::new(Notes::default());
    let topic: Arc<dyn Topic> = Arc::<Notes>::clone(&notes);
    let log = Logger::root(slog::Discard, slog::o!());
    (notes, Changes::new(store.clone(), vec![topic], log))
}

async fn write(number: usize, changes: &Changes) {
    for n in 0..40 {
        changes.commit(note(&format!("{number}-{n}"), "1")).await.unwrap();
    }
    let removal = Draft::removal("notes", format!("{number}-0"), clock::now());
    changes.commit(removal).await.unwrap();
}

async fn nobody_who_follows_the_log_misses_a_change(settings: DatabaseSettings) {
    let (a, b) = (open(&settings), open(&settings));
    let (seen, reader) = follower(&a);
    let writers = [follower(&a).1, follower(&b).1, follower(&b).1];
    let over = Cell::new(false);
    let writing = async {
        join_all(writers.iter().enumerate().map(|(number, writer)| write(number, writer))).await;
        over.set(true);
    };
    let reading = async {
        while !over.get() {
            reader.catch_up().await.unwrap();
        }
    };
    join(writing, reading).await;
    reader.catch_up().await.unwrap();
    assert_eq!(seen.0.lock().unwrap().len(), 3 * 39);
}

async fn steps_are_made_once_taken_back_and_made_again(settings: DatabaseSettings) {
    let address = settings.address.clone();
    let starts = [(); 3].map(|()| {
        let settings = settings.clone();
        std::thread::spawn(move || {
            let (store, mut events) = Store::open(settings, clock::monotonic(), clock::now());
            let mut at = clock::monotonic();
            // SQLite may say that another one is at it: what counts is that it comes right by itself.
            for _ in 0..20 {
                if store.is_open() {
                    return store;
                }
                at += Duration::from_secs(10);
                events = store.look_after(at, clock::now());
            }
            panic!("{events:?}");
        })
    });
    for start in starts {
        put(&tier(&start.join().unwrap()), [row("a", 10, day(9))]).await;
    }
    let back = || revert(&address).unwrap();
    let step = std::thread::scope(|scope| scope.spawn(back).join().unwrap());
    assert_eq!(step.as_deref(), Some("20261128000000"));
    let store = open(&settings);
    assert!(store.absence().is_none());
}

macro_rules! contract {
    ($($body:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $body() {
                    let folder = tempfile::tempdir().unwrap();
                    let settings = super::DatabaseSettings::at(folder.path().join("x.db"));
                    super::$body(settings).await;
                }
            )*
        }

        /// One server; each body has a database of its own.
        #[tokio::test]
        async fn on_postgres() {
            let server = Postgres::start();
            $(
                let name = stringify!($body);
                eprintln!("on Postgres: {name}");
                server.sql(&format!("CREATE DATABASE {name}"));
                let url = server.url().replace("/gateway", &format!("/{name}"));
                $body(settings(&url)).await;
            )*
            server.stop();
        }
    };
}

contract!(
    rows_are_stored_replaced_and_removed,
    values_are_kept,
    uses_are_added_and_fade,
    a_sweep_takes_what_is_past_and_what_is_used_least,
    nobody_who_follows_the_log_misses_a_change,
    steps_are_made_once_taken_back_and_made_again,
);

#[test]
fn an_address_shows_no_password() {
    let settings = settings("postgres://u:hunter2@h/d?sslmode=require");
    let shown = format!("{settings:?} {}", settings.address);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(matches!(settings.address, Address::Postgres(_)));
}
