//! Bytes that are no HTTP, or not quite, straight onto a socket.
//!
//! Owns: the cases, which answers each must get, and the wait for the end of its connection, which
//! comes within a bound and, where time has to run out, no sooner than that.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use breakwater::clock::monotonic;

use super::super::http::{Answer, read_answer};
use super::fault;

/// What may become of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A refusal, and the connection is closed; behind the answer to a broken body the server may
    /// refuse what follows, too.
    Refused,
    /// Answers with these statuses, in this order, and no other.
    Answered(&'static [u16]),
    /// They are not all there, and nothing more comes: these answers, and the end not before this
    /// time has run out.
    GivenUp(&'static [u16], Duration),
}

/// How patient the gateway is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// With a head (a constant).
    pub(crate) head: Duration,
    /// With a request (`REQUEST_TIMEOUT_MS`).
    pub(crate) request: Duration,
    /// Between two of them (`KEEP_ALIVE_SECONDS`).
    pub(crate) idle: Duration,
}

/// Bytes and what is to become of them.
pub(crate) struct Case {
    /// For the report.
    pub(crate) name: String,
    bytes: Vec<u8>,
    expected: Expected,
}

/// Longest wait for anything to happen on a connection.
const PATIENCE: Duration = Duration::from_secs(60);
const POST: &str =
    "POST /api/products/search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Expected) -> Case {
    Case { name: name.into(), bytes: bytes.into(), expected }
}

/// All that is whole and wrong: answered at once.
pub(crate) fn at_once() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(targets());
    cases.extend(behind_another());
    cases.extend(heads());
    cases.extend(lengths());
    cases.extend(chunks());
    cases.extend(large());
    cases
}

/// What is never finished: takes as long as the gateway's patience.
pub(crate) fn unfinished(patience: Patience) -> Vec<Case> {
    let Patience { head, request, idle } = patience;
    let given_up = |name: &str, bytes: &str, statuses, after| {
        case(name, bytes, Expected::GivenUp(statuses, after))
    };
    let live = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        given_up("nothing at all", "", &[], head),
        given_up("a part of the method", "GE", &[408], head),
        given_up("a part of the head", "GET / HTTP/1.1\r\nHost: a\r\nX-", &[408], head),
        given_up("line ends only", "\r\n\r\n\r\n", &[408], head),
        given_up("nothing more", live, &[200], idle),
        given_up(
            "a part of a body",
            &format!("{POST}Content-Length: 9\r\n\r\n{{"),
            &[408],
            request,
        ),
        given_up(
            "a part of a chunk",
            &format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\n{{"),
            &[408],
            request,
        ),
        given_up("a second head that does not end", &format!("{live}GET / HT"), &[200, 408], head),
        case("http/0.9", "GET /\r\n", Expected::Refused),
    ]
}

/// A request line, and the least there must be behind it.
fn line(name: &str, line: &[u8], expected: Expected) -> Case {
    case(name, [line, b"\r\nHost: a\r\n\r\n"].concat(), expected)
}

fn lines() -> Vec<Case> {
    use Expected::{Answered, Refused};
    vec![
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
        case("line feeds only", "GET /api/status HTTP/1.1\nHost: a\n\n", Answered(&[200])),
        case("carriage returns only", "GET / HTTP/1.1\rHost: a\r\r", Refused),
        case("nonsense", "nonsense\r\n\r\n", Refused),
        case("noise", (0..=255).cycle().skip(1).take(3_000).collect::<Vec<u8>>(), Refused),
        case("zeroes", vec![0; 4_000], Refused),
        case("http/1.0 without host", "GET /api/status HTTP/1.0\r\n\r\n", Answered(&[200])),
        case("http/1.1 without host", "GET /api/status HTTP/1.1\r\n\r\n", Refused),
    ]
}

fn targets() -> Vec<Case> {
    use Expected::Answered;
    vec![
        line("a method in lower case", b"get /api/status HTTP/1.1", Answered(&[405])),
        line(
            "a long method",
            &[&b"G".repeat(5_000)[..], b" / HTTP/1.1"].concat(),
            Answered(&[405]),
        ),
        line("raw bytes in the target", b"GET /\xff\xfe HTTP/1.1", Answered(&[400])),
        line("unicode in the target", "GET /ü HTTP/1.1".as_bytes(), Answered(&[400])),
        line("a fragment", b"GET /api/status#x HTTP/1.1", Answered(&[200])),
        line(
            "an absolute target",
            b"GET http://evil.example/api/status HTTP/1.1",
            Answered(&[200]),
        ),
        line("an absolute target elsewhere", b"GET gopher://x/ HTTP/1.1", Answered(&[200])),
        line("an authority", b"GET evil.example:80 HTTP/1.1", Answered(&[404])),
        line("connect", b"CONNECT evil.example:443 HTTP/1.1", Answered(&[404])),
        line("trace", b"TRACE / HTTP/1.1", Answered(&[405])),
        line("asterisk", b"OPTIONS * HTTP/1.1", Answered(&[404])),
        line("get asterisk", b"GET * HTTP/1.1", Answered(&[404])),
        line("no slash", b"GET api/status HTTP/1.1", Answered(&[400])),
        line("a percent alone", b"GET /% HTTP/1.1", Answered(&[404])),
        line("dots", b"GET /../../etc/passwd HTTP/1.1", Answered(&[404])),
    ]
}

fn behind_another() -> Vec<Case> {
    use Expected::Answered;
    let good = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let older = "GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    vec![
        case(
            "garbage after a good request",
            format!("{good}\0\0garbage\r\n\r\n"),
            Answered(&[200, 400]),
        ),
        case("forty at once", good.repeat(40), Answered(&[200; 40])),
        case(
            "garbage after a good request of http/1.0",
            format!("{older}\0garbage\r\n\r\n"),
            Answered(&[200, 400]),
        ),
        case(
            "a name that is too long after a good request",
            format!("{good}GET / HTTP/1.1\r\nHost: a\r\n{}: b\r\n\r\n", "a".repeat(65_536)),
            Answered(&[200, 400]),
        ),
        case("another protocol after", format!("{good}SSH-2.0-x\r\n\r\n"), Answered(&[200, 400])),
    ]
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
        head("a long name", &[&b"a".repeat(65_535)[..], b": b"].concat(), Answered(&[200])),
        head("a name that is too long", &[&b"a".repeat(65_536)[..], b": b"].concat(), Refused),
        head("a name without end", &b"a".repeat(70_000), Refused),
        head("a long value", &[b"a: ", &b"b".repeat(100_000)[..]].concat(), Answered(&[200])),
        head("a space before the colon", b"x : z", Refused),
        head("a folded header", b"x: y\r\n z", Refused),
        head("nul in a name", b"x\0y: z", Refused),
        head("nul in a value", b"x: y\0z", Refused),
        head("a carriage return in a value", b"x: y\rz", Refused),
        head("a control character in a value", b"x: y\x01z", Refused),
        head("raw bytes in a value", b"x-request-id: \xff\xfe\x80", Answered(&[200])),
        head("raw bytes in a key", b"x-internal-key: \xff\xfe\x80", Answered(&[200])),
        head("raw bytes in a name", b"x-\xff: y", Refused),
        head("an empty value", b"x-request-id:", Answered(&[200])),
        head("two hosts", b"Host: b", Refused),
        head("a wrong expectation", b"Expect: 200-maybe", Answered(&[200])),
        head("an upgrade", b"Connection: Upgrade\r\nUpgrade: websocket", Answered(&[200])),
        head(
            "an upgrade to h2c",
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
            Answered(&[200]),
        ),
        head("connection of nonsense", b"Connection: ,,,close,,x", Answered(&[200])),
        head("a range", b"Range: bytes=0-0,1-1,99999999999999999999-", Answered(&[200])),
        head("95 headers", "x-y: z\r\n".repeat(93).trim_end().as_bytes(), Answered(&[200])),
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
        post(
            "expects to go on",
            "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
            Answered(&[200]),
        ),
        case("http/1.0 without a length", "POST /api/products/search HTTP/1.0\r\n\r\n", Refused),
        case(
            "a get with a body",
            "GET /api/status HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            Answered(&[400]),
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
        post(
            "good chunks",
            "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            Answered(&[200]),
        ),
        post(
            "a chunk's size of letters",
            "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
            Refused,
        ),
        post("a negative chunk", "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n", Refused),
        post(
            "a chunk beyond 64 bits",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
            Refused,
        ),
        post(
            "a chunk that is longer",
            "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
            Refused,
        ),
        post(
            "extensions of a chunk",
            "Transfer-Encoding: chunked\r\n\r\n2;a=\"b\r\n\"\r\n{}\r\n0\r\n\r\n",
            Refused,
        ),
        post(
            "a body of another coding",
            "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            Answered(&[415]),
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
        case("an address of 60,000", target(60_000), Answered(&[400])),
        case("an address of 100,000", target(100_000), Refused),
        case("an address of a megabyte", target(1_000_000), Refused),
        case("a body of 64 KiB and one", body(64 * 1024 + 1), Answered(&[413])),
        case("a body of a megabyte", body(1_000_000), Answered(&[413])),
        case(
            "a body that says that it is huge",
            format!("{POST}Content-Length: 18446744073709551615\r\n\r\n{{"),
            Answered(&[413]),
        ),
        case(
            "a megabyte in chunks",
            format!(
                "{POST}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                format!("400\r\n{}\r\n", "x".repeat(1_024)).repeat(1_000)
            ),
            Answered(&[413]),
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

fn wrong(case: &Case, outcome: io::Result<(Vec<(Answer, bool)>, Duration)>) -> Option<String> {
    let (answers, took) = match outcome {
        Ok(outcome) => outcome,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some("hangs".into()),
        Err(error) => return Some(error.to_string()),
    };
    let statuses: Vec<u16> = answers.iter().map(|(answer, _)| answer.status).collect();
    let is_as_expected = match case.expected {
        Expected::Refused => matches!(
            answers.as_slice(),
            [(answer, stays_open), rest @ ..]
                if (400..500).contains(&answer.status)
                    && !stays_open
                    && rest.iter().all(|(answer, _)| is_bare(answer))
        ),
        Expected::Answered(expected) => statuses == expected,
        Expected::GivenUp(expected, after) => statuses == expected && took >= after,
    };
    let mut in_envelope = answers.iter().filter(|(answer, _)| !is_bare(answer));
    let first = in_envelope.find_map(|(answer, _)| fault(answer, false));
    first.or_else(|| {
        let told = || format!("{statuses:?} after {took:?}, not {:?}: {answers:?}", case.expected);
        (!is_as_expected).then(told)
    })
}

/// What is no HTTP gets the server's own refusal.
fn is_bare(answer: &Answer) -> bool {
    [400, 408, 431].contains(&answer.status)
        && answer.body.is_empty()
        && answer.header("x-request-id").is_none()
}

/// The answers until the connection ends, each with whether it could have gone on, and when it ended.
fn outcome(address: SocketAddr, case: &Case) -> io::Result<(Vec<(Answer, bool)>, Duration)> {
    let began = monotonic();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = stream.try_clone()?;
    let (bytes, unfinished) = (case.bytes.clone(), matches!(case.expected, Expected::GivenUp(..)));
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
    let took = monotonic().duration_since(began);
    drop(writer.join().expect("no panic"));
    match end {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        // It was closed before all that was sent was read: what came before counts.
        Err(_) | Ok(_) => {}
    }
    Ok((answers(&heard)?, took))
}

fn answers(mut heard: &[u8]) -> io::Result<Vec<(Answer, bool)>> {
    let mut answers = Vec::new();
    while !heard.is_empty() {
        if let Some(rest) = heard.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
            heard = rest;
            continue;
        }
        answers.push(read_answer(&mut heard, false)?);
    }
    Ok(answers)
}
