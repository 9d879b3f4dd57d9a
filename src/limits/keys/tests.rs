//! Keys in every form, known and not, first seen and remembered.

use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cret-of-the-shop";

fn ring() -> KeyRing {
    let access = crate::config::Access {
        admin_key: None,
        internal_key: Some(Secret::new(SECRET)),
        require_key: false,
    };
    KeyRing::from_settings(&access)
}

fn internal(value: &str) -> PresentedKey<'_> {
    PresentedKey { internal: Some(value.as_bytes()), authorization: None }
}

fn authorization(value: &str) -> PresentedKey<'_> {
    PresentedKey { internal: None, authorization: Some(value.as_bytes()) }
}

const KEYED: Access = Access::Keyed(KeyId::INTERNAL);

#[test]
fn a_known_key_is_found_in_every_form() {
    let ring = ring();
    for _ in 0..3 {
        assert_eq!(ring.access(internal(SECRET), true), KEYED);
        assert_eq!(ring.access(internal(&format!("  {SECRET}\t")), true), KEYED);
        for scheme in ["Bearer ", "bearer  ", "ApiKey ", "APIKEY\t", ""] {
            let value = format!("{scheme}{SECRET}");
            assert_eq!(ring.access(authorization(&value), true), KEYED, "{value}");
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
        assert_eq!(ring.access(internal(value), false), Access::Anonymous, "{value}");
        assert_eq!(ring.access(internal(value), true), Access::Required, "{value}");
        assert_eq!(ring.access(authorization(value), true), Access::Required, "{value}");
    }
    for value in ["Basic s3cret-of-the-shop", "Bearer", "Bearer ", "Bearer a s3cret-of-the-shop"] {
        assert_eq!(ring.access(authorization(value), true), Access::Required, "{value}");
    }
    assert_eq!(ring.access(PresentedKey::default(), false), Access::Anonymous);
    assert_eq!(ring.access(PresentedKey::default(), true), Access::Required);
}

#[test]
fn a_wrong_key_in_one_header_does_not_hide_a_right_one_in_the_other() {
    let bearer = format!("Bearer {SECRET}");
    let both = PresentedKey { internal: Some(b"wrong"), authorization: Some(bearer.as_bytes()) };
    assert_eq!(ring().access(both, true), KEYED);
}

#[test]
fn without_a_configured_key_nothing_is_known() {
    for internal_key in [None, Some(Secret::new("")), Some(Secret::new("  "))] {
        let access = crate::config::Access { admin_key: None, internal_key, require_key: true };
        let ring = KeyRing::from_settings(&access);
        for value in ["", "  ", "anything"] {
            assert_eq!(ring.access(internal(value), true), Access::Required);
            assert_eq!(ring.access(internal(value), false), Access::Anonymous);
        }
    }
}

#[test]
fn every_key_of_many_is_itself() {
    let secrets = (0..200_u64).map(|number| format!("key number {number}").replace(' ', "-"));
    let secrets: Vec<String> = secrets.collect();
    let known = (0..).zip(&secrets);
    let known = known.map(|(id, secret)| (SecretDigest::of(secret.as_bytes()), KeyId::new(id)));
    let ring = KeyRing::new(known.collect());
    for _ in 0..2 {
        for (number, secret) in (0..).zip(&secrets) {
            assert_eq!(ring.access(internal(secret), true), Access::Keyed(KeyId::new(number)));
        }
    }
}

#[test]
fn guesses_are_not_remembered_and_known_keys_are() {
    let ring = ring();
    for number in 0..1_000 {
        assert_eq!(ring.access(internal(&format!("guess-{number}")), true), Access::Required);
    }
    assert_eq!(ring.seen.as_ref().unwrap().len(), 0);
    assert_eq!(ring.access(internal(SECRET), true), KEYED);
    assert_eq!(ring.seen.as_ref().unwrap().len(), 1);
}

#[test]
fn another_key_with_the_same_hash_is_not_mistaken() {
    let ring = ring();
    let remembered = Remembered { key: b"other".as_slice().into(), id: KeyId::new(9) };
    let hash = ring.hasher.hash_one(SECRET.as_bytes());
    ring.seen.as_ref().unwrap().set(hash, Arc::new(remembered));
    assert_eq!(ring.access(internal(SECRET), true), KEYED);
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
    assert_eq!(shown, "KeyRing { known: 1, .. } [hidden]");
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
        prop_assert_eq!(ring().access(presented, true), Access::Required);
    }
}
