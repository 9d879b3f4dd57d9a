//! For whom an answer is made: destination, currency and language.
//!
//! Owns: the three fields that most forms share, and their defaults. Refuses: what the upstream does
//! not know. Has no neighbours.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::aliexpress::methods::Target;
use super::aliexpress::terms::{Currency, Language};
use crate::http::forms::{Check, RawForm};

/// For whom an answer is made, as a client says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct TargetForm {
    /// Country shipped to, two letters.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z]{2}$", example = "US")]
    pub ship_to_country: Option<Value>,
    /// Currency of prices and of price bounds.
    #[schema(value_type = Option<Currency>)]
    pub currency: Option<Value>,
    /// Language of titles and category names.
    #[schema(value_type = Option<Language>)]
    pub language: Option<Value>,
}

impl RawForm for TargetForm {}

impl TargetForm {
    /// The target; what is not said is as in `defaults`.
    pub(super) fn read(&self, check: &mut Check, defaults: &Target) -> Target {
        let currencies = codes(Currency::REQUESTABLE, Currency::code);
        let languages = codes(Language::ALL, Language::code);
        let currency = self.currency.as_ref();
        let currency = check.word("currency", currency, Currency::requestable, &currencies);
        let language = check.word("language", self.language.as_ref(), Language::parse, &languages);
        let ship_to = self.ship_to_country.as_ref();
        let ship_to = check.word("ship_to_country", ship_to, country, "a two-letter country code");
        Target {
            currency: currency.unwrap_or(defaults.currency),
            language: language.unwrap_or(defaults.language),
            ship_to: ship_to.or_else(|| defaults.ship_to.clone()),
            tracking_id: defaults.tracking_id.clone(),
        }
    }
}

impl From<&Target> for TargetForm {
    fn from(target: &Target) -> Self {
        Self {
            ship_to_country: target.ship_to.clone().map(Value::String),
            currency: Some(target.currency.code().into()),
            language: Some(target.language.code().into()),
        }
    }
}

/// An ISO 3166-1 alpha-2 code, upper case.
fn country(code: &str) -> Option<String> {
    let two_letters = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    two_letters.then(|| code.to_ascii_uppercase())
}

/// The words of a list, as a mistake names them.
pub(super) fn codes<T: Copy, const N: usize>(all: [T; N], code: fn(T) -> &'static str) -> String {
    all.map(code).join(", ")
}
