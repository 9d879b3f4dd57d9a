//! The OpenAPI documents, generated from the handlers.

/// The complete document.
#[must_use]
pub fn complete() -> String {
    "{}".to_owned()
}

/// The public operations only, for GPT Actions.
#[must_use]
pub fn for_gpt() -> String {
    "{}".to_owned()
}
