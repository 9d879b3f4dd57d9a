//! The clients of a demo: shoppers who search, look at what they found, and ask for what is like it and
//! for links.
//!
//! Owns: what they ask and how often. There are so many at most, each with one request at a time and a
//! pause after it, so a gateway that is slow is asked less. All that they may ask was asked once before
//! anybody watches: what an outage costs a client is then what it costs one who is known. Every answer
//! that is an error is counted; they never stop because of one.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use slog::Logger;

use crate::origin::transport::{AwcTransport, Transport as _, Wire};
use crate::origin::{Answer, Request};

pub const SHOPPERS: usize = 32;
/// Everybody pauses for a second at least.
pub const MOST_PER_SECOND: usize = SHOPPERS;
const SHORTEST_PAUSE: f64 = 1.0;
const LONGEST_PAUSE: f64 = 3.0;
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Asked at once before anybody shops.
const AT_ONCE: usize = 8;

/// What is looked for, the most popular first.
const TERMS: [&str; 16] = [
    "desk lamp",
    "wireless earbuds",
    "phone case",
    "running shoes",
    "dress",
    "usb charger",
    "headphones",
    "rain jacket",
    "smart watch",
    "baby toy",
    "coffee",
    "backpack",
    "dog collar",
    "yoga mat",
    "screwdriver",
    "car charger",
];
/// Of what was found, the first so many are looked at.
const LOOKED_AT: usize = 3;

/// What a search brought.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shelf {
    term: &'static str,
    ids: Vec<String>,
}

impl Shelf {
    fn search(&self) -> String {
        format!("/api/products/search?keywords={}", self.term.replace(' ', "+"))
    }

    /// All that somebody may ask who looks for this.
    fn all(&self) -> Vec<String> {
        let of_products = self
            .ids
            .iter()
            .flat_map(|id| [details(id), link(id)])
            .chain(self.ids.first().map(like));
        of_products.chain([self.search()]).collect()
    }

    /// What one shopper asks, in turn.
    fn visit(&self, mut chance: impl FnMut() -> f64) -> Vec<String> {
        let mut asked = Vec::new();
        match chance() {
            lot if lot < 0.05 => asked.push("/api/categories".to_owned()),
            lot if lot < 0.15 => asked.push("/api/products/hot".to_owned()),
            _ => {}
        }
        asked.push(self.search());
        let Some(id) = self.ids.get(pick(chance(), self.ids.len())) else { return asked };
        if chance() < 0.8 {
            asked.push(details(id));
        }
        if chance() < 0.2 {
            asked.extend(self.ids.first().map(like));
        }
        if chance() < 0.3 {
            asked.push(link(id));
        }
        asked
    }
}

fn details(id: &String) -> String {
    format!("/api/products/details/{id}")
}

fn link(id: &String) -> String {
    format!("/api/affiliate/link?url={}", page(id))
}

fn like(id: &String) -> String {
    format!("/api/smart-match?product_url={}", page(id))
}

fn page(id: &String) -> String {
    format!("https://www.aliexpress.com/item/{id}.html")
}

/// A place among so many, where the second is half as popular as the first, the third a third.
fn pick(chance: f64, among: usize) -> usize {
    let weight = |place: usize| 1.0 / f64::from(u32::try_from(place + 1).unwrap_or(u32::MAX));
    let mut left = chance * (0..among).map(weight).sum::<f64>();
    let found = (0..among).find(|place| {
        left -= weight(*place);
        left < 0.0
    });
    found.unwrap_or(among.saturating_sub(1))
}

/// What came of what was asked.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    asked: Cell<u64>,
    errors: Cell<u64>,
    last_error: RefCell<Option<String>>,
}

impl Counted {
    fn error(&self, path: &str, what: impl fmt::Display) {
        self.errors.set(self.errors.get() + 1);
        self.last_error.replace(Some(format!("{what} for {path}")));
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clients asked {} times and got {} errors", self.asked.get(), self.errors.get())?;
        match &*self.last_error.borrow() {
            Some(last) => write!(f, ", the last was {last}"),
            None => Ok(()),
        }
    }
}

pub(crate) struct Shoppers<'a> {
    address: SocketAddr,
    transport: AwcTransport,
    counted: &'a Counted,
}

impl<'a> Shoppers<'a> {
    pub(crate) fn of(address: SocketAddr, counted: &'a Counted, log: &Logger) -> Self {
        Self { address, transport: AwcTransport::new(&Wire::default(), log), counted }
    }

    /// Asks everything once; gives what was found.
    async fn open(&self) -> Vec<Shelf> {
        let mut shelves = Vec::new();
        for terms in TERMS.chunks(AT_ONCE) {
            shelves.extend(join_all(terms.iter().map(|term| self.look_for(term))).await);
        }
        let general = ["/api/categories", "/api/products/hot"].map(str::to_owned);
        let all: Vec<_> = shelves.iter().flat_map(Shelf::all).chain(general).collect();
        for (number, paths) in all.chunks(AT_ONCE).enumerate() {
            // Different clients: nobody reads so fast.
            join_all(paths.iter().map(|path| self.ask(SHOPPERS + number, path))).await;
        }
        shelves
    }

    async fn look_for(&self, term: &'static str) -> Shelf {
        let mut shelf = Shelf { term, ids: Vec::new() };
        if let Some(answer) = self.ask(0, &shelf.search()).await {
            let found: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let products = found.pointer("/data/products").and_then(Value::as_array);
            let ids = products.into_iter().flatten();
            let ids = ids.filter_map(|product| product.get("product_id")?.as_str());
            shelf.ids = ids.take(LOOKED_AT).map(str::to_owned).collect();
        }
        shelf
    }

    /// One request of one client; `None` if it got no good answer.
    async fn ask(&self, client: usize, path: &str) -> Option<Answer> {
        let mut request = Request::get(format!("http://{}{path}", self.address));
        // A network for examples (RFC 5737): each client is limited by itself.
        request.headers.push(("x-forwarded-for", format!("198.51.100.{}", client % 254 + 1)));
        self.counted.asked.set(self.counted.asked.get() + 1);
        match self.transport.send(request, PATIENCE).await {
            Ok(answer) if answer.status < 400 => return Some(answer),
            Ok(answer) => self.counted.error(path, answer.status),
            Err(fault) => self.counted.error(path, fault),
        }
        None
    }

    async fn shop(&self, client: usize, shelves: &[Shelf]) {
        pause(fastrand::f64() * LONGEST_PAUSE).await;
        while let Some(shelf) = shelves.get(pick(fastrand::f64(), shelves.len())) {
            for path in shelf.visit(fastrand::f64) {
                self.ask(client, &path).await;
                let more = fastrand::f64() * (LONGEST_PAUSE - SHORTEST_PAUSE);
                pause(SHORTEST_PAUSE + more).await;
            }
        }
    }

    /// Opens the shop, says so by calling `opened`, and shops until it is dropped.
    ///
    /// # Errors
    /// That of `opened`.
    pub(crate) async fn run<E>(&self, opened: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let shelves = self.open().await;
        opened()?;
        join_all((0..SHOPPERS).map(|client| self.shop(client, &shelves))).await;
        Ok(())
    }
}

async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_is_asked_for_most() {
        let mut counts = [0; 16];
        (0..10_000).for_each(|step| counts[pick(f64::from(step) / 10_000.0, 16)] += 1);
        assert!(counts.is_sorted_by(|one, next| one >= next), "{counts:?}");
        assert!(counts[0] > 2_500 && counts[15] > 100, "{counts:?}");
        assert_eq!((pick(0.0, 1), pick(1.0, 3), pick(0.5, 0)), (0, 2, 0));
    }

    #[test]
    fn nobody_asks_what_was_not_asked_before() {
        let shelf = Shelf { term: "desk lamp", ids: ["7", "8", "9"].map(str::to_owned).to_vec() };
        let known: BTreeSet<_> = shelf.all().into_iter().collect();
        let mut asked = BTreeSet::new();
        for seed in 0..1_000 {
            let mut lots = fastrand::Rng::with_seed(seed);
            asked.extend(shelf.visit(|| lots.f64()));
        }
        let general = ["/api/categories", "/api/products/hot"].map(str::to_owned);
        assert_eq!(asked, known.into_iter().chain(general).collect());
        let nothing = Shelf { ids: Vec::new(), ..shelf };
        assert_eq!(nothing.visit(|| 0.5), ["/api/products/search?keywords=desk+lamp"]);
    }
}
