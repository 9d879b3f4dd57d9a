//! What an operator does: each button asks once, has its effect, and is in the audit list.

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
