//! What gives an abuser away.
//!
//! Owns: the three patterns and their words. Refuses nothing and has no neighbours.

use serde::Serialize;
use utoipa::ToSchema;

/// A pattern of abuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// The same query again and again.
    RepeatedQuery,
    /// Ids of products or categories one after the other.
    SequentialIds,
    /// Page after page of one search.
    PageScan,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RepeatedQuery, Self::SequentialIds, Self::PageScan];

    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepeatedQuery => "repeated_query",
            Self::SequentialIds => "sequential_ids",
            Self::PageScan => "page_scan",
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::RepeatedQuery => 0,
            Self::SequentialIds => 1,
            Self::PageScan => 2,
        }
    }
}
