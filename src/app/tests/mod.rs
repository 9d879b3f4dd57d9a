//! A panic in a handler, on the application as it is served.
//!
//! The route that panics exists in unit tests only, so this stands here and not with the tests of
//! the running service.

mod cli;
mod containers;
mod errors_page;
mod metrics;
mod settings;
mod settings_values;

use std::net::SocketAddr;

use serde_json::Value;
use slog::{Logger, o};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::{Environment, InForce, Settings, resolve};

fn settings(folder: &std::path::Path) -> Settings {
    let database = format!("sqlite://{}", folder.join("app.db").display());
    let set = [("API_PORT", "0"), ("HTTP_WORKERS", "1"), ("DATABASE_URL", &database)];
    resolve(SCHEMA, None, &set.into_iter().collect::<Environment>()).unwrap()
}

/// Status, head and body of an answer.
async fn get(address: SocketAddr, path: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap())
}

#[actix_web::test]
async fn a_panic_in_a_handler_is_internal_and_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Logger::root(slog::Discard, o!());
    let in_force = InForce::new(None, settings(folder.path()), |_| ());
    let gateway = Gateway::start(in_force, log, Losses::default()).await.unwrap();
    for _ in 0..3 {
        let (status, head, mut body) = get(gateway.address, "/panics").await;
        assert_eq!(status, 500);
        let id = body["metadata"]["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(head.contains("x-ratelimit-remaining: "), "{head}");
        assert!(!body.to_string().contains("secret of the inside"));
        body["metadata"]["request_id"] = "[id]".into();
        body["metadata"]["timestamp"] = "[time]".into();
        insta::assert_json_snapshot!("internal", body);
    }
    // The worker it happened on goes on serving.
    let (status, _, body) = get(gateway.address, "/api/products/search?keywords=usb").await;
    assert_eq!((status, &body["success"]), (200, &Value::Bool(true)));
    gateway.stop().await;
}
