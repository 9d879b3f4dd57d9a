//! Messages to all instances through a real Redis.

use std::time::Duration;

use breakwater::failure::StoreError;

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
