//! What an operator does: each button asks once, has its effect, and is in the audit list.

use std::time::Duration;

use serde_json::json;

use crate::desk::{Desk, SOON};

fn state(desk: &Desk, name: &str) -> String {
    let all = desk.gateway.admin().get("/admin/breakers").unwrap().json();
    let all = all["data"].as_array().unwrap().clone();
    let one = all.iter().find(|one| one["name"] == name).unwrap();
    one["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_breaker_is_opened_and_reset_by_hand() {
    let Some(mut desk) = Desk::signed_in(&[]) else { return };
    desk.wait_for("#breakers", "closed", SOON);
    let (question, result) = desk.act("open breaker upstream");
    assert!(question.contains("is refused until somebody closes or resets it"), "{question}");
    assert!(result.contains("It is open now"), "{result}");
    assert_eq!(state(&desk, "upstream"), "open");
    desk.wait_for("#breakers", "by hand", SOON);
    desk.wait_for("#audit", "breaker.open", SOON);
    desk.act("reset breaker upstream");
    assert_eq!(state(&desk, "upstream"), "closed");
    desk.wait_for("#audit", "breaker.reset", SOON);
    desk.leave();
}

#[test]
fn an_invalidation_counts_first_and_nothing_that_is_typed_becomes_markup() {
    let Some(mut desk) = Desk::signed_in(&[]) else { return };
    let search = "/api/products/search?keywords=lamp";
    assert_eq!(desk.gateway.connection().get(search).unwrap().status, 200);
    let fill = |desk: &mut Desk, kind: &str, value: &str| {
        let script = format!("const s = document.querySelector('#actions select'); s.value = {kind:?};
            s.dispatchEvent(new Event('change')); document.querySelector('#actions input').value = {};", json!(value));
        desk.script(&script);
        desk.click("#actions form button");
        desk.wait_for("dialog", "hits", SOON);
    };
    fill(&mut desk, "pattern", "*:search:*");
    assert!(desk.text("dialog").contains("1 in memory"), "{}", desk.text("dialog"));
    desk.click("#dialog-yes");
    desk.wait_for("#dialog-result", "Hit: 1 in memory", SOON);
    desk.click("#dialog-no");
    desk.wait_for("#audit", "cache.invalidate", SOON);
    fill(&mut desk, "key", "<img src=x onerror=alert(1)>");
    assert!(desk.text("dialog").contains("<img src=x"), "it is shown as it was typed");
    assert_eq!(desk.script("return document.querySelectorAll('img').length"), 0);
    desk.click("#dialog-no");
    desk.leave();
}

/// The card with this title.
fn card(title: &str) -> String {
    format!(".card[data-card={title:?}]")
}

fn confirm(desk: &mut Desk, said: &str) {
    desk.click("#dialog-yes");
    desk.wait_for("#dialog-result", said, SOON);
    desk.click("#dialog-no");
}

#[test]
fn a_client_is_denied_and_let_in_again() {
    let Some(mut desk) = Desk::signed_in(&[("TRUSTED_PROXIES", "127.0.0.1/32")]) else { return };
    let status = |desk: &Desk| {
        let mut stranger = desk.gateway.connection().with_header("x-forwarded-for", "203.0.113.9");
        stranger.get("/api/products/search?keywords=lamp").unwrap().status
    };
    desk.expects("blacklist - Failed to load resource: the server responded with a status of 400");
    assert_eq!(status(&desk), 200);
    let list = card("Deny list");
    desk.write(&format!("{list} input[placeholder]"), "203.0.113.0/24");
    desk.click(&format!("{list} form button"));
    desk.wait_for("dialog", "is answered 403", SOON);
    confirm(&mut desk, "203.0.113.0/24");
    assert_eq!(status(&desk), 403);
    desk.wait_for("#audit", "203.0.113.0/24", SOON);
    desk.click(&format!("{list} summary"));
    desk.click(&format!("{list} [data-name^='Remove 203.0.113.0/24']"));
    desk.wait_for("dialog", "like any other client", SOON);
    confirm(&mut desk, "Done");
    assert_eq!(status(&desk), 200);
    // What makes no sense is told under the form, in the gateway's words.
    desk.write(&format!("{list} input[placeholder]"), "no address");
    desk.click(&format!("{list} form button"));
    desk.click("#dialog-yes");
    desk.wait_for("#dialog-result", "Not done", SOON);
    desk.leave();
}

#[test]
fn a_key_is_made_shown_once_and_revoked() {
    let Some(mut desk) = Desk::signed_in(&[("REQUIRE_API_KEY", "true")]) else { return };
    let keys = card("Clients' keys");
    desk.write(&format!("{keys} input"), "the shop");
    desk.click(&format!("{keys} form button"));
    desk.wait_for("dialog", "shown once", SOON);
    desk.click("#dialog-yes");
    desk.wait_for("#dialog-result", "shown only now", SOON);
    let secret = desk.text("#dialog-result code");
    let status = |desk: &Desk| {
        let mut shop = desk.gateway.connection().with_header("x-internal-key", &secret);
        shop.get("/api/products/search?keywords=lamp").unwrap().status
    };
    assert_eq!(status(&desk), 200);
    desk.click("#dialog-no");
    desk.wait_for("#audit", "the shop", SOON);
    assert!(!desk.text("#audit").contains(&secret), "the secret is in the audit list");
    desk.click(&format!("{keys} summary"));
    desk.click(&format!("{keys} [data-name^='Revoke']"));
    desk.wait_for("dialog", "cannot be undone", SOON);
    confirm(&mut desk, "Done");
    assert_eq!(status(&desk), 401);
    desk.leave();
}

#[test]
fn warming_and_chaos_ask_once_and_are_in_the_audit_list() {
    let Some(mut desk) = Desk::signed_in(&[]) else { return };
    desk.click("[data-name='Warm the cache']");
    desk.wait_for("dialog", "lifted from the database", SOON);
    confirm(&mut desk, "Done");
    desk.wait_for("#audit", "cache.warm", SOON);
    let chaos = card("Chaos");
    desk.script("document.querySelector('.card[data-card=Chaos] select').value = 'cache'");
    desk.click(&format!("{chaos} form button"));
    desk.wait_for("dialog", "meets this once", SOON);
    confirm(&mut desk, "struck");
    desk.wait_for("#actors", "chaos", Duration::from_secs(2));
    desk.wait_for("#audit", "chaos", SOON);
    desk.leave();
}

#[test]
fn the_configuration_is_reloaded_and_mistakes_are_shown() {
    let Some(mut desk) = Desk::signed_in(&[("RATE_LIMIT_ENABLED", "")]) else {
        return;
    };
    let file = desk.folder.path().join("breakwater.toml");
    let limited = |desk: &Desk| {
        let mut client = desk.gateway.connection();
        client.get("/api/products/search?keywords=lamp").unwrap().status == 429
    };
    assert!(!limited(&desk));
    desk.wait_for("#config", "in force", SOON);
    std::fs::write(&file, "[limits]\nsearch_per_minute = 1\n[redis]\ntimeout_ms = 77\n").unwrap();
    let (question, result) = desk.act("Reload the configuration");
    assert!(question.contains("with a mistake anywhere nothing changes"), "{question}");
    assert!(result.contains("Taken over: RATE_LIMIT_SEARCH_PER_MINUTE"), "{result}");
    assert!(result.contains("From the next start: REDIS_TIMEOUT_MS"), "{result}");
    assert!(limited(&desk));
    desk.wait_for("#audit", "config.reload", SOON);
    desk.wait_for("#config", "REDIS_TIMEOUT_MS", SOON);

    std::fs::write(&file, "[limits]\nburst = -3\n[cache]\nttl = \"<b>soon</b>\"\n").unwrap();
    desk.expects("reload - Failed to load resource: the server responded with a status of 400");
    let (_, result) = desk.act("Reload the configuration");
    for place in ["limits.burst", "cache.ttl"] {
        assert!(result.contains("Not done") && result.contains(place), "{result}");
        desk.wait_for("#config", place, SOON);
    }
    assert!(desk.text("#config").contains("the one before is in force"));
    desk.wait_for("#verdict", "The configuration was not taken over", SOON);
    assert_eq!(desk.script("return document.querySelectorAll('#config b').length"), 0);
    assert!(limited(&desk));

    std::fs::write(&file, "").unwrap();
    desk.act("Reload the configuration");
    desk.wait_for("#config", "in force", SOON);
    assert!(!limited(&desk));
    desk.leave();
}
