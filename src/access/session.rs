//! Sessions of the admin's page: what a browser holds in place of the key.
//!
//! Owns: the keys of admins and what each may do; the text of the cookie, which says until when and for what it is good and is signed with HMAC;
//! the token of a link that begins one session; and which of both were revoked. The secret is made at the first login and ends with the process, so a
//! restart ends every session: nothing about them has to be stored, no revoked one comes back, and
//! nobody who gets hold of a cookie can try keys against it. Refuses: every text that is not one of its own, that
//! has expired or was revoked, all in the same way; and to make one without randomness.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::keys::{AccessSettings, SecretDigest, hex};
use crate::clock::Timestamp;
use crate::config::Secret;

/// How long a session lasts: a day's work.
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a link that signs in may wait to be opened.
pub const LINK_LASTS: Duration = Duration::from_secs(5 * 60);
/// What the token of a link begins with, so that it is no cookie and a cookie is no token.
const LINK: &str = "link.";
/// Revoked sessions that are remembered until they expire. When there are more, all sessions end.
const MOST_REVOKED: usize = 10_000;
/// Longest text that is looked at.
const LONGEST: usize = 200;

/// What the holder of a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Full,
    /// Look, and change nothing.
    Read,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Read => "read",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Full, Self::Read].into_iter().find(|role| role.as_str() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    role: Role,
    number: u64,
    until: Timestamp,
}

/// The keys that open the admin endpoints.
#[derive(Debug, Default)]
pub struct AdminKeys {
    pub full: Option<SecretDigest>,
    /// May look and change nothing.
    pub read: Option<SecretDigest>,
    /// Of browsers that logged in with one of them.
    pub sessions: Sessions,
}

impl AdminKeys {
    pub fn of(settings: &AccessSettings) -> Self {
        let digest = |key: &Option<Secret>| {
            key.as_ref().map(|key| SecretDigest::of(key.expose().as_bytes()))
        };
        Self {
            full: digest(&settings.admin_key),
            read: digest(&settings.readonly_key),
            sessions: Sessions::default(),
        }
    }

    /// What the holder of this key may do. Compares with both, whichever there are.
    pub fn role(&self, presented: &[u8]) -> Option<Role> {
        let is =
            |key: &Option<SecretDigest>| key.as_ref().is_some_and(|key| key.matches(presented));
        match (is(&self.full), is(&self.read)) {
            (true, _) => Some(Role::Full),
            (false, true) => Some(Role::Read),
            (false, false) => None,
        }
    }
}

type Signing = [u8; 32];

/// The text of a session: `role.until.number.signature`; that of a link begins with `link.`.
fn sign(secret: &Signing, kind: &str, session: Session) -> Option<String> {
    let Session { role, number, until } = session;
    let text = format!("{kind}{}.{}.{number:016x}", role.as_str(), until.as_millis());
    let mac = mac(secret, &text)?;
    Some(format!("{text}.{}", hex(&mac.finalize().into_bytes())))
}

/// The session of a text of this kind, if it was signed with the secret and has not expired.
fn verify(secret: &Signing, kind: &str, text: &str, now: Timestamp) -> Option<Session> {
    let (signed, signature) = text.rsplit_once('.').filter(|_| text.len() <= LONGEST)?;
    let signature = bytes(signature)?;
    mac(secret, signed)?.verify_slice(&signature).ok()?;
    let mut parts = signed.strip_prefix(kind)?.split('.');
    let session = Session {
        role: Role::of(parts.next()?)?,
        until: Timestamp::from_millis(parts.next()?.parse().ok()?),
        number: u64::from_str_radix(parts.next()?, 16).ok()?,
    };
    (now < session.until).then_some(session)
}

fn mac(secret: &Signing, text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

/// What these lower-case digits stand for.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

/// The sessions of this process.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<State>);

#[derive(Default)]
struct State {
    /// Made when it is needed first.
    secret: Option<Signing>,
    revoked: BTreeMap<u64, Timestamp>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("revoked", &self.revoked.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Begins a session; gives the text for the cookie.
    pub fn begin(&self, role: Role, now: Timestamp) -> Result<String, getrandom::Error> {
        self.signed("", role, now.plus(SESSION_LASTS))
    }

    /// Makes the token of a link that signs in once.
    pub fn link(&self, role: Role, now: Timestamp) -> Result<String, getrandom::Error> {
        self.signed(LINK, role, now.plus(LINK_LASTS))
    }

    /// The role that a link's token gives; it gives none a second time.
    pub fn redeem(&self, token: &str, now: Timestamp) -> Option<Role> {
        self.revoke_one(LINK, token, now)
    }

    fn signed(&self, kind: &str, role: Role, until: Timestamp) -> Result<String, getrandom::Error> {
        let mut number = [0; 8];
        getrandom::fill(&mut number)?;
        let state = &mut *self.lock();
        let secret = match state.secret {
            Some(secret) => secret,
            None => {
                let mut made = [0; 32];
                getrandom::fill(&mut made)?;
                *state.secret.insert(made)
            }
        };
        let number = u64::from_le_bytes(number);
        // HMAC takes secrets of every length.
        Ok(sign(&secret, kind, Session { role, number, until }).unwrap_or_default())
    }

    /// What the holder of this text may do; `None` if it is no session in force.
    pub fn role(&self, text: &str, now: Timestamp) -> Option<Role> {
        let state = self.lock();
        let session = verify(state.secret.as_ref()?, "", text, now)?;
        (!state.revoked.contains_key(&session.number)).then_some(session.role)
    }

    /// Ends a session.
    pub fn revoke(&self, text: &str, now: Timestamp) {
        self.revoke_one("", text, now);
    }

    /// The role of what was in force until now.
    fn revoke_one(&self, kind: &str, text: &str, now: Timestamp) -> Option<Role> {
        let state = &mut *self.lock();
        let session = verify(state.secret.as_ref()?, kind, text, now)?;
        state.revoked.retain(|_, until| now < *until);
        let was_in_force = state.revoked.insert(session.number, session.until).is_none();
        if state.revoked.len() > MOST_REVOKED {
            *state = State::default();
        }
        was_in_force.then_some(session.role)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_796_000_000_000)
    }

    #[test]
    fn a_session_is_good_until_it_expires() {
        let sessions = Sessions::default();
        for role in [Role::Full, Role::Read] {
            let text = sessions.begin(role, now()).unwrap();
            let until = now().plus(SESSION_LASTS);
            assert_eq!(sessions.role(&text, now()), Some(role));
            assert_eq!(sessions.role(&text, until.minus(Duration::from_millis(1))), Some(role));
            assert_eq!(sessions.role(&text, until), None);
        }
    }

    #[test]
    fn a_revoked_one_is_none_and_others_stay() {
        let sessions = Sessions::default();
        let [one, other] = [(); 2].map(|()| sessions.begin(Role::Full, now()).unwrap());
        sessions.revoke(&one, now());
        sessions.revoke("nonsense", now());
        assert_eq!(sessions.role(&one, now()), None);
        assert_eq!(sessions.role(&other, now()), Some(Role::Full));
    }

    #[test]
    fn a_link_gives_its_role_once_and_in_time() {
        let sessions = Sessions::default();
        let made = |role| sessions.link(role, now()).unwrap();
        let [full, read, late] = [Role::Full, Role::Read, Role::Full].map(made);
        assert_eq!(sessions.redeem(&full, now()), Some(Role::Full));
        assert_eq!(sessions.redeem(&full, now()), None);
        assert_eq!(sessions.redeem(&read, now()), Some(Role::Read));
        assert_eq!(sessions.redeem(&late, now().plus(LINK_LASTS)), None);
        assert_eq!(sessions.redeem(&late.replacen("full", "read", 1), now()), None);
        // A link is no cookie, and a cookie is no link.
        let cookie = sessions.begin(Role::Full, now()).unwrap();
        assert_eq!(sessions.role(&late, now()), None);
        for text in [&cookie, &format!("link.{cookie}"), "", "link.", "link.full.1.1."] {
            assert_eq!(sessions.redeem(text, now()), None, "{text}");
        }
        assert_eq!(sessions.role(&cookie, now()), Some(Role::Full));
    }

    #[test]
    fn nothing_that_was_touched_is_a_session() {
        let sessions = Sessions::default();
        let good = sessions.begin(Role::Read, now()).unwrap();
        let more = good.replacen("read", "full", 1);
        let later = good.replacen("179", "279", 1);
        let foreign = Sessions::default().begin(Role::Full, now()).unwrap();
        for text in [&more, &later, &foreign, "", ".", "...", "full.1.1.", &"a.".repeat(1_000)] {
            assert_eq!(sessions.role(text, now()), None, "{text}");
        }
        for at in 0..good.len() {
            let mut touched = good.clone().into_bytes();
            touched[at] ^= 1;
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(sessions.role(&touched, now()), None, "{touched}");
            assert_eq!(sessions.role(&good[..at], now()), None);
        }
        assert_eq!(Sessions::default().role(&good, now()), None, "a restart ends all");
    }

    #[test]
    fn revocations_are_bounded_and_too_many_end_all() {
        let sessions = Sessions::default();
        let kept = sessions.begin(Role::Full, now()).unwrap();
        for _ in 0..=MOST_REVOKED {
            let text = sessions.begin(Role::Full, now()).unwrap();
            sessions.revoke(&text, now());
            assert_eq!(sessions.role(&text, now()), None);
        }
        assert!(sessions.lock().revoked.len() <= MOST_REVOKED);
        assert_eq!(sessions.role(&kept, now()), None);
    }
}
