//! The settings of products: the AliExpress accounts, lifetimes by kind, the last resort.
//!
//! Owns: their declaration, and the form of the list of further accounts. Refuses: half of an account,
//! an account named twice, and tracking ids that nothing would send.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::aliexpress::Target;
use super::aliexpress::terms::{Currency, Language};
use super::forms::codes;
use super::last_resort::LastResort;
use crate::cache::CacheSettings;
use crate::cache::settings::LIFETIME;
use crate::config::kinds::{
    FILE_PATH, Kind, Optional, Refusal, SECRET_WORD, SWITCH, Text, WEB_ADDRESS, WORD, quoted,
};
use crate::config::{Mistakes, Secret, Section, Settings};
use crate::settings;

#[derive(Debug, Clone)]
pub struct Setup {
    /// What a query that does not say gets.
    pub target: Target,
    /// What to answer from when everything else has failed.
    pub last_resort: Option<Arc<LastResort>>,
    /// Longest time of a load that no client waits for.
    pub within: Duration,
}

/// How long answers are fresh.
#[derive(Debug, Clone)]
pub struct Ttls {
    pub cache: CacheSettings,
    pub kinds: ProductSettings,
}

impl Ttls {
    pub fn of(settings: &Settings) -> Self {
        Self { cache: settings.of(), kinds: settings.of() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub app_key: String,
    pub app_secret: Secret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub credentials: Credentials,
    /// What it sends in place of the shop's own tracking id; `None`: the shop's own.
    pub tracking_id: Option<String>,
}

const LANGUAGE: Text<Language> = Text {
    expected: || format!("one of {}", codes(Language::ALL, Language::code)),
    read: |text| Language::parse(text).ok_or(None),
    show: |language| language.code().to_owned(),
    quote: quoted,
};
const CURRENCY: Text<Currency> = Text {
    expected: || format!("one of {}", codes(Currency::REQUESTABLE, Currency::code)),
    read: |text| Currency::requestable(text).ok_or(None),
    show: |currency| currency.code().to_owned(),
    quote: quoted,
};

settings! {
    pub struct AliExpressSettings in "upstream" {
        app_key: Option<String> = None, "ALIEXPRESS_APP_KEY", "app_key", Optional(WORD),
            "key of the AliExpress account; without any account the simulator inside answers", live();
        app_secret: Option<Secret> = None, "ALIEXPRESS_APP_SECRET", "app_secret",
            Optional(SECRET_WORD), "secret of the AliExpress account", live();
        tracking_id: Option<String> = None, "ALIEXPRESS_TRACKING_ID", "tracking_id",
            Optional(WORD), "tracking id of affiliate links";
        further: Vec<Account> = Vec::new(), "ALIEXPRESS_ACCOUNTS_JSON", "accounts", AccountList,
            "further accounts; all are used in turn. In the file a table [[upstream.accounts]] each", live();
        gateway_url: String = "https://api-sg.aliexpress.com/sync".to_owned(),
            "ALIEXPRESS_GATEWAY_URL", "gateway_url", WEB_ADDRESS, "address of the AliExpress gateway", live();
        propagate_trace: bool = false, "ALIEXPRESS_PROPAGATE_TRACE", "propagate_trace", SWITCH,
            "send traceparent and tracestate to that address: only where it is the shop's own", live();
        language: Language = Language::EN, "ALIEXPRESS_LANGUAGE", "language", LANGUAGE,
            "language of answers where a request names none";
        currency: Currency = Currency::USD, "ALIEXPRESS_CURRENCY", "currency", CURRENCY,
            "currency of prices where a request names none";
    }
}

impl AliExpressSettings {
    /// All accounts, in the order of their use; none means: start the simulator inside.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        let first = self.app_key.clone().zip(self.app_secret.clone());
        let first = first.map(|(app_key, app_secret)| Account {
            credentials: Credentials { app_key, app_secret },
            tracking_id: None,
        });
        first.into_iter().chain(self.further.iter().cloned()).collect()
    }
}

impl Section for AliExpressSettings {
    /// The simulator inside is there from the start, or not at all.
    fn can_become(&self, next: &Self) -> bool {
        self.accounts().is_empty() == next.accounts().is_empty()
    }

    fn caution(&self) -> Option<String> {
        (self.app_key.is_some() && self.tracking_id.is_none()).then(|| {
            "ALIEXPRESS_TRACKING_ID is not set: products have no affiliate address, and none can be made"
                .to_owned()
        })
    }

    fn check(&self, settings: &Settings, mistakes: &mut Mistakes) {
        let mut want = |missing: &str, present: &str, rule: &str| {
            mistakes.add(missing, None, format!("a value, because {present} is set; {rule}"));
        };
        let is_set = |variable| settings.is_set(variable);
        const LIST: &str = "ALIEXPRESS_ACCOUNTS_JSON";
        match (is_set("ALIEXPRESS_APP_KEY"), is_set("ALIEXPRESS_APP_SECRET")) {
            (true, false) => want("ALIEXPRESS_APP_SECRET", "ALIEXPRESS_APP_KEY", "both or neither"),
            (false, true) => want("ALIEXPRESS_APP_KEY", "ALIEXPRESS_APP_SECRET", "both or neither"),
            (false, false) if !self.further.is_empty() => {
                want("ALIEXPRESS_APP_KEY", LIST, "the list holds further accounts");
            }
            (true, true) | (false, false) => {}
        }
        // Requests carry the shop's own tracking id, and an account only puts its own in that place.
        let own = self.further.iter().position(|account| account.tracking_id.is_some());
        if let Some(index) = own.filter(|_| !is_set("ALIEXPRESS_TRACKING_ID")) {
            let present = format!("{LIST} [{index}].tracking_id");
            want("ALIEXPRESS_TRACKING_ID", &present, "it is sent in place of this one");
        }
        // One account listed twice would be called at twice its pace.
        let is_first =
            |account: &Account| Some(&account.credentials.app_key) == self.app_key.as_ref();
        if let Some(index) = self.further.iter().position(is_first) {
            let expected = format!("[{index}].app_key to differ from ALIEXPRESS_APP_KEY");
            mistakes.add(LIST, None, expected);
        }
    }
}

/// Accounts as a JSON list of objects.
struct AccountList;

/// One account for each name that metrics and the admin's breakers know.
const MOST_FURTHER: usize = 3;
const FIELDS: [&str; 3] = ["app_key", "app_secret", "tracking_id"];

impl Kind for AccountList {
    type Value = Vec<Account>;

    fn expected(&self) -> String {
        format!(
            "a JSON list of up to {MOST_FURTHER} objects with app_key, app_secret and, if wanted, tracking_id"
        )
    }

    fn read(&self, text: &str) -> Result<Vec<Account>, Refusal> {
        if text == "none" {
            return Ok(Vec::new());
        }
        let Ok(Value::Array(items)) = serde_json::from_str(text) else { return Err(None) };
        if items.len() > MOST_FURTHER {
            return Err(None);
        }
        let mut accounts: Vec<Account> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Value::Object(fields) = item else {
                return Err(Some(format!("[{index}] is no object")));
            };
            let account = account(fields).map_err(|wrong| Some(format!("[{index}].{wrong}")))?;
            let key = &account.credentials.app_key;
            if accounts.iter().any(|other| other.credentials.app_key == *key) {
                return Err(Some(format!("[{index}].app_key is that of another account")));
            }
            accounts.push(account);
        }
        Ok(accounts)
    }

    fn show(&self, accounts: &Vec<Account>) -> Option<String> {
        let shown = |account: &Account| {
            let mut fields = Map::new();
            fields.insert("app_key".into(), account.credentials.app_key.clone().into());
            fields.insert(
                "app_secret".into(),
                SECRET_WORD.show(&account.credentials.app_secret).into(),
            );
            if let Some(id) = &account.tracking_id {
                fields.insert("tracking_id".into(), id.clone().into());
            }
            Value::Object(fields)
        };
        let shown: Vec<_> = accounts.iter().map(shown).collect();
        (!shown.is_empty()).then(|| Value::Array(shown).to_string())
    }

    fn quote(&self, text: &str) -> String {
        SECRET_WORD.quote(text)
    }
}

/// One account; else the field and what is wrong with it.
fn account(fields: &Map<String, Value>) -> Result<Account, String> {
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("{unknown} is no field of an account"));
    }
    let word = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => match WORD.read(text.trim()) {
            Ok(word) => Ok(Some(word)),
            Err(_) => Err(format!("{name} is not {}", WORD.expected())),
        },
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("{name} is no text")),
    };
    let needed = |name: &str| word(name)?.ok_or_else(|| format!("{name} is missing"));
    let app_key = needed("app_key")?;
    let app_secret = Secret::new(needed("app_secret")?);
    let credentials = Credentials { app_key, app_secret };
    Ok(Account { credentials, tracking_id: word("tracking_id")? })
}

settings! {
    #[derive(Eq)]
    pub struct ProductSettings in "cache" {
        product_ttl: Duration = Duration::from_secs(86_400), "CACHE_TTL_PRODUCT", "ttl_product",
            LIFETIME, "seconds fresh: product details", follows("CACHE_TTL"), live();
        link_ttl: Duration = Duration::from_secs(2_592_000), "CACHE_TTL_LINK", "ttl_link", LIFETIME,
            "seconds fresh: affiliate links", follows("CACHE_TTL"), live();
        search_ttl: Duration = Duration::from_secs(3_600), "CACHE_TTL_SEARCH", "ttl_search",
            LIFETIME, "seconds fresh: search results", follows("CACHE_TTL"), live();
        hot_ttl: Duration = Duration::from_secs(1_800), "CACHE_TTL_HOT", "ttl_hot", LIFETIME,
            "seconds fresh: hot products", follows("CACHE_TTL"), live();
        category_ttl: Duration = Duration::from_secs(604_800), "CACHE_TTL_CATEGORY", "ttl_category",
            LIFETIME, "seconds fresh: categories", follows("CACHE_TTL"), live();
        last_resort_catalog: Option<PathBuf> = None, "LAST_RESORT_CATALOG", "last_resort_catalog",
            Optional(FILE_PATH),
            "a catalogue (.jsonl or .jsonl.gz) to answer from, marked as such and never stored, when every tier and the upstream have failed";
    }
}

impl Section for ProductSettings {
    fn probe(&self, mistakes: &mut Mistakes) {
        if let Some(path) = &self.last_resort_catalog
            && let Err(error) = LastResort::load(path)
        {
            let expected = format!("a catalogue with at least one good line ({error})");
            mistakes.add("LAST_RESORT_CATALOG", Some(path.display().to_string()), expected);
        }
    }
}

impl ProductSettings {
    /// The longest fresh time of anything kept.
    #[must_use]
    pub fn longest_ttl(&self) -> Duration {
        let kinds =
            [self.product_ttl, self.link_ttl, self.search_ttl, self.hot_ttl, self.category_ttl];
        kinds.into_iter().max().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
