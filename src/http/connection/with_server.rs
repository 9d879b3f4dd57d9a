//! A connection under the server that reads requests from it, over a pipe in memory, in paused time.
//!
//! Time stands still while anybody has something to do, so a server that turns in circles does not
//! get to the end of these tests.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::{HttpService, Request, Response};
use actix_service::{Service as _, ServiceFactory as _, fn_service};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, duplex, split};
use tokio::task::LocalSet;

use super::*;
use crate::metrics::{Format, Metrics, render};

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(5),
    idle: Duration::from_secs(30),
    send: Duration::from_secs(10),
};
const ASK: &[u8] = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: http://a.example\r\n\r\n";

/// Serves one connection with answers of `length` bytes; gives the client's end and what counts the
/// requests.
fn serve(local: &LocalSet, length: usize) -> (DuplexStream, Rc<Cell<usize>>, Metrics) {
    let (ours, theirs) = duplex(8_192);
    let (served, metrics) = (Rc::new(Cell::new(0)), Metrics::new());
    let connection = Connection::new(ours, PATIENCE, metrics.http().clone(), None);
    let counted = Rc::clone(&served);
    local.spawn_local(async move {
        let under_way = Rc::clone(connection.under_way());
        let http = HttpService::build()
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_secs(2))
            .h1(fn_service(move |_: Request| {
                let serving = under_way.begin(false);
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
    let text = render(metrics, Format::Prometheus).unwrap();
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
