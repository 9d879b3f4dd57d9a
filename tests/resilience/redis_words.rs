//! A Redis that answers "no": its own words are told, and what can be done without an operator is.
//!
//! Owns: the rules that a connection to what has become a replica is given up, that a script runs where
//! commands for scripts are withheld, and that limits are not called exact while it does not.

use breakwater::failure::StoreError;
use breakwater::redis::Script;

use crate::redis_rig::{Rig, entry_of, eventually, key, until};
use crate::support::redis::Redis;

/// Adds to a number and says what it is; its argument is the step.
const ADDS: &str = "return {redis.call('INCRBY', KEYS[1], ARGV[1])}";

#[tokio::test]
async fn after_a_failover_behind_one_address_the_primary_is_found() {
    let rig = Rig::start();
    let primary = Redis::start();
    rig.store(&key("before"), "body").await;
    // The old primary follows the new one and keeps its connections; the address leads to the new one.
    let port = primary.address().port().to_string();
    rig.redis().command(&[b"REPLICAOF", b"127.0.0.1", port.as_bytes()]);
    rig.proxy.lead_to(primary.address());
    let after = key("after");
    rig.store(&after, "body").await;
    assert_eq!(primary.command(&[b"EXISTS", &entry_of(&after)]), b":1\r\n+OK\r\n");
    rig.until_refuses_writes(false).await;
    assert_eq!(rig.tier.client.trouble(), None);
    primary.stop();
    rig.stop();
}

#[tokio::test]
async fn a_replica_for_good_costs_a_connection_a_second_and_is_told() {
    let rig = Rig::start();
    rig.redis().command(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
    rig.until_refuses_writes(true).await;
    let before = rig.proxy.accepted();
    for _ in 0..200 {
        drop(rig.tier.client.ping().await);
    }
    assert!(rig.proxy.accepted() - before <= 5, "{} more", rig.proxy.accepted() - before);
    let said = rig.tier.client.trouble().unwrap();
    assert!(said.contains("READONLY") && said.contains("leads to a replica"), "{said}");
    rig.stop();
}

#[tokio::test]
async fn a_password_that_is_wanted_is_told_in_the_words_of_redis() {
    let rig = Rig::start();
    rig.redis().command(&[b"CONFIG", b"SET", b"requirepass", b"not-to-be-told"]);
    rig.until_avoided(true).await;
    let said = rig.tier.client.trouble().unwrap();
    assert!(said.contains("NOAUTH") && said.contains("check user and password"), "{said}");
    rig.redis().command_as(b"not-to-be-told", &[b"CONFIG", b"SET", b"requirepass", b""]);
    rig.until_avoided(false).await;
    until("a write ends it", async || {
        drop(rig.tier.client.ping().await);
        rig.tier.client.trouble().is_none()
    })
    .await;
    rig.stop();
}

/// Runs the script once Redis is there.
async fn run(rig: &Rig, script: &Script) -> Result<Vec<i64>, StoreError> {
    let mut outcome = Err(StoreError::Avoided);
    until("redis has answered", async || {
        outcome = rig.tier.client.run(script, "number", &[1]).await;
        !matches!(outcome, Err(StoreError::Avoided | StoreError::TooLate))
    })
    .await;
    outcome
}

#[tokio::test]
async fn a_script_runs_where_only_commands_for_its_hash_are_withheld() {
    for withheld in [&b"-script"[..], b"-evalsha"] {
        let (rig, script) = (Rig::start(), Script::new(ADDS));
        rig.redis().command(&[b"ACL", b"SETUSER", b"default", withheld]);
        assert_eq!(run(&rig, &script).await, Ok(vec![1]));
        assert_eq!(run(&rig, &script).await, Ok(vec![2]));
        assert!(!script.is_refused());
        rig.until_refuses_writes(false).await;
        rig.stop();
    }
}

#[tokio::test]
async fn a_script_that_may_not_run_at_all_is_known_and_stops_nothing_else() {
    let (rig, script) = (Rig::start(), Script::new(ADDS));
    let moved = rig.moves();
    rig.redis().command(&[b"ACL", b"SETUSER", b"default", b"-@scripting"]);
    assert!(matches!(run(&rig, &script).await, Err(StoreError::Refused(_))));
    assert!(script.is_refused());
    rig.until_refuses_writes(false).await;
    let said = rig.tier.client.trouble().unwrap();
    assert!(said.contains("NOPERM") && said.contains("needs permission"), "{said}");
    rig.store(&key("other"), "body").await;
    rig.redis().command(&[b"ACL", b"SETUSER", b"default", b"+@scripting"]);
    assert_eq!(run(&rig, &script).await, Ok(vec![1]));
    assert!(!script.is_refused() && rig.tier.client.trouble().is_none());
    assert_eq!(rig.moves(), moved);
    rig.stop();
}

#[tokio::test]
async fn what_a_script_may_not_call_is_a_refusal_of_the_script() {
    let (rig, script) = (Rig::start(), Script::new("return {redis.call('NOTHING')}"));
    let moved = rig.moves();
    for _ in 0..10 {
        assert!(matches!(run(&rig, &script).await, Err(StoreError::Refused(_))));
    }
    assert!(script.is_refused());
    eventually(async || rig.tier.client.ping().await).await;
    assert_eq!(rig.moves(), moved);
    rig.stop();
}
