//! A component of the detailed health: its name, its state, and why.
//!
//! A leaf: what is down is reported with it, and it needs nothing itself.

use serde::Serialize;
use utoipa::ToSchema;

/// How well a part, or the whole, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Healthy,
    /// Serves, but something is missing.
    Degraded,
    /// Does not serve.
    Unhealthy,
}

/// One component.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Component {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub status: Health,
    /// In words.
    pub detail: String,
}

/// One component of the detailed health.
pub fn component(name: &'static str, status: Health, detail: impl Into<String>) -> Component {
    Component { name, status, detail: detail.into() }
}
