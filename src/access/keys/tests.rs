//! Keys in every form, known and not, first seen and remembered, revoked, expired and from elsewhere.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::ring::remembered;
use super::*;
use crate::access::identifier::network;
use crate::access::record::{Body, Record, StoredKey, Subject};
use crate::access::snapshot::Snapshot;
use crate::access::stamp::Stamp;
use crate::clock::Timestamp;
use crate::config::{self, Secret};
use crate::limits::KeyId;

const SECRET: &str = "s3cret-of-the-shop";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn ring_of(internal_key: Option<Secret>) -> KeyRing {
    KeyRing::from_settings(&config::Access { admin_key: None, internal_key, require_key: false })
}

fn ring() -> KeyRing {
    ring_of(Some(Secret::new(SECRET)))
}

fn internal(value: &str) -> PresentedKey<'_> {
    PresentedKey { internal: Some(value.as_bytes()), authorization: None }
}

fn authorization(value: &str) -> PresentedKey<'_> {
    PresentedKey { internal: None, authorization: Some(value.as_bytes()) }
}

fn held(ring: &KeyRing, presented: PresentedKey<'_>, stored: &Snapshot) -> Option<KeyId> {
    ring.held(presented, stored, HERE, || NOW).map(|held| held.id)
}

fn known(ring: &KeyRing, presented: PresentedKey<'_>) -> Option<KeyId> {
    held(ring, presented, &Snapshot::default())
}

const INTERNAL: Option<KeyId> = Some(KeyId::INTERNAL);

/// A snapshot with a key, as `change` has it.
fn stored(key: &NewKey, change: impl FnOnce(&mut StoredKey)) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut body = StoredKey {
        label: "a client".into(),
        digest: key.digest,
        per_minute: NonZeroU32::new(7),
        networks: Vec::new(),
        created_at: NOW,
        expires_at: None,
    };
    change(&mut body);
    let (subject, stamp) = (Subject::Key(key.id), Stamp::default());
    snapshot.apply(&Record { subject, stamp, body: Some(Body::Key(Box::new(body))) }, NOW);
    snapshot
}

#[test]
fn a_known_key_is_found_in_every_form() {
    let ring = ring();
    for _ in 0..3 {
        assert_eq!(known(&ring, internal(SECRET)), INTERNAL);
        assert_eq!(known(&ring, internal(&format!("  {SECRET}\t"))), INTERNAL);
        for scheme in ["Bearer ", "bearer  ", "ApiKey ", "APIKEY\t", ""] {
            let value = format!("{scheme}{SECRET}");
            assert_eq!(known(&ring, authorization(&value)), INTERNAL, "{value}");
        }
    }
}

#[test]
fn anything_else_is_nobody() {
    let ring = ring();
    let shorter = &SECRET[..SECRET.len() - 1];
    let longer = format!("{SECRET}x");
    let endless = SECRET.repeat(1_000);
    for value in ["", " ", "wrong", shorter, &longer, &endless, "s3cret of", "S3CRET-OF-THE-SHOP"] {
        assert_eq!(known(&ring, internal(value)), None, "{value}");
        assert_eq!(known(&ring, authorization(value)), None, "{value}");
    }
    for value in ["Basic s3cret-of-the-shop", "Bearer", "Bearer ", "Bearer a s3cret-of-the-shop"] {
        assert_eq!(known(&ring, authorization(value)), None, "{value}");
    }
    assert_eq!(known(&ring, PresentedKey::default()), None);
}

#[test]
fn a_wrong_key_in_one_header_does_not_hide_a_right_one_in_the_other() {
    let bearer = format!("Bearer {SECRET}");
    let both = PresentedKey { internal: Some(b"wrong"), authorization: Some(bearer.as_bytes()) };
    assert_eq!(known(&ring(), both), INTERNAL);
}

#[test]
fn without_a_configured_key_nothing_is_known() {
    for internal_key in [None, Some(Secret::new("")), Some(Secret::new("  "))] {
        let ring = ring_of(internal_key);
        for value in ["", "  ", "anything"] {
            assert_eq!(known(&ring, internal(value)), None);
        }
    }
}

#[test]
fn a_stored_key_is_known_with_its_own_limit() {
    let key = NewKey::make().unwrap();
    let snapshot = stored(&key, |_| {});
    for ring in [ring(), ring_of(None)] {
        for _ in 0..3 {
            let found = ring.held(internal(&key.text), &snapshot, HERE, || NOW).unwrap();
            assert_eq!((found.id, found.per_minute), (key.id, NonZeroU32::new(7)));
        }
        assert_eq!(
            held(&ring, authorization(&format!("Bearer {}", key.text)), &snapshot),
            Some(key.id)
        );
        // Another key's secret under this key's id, and this secret under another id.
        let other = NewKey::make().unwrap();
        let mixed = format!("{}{}", &key.text[..16], &other.text[16..]);
        let swapped = format!("{}{}", &other.text[..16], &key.text[16..]);
        for wrong in [other.text.as_str(), &mixed, &swapped, &key.text[..63]] {
            assert_eq!(held(&ring, internal(wrong), &snapshot), None, "{wrong}");
        }
    }
}

#[test]
fn a_revoked_key_is_unknown_at_once_although_it_is_remembered() {
    let (ring, key) = (ring(), NewKey::make().unwrap());
    let snapshot = stored(&key, |_| {});
    assert_eq!(held(&ring, internal(&key.text), &snapshot), Some(key.id));
    assert_eq!(remembered(&ring), 1);
    let mut revoked = snapshot.clone();
    let record = Record { subject: Subject::Key(key.id), stamp: Stamp::default(), body: None };
    revoked.apply(&record, NOW);
    assert_eq!(held(&ring, internal(&key.text), &revoked), None);
    assert_eq!(remembered(&ring), 0, "it is as unknown as one that never was");
    assert_eq!(held(&ring, internal(&key.text), &snapshot), Some(key.id), "older ones go on");
    // The same id with another secret, as if it had been made anew.
    let anew = stored(&key, |body| body.digest = SecretDigest::of(b"another"));
    assert_eq!(held(&ring, internal(&key.text), &anew), None);
}

#[test]
fn an_expired_key_and_one_from_elsewhere_are_unknown() {
    let (ring, key) = (ring(), NewKey::make().unwrap());
    let later = Some(Timestamp::from_millis(1_001));
    assert_eq!(
        held(&ring, internal(&key.text), &stored(&key, |body| body.expires_at = later)),
        Some(key.id)
    );
    let snapshot = stored(&key, |body| body.expires_at = later);
    let then = ring.held(internal(&key.text), &snapshot, HERE, || Timestamp::from_millis(1_001));
    assert_eq!(then, None, "its time is over, whether or not it was taken out");
    for (networks, good) in [
        (&["203.0.113.0/24"][..], true),
        (&["10.0.0.0/8", "203.0.113.7"], true),
        (&["203.0.113.8"], false),
        (&["2001:db8::/32", "::/0"], false),
    ] {
        let networks = networks.iter().map(|text| network(text).unwrap()).collect();
        let snapshot = stored(&key, |body| body.networks = networks);
        assert_eq!(held(&ring, internal(&key.text), &snapshot), good.then_some(key.id));
    }
}

#[test]
fn guesses_are_not_remembered_and_known_keys_are() {
    let (ring, key) = (ring(), NewKey::make().unwrap());
    let snapshot = stored(&key, |_| {});
    for number in 0..1_000 {
        assert_eq!(held(&ring, internal(&format!("guess-{number}")), &snapshot), None);
        let guess = format!("{}{number:048x}", &key.text[..16]);
        assert_eq!(held(&ring, internal(&guess), &snapshot), None);
    }
    assert_eq!(remembered(&ring), 0);
    assert_eq!(held(&ring, internal(SECRET), &snapshot), INTERNAL);
    assert_eq!(remembered(&ring), 1);
}

#[test]
fn a_single_secret_is_compared_by_its_digest() {
    let digest = SecretDigest::of(b"admin");
    assert!(digest.matches(b"admin"));
    assert!(!digest.matches(b"Admin"));
    assert!(!digest.matches(b""));
    assert!(!digest.matches(&[b'a'; 100_000]));
}

#[test]
fn nothing_shows_a_secret() {
    let shown = format!("{:?} {:?}", ring(), SecretDigest::of(SECRET.as_bytes()));
    assert!(!shown.contains(SECRET));
    assert_eq!(shown, "KeyRing { internal: Some([hidden]), .. } [hidden]");
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_wrong_is_known(
        internal: Option<Vec<u8>>,
        authorization: Option<Vec<u8>>,
    ) {
        let presented = PresentedKey {
            internal: internal.as_deref(),
            authorization: authorization.as_deref(),
        };
        prop_assert_eq!(known(&ring(), presented), None);
    }
}
