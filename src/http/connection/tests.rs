//! A connection over a pipe in memory, alone and under the server, in paused time.
//!
//! Time stands still while any task can run, so a server that turns in circles does not get to the end
//! of these tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_service::{Service as _, ServiceFactory as _, fn_service};
use actix_web::http::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, duplex, split};
use tokio::task::LocalSet;

use super::*;
use crate::http::context::Fields;
use crate::metrics::{Metrics, render};

const TIMEOUTS: Timeouts = Timeouts {
    head: Duration::from_secs(5),
    idle: Duration::from_secs(30),
    send: Duration::from_secs(10),
};

fn context() -> Rc<RequestContext> {
    let (headers, now) = (HeaderMap::new(), clock::monotonic());
    RequestContext::begin(&headers, &Fields::default(), now, TIMEOUTS.head)
}

fn pipe(room: usize) -> (Connection<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    let metrics = Metrics::new().http.clone();
    (Connection::new(ours, TIMEOUTS, metrics, None), theirs)
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_ends_with_an_answer() {
    let (mut connection, mut client) = pipe(4_096);
    let start = clock::monotonic();
    client.write_all(b"GET /").await.unwrap();
    let mut read = Vec::new();
    connection.read_to_end(&mut read).await.unwrap();
    assert_eq!(
        (read.as_slice(), clock::monotonic().duration_since(start).as_secs()),
        (&b"GET /"[..], 5)
    );
    connection.shutdown().await.unwrap();
    drop(connection);
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn while_a_request_is_served_nothing_is_late() {
    let (mut connection, mut client) = pipe(4_096);
    let serving = connection.requests().begin(false, &context());
    let mut byte = [0];
    let waits = tokio::time::timeout(Duration::from_secs(600), connection.read(&mut byte)).await;
    assert!(waits.is_err());
    drop(serving);
    client.write_all(b"G").await.unwrap();
    assert_eq!(connection.read(&mut byte).await.unwrap(), 1);
    let start = clock::monotonic();
    assert_eq!(connection.read(&mut byte).await.unwrap(), 0);
    assert_eq!(clock::monotonic().duration_since(start).as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_an_error() {
    let (mut connection, _client) = pipe(16);
    let start = clock::monotonic();
    let error = connection.write_all(&[b'x'; 64]).await.unwrap_err();
    assert_eq!(
        (error.kind(), clock::monotonic().duration_since(start).as_secs()),
        (io::ErrorKind::TimedOut, 10)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_turns_in_circles_is_stopped() {
    let (mut connection, _client) = pipe(16);
    let mut flushes = 0;
    while connection.flush().await.is_ok() {
        flushes += 1;
    }
    assert_eq!(flushes, MOST_TURNS);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_an_answer_waits_and_the_server_is_called_back() {
    let (mut connection, mut client) = pipe(16);
    client.write_all(b"GET /").await.unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut cx = Context::from_waker(&waker);
    let mut write = |connection: &mut Connection<DuplexStream>, length: usize| {
        Pin::new(connection).poll_write(&mut cx, &[b'x'; 32][..length])
    };
    assert!(matches!(write(&mut connection, 32), Poll::Ready(Ok(16))));
    assert!(write(&mut connection, 16).is_pending());
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(1), connection.read(&mut byte)).await;
    assert!(read.is_err());
    client.read_exact(&mut [0; 16]).await.unwrap();
    let before = woken.0.load(Ordering::Relaxed);
    assert!(matches!(write(&mut connection, 16), Poll::Ready(Ok(16))));
    assert_eq!(woken.0.load(Ordering::Relaxed), before + 1);
    assert_eq!(connection.read(&mut byte).await.unwrap(), 1);
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_answer_to_a_body_that_is_not_at_its_end() {
    let answer = b"HTTP/1.1 413 Payload Too Large\r\nx-request-id: a\r\n\r\n";
    let (mut connection, mut client) = pipe(4_096);
    assert!(connection.requests().begin(true, &context()).answered(), "the last of the connection");
    connection.write_all(answer).await.unwrap();
    client.write_all(b"5\r\n{").await.unwrap();
    assert_eq!(connection.read_to_end(&mut Vec::new()).await.unwrap(), 4);
    connection.shutdown().await.unwrap();
    drop(connection);
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, answer);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_server_gives_up_because_of_its_body_is_answered() {
    for (with_body, is_answered, expected) in
        [(true, false, "HTTP/1.1 400"), (true, true, ""), (false, false, "")]
    {
        let (connection, mut client) = pipe(4_096);
        let serving = connection.requests().begin(with_body, &context());
        if is_answered {
            serving.answered();
        } else {
            drop(serving);
        }
        drop(connection);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard.get(..12).unwrap_or_default(), expected, "{heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_let_go_without_a_word() {
    let (mut connection, mut client) = pipe(4_096);
    let start = clock::monotonic();
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(clock::monotonic().duration_since(start).as_secs(), 5);
    connection.shutdown().await.unwrap();
    drop(connection);
    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

const ASK: &[u8] = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: http://a.example\r\n\r\n";

/// Serves one connection with answers of `length` bytes; gives the client's end and what counts the
/// requests.
fn serve(local: &LocalSet, length: usize) -> (DuplexStream, Rc<Cell<usize>>, Metrics) {
    let (ours, theirs) = duplex(8_192);
    let (served, metrics) = (Rc::new(Cell::new(0)), Metrics::new());
    let connection = Connection::new(ours, TIMEOUTS, metrics.http.clone(), None);
    let counted = Rc::clone(&served);
    local.spawn_local(async move {
        let requests = Rc::clone(connection.requests());
        let http = HttpService::build()
            // Its own timer would go by the real clock.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_secs(2))
            .h1(fn_service(move |_: Request| {
                let serving = requests.begin(false, &context());
                counted.set(counted.get() + 1);
                async move {
                    serving.answered();
                    Ok::<_, Infallible>(Response::ok().set_body("x".repeat(length)))
                }
            }));
        let service = http.new_service(()).await.unwrap();
        drop(service.call((connection, None::<SocketAddr>)).await);
    });
    (theirs, served, metrics)
}

/// Asks until nobody listens any more.
async fn ask_without_end(mut client: impl AsyncWrite + Unpin) {
    let many = ASK.repeat(100);
    while client.write_all(&many).await.is_ok() {}
}

fn cut(metrics: &Metrics, why: &str) -> bool {
    let text = render(metrics).unwrap();
    text.contains(&format!("http_connections_cut_total{{reason=\"{why}\"}} 1"))
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answers_is_not_listened_to() {
    for length in [0, 2_000] {
        let local = LocalSet::new();
        let (client, served, metrics) = serve(&local, length);
        let start = clock::monotonic();
        local
            .run_until(async {
                let (_never_read, writing) = split(client);
                ask_without_end(writing).await;
            })
            .await;
        // As many as fit into what is read at a time; every one takes a hundred bytes.
        assert!(served.get() < 4_000, "{} of {length} bytes", served.get());
        assert!(cut(&metrics, "answer_not_taken"), "{length}");
        assert_eq!(clock::monotonic().duration_since(start).as_secs(), 10);
    }
}

async fn take(mut reading: ReadHalf<DuplexStream>, each: Duration) -> usize {
    let (mut taken, mut some) = (0, [0; 4_096]);
    while let Ok(bytes @ 1..) = reading.read(&mut some).await {
        taken += bytes;
        tokio::time::sleep(each).await;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn who_takes_them_slowly_gets_all_of_them() {
    let local = LocalSet::new();
    let (client, served, _) = serve(&local, 100);
    local
        .run_until(async {
            let (reading, mut writing) = split(client);
            let ask = async {
                writing.write_all(&ASK.repeat(5_000)).await.unwrap();
                writing
                    .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    .await
                    .unwrap();
            };
            let slowly = take(reading, Duration::from_millis(20));
            let ((), taken) = futures_util::future::join(ask, slowly).await;
            assert_eq!(served.get(), 5_001);
            assert!(taken > 5_001 * 100);
        })
        .await;
}
