//! What is never limited is no lever, and clients in doubt take nothing from the host of the proxy.

use crate::envelope::{data, refused};
use crate::support::gateway::ADMIN_KEY;
use crate::test_app::TestApp;

fn behind_a_proxy() -> TestApp {
    TestApp::with(&[("RATE_LIMIT_ENABLED", "true"), ("TRUSTED_PROXIES", "127.0.0.1")])
}

#[test]
fn an_address_has_a_wide_bucket_for_open_routes_and_others_are_served() {
    let app = behind_a_proxy();
    let mut flood = app.connection().with_header("x-forwarded-for", "203.0.113.66");
    let began = breakwater::clock::monotonic();
    let statuses: Vec<_> = (0..1_000).map(|_| flood.get("/health/live").unwrap().status).collect();
    assert!(statuses[..200].iter().all(|status| *status == 200), "a monitor needs less");
    // On a machine that is busy it does not ask too often.
    let too_often = began.elapsed().as_secs() < 5;
    assert!(!too_often || statuses.contains(&429), "one that asks without a pause");
    for path in ["/metrics", "/health/live", "/health/ready"] {
        let mut other = app.connection().with_header("x-forwarded-for", "203.0.113.67");
        assert_eq!(other.get(path).unwrap().status, 200);
        assert_eq!(app.get(path).status, 200, "the host itself");
    }
}

#[test]
fn clients_in_doubt_take_nothing_from_the_host_of_the_proxy() {
    let app = behind_a_proxy();
    let in_doubt = || {
        let named = app.connection().with_header("x-forwarded-for", "203.0.113.66");
        named.with_header("forwarded", "for=198.51.100.1")
    };
    let guess = || in_doubt().with_header("x-admin-key", "wrong").get("/admin/breakers").unwrap();
    for _ in 0..10 {
        refused(&guess(), 403, "forbidden");
    }
    refused(&guess(), 429, "rate_limited");
    data(&app.connection().with_header("x-admin-key", ADMIN_KEY).get("/admin/breakers").unwrap());
    let mut client = in_doubt();
    let statuses: Vec<_> = (0..12).map(|_| client.get("/api/status").unwrap().status).collect();
    assert!(statuses.contains(&429), "they have a limit: {statuses:?}");
    data(&app.get("/api/status"));
}
