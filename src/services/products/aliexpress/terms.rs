//! Words of fixed lists that AliExpress understands: currencies, languages, sort orders, order states.
//!
//! Owns: the lists, and what one unit of a currency is worth in its smallest unit. Refuses: any
//! other word; `parse` answers `None` and the caller says which field it was in.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! codes {
    ($($code:literal)*) => { [$(Self($code)),*] };
}

/// The one of `all` with this code, in any case.
fn known<T>(
    all: impl IntoIterator<Item = T>,
    code: fn(&T) -> &'static str,
    text: &str,
) -> Option<T> {
    all.into_iter().find(|one| code(one).eq_ignore_ascii_case(text.trim()))
}

/// A currency of the upstream's list, or the one that its untargeted prices are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Currency(&'static str);

/// What prices are in when no target price came back.
const YUAN: Currency = Currency("CNY");
const WHOLE: [&str; 4] = ["JPY", "KRW", "CLP", "VND"];
/// Currencies in which an ordinary price has seven digits.
const OF_MANY_DIGITS: [&str; 4] = ["IDR", "VND", "KRW", "CLP"];

impl Currency {
    pub const USD: Self = Self("USD");

    pub const REQUESTABLE: [Self; 19] = codes!("USD" "GBP" "CAD" "EUR" "UAH" "MXN" "TRY" "RUB" "BRL"
        "AUD" "INR" "JPY" "IDR" "SEK" "KRW" "ILS" "THB" "CLP" "VND");

    pub fn requestable(code: &str) -> Option<Self> {
        known(Self::REQUESTABLE, |one| one.0, code)
    }

    /// A currency that may stand in an answer: a requestable one, or the yuan of untargeted prices.
    pub fn parse(code: &str) -> Option<Self> {
        known(Self::REQUESTABLE.into_iter().chain([YUAN]), |one| one.0, code)
    }

    pub const fn code(self) -> &'static str {
        self.0
    }

    /// Digits after the decimal point: 2, or 0 where there is no smaller unit.
    pub fn decimals(self) -> u32 {
        if WHOLE.contains(&self.0) { 0 } else { 2 }
    }

    /// The highest believable price, in major units.
    pub fn ceiling(self) -> Decimal {
        let millions = if OF_MANY_DIGITS.contains(&self.0) { 1_000 } else { 1 };
        Decimal::from(millions * 1_000_000)
    }

    /// A lower price bound in the smallest unit, rounded up: no price below `amount` passes it.
    /// `None` when negative or beyond 64 bits.
    pub fn lower_bound(self, amount: Decimal) -> Option<u64> {
        self.scaled(amount)?.ceil().to_u64()
    }

    /// An upper price bound in the smallest unit, rounded down: no price above `amount` passes it.
    /// `None` when negative or beyond 64 bits.
    pub fn upper_bound(self, amount: Decimal) -> Option<u64> {
        self.scaled(amount)?.floor().to_u64()
    }

    fn scaled(self, amount: Decimal) -> Option<Decimal> {
        let unit = if self.decimals() == 0 { Decimal::ONE } else { Decimal::ONE_HUNDRED };
        if amount.is_sign_negative() && !amount.is_zero() { None } else { amount.checked_mul(unit) }
    }
}

/// A language of the upstream's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Language(&'static str);

impl Language {
    pub const EN: Self = Self("EN");

    pub const ALL: [Self; 21] = codes!("EN" "RU" "PT" "ES" "FR" "ID" "IT" "TH" "JA" "AR" "VI" "TR"
        "DE" "HE" "KO" "NL" "PL" "MX" "CL" "IW" "IN");

    pub fn parse(code: &str) -> Option<Self> {
        known(Self::ALL, |one| one.0, code)
    }

    pub const fn code(self) -> &'static str {
        self.0
    }
}

/// Order of a search's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Sort {
    /// Cheapest first.
    SalePriceAsc,
    /// Dearest first.
    SalePriceDesc,
    /// Fewest orders first.
    LastVolumeAsc,
    /// Most orders first.
    LastVolumeDesc,
    /// Smallest discount first.
    DiscountAsc,
    /// Largest discount first.
    DiscountDesc,
}

impl Sort {
    pub const ALL: [Self; 6] = [
        Self::SalePriceAsc,
        Self::SalePriceDesc,
        Self::LastVolumeAsc,
        Self::LastVolumeDesc,
        Self::DiscountAsc,
        Self::DiscountDesc,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::SalePriceAsc => "SALE_PRICE_ASC",
            Self::SalePriceDesc => "SALE_PRICE_DESC",
            Self::LastVolumeAsc => "LAST_VOLUME_ASC",
            Self::LastVolumeDesc => "LAST_VOLUME_DESC",
            Self::DiscountAsc => "DISCOUNT_ASC",
            Self::DiscountDesc => "DISCOUNT_DESC",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        known(Self::ALL, |one| one.code(), code)
    }
}

/// State of an order; upper or lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum OrderStatus {
    /// The buyer has paid.
    #[serde(rename = "Payment Completed")]
    PaymentCompleted,
    /// The buyer has confirmed the delivery.
    #[serde(rename = "Buyer Confirmed Receipt")]
    BuyerConfirmedReceipt,
    /// The commission is settled.
    Completed,
    /// The order earns nothing.
    Invalid,
}

impl OrderStatus {
    pub const ALL: [Self; 4] =
        [Self::PaymentCompleted, Self::BuyerConfirmedReceipt, Self::Completed, Self::Invalid];

    pub const fn code(self) -> &'static str {
        match self {
            Self::PaymentCompleted => "Payment Completed",
            Self::BuyerConfirmedReceipt => "Buyer Confirmed Receipt",
            Self::Completed => "Completed",
            Self::Invalid => "Invalid",
        }
    }

    pub fn parse(code: &str) -> Option<Self> {
        known(Self::ALL, |one| one.code(), code)
    }
}

fn one_of(words: impl IntoIterator<Item = &'static str>, meaning: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .description(Some(meaning))
        .into()
}

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        one_of(Self::REQUESTABLE.map(Self::code), "A currency; upper or lower case.")
    }
}

impl ToSchema for Currency {}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(code: D) -> Result<Self, D::Error> {
        let code = String::deserialize(code)?;
        Self::requestable(&code)
            .ok_or_else(|| D::Error::custom("not a currency that can be asked for"))
    }
}

impl PartialSchema for Language {
    fn schema() -> RefOr<Schema> {
        one_of(Self::ALL.map(Self::code), "A language; upper or lower case.")
    }
}

impl ToSchema for Language {}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(code: D) -> Result<Self, D::Error> {
        let code = String::deserialize(code)?;
        Self::parse(&code).ok_or_else(|| D::Error::custom("not a language of the upstream"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn bounds_are_in_the_smallest_unit() {
        let usd = Currency::requestable("usd").unwrap();
        assert_eq!(usd.lower_bound(dec("31.41")), Some(3141));
        assert_eq!(usd.upper_bound(dec("31.41")), Some(3141));
        for code in ["KRW", "JPY", "VND", "CLP"] {
            let currency = Currency::requestable(code).unwrap();
            assert_eq!(currency.lower_bound(dec("1500")), Some(1500), "{code}");
        }
    }

    #[test]
    fn bounds_finer_than_the_smallest_unit_never_widen() {
        let usd = Currency::requestable("USD").unwrap();
        assert_eq!(usd.lower_bound(dec("31.411")), Some(3142));
        assert_eq!(usd.upper_bound(dec("31.419")), Some(3141));
        let yen = Currency::requestable("JPY").unwrap();
        assert_eq!(yen.lower_bound(dec("99.5")), Some(100));
        assert_eq!(yen.upper_bound(dec("99.5")), Some(99));
    }

    #[test]
    fn negative_and_enormous_bounds_have_no_value() {
        let usd = Currency::requestable("USD").unwrap();
        assert_eq!(usd.lower_bound(dec("-0.01")), None);
        assert_eq!(usd.upper_bound(Decimal::MAX), None);
        assert_eq!(usd.lower_bound(dec("-0")), Some(0));
    }

    #[test]
    fn the_yuan_is_read_but_not_asked_for() {
        assert_eq!(Currency::requestable("CNY"), None);
        assert_eq!(Currency::parse(" cny ").map(Currency::code), Some("CNY"));
        assert_eq!(Currency::parse("XXX"), None);
    }

    #[test]
    fn words_are_found_in_any_case_and_round_trip() {
        for sort in Sort::ALL {
            assert_eq!(Sort::parse(&sort.code().to_lowercase()), Some(sort));
        }
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::parse(&status.code().to_uppercase()), Some(status));
        }
        for language in Language::ALL {
            assert_eq!(Language::parse(&language.code().to_lowercase()), Some(language));
        }
        assert_eq!(Sort::parse("BEST"), None);
    }

    #[test]
    fn ceilings_follow_the_currency() {
        let ceiling = |code| Currency::parse(code).unwrap().ceiling();
        for code in ["IDR", "VND", "KRW", "CLP"] {
            assert_eq!(ceiling(code), dec("1000000000"), "{code}");
        }
        for code in ["USD", "JPY", "CNY"] {
            assert_eq!(ceiling(code), dec("1000000"), "{code}");
        }
    }
}
