//! Whose key a request presents.
//!
//! Owns: where a key may stand in a request, and the settings of keys with the internal one. Refuses: whatever is
//! not a known key, always in the same way and after the same work, so that nobody learns whether a
//! key exists or how much of a guess was right: digests are compared in constant time, also with
//! nobody's.

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::secret::{LONGEST_KEY_BYTES, SecretDigest, id_in};
use super::table::State;
use crate::clock::Timestamp;
use crate::config::kinds::{Optional, SECRET_WORD, SWITCH};
use crate::config::{Secret, Section};
use crate::limits::KeyId;
use crate::settings;

/// A key of an admin that is shorter can be found by trying.
const SHORTEST_ADMIN_KEY: usize = 16;

settings! {
    #[derive(Eq)]
    pub struct AccessSettings in "access" {
        admin_key: Option<Secret> = None, "ADMIN_API_KEY", "admin_key", Optional(SECRET_WORD),
            "opens the admin endpoints; without it they are closed";
        internal_key: Option<Secret> = None, "INTERNAL_API_KEY", "internal_key",
            Optional(SECRET_WORD), "a client key; more of them through the admin endpoints";
        require_key: bool = false, "REQUIRE_API_KEY", "require_key", SWITCH,
            "refuses clients without a key";
    }
}

impl Section for AccessSettings {
    fn caution(&self) -> Option<String> {
        let key = self.admin_key.as_ref()?.expose();
        (key.chars().count() < SHORTEST_ADMIN_KEY).then(|| {
            format!(
                "ADMIN_API_KEY has fewer than {SHORTEST_ADMIN_KEY} characters, and may be guessed"
            )
        })
    }
}

/// The headers of a request in which a key may stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct PresentedKey<'a> {
    /// Value of `x-internal-key`.
    pub internal: Option<&'a [u8]>,
    /// Value of `Authorization`.
    pub authorization: Option<&'a [u8]>,
}

impl<'a> PresentedKey<'a> {
    /// The keys presented, `x-internal-key` first; white space around them does not count.
    fn candidates(self) -> impl Iterator<Item = &'a [u8]> {
        let internal = self.internal.map(<[u8]>::trim_ascii);
        let authorization = self.authorization.and_then(authorization_key);
        internal.into_iter().chain(authorization).filter(|key| !key.is_empty())
    }
}

/// The key in `Bearer KEY`, `ApiKey KEY` or just `KEY`; other schemes carry none of ours.
fn authorization_key(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let Some(space) = value.iter().position(u8::is_ascii_whitespace) else {
        return Some(value);
    };
    let (scheme, key) = value.split_at_checked(space)?;
    let ours = [b"bearer".as_slice(), b"apikey"];
    ours.iter().any(|name| scheme.eq_ignore_ascii_case(name)).then(|| key.trim_ascii())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub id: KeyId,
    /// Its own limit in each class of routes, if it has one.
    pub per_minute: Option<NonZeroU32>,
}

#[derive(Debug)]
pub(super) struct InternalKey(Option<SecretDigest>);

impl InternalKey {
    /// White space around the key does not count, as in what is presented; an empty one is none.
    pub(super) fn from_settings(access: &AccessSettings) -> Self {
        let secret = access.internal_key.as_ref().map(Secret::expose).map(str::trim_ascii);
        let secret = secret.filter(|secret| !secret.is_empty());
        Self(secret.map(|secret| SecretDigest::of(secret.as_bytes())))
    }

    /// The first known key among those presented. A stored one is known while it is stored, has not
    /// expired and comes from where it may.
    pub(super) fn held(
        &self,
        presented: PresentedKey<'_>,
        stored: &State,
        from: IpAddr,
        now: impl Fn() -> Timestamp,
    ) -> Option<Held> {
        if self.0.is_none() && stored.keys.is_empty() {
            return None;
        }
        presented.candidates().find_map(|key| self.holder(key, stored, from, &now))
    }

    /// Compares with the internal key and with the one of the presented id, whether they are there or
    /// not.
    fn holder(
        &self,
        key: &[u8],
        stored: &State,
        from: IpAddr,
        now: &impl Fn() -> Timestamp,
    ) -> Option<Held> {
        if key.len() > LONGEST_KEY_BYTES {
            return None;
        }
        let digest = SecretDigest::of(key);
        let named = id_in(key).and_then(|id| stored.keys.get(&id).map(|key| (id, key)));
        let of_named = named.map_or(SecretDigest::NOBODY, |(_, key)| key.digest);
        let internal = self.0.unwrap_or(SecretDigest::NOBODY).equals(&digest);
        let matches = of_named.equals(&digest);
        if bool::from(internal) {
            return Some(Held { id: KeyId::INTERNAL, per_minute: None });
        }
        let (id, key) = named.filter(|_| bool::from(matches))?;
        let here = key.networks.is_empty() || key.networks.iter().any(|net| net.contains(&from));
        let in_force = key.expires_at.is_none_or(|until| now() < until);
        (here && in_force).then_some(Held { id, per_minute: key.per_minute })
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
