//! `breakwater demo`: a gateway with the simulator behind it, clients inside, and an operator's page to
//! look at it.
//!
//! Owns: the settings of a demo, its folder, and what it says at the console. Nothing else of the
//! configuration counts, so no database, Redis or upstream of a shop is touched. Refuses: to start where
//! an account or the address of an upstream is configured. Listens on loopback alone.

pub mod shoppers;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use super::SCHEMA;
use crate::access::NewKey;
use crate::access::session::LINK_LASTS;
use crate::cli::Failure;
use crate::config::{Environment, Mistakes, Settings, resolve};

/// What would have a demo call, or pretend to be, a shop's real upstream.
const LIVE: [&str; 5] = [
    "ALIEXPRESS_APP_KEY",
    "ALIEXPRESS_APP_SECRET",
    "ALIEXPRESS_TRACKING_ID",
    "ALIEXPRESS_ACCOUNTS_JSON",
    "ALIEXPRESS_GATEWAY_URL",
];

/// Lifetimes are so short that calls to the upstream are seen, a breaker's rest is no longer than
/// somebody watches, and clients inside are told apart by the address that they name.
const OWN: [(&str, &str); 11] = [
    ("API_HOST", "127.0.0.1"),
    ("TRUSTED_PROXIES", "127.0.0.1"),
    ("CACHE_TTL", "20"),
    ("CACHE_TTL_SEARCH", "10"),
    ("CACHE_TTL_HOT", "10"),
    ("CACHE_TTL_PRODUCT", "15"),
    ("CACHE_TTL_LINK", "30"),
    ("CACHE_TTL_CATEGORY", "60"),
    ("BREAKER_OPEN_SECONDS", "5"),
    ("CHAOS_ENABLED", "true"),
    // The console is for the link.
    ("LOG_LEVEL", "error"),
];

/// What counts of the configuration.
const KEPT: [&str; 5] = ["API_PORT", "HTTP_WORKERS", "LOG_LEVEL", "LOG_FORMAT", "LOG_FILE"];

/// What a demo is run with.
pub(super) struct Demo {
    pub(super) settings: Settings,
    /// The admin's key of this run.
    key: String,
    _folder: Folder,
}

impl Demo {
    /// # Errors
    /// [`Mistakes`] when something live is configured; or there is no folder or no randomness.
    pub(super) fn new(configured: &Settings) -> Result<Self, Failure> {
        refuse_live(configured)?;
        let folder = Folder::new()?;
        let key = NewKey::make().map_err(|error| error.to_string())?.text;
        let database = format!("sqlite://{}", folder.0.join("demo.db").display());
        let made = [("DATABASE_URL", database.as_str()), ("ADMIN_API_KEY", key.as_str())];
        let all = OWN.into_iter().chain(configured.texts(&KEPT)).chain(made);
        let settings = resolve(SCHEMA, None, &Environment::from_iter(all))?;
        Ok(Self { settings, key, _folder: folder })
    }

    /// What is said once clients are served. `address` is the gateway's own, `token` that of the link.
    pub(super) fn greeting(&self, address: &str, token: &str) -> String {
        let (key, minutes) = (&self.key, LINK_LASTS.as_secs() / 60);
        format!(
            "The simulator is the upstream, and {} clients ask at most {} times a second.\n\
             The admin's key of this run is {key}\n\
             Open this link; it works once, within {minutes} minutes:\n\n  \
             {address}/admin#login={token}\n\n\
             Then press \"Upstream: 503\" under Actions, and watch that clients do not notice. Ctrl-C ends it.",
            shoppers::SHOPPERS,
            shoppers::MOST_PER_SECOND,
        )
    }
}

const NO_ACCOUNT: &str = "no account at all: a demo has a simulator as its upstream and never runs where one is \
                          configured; unset every ALIEXPRESS_ variable, and the same in the file";

fn refuse_live(configured: &Settings) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::default();
    for variable in LIVE.into_iter().filter(|variable| configured.is_set(variable)) {
        mistakes.add(variable, None, NO_ACCOUNT.to_owned());
    }
    if mistakes.all.is_empty() { Ok(()) } else { Err(mistakes) }
}

/// The mistakes of a configuration as a demo sees them: half an account is not to be completed.
pub(super) fn refused(mut mistakes: Mistakes) -> Mistakes {
    // No more are its cautions to be followed.
    mistakes.cautions.clear();
    for mistake in mistakes.all.iter_mut().filter(|one| LIVE.contains(&one.place.as_str())) {
        mistake.expected = NO_ACCOUNT.to_owned();
    }
    mistakes
}

/// Where the database of a run lies, for as long as it runs.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("breakwater-demo-{:016x}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is small, and in a folder for what is temporary.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseSettings;
    use crate::http::settings::Server;
    use crate::redis::RedisSettings;
    use crate::services::products::settings::AliExpressSettings;

    fn configured(set: &[(&str, &str)]) -> Settings {
        resolve(SCHEMA, None, &set.iter().copied().collect::<Environment>()).unwrap()
    }

    #[test]
    fn only_what_is_harmless_counts_of_the_configuration() {
        let demo = Demo::new(&configured(&[
            ("API_PORT", "9000"),
            ("API_HOST", "0.0.0.0"),
            ("DATABASE_URL", "sqlite:///shop/live.db"),
            ("REDIS_URL", "redis://shop"),
            ("ADMIN_API_KEY", "the-key-of-the-shop"),
        ]));
        let demo = demo.unwrap_or_else(|failure| panic!("{failure}"));
        let server: Server = demo.settings.of();
        assert_eq!((server.port, server.host.is_loopback()), (9000, true));
        assert!(demo.settings.of::<RedisSettings>().url.is_none());
        assert!(demo.settings.of::<AliExpressSettings>().accounts().is_empty());
        assert!(!demo.greeting("", "").contains("the-key-of-the-shop"));
        let path = demo.settings.of::<DatabaseSettings>().file();
        let folder = path.parent().unwrap().to_owned();
        assert!(folder.exists() && folder.starts_with(std::env::temp_dir()));
        drop(demo);
        assert!(!folder.exists());
    }

    #[test]
    fn whatever_is_live_is_named() {
        let set = [
            ("ALIEXPRESS_APP_KEY", "500001"),
            ("ALIEXPRESS_APP_SECRET", "do-not-show"),
            ("ALIEXPRESS_GATEWAY_URL", "https://example.com/sync"),
        ];
        let Err(failure) = Demo::new(&configured(&set)) else { panic!("it is refused") };
        let mistakes = failure.downcast_ref::<Mistakes>().unwrap().to_string();
        assert!(set.iter().all(|(name, _)| mistakes.contains(name)), "{mistakes}");
        assert!(!mistakes.contains("do-not-show"), "{mistakes}");
        // Half an account: nobody is told to set the other half.
        let half = [("ALIEXPRESS_APP_KEY", "500001")].into_iter().collect::<Environment>();
        let mistakes = refused(resolve(SCHEMA, None, &half).unwrap_err()).to_string();
        assert!(mistakes.contains("expected no account at all"), "{mistakes}");
        assert!(!mistakes.contains("both or neither") && !mistakes.contains("but: "), "{mistakes}");
    }
}
