//! A collector of traces: a small HTTP server that keeps what it is sent.
//!
//! Owns: export requests as they came, and how they are answered: taken, with a status, or not at all.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// How an export request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// With this status, and to come again after a second where that is meant.
    Status(u16),
    Nothing,
}

/// An export request.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    /// Its head, in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

#[derive(Debug)]
struct State {
    exports: Vec<Export>,
    says: Says,
}

pub(crate) struct Collector {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Collector {
    pub(crate) fn saying(says: Says) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Arc::new(Mutex::new(State { exports: Vec::new(), says }));
        let of_thread = Arc::clone(&state);
        // It ends with the test process, and holds nothing but sockets.
        thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&of_thread);
                thread::spawn(move || drop(serve(&caller, &state)));
            }
        });
        Self { url, state }
    }

    pub(crate) fn says(&self, says: Says) {
        self.state.lock().unwrap().says = says;
    }

    pub(crate) fn exports(&self) -> Vec<Export> {
        self.state.lock().unwrap().exports.clone()
    }

    /// The spans of all requests.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let scope = |export: &Export| export.body["resourceSpans"][0]["scopeSpans"][0].clone();
        let spans = |scope: Value| scope["spans"].as_array().expect("spans").clone();
        self.exports().iter().map(scope).flat_map(spans).collect()
    }
}

fn serve(caller: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut from = BufReader::new(caller);
    let mut to = caller;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if from.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).expect("a length")];
        from.read_exact(&mut body)?;
        let body = serde_json::from_slice(&body).expect("JSON");
        let says = {
            let mut state = state.lock().unwrap();
            state.exports.push(Export { head, body });
            state.says
        };
        let Says::Status(status) = says else { continue };
        let again = if status == 200 { "" } else { "retry-after: 1\r\n" };
        write!(to, "HTTP/1.1 {status} X\r\n{again}content-length: 2\r\n\r\n{{}}")?;
    }
}
