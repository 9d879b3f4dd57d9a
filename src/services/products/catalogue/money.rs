//! Currencies and exact conversion between them.
//!
//! Owns: which currencies the gateway knows, how many decimals each has, and one fixed rate table
//! (invented once and never updated, so that two runs give equal prices). Refuses: floating point;
//! amounts are integers of the currency's smallest unit. Has no neighbour.

/// A currency of the fixed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Currency {
    /// ISO 4217 code.
    pub(crate) code: &'static str,
    /// Digits after the decimal point; also the exponent of the smallest unit.
    decimals: u32,
    /// Units for one US dollar, in millionths.
    per_dollar_micro: u64,
    /// Whether `target_currency` may name it; CNY only appears in answers and catalogues.
    target: bool,
}

const fn currency(code: &'static str, decimals: u32, per_dollar_micro: u64) -> Currency {
    Currency { code, decimals, per_dollar_micro, target: true }
}

const TABLE: [Currency; 20] = [
    currency("USD", 2, 1_000_000),
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
    Currency { code: "CNY", decimals: 2, per_dollar_micro: 7_100_000, target: false },
];

impl Currency {
    /// The currency with this code, whatever its case.
    pub(crate) fn named(code: &str) -> Option<Self> {
        TABLE.into_iter().find(|known| known.code.eq_ignore_ascii_case(code.trim()))
    }

    /// The currency with this code if answers can be asked for in it.
    pub(crate) fn target(code: &str) -> Option<Self> {
        TABLE.into_iter().find(|known| known.target && known.code == code)
    }

    /// Codes that may be asked for, for error texts.
    pub(crate) fn target_codes() -> String {
        let codes: Vec<&str> = TABLE.iter().filter(|known| known.target).map(|c| c.code).collect();
        codes.join(", ")
    }

    /// US dollars: what is assumed where nothing is said.
    pub(crate) const fn dollar() -> Self {
        currency("USD", 2, 1_000_000)
    }

    /// Chinese yuan: what the plain price fields of an answer are in.
    pub(crate) const fn yuan() -> Self {
        Self { code: "CNY", decimals: 2, per_dollar_micro: 7_100_000, target: false }
    }
}

/// An amount in the smallest unit of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money {
    /// Smallest units: cents for dollars, whole yen for yen.
    pub(crate) minor: u64,
    /// In which currency.
    pub(crate) currency: Currency,
}

impl Money {
    /// Reads a plain decimal such as `49.95`; `None` for anything else (signs, exponents, more
    /// than twelve digits before or after the point). Digits beyond the currency's are rounded.
    pub(crate) fn parse(text: &str, currency: Currency) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |digits: &str| {
            (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if !plain(whole) || !plain(part) {
            return None;
        }
        let scaled: u128 = format!("{whole}{part:0<12}").parse().ok()?;
        let unit = 10_u128.pow(12 - currency.decimals);
        let minor = u64::try_from((scaled + unit / 2) / unit).ok()?;
        Some(Self { minor, currency })
    }

    /// The same value in another currency, rounded half up; unchanged in its own.
    pub(crate) fn to(self, target: Currency) -> Self {
        if self.currency == target {
            return self;
        }
        let (more, scale) = (target.per_dollar_micro, 10_u64.pow(target.decimals));
        let below = self.currency.per_dollar_micro * 10_u64.pow(self.currency.decimals);
        let short = self.minor.checked_mul(more).and_then(|above| above.checked_mul(scale));
        // A search by price converts every product it looks at; nearly all fit in 64 bits.
        if let Some(above) = short.and_then(|above| above.checked_add(below / 2)) {
            return Self { minor: above / below, currency: target };
        }
        let above = u128::from(self.minor) * u128::from(more) * u128::from(scale);
        let minor = (above + u128::from(below / 2)) / u128::from(below);
        Self { minor: u64::try_from(minor).unwrap_or(u64::MAX), currency: target }
    }

    /// The list price of which this is left after `percent` off.
    pub(crate) fn before_discount(self, percent: u64) -> Self {
        let left = 100_u64.saturating_sub(percent).max(1);
        Self { minor: (self.minor.saturating_mul(100) + left / 2) / left, ..self }
    }

    /// Millionths of a US dollar: comparable across currencies.
    pub(crate) fn micro_dollars(self) -> u128 {
        u128::from(self.minor) * 1_000_000_000_000
            / (u128::from(self.currency.per_dollar_micro) * 10_u128.pow(self.currency.decimals))
    }

    /// Decimal text in major units with the currency's own number of decimals.
    pub(crate) fn text(self) -> String {
        let unit = 10_u64.pow(self.currency.decimals);
        let (whole, part) = (self.minor / unit, self.minor % unit);
        match self.currency.decimals {
            0 => whole.to_string(),
            decimals => {
                format!("{whole}.{part:0width$}", width = usize::try_from(decimals).unwrap_or(2))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars(text: &str) -> Money {
        Money::parse(text, Currency::dollar()).expect(text)
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
            assert_eq!(Money::parse(text, Currency::dollar()), None, "{text:?}");
        }
    }

    #[test]
    fn conversion_knows_currencies_without_decimals() {
        let yen = dollars("10.00").to(Currency::named("JPY").unwrap());
        assert_eq!((yen.minor, yen.text().as_str()), (1490, "1490"));
        assert_eq!(yen.to(Currency::dollar()).text(), "10.00");
        assert_eq!(dollars("4.41").to(Currency::yuan()).text(), "31.31");
        assert_eq!(dollars("4.41").to(Currency::dollar()), dollars("4.41"));
        let rupiah = dollars("999999999999").to(Currency::named("IDR").unwrap());
        assert_eq!(rupiah.text(), "15799999999984200.00", "too large for the short division");
    }

    #[test]
    fn list_price_undoes_the_discount() {
        assert_eq!(dollars("45.00").before_discount(55).text(), "100.00");
        assert_eq!(dollars("45.00").before_discount(0).text(), "45.00");
    }

    #[test]
    fn only_published_targets_may_be_asked_for() {
        assert!(Currency::target("KRW").is_some());
        assert_eq!(Currency::target("CNY"), None);
        assert_eq!(Currency::target("usd"), None);
    }
}
