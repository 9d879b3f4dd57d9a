//! Signing in and out, and what the page says when nobody answers.

use std::time::Duration;

use breakwater::clock::monotonic;

use crate::desk::{Desk, SOON};
use crate::support::gateway::ADMIN_KEY;

/// What the browser itself notes when a key is refused.
const REFUSED: &str =
    "admin/session - Failed to load resource: the server responded with a status of 403";

#[test]
fn a_wrong_key_is_refused_a_right_one_lasts_over_a_reload_until_signing_out() {
    let Some(mut desk) = Desk::open(&[]) else { return };
    desk.expects(REFUSED);
    desk.sign_in("a wrong key");
    desk.wait_for("#login-error", "not the admin's key", SOON);
    desk.script("document.querySelector('#login-key').value = ''");
    desk.sign_in(ADMIN_KEY);
    desk.wait_for("#age", "Live", SOON);
    assert!(desk.text("#sentence").starts_with("Serving"), "{}", desk.text("#sentence"));
    // No script of the page sees the session.
    assert_eq!(desk.script("return document.cookie"), "");
    desk.reload();
    desk.wait_for("#age", "Live", SOON);
    assert_eq!(desk.text("#login"), "");
    desk.click("#sign-out");
    desk.wait_for("#login", "Admin key", SOON);
    assert_eq!(desk.text("#board"), "");
    desk.reload();
    desk.wait_for("#login", "Admin key", SOON);
    desk.leave();
}

#[test]
fn without_a_key_configured_the_page_says_how_to_set_one() {
    let Some(mut desk) = Desk::open(&[("ADMIN_API_KEY", "")]) else { return };
    desk.wait_for("#setup", "ADMIN_API_KEY", SOON);
    assert_eq!(desk.text("#login"), "");
    desk.leave();
}

#[test]
fn who_may_only_look_sees_everything_and_no_button_works() {
    const KEY: &str = "only-looking-only-looking";
    let Some(mut desk) = Desk::open(&[("ADMIN_READONLY_KEY", KEY)]) else { return };
    desk.sign_in(KEY);
    desk.wait_for("#readonly", "read-only", SOON);
    desk.wait_for("#breakers", "closed", SOON);
    let enabled =
        "return document.querySelectorAll('#breakers button:enabled, #actions button').length";
    assert_eq!(desk.script(enabled), 0);
    desk.leave();
}

#[test]
fn a_gateway_that_is_gone_is_said_to_be_and_seven_tabs_do_not_hold_it() {
    let Some(mut desk) = Desk::signed_in(&[]) else { return };
    desk.expects("ERR_");
    let page = desk.page();
    (0..6).for_each(|_| desk.open_tab(&page));
    desk.wait_for("#age", "Live", SOON);
    let asked = monotonic();
    desk.gateway.process.ask_to_end();
    while desk.gateway.process.is_running() {
        assert!(asked.elapsed() < Duration::from_secs(1), "it still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    desk.wait_for("#age", "The gateway does not answer.", Duration::from_secs(8));
    assert!(desk.text("#sentence").starts_with("Serving"), "what was known stays");
    desk.leave();
}
