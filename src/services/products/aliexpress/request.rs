//! One question to the gateway.
//!
//! Owns: what a method is, and how its parameters are collected. An endpoint owns its method and says
//! which parameter carries what. Refuses nothing: what comes in is already valid. What is not set is
//! left out, so equal questions are equal requests. Has no neighbour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::records::{Contents, Records};
use super::terms::{Currency, Language};

/// A method of the gateway.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Method {
    /// The full name.
    pub name: &'static str,
    /// What its answers hold.
    pub records: Records,
    /// Whether it is a search, which finds the same without a tracking id.
    pub is_search: bool,
}

/// A method and its own parameters, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    pub method: &'static Method,
    /// Empty values are neither signed nor sent.
    pub params: BTreeMap<&'static str, String>,
}

/// Language, currency and destination that most methods share, and who earns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Currency of the `target_*` prices.
    pub currency: Currency,
    pub language: Language,
    /// Two-letter country shipped to, upper case.
    pub ship_to: Option<String>,
    /// An unknown one gives an empty answer without any error.
    pub tracking_id: Option<String>,
}

impl Request {
    #[must_use]
    pub const fn of(method: &'static Method) -> Self {
        Self { method, params: BTreeMap::new() }
    }

    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        if !value.is_empty() {
            self.params.insert(name, value);
        }
        self
    }

    #[must_use]
    pub fn optional(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// A list separated by commas.
    #[must_use]
    pub fn list<T: ToString>(self, name: &'static str, values: &[T]) -> Self {
        self.set(name, values.iter().map(T::to_string).collect::<Vec<_>>().join(","))
    }

    /// What a `result` that answers it holds.
    #[must_use]
    pub fn contents(&self, result: &Value) -> Contents {
        let page = self.params.get("page_no").and_then(|page| page.parse().ok());
        self.method.records.contents(result, page.unwrap_or(1))
    }

    /// The parameters of the target, but for the country, whose name differs.
    #[must_use]
    pub fn target(self, target: &Target) -> Self {
        self.set("target_currency", target.currency.code())
            .set("target_language", target.language.code())
            .optional("tracking_id", target.tracking_id.as_deref())
    }
}
