//! A gateway before an upstream that answers by a script, byte for byte.
//!
//! Owns: what the upstream was asked, and the usual answers. Its connections are kept open as long
//! as the script says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::{Plan, Running};
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;

/// One request of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The method's last words, such as `product.query`.
    pub(crate) method: String,
    pub(crate) form: String,
    /// Which call of this method it is, from 1.
    pub(crate) number: usize,
    /// Which request on its connection it is, from 1.
    pub(crate) turn: usize,
}

/// What is written, and whether the connection is kept.
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) keeps: bool,
}

impl Reply {
    /// Written as it is, before the end of the connection.
    pub(crate) fn last(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), keeps: false }
    }

    /// An answer with this status, these header lines and this body.
    pub(crate) fn of(status: u16, lines: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status} X\r\n{lines}content-length: {}\r\n\r\n", body.len());
        Self { bytes: [head.as_bytes(), body].concat(), keeps: true }
    }

    pub(crate) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::of(200, "content-type: application/json\r\n", body)
    }

    /// A gateway error with these fields, as JSON text.
    pub(crate) fn error(fields: &str) -> Self {
        Self::json(format!("{{\"error_response\":{{{fields}}}}}"))
    }
}

/// A product of this id, whose title is JSON text as it is.
pub(crate) fn product(id: u64, title: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{{\"product_id\":{id},\"product_title\":\"");
    let tail = "\",\"target_sale_price\":\"4.69\",\"target_sale_price_currency\":\"USD\",\
        \"product_detail_url\":\"https://www.aliexpress.com/item/1.html\"}";
    [head.as_bytes(), title.as_ref(), tail.as_bytes()].concat()
}

/// The body of an answer with this `result`, as JSON text.
pub(crate) fn result(asked: &Asked, result: impl AsRef<[u8]>) -> Vec<u8> {
    let root = asked.method.replace('.', "_");
    let head = format!(
        "{{\"aliexpress_affiliate_{root}_response\":{{\"resp_result\":{{\"resp_code\":200,\"result\":"
    );
    [head.as_bytes(), result.as_ref(), b"}}}"].concat()
}

/// A page of products.
pub(crate) fn page(asked: &Asked, products: &[Vec<u8>]) -> Vec<u8> {
    let head = format!("{{\"total_record_count\":{},\"products\":{{\"product\":[", products.len());
    result(asked, [head.as_bytes(), &products.join(&b","[..]), b"]}}"].concat())
}

/// An answer that is as it should be.
pub(crate) fn good(asked: &Asked) -> Reply {
    if asked.method == "link.generate" {
        let address = "https://www.aliexpress.com/item/1.html";
        let link =
            format!("{{\"source_value\":\"{address}\",\"promotion_link\":\"{address}?s=1\"}}");
        let links = format!("{{\"promotion_links\":{{\"promotion_link\":[{link}]}}}}");
        return Reply::json(result(asked, links));
    }
    Reply::json(page(asked, &[product(7, "A copper kettle")]))
}

/// The gateway, its upstream's memory, and its folder.
pub(crate) struct Scripted {
    pub(crate) gateway: Running,
    connection: Connection,
    asked: Arc<Mutex<Vec<Asked>>>,
    folder: tempfile::TempDir,
}

impl Scripted {
    pub(crate) fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(&[], script)
    }

    pub(crate) fn start_with(
        settings: &[(&'static str, &str)],
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (upstream, asked) = listen(script);
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::in_folder(folder.path())
            .before(upstream)
            .with("HTTP_WORKERS", "1")
            .with("RETRY_BASE_DELAY_MS", "10")
            .with("CACHE_WARM_KEYS", "0");
        let plan = settings.iter().fold(plan, |plan, (name, value)| plan.with(name, *value));
        let gateway = plan.start();
        let connection = gateway.connection();
        Self { gateway, connection, asked, folder }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.connection.get(path).unwrap()
    }

    /// A search for these keywords, its status and body.
    pub(crate) fn search(&mut self, keywords: &str) -> (u16, Value) {
        let answer = self.get(&format!("/api/products/search?keywords={keywords}"));
        (answer.status, answer.json())
    }

    /// Calls of a method, by its last words.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.method == method).count()
    }

    /// Of each call, which request on its connection it was.
    pub(crate) fn turns(&self) -> Vec<usize> {
        self.asked.lock().unwrap().iter().map(|asked| asked.turn).collect()
    }

    /// What `/health/detailed` says of the upstream: status and words.
    pub(crate) fn health(&mut self) -> (String, String) {
        let body = self.get("/health/detailed").json();
        let all = body["data"]["components"].as_array().unwrap().clone();
        let one = all.iter().find(|one| one["name"] == "upstream").unwrap();
        let word = |name: &str| one[name].as_str().unwrap().to_owned();
        (word("status"), word("detail"))
    }

    pub(crate) fn metric(&mut self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(series));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until the log has this, which is written by a thread of its own.
    pub(crate) fn until_logged(&self, words: &str) {
        let log = self.folder.path().join("gateway.log");
        wait_until(words, Duration::from_secs(10), || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains(words))
        });
    }

    pub(crate) fn stop(self) {
        self.gateway.stop();
    }
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// An upstream that answers so, without a gateway of its own.
pub(crate) fn listen(
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<Asked>>>) {
    let asked = Arc::default();
    (upstream(Arc::clone(&asked), Arc::new(script)), asked)
}

fn upstream(asked: Arc<Mutex<Vec<Asked>>>, script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (asked, script) = (Arc::clone(&asked), Arc::clone(&script));
            // A caller that has had enough closes the connection.
            std::thread::spawn(move || drop(serve(&stream.unwrap(), &asked, &script)));
        }
    });
    address
}

fn serve(stream: &TcpStream, asked: &Mutex<Vec<Asked>>, script: &Script) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    for turn in 1.. {
        let Some(form) = read_request(&mut reader)? else { break };
        let method = form.split('&').find_map(|pair| pair.strip_prefix("method=")).unwrap_or("");
        let method = method.trim_start_matches("aliexpress.affiliate.").to_owned();
        let one = {
            let mut asked = asked.lock().unwrap();
            let number = asked.iter().filter(|one| one.method == method).count() + 1;
            let one = Asked { method, form, number, turn };
            asked.push(one.clone());
            one
        };
        let reply = script(&one);
        (&mut &*stream).write_all(&reply.bytes)?;
        if !reply.keeps {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
    Ok(())
}

/// The body of the next request; `None`: there is none.
fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<String>> {
    let mut length = 0_usize;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(String::from_utf8_lossy(&body).into_owned()))
}
