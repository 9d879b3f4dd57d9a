//! A connection over a pipe in memory, in paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::metrics::Metrics;

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(5),
    idle: Duration::from_secs(30),
    send: Duration::from_secs(10),
};

fn pipe(room: usize) -> (Connection<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    let metrics = Metrics::new().http().clone();
    (Connection::new(ours, PATIENCE, metrics, None), theirs)
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
    let serving = connection.under_way().begin(false);
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
async fn the_servers_own_refusal_is_replaced_and_what_stands_before_it_stays() {
    let (mut connection, mut client) = pipe(4_096);
    let written = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: a\r\n\r\n{}\
        HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    connection.write_all(written).await.unwrap();
    connection.shutdown().await.unwrap();
    drop(connection);
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    let (first, second) = heard.split_once("{}").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{heard}");
    assert!(second.starts_with("HTTP/1.1 400 Bad Request"), "{heard}");
    assert!(second.contains("\"code\":\"invalid_request\""), "{heard}");
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
async fn a_refusal_waits_for_room() {
    let (mut connection, mut client) = pipe(64);
    let bare = b"HTTP/1.0 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let mut heard = String::new();
    let refuse = async {
        connection.write_all(bare).await.unwrap();
        drop(connection);
    };
    let (taken, ()) = futures_util::future::join(client.read_to_string(&mut heard), refuse).await;
    taken.unwrap();
    assert!(heard.contains("\"code\":\"invalid_request\""), "{heard}");
    let (mut connection, _client) = pipe(64);
    assert_eq!(connection.write_all(bare).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_answer_to_a_body_that_is_not_at_its_end() {
    let answer = b"HTTP/1.1 413 Payload Too Large\r\nx-request-id: a\r\n\r\n";
    let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    for is_broken in [true, false] {
        let (mut connection, mut client) = pipe(4_096);
        connection.under_way().begin(true).answered();
        connection.write_all(answer).await.unwrap();
        if is_broken {
            connection.write_all(bare).await.unwrap();
        } else {
            client.write_all(b"5\r\n{").await.unwrap();
            assert_eq!(connection.read_to_end(&mut Vec::new()).await.unwrap(), 4);
        }
        connection.shutdown().await.unwrap();
        drop(connection);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, answer, "broken: {is_broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_server_gives_up_because_of_its_body_is_answered() {
    for (with_body, is_answered, expected) in
        [(true, false, "HTTP/1.1 400"), (true, true, ""), (false, false, "")]
    {
        let (connection, mut client) = pipe(4_096);
        let serving = connection.under_way().begin(with_body);
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
