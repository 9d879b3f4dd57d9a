//! A Redis that is stopped, paused, killed, garbled, slow or flushed, seen by the tier alone.
//!
//! Owns: the rule that no command takes longer than its bound, that a broken Redis is soon not asked
//! at all, and that the tier finds back by itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use breakwater::clock;
use breakwater::failure::StoreError;
use breakwater::redis::DEFAULT_TIMEOUT as TIMEOUT;

use crate::redis_rig::{Rig, key, until};
use crate::support::fault_proxy::Fault;

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_millis(500);
/// Commands a breaker lets through before it opens, with some that a probe may add.
const FIRST_FEW: u32 = 8;

/// Asks until Redis is avoided; each command is bounded and these are few.
async fn is_soon_left_alone(rig: &Rig) {
    let mut asked = 0;
    until("it is left alone", async || {
        let before = clock::monotonic();
        let outcome = rig.tier.get(&[&key("any")]).await;
        let took = clock::monotonic() - before;
        assert!(took < TIMEOUT + SLACK, "{took:?}");
        // What was under way when it broke may still be answered.
        asked += u32::from(outcome.is_err());
        rig.tier.client.is_avoided()
    })
    .await;
    assert!(asked <= FIRST_FEW, "left alone only after {asked} failures");
    until("it is not asked at all", async || {
        rig.tier.get(&[&key("any")]).await == Err(StoreError::Avoided)
    })
    .await;
}

/// Pauses every client for a while. It ends by itself: a paused server does not hear of its end.
fn pause_clients(rig: &Rig) {
    let mut stream = TcpStream::connect(rig.redis().address()).unwrap();
    stream.write_all(b"CLIENT PAUSE 3000 ALL\r\n").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
}

async fn heals(rig: &Rig) {
    rig.until_avoided(false).await;
    rig.store(&key("after"), "well again").await;
    rig.until_holds(&key("after"), Some("well again")).await;
}

#[tokio::test]
async fn a_stopped_process_is_left_alone_and_used_again() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    rig.redis().process().signal("STOP");
    is_soon_left_alone(&rig).await;
    rig.redis().process().signal("CONT");
    heals(&rig).await;
    rig.until_holds(&key("kept"), Some("body")).await;
    rig.stop();
}

#[tokio::test]
async fn paused_clients_are_a_redis_that_hangs() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    pause_clients(&rig);
    is_soon_left_alone(&rig).await;
    heals(&rig).await;
    rig.until_holds(&key("kept"), Some("body")).await;
    rig.stop();
}

#[tokio::test]
async fn a_killed_redis_is_connected_to_again_when_it_is_back() {
    let mut rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    rig.kill();
    is_soon_left_alone(&rig).await;
    rig.revive();
    heals(&rig).await;
    rig.until_holds(&key("kept"), None).await;
    rig.stop();
}

#[tokio::test]
async fn nonsense_on_the_wire_is_a_failure_and_no_entry() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    rig.proxy.set(Fault::Garble);
    is_soon_left_alone(&rig).await;
    rig.proxy.set(Fault::None);
    heals(&rig).await;
    rig.until_holds(&key("kept"), Some("body")).await;
    rig.stop();
}

#[tokio::test]
async fn answers_that_are_too_late_are_never_taken_for_others() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    rig.proxy.set(Fault::Delay(Duration::from_millis(200)));
    is_soon_left_alone(&rig).await;
    rig.proxy.set(Fault::None);
    // The late answers come now, on connections that may be used again.
    rig.until_avoided(false).await;
    until("it is used again", async || match rig.tier.get(&[&key("kept")]).await {
        Ok(found) => {
            assert_eq!(found[0].as_deref(), Some(&b"body"[..]));
            !rig.tier.client.is_avoided()
        }
        Err(_) => false,
    })
    .await;
    heals(&rig).await;
    rig.stop();
}

#[tokio::test]
async fn a_wire_that_flaps_costs_bounded_time_and_heals() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    for fault in [Fault::Cut, Fault::Hang, Fault::Refuse, Fault::Garble] {
        rig.proxy.set(fault);
        is_soon_left_alone(&rig).await;
        rig.proxy.set(Fault::None);
        rig.until_avoided(false).await;
        rig.until_holds(&key("kept"), Some("body")).await;
    }
    heals(&rig).await;
    rig.stop();
}

#[tokio::test]
async fn a_flushed_redis_is_merely_empty() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    rig.redis().command(&[b"FLUSHALL"]);
    rig.until_holds(&key("kept"), None).await;
    rig.store(&key("kept"), "again").await;
    rig.until_holds(&key("kept"), Some("again")).await;
    rig.stop();
}
