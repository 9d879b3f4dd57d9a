//! Look-ups against resolvers that fail, hang and die.

use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(50);

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn good(last: u8) -> Answer {
    Ok(Arc::new([address(last)]))
}

fn failed() -> DnsFault {
    "no such name".into()
}

fn used(host: &Host, now: Instant) -> Option<Resolved> {
    match host.step(SECOND, now)? {
        Step::Known(resolved) => Some(resolved),
        Step::Wait(_) => None,
    }
}

fn looking(since: Instant) -> Option<UnderWay> {
    Some(UnderWay { since, answer: watch::channel(None).1 })
}

#[test]
fn a_good_answer_is_fresh_for_a_minute() {
    let start = clock::monotonic();
    let mut host = Host::default();
    assert!(host.step(SECOND, start).is_none(), "a look-up is due");
    host.learn(&good(1), start);
    let resolved = used(&host, start + FRESH - SOON).unwrap();
    assert_eq!((resolved.addresses.as_ref(), resolved.stale), (&[address(1)][..], None));
    assert!(host.step(SECOND, start + FRESH).is_none(), "a look-up is due");
}

#[test]
fn a_failed_look_up_leaves_the_old_answer_and_the_resolver_alone() {
    let start = clock::monotonic();
    let mut host = Host::default();
    host.learn(&good(1), start);
    let later = start + FRESH * 60;
    host.learn(&Err(failed()), later);
    assert_eq!(used(&host, later).unwrap().stale, Some(failed()));
    assert!(used(&host, later + LEFT_ALONE - SOON).is_some());
    assert!(host.step(SECOND, later + LEFT_ALONE).is_none(), "it is asked again");
    host.learn(&good(2), later + LEFT_ALONE);
    let resolved = used(&host, later + LEFT_ALONE).unwrap();
    assert_eq!((resolved.addresses.as_ref(), resolved.stale), (&[address(2)][..], None));
}

#[test]
fn a_failure_is_not_kept_where_nothing_else_is() {
    let start = clock::monotonic();
    let mut host = Host::default();
    host.learn(&Err(failed()), start);
    assert!(host.step(SECOND, start).is_none(), "the next one asks anew");
    assert_eq!(host.or_stale(failed()), Err(failed()));
}

#[test]
fn nobody_waits_for_a_look_up_that_hangs_if_there_is_an_old_answer() {
    let start = clock::monotonic();
    let mut host = Host::default();
    host.learn(&good(1), start);
    let later = start + FRESH;
    host.under_way = looking(later);
    assert!(matches!(host.step(SECOND, later + SOON), Some(Step::Wait(_))), "it is young");
    let resolved = used(&host, later + SECOND).unwrap();
    assert_eq!(resolved.stale, Some(timeout_fault(SECOND)));
    host.good = None;
    assert!(matches!(host.step(SECOND, later + SECOND), Some(Step::Wait(_))), "what else");
}

/// A resolver that answers only when it is let go.
#[derive(Default)]
struct Hung {
    asked: AtomicUsize,
    let_go: Mutex<bool>,
    news: Condvar,
}

impl Hung {
    fn lookup(self: &Arc<Self>) -> Lookup {
        let this = Arc::clone(self);
        Arc::new(move |_| {
            this.asked.fetch_add(1, Ordering::SeqCst);
            let let_go = this.let_go.lock().unwrap();
            drop(this.news.wait_while(let_go, |let_go| !*let_go).unwrap());
            Ok(vec![address(7)])
        })
    }

    fn let_go(&self) {
        *self.let_go.lock().unwrap() = true;
        self.news.notify_all();
    }
}

#[tokio::test]
async fn a_hung_resolver_is_asked_once_and_keeps_nobody() {
    let hung = Arc::new(Hung::default());
    let cache = DnsCache::new(SOON, hung.lookup());
    let asks = (0..50).map(|_| cache.resolve("api.example"));
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer, Err(timeout_fault(SOON)));
    }
    assert_eq!(cache.resolve("api.example").await, Err(timeout_fault(SOON)));
    assert_eq!(hung.asked.load(Ordering::SeqCst), 1);
    hung.let_go();
    // The answer is of use although it is late.
    let patient = DnsCache { timeout: SECOND * 10, ..cache.clone() };
    let resolved = patient.resolve("api.example").await.unwrap();
    assert_eq!((resolved.addresses.as_ref(), resolved.stale), (&[address(7)][..], None));
    assert_eq!(hung.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_host_does_not_wait_for_another() {
    let hung = Arc::new(Hung::default());
    let hangs = hung.lookup();
    let lookup = move |host: &str| {
        if host == "hangs.example" { hangs(host) } else { Ok(vec![address(1)]) }
    };
    let cache = DnsCache::new(SECOND * 10, Arc::new(lookup));
    let waits = cache.resolve("hangs.example");
    let other = cache.resolve("other.example");
    tokio::select! {
        biased;
        answer = waits => panic!("it hangs: {answer:?}"),
        answer = other => assert!(answer.is_ok()),
    }
    hung.let_go();
}

#[tokio::test]
async fn whatever_the_resolver_does_is_an_answer() {
    let of = |lookup: fn(&str) -> io::Result<Vec<IpAddr>>| {
        let cache = DnsCache::new(SECOND * 10, Arc::new(lookup));
        async move { cache.resolve("api.example").await.map_err(|fault| fault.to_string()) }
    };
    let told = |words: &str| Err(words.to_owned());
    assert_eq!(of(|_| Ok(Vec::new())).await, told("the name has no address"));
    assert_eq!(of(|_| Err(io::Error::other("no such name"))).await, told("no such name"));
    assert_eq!(of(|_| panic!("a resolver dies")).await, told("look-up died"));
}

#[tokio::test]
async fn an_address_needs_no_resolver() {
    let cache = DnsCache::new(SECOND, Arc::new(|_| Err(io::Error::other("not to be asked"))));
    for (host, address) in [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("[::1]", "::1")] {
        let resolved = cache.resolve(host).await.unwrap();
        assert_eq!(resolved.addresses.as_ref(), [address.parse::<IpAddr>().unwrap()]);
    }
}

#[tokio::test]
async fn the_machine_knows_itself() {
    let cache = DnsCache::of_the_system(SECOND * 10);
    let resolved = cache.resolve("localhost").await.unwrap();
    assert!(resolved.addresses.iter().all(IpAddr::is_loopback), "{resolved:?}");
}
