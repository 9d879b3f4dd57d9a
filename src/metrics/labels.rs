//! The label values that are known beforehand: methods, statuses, tiers, breaker states.
//!
//! Owns: the closed sets behind the labels of the hot path, and the index of each value in its
//! set. Refuses: open ended values; whatever is not in a set is counted as `other`, so a client
//! can never make the registry grow. Pure data: there is no neighbour that could be down.

use serde::Serialize;
use utoipa::ToSchema;

use crate::resilience::breaker::State;

/// What any value outside a closed set is counted as.
pub(super) const OTHER: &str = "other";

/// Method of an HTTP request, as far as it is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// Anything else a client came up with.
    #[serde(rename = "other")]
    Other,
}

impl Method {
    /// Every method, in the order of [`Method::index`].
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Other,
    ];

    /// Reads a method as it stands on the request line; methods are case-sensitive (RFC 9110, 9.1).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    /// The label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => OTHER,
        }
    }

    /// Position in [`Method::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Get => 0,
            Self::Head => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Patch => 4,
            Self::Delete => 5,
            Self::Options => 6,
            Self::Other => 7,
        }
    }
}

/// Every status the gateway or its framework answers with, and its label; sorted.
const STATUSES: [(u16, &str); 41] = [
    (100, "100"),
    (101, "101"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (416, "416"),
    (417, "417"),
    (421, "421"),
    (422, "422"),
    (426, "426"),
    (428, "428"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (505, "505"),
];

/// How many different status labels there are, `other` included.
pub(super) const STATUS_LABELS: usize = STATUSES.len() + 1;

/// Index below [`STATUS_LABELS`] and label of a status code; unknown codes share the last one.
#[must_use]
pub(super) fn status(code: u16) -> (usize, &'static str) {
    STATUSES
        .binary_search_by_key(&code, |(known, _)| *known)
        .ok()
        .and_then(|at| STATUSES.get(at).map(|(_, label)| (at, *label)))
        .unwrap_or((STATUSES.len(), OTHER))
}

/// The status codes by index, for reading back; `other` has none.
#[must_use]
pub(super) fn status_code(index: usize) -> Option<u16> {
    STATUSES.get(index).map(|(code, _)| *code)
}

/// Whose error a status is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// 4xx: the client's.
    Client,
    /// 5xx: ours or the upstream's.
    Server,
}

impl Fault {
    /// The fault behind a status; `None` for anything that is no error.
    #[must_use]
    pub(super) const fn of(code: u16) -> Option<Self> {
        match code {
            400..=499 => Some(Self::Client),
            500..=599 => Some(Self::Server),
            _ => None,
        }
    }
}

/// The value of label `cache_layer` for a lookup that no tier could answer.
pub(super) const NO_TIER: &str = "none";

/// State of a circuit breaker as exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls flow.
    Closed,
    /// Calls are refused.
    Open,
    /// Probes are admitted.
    HalfOpen,
}

impl From<State> for BreakerState {
    fn from(state: State) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open => Self::Open,
            State::HalfOpen => Self::HalfOpen,
        }
    }
}

impl BreakerState {
    /// The number the gauges show: 0 closed, 1 open, 2 half-open.
    #[must_use]
    pub const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }

    /// The value of label `to`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_read_by_its_own_label_and_sits_at_its_index() {
        for (at, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method.index(), at);
            assert_eq!(Method::parse(method.label()), method);
            assert_eq!(
                serde_json::to_value(method).unwrap(),
                serde_json::Value::from(method.label())
            );
        }
    }

    #[test]
    fn whatever_a_client_calls_its_method_is_other() {
        for text in ["", "get", "PROPFIND", "GET ", "\u{1F600}"] {
            assert_eq!(Method::parse(text), Method::Other, "{text:?}");
        }
    }

    #[test]
    fn the_status_table_is_sorted_and_its_labels_are_the_codes() {
        assert!(STATUSES.is_sorted_by(|a, b| a.0 < b.0));
        for (code, label) in STATUSES {
            assert_eq!(code.to_string(), label);
            let (at, found) = status(code);
            assert_eq!((status_code(at), found), (Some(code), label));
        }
    }

    #[test]
    fn every_other_status_shares_the_last_index() {
        for code in [0, 99, 299, 418, 599, 600, u16::MAX] {
            assert_eq!(status(code), (STATUS_LABELS - 1, OTHER));
        }
        assert_eq!(status_code(STATUS_LABELS - 1), None);
    }

    #[test]
    fn faults_follow_the_class_of_the_status() {
        assert_eq!(Fault::of(200), None);
        assert_eq!(Fault::of(304), None);
        assert_eq!(Fault::of(400), Some(Fault::Client));
        assert_eq!(Fault::of(499), Some(Fault::Client));
        assert_eq!(Fault::of(500), Some(Fault::Server));
        assert_eq!(Fault::of(600), None);
    }
}
