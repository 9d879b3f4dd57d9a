//! The table against the rules of the lists, held against every entry.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1);

fn entry(expires_at: Option<i64>) -> String {
    let expires_at = expires_at.map(Timestamp::from_millis);
    let entry = Entry { reason: String::new(), created_at: NOW, expires_at };
    serde_json::to_string(&entry).unwrap()
}

fn change(key: &str, payload: Option<String>) -> Change {
    Change { topic: TOPIC.to_owned(), key: key.to_owned(), payload, at: NOW }
}

/// What the lists say, by looking at every entry.
fn naive(
    entries: &BTreeMap<String, Option<i64>>,
    address: IpAddr,
    key: Option<KeyId>,
) -> ListStatus {
    let on = |list: ListName, matches: &dyn Fn(Identifier) -> bool| {
        entries.iter().any(|(subject, until)| {
            let Ok(Subject::Entry(on, who)) = subject.parse() else { return false };
            on == list && matches(who) && until.is_none_or(|until| NOW.as_millis() < until)
        })
    };
    let here = |who| matches!(who, Identifier::Network(network) if network.contains(&address));
    let holder = |who| key.is_some_and(|key| who == Identifier::Key(key));
    if on(ListName::Deny, &here) {
        ListStatus::Denied(DeniedBy::Address)
    } else if on(ListName::Deny, &holder) {
        ListStatus::Denied(DeniedBy::Key)
    } else if on(ListName::Allow, &here) || on(ListName::Allow, &holder) {
        ListStatus::Allowed
    } else {
        ListStatus::Unlisted
    }
}

#[test]
fn a_hundred_thousand_entries_are_a_few_look_ups() {
    let table = Table::default();
    let changes: Vec<_> = (0..100_000_u32)
        .map(|number| {
            let address = Ipv4Addr::from_bits(number << 8 | 7);
            let length = if number % 2 == 0 { 32 } else { 24 };
            let network = IpNet::new(address.into(), length).unwrap().trunc();
            change(&format!("deny:{network}"), Some(entry(None)))
        })
        .collect();
    assert_eq!(table.apply(&changes, true), 0);
    assert_eq!(table.read().sizes(NOW).deny, 100_000);
    for number in 0..100_000_u32 {
        let at = |low: u32| IpAddr::from(Ipv4Addr::from_bits(number << 8 | low));
        let denied = |address| table.read().evaluate(address, None, || NOW) != ListStatus::Unlisted;
        assert!(denied(at(7)), "{number}");
        assert_eq!(denied(at(8)), number % 2 == 1, "{number}");
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing() {
    let table = Table::default();
    let good = change("deny:10.0.0.0/8", Some(entry(None)));
    let bad = ["", "{}", "null", "text"].map(|text| change("deny:10.0.0.0/8", Some(text.into())));
    let stray = [change("deny:nobody", None), change("key:internal", None)];
    let all = [&[good.clone()][..], &bad, &stray].concat();
    assert_eq!(table.apply(&all, false), 6);
    assert_eq!(table.read().sizes(NOW).deny, 1);
    // A whole log replaces everything.
    assert_eq!(table.apply(&[change("deny:10.1.1.1", Some(entry(None)))], true), 0);
    let known: Vec<_> = table.state().into_iter().map(|draft| draft.key).collect();
    assert_eq!(known, ["deny:10.1.1.1"]);
}

#[test]
fn what_has_expired_is_taken_out_and_a_key_is_listed_for_a_while() {
    let table = Table::default();
    let key = StoredKey {
        label: "x".into(),
        digest: super::super::SecretDigest::of(b"x"),
        per_minute: None,
        networks: Vec::new(),
        created_at: NOW,
        expires_at: Some(Timestamp::from_millis(5)),
    };
    let key = serde_json::to_string(&key).unwrap();
    table.apply(
        &[
            change("key:000000000001", Some(key)),
            change("deny:10.1.1.1", Some(entry(Some(5)))),
            change("deny:10.1.1.2", Some(entry(None))),
        ],
        false,
    );
    let sizes = |at| {
        let sizes = table.read().sizes(at);
        (sizes.keys, sizes.deny)
    };
    assert_eq!(sizes(NOW), (1, 2));
    let then = Timestamp::from_millis(5);
    table.drop_expired(then);
    assert_eq!((sizes(then), table.read().keys(None).count()), ((0, 1), 1));
    table.drop_expired(then.plus(EXPIRED_KEPT));
    assert_eq!(table.read().keys(None).count(), 0);
}

const SUBJECTS: [&str; 7] = [
    "allow:10.0.0.0/8",
    "deny:10.0.0.0/8",
    "deny:10.1.1.1",
    "deny:2001:db8::/32",
    "allow:000000000001",
    "deny:000000000002",
    "allow:2001:db8::/48",
];

proptest! {
    #[test]
    fn the_verdict_is_that_of_the_rules(
        steps in prop::collection::vec(
            (prop::sample::select(SUBJECTS.to_vec()), any::<bool>(), prop::option::of(0..4_i64)),
            0..30,
        ),
        asked in prop::collection::vec((any::<u32>(), any::<bool>(), 0..3_u64), 1..20),
    ) {
        let table = Table::default();
        let mut model = BTreeMap::new();
        for (subject, put, until) in steps {
            table.apply(&[change(subject, put.then(|| entry(until)))], false);
            if put {
                model.insert(subject.to_owned(), until);
            } else {
                model.remove(subject);
            }
        }
        prop_assert_eq!(table.state().len(), model.len());
        for (bits, v6, key) in asked {
            let address = if v6 {
                IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(bits)))
            } else if bits % 2 == 0 {
                IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1))
            } else {
                IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | bits >> 7))
            };
            let key = (key > 0).then(|| KeyId::new(key));
            prop_assert_eq!(table.read().evaluate(address, key, || NOW), naive(&model, address, key));
        }
    }

    #[test]
    fn pages_of_a_list_are_the_whole_list(page in 1..5_usize) {
        let table = Table::default();
        for subject in SUBJECTS {
            table.apply(&[change(subject, Some(entry(None)))], false);
        }
        for list in [ListName::Allow, ListName::Deny] {
            let state = table.read();
            let all: Vec<_> = state.entries(list, None).map(|(who, _)| who).collect();
            let mut seen = Vec::new();
            loop {
                let last = seen.last().copied();
                let next: Vec<_> = state.entries(list, last).take(page).map(|(who, _)| who).collect();
                if next.is_empty() {
                    break;
                }
                seen.extend(next);
            }
            prop_assert_eq!(&seen, &all);
        }
    }
}

/// Few bits, so that networks meet.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..4_u32, 0..4_u32).prop_map(|(top, low)| Ipv4Addr::from_bits(top << 30 | low));
    let v6 = (0..4_u128, 0..4_u128).prop_map(|(top, low)| Ipv6Addr::from_bits(top << 126 | low));
    prop_oneof![v4.prop_map(IpAddr::V4), v6.prop_map(IpAddr::V6)]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), prop::sample::select(vec![0_u8, 1, 2, 8, 30, 31, 32, 126, 127, 128])).prop_map(
        |(address, length)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, length.min(most)).unwrap().trunc()
        },
    )
}

proptest! {
    #[test]
    fn an_address_is_found_as_by_looking_at_all(
        steps in prop::collection::vec((network(), any::<bool>(), any::<bool>()), 0..60),
        asked in prop::collection::vec(address(), 1..20),
    ) {
        let (mut list, mut model) = (List::default(), BTreeMap::new());
        for (network, put, expired) in steps {
            let who = Identifier::Network(network);
            if put {
                let expires_at = expired.then_some(NOW);
                list.put(who, Entry { reason: String::new(), created_at: NOW, expires_at });
                model.insert(network, !expired);
            } else {
                list.entries.remove(&who);
                model.remove(&network);
            }
        }
        prop_assert_eq!(list.entries.len(), model.len());
        for address in asked {
            let naive = model.iter().any(|(network, counts)| *counts && network.contains(&address));
            prop_assert_eq!(list.has_address(address, &|| NOW), naive);
        }
    }
}
