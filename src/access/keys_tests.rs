//! Keys in every form, known and not, revoked, expired and from elsewhere.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::access::record::{StoredKey, Subject, network};

const SECRET: &str = "s3cret-of-the-shop";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn key_of(internal_key: Option<Secret>) -> InternalKey {
    InternalKey::from_settings(&AccessSettings {
        admin_key: None,
        readonly_key: None,
        internal_key,
        require_key: false,
    })
}

fn configured() -> InternalKey {
    key_of(Some(Secret::new(SECRET)))
}

fn internal(value: &str) -> PresentedKey<'_> {
    PresentedKey { internal: Some(value.as_bytes()), authorization: None }
}

fn authorization(value: &str) -> PresentedKey<'_> {
    PresentedKey { internal: None, authorization: Some(value.as_bytes()) }
}

fn held(keys: &InternalKey, presented: PresentedKey<'_>, stored: &State) -> Option<KeyId> {
    keys.held(presented, stored, HERE, || NOW).ok().map(|held| held.id)
}

fn known(keys: &InternalKey, presented: PresentedKey<'_>) -> Option<KeyId> {
    held(keys, presented, &State::default())
}

const INTERNAL: Option<KeyId> = Some(KeyId::INTERNAL);

/// A state with a key, as `change` has it.
fn stored(key: &NewKey, change: impl FnOnce(&mut StoredKey)) -> State {
    let mut body = StoredKey {
        label: "a client".into(),
        digest: key.digest,
        per_minute: NonZeroU32::new(7),
        networks: Vec::new(),
        created_at: NOW,
        expires_at: None,
    };
    change(&mut body);
    let mut state = State::default();
    assert!(state.put(&subject(key), Some(&serde_json::to_string(&body).unwrap())));
    state
}

fn subject(key: &NewKey) -> String {
    Subject::Key(key.id).to_string()
}

#[test]
fn a_known_key_is_found_in_every_form() {
    let keys = configured();
    for _ in 0..3 {
        assert_eq!(known(&keys, internal(SECRET)), INTERNAL);
        assert_eq!(known(&keys, internal(&format!("  {SECRET}\t"))), INTERNAL);
        for scheme in ["Bearer ", "bearer  ", "ApiKey ", "APIKEY\t", ""] {
            let value = format!("{scheme}{SECRET}");
            assert_eq!(known(&keys, authorization(&value)), INTERNAL, "{value}");
        }
    }
}

#[test]
fn anything_else_is_nobody() {
    let keys = configured();
    let shorter = &SECRET[..SECRET.len() - 1];
    let longer = format!("{SECRET}x");
    let endless = SECRET.repeat(1_000);
    for value in ["", " ", "wrong", shorter, &longer, &endless, "s3cret of", "S3CRET-OF-THE-SHOP"] {
        assert_eq!(known(&keys, internal(value)), None, "{value}");
        assert_eq!(known(&keys, authorization(value)), None, "{value}");
    }
    for value in ["Basic s3cret-of-the-shop", "Bearer", "Bearer ", "Bearer a s3cret-of-the-shop"] {
        assert_eq!(known(&keys, authorization(value)), None, "{value}");
    }
    assert_eq!(known(&keys, PresentedKey::default()), None);
}

#[test]
fn a_wrong_key_in_one_header_does_not_hide_a_right_one_in_the_other() {
    let bearer = format!("Bearer {SECRET}");
    let both = PresentedKey { internal: Some(b"wrong"), authorization: Some(bearer.as_bytes()) };
    assert_eq!(known(&configured(), both), INTERNAL);
}

#[test]
fn of_several_keys_the_reason_that_says_most_counts() {
    let key = NewKey::make().unwrap();
    let state = stored(&key, |body| body.networks = vec![network("10.0.0.0/8").unwrap()]);
    let bearer = format!("Bearer {}", key.text);
    let both = PresentedKey { internal: Some(b"wrong"), authorization: Some(bearer.as_bytes()) };
    let why = |presented| configured().held(presented, &state, HERE, || NOW).unwrap_err();
    assert_eq!(why(both), NoKey::Elsewhere);
    assert_eq!(why(internal("wrong")), NoKey::Unknown);
    assert_eq!(why(authorization("Basic d3Jvbmc=")), NoKey::Missing, "it is none of ours");
}

#[test]
fn without_a_configured_key_nothing_is_known() {
    for internal_key in [None, Some(Secret::new("")), Some(Secret::new("  "))] {
        let keys = key_of(internal_key);
        for value in ["", "  ", "anything"] {
            assert_eq!(known(&keys, internal(value)), None);
        }
    }
}

#[test]
fn a_stored_key_is_known_with_its_own_limit() {
    let key = NewKey::make().unwrap();
    let state = stored(&key, |_| {});
    for keys in [configured(), key_of(None)] {
        for _ in 0..3 {
            let found = keys.held(internal(&key.text), &state, HERE, || NOW).unwrap();
            assert_eq!((found.id, found.per_minute), (key.id, NonZeroU32::new(7)));
        }
        assert_eq!(
            held(&keys, authorization(&format!("Bearer {}", key.text)), &state),
            Some(key.id)
        );
        // Another key's secret under this key's id, and this secret under another id.
        let other = NewKey::make().unwrap();
        let mixed = format!("{}{}", &key.text[..16], &other.text[16..]);
        let swapped = format!("{}{}", &other.text[..16], &key.text[16..]);
        for wrong in [other.text.as_str(), &mixed, &swapped, &key.text[..63]] {
            assert_eq!(held(&keys, internal(wrong), &state), None, "{wrong}");
        }
    }
}

#[test]
fn a_revoked_key_is_unknown_at_once() {
    let (keys, key) = (configured(), NewKey::make().unwrap());
    let mut state = stored(&key, |_| {});
    assert_eq!(held(&keys, internal(&key.text), &state), Some(key.id));
    assert!(state.put(&subject(&key), None));
    assert_eq!(held(&keys, internal(&key.text), &state), None);
    // The same id with another secret, as if it had been made anew.
    let anew = stored(&key, |body| body.digest = SecretDigest::of(b"another"));
    assert_eq!(held(&keys, internal(&key.text), &anew), None);
}

#[test]
fn an_expired_key_and_one_from_elsewhere_are_unknown() {
    let (keys, key) = (configured(), NewKey::make().unwrap());
    let later = Some(Timestamp::from_millis(1_001));
    assert_eq!(
        held(&keys, internal(&key.text), &stored(&key, |body| body.expires_at = later)),
        Some(key.id)
    );
    let state = stored(&key, |body| body.expires_at = later);
    let then = keys.held(internal(&key.text), &state, HERE, || Timestamp::from_millis(1_001));
    assert_eq!(then, Err(NoKey::Expired), "its time is over, whether or not it was taken out");
    for (networks, good) in [
        (&["203.0.113.0/24"][..], true),
        (&["10.0.0.0/8", "203.0.113.7"], true),
        (&["203.0.113.8"], false),
        (&["2001:db8::/32", "::/0"], false),
    ] {
        let networks = networks.iter().map(|text| network(text).unwrap()).collect();
        let state = stored(&key, |body| body.networks = networks);
        let found = keys.held(internal(&key.text), &state, HERE, || NOW).map(|held| held.id);
        assert_eq!(found, good.then_some(key.id).ok_or(NoKey::Elsewhere));
    }
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
    let shown = format!("{:?} {:?}", configured(), SecretDigest::of(SECRET.as_bytes()));
    assert!(!shown.contains(SECRET));
    assert_eq!(shown, "InternalKey(Some([hidden])) [hidden]");
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
        prop_assert_eq!(known(&configured(), presented), None);
    }
}

#[test]
fn a_key_names_its_id_and_is_never_the_same() {
    let [one, other] = [NewKey::make().unwrap(), NewKey::make().unwrap()];
    assert_eq!(id_in(one.text.as_bytes()), Some(one.id));
    assert_eq!(one.text.len(), 64);
    assert!(one.id != other.id && one.text != other.text && one.digest != other.digest);
    assert!(one.digest.matches(one.text.as_bytes()));
    assert!(!format!("{one:?}").contains(&one.text[16..]));
}

#[test]
fn what_has_not_the_form_names_nobody() {
    let key = NewKey::make().unwrap().text;
    let zero = format!("bw_000000000000_{}", &key[16..]);
    for text in ["", "bw_", &key[..63], &format!("{key}0"), &key[1..], &zero, &key.to_uppercase()] {
        assert_eq!(id_in(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_digest_is_written_and_read_and_its_fingerprint_is_short() {
    let digest = SecretDigest::of(b"secret");
    assert_eq!(SecretDigest::try_from(String::from(digest)), Ok(digest));
    for bad in ["", "00", &"g".repeat(64), &"+".repeat(64), &"0".repeat(65)] {
        assert!(SecretDigest::try_from(bad.to_owned()).is_err(), "{bad}");
    }
    assert_eq!(digest.fingerprint().len(), 2);
    let words = 0..2_560_u32;
    let fit = words
        .filter(|word| SecretDigest::of(&word.to_be_bytes()).fingerprint() == digest.fingerprint());
    assert!(fit.count() > 1, "it proves nothing");
}
