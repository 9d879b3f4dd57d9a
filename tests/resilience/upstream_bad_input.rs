//! Whatever the upstream sends: a typed outcome, and never a 200 with nothing in it.
//!
//! Owns: a table of bodies that is read twice, by the protocol alone and by a gateway that was
//! started as an operator starts it; mutations of captured answers; and a body far too large.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use breakwater::origin::{Answer as Received, Origin, Outcome};
use breakwater::services::products::aliexpress::records::Contents;
use breakwater::services::products::aliexpress::terms::{Currency, Language};
use breakwater::services::products::aliexpress::{Found, Method, Request, Target};
use breakwater::services::products::endpoints::{categories, details, links, orders, search};
use breakwater::services::products::reading;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::json;

use crate::support::gateway::{Plan, Running};
use crate::support::http::{Answer, Connection};
use crate::upstream_kinds::raw;
use crate::upstream_rig::aliexpress;

const JSON: &str = "application/json;charset=UTF-8";
const HTML: &str = "text/html; charset=utf-8";

/// What an answer is told as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// A product of this id.
    Product(&'static str),
    /// The upstream says that there is nothing.
    Empty,
    /// 503.
    Unavailable,
    /// 502.
    Rejected,
}

/// One answer on the wire.
#[derive(Debug, Clone)]
struct Sent {
    what: &'static str,
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    want: Want,
}

fn sent(what: &'static str, body: impl AsRef<[u8]>, want: Want) -> Sent {
    Sent { what, status: 200, content_type: JSON, body: body.as_ref().to_vec(), want }
}

/// A product of the id and price, both as JSON text.
fn product(id: &str, price: &str) -> String {
    format!(
        "{{\"product_id\":{id},\"product_title\":\"A copper kettle\",\"target_sale_price\":{price},\
         \"target_sale_price_currency\":\"USD\",\"product_main_image_url\":\"https://img.test/1.jpg\",\
         \"product_detail_url\":\"https://www.aliexpress.com/item/1.html\",\"lastest_volume\":-0}}"
    )
}

/// The whole answer around the text of a `result`.
fn answer(result: &str) -> String {
    around(&format!("{{\"resp_code\":200,\"resp_msg\":\"Call succeeds\",\"result\":{result}}}"))
}

fn around(resp_result: &str) -> String {
    format!("{{\"aliexpress_affiliate_product_query_response\":{{\"resp_result\":{resp_result}}}}}")
}

fn page(products: &str) -> String {
    answer(&format!(
        "{{\"current_page_no\":1,\"total_record_count\":1,\"products\":{{\"product\":[{products}]}}}}"
    ))
}

fn good() -> String {
    page(&product("7", "\"4.69\""))
}

fn forms() -> Vec<Sent> {
    let good = good();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (head, tail) = good.split_at(good.find("copper").unwrap());
    let latin = [head.as_bytes(), b"\xe9", tail.as_bytes()].concat();
    let with = |content_type, status, sent| Sent { content_type, status, ..sent };
    let web_page = "<!DOCTYPE html><html><body>Hello</body></html>";
    vec![
        sent("as it should be", &good, Want::Product("7")),
        with(HTML, 200, sent("json called html", &good, Want::Product("7"))),
        with("image/png", 200, sent("json called an image", &good, Want::Product("7"))),
        with("", 200, sent("json called nothing", &good, Want::Product("7"))),
        with(HTML, 200, sent("a web page", web_page, Want::Rejected)),
        with(JSON, 200, sent("a web page called json", web_page, Want::Rejected)),
        with(HTML, 502, sent("a proxy's page", web_page, Want::Unavailable)),
        with(JSON, 500, sent("a result under 500", &good, Want::Unavailable)),
        with("application/xml", 200, sent("xml", "<?xml version=\"1.0\"?><x/>", Want::Unavailable)),
        sent("nothing", "", Want::Unavailable),
        sent("cut at the start", &good[..1], Want::Unavailable),
        sent("cut in the middle", &good[..good.len() / 2], Want::Unavailable),
        sent("cut at the end", &good[..good.len() - 1], Want::Unavailable),
        sent("two answers", format!("{good}{good}"), Want::Unavailable),
        sent("utf-16", utf16, Want::Unavailable),
        sent("latin-1", latin, Want::Product("7")),
        sent("nul bytes", [0_u8; 64], Want::Unavailable),
        sent("a byte order mark", format!("\u{feff}{good}"), Want::Product("7")),
        sent("a scalar", "17", Want::Unavailable),
        sent("null", "null", Want::Unavailable),
        sent("a list", "[]", Want::Unavailable),
        sent("no field", "{}", Want::Unavailable),
        sent("lists without end", "[".repeat(100_000), Want::Unavailable),
        sent("objects without end", "{\"a\":".repeat(100_000), Want::Unavailable),
    ]
}

fn numbers() -> Vec<Sent> {
    let id = |id: &str| page(&product(id, "\"4.69\""));
    let price = |price: &str| page(&product("7", price));
    vec![
        sent("2^53 + 1", id("9007199254740993"), Want::Product("9007199254740993")),
        sent("2^53 + 1, a text", id("\"9007199254740993\""), Want::Product("9007199254740993")),
        sent("2^64 - 1", id("18446744073709551615"), Want::Product("18446744073709551615")),
        sent("2^64", id("18446744073709551616"), Want::Unavailable),
        sent("2^64, a text", id("\"18446744073709551616\""), Want::Unavailable),
        sent("an id beyond floats", id("1e999"), Want::Unavailable),
        sent("an id of minus nought", id("-0"), Want::Unavailable),
        sent("an id below nought", id("-7"), Want::Unavailable),
        sent("an id with an exponent", id("7e0"), Want::Product("7")),
        sent("a price beyond floats", price("1e999"), Want::Unavailable),
        sent("a price that is no number", price("NaN"), Want::Unavailable),
        sent("a price as a number", price("4.69"), Want::Product("7")),
        sent("one of two ids beyond 2^64", two_ids(), Want::Product("7")),
    ]
}

fn two_ids() -> String {
    let (bad, good) = (product("18446744073709551616", "\"1\""), product("7", "\"1\""));
    page(&format!("{bad},{good}"))
}

fn fields() -> Vec<Sent> {
    let kettle = product("7", "\"4.69\"");
    let unknown = kettle.replacen('{', "{\"new\":{\"a\":[1,{\"b\":null}]},\"other\":1e300,", 1);
    let bare = "{\"product_id\":7}";
    let twice = kettle.replacen('{', "{\"product_id\":8,\"product_id\":9,", 1);
    let ok = format!("\"result\":{{\"products\":[{kettle}]}}");
    let limit = "\"error_response\":{\"code\":\"ServiceTimeout\"}";
    let beside = good().replacen('{', &format!("{{{limit},"), 1);
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    vec![
        sent("unknown fields", page(&unknown), Want::Product("7")),
        sent("an unknown field too deep", page(&kettle.replace("-0", &deep)), Want::Unavailable),
        sent("a product of an id alone", page(bare), Want::Unavailable),
        sent("a product of nothing", page("{}"), Want::Unavailable),
        sent("products that are none", page("1,\"x\",null,[]"), Want::Unavailable),
        sent("no list", answer("{\"x\":1}"), Want::Unavailable),
        sent("no list beside a count", answer("{\"total_record_count\":9}"), Want::Unavailable),
        sent("a null list", answer("{\"products\":{\"product\":null}}"), Want::Unavailable),
        sent(
            "an empty list beside a count",
            answer("{\"total_record_count\":9,\"products\":{\"product\":[]}}"),
            Want::Unavailable,
        ),
        sent("a null result", answer("null"), Want::Unavailable),
        sent("an empty result", answer("{}"), Want::Unavailable),
        sent("no result", around("{\"resp_code\":200}"), Want::Unavailable),
        sent("no code", around(&format!("{{{ok}}}")), Want::Product("7")),
        sent("said to be empty", around("{\"resp_code\":405}"), Want::Empty),
        // Of a name that comes twice the last counts, as nearly every reader has it.
        sent("an id twice", page(&twice), Want::Product("7")),
        sent("a code twice", around("{\"resp_code\":200,\"resp_code\":404}"), Want::Unavailable),
        sent(
            "404, then 200",
            around(&format!("{{\"resp_code\":404,\"resp_code\":200,{ok}}}")),
            Want::Product("7"),
        ),
        sent(
            "a result twice",
            around(&format!("{{\"resp_code\":200,{ok},\"result\":{{}}}}")),
            Want::Unavailable,
        ),
        // An error beside a result is an error, whichever comes first.
        sent("a result and an error", beside, Want::Unavailable),
    ]
}

fn table() -> Vec<Sent> {
    [forms(), numbers(), fields()].concat()
}

fn read(request: &Request, status: u16, content_type: &str, body: &[u8]) -> Outcome<Found> {
    let content_type = Bytes::copy_from_slice(content_type.as_bytes());
    let headers = vec![("content-type".to_owned(), content_type)];
    let headers = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let answer = Received::new(status, headers, Bytes::copy_from_slice(body));
    aliexpress("127.0.0.1:9".parse().unwrap()).interpret(request, &answer)
}

fn products(result: &serde_json::Value) -> Vec<breakwater::services::products::product::Product> {
    let (currency, language) = (Currency::USD, Language::EN);
    let target = Target { currency, language, ship_to: None, tracking_id: None };
    reading::products(result, &target, true).0
}

#[test]
fn every_body_has_its_outcome() {
    for sent in table() {
        let outcome =
            read(&Request::of(&search::METHOD), sent.status, sent.content_type, &sent.body);
        let as_wanted = match (&outcome, sent.want) {
            (Outcome::Ok(found), Want::Product(id)) => {
                products(&found.result).iter().any(|one| one.product_id == id)
            }
            (Outcome::Empty, Want::Empty) => true,
            (Outcome::BadResponse { .. } | Outcome::Transient { .. }, Want::Unavailable) => true,
            (Outcome::Permanent { .. }, Want::Rejected) => true,
            _ => false,
        };
        assert!(as_wanted, "{}: {outcome:?}", sent.what);
    }
}

/// A gateway whose upstream answers with whatever it is told to.
struct Front {
    gateway: Running,
    answers: Arc<Mutex<Sent>>,
    asked: u32,
    _folder: tempfile::TempDir,
}

impl Front {
    fn start() -> Self {
        let answers = Arc::new(Mutex::new(sent("first", good(), Want::Product("7"))));
        let told = Arc::clone(&answers);
        let upstream = raw(move |stream| {
            let answer = told.lock().unwrap().clone();
            write(stream, &answer)
        });
        let folder = tempfile::tempdir().unwrap();
        let gateway = Plan::in_folder(folder.path())
            .before(upstream)
            .with("HTTP_WORKERS", "1")
            .with("RETRY_MAX_ATTEMPTS", "1")
            .with("BREAKER_FAILURES", "1000")
            .start();
        Self { gateway, answers, asked: 0, _folder: folder }
    }

    /// Asks for what nobody asked for before, and nothing that happened before counts.
    fn ask(&mut self, sent: &Sent) -> Answer {
        *self.answers.lock().unwrap() = sent.clone();
        let reset = self.gateway.admin().post("/admin/breakers/upstream/reset").unwrap();
        assert_eq!(reset.status, 200, "{}", reset.text());
        self.asked += 1;
        let body = json!({"keywords": format!("kettle {}", self.asked)}).to_string();
        let mut connection =
            self.gateway.connection().with_header("content-type", "application/json");
        connection.send("POST", "/api/products/search/no-cache", body.as_bytes()).unwrap()
    }
}

fn write(stream: &mut TcpStream, sent: &Sent) -> std::io::Result<()> {
    let Sent { status, content_type, body, .. } = sent;
    write!(stream, "HTTP/1.1 {status} Whatever\r\nconnection: close\r\n")?;
    if !content_type.is_empty() {
        write!(stream, "content-type: {content_type}\r\n")?;
    }
    write!(stream, "content-length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)
}

#[test]
fn every_body_has_its_status() {
    let mut front = Front::start();
    for sent in table() {
        let answer = front.ask(&sent);
        let body = answer.json();
        let (status, code) = (answer.status, body["code"].as_str().unwrap_or_default());
        let products = body["data"]["products"].as_array();
        match sent.want {
            Want::Product(id) => {
                let found = products.unwrap_or_else(|| panic!("{}: {body}", sent.what));
                assert_eq!((status, found.len()), (200, 1), "{}: {body}", sent.what);
                assert_eq!(found[0]["product_id"], id, "{}", sent.what);
            }
            Want::Empty => assert_eq!((status, products.map(Vec::len)), (200, Some(0))),
            Want::Unavailable => {
                assert_eq!((status, code), (503, "upstream_unavailable"), "{}: {body}", sent.what);
            }
            Want::Rejected => {
                assert_eq!((status, code), (502, "upstream_rejected"), "{}: {body}", sent.what);
            }
        }
    }
    front.gateway.stop();
}

/// A hundred megabytes, in pieces that say nothing of the whole, or announced.
fn flood(stream: &mut TcpStream, announced: bool) -> std::io::Result<()> {
    const PIECE: usize = 1 << 16;
    const WHOLE: usize = 100_000_000;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n")?;
    if announced {
        write!(stream, "content-length: {WHOLE}\r\n\r\n[")?;
    } else {
        stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
    }
    for _ in 0..WHOLE / PIECE {
        if !announced {
            write!(stream, "{PIECE:x}\r\n")?;
        }
        stream.write_all(&[b'['; PIECE])?;
        if !announced {
            stream.write_all(b"\r\n")?;
        }
    }
    if announced { Ok(()) } else { stream.write_all(b"0\r\n\r\n") }
}

#[test]
fn a_hundred_megabytes_cost_next_to_nothing() {
    for announced in [false, true] {
        let upstream = raw(move |stream| flood(stream, announced));
        let folder = tempfile::tempdir().unwrap();
        let gateway = Plan::in_folder(folder.path())
            .before(upstream)
            .with("HTTP_WORKERS", "1")
            .with("RETRY_MAX_ATTEMPTS", "1")
            .with("BREAKER_FAILURES", "1000")
            .start();
        assert_eq!(gateway.connection().get("/health/detailed").unwrap().status, 200);
        let before = gateway.process.resident_kib();
        let address = gateway.address;
        let client = std::thread::spawn(move || {
            for number in 1..=8 {
                let path = format!("/api/products/hot?page_no={number}");
                let answer = Connection::to(address).get(&path).unwrap();
                assert_eq!(answer.status, 503, "{}", answer.text());
            }
        });
        let mut most = before;
        while !client.is_finished() {
            most = most.max(gateway.process.resident_kib());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        client.join().unwrap();
        let grown = most.saturating_sub(before);
        eprintln!("eight bodies of 100 MB, announced {announced}: {grown} KiB more");
        assert!(grown < 32 << 10, "{grown} KiB more after eight such bodies");
        gateway.stop();
    }
}

/// Answers as they were captured, and the method of each.
fn captured() -> [(&'static Method, String); 5] {
    let three = ["5", "6", "7"].map(|id| product(id, "\"4.69\"")).join(",");
    let page = page(&three).replace("_count\":1", "_count\":3");
    let links = r#"{"total_result_count":2,"tracking_id":"t","promotion_links":{"promotion_link":[{"source_value":"https://www.aliexpress.com/item/1.html","promotion_link":"https://s.click.aliexpress.com/e/_x"},{"source_value":"https://www.aliexpress.com/item/2.html"}]}}"#;
    let categories = r#"{"total_result_count":2,"categories":{"category":[{"category_id":7,"category_name":"Computer & Office"},{"parent_category_id":7,"category_id":702,"category_name":"Laptops"}]}}"#;
    let orders = r#"{"total_record_count":1,"current_record_count":1,"total_page_no":1,"current_page_no":1,"orders":{"order":[{"order_id":8123456789012345,"paid_amount":"12.30","order_status":"Completed"}]}}"#;
    [
        (&search::METHOD, page.clone()),
        (&details::METHOD, page),
        (&links::METHOD, answer(links)),
        (&categories::METHOD, answer(categories)),
        (&orders::METHOD, answer(orders)),
    ]
}

/// One thing that happens to bytes on their way.
#[derive(Debug, Clone)]
enum Mutation {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Splice(prop::sample::Index, prop::sample::Index, usize),
    Loss(prop::sample::Index, usize),
}

impl Mutation {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Cut(at) => body.truncate(at.index(body.len())),
            Self::Flip(at, bits) => {
                let at = at.index(body.len());
                body[at] ^= bits;
            }
            Self::Splice(from, to, length) => {
                let from = from.index(body.len());
                let piece = body[from..body.len().min(from + length)].to_vec();
                let to = to.index(body.len());
                body.splice(to..to, piece);
            }
            Self::Loss(at, length) => {
                let at = at.index(body.len());
                let end = body.len().min(at + length);
                body.drain(at..end);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Mutation::Cut),
        (index(), 1_u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (index(), index(), 1_usize..200)
            .prop_map(|(from, to, length)| Mutation::Splice(from, to, length)),
        (index(), 1_usize..100).prop_map(|(at, length)| Mutation::Loss(at, length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Never a panic, and whatever is still a success has a record that can be used.
    #[test]
    fn a_mutated_answer_is_survived_and_no_success_is_hollow(
        which in 0_usize..5,
        mutations in prop::collection::vec(mutation(), 1..4),
        content_type in prop::sample::select(vec![JSON, HTML, ""]),
    ) {
        let (method, body) = captured()[which].clone();
        let mut body = body.into_bytes();
        mutations.iter().for_each(|mutation| mutation.apply(&mut body));
        match read(&Request::of(method), 200, content_type, &body) {
            Outcome::Ok(Found { result, .. }) => {
                prop_assert_eq!(method.records.contents(&result, 1), Contents::Records);
                // Whoever reads it further survives it as well.
                drop(products(&result));
            }
            Outcome::Empty => prop_assert!(body.windows(3).any(|code| code == b"405")),
            Outcome::Throttled { .. }
            | Outcome::Transient { .. }
            | Outcome::Permanent { .. }
            | Outcome::BadResponse { .. } => {}
        }
    }
}

/// The same through the whole gateway, fewer of them: one mutation cannot spoil three products.
#[test]
fn a_mutated_answer_is_never_a_200_with_nothing_in_it() {
    let mut front = Front::start();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (_, whole) = captured()[0].clone();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let mutation = mutation().new_tree(&mut runner).unwrap().current();
        let mut body = whole.clone().into_bytes();
        mutation.apply(&mut body);
        let answer = front.ask(&sent("mutated", &body, Want::Unavailable));
        *seen.entry(answer.status).or_insert(0) += 1;
        let told = answer.json();
        let found = told["data"]["products"].as_array().map_or(0, Vec::len);
        let what = String::from_utf8_lossy(&body).into_owned();
        assert!([200, 502, 503].contains(&answer.status), "{told} of {what}");
        assert_eq!(answer.status == 200, found > 0, "{told} of {what}");
    }
    assert!(seen[&200] > 20 && seen[&503] > 20, "both kinds were met: {seen:?}");
    front.gateway.stop();
}
