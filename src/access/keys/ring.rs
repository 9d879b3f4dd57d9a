//! Whose key a request presents.
//!
//! Owns: the internal key, and a bounded memory of the digests of keys in use, so that they are not
//! hashed again with every request. It remembers digests and not whose they are: a key that was
//! revoked, has expired or was changed is looked up as it is now, and forgotten. Refuses: whatever is not a known
//! key, always in the same way and after the same work, so that nobody learns whether a key exists or
//! how much of a guess was right: secrets are compared as digests, in constant time, also against
//! nobody's. Unknown keys are not remembered: a flood of guesses cannot push the real ones out.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use cached::ShardedLruCache;
use subtle::ConstantTimeEq;

use super::secret::{LONGEST_KEY_BYTES, SecretDigest, id_in};
use crate::access::snapshot::Snapshot;
use crate::clock::Timestamp;
use crate::config::{self, Secret};
use crate::limits::KeyId;

/// Known keys remembered at most.
const REMEMBERED: usize = 10_000;

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

/// A key that a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: KeyId,
    /// Its own limit in each class of routes, if it has one.
    pub per_minute: Option<NonZeroU32>,
}

/// A known key that was presented before.
struct Remembered {
    key: Box<[u8]>,
    digest: SecretDigest,
}

/// The internal key, and a memory of digests.
pub struct KeyRing {
    internal: Option<SecretDigest>,
    /// By a hash under a key of its own; the presented key itself is compared in constant time.
    /// `None` if it could not be allocated: then every lookup hashes.
    seen: Option<ShardedLruCache<u64, Arc<Remembered>>>,
    hasher: RandomState,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("internal", &self.internal).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The ring that the settings describe: the internal key if there is one. White space around
    /// it does not count, as in what is presented; an empty one is none.
    #[must_use]
    pub fn from_settings(access: &config::Access) -> Self {
        let internal = access.internal_key.as_ref().map(Secret::expose).map(str::trim_ascii);
        let internal = internal.filter(|secret| !secret.is_empty());
        let internal = internal.map(|secret| SecretDigest::of(secret.as_bytes()));
        let seen = ShardedLruCache::<u64, Arc<Remembered>>::builder().max_size(REMEMBERED).build();
        Self { internal, seen: seen.ok(), hasher: RandomState::new() }
    }

    /// The first known key among those presented. A stored one is known while it is stored, has not
    /// expired and comes from where it may.
    #[must_use]
    pub fn held(
        &self,
        presented: PresentedKey<'_>,
        stored: &Snapshot,
        from: IpAddr,
        now: impl Fn() -> Timestamp,
    ) -> Option<Held> {
        if self.internal.is_none() && !stored.has_keys() {
            return None;
        }
        presented.candidates().find_map(|key| self.find(key, stored, from, &now))
    }

    fn find(
        &self,
        key: &[u8],
        stored: &Snapshot,
        from: IpAddr,
        now: &impl Fn() -> Timestamp,
    ) -> Option<Held> {
        if key.len() > LONGEST_KEY_BYTES {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let recalled = self.recall(hash, key);
        let digest = recalled.unwrap_or_else(|| SecretDigest::of(key));
        let held = self.holder(&digest, key, stored, from, now);
        let Some(seen) = &self.seen else { return held };
        if held.is_some() && recalled.is_none() {
            // What was there before under this hash is no longer needed.
            drop(seen.set(hash, Arc::new(Remembered { key: key.into(), digest })));
        } else if held.is_none() && recalled.is_some() {
            // It was good once, or is from elsewhere. The same work as for one that never was, now
            // and from now on.
            drop(seen.remove(&hash));
            std::hint::black_box(SecretDigest::of(key));
        }
        held
    }

    fn recall(&self, hash: u64, key: &[u8]) -> Option<SecretDigest> {
        let remembered = self.seen.as_ref()?.get(&hash)?;
        bool::from(remembered.key.ct_eq(key)).then_some(remembered.digest)
    }

    /// Compares with the internal key and with the one of the presented id, whether they are there or
    /// not.
    fn holder(
        &self,
        digest: &SecretDigest,
        key: &[u8],
        stored: &Snapshot,
        from: IpAddr,
        now: &impl Fn() -> Timestamp,
    ) -> Option<Held> {
        let named = id_in(key).and_then(|id| stored.key(id).map(|key| (id, key)));
        let of_named = named.map_or(SecretDigest::NOBODY, |(_, key)| key.digest);
        let internal = self.internal.unwrap_or(SecretDigest::NOBODY).equals(digest);
        let matches = of_named.equals(digest);
        if bool::from(internal) {
            return Some(Held { id: KeyId::INTERNAL, per_minute: None });
        }
        let (id, key) = named.filter(|_| bool::from(matches))?;
        let known = key.is_known_from(from, now);
        known.then_some(Held { id, per_minute: key.per_minute })
    }
}

#[cfg(test)]
pub(super) fn remembered(ring: &KeyRing) -> usize {
    ring.seen.as_ref().map_or(0, ShardedLruCache::len)
}
