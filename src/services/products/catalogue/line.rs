//! One line of a catalogue file.
//!
//! Owns: the line format and the border between a bad line and a bad product. A line that is not
//! JSON, has no usable id or no title, or a field of another type is refused with a reason. A
//! product with defects a shop's catalogue really has (no price, a price that is no number, an
//! unknown currency, a short title, an odd image address) is kept: whoever reads answers must cope.

use serde::Deserialize;
use serde_json::error::Category;

use super::money::{Currency, Money};

/// Why a line is no product: a word for counting and a text for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Short name of the reason.
    pub(crate) reason: &'static str,
    /// What exactly was found.
    pub(crate) detail: String,
}

impl BadLine {
    /// A reason with its detail.
    pub(crate) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What a product costs, as far as the catalogue knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Price {
    /// Nothing is said.
    Missing,
    /// An exact amount.
    Known(Money),
    /// Something no amount can be made of; served as it stands.
    Odd {
        /// The text in the place of the amount.
        amount: String,
        /// The text in the place of the currency.
        currency: String,
    },
}

/// A line that made sense.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Product id.
    pub(crate) id: u64,
    /// Title, as it stands.
    pub(crate) title: String,
    /// Brand, for finding only.
    pub(crate) brand: Option<String>,
    /// Price.
    pub(crate) price: Price,
    /// Names of categories from the top down; may be empty.
    pub(crate) category_path: Vec<String>,
    /// Main image.
    pub(crate) image_url: Option<String>,
    /// More images.
    pub(crate) images: Vec<String>,
    /// Units sold lately.
    pub(crate) popularity: Option<u64>,
    /// False when the line says that no commission is paid.
    pub(crate) commission: bool,
}

#[derive(Deserialize)]
struct Raw {
    id: Option<Scalar>,
    title: Option<String>,
    brand: Option<String>,
    price: Option<Scalar>,
    currency: Option<String>,
    category_path: Option<Vec<String>>,
    image_url: Option<String>,
    images: Option<Vec<String>>,
    popularity: Option<u64>,
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    /// `false` marks a product without commission; everything else in here is not read.
    commission: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Line {
    /// Reads one line without its line end.
    pub(crate) fn read(line: &[u8]) -> Result<Self, BadLine> {
        let text = std::str::from_utf8(line)
            .map_err(|error| BadLine::new("not_utf8", error.to_string()))?;
        let raw: Raw = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        let id = raw.id.ok_or_else(|| BadLine::new("id_missing", "the line has no id"))?.text();
        let title = raw.title.unwrap_or_default();
        if title.trim().is_empty() {
            return Err(BadLine::new("title_missing", "the line has no title"));
        }
        Ok(Self {
            id: read_id(&id)?,
            title,
            brand: raw.brand,
            price: read_price(raw.price.map(Scalar::text), raw.currency),
            category_path: tidy_path(raw.category_path.unwrap_or_default()),
            image_url: raw.image_url.filter(|url| !url.is_empty()),
            images: raw.images.unwrap_or_default(),
            popularity: raw.popularity,
            commission: raw.attributes.and_then(|known| known.commission).unwrap_or(true),
        })
    }
}

fn unreadable(error: &serde_json::Error) -> BadLine {
    let reason = match error.classify() {
        Category::Data => "wrong_type",
        Category::Io | Category::Syntax | Category::Eof => "not_json",
    };
    BadLine::new(reason, error.to_string())
}

fn read_id(text: &str) -> Result<u64, BadLine> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && *id > 0);
    id.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        BadLine::new("id_invalid", format!("id {shown:?} is not a positive whole number"))
    })
}

fn read_price(amount: Option<String>, currency: Option<String>) -> Price {
    let Some(amount) = amount.filter(|text| !text.is_empty()) else { return Price::Missing };
    let code = currency.unwrap_or_else(|| "USD".to_owned());
    let known = Currency::named(&code).and_then(|currency| Money::parse(amount.trim(), currency));
    known.map_or(Price::Odd { amount, currency: code }, Price::Known)
}

fn tidy_path(path: Vec<String>) -> Vec<String> {
    let names = path.into_iter().map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(line: &str) -> &'static str {
        Line::read(line.as_bytes()).expect_err(line).reason
    }

    #[test]
    fn a_whole_line_is_read() {
        let line = r#"{"id": "9300000000000001", "title": "Cup", "description": "x", "brand": "B",
            "price": "49.95", "currency": "USD", "category_path": ["A", " ", "C "], "image_url": null,
            "images": ["http://i"], "popularity": 3, "released": null,
            "attributes": {"n": 6.0, "commission": false}}"#;
        let read = Line::read(line.as_bytes()).unwrap();
        assert_eq!((read.id, read.title.as_str()), (9_300_000_000_000_001, "Cup"));
        assert_eq!(read.category_path, ["A", "C"]);
        assert!(matches!(read.price, Price::Known(money) if money.text() == "49.95"));
        assert_eq!((read.image_url, read.popularity, read.commission), (None, Some(3), false));
    }

    #[test]
    fn a_line_that_is_no_product_says_why() {
        for bad in ["", "{", "nonsense", r#"{"id": "1", "title": "x"} trailing"#] {
            assert_eq!(reason(bad), "not_json", "{bad:?}");
        }
        for bad in ["[]", "null", "7", r#"{"id": [1], "title": "x"}"#, r#"{"id": 1, "title": 5}"#] {
            assert_eq!(reason(bad), "wrong_type", "{bad:?}");
        }
        assert_eq!(reason(r#"{"title": "x"}"#), "id_missing");
        for id in ["\"\"", "\"12a\"", "\"-1\"", "0", "1.5", "\"+1\"", "99999999999999999999"] {
            assert_eq!(reason(&format!(r#"{{"id": {id}, "title": "x"}}"#)), "id_invalid", "{id}");
        }
        assert_eq!(reason(r#"{"id": "1", "title": " "}"#), "title_missing");
        assert_eq!(Line::read(b"{\"id\": \"\xff\"}").unwrap_err().reason, "not_utf8");
    }

    #[test]
    fn defects_of_a_real_catalogue_are_kept() {
        let price = |fields: &str| {
            let line = format!(r#"{{"id": 1, "title": "x"{fields}}}"#);
            Line::read(line.as_bytes()).expect(&line).price
        };
        assert_eq!(price(""), Price::Missing);
        assert_eq!(price(r#", "price": null, "currency": "USD""#), Price::Missing);
        for odd in [r#""price": "free""#, r#""price": -1"#, r#""price": "5", "currency": "XXX""#] {
            assert!(matches!(price(&format!(", {odd}")), Price::Odd { .. }), "{odd}");
        }
        assert!(matches!(price(r#", "price": 49.5"#), Price::Known(m) if m.text() == "49.50"));
    }
}
