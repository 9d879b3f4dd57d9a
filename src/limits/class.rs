//! Route classes: what kind of route a request is for decides which limits apply.
//!
//! Owns: the classes and a value for each of them. Refuses nothing and has no neighbours.

use serde::Serialize;
use utoipa::ToSchema;

/// What kind of route a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Everything without limits of its own.
    General,
    Search,
    Recommendations,
    /// Never limited: health and metrics.
    Exempt,
}

impl Class {
    /// The word in metrics, logs and header fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Search => "search",
            Self::Recommendations => "recommendations",
            Self::Exempt => "exempt",
        }
    }
}

/// One value for every class that is limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PerClass<T> {
    pub general: T,
    pub search: T,
    pub recommendations: T,
}

impl<T> PerClass<T> {
    /// The value of `class`; `None` for the class that has no limits.
    #[must_use]
    pub const fn get(&self, class: Class) -> Option<&T> {
        match class {
            Class::General => Some(&self.general),
            Class::Search => Some(&self.search),
            Class::Recommendations => Some(&self.recommendations),
            Class::Exempt => None,
        }
    }

    /// The same shape with other values.
    #[must_use]
    pub fn map<U>(&self, change: impl Fn(&T) -> U) -> PerClass<U> {
        PerClass {
            general: change(&self.general),
            search: change(&self.search),
            recommendations: change(&self.recommendations),
        }
    }
}
