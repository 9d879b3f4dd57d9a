//! Several tables over one shared store that is flushed, put back to what it was, and away.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::access::identifier::Identifier;
use crate::access::record::{Entry, ListName, Subject};
use crate::access::{Bounds, Verdict};
use crate::clock::Timestamp;
use crate::config;

/// What Redis does, in a few lines.
#[derive(Clone, Default)]
struct Fake {
    /// The marks it has shown.
    marks: RefCell<Vec<String>>,
    version: RefCell<u64>,
    held: RefCell<BTreeMap<String, (u64, String)>>,
    away: RefCell<bool>,
    /// What was asked of it.
    asked: RefCell<Vec<&'static str>>,
}

impl Fake {
    fn answer(&self, what: &'static str) -> Result<(), String> {
        self.asked.borrow_mut().push(what);
        if *self.away.borrow() { Err("away".to_owned()) } else { Ok(()) }
    }

    fn flush(&self) {
        self.restore(&Self::default());
    }

    /// Is what it was, as after a restart from an older file or a fail-over to a replica behind.
    fn restore(&self, copy: &Self) {
        self.marks.replace(copy.marks.borrow().clone());
        self.held.replace(copy.held.borrow().clone());
        self.version.replace(*copy.version.borrow());
    }

    fn knows(&self, mark: &str) -> bool {
        mark.is_empty() || self.marks.borrow().iter().any(|known| known == mark)
    }

    fn mark(&self) -> String {
        self.marks.borrow().last().cloned().unwrap_or_default()
    }
}

impl SharedRecords for Fake {
    type Error = String;

    async fn read(&self, mark: &str, version: u64, most: usize) -> Result<Page, String> {
        self.answer("read")?;
        let held = self.held.borrow();
        let goes_on = self.knows(mark);
        let from = if goes_on { version } else { 0 };
        let mut found: Vec<_> =
            held.iter().filter(|(_, (at, _))| *at > from).map(|(s, (at, r))| (*at, s, r)).collect();
        found.sort();
        let more = found.len() >= most;
        found.truncate(most);
        let version = if more { found[most - 1].0 } else { *self.version.borrow() };
        let records = found.into_iter().map(|(_, s, r)| (s.clone(), r.clone())).collect();
        Ok(Page { mark: self.mark(), goes_on, version, records, more })
    }

    async fn merge(
        &self,
        mark: &str,
        chance: u128,
        records: &[(String, String)],
    ) -> Result<Option<String>, String> {
        self.answer("merge")?;
        let goes_on = self.knows(mark);
        let before = *self.version.borrow();
        for (subject, record) in records {
            let mut held = self.held.borrow_mut();
            let later = |held: &(u64, String)| held.1[..35] < record[..35];
            if held.get(subject).is_none_or(later) {
                *self.version.borrow_mut() += 1;
                held.insert(subject.clone(), (*self.version.borrow(), record.clone()));
            }
        }
        if *self.version.borrow() > before {
            self.marks.borrow_mut().push(chance.to_string());
        }
        Ok(goes_on.then(|| self.mark()))
    }

    async fn forget(&self, records: &[(String, String)]) -> Result<(), String> {
        self.answer("forget")?;
        for (subject, record) in records {
            self.held.borrow_mut().retain(|s, (_, r)| s != subject || r != record);
        }
        Ok(())
    }
}

struct Instance {
    access: Access,
    exchange: Exchange,
}

impl Instance {
    fn new(number: u32) -> Self {
        let settings = config::Access { admin_key: None, internal_key: None, require_key: false };
        let access = Access::new(&settings, number, Bounds::default(), true);
        Self { access, exchange: Exchange::default() }
    }

    async fn turn(&mut self, store: &Fake) -> Result<Turn, String> {
        self.exchange.turn(&self.access, store).await
    }

    fn denies(&self, number: u32) -> bool {
        self.access.judge(std::net::Ipv4Addr::from_bits(number).into(), None) != Verdict::Unlisted
    }

    fn put(&self, number: u32, now: i64) {
        let now = Timestamp::from_millis(now);
        let entry =
            Entry { reason: now.as_millis().to_string(), created_at: now, expires_at: None };
        self.access.put(ListName::Deny, who(number), entry, now).unwrap();
    }

    fn take_out(&self, number: u32, now: i64) -> bool {
        self.access.take_out(ListName::Deny, who(number), Timestamp::from_millis(now))
    }

    fn all(&self) -> Vec<(Identifier, Entry)> {
        self.access.entries(ListName::Deny, None, usize::MAX, clock::now())
    }
}

fn who(number: u32) -> Identifier {
    std::net::Ipv4Addr::from_bits(number).to_string().parse().unwrap()
}

fn now() -> i64 {
    clock::now().as_millis()
}

#[actix::test]
async fn what_one_changes_the_other_hears_with_its_next_turn() {
    let (store, mut a, mut b) = (Fake::default(), Instance::new(1), Instance::new(2));
    a.put(1, now());
    assert_eq!(a.turn(&store).await.unwrap().told, 1);
    assert_eq!(b.turn(&store).await.unwrap().new, 1);
    assert!(b.denies(1));
    assert!(b.take_out(1, now()));
    b.turn(&store).await.unwrap();
    assert!(a.denies(1));
    a.turn(&store).await.unwrap();
    assert!(!a.denies(1));
    assert_eq!(a.turn(&store).await.unwrap(), Turn::default(), "nothing is told twice");
    assert_eq!(
        a.access.until_told(Subject::Entry(ListName::Deny, who(1)), crate::access::POLL).await,
        ["database"]
    );
}

#[actix::test]
async fn what_happens_while_the_store_is_away_is_told_when_it_is_back() {
    let (store, mut a, mut b) = (Fake::default(), Instance::new(1), Instance::new(2));
    a.put(1, now());
    a.turn(&store).await.unwrap();
    b.turn(&store).await.unwrap();
    *store.away.borrow_mut() = true;
    b.put(2, now());
    b.take_out(1, now());
    a.put(3, now());
    assert!(a.turn(&store).await.is_err() && b.turn(&store).await.is_err());
    *store.away.borrow_mut() = false;
    b.turn(&store).await.unwrap();
    a.turn(&store).await.unwrap();
    b.turn(&store).await.unwrap();
    for instance in [&a, &b] {
        assert!(!instance.denies(1) && instance.denies(2) && instance.denies(3));
    }
}

#[actix::test]
async fn a_store_that_lost_everything_is_told_everything_again() {
    let (store, mut a, mut b) = (Fake::default(), Instance::new(1), Instance::new(2));
    (0..1_200).for_each(|number| a.put(number, now()));
    a.turn(&store).await.unwrap();
    assert_eq!(b.turn(&store).await.unwrap().new, 1_200, "page after page");
    store.flush();
    b.put(9_999, now());
    assert!(b.turn(&store).await.unwrap().begun_anew);
    let turn = a.turn(&store).await.unwrap();
    assert!(turn.begun_anew && turn.new == 1, "{turn:?}");
    let mut c = Instance::new(3);
    c.turn(&store).await.unwrap();
    assert_eq!((c.all(), a.all()), (b.all(), b.all()));
    assert_eq!(a.turn(&store).await.unwrap(), Turn::default());
}

#[actix::test]
async fn a_store_that_went_back_is_told_again_what_it_lost() {
    // Whether by then it has grown beyond what A had seen, to the same, or to less.
    for meanwhile in [1_u32, 3, 7] {
        let (store, mut a, mut b) = (Fake::default(), Instance::new(1), Instance::new(2));
        a.put(1, now());
        a.turn(&store).await.unwrap();
        let older = store.clone();
        // Somebody else came after the copy was made, and never comes back.
        (10..13).for_each(|number| a.put(number, now()));
        assert!(a.take_out(1, now()));
        a.turn(&store).await.unwrap();
        b.turn(&store).await.unwrap();
        store.restore(&older);
        let mut stranger = Instance::new(3);
        stranger.turn(&store).await.unwrap();
        assert!(stranger.denies(1), "nobody has told it yet");
        (0..meanwhile).for_each(|number| stranger.put(100 + number, now()));
        stranger.turn(&store).await.unwrap();
        b.put(99, now());
        for instance in [&mut b, &mut a] {
            assert!(instance.turn(&store).await.unwrap().begun_anew, "{meanwhile}");
        }
        let mut fresh = Instance::new(4);
        for instance in [&mut b, &mut stranger, &mut fresh] {
            instance.turn(&store).await.unwrap();
        }
        assert!(!fresh.denies(1) && fresh.denies(12) && a.denies(99), "{meanwhile}");
        assert!(a.denies(100) && !stranger.denies(1), "{meanwhile}");
        assert_eq!((a.all(), b.all(), stranger.all()), (fresh.all(), fresh.all(), fresh.all()));
        assert_eq!(a.turn(&store).await.unwrap(), Turn::default());
    }
}

#[actix::test]
async fn what_a_store_lost_before_it_was_read_again_is_noticed() {
    for begun_before in [false, true] {
        let (store, mut a) = (Fake::default(), Instance::new(1));
        if begun_before {
            a.put(0, now());
            a.turn(&store).await.unwrap();
        }
        let older = store.clone();
        a.put(1, now());
        assert_eq!(a.turn(&store).await.unwrap().told, 1);
        store.restore(&older);
        let turn = a.turn(&store).await.unwrap();
        assert!(turn.begun_anew && turn.told > 0, "{turn:?}");
    }
}

#[actix::test]
async fn what_cannot_be_believed_is_dropped_and_counted() {
    let (store, mut a) = (Fake::default(), Instance::new(1));
    a.put(1, now());
    a.turn(&store).await.unwrap();
    let spoilt =
        [("deny:nobody", "x".repeat(50)), ("deny:10.0.0.1", format!("{} -", "9".repeat(35)))];
    for (number, (subject, text)) in spoilt.into_iter().enumerate() {
        let at = 10 + u64::try_from(number).unwrap();
        store.held.borrow_mut().insert(subject.to_owned(), (at, text));
        *store.version.borrow_mut() = at;
    }
    let turn = a.turn(&store).await.unwrap();
    assert_eq!((turn.new, turn.dropped), (0, 2));
    assert_eq!(a.turn(&store).await.unwrap().dropped, 0, "once");
    assert!(a.denies(1));
}

#[actix::test]
async fn who_has_much_to_tell_hears_others_in_between() {
    let (store, mut a) = (Fake::default(), Instance::new(1));
    (0..3_000).for_each(|number| a.put(number, now()));
    assert_eq!(a.turn(&store).await.unwrap().told, 3_000);
    let asked = store.asked.borrow();
    assert!(asked.split(|what| *what == "read").all(|told| told.len() <= 8), "{asked:?}");
}

#[actix::test]
async fn what_was_not_credible_is_heard_once_the_clock_is_right() {
    let (store, mut a, mut b) = (Fake::default(), Instance::new(1), Instance::new(2));
    a.put(1, now());
    a.turn(&store).await.unwrap();
    // B's clock began in 1970.
    let page = store.read("", 0, PAGE).await.unwrap();
    let records = page.records.iter().map(|(s, r)| Record::read(s, r).unwrap()).collect();
    let heard = b.access.hear(records, Place::Redis, Timestamp::from_millis(0));
    assert_eq!((heard.new, heard.refused, b.denies(1)), (0, 1, false));
    b.exchange = Exchange { mark: Some(page.mark), version: page.version };
    assert_eq!(b.turn(&store).await.unwrap().new, 1);
    assert!(b.denies(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Three instances whose clocks differ, a store that is away, flushed and put back to older contents
    /// now and then: when all is quiet they are of one mind.
    #[test]
    fn they_agree_in_the_end(
        steps in prop::collection::vec((0..3_usize, 0..6_u32, 0..10_u8, -5..5_i64), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (store, mut older) = (Fake::default(), Fake::default());
            let mut all = [1, 2, 3].map(Instance::new);
            let base = now();
            for (which, number, what, skew) in steps {
                let instance = &mut all[which];
                match what {
                    0..=2 => instance.put(number, base + 1_000 * skew),
                    3..=4 => drop(instance.take_out(number, base + 1_000 * skew)),
                    5 => *store.away.borrow_mut() ^= true,
                    6 => store.flush(),
                    7 => older = store.clone(),
                    8 => store.restore(&older),
                    _ => drop(instance.turn(&store).await),
                }
            }
            *store.away.borrow_mut() = false;
            for _ in 0..2 {
                for instance in &mut all {
                    instance.turn(&store).await.unwrap();
                }
            }
            let [a, b, c] = all.map(|instance| instance.all());
            assert_eq!(a, b);
            assert_eq!(b, c);
        });
    }
}
