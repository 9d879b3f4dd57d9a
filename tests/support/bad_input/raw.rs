//! Bytes that are no HTTP, or not quite, straight onto a socket.
//!
//! Owns: the cases and the wait for what becomes of each: an answer or the end of the connection,
//! within a bound.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::super::http::{Answer, read_answer};
use super::fault;

/// What may become of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A refusal in the envelope, and the connection is closed.
    Refused,
    /// They can be understood, or may be; whatever is answered must be in order.
    Answered,
    /// They are not all there, and nothing more comes: time runs out.
    GivenUp,
}

/// Bytes and what is to become of them.
pub(crate) struct Case {
    /// For the report.
    pub(crate) name: String,
    bytes: Vec<u8>,
    expected: Expected,
}

/// Longest wait for anything to happen on a connection.
const PATIENCE: Duration = Duration::from_secs(45);
const POST: &str =
    "POST /api/products/search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Expected) -> Case {
    Case { name: name.into(), bytes: bytes.into(), expected }
}

/// All that is whole and wrong: answered at once.
pub(crate) fn at_once() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(heads());
    cases.extend(lengths());
    cases.extend(chunks());
    cases.extend(large());
    cases
}

/// What is never finished: takes as long as the gateway's patience.
pub(crate) fn unfinished() -> Vec<Case> {
    use Expected::GivenUp;
    vec![
        case("nothing at all", "", GivenUp),
        case("a part of the method", "GE", GivenUp),
        case("a part of the head", "GET /api/status HTTP/1.1\r\nHost: a\r\nX-", GivenUp),
        case("line ends only", "\r\n\r\n\r\n", GivenUp),
        case("http/0.9", "GET /\r\n", Expected::Refused),
        case("a part of a body", format!("{POST}Content-Length: 10\r\n\r\n{{"), GivenUp),
        case(
            "a part of a chunk",
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\n{{"),
            GivenUp,
        ),
        case(
            "a second head that does not end",
            "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /api/status HTTP/1.1\r\nHos",
            GivenUp,
        ),
    ]
}

fn lines() -> Vec<Case> {
    use Expected::{Answered, Refused};
    let line = |name: &str, line: &[u8], expected| {
        let bytes = [line, b"\r\nHost: a\r\n\r\n"].concat();
        case(name, bytes, expected)
    };
    let mut cases = vec![
        line("tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Refused),
        case("h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused),
        line("version 9.9", b"GET / HTTP/9.9", Refused),
        line("version 2.0", b"GET / HTTP/2.0", Refused),
        line("version 1.10", b"GET / HTTP/1.10", Refused),
        line("version in lower case", b"GET / http/1.1", Refused),
        line("no version", b"GET /", Refused),
        line("no target", b"GET", Refused),
        line("two spaces", b"GET  / HTTP/1.1", Refused),
        line("a space in the target", b"GET /a b HTTP/1.1", Refused),
        line("a tab for a space", b"GET\t/\tHTTP/1.1", Refused),
        line("a space before", b" GET / HTTP/1.1", Refused),
        line("nul in the target", b"GET /\0 HTTP/1.1", Refused),
        line("nul in the method", b"G\0T / HTTP/1.1", Refused),
        line("a method of brackets", b"<GET> / HTTP/1.1", Refused),
        line("a method in lower case", b"get /api/status HTTP/1.1", Answered),
        line("a long method", &[&b"G".repeat(5_000)[..], b" / HTTP/1.1"].concat(), Answered),
        line("raw bytes in the target", b"GET /\xff\xfe HTTP/1.1", Answered),
        line("unicode in the target", "GET /ü HTTP/1.1".as_bytes(), Answered),
        line("a fragment", b"GET /api/status#x HTTP/1.1", Answered),
        line("an absolute target", b"GET http://evil.example/api/status HTTP/1.1", Answered),
        line("an absolute target elsewhere", b"GET gopher://x/ HTTP/1.1", Answered),
        line("an authority", b"GET evil.example:80 HTTP/1.1", Answered),
        line("connect", b"CONNECT evil.example:443 HTTP/1.1", Answered),
        line("trace", b"TRACE / HTTP/1.1", Answered),
        line("asterisk", b"OPTIONS * HTTP/1.1", Answered),
        line("get asterisk", b"GET * HTTP/1.1", Answered),
        line("no slash", b"GET api/status HTTP/1.1", Answered),
        line("a percent alone", b"GET /% HTTP/1.1", Answered),
        line("dots", b"GET /../../etc/passwd HTTP/1.1", Answered),
        case("line feeds only", "GET /api/status HTTP/1.1\nHost: a\n\n", Answered),
        case("carriage returns only", "GET / HTTP/1.1\rHost: a\r\r", Refused),
        case("nonsense", "nonsense\r\n\r\n", Refused),
        case("noise", (0..=255).cycle().skip(1).take(3_000).collect::<Vec<u8>>(), Refused),
        case("zeroes", vec![0; 4_000], Refused),
        case("http/1.0 without host", "GET /api/status HTTP/1.0\r\n\r\n", Answered),
        case("http/1.1 without host", "GET /api/status HTTP/1.1\r\n\r\n", Refused),
    ];
    let good = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(case(
        "garbage after a good request",
        format!("{good}\0\0garbage\r\n\r\n"),
        Answered,
    ));
    cases.push(case("forty at once", good.repeat(40), Answered));
    cases.push(case("another protocol after", format!("{good}SSH-2.0-x\r\n\r\n"), Answered));
    cases
}

fn heads() -> Vec<Case> {
    use Expected::{Answered, Refused};
    let head = |name: &str, line: &[u8], expected| {
        let bytes = [b"GET /api/status HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat();
        case(name, bytes, expected)
    };
    vec![
        head("no colon", b"no colon here", Refused),
        head("no name", b": x", Refused),
        head("a space in the name", b"x y: z", Refused),
        head("a space before the colon", b"x : z", Refused),
        head("a folded header", b"x: y\r\n z", Refused),
        head("nul in a name", b"x\0y: z", Refused),
        head("nul in a value", b"x: y\0z", Refused),
        head("a carriage return in a value", b"x: y\rz", Refused),
        head("a control character in a value", b"x: y\x01z", Refused),
        head("raw bytes in a value", b"x-request-id: \xff\xfe\x80", Answered),
        head("raw bytes in a key", b"x-internal-key: \xff\xfe\x80", Answered),
        head("raw bytes in a name", b"x-\xff: y", Refused),
        head("an empty value", b"x-request-id:", Answered),
        head("two hosts", b"Host: b", Refused),
        head("a wrong expectation", b"Expect: 200-maybe", Answered),
        head("an upgrade", b"Connection: Upgrade\r\nUpgrade: websocket", Answered),
        head("an upgrade to h2c", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c", Answered),
        head("connection of nonsense", b"Connection: ,,,close,,x", Answered),
        head("a range", b"Range: bytes=0-0,1-1,99999999999999999999-", Answered),
        head("95 headers", "x-y: z\r\n".repeat(93).trim_end().as_bytes(), Answered),
    ]
}

fn post(name: &str, rest: &str, expected: Expected) -> Case {
    case(name, format!("{POST}{rest}"), expected)
}

fn lengths() -> Vec<Case> {
    use Expected::{Answered, Refused};
    vec![
        post("a length of letters", "Content-Length: abc\r\n\r\n", Refused),
        post("a negative length", "Content-Length: -1\r\n\r\n", Refused),
        post("a signed length", "Content-Length: +2\r\n\r\n{}", Refused),
        post("an empty length", "Content-Length: \r\n\r\n", Refused),
        post("a length beyond 64 bits", "Content-Length: 99999999999999999999\r\n\r\n", Refused),
        post("a length of hex", "Content-Length: 0x2\r\n\r\n{}", Refused),
        post("a list of lengths", "Content-Length: 2, 2\r\n\r\n{}", Refused),
        post("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", Refused),
        post("the same length twice", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", Refused),
        post("expects to go on", "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", Answered),
        case("http/1.0 without a length", "POST /api/products/search HTTP/1.0\r\n\r\n", Refused),
        case(
            "a get with a body",
            "GET /api/status HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            Answered,
        ),
    ]
}

fn chunks() -> Vec<Case> {
    use Expected::{Answered, Refused};
    vec![
        post(
            "a length and chunks",
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            Refused,
        ),
        post(
            "chunks and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
            Refused,
        ),
        post(
            "chunks twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused,
        ),
        post("chunks of gzip", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused),
        post("chunks of another name", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused),
        post("chunks quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused),
        post("identity", "Transfer-Encoding: identity\r\n\r\n", Refused),
        post("good chunks", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Answered),
        post(
            "a chunk's size of letters",
            "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
            Answered,
        ),
        post("a negative chunk", "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n", Answered),
        post(
            "a chunk beyond 64 bits",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
            Answered,
        ),
        post(
            "a chunk that is longer",
            "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
            Answered,
        ),
        post(
            "extensions of a chunk",
            "Transfer-Encoding: chunked\r\n\r\n2;a=\"b\r\n\"\r\n{}\r\n0\r\n\r\n",
            Answered,
        ),
        post(
            "a body of another coding",
            "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            Answered,
        ),
        case(
            "chunks in http/1.0",
            "POST /api/products/search HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused,
        ),
    ]
}

fn large() -> Vec<Case> {
    use Expected::{Answered, Refused};
    let get = |rest: String| format!("GET /api/status HTTP/1.1\r\nHost: a\r\n{rest}");
    let target = |length: usize| {
        format!(
            "GET /api/products/search?keywords={} HTTP/1.1\r\nHost: a\r\n\r\n",
            "a".repeat(length)
        )
    };
    let body =
        |length: usize| format!("{POST}Content-Length: {length}\r\n\r\n{}", "x".repeat(length));
    vec![
        case("200 headers", get("x: y\r\n".repeat(200)) + "\r\n", Refused),
        case("100,000 headers", get("x: y\r\n".repeat(100_000)) + "\r\n", Refused),
        case(
            "a megabyte in a header",
            get(format!("x: {}\r\n\r\n", "y".repeat(1_000_000))),
            Refused,
        ),
        case("a header that does not end", get(format!("x: {}", "y".repeat(1_000_000))), Refused),
        case("an address of 60,000", target(60_000), Answered),
        case("an address of 100,000", target(100_000), Refused),
        case("an address of a megabyte", target(1_000_000), Refused),
        case("a body of 64 KiB and one", body(64 * 1024 + 1), Answered),
        case("a body of a megabyte", body(1_000_000), Answered),
        case(
            "a body that says that it is huge",
            format!("{POST}Content-Length: 18446744073709551615\r\n\r\n{{"),
            Answered,
        ),
        case(
            "a megabyte in chunks",
            format!(
                "{POST}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                format!("400\r\n{}\r\n", "x".repeat(1_024)).repeat(1_000)
            ),
            Answered,
        ),
    ]
}

/// Sends each case on a connection of its own, many at a time; says what went wrong.
pub(crate) fn faults(address: SocketAddr, cases: &[Case]) -> Vec<String> {
    let mut faults = Vec::new();
    for some in cases.chunks(16) {
        thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|case| scope.spawn(move || (case, outcome(address, case))))
                .collect();
            for thread in threads {
                let (case, outcome) = thread.join().expect("no panic");
                let wrong = wrong(case, outcome);
                faults.extend(wrong.map(|wrong| format!("{}: {wrong}", case.name)));
            }
        });
    }
    faults
}

fn wrong(case: &Case, outcome: io::Result<Vec<Answer>>) -> Option<String> {
    let answers = match outcome {
        Ok(answers) => answers,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some("hangs".into()),
        Err(error) => return Some(error.to_string()),
    };
    let first = answers.iter().find_map(|answer| fault(answer, false));
    let refused = answers.iter().any(|answer| (400..500).contains(&answer.status));
    first.or_else(|| {
        let silent = case.expected == Expected::Refused && !refused;
        silent.then(|| format!("is not refused: {answers:?}"))
    })
}

/// The answers until the connection ends, or stays open after at least one.
fn outcome(address: SocketAddr, case: &Case) -> io::Result<Vec<Answer>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = stream.try_clone()?;
    let (bytes, unfinished) = (case.bytes.clone(), case.expected == Expected::GivenUp);
    let writer = thread::spawn(move || {
        // Who is refused early need not take the rest.
        let sent = stream.write_all(&bytes);
        if !unfinished {
            drop(stream.shutdown(Shutdown::Write));
        }
        sent
    });
    let mut heard = Vec::new();
    let end = reader.read_to_end(&mut heard);
    drop(writer.join().expect("no panic"));
    match end {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        // It was closed before all that was sent was read: what came before counts.
        Err(_) | Ok(_) => {}
    }
    answers(&heard)
}

fn answers(mut heard: &[u8]) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while !heard.is_empty() {
        if let Some(rest) = heard.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
            heard = rest;
            continue;
        }
        answers.push(read_answer(&mut heard, false)?.0);
    }
    Ok(answers)
}
