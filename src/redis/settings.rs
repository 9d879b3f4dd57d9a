//! The settings of Redis.
//!
//! Owns: their declaration, and which of them belong together. Connects to nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::tls::TlsFiles;
use crate::config::kinds::{FILE_PATH, Kind, Optional, Refusal, millis, quoted_address};
use crate::config::{Mistakes, Secret, Section, Settings};
use crate::settings;

settings! {
    #[derive(Eq)]
    pub struct RedisSettings in "redis" {
        url: Option<Secret> = None, "REDIS_URL", "url", Optional(RedisAddress),
            "the second cache tier; without it there are two tiers";
        ca_file: Option<PathBuf> = None, "REDIS_CA_FILE", "ca_file", Optional(FILE_PATH),
            "certificates (PEM) of the authorities that vouch for Redis with TLS, instead of the public ones";
        cert_file: Option<PathBuf> = None, "REDIS_CERT_FILE", "cert_file", Optional(FILE_PATH),
            "certificate (PEM) that the gateway shows to Redis";
        key_file: Option<PathBuf> = None, "REDIS_KEY_FILE", "key_file", Optional(FILE_PATH),
            "its private key (PEM)";
        timeout: Duration = super::DEFAULT_TIMEOUT, "REDIS_TIMEOUT_MS", "timeout_ms",
            millis(1, 10_000), "how long Redis may take for one command, connecting included";
    }
}

impl RedisSettings {
    pub fn uses_tls(&self) -> bool {
        self.url.as_ref().is_some_and(|url| address::uses_tls(url.expose()))
    }

    pub fn tls_files(&self) -> TlsFiles {
        let Self { ca_file: ca, cert_file: certificate, key_file: key, .. } = self.clone();
        TlsFiles { ca, certificate, key }
    }
}

impl Section for RedisSettings {
    fn check(&self, _settings: &Settings, mistakes: &mut Mistakes) {
        const CERTIFICATE: &str = "REDIS_CERT_FILE";
        const KEY: &str = "REDIS_KEY_FILE";
        let mut want = |missing: &str, present: &str| {
            mistakes.add(
                missing,
                None,
                format!("a value, because {present} is set; both or neither"),
            );
        };
        match (self.cert_file.is_some(), self.key_file.is_some()) {
            (true, false) => want(KEY, CERTIFICATE),
            (false, true) => want(CERTIFICATE, KEY),
            (true, true) | (false, false) => {}
        }
        let files = [
            ("REDIS_CA_FILE", &self.ca_file),
            (CERTIFICATE, &self.cert_file),
            (KEY, &self.key_file),
        ];
        let is_plain = self.url.as_ref().is_some_and(|url| !address::uses_tls(url.expose()));
        for (setting, file) in files {
            if let (Some(file), true) = (file, is_plain) {
                let expected = "no value while REDIS_URL does not begin with rediss".to_owned();
                mistakes.add(setting, Some(file.display().to_string()), expected);
            }
        }
    }

    fn probe(&self, mistakes: &mut Mistakes) {
        if self.uses_tls()
            && let Err(bad) = self.tls_files().read()
        {
            mistakes.add(bad.setting, Some(bad.path.display().to_string()), bad.expected);
        }
    }
}

/// The address of a Redis server; hidden as a whole in `Debug`, without its password elsewhere.
struct RedisAddress;

impl Kind for RedisAddress {
    type Value = Secret;

    fn expected(&self) -> String {
        address::EXPECTED.to_owned()
    }

    fn read(&self, text: &str) -> Result<Secret, Refusal> {
        address::read(text).map(|_| Secret::new(text))
    }

    fn show(&self, value: &Secret) -> Option<String> {
        address::show(value.expose())
    }

    fn quote(&self, text: &str) -> String {
        quoted_address(text)
    }
}
