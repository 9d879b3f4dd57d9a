//! The journal of invalidations in a real Redis that is flushed, restarted and replaced.

use breakwater::cache::tiers::redis::Page;

use crate::redis_rig::{Rig, eventually, until};

const JOURNAL: &[u8] = b"breakwater:2:journal";

async fn append(rig: &Rig, record: &str) -> String {
    eventually(async || rig.tier.append(record).await).await
}

async fn read(rig: &Rig, position: &str) -> Page {
    eventually(async || rig.tier.read_after(position, 100).await).await
}

/// The texts of a page; one that was late and appended again may be there twice.
fn texts(page: &Page) -> Vec<&str> {
    let mut texts: Vec<_> = page.records.iter().map(|(_, text)| text.as_str()).collect();
    texts.dedup();
    texts
}

#[tokio::test]
async fn records_are_read_once_and_in_their_order() {
    let rig = Rig::start();
    let empty = read(&rig, "0").await;
    assert_eq!((empty.position.as_str(), empty.begun_anew), ("0", false));
    eventually(async || rig.tier.append_many(&["a", "b"]).await).await;
    append(&rig, "c").await;
    let first = eventually(async || rig.tier.read_after("0", 1).await).await;
    assert_eq!(first.records.len(), 1);
    let rest = read(&rig, &first.position).await;
    assert!(!rest.begun_anew);
    assert_eq!(texts(&rest).last(), Some(&"c"));
    let none = read(&rig, &rest.position).await;
    assert_eq!(none, Page { position: rest.position.clone(), ..Page::default() });
    rig.stop();
}

#[tokio::test]
async fn a_flushed_journal_is_read_from_its_beginning() {
    let rig = Rig::start();
    append(&rig, "before").await;
    let before = read(&rig, "0").await;
    rig.redis().command(&[b"FLUSHALL"]);
    let empty = read(&rig, &before.position).await;
    assert_eq!((empty.position.as_str(), empty.begun_anew), ("0", true));
    append(&rig, "after").await;
    for position in [&before.position, &empty.position] {
        assert_eq!(texts(&read(&rig, position).await), ["after"]);
    }
    rig.stop();
}

#[tokio::test]
async fn a_journal_whose_ids_are_behind_ours_is_read_from_its_beginning() {
    let mut rig = Rig::start();
    append(&rig, "before").await;
    let before = read(&rig, "0").await;
    rig.kill();
    rig.revive();
    // As of a server whose clock is behind: two records, both below the last id that was read.
    for (id, text) in [(&b"5-1"[..], &b"one"[..]), (b"6-1", b"two")] {
        rig.redis().command(&[b"XADD", JOURNAL, id, b"r", text]);
    }
    let anew = read(&rig, &before.position).await;
    assert!(anew.begun_anew);
    assert_eq!((texts(&anew), anew.position.as_str()), (vec!["one", "two"], "6-1"));
    rig.stop();
}

#[tokio::test]
async fn the_journal_is_bounded_and_one_that_was_cut_off_is_noticed() {
    let rig = Rig::start();
    append(&rig, "first").await;
    let first = read(&rig, "0").await;
    let many = vec!["x"; 500];
    let mut appended = 0;
    until("many are appended", async || {
        appended += rig.tier.append_many(&many).await.map_or(0, |ids| ids.len());
        appended >= 12_000
    })
    .await;
    let told = String::from_utf8(rig.redis().command(&[b"XLEN", JOURNAL])).unwrap();
    let length: u32 = told[1..].split("\r\n").next().unwrap().parse().unwrap();
    assert!((10_000..=10_200).contains(&length), "{length}");
    assert!(read(&rig, &first.position).await.begun_anew);
    rig.stop();
}

#[tokio::test]
async fn something_else_in_its_place_is_replaced_and_foreign_records_are_passed_over() {
    let rig = Rig::start();
    rig.redis().command(&[b"SET", JOURNAL, b"text"]);
    append(&rig, "ours").await;
    rig.redis().command(&[b"XADD", JOURNAL, b"*", b"theirs", b"x"]);
    rig.redis().command(&[b"XADD", JOURNAL, b"*", b"r", b"\xff\xfe"]);
    let page = read(&rig, "0").await;
    assert_eq!(texts(&page), ["ours"]);
    assert!(read(&rig, &page.position).await.records.is_empty());
    rig.stop();
}
