//! Look-ups against resolvers that fail, hang and die.

use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(50);

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn timeout_fault(after: Duration) -> DnsFault {
    format!("no answer within {} ms", after.as_millis()).into()
}

/// A resolver that gives these answers one after the other, and then none.
fn answers(given: impl IntoIterator<Item = io::Result<Vec<IpAddr>>>) -> DnsCache {
    let given = Mutex::new(given.into_iter().collect::<std::collections::VecDeque<_>>());
    let next = move |_: &str| {
        let next = given.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Err(io::Error::other("no such name")))
    };
    DnsCache::new(SECOND * 10, Arc::new(next))
}

/// Makes what is known of a host older.
fn age(cache: &DnsCache, by: Duration) {
    cache.with("a.example", |known| {
        if let Some((_, at)) = &mut known.good {
            *at = at.checked_sub(by).unwrap();
        }
    });
}

async fn resolved(cache: &DnsCache) -> (Addresses, Option<DnsFault>) {
    let resolved = cache.resolve("a.example").await.unwrap();
    (resolved.addresses, resolved.stale)
}

#[tokio::test]
async fn a_good_answer_is_fresh_for_a_minute_and_then_asked_for_again() {
    let cache = answers([Ok(vec![address(1)]), Ok(vec![address(2)])]);
    for (older, last) in [(Duration::ZERO, 1), (FRESH - SECOND, 1), (SECOND, 2)] {
        age(&cache, older);
        assert_eq!(resolved(&cache).await, (Arc::from([address(last)]), None));
    }
}

#[tokio::test]
async fn a_failed_look_up_leaves_the_old_answer_and_the_next_one_asks_anew() {
    let failed = || Err(io::Error::other("no such name"));
    let cache = answers([Ok(vec![address(1)]), failed(), Ok(vec![address(2)])]);
    assert_eq!(resolved(&cache).await.1, None);
    age(&cache, FRESH * 60);
    let old = (Arc::from([address(1)]), Some("no such name".into()));
    assert_eq!(resolved(&cache).await, old);
    assert_eq!(resolved(&cache).await, (Arc::from([address(2)]), None));
}

#[tokio::test]
async fn a_failure_is_not_kept_where_nothing_else_is() {
    let cache = answers([Err(io::Error::other("no such name")), Ok(vec![address(1)])]);
    assert_eq!(cache.resolve("a.example").await, Err("no such name".into()));
    assert_eq!(resolved(&cache).await.1, None);
}

#[tokio::test]
async fn a_look_up_that_hangs_is_not_waited_for_again_if_there_is_an_old_answer() {
    let hung = Arc::new(Hung::default());
    let cache = DnsCache::new(SOON, hung.lookup());
    let old = (Arc::from([address(1)]), clock::monotonic().checked_sub(FRESH).unwrap());
    cache.with("a.example", |known| known.good = Some(old));
    assert_eq!(resolved(&cache).await, (Arc::from([address(1)]), Some(timeout_fault(SOON))));
    let patient = DnsCache { timeout: SECOND * 10, ..cache.clone() };
    patient.with("a.example", |known| {
        let look_up = known.under_way.as_mut().unwrap();
        look_up.since = look_up.since.checked_sub(SECOND * 10).unwrap();
    });
    let begun = clock::monotonic();
    assert_eq!(resolved(&patient).await.1, Some(timeout_fault(SECOND * 10)));
    assert!(clock::monotonic() - begun < SECOND * 5);
    hung.let_go();
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
