//! What the forms of the endpoints share.
//!
//! Owns: for whom an answer is made (destination, currency and language) with its defaults, pages, and
//! ids. Refuses: what the upstream does not know. Has no neighbours.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use super::aliexpress::Target;
use super::aliexpress::terms::{Currency, Language};
use crate::http::forms::{Check, ID_ALLOWED, digits_of, shown};

/// Most products of one page.
const MAX_PAGE_SIZE: u32 = 50;
/// Highest page; far beyond what anybody reads, and within what the upstream takes.
const MAX_PAGE: u32 = 10_000;
/// Products of a page when nothing else is asked for.
const DEFAULT_PAGE_SIZE: u32 = 20;

/// For whom an answer is made, as a client says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct TargetForm {
    /// Country shipped to, two letters; when absent none is told to the upstream.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z]{2}$", example = "US")]
    pub ship_to_country: Option<Value>,
    /// Currency of prices and of price bounds; when absent `ALIEXPRESS_CURRENCY`, `USD` by default.
    #[schema(value_type = Option<Currency>)]
    pub currency: Option<Value>,
    /// Language of titles and category names; when absent `ALIEXPRESS_LANGUAGE`, `EN` by default.
    #[schema(value_type = Option<Language>)]
    pub language: Option<Value>,
}

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

/// An ISO 3166-1 alpha-2 code, upper case.
fn country(code: &str) -> Option<String> {
    let two_letters = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    two_letters.then(|| code.to_ascii_uppercase())
}

/// The words of a list, as a mistake names them.
pub(super) fn codes<T: Copy, const N: usize>(all: [T; N], code: fn(T) -> &'static str) -> String {
    all.map(code).join(", ")
}

/// Page number and size with their defaults.
pub(super) fn page(check: &mut Check, no: Option<&Value>, size: Option<&Value>) -> (u32, u32) {
    (
        check.whole("page_no", no, 1..=MAX_PAGE).unwrap_or(1),
        check.whole("page_size", size, 1..=MAX_PAGE_SIZE).unwrap_or(DEFAULT_PAGE_SIZE),
    )
}

/// Reads one id, noting a mistake in `check`.
pub(super) fn id_in(check: &mut Check, field: &str, text: &str) -> Option<u64> {
    let id = digits_of(text).filter(|id| *id > 0);
    if id.is_none() {
        let problem = format!("`{}` is not an id", shown(text));
        check.refuse(field, problem, ID_ALLOWED);
    }
    id
}

/// The schema of an id in a body: texts, because ids exceed 2^53, or numbers.
pub(super) fn id_schema() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
        .minimum(Some(1))
        .pattern(Some("^0*[1-9][0-9]{0,19}$"))
}

/// A length as a count.
pub(super) fn count_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
