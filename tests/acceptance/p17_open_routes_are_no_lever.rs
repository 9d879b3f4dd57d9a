//! P17: always-open routes are no lever.
//!
//! One address pipelines `/metrics`, `/health/*`, preflights and refusals on two connections without a
//! pause, and another one is refused as fast as it can ask. Holds when the 99th percentile of honest
//! hits at most doubles (a few milliseconds are the machine's own), and the log grows by at most 100 kB
//! a second and keeps what an admin did.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use breakwater::clock::monotonic;
use socket2::{Domain, Socket, Type};

use crate::figures::Table;
use crate::fixture::{Fixture, page};
use crate::support::gateway::Running;
use crate::support::http::Connection;

const LASTS: Duration = Duration::from_secs(6);
/// Where two processors are shared with the attacker, so much is nobody's fault.
const SLACK: Duration = Duration::from_millis(25);
const MOST_LOGGED: u64 = 100_000;

#[test]
fn p17_open_routes_are_no_lever() {
    let fixture = Fixture::set();
    let log = fixture.folder().join("p17.log");
    let plan = fixture.plan().with("RATE_LIMIT_ENABLED", "true").with("ABUSE_DETECTION", "off");
    let plan = plan.with("TRUSTED_PROXIES", "127.0.0.1").with("LOG_LEVEL", "info");
    let gateway = plan.with("LOG_FILE", log.to_string_lossy()).start();
    let calm = honest(&gateway);
    let admin = gateway.admin().send("POST", "/admin/breakers/upstream/reset", b"").unwrap();
    assert_eq!(admin.status, 200);

    let refused = "GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8);
    let (over, began) = (AtomicBool::new(false), monotonic());
    let logged = std::fs::metadata(&log).unwrap().len();
    let under = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flood(gateway.address, "127.66.0.1", &open_routes(), &over));
        }
        scope.spawn(|| flood(gateway.address, "127.67.0.1", &refused, &over));
        let under = honest(&gateway);
        over.store(true, Ordering::Relaxed);
        under
    });
    let a_second =
        (std::fs::metadata(&log).unwrap().len() - logged) / began.elapsed().as_secs().max(1);
    let kept = std::fs::read_to_string(&log).unwrap().contains("admin");
    gateway.stop();
    fixture.end();

    let mut table = Table::new("P17: honest hits beside a flood of open routes", &["", "p99"]);
    for (what, p99) in [("before", calm), ("meanwhile", under)] {
        table.row([what.to_owned(), format!("{:.1} ms", p99.as_secs_f64() * 1_000.0)]);
    }
    table.row(["log, a second".to_owned(), format!("{a_second} bytes")]);
    table.print();
    assert!(under <= calm * 2 + SLACK, "{calm:?} became {under:?}");
    assert!(a_second <= MOST_LOGGED && kept, "{a_second} bytes a second, admin's line: {kept}");
}

/// The 99th percentile of hits of honest clients, each from an address of its own.
fn honest(gateway: &Running) -> Duration {
    let (began, mut took) = (monotonic(), Vec::new());
    for number in 0_u32.. {
        if began.elapsed() > LASTS {
            break;
        }
        let address = std::net::Ipv4Addr::from_bits(0xc633_6400 + number % 250).to_string();
        let mut client = Connection::to(gateway.address).with_header("x-forwarded-for", &address);
        let asked = monotonic();
        let answer = client.get(&page(17, 0)).expect("it answers");
        took.push(asked.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(20));
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

fn open_routes() -> String {
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let preflight = "OPTIONS /api/products/search HTTP/1.1\r\nHost: a\r\nOrigin: https://chatgpt.com\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    let paths = ["/metrics", "/health/detailed", "/health/live", "/health/ready"];
    paths.map(get).concat() + preflight + &get("/no/such/address")
}

/// Sends without a pause from an address and takes what comes back.
fn flood(to: SocketAddr, from: &str, sent: &str, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let from: IpAddr = from.parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut bytes = vec![0; 1 << 18];
        while !over.load(Ordering::Relaxed) && stream.write_all(sent.as_bytes()).is_ok() {
            if !matches!(stream.read(&mut bytes), Ok(1..)) {
                break;
            }
        }
    }
}
