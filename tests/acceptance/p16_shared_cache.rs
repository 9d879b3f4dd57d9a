//! P16: Varnish with its default rules stands before the gateway; owners and strangers take turns on
//! every route.
//!
//! Holds when no stranger gets what was answered to a key, an admin or a limited client, and nothing of
//! health outlives the gateway. With `PUBLIC_CACHING` the cache does answer strangers, and tells them
//! nothing about anybody's limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::figures::Table;
use crate::fixture::Fixture;
use crate::support::gateway::ADMIN_KEY;
use crate::support::http::{Answer, Connection};
use crate::support::process::{Process, wait_until};

const KEY: &str = "acceptance-shop-key-0123456789";
const SPAN: &str = "?start_time=2026-01-01+00:00:00&end_time=2026-01-02+00:00:00";
const LINK: &str = "https://www.aliexpress.com/item/3256800527853119.html";
/// Each path is asked for so often by each in turn.
const TURNS: usize = 3;

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Key,
    Bearer,
    Admin,
    Stranger,
}

const ALL: [Who; 4] = [Who::Key, Who::Bearer, Who::Admin, Who::Stranger];

impl Who {
    fn asks(self, at: SocketAddr, path: &str) -> Answer {
        let connection = Connection::to(at);
        let mut connection = match self {
            Self::Key => connection.with_header("x-internal-key", KEY),
            Self::Bearer => connection.with_header("authorization", &format!("Bearer {KEY}")),
            Self::Admin => connection.with_header("x-admin-key", ADMIN_KEY),
            Self::Stranger => connection,
        };
        connection.get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }
}

#[test]
fn p16_shared_cache() {
    let mut table = Table::new(
        "P16: owners and strangers take turns through Varnish with default rules",
        &["public", "paths", "answers", "stored answers to strangers", "leaks"],
    );
    for public in ["false", "true"] {
        let fixture = Fixture::set();
        let plan = fixture.plan().with("INTERNAL_API_KEY", KEY).with("PUBLIC_CACHING", public);
        // Limits that nobody reaches here, so that every answer has their fields.
        let plan = plan.with("RATE_LIMIT_ENABLED", "true").with("ABUSE_DETECTION", "off");
        let plan = ["MAX_REQUESTS_PER_SECOND", "RATE_LIMIT_BURST", "MAX_REQUESTS_PER_MINUTE"]
            .into_iter()
            .fold(plan, |plan, name| plan.with(name, "10000"));
        let plan = ["RATE_LIMIT_SEARCH_PER_MINUTE", "RATE_LIMIT_SEARCH_BURST"]
            .into_iter()
            .fold(plan, |plan, name| plan.with(name, "10000"));
        let gateway = plan.start();
        let (varnish, front) = varnish(fixture.folder(), gateway.address);
        let paths = paths(&gateway.connection().get("/openapi.json").unwrap().json());
        let mut walk = Walk::default();
        for path in &paths {
            for who in ALL.into_iter().cycle().take(ALL.len() * TURNS) {
                walk.note(path, who, &who.asks(front, path));
            }
        }
        let Walk { answers, stored, leaks, .. } = walk;
        let figures = [paths.len(), answers, stored, leaks.len()].map(|figure| figure.to_string());
        table.row(std::iter::once(public.to_owned()).chain(figures));
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert_eq!(stored > 0, public == "true", "{stored} answers of the cache");
        gateway.stop();
        for path in ["/health", "/health/live", "/health/ready", "/health/detailed"] {
            let answer = Who::Stranger.asks(front, path);
            assert_eq!(answer.status, 503, "{path} outlives the gateway: {}", answer.text());
            assert_eq!(answer.header("x-request-id"), None, "{path}");
        }
        assert!(varnish.terminate().success());
        fixture.end();
    }
    table.print();
}

/// What came back so far.
#[derive(Default)]
struct Walk {
    answers: usize,
    /// Answers to strangers that the cache gave.
    stored: usize,
    leaks: Vec<String>,
    /// Whom an answer was for that nobody else may get, by the id of its request.
    owners: BTreeMap<String, Who>,
    seen: BTreeSet<String>,
}

impl Walk {
    fn note(&mut self, path: &str, who: Who, answer: &Answer) {
        self.answers += 1;
        let id = answer.header("x-request-id").unwrap_or_default().to_owned();
        if let Some(owner) = self.owners.get(&id) {
            self.leaks.push(format!("{path}: {who:?} got what {owner:?} was answered"));
        }
        let tells_limits = answer.headers.iter().any(|(name, _)| name.contains("ratelimit"));
        if !self.seen.insert(id.clone()) {
            self.stored += usize::from(who == Who::Stranger);
            if tells_limits || who != Who::Stranger {
                self.leaks.push(format!("{path}: {who:?} got what a stranger was answered"));
            }
        }
        if who != Who::Stranger || tells_limits {
            self.owners.insert(id, who);
        }
    }
}

/// Every address that takes GET, filled in.
fn paths(document: &Value) -> Vec<String> {
    let all = document["paths"].as_object().unwrap().iter();
    let reads = all.filter(|(_, methods)| methods["get"].is_object());
    reads
        .map(|(path, _)| match path.as_str() {
            "/api/orders" => format!("{path}{SPAN}"),
            "/api/affiliate/link" => format!("{path}?url={LINK}"),
            "/api/smart-match" => format!("{path}?product_url={LINK}"),
            _ => path.replace("{product_id}", "3256800527853119").replace("{id}", "248625901"),
        })
        .chain(["/nothing".to_owned(), "/api/products/search?page_no=0".to_owned()])
        .collect()
}

/// Debian's Varnish with the rules that are built in, before `origin`.
fn varnish(folder: &Path, origin: SocketAddr) -> (Process, SocketAddr) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let front = free.local_addr().expect("it is bound");
    drop(free);
    let mut command = Command::new("varnishd");
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
        .args(["-F", "-j", "none", "-T", "none", "-s", "malloc,16m"])
        .args(["-a", &front.to_string(), "-b", &origin.to_string()])
        .arg("-n")
        .arg(folder.join("varnish"));
    let process = Process::start("varnish", &mut command, &folder.join("varnish.log"));
    wait_until("Varnish answers", Duration::from_secs(30), || {
        Connection::to(front).get("/health/live").is_ok_and(|answer| answer.status == 200)
    });
    (process, front)
}
