//! Asking many questions once each and keeping what came back.
//!
//! Owns: the questions (drawn the same way in every run), the asking on a few connections at
//! once, and what an answer says about where it came from.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use fastrand::Rng;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::catalogue_file::Catalogue;
use crate::support::http::Connection;

/// Connections that ask at the same time.
const CONNECTIONS: usize = 8;

/// Paths of `count` different searches: one to three words of a title, and a page.
pub(crate) fn searches(catalogue: &Catalogue, count: usize) -> Vec<String> {
    let mut chance = Rng::with_seed(2_026);
    let mut seen = HashSet::new();
    let mut paths = Vec::with_capacity(count);
    // A small catalogue has few words, so pages and page sizes make up the number.
    for _ in 0..count * 50 {
        if paths.len() == count {
            break;
        }
        let product = chance.choice(&catalogue.products).expect("a catalogue has products");
        let words: Vec<&str> = product.title.split(' ').collect();
        let taken = chance.usize(1..=3).min(words.len());
        let first = chance.usize(..=words.len() - taken);
        let keywords = words.iter().skip(first).take(taken).copied().collect::<Vec<_>>().join(" ");
        let page = 1 + chance.usize(..10).saturating_sub(6);
        let size = chance.choice([20, 20, 50]).unwrap_or(20);
        if seen.insert((keywords.to_lowercase(), page, size)) {
            let keywords: String = byte_serialize(keywords.as_bytes()).collect();
            paths.push(format!(
                "/api/products/search?keywords={keywords}&page_no={page}&page_size={size}"
            ));
        }
    }
    assert_eq!(paths.len(), count, "the catalogue is too small for so many searches");
    paths
}

/// Paths of the details of up to `count` products for which an answer exists.
pub(crate) fn details(catalogue: &Catalogue, count: usize) -> Vec<String> {
    let mut listed: Vec<_> = catalogue.products.iter().filter(|listed| listed.commission).collect();
    Rng::with_seed(500).shuffle(&mut listed);
    listed.iter().take(count).map(|listed| format!("/api/products/details/{}", listed.id)).collect()
}

/// A question and what came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What was asked.
    pub(crate) path: String,
    /// HTTP status; 0 when there was no answer.
    pub(crate) status: u16,
    /// The whole envelope.
    pub(crate) envelope: Value,
}

impl Reply {
    /// The answer's `data`.
    pub(crate) fn data(&self) -> &Value {
        &self.envelope["data"]
    }

    /// The tier that answered, or `none`.
    pub(crate) fn tier(&self) -> &str {
        self.envelope["metadata"]["cache_tier"].as_str().unwrap_or("none")
    }

    /// Whether it is a good answer.
    pub(crate) fn is_good(&self) -> bool {
        self.status == 200 && self.envelope["success"] == true
    }
}

/// Asks all, a few at a time, and returns the replies in the order of the questions.
pub(crate) fn ask_all(address: SocketAddr, paths: &[String]) -> Vec<Reply> {
    let share = paths.len().div_ceil(CONNECTIONS).max(1);
    std::thread::scope(|scope| {
        let askers: Vec<_> = paths
            .chunks(share)
            .map(|chunk| {
                scope.spawn(move || {
                    let mut connection = Connection::to(address);
                    chunk.iter().map(|path| ask(&mut connection, path)).collect::<Vec<_>>()
                })
            })
            .collect();
        askers.into_iter().flat_map(|asker| asker.join().expect("asking does not panic")).collect()
    })
}

fn ask(connection: &mut Connection, path: &str) -> Reply {
    let path = path.to_owned();
    match connection.get(&path) {
        Ok(answer) => Reply { path, status: answer.status, envelope: answer.json() },
        Err(error) => Reply { path, status: 0, envelope: Value::String(error.to_string()) },
    }
}

/// How many replies came from which tier.
pub(crate) fn by_tier(replies: &[Reply]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for reply in replies {
        *counts.entry(reply.tier().to_owned()).or_default() += 1;
    }
    counts
}

/// Fails with the first few replies that are not good.
pub(crate) fn assert_all_good(what: &str, replies: &[Reply]) {
    let bad: Vec<_> = replies.iter().filter(|reply| !reply.is_good()).collect();
    let shown: Vec<String> = bad
        .iter()
        .take(5)
        .map(|reply| format!("{} {}: {}", reply.status, reply.path, reply.envelope))
        .collect();
    assert!(bad.is_empty(), "{what}: {} of {} failed:\n{shown:#?}", bad.len(), replies.len());
}
