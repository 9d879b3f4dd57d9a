//! Keys as their holders know them, and what is kept of them.
//!
//! Owns: the form `bw_ID_SECRET` (a prefix that secret scanners can be taught, the id, 192 random
//! bits), and digests. A digest is SHA-256 and not one of the slow hashes made for passwords: those
//! make each guess of a human's word dear, and there is no guessing 192 random bits; a slow one would
//! cost the gateway at every first use, and be a way to keep it busy. Refuses: to show a secret twice,
//! or to make one without randomness.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::limits::KeyId;

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

fn hex(bytes: &[u8]) -> String {
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
    ///
    /// # Errors
    /// The operating system has no randomness to give.
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
mod tests {
    use super::*;

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
        for text in
            ["", "bw_", &key[..63], &format!("{key}0"), &key[1..], &zero, &key.to_uppercase()]
        {
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
        let fit = words.filter(|word| {
            SecretDigest::of(&word.to_be_bytes()).fingerprint() == digest.fingerprint()
        });
        assert!(fit.count() > 1, "it proves nothing");
    }
}
