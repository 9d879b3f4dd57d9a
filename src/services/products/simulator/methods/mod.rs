//! The methods of the gateway.
//!
//! Owns: the list of the methods that the gateway calls, what a method is given, and the envelope of its
//! answer. A method reads its parameters, refuses in the gateway's words or answers; it does no I/O,
//! reads no clock and cannot fail otherwise.

mod links;
mod orders;
mod product_view;
mod products;

use serde_json::{Value, json};

use super::parameters::Parameters;
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::services::products::catalogue::Catalogue;

#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) answer: fn(&Call<'_>) -> Result<Answer, Refusal>,
}

/// Every method; each file lists its own.
const METHODS: [&[Method]; 3] = [products::METHODS, links::METHODS, orders::METHODS];

impl Method {
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        METHODS.into_iter().flatten()
    }

    pub(super) fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|method| method.name == name)
    }
}

#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) parameters: &'a Parameters,
    pub(super) catalogue: &'a Catalogue,
    /// The one tracking id of the caller.
    pub(super) tracking_id: &'a str,
    /// The address that pictures are reached at.
    pub(super) pictures: &'a str,
    pub(super) now: Timestamp,
}

impl Call<'_> {
    /// Whether a tracking id was sent that the caller does not have. Upstream says nothing about
    /// it and answers with an empty list.
    fn has_wrong_tracking_id(&self) -> bool {
        self.parameters.get("tracking_id").is_some_and(|sent| sent != self.tracking_id)
    }
}

#[derive(Debug)]
pub(super) enum Answer {
    /// `resp_code` 200 with this `result`.
    Result(Value),
    /// Another `resp_code`, without `result`.
    Business(u64),
}

impl Answer {
    /// "The result is empty": no match is not an error.
    const EMPTY: Self = Self::Business(405);

    pub(super) fn body(self, method: &Method, request_id: &str) -> Value {
        let resp = match self {
            Self::Result(result) => {
                json!({"resp_code": 200, "resp_msg": "Call succeeds", "result": result})
            }
            Self::Business(code) => json!({"resp_code": code, "resp_msg": business_text(code)}),
        };
        let root = method.name.replace('.', "_") + "_response";
        json!({ root: {"resp_result": resp, "request_id": request_id} })
    }
}

const fn business_text(code: u64) -> &'static str {
    match code {
        401 => "This publisher is not registered",
        404 => "System Error",
        405 => "The result is empty",
        4001 => "The tracking id is unknown",
        _ => "Unknown code",
    }
}

#[cfg(test)]
mod tests;
