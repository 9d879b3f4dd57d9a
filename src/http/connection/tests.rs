//! A connection over a pipe in memory, in paused time.

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
    let serving = connection.under_way().begin();
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
    assert_eq!(flushes, MOST_FLUSHES);
}
