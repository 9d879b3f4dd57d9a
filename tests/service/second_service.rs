//! A second service behind the same core: exchange rates from a small JSON upstream.
//!
//! Owns: the proof that a service needs nothing but the core's public surface to be cached in all
//! tiers, loaded once, limited, guarded by a breaker, stale in an outage, enveloped and documented.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use breakwater::app::{ServiceParts, Services};
use breakwater::cache::{CacheKey, Lifetimes, Loaded, Plan as LoadPlan};
use breakwater::cli::Failure;
use breakwater::clock::Timestamp;
use breakwater::http::extract::{Answer, Call};
use breakwater::http::forms::Check;
use breakwater::http::openapi::failures::{BAD_INPUT, UPSTREAM};
use breakwater::http::served::Served;
use breakwater::http::service::{Operation, Route, Service, Surface, fingerprint};
use breakwater::limits::Class;
use breakwater::limits::abuse::Seen;
use breakwater::origin::{self, Identity, Origin, OriginClient, Outcome, Priority};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::stand::run_with;
use crate::support::gateway::{ADMIN_KEY, Plan};
use crate::support::http::Connection;
use crate::support::redis::Redis;

const DAY: Duration = Duration::from_secs(86_400);

/// The rates of one currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct RatesData {
    usd: f64,
}

/// The upstream's language: `GET /EUR` answers `{"usd": 1.1}`.
struct Bank(SocketAddr);

impl Origin for Bank {
    type Question = String;
    type Payload = RatesData;

    fn operation(_: &String) -> &'static str {
        "rates"
    }

    fn request(&self, base: &String, _: Timestamp) -> origin::Request {
        let url = format!("http://{}/{base}", self.0);
        origin::Request { method: Method::GET, url, headers: Vec::new(), body: Bytes::new() }
    }

    fn interpret(&self, _: &String, answer: &origin::Answer) -> Outcome<RatesData> {
        match (answer.status, serde_json::from_slice(&answer.body)) {
            (200, Ok(rates)) => Outcome::Ok(rates),
            (500.., _) => Outcome::Transient { reason: format!("status {}", answer.status) },
            _ => Outcome::BadResponse { reason: "no rates".to_owned() },
        }
    }
}

#[derive(Clone)]
struct Rates(OriginClient<Bank>);

const SURFACE: Surface = Surface {
    name: "rates",
    routes: &[&[Route::new("/api/rates/{base}", Class::General, &[RATES])]],
    settings: &[],
    tags: &[("Rates", "Exchange rates")],
};

const RATES: Operation = Operation::get(
    || web::to(rates),
    |doc| {
        doc.says("Rates", "getRates", "Gets the rates of a currency.", "")
            .path("base", "Currency, three letters.", Some("^[A-Z]{3}$"))
            .fetches::<RatesData>("The rates.")
            .fails(BAD_INPUT)
            .fails(UPSTREAM);
    },
);

async fn rates(call: Call) -> Answer {
    let rates = call.service::<Rates>()?.clone();
    let base: String = call.path()?;
    let mut check = Check::default();
    if base.len() != 3 || !base.bytes().all(|byte| byte.is_ascii_uppercase()) {
        check.refuse("base", "is no currency", "three capital letters");
    }
    check.finish(())?;
    call.watch(|| Seen { query: Some(fingerprint(&("rates", &base))), ..Seen::default() })?;
    let (key, deadline) = (Rates::key(&base), call.scope().deadline);
    let plan = move || rates.plan(&base);
    let answer = call.cache().get("rates", key, deadline, plan).await?;
    Ok(call.answer(Served::kept(&answer)))
}

impl Rates {
    fn key(base: &str) -> CacheKey {
        CacheKey::of("rates", "latest", [base])
    }

    fn plan(&self, base: &str) -> LoadPlan {
        let (origin, base) = (self.0.clone(), base.to_owned());
        let question = base.clone();
        LoadPlan {
            lifetimes: Lifetimes { kind: "rates", fresh: DAY, negative: DAY, stale: DAY },
            loader: Arc::new(move |_, priority, deadline| {
                let (origin, question) = (origin.clone(), base.clone());
                let request_id = "rates".into();
                let call = origin::Call { question, deadline, retry: true, priority, request_id };
                Box::pin(async move {
                    let found = origin.call(call).await?;
                    let body = serde_json::to_vec(&found).unwrap().into();
                    Ok(vec![Loaded::json(body, found.is_none(), Vec::new())])
                })
            }),
            question: Arc::new(move |_| Some(question.clone())),
            origin: "bank",
            reload: false,
            priority: Priority::Client,
            within: Duration::from_secs(5),
        }
    }
}

impl Service for Rates {
    fn surface(&self) -> &'static Surface {
        const { &SURFACE }
    }

    fn install(&self, config: &mut ServiceConfig) {
        config.app_data(self.clone());
    }

    fn longest_ttl(&self) -> Duration {
        DAY
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["latest"]
    }

    fn plan_for(&self, key: &CacheKey, question: &str) -> Option<LoadPlan> {
        (Self::key(question) == *key).then(|| self.plan(question))
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);
static IS_DOWN: AtomicBool = AtomicBool::new(false);

fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// An upstream that counts its calls and can be down.
fn start_bank() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.read(&mut [0; 4_096]));
            CALLS.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            let status = if IS_DOWN.load(Ordering::Relaxed) { "503 Down" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 12\r\nconnection: close");
            drop(write!(stream, "{head}\r\n\r\n{{\"usd\": 1.1}}"));
        }
    });
    address
}

fn with_gateway(plan: &Plan, bank: SocketAddr, test: impl FnOnce(SocketAddr)) {
    let rates = move |parts: &ServiceParts<'_>| -> Result<Services, Failure> {
        Ok(vec![Arc::new(Rates(parts.origin(vec![Identity::only("bank", Bank(bank))])?))])
    };
    test(run_with(plan, rates).address);
}

fn get(gateway: SocketAddr, path: &str) -> (u16, Value) {
    let answer = Connection::to(gateway).get(path).unwrap();
    (answer.status, answer.json())
}

fn tier(gateway: SocketAddr) -> Value {
    let (status, body) = get(gateway, "/api/rates/EUR");
    assert_eq!((status, &body["data"]["usd"]), (200, &Value::from(1.1)), "{body}");
    body["metadata"]["cache_tier"].clone()
}

#[test]
fn a_second_service_needs_nothing_but_the_core() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), Redis::start());
    let bank = start_bank();
    let plan = Plan::in_folder(folder.path())
        .before(bank)
        .with("REDIS_URL", redis.url())
        .with("CACHE_WARM_KEYS", "0")
        .with("RETRY_MAX_ATTEMPTS", "1")
        .with("RATE_LIMIT_ENABLED", "true")
        .with("MAX_REQUESTS_PER_SECOND", "0")
        .with("MAX_REQUESTS_PER_MINUTE", "60");
    with_gateway(&plan, bank, |gateway| {
        let burst: Vec<_> = (0..10).map(|_| std::thread::spawn(move || tier(gateway))).collect();
        burst.into_iter().for_each(|one| drop(one.join().expect("an answer")));
        assert_eq!((calls(), tier(gateway)), (1, "memory".into()), "loaded once");
        assert_eq!(get(gateway, "/api/rates/euro").1["code"], "invalid_request");
        let document = get(gateway, "/openapi.json").1;
        assert_eq!(document["paths"]["/api/rates/{base}"]["get"]["operationId"], "getRates");
    });
    with_gateway(&plan, bank, |gateway| assert_eq!(tier(gateway), "redis"));
    redis.stop();
    with_gateway(&plan, bank, |gateway| {
        assert_eq!((tier(gateway), calls()), ("database".into(), 1));
        IS_DOWN.store(true, Ordering::Relaxed);
        let soft = br#"{"pattern": "rates:*", "mode": "soft"}"#;
        let mut admin = Connection::to(gateway)
            .with_header("x-admin-key", ADMIN_KEY)
            .with_header("content-type", "application/json");
        let done = admin.send("POST", "/admin/cache/invalidate", soft).unwrap();
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(get(gateway, "/api/rates/EUR").1["metadata"]["stale"], true);
        let ask = |letter: char| get(gateway, &format!("/api/rates/AA{letter}")).1["code"].clone();
        let codes: Vec<_> = ('A'..='K').map(ask).collect();
        assert_eq!(
            (&codes[0], &codes[10]),
            (&"upstream_unavailable".into(), &"circuit_open".into())
        );
        let breakers = admin.get("/admin/breakers").unwrap().json();
        let named = |breaker: &Value| breaker["name"] == "bank" && breaker["state"] == "open";
        assert!(breakers["data"].as_array().unwrap().iter().any(named), "{breakers}");
        let refused =
            (0..60).map(|_| get(gateway, "/api/rates/EUR")).find(|(code, _)| *code == 429);
        assert_eq!(refused.expect("a limit").1["code"], "rate_limited");
    });
}
