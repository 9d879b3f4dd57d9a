//! A panic in a handler, on the application as it is served.
//!
//! The route that panics exists in unit tests only, so this stands here and not with the tests of
//! the running service.

use std::net::SocketAddr;

use serde_json::Value;
use slog::{Logger, o};

use super::*;
use crate::config::{Environment, resolve};

fn settings(folder: &std::path::Path) -> Settings {
    let database = format!("sqlite://{}", folder.join("app.db").display());
    let set = [("API_PORT", "0"), ("HTTP_WORKERS", "1"), ("DATABASE_URL", &database)];
    resolve(None, &set.into_iter().collect::<Environment>()).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (u16, awc::http::header::HeaderMap, Value) {
    let client = awc::Client::default();
    let mut answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
    let body = answer.body().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), serde_json::from_slice(&body).unwrap())
}

#[actix_web::test]
async fn a_panic_in_a_handler_is_internal_and_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Logger::root(slog::Discard, o!());
    let gateway = Gateway::start(settings(folder.path()), log, Losses::default()).unwrap();
    for _ in 0..3 {
        let (status, headers, mut body) = get(gateway.address, "/panics").await;
        assert_eq!(status, 500);
        let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
        assert_eq!(body["metadata"]["request_id"].as_str(), id);
        assert!(headers.contains_key("x-content-type-options"));
        assert!(headers.contains_key("x-ratelimit-remaining"));
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
