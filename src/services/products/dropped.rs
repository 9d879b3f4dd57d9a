//! Why products were left out of an answer, counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a product was left out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// No id, or one that is no whole number above 0.
    IdMissing,
    /// The same id stood earlier on the page.
    IdRepeated,
    /// Title shorter than five characters.
    TitleTooShort,
    /// Address missing or not http(s).
    UrlInvalid,
    /// Price missing or no number.
    PriceInvalid,
    /// Price zero or below.
    PriceNotPositive,
    /// Price above a million.
    PriceTooHigh,
    /// Currency missing or not known.
    CurrencyUnknown,
    /// Quality score below what was asked for (smart search).
    BelowMinQuality,
    /// Nearly the same as a better product of the page (smart search).
    Similar,
    /// A category or an order without an id or a name.
    Unreadable,
}

impl DropReason {
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IdMissing => "id_missing",
            Self::IdRepeated => "id_repeated",
            Self::TitleTooShort => "title_too_short",
            Self::UrlInvalid => "url_invalid",
            Self::PriceInvalid => "price_invalid",
            Self::PriceNotPositive => "price_not_positive",
            Self::PriceTooHigh => "price_too_high",
            Self::CurrencyUnknown => "currency_unknown",
            Self::BelowMinQuality => "below_min_quality",
            Self::Similar => "similar",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How many were left out, by reason; reasons that did not occur are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Dropped(BTreeMap<DropReason, u64>);

impl Dropped {
    pub fn count(&mut self, reason: DropReason) {
        let count = self.0.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds what another stage left out.
    pub fn add(&mut self, other: &Self) {
        for (reason, more) in other.iter() {
            let count = self.0.entry(reason).or_default();
            *count = count.saturating_add(more);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_are_named() {
        let mut dropped = Dropped::default();
        dropped.count(DropReason::PriceTooHigh);
        let mut sum = dropped.clone();
        sum.add(&dropped);
        sum.count(DropReason::IdMissing);
        assert_eq!(sum.total(), 3);
        assert_eq!(serde_json::to_string(&sum).unwrap(), r#"{"id_missing":1,"price_too_high":2}"#);
    }

    #[test]
    fn labels_are_what_is_serialised() {
        let all = [
            DropReason::IdMissing,
            DropReason::IdRepeated,
            DropReason::TitleTooShort,
            DropReason::UrlInvalid,
            DropReason::PriceInvalid,
            DropReason::PriceNotPositive,
            DropReason::PriceTooHigh,
            DropReason::CurrencyUnknown,
            DropReason::BelowMinQuality,
            DropReason::Similar,
            DropReason::Unreadable,
        ];
        for reason in all {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.label());
        }
    }
}
