//! The settings of keys.
//!
//! Owns: their declaration, and what makes an admin's key unwise.

use crate::config::kinds::{Optional, SecretWord, Switch};
use crate::config::{Secret, Section};
use crate::settings;

/// A key of an admin that is shorter can be found by trying.
const SHORTEST_ADMIN_KEY: usize = 16;

settings! {
    #[derive(Eq)]
    pub struct AccessSettings in "access" {
        admin_key: Option<Secret> = None, "ADMIN_API_KEY", "admin_key", Optional(SecretWord),
            "opens the admin endpoints; without it they are closed";
        internal_key: Option<Secret> = None, "INTERNAL_API_KEY", "internal_key",
            Optional(SecretWord), "a client key; more of them through the admin endpoints";
        require_key: bool = false, "REQUIRE_API_KEY", "require_key", Switch,
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
