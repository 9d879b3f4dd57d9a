//! Whose key a request presents.
//!
//! Owns: where a key may stand in a request, and the settings of keys with the internal one; the form
//! `bw_ID_SECRET` (a prefix that secret scanners can be taught, the id, 192 random bits), and digests. A
//! digest is SHA-256 and not one of the slow hashes made for passwords: nobody guesses 192 random bits,
//! and a slow hash would be a way to keep the gateway busy. Refuses: whatever is not a known key, always
//! in the same way and after the same work, so that nobody learns whether a key exists or how much of a
//! guess was right; to show a secret twice, or to make one without randomness. Who shows the whole of a known
//! key knows it already, and is told that it expired or is used from elsewhere.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::table::State;
use crate::clock::Timestamp;
use crate::config::kinds::{Optional, SECRET_WORD, SWITCH};
use crate::config::{Mistakes, Secret, Section, Settings};
use crate::limits::KeyId;
use crate::settings;

/// A key of an admin that is shorter can be found by trying.
const SHORTEST_ADMIN_KEY: usize = 16;

settings! {
    #[derive(Eq)]
    pub struct AccessSettings in "access" {
        admin_key: Option<Secret> = None, "ADMIN_API_KEY", "admin_key", Optional(SECRET_WORD),
            "opens the admin endpoints; without it they are closed";
        readonly_key: Option<Secret> = None, "ADMIN_READONLY_KEY", "readonly_key",
            Optional(SECRET_WORD), "an admin's key that may look and change nothing";
        internal_key: Option<Secret> = None, "INTERNAL_API_KEY", "internal_key",
            Optional(SECRET_WORD), "a client key; more of them through the admin endpoints";
        require_key: bool = false, "REQUIRE_API_KEY", "require_key", SWITCH,
            "refuses clients without a key; health, metrics and the documents stay open";
    }
}

impl Section for AccessSettings {
    fn check(&self, _: &Settings, mistakes: &mut Mistakes) {
        if self.readonly_key.is_some() && self.readonly_key == self.admin_key {
            let expected = "another key than ADMIN_API_KEY".to_owned();
            mistakes.add("ADMIN_READONLY_KEY", None, expected);
        }
    }

    fn caution(&self) -> Option<String> {
        let keys = [("ADMIN_API_KEY", &self.admin_key), ("ADMIN_READONLY_KEY", &self.readonly_key)];
        let is_short = |key: &Secret| key.expose().chars().count() < SHORTEST_ADMIN_KEY;
        let short = keys.iter().find(|(_, key)| key.as_ref().is_some_and(is_short));
        let short = short.map(|(name, _)| {
            format!("{name} has fewer than {SHORTEST_ADMIN_KEY} characters, and may be guessed")
        });
        let shared = keys.iter().find(|(_, key)| key.is_some() && **key == self.internal_key);
        let shared = shared.map(|(name, _)| {
            format!("INTERNAL_API_KEY is the same as {name}: every client that has it is an admin")
        });
        let none = self.require_key && self.internal_key.is_none() && self.admin_key.is_none();
        let none = none.then(|| {
            "REQUIRE_API_KEY is on, and neither INTERNAL_API_KEY nor ADMIN_API_KEY is set: only keys that \
             the database holds already are let in, and none can be made"
                .to_owned()
        });
        let all: Vec<_> = [short, shared, none].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
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

/// Why a request holds no key; of several keys the reason that says most counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoKey {
    #[default]
    Missing,
    /// Wrong, revoked, or never there.
    Unknown,
    Expired,
    /// It is bound to addresses, and this is none of them or in doubt.
    Elsewhere,
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
    ) -> Result<Held, NoKey> {
        let mut why = NoKey::Missing;
        for key in presented.candidates() {
            match self.holder(key, stored, from, &now) {
                Ok(held) => return Ok(held),
                Err(reason) => why = why.max(reason),
            }
        }
        Err(why)
    }

    /// Compares with the internal key and with the one of the presented id, whether they are there or
    /// not.
    fn holder(
        &self,
        key: &[u8],
        stored: &State,
        from: IpAddr,
        now: &impl Fn() -> Timestamp,
    ) -> Result<Held, NoKey> {
        let is_any_known = self.0.is_some() || !stored.keys.is_empty();
        if key.len() > LONGEST_KEY_BYTES || !is_any_known {
            return Err(NoKey::Unknown);
        }
        let digest = SecretDigest::of(key);
        let named = id_in(key).and_then(|id| stored.keys.get(&id).map(|key| (id, key)));
        let of_named = named.map_or(SecretDigest::NOBODY, |(_, key)| key.digest);
        let internal = self.0.unwrap_or(SecretDigest::NOBODY).equals(&digest);
        let matches = of_named.equals(&digest);
        if bool::from(internal) {
            return Ok(Held { id: KeyId::INTERNAL, per_minute: None });
        }
        let (id, key) = named.filter(|_| bool::from(matches)).ok_or(NoKey::Unknown)?;
        if key.expires_at.is_some_and(|until| until <= now()) {
            return Err(NoKey::Expired);
        }
        let here = key.networks.is_empty() || key.networks.iter().any(|net| net.contains(&from));
        here.then_some(Held { id, per_minute: key.per_minute }).ok_or(NoKey::Elsewhere)
    }
}

const PREFIX: &str = "bw_";
const SECRET_BYTES: usize = 24;
/// Longest key that is looked at; a longer one is unknown.
pub(super) const LONGEST_KEY_BYTES: usize = 512;

/// The SHA-256 digest of a secret, all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of no known secret, for the work that must be done all the same.
    pub(super) const NOBODY: Self = Self([0; 32]);

    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Whether `presented` is the secret, in a time that does not depend on either.
    pub fn matches(&self, presented: &[u8]) -> bool {
        presented.len() <= LONGEST_KEY_BYTES && self.equals(&Self::of(presented)).into()
    }

    pub(super) fn equals(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// Two digits by which people see that a secret is not the one before, most likely. A dictionary
    /// tried against them leaves one word in 256, and proves none; more digits would prove it.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(b"breakwater fingerprint ");
        digest.update(self.0);
        let mut text = hex(&digest.finalize());
        text.truncate(2);
        text
    }
}

/// As it is stored.
impl From<SecretDigest> for String {
    fn from(digest: SecretDigest) -> Self {
        hex(&digest.0)
    }
}

impl TryFrom<String> for SecretDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const REFUSED: &str = "not 64 hexadecimal digits";
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(REFUSED);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| REFUSED)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| REFUSED)?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok());
        text
    })
}

pub struct NewKey {
    pub id: KeyId,
    /// The whole of it, for its holder.
    pub text: String,
    /// What is kept.
    pub digest: SecretDigest,
}

impl NewKey {
    /// Makes one from what the operating system calls random.
    pub fn make() -> Result<Self, getrandom::Error> {
        let random = || {
            let mut bytes = [0; SECRET_BYTES];
            getrandom::fill(&mut bytes)?;
            Ok::<_, getrandom::Error>(bytes)
        };
        let id = random()?.iter().fold(0_u64, |id, byte| id << 8 | u64::from(*byte));
        // One in 2^48 would be the internal key's.
        let id = Some(KeyId::new(id)).filter(|id| *id != KeyId::INTERNAL).unwrap_or(KeyId::new(1));
        let text = format!("{PREFIX}{id}_{}", hex(&random()?));
        let digest = SecretDigest::of(text.as_bytes());
        Ok(Self { id, text, digest })
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id in what is presented as a key, if it has the form of one.
pub(super) fn id_in(presented: &[u8]) -> Option<KeyId> {
    let rest = presented.strip_prefix(PREFIX.as_bytes())?;
    let (id, secret) = rest.split_at_checked(12)?;
    let whole = secret.len() == 1 + 2 * SECRET_BYTES && secret.starts_with(b"_");
    let id = std::str::from_utf8(id).ok().filter(|_| whole)?;
    id.parse().ok().filter(|id| *id != KeyId::INTERNAL)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
