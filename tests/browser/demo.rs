//! The story of a demo: open the link, have the upstream fail, and watch that its clients do not notice.

use std::time::Duration;

use crate::desk::{Desk, SOON};

/// What the browser itself notes when a link is opened a second time.
const REFUSED: &str =
    "admin/session - Failed to load resource: the server responded with a status of 403";
const NOT_SIGNED_IN: &str =
    "admin/live?since=0 - Failed to load resource: the server responded with a status of 403";

#[test]
fn the_link_is_opened_the_upstream_fails_and_no_client_notices() {
    let Some((mut desk, link)) = Desk::of_demo() else { return };
    desk.wait_for("#age", "Live", SOON);
    let address = desk.script("return location.href");
    assert_eq!(address, desk.page(), "the token is not in the address any more");
    assert_eq!(desk.script("return history.length"), 2, "nor one step back");
    desk.wait_for("#breakers", "closed", SOON);
    let (question, result) = desk.act("Upstream: 503");
    assert!(question.contains("answers every call with 503"), "{question}");
    assert!(result.contains("In force: status"), "{result}");
    desk.wait_for("#breakers", "open", Duration::from_secs(15));
    desk.wait_for("#verdict", "stale", Duration::from_secs(15));
    desk.script("scrollTo(0, 0)");
    desk.picture("demo");
    let errors = desk.text("#errors");
    assert!(!errors.contains("/api/"), "{errors}");
    desk.act("Heal the upstream");
    desk.wait_for("#breakers", "closed", Duration::from_secs(20));

    // Whoever has the link later is not let in by it.
    desk.click("#sign-out");
    desk.wait_for("#login", "Admin key", SOON);
    desk.expects(REFUSED);
    desk.expects(NOT_SIGNED_IN);
    desk.open_tab(&link);
    desk.wait_for("#login-error", "used before or is too old", SOON);
    desk.gateway.process.ask_to_end();
    let said = desk.gateway.process.line(Duration::from_secs(15), |line| {
        line.starts_with("clients asked ").then(|| line.to_owned())
    });
    assert!(said.ends_with(" and got 0 errors"), "{said}");
    desk.leave();
}
