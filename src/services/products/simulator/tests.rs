//! The simulator as callers see it: real sockets, real signatures.

use awc::error::{PayloadError, SendRequestError};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::form_urlencoded;

use super::*;
use crate::clock;

const SEARCH: &str = "aliexpress.affiliate.product.query";
const LINKS: &str = "aliexpress.affiliate.link.generate";

type Pairs = Vec<(String, String)>;

/// A running simulator and a caller.
struct Rig {
    address: SocketAddr,
    client: awc::Client,
    handle: ServerHandle,
    served: actix_rt::task::JoinHandle<io::Result<()>>,
}

impl Rig {
    fn start() -> Self {
        Self::start_with(SimulatorSettings::default())
    }

    #[expect(clippy::disallowed_methods, reason = "the test owns the server it starts")]
    fn start_with(settings: SimulatorSettings) -> Self {
        let running = start(settings).unwrap();
        let served = actix_rt::spawn(running.server);
        let client = awc::Client::builder().timeout(Duration::from_secs(20)).finish();
        Self { address: running.address, client, handle: running.handle, served }
    }

    async fn stop(self) {
        self.handle.stop(false).await;
        self.served.await.unwrap().unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn control(&self, path: &str) -> Value {
        self.client.get(self.url(path)).send().await.unwrap().json().await.unwrap()
    }

    /// Puts one rule in force.
    async fn fault(&self, rule: Value) {
        let (status, answer) = self.put_faults(&json!([rule])).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn put_faults(&self, rules: &Value) -> (u16, Value) {
        let put = self.client.put(self.url("/__simulator/faults"));
        let mut answer = put.send_json(rules).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Status and body, the body's own failure kept apart.
    async fn send(
        &self,
        pairs: &Pairs,
    ) -> Result<(u16, Result<Bytes, PayloadError>), SendRequestError> {
        let post = self.client.post(self.url("/sync"));
        let post = post.content_type("application/x-www-form-urlencoded;charset=utf-8");
        let mut answer = post.send_body(form(pairs)).await?;
        Ok((answer.status().as_u16(), answer.body().await))
    }

    async fn call(&self, pairs: &Pairs) -> Value {
        let (status, body) = self.send(pairs).await.unwrap();
        assert_eq!(status, 200);
        serde_json::from_slice(&body.unwrap()).unwrap()
    }

    /// The code of the refusal that these parameters meet.
    async fn refusal(&self, pairs: &Pairs) -> Value {
        self.call(pairs).await["error_response"]["code"].clone()
    }

    /// What comes back when the same is sent over a bare socket.
    async fn bare(&self, pairs: &Pairs) -> io::Result<Vec<u8>> {
        let body = form(pairs);
        let (host, length) = (self.address, body.len());
        let head =
            format!("POST /sync HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
        let mut socket = tokio::net::TcpStream::connect(self.address).await?;
        socket.write_all((head + &body).as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.map(|_| answer)
    }
}

fn form(pairs: &Pairs) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn system(method: &str) -> Pairs {
    let timestamp = clock::now().as_millis().to_string();
    [
        ("app_key", DEMO_APP_KEY),
        ("method", method),
        ("timestamp", &timestamp),
        ("sign_method", "sha256"),
        ("format", "json"),
        ("v", "2.0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Signs with a keyed digest written out by hand, a third reading of the protocol.
fn sign(pairs: &mut Pairs, secret: &str) {
    pairs.sort();
    let message: String = pairs.iter().flat_map(|(name, value)| [name.as_str(), value]).collect();
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (place, byte) in block.iter_mut().zip(secret.bytes()) {
            *place ^= byte;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    let sign: String = outer.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.push(("sign".to_owned(), sign));
}

fn signed(method: &str, more: &[(&str, &str)]) -> Pairs {
    let mut pairs = system(method);
    pairs.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    sign(&mut pairs, DEMO_APP_SECRET);
    pairs
}

fn search() -> Pairs {
    signed(SEARCH, &[("keywords", "usb rechargeable"), ("page_size", "3")])
}

fn result_of(answer: &Value) -> &Value {
    &answer["aliexpress_affiliate_product_query_response"]["resp_result"]
}

/// The signed search with one parameter changed after or before signing.
fn with(name: &str, value: &str, sign_again: bool) -> Pairs {
    let mut pairs = search();
    pairs.retain(|(known, _)| known != name && (known != "sign" || !sign_again));
    pairs.push((name.to_owned(), value.to_owned()));
    if sign_again {
        sign(&mut pairs, DEMO_APP_SECRET);
    }
    pairs
}

#[actix_web::test]
async fn a_signed_call_is_answered_wherever_its_parameters_are() {
    let rig = Rig::start();
    let answer = rig.call(&search()).await;
    assert_eq!(result_of(&answer)["resp_code"], 200, "{answer}");
    assert_eq!(result_of(&answer)["result"]["current_record_count"], 3);

    let url = rig.url(&format!("/sync?{}", form(&search())));
    let got: Value = rig.client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(result_of(&got)["result"], result_of(&answer)["result"]);

    let mut pairs = search();
    let body = pairs.split_off(3);
    let url = rig.url(&format!("/sync?{}", form(&pairs)));
    let post = rig.client.post(&url).send_body(form(&body));
    let split: Value = post.await.unwrap().json().await.unwrap();
    assert_eq!(result_of(&split)["result"], result_of(&answer)["result"]);
    rig.stop().await;
}

#[actix_web::test]
async fn refusals_of_the_gateway() {
    let rig = Rig::start();
    for missing in ["method", "app_key", "timestamp", "sign_method", "sign"] {
        let mut pairs = search();
        pairs.retain(|(name, _)| name != missing);
        assert_eq!(rig.refusal(&pairs).await, "MissingParameter", "{missing}");
    }
    let cases = [
        (with("keywords", "usb cables", false), "IncompleteSignature"),
        (with("unsigned", "1", false), "IncompleteSignature"),
        (with("sign", "0123ABCD", false), "IncompleteSignature"),
        (with("app_key", "1", true), "InvalidAppKey"),
        (with("timestamp", "1517820392000", true), "IllegalTimestamp"),
        (with("timestamp", "yesterday", true), "InvalidTimestamp"),
        (with("sign_method", "sha1", true), "InvalidParameter"),
        (with("format", "xml", true), "InvalidParameter"),
        (with("page_size", "51", true), "InvalidParameter"),
        (signed("aliexpress.affiliate.nothing", &[]), "InvalidApiPath"),
        (signed(LINKS, &[]), "MissingParameter"),
    ];
    for (pairs, code) in cases {
        assert_eq!(rig.refusal(&pairs).await, code, "{pairs:?}");
    }
    let mut twice = search();
    twice.push(("keywords".to_owned(), "usb".to_owned()));
    assert_eq!(rig.refusal(&twice).await, "InvalidParameter");
    rig.stop().await;
}

#[actix_web::test]
async fn counts_are_exact_until_reset() {
    let rig = Rig::start();
    for _ in 0..3 {
        rig.call(&search()).await;
    }
    rig.call(&with("sign", "BAD", false)).await;
    rig.call(&signed("no.such.method", &[])).await;
    rig.fault(json!({"fault": "status"})).await;
    assert_eq!(rig.send(&search()).await.unwrap().0, 503);
    let stats = rig.control("/__simulator/stats").await;
    assert_eq!(stats["calls"][SEARCH], 5, "the refused and the spoiled one are calls too");
    assert_eq!(stats["calls"]["unknown"], 1);
    assert_eq!((&stats["calls"][LINKS], &stats["bad_signatures"]), (&json!(0), &json!(1)));

    let reset = rig.client.post(rig.url("/__simulator/reset")).send().await.unwrap();
    assert_eq!(reset.status(), 200);
    let stats = rig.control("/__simulator/stats").await;
    assert_eq!((&stats["calls"][SEARCH], &stats["bad_signatures"]), (&json!(0), &json!(0)));
    assert_eq!(rig.control("/__simulator/faults").await, json!([]));
    rig.stop().await;
}

#[actix_web::test]
async fn without_a_control_there_is_only_the_gateway() {
    let rig = Rig::start_with(SimulatorSettings { control: false, ..SimulatorSettings::default() });
    rig.call(&search()).await;
    for path in ["/__simulator/stats", "/__simulator/faults"] {
        assert_eq!(rig.client.get(rig.url(path)).send().await.unwrap().status(), 404);
    }
    assert_eq!(rig.client.put(rig.url("/__simulator/faults")).send().await.unwrap().status(), 404);
    rig.stop().await;
}

#[actix_web::test]
async fn bad_rules_are_refused_with_what_is_allowed() {
    let rig = Rig::start();
    let (status, answer) = rig.put_faults(&json!([{"fault": "explode", "share": 2}])).await;
    assert_eq!(status, 400);
    let mistakes = answer["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 1, "{answer}");
    assert!(mistakes[0].as_str().unwrap().contains("slow_body"), "{answer}");
    let put = rig.client.put(rig.url("/__simulator/faults"));
    assert_eq!(put.send_body("[{").await.unwrap().status(), 400);
    let delete = rig.client.delete(rig.url("/__simulator/faults")).send().await.unwrap();
    assert_eq!(delete.status(), 405);
    assert_eq!(rig.client.get(rig.url("/else")).send().await.unwrap().status(), 404);
    rig.stop().await;
}

#[actix_web::test]
async fn late_and_slow_answers_are_whole() {
    let rig = Rig::start();
    rig.fault(json!({"fault": "delay", "ms": 60})).await;
    let before = clock::monotonic();
    assert_eq!(result_of(&rig.call(&search()).await)["resp_code"], 200);
    assert!(clock::monotonic() - before >= Duration::from_millis(60));

    rig.fault(json!({"fault": "slow_body", "ms": 1})).await;
    let short = signed(SEARCH, &[("keywords", "no such thing")]);
    let before = clock::monotonic();
    assert_eq!(result_of(&rig.call(&short).await)["resp_code"], 405);
    assert!(clock::monotonic() - before >= Duration::from_millis(100));
    rig.stop().await;
}

#[actix_web::test]
async fn what_is_over_the_capacity_fails_at_once() {
    let rig = Rig::start();
    let rule = json!({"app_key": DEMO_APP_KEY, "fault": "capacity", "per_second": 4, "ms": 50});
    rig.fault(rule).await;
    let before = clock::monotonic();
    assert_eq!(result_of(&rig.call(&search()).await)["resp_code"], 200);
    assert!(clock::monotonic() - before >= Duration::from_millis(50));
    let met = [rig.send(&search()).await.unwrap().0, rig.send(&search()).await.unwrap().0];
    assert!(met.contains(&503), "{met:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.send(&search()).await.unwrap().0, 200);
    rig.fault(json!({"app_key": "another", "fault": "status"})).await;
    assert_eq!(rig.send(&search()).await.unwrap().0, 200);
    rig.stop().await;
}

#[actix_web::test]
async fn a_hanging_answer_never_comes() {
    let rig = Rig::start();
    rig.fault(json!({"method": SEARCH, "fault": "hang"})).await;
    let pairs = search();
    let wait = tokio::time::timeout(Duration::from_millis(150), rig.send(&pairs));
    assert!(wait.await.is_err());
    let links =
        [("tracking_id", DEMO_TRACKING_ID), ("source_values", "https://www.aliexpress.com/")];
    let other = rig.call(&signed(LINKS, &links)).await;
    assert!(other.get("aliexpress_affiliate_link_generate_response").is_some(), "{other}");
    rig.stop().await;
}

#[actix_web::test]
async fn a_reset_is_a_real_one() {
    let rig = Rig::start();
    rig.fault(json!({"fault": "reset"})).await;
    let cut = rig.bare(&search()).await.unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::ConnectionReset);
    assert!(rig.send(&search()).await.is_err());
    rig.stop().await;
}

#[actix_web::test]
async fn a_truncated_answer_ends_half_way() {
    let rig = Rig::start();
    let (_, whole) = rig.send(&search()).await.unwrap();
    let whole = whole.unwrap().len();
    rig.fault(json!({"fault": "truncate"})).await;
    let answer = rig.bare(&search()).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains(&format!("content-length: {whole}\r\n")), "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.len().abs_diff(whole / 2) <= 2, "{} of {whole}", body.len());
    // Not every client notices that less came than was announced; this one does not.
    let (_, body) = rig.send(&search()).await.unwrap();
    assert!(body.is_err() || body.unwrap().len() < whole);
    rig.stop().await;
}

#[actix_web::test]
async fn other_answers_than_json() {
    let rig = Rig::start();
    rig.fault(json!({"fault": "status", "status": 502})).await;
    assert_eq!(rig.send(&search()).await.unwrap().0, 502);
    rig.fault(json!({"fault": "html"})).await;
    let (status, page) = rig.send(&search()).await.unwrap();
    assert!(status == 200 && page.unwrap().starts_with(b"<!DOCTYPE html>"));
    rig.fault(json!({"fault": "html", "code": "moved", "status": 404})).await;
    let (status, page) = rig.send(&search()).await.unwrap();
    assert!(status == 404 && String::from_utf8_lossy(&page.unwrap()).contains("has been offline"));
    rig.fault(json!({"fault": "garbage", "seed": 5})).await;
    let garbage = rig.send(&search()).await.unwrap().1.unwrap();
    assert!(serde_json::from_slice::<Value>(&garbage).is_err());
    assert_eq!(rig.send(&search()).await.unwrap().1.unwrap(), garbage);
    rig.stop().await;
}

#[actix_web::test]
async fn refusals_on_request() {
    let rig = Rig::start();
    rig.fault(json!({"fault": "throttle", "seconds": 3})).await;
    let today = rig.call(&search()).await;
    assert_eq!(today["error_response"]["code"], "ApiCallLimit");
    assert!(today["error_response"]["msg"].as_str().unwrap().contains("ban will last 3 seconds"));
    rig.fault(
        json!({"fault": "throttle", "code": "7", "seconds": 31062, "variant": "error_at_root"}),
    )
    .await;
    let older = rig.call(&search()).await;
    assert_eq!((&older["code"], &older["message"]), (&json!(7), &json!("App Call Limited")));
    rig.fault(json!({"fault": "error", "code": "15", "sub_code": "isp.timeout"})).await;
    let error = rig.call(&search()).await;
    assert_eq!(error["error_response"]["sub_code"], "isp.timeout");
    rig.fault(json!({"fault": "variant", "variant": "business_code", "code": "4001"})).await;
    assert_eq!(result_of(&rig.call(&search()).await)["resp_code"], 4001);
    rig.stop().await;
}

#[actix_web::test]
async fn shapes_on_request() {
    let rig = Rig::start();
    rig.fault(json!({"fault": "variant", "variant": "no_root_key"})).await;
    assert_eq!(rig.call(&search()).await["resp_result"]["resp_code"], 200);
    rig.fault(json!({"fault": "variant", "variant": "no_target_sale_price"})).await;
    let answer = rig.call(&search()).await;
    let first = &result_of(&answer)["result"]["products"]["product"][0];
    assert!(first.get("target_sale_price").is_none() && first.get("sale_price").is_some());
    rig.put_faults(&json!([])).await;
    // Clients that ask for it read the nested form all the same.
    let nested = rig.call(&with("simplify", "true", true)).await;
    assert!(result_of(&nested)["result"]["products"]["product"].is_array(), "{nested}");
    let unset = rig.call(&with("delivery_days", "None", true)).await;
    assert_eq!(result_of(&unset)["resp_code"], 200, "{unset}");
    rig.stop().await;
}

#[actix_web::test]
async fn what_does_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let refused = start(SimulatorSettings { listen, ..SimulatorSettings::default() }).unwrap_err();
    assert!(refused.to_string().starts_with("cannot listen on 127.0.0.1:"), "{refused}");
    let catalog = Some("nowhere.jsonl".into());
    let refused = start(SimulatorSettings { catalog, ..SimulatorSettings::default() }).unwrap_err();
    assert!(
        refused.to_string().starts_with("catalogue nowhere.jsonl cannot be read: "),
        "{refused}"
    );
}
