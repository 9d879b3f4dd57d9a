//! Access keys: what a request presents and whose it is.
//!
//! Owns: the digests of the known keys and a bounded memory of those seen lately, so that a key in
//! use is not hashed again with every request. Refuses: whatever is not a known key, always in the
//! same way and after the same work, so that nobody learns whether a key exists or how much of a
//! guess was right. Secrets are compared as SHA-256 digests, in constant time. Unknown keys are
//! not remembered: a flood of guesses cannot push the real ones out. Has no neighbours.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use cached::ShardedLruCache;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::principal::KeyId;
use crate::config::Secret;

/// Longest key that is looked at; a longer one is unknown.
const LONGEST_KEY_BYTES: usize = 512;
/// Known keys remembered at most.
const REMEMBERED: usize = 10_000;

/// The SHA-256 digest of a secret, all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Whether `presented` is the secret, in a time that does not depend on either.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        presented.len() <= LONGEST_KEY_BYTES && self.equals(&Self::of(presented)).into()
    }

    fn equals(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
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

/// What a request may do by the key it presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It holds this key.
    Keyed(KeyId),
    /// It holds no known key and is counted by its address.
    Anonymous,
    /// It holds no known key, and one is required.
    Required,
}

/// A known key that was presented before.
struct Remembered {
    key: Box<[u8]>,
    id: KeyId,
}

/// The known keys.
pub struct KeyRing {
    known: Vec<(SecretDigest, KeyId)>,
    /// By a hash under a key of its own; the presented key itself is compared in constant time.
    /// `None` if it could not be allocated: then every lookup hashes.
    seen: Option<ShardedLruCache<u64, Arc<Remembered>>>,
    hasher: RandomState,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// A ring of these keys.
    #[must_use]
    pub fn new(known: Vec<(SecretDigest, KeyId)>) -> Self {
        let seen = ShardedLruCache::<u64, Arc<Remembered>>::builder().max_size(REMEMBERED).build();
        Self { known, seen: seen.ok(), hasher: RandomState::new() }
    }

    /// The ring that the settings describe: the internal key if there is one. White space around
    /// it does not count, as in what is presented; an empty one is none.
    #[must_use]
    pub fn from_settings(access: &crate::config::Access) -> Self {
        let internal = access.internal_key.as_ref().map(Secret::expose).map(str::trim_ascii);
        let internal = internal.filter(|secret| !secret.is_empty());
        let digest = internal.map(|secret| SecretDigest::of(secret.as_bytes()));
        Self::new(digest.map(|digest| (digest, KeyId::INTERNAL)).into_iter().collect())
    }

    /// What the request may do. The first known key among those presented counts.
    #[must_use]
    pub fn access(&self, presented: PresentedKey<'_>, require_key: bool) -> Access {
        match presented.candidates().find_map(|key| self.find(key)) {
            Some(id) => Access::Keyed(id),
            None if require_key => Access::Required,
            None => Access::Anonymous,
        }
    }

    fn find(&self, key: &[u8]) -> Option<KeyId> {
        if key.len() > LONGEST_KEY_BYTES || self.known.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        if let Some(id) = self.recall(hash, key) {
            return Some(id);
        }
        let id = self.search(&SecretDigest::of(key))?;
        if let Some(seen) = &self.seen {
            // What was there before under this hash is no longer needed.
            drop(seen.set(hash, Arc::new(Remembered { key: key.into(), id })));
        }
        Some(id)
    }

    fn recall(&self, hash: u64, key: &[u8]) -> Option<KeyId> {
        let remembered = self.seen.as_ref()?.get(&hash)?;
        bool::from(remembered.key.ct_eq(key)).then_some(remembered.id)
    }

    /// Compares with every known key, also after a match.
    fn search(&self, digest: &SecretDigest) -> Option<KeyId> {
        let mut found = Choice::from(0);
        let mut place = 0_u64;
        for (index, (known, _)) in (0_u64..).zip(&self.known) {
            let equal = known.equals(digest);
            place.conditional_assign(&index, equal);
            found |= equal;
        }
        let place = usize::try_from(place).ok()?;
        bool::from(found).then(|| self.known.get(place)).flatten().map(|(_, id)| *id)
    }
}
