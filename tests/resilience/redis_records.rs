//! The map of records in a real Redis: what of its losses is noticed, and by whom.

use breakwater::cache::tiers::redis::{Records, RedisTier};

use crate::redis_rig::{Rig, eventually};

fn record(number: usize) -> (String, String) {
    (format!("subject {number}"), format!("{number:035} -"))
}

async fn merge(tier: &RedisTier, mark: &str, numbers: std::ops::Range<usize>) -> Option<String> {
    let records: Vec<_> = numbers.map(record).collect();
    let chance = fastrand::u128(..);
    eventually(async || tier.merge_records(mark, chance, &records).await).await
}

async fn read(tier: &RedisTier, mark: &str, version: u64) -> Records {
    eventually(async || tier.read_records(mark, version, 1_000).await).await
}

#[actix::test]
async fn whoever_shows_a_mark_reads_on_and_whoever_shows_one_of_another_history_reads_all() {
    let rig = Rig::start();
    let tier = &rig.tier;
    let empty = read(tier, "", 0).await;
    assert_eq!((empty.mark.as_str(), empty.goes_on, empty.version), ("", true, 0));
    let first = merge(tier, "", 0..3).await.unwrap();
    let page = read(tier, &first, 0).await;
    assert_eq!((page.records.len(), page.version, page.goes_on), (3, 3, true));
    assert_eq!(page.mark, first);
    assert_eq!(merge(tier, &first, 0..3).await.as_ref(), Some(&first), "nothing has changed");
    let older =
        rig.redis().command(&[b"COPY", b"breakwater:2:{records}:about", b"{records}:older"]);
    assert!(older.starts_with(b":1"));
    let second = merge(tier, &first, 3..5).await.unwrap();
    let page = read(tier, &first, 3).await;
    assert_eq!((page.records.len(), page.version, page.goes_on), (2, 5, true));
    assert_eq!(page.mark, second);
    // It is what it was, and goes on to the same version in another way.
    for part in ["order", "all"] {
        let name = format!("breakwater:2:{{records}}:{part}");
        let gone = ["subject 3", "subject 4"].map(str::as_bytes);
        let drop: &[u8] = if part == "all" { b"HDEL" } else { b"ZREM" };
        rig.redis().command(&[drop, name.as_bytes(), gone[0], gone[1]]);
    }
    rig.redis().command(&[b"RENAME", b"{records}:older", b"breakwater:2:{records}:about"]);
    assert_eq!(merge(tier, &second, 5..7).await, None, "who tells does not take it for his own");
    let page = read(tier, &second, 5).await;
    assert_eq!((page.records.len(), page.version, page.goes_on), (5, 5, false));
    let page = read(tier, &first, 3).await;
    assert_eq!((page.records.len(), page.goes_on), (2, true), "who had not seen it lost nothing");
    rig.redis().command(&[b"FLUSHALL"]);
    let flushed = read(tier, &first, 3).await;
    assert_eq!((flushed.mark.as_str(), flushed.goes_on, flushed.version), ("", false, 0));
    rig.stop();
}

#[actix::test]
async fn so_many_marks_are_known_and_no_more_are_kept() {
    let rig = Rig::start();
    let tier = &rig.tier;
    let mut marks = Vec::new();
    for number in 0..1_030 {
        let before = marks.last().map(String::as_str).unwrap_or_default();
        marks.push(merge(tier, before, number..number + 1).await.unwrap());
    }
    assert!(read(tier, &marks[6], 7).await.goes_on);
    let page = eventually(async || tier.read_records(&marks[5], 6, 10).await).await;
    assert!(!page.goes_on && page.more && page.version == 10, "{page:?}");
    let kept = rig.redis().command(&[b"HLEN", b"breakwater:2:{records}:about"]);
    assert!(kept.starts_with(b":1026"), "{}", String::from_utf8_lossy(&kept));
    rig.stop();
}

#[actix::test]
async fn what_else_lies_in_its_place_is_no_map_and_makes_way() {
    let rig = Rig::start();
    let about: &[u8] = b"breakwater:2:{records}:about";
    for harm in [
        &[b"DEL".as_slice(), about][..],
        &[b"HSET", about, b"version", b"x"],
        &[b"HSET", about, b"merges", b"x"],
        &[b"HDEL", about, b"merges"],
        &[b"DEL", b"breakwater:2:{records}:order"],
        &[b"SET", b"breakwater:2:{records}:all", b"x"],
    ] {
        let mark = merge(&rig.tier, "", 0..3).await.unwrap();
        rig.redis().command(harm);
        let page = read(&rig.tier, &mark, 3).await;
        assert_eq!((page.mark.as_str(), page.goes_on, page.records.len()), ("", false, 0));
        assert_eq!(merge(&rig.tier, &mark, 0..4).await, None);
        assert_eq!(read(&rig.tier, "", 0).await.records.len(), 4);
    }
    // A mark that is none is another history's.
    for mark in ["x", "0 x", "99999999999999999999 x", "1"] {
        assert!(!read(&rig.tier, mark, 3).await.goes_on, "{mark}");
    }
    rig.stop();
}
