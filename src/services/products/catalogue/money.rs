//! Currencies and exact conversion between them.
//!
//! Owns: which currencies the gateway knows, how many decimals each has, and one fixed table of rates
//! (invented once and never updated, so that two runs give equal prices). Has no neighbour.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

/// Most digits before or after the point of an amount.
const MOST_DIGITS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Currency {
    pub(crate) code: &'static str,
    decimals: u32,
    /// Units for one US dollar, in millionths.
    per_dollar_micro: i64,
}

const fn currency(code: &'static str, decimals: u32, per_dollar_micro: i64) -> Currency {
    Currency { code, decimals, per_dollar_micro }
}

const TABLE: [Currency; 20] = [
    Currency::DOLLAR,
    currency("GBP", 2, 790_000),
    currency("CAD", 2, 1_360_000),
    currency("EUR", 2, 920_000),
    currency("UAH", 2, 41_200_000),
    currency("MXN", 2, 18_500_000),
    currency("TRY", 2, 34_100_000),
    currency("RUB", 2, 92_500_000),
    currency("BRL", 2, 5_450_000),
    currency("AUD", 2, 1_520_000),
    currency("INR", 2, 83_900_000),
    currency("JPY", 0, 149_000_000),
    currency("IDR", 2, 15_800_000_000),
    currency("SEK", 2, 10_600_000),
    currency("KRW", 0, 1_370_000_000),
    currency("ILS", 2, 3_700_000),
    currency("THB", 2, 35_300_000),
    currency("CLP", 0, 945_000_000),
    currency("VND", 0, 25_300_000_000),
    Currency::YUAN,
];

impl Currency {
    /// What is assumed where nothing is said.
    pub(crate) const DOLLAR: Self = currency("USD", 2, 1_000_000);
    /// What the plain price fields of an answer are in; nobody may ask for it.
    pub(crate) const YUAN: Self = currency("CNY", 2, 7_100_000);

    /// The currency with this code, whatever its case.
    pub(crate) fn named(code: &str) -> Option<Self> {
        TABLE.into_iter().find(|known| known.code.eq_ignore_ascii_case(code.trim()))
    }

    /// The codes that `target_currency` may name.
    pub(crate) fn target_codes() -> Vec<&'static str> {
        TABLE.iter().filter(|known| **known != Self::YUAN).map(|known| known.code).collect()
    }

    fn per_dollar(self) -> Decimal {
        Decimal::new(self.per_dollar_micro, 6)
    }
}

/// An amount with exactly the decimals of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money {
    amount: Decimal,
    pub(crate) currency: Currency,
}

impl Money {
    /// Reads a plain decimal such as `49.95`; `None` for anything else (signs, exponents, more
    /// than twelve digits before or after the point). Digits beyond the currency's are rounded.
    pub(crate) fn parse(text: &str, currency: Currency) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_plain = |digits: &str| {
            (1..=MOST_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        };
        let amount = Decimal::from_str_exact(text).ok()?;
        (is_plain(whole) && is_plain(part)).then(|| Self::of(amount, currency))
    }

    fn of(amount: Decimal, currency: Currency) -> Self {
        let strategy = RoundingStrategy::MidpointAwayFromZero;
        let mut amount = amount.round_dp_with_strategy(currency.decimals, strategy);
        amount.rescale(currency.decimals);
        Self { amount, currency }
    }

    /// The same value in another currency, rounded half up; unchanged in its own.
    pub(crate) fn to(self, target: Currency) -> Self {
        if self.currency == target {
            self
        } else {
            Self::of(self.dollars() * target.per_dollar(), target)
        }
    }

    /// The list price of which this is left after `percent` off.
    pub(crate) fn before_discount(self, percent: u64) -> Self {
        let left = 100_u64.saturating_sub(percent).max(1);
        Self::of(self.amount * Decimal::ONE_HUNDRED / Decimal::from(left), self.currency)
    }

    pub(crate) fn dollars(self) -> Decimal {
        self.amount / self.currency.per_dollar()
    }

    /// In the smallest unit of the currency: cents for dollars, whole yen for yen.
    pub(crate) fn minor(self) -> u64 {
        let unit = Decimal::from(10_u64.pow(self.currency.decimals));
        (self.amount * unit).to_u64().unwrap_or(u64::MAX)
    }

    pub(crate) fn text(self) -> String {
        self.amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars(text: &str) -> Money {
        Money::parse(text, Currency::DOLLAR).expect(text)
    }

    #[test]
    fn decimals_are_kept_exactly() {
        for (text, expected) in
            [("49.95", "49.95"), ("7", "7.00"), ("0.1", "0.10"), ("1.005", "1.01"), ("0", "0.00")]
        {
            assert_eq!(dollars(text).text(), expected);
        }
    }

    #[test]
    fn anything_but_a_plain_decimal_is_refused() {
        for text in ["", ".", "-1", "+1", "1e3", "NaN", "1.", ".5", "1,0", "9999999999999", " 1"] {
            assert_eq!(Money::parse(text, Currency::DOLLAR), None, "{text:?}");
        }
    }

    #[test]
    fn conversion_knows_currencies_without_decimals() {
        let yen = dollars("10.00").to(Currency::named("JPY").unwrap());
        assert_eq!((yen.minor(), yen.text().as_str()), (1490, "1490"));
        assert_eq!(yen.to(Currency::DOLLAR).text(), "10.00");
        assert_eq!(dollars("4.41").to(Currency::YUAN).text(), "31.31");
        assert_eq!(dollars("4.41").to(Currency::DOLLAR), dollars("4.41"));
        let rupiah = dollars("999999999999").to(Currency::named("IDR").unwrap());
        assert_eq!(rupiah.text(), "15799999999984200.00");
    }

    #[test]
    fn list_price_undoes_the_discount() {
        assert_eq!(dollars("45.00").before_discount(55).text(), "100.00");
        assert_eq!(dollars("45.00").before_discount(0).text(), "45.00");
    }

    #[test]
    fn only_published_targets_may_be_asked_for() {
        let codes = Currency::target_codes();
        assert!(codes.contains(&"KRW") && !codes.contains(&"CNY") && codes.len() == 19);
    }
}
