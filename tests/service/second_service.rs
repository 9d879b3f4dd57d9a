//! A second service behind the same core: exchange rates from a small JSON upstream.
//!
//! Owns: the proof that a service needs nothing but the core's public surface to be cached in all
//! tiers, loaded once, limited, guarded by a breaker, stale in an outage, enveloped and documented.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use breakwater::app::Services;
use breakwater::cache::{CacheKey, Lifetimes, Loaded, Plan as LoadPlan};
use breakwater::clock::Timestamp;
use breakwater::http::service::{
    Answer, Call, Check, Class, Route, Seen, Served, Service, ServiceParts, StartFailure, Surface,
    fingerprint,
};
use breakwater::origin::{self, Identity, Origin, OriginClient, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::support::gateway::Plan;
use crate::support::redis::Redis;
use crate::test_app::{Running, run_with};

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
        origin::Request::get(format!("http://{}/{base}", self.0))
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
    routes: &[&[Route::at("/api/rates/{base}", Class::Search).get(|| web::to(rates)).says(
        |doc| {
            doc.says("Rates", "getRates", "Gets the rates of a currency.", "")
                .path("base", "Currency, three letters.", Some("^[A-Z]{3}$"))
                .fetches::<RatesData>("The rates.");
        },
    )]],
    operations: &[("latest", "rates")],
    about: &[],
    example: "/api/rates/EUR",
    settings: &[],
    tags: &[("Rates", "Exchange rates")],
};

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
        let (origin, base, question) = (self.0.clone(), base.to_owned(), base.to_owned());
        let lifetimes = Lifetimes { kind: "rates", fresh: DAY, negative: DAY, stale: DAY };
        LoadPlan::for_one(lifetimes, "bank", question, move |priority, deadline| {
            let (origin, question) = (origin.clone(), base.clone());
            async move {
                let found = origin.call(origin::Call::new(question, priority, deadline)).await?;
                let body = serde_json::to_vec(&found).unwrap().into();
                Ok(Loaded::json(body, found.is_none(), Vec::new()))
            }
        })
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

    fn plan_for(&self, key: &CacheKey, question: &str) -> Option<LoadPlan> {
        (Self::key(question) == *key).then(|| self.plan(question))
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);
static IS_DOWN: AtomicBool = AtomicBool::new(false);

/// An upstream that counts its calls and can be down.
fn start_bank() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.read(&mut [0; 4_096]));
            CALLS.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            let status = if IS_DOWN.load(Relaxed) { "503 Down" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 12\r\nconnection: close");
            drop(write!(stream, "{head}\r\n\r\n{{\"usd\": 1.1}}"));
        }
    });
    address
}

fn tier(gateway: &Running) -> Value {
    let body = gateway.get("/api/rates/EUR").json();
    assert_eq!(body["data"]["usd"], 1.1, "{body}");
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
        .with("RATE_LIMIT_ENABLED", "true");
    let rates = move |parts: &ServiceParts<'_>| -> Result<Services, StartFailure> {
        Ok(vec![Arc::new(Rates(parts.origin(vec![Identity::only("bank", Bank(bank))], false)?))])
    };

    let gateway = run_with(&plan, rates);
    std::thread::scope(|all| (0..10).for_each(|_| drop(all.spawn(|| tier(&gateway)))));
    assert_eq!((CALLS.load(Relaxed), tier(&gateway)), (1, "memory".into()), "loaded once");
    assert_eq!(gateway.get("/api/rates/euro").json()["code"], "invalid_request");
    let document = gateway.get("/openapi.json").json();
    assert_eq!(document["paths"]["/api/rates/{base}"]["get"]["operationId"], "getRates");
    drop(gateway);

    assert_eq!(tier(&run_with(&plan, rates)), "redis");
    redis.stop();

    let gateway = run_with(&plan, rates);
    assert_eq!((tier(&gateway), CALLS.load(Relaxed)), ("database".into(), 1));
    IS_DOWN.store(true, Relaxed);
    let soft = br#"{"pattern": "rates:*", "mode": "soft"}"#;
    let mut admin = gateway.admin().with_header("content-type", "application/json");
    assert_eq!(admin.send("POST", "/admin/cache/invalidate", soft).unwrap().status, 200);
    assert_eq!(gateway.get("/api/rates/EUR").json()["metadata"]["stale"], true);
    let ask = |letter| gateway.get(&format!("/api/rates/AA{letter}")).json()["code"].clone();
    let codes: Vec<_> = ('A'..='K').map(ask).collect();
    assert_eq!([&codes[0], &codes[10]], ["upstream_unavailable", "circuit_open"]);
    let breakers = admin.get("/admin/breakers").unwrap().json();
    let is_open = |breaker: &Value| breaker["name"] == "bank" && breaker["state"] == "open";
    assert!(breakers["data"].as_array().unwrap().iter().any(is_open), "{breakers}");
    let mut answers = (0..200).map(|_| gateway.get("/api/rates/euro"));
    let refused = answers.find(|answer| answer.status == 429).expect("a limit");
    assert_eq!(refused.json()["code"], "rate_limited");
}
