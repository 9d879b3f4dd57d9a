//! Messages to all instances through a real Redis.

use std::time::Duration;

use breakwater::clock;
use breakwater::database::{DatabaseSettings, Store};
use breakwater::failure::StoreError;
use breakwater::replication::{Changes, Draft};
use slog::Logger;

use crate::redis_rig::{Rig, eventually};
use crate::support::fault_proxy::Fault;

#[actix_web::test]
async fn a_message_reaches_those_that_listen_and_a_cut_connection_ends() {
    let rig = Rig::start();
    let (sender, receiver) = (rig.client(), rig.client());
    let mut listening = eventually(async || receiver.subscribe("breakwater:test").await).await;
    eventually(async || sender.publish("breakwater:test", "first").await).await;
    let within = Duration::from_secs(10);
    let first = tokio::time::timeout(within, listening.next()).await;
    assert_eq!(first.unwrap().as_deref(), Some("first"));
    rig.proxy.set(Fault::Cut);
    let ended = tokio::time::timeout(within, async { while listening.next().await.is_some() {} });
    ended.await.expect("the end of the connection is noticed");
    rig.stop();
}

#[actix_web::test]
async fn a_redis_that_hangs_is_not_waited_for() {
    let rig = Rig::start();
    rig.proxy.set(Fault::Hang);
    let subscribed = rig.client().subscribe("breakwater:test").await;
    assert_eq!(subscribed.err(), Some(StoreError::TooLate));
    rig.stop();
}

#[actix_web::test]
async fn a_change_of_the_log_wakes_other_instances_and_not_the_one_that_wrote_it() {
    let rig = Rig::start();
    let folder = tempfile::tempdir().unwrap();
    let instance = || {
        let path = folder.path().join("log.db");
        let (store, _) = Store::open(DatabaseSettings::at(&path), clock::monotonic(), clock::now());
        Changes::new(store, Vec::new(), Logger::root(slog::Discard, slog::o!()))
    };
    let (a, b) = (instance(), instance());
    let (redis_a, redis_b) = (rig.client(), rig.client());
    let woken = eventually(async || {
        let draft = Draft::removal("test", "x".to_owned(), clock::now());
        a.commit(draft).await.map_err(|away| StoreError::Failed(away.to_string()))?;
        let woken = b.until_woken(Duration::from_millis(500)).await;
        woken.then_some(()).ok_or_else(|| StoreError::Failed("not woken yet".to_owned()))
    });
    tokio::select! {
        () = woken => {}
        () = a.wake_others(&redis_a) => {}
        () = a.listen(&redis_a) => {}
        () = b.listen(&redis_b) => {}
    }
    assert!(!a.until_woken(Duration::from_millis(100)).await, "it knows");
    rig.stop();
}
