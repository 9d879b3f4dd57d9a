//! What an operator sees: an outage and its end, an actor that panicked, the first screen, by every name.

use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{Clients, Desk, SOON};

const CLOSED: &str = "● closed";
const OPEN: &str = "■ open";
const NONE: [Value; 0] = [];

#[test]
fn an_outage_is_seen_within_five_seconds_and_so_is_its_end() {
    let Some(mut desk) = Desk::signed_in(&[]) else { return };
    let clients = Clients::of(&desk.gateway);
    desk.wait_for("#breakers", CLOSED, SOON);
    desk.wait_for("#charts", "requests/s", SOON);
    // The lines have something to show.
    std::thread::sleep(Duration::from_secs(4));
    desk.picture("healthy");
    let (question, result) = desk.act("Upstream: 503");
    assert!(question.contains("answers every call with 503"), "{question}");
    assert!(result.contains("In force: status"), "{result}");
    desk.wait_for("#breakers", OPEN, SOON);
    desk.wait_for("#verdict", "Degraded", SOON);
    desk.script("scrollTo(0, 0)");
    desk.click("#troubles [data-name^='What to do']");
    desk.wait_for("dialog", "Wait for the upstream: probes close the breaker by themselves", SOON);
    desk.click("#dialog-no");
    desk.picture("outage");
    let phone = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
    desk.tools("Emulation.setDeviceMetricsOverride", &phone);
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    desk.tools("Emulation.setEmulatedMedia", &dark);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(desk.script("return document.documentElement.scrollWidth"), 390);
    desk.picture("phone");
    desk.tools("Emulation.clearDeviceMetricsOverride", &json!({}));
    desk.act("Heal the upstream");
    desk.wait_for("#breakers", CLOSED, Duration::from_secs(15));
    drop(clients);
    desk.leave();
}

#[test]
fn an_actor_that_panicked_is_counted_within_two_seconds() {
    let Some(mut desk) = Desk::signed_in(&[]) else { return };
    desk.wait_for("#actors", "running", SOON);
    let struck = desk.gateway.admin().post("/admin/chaos/actors/cache/panic").unwrap();
    assert_eq!(struck.status, 200, "{}", struck.text());
    desk.wait_for("#actors", "chaos", Duration::from_secs(2));
    let restarts =
        "return Math.max(...[...document.querySelectorAll('#actors td[data-column=Restarts]')]
        .map((one) => Number(one.textContent)))";
    assert_eq!(desk.script(restarts), struck.json()["data"]["struck"]);
    desk.leave();
}

/// By axe-core, whose rules are those of WCAG and good practice: <https://github.com/dequelabs/axe-core>.
fn barriers(desk: &mut Desk) -> Vec<Value> {
    desk.script(include_str!("axe/axe.min.js"));
    let run = "return axe.run(document, {resultTypes: ['violations']}).then(({violations}) =>
        violations.map((one) => ({id: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.html.slice(0, 200))})))";
    let found = desk.script(run);
    found.as_array().unwrap().clone()
}

#[test]
fn axe_core_finds_no_barrier_by_day_and_by_night_on_desk_and_phone() {
    let Some(mut desk) = Desk::open(&[]) else { return };
    desk.wait_for("#login", "Admin key", SOON);
    assert_eq!(barriers(&mut desk), NONE);
    desk.sign_in(crate::support::gateway::ADMIN_KEY);
    desk.wait_for("#age", "Live", SOON);
    desk.wait_for("#breakers", CLOSED, SOON);
    for (scheme, width) in [("light", 1_200), ("dark", 1_200), ("light", 390), ("dark", 390)] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        desk.tools("Emulation.setEmulatedMedia", &media);
        let screen =
            json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 400});
        desk.tools("Emulation.setDeviceMetricsOverride", &screen);
        assert_eq!(barriers(&mut desk), NONE, "{scheme}, {width} px");
    }
    desk.click("[data-name='Warm the cache']");
    desk.wait_for("dialog", "Warm", SOON);
    assert_eq!(barriers(&mut desk), NONE);
    desk.leave();
}

#[test]
fn every_control_has_a_name_and_everything_is_reached_by_keyboard() {
    let Some(mut desk) = Desk::open(&[]) else { return };
    desk.wait_for("#login", "Admin key", SOON);
    named(&mut desk, "body");
    // The key field has the focus; Enter signs in.
    desk.press(crate::support::gateway::ADMIN_KEY);
    desk.press("\u{E007}");
    desk.wait_for("#age", "Live", SOON);
    desk.wait_for("#breakers", CLOSED, SOON);
    desk.wait_for("#audit", "session.begin", SOON);
    assert!(named(&mut desk, "body") > 30);
    // Tab leads to a breaker's button, Enter asks, Escape leaves without doing anything.
    let focused = "return document.activeElement.dataset?.name ?? ''";
    let reached = (0..30).any(|_| {
        desk.press("\u{E004}");
        desk.script(focused).as_str().is_some_and(|name| name.starts_with("open breaker"))
    });
    assert!(reached, "Tab does not lead to the breakers");
    desk.press("\u{E007}");
    desk.wait_for("dialog", "is refused until", SOON);
    assert_eq!(named(&mut desk, "dialog"), 2);
    desk.press("\u{E00C}");
    assert_eq!(desk.text("dialog"), "");
    assert!(desk.text("#breakers").contains(CLOSED));
    desk.leave();
}

fn named(desk: &mut Desk, within: &str) -> usize {
    let controls = desk.controls(within);
    let nameless: Vec<_> = controls.iter().filter(|(name, _)| name.trim().is_empty()).collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    controls.len()
}
