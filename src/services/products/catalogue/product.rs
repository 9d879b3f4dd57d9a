//! A product of a catalogue, read from one line of the file, and the tree of categories that the paths of
//! products make. The id of a category is a checksum of its path, so it stays the same when the catalogue
//! around it changes.
//!
//! Owns: the line format, the border between a bad line and a bad product, and what a line does not
//! say and the simulator's answers need: discount, commission, ratings, shop and so on, invented from
//! the id, so that they are the same in every run. A line that is not JSON, has no usable id or no
//! title, or a field of another type is refused with a reason. A product with defects that real
//! catalogues have (no price, a price that is no number, an unknown currency, an odd image address) is
//! kept: the reader of the answers must cope. Has no neighbour.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::error::Category as Fault;

use super::money::{Currency, Money};

/// Why a line is no product: a word for counting and a text for a person.
pub(super) type BadLine = (&'static str, String);

/// What a product costs, as far as the catalogue knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Price {
    Missing,
    Known(Money),
    /// Something no amount can be made of; served as it stands.
    Odd {
        amount: String,
        currency: String,
    },
}

impl Price {
    pub(crate) fn known(&self) -> Option<Money> {
        match self {
            Self::Known(money) => Some(*money),
            Self::Missing | Self::Odd { .. } => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Product {
    pub(crate) id: u64,
    pub(crate) title: String,
    /// For finding only.
    pub(crate) brand: Option<String>,
    pub(crate) price: Price,
    /// Ids of categories from the top down; may be empty.
    pub(crate) categories: Vec<u64>,
    pub(crate) image_url: Option<String>,
    pub(crate) images: Vec<String>,
    pub(crate) popularity: Option<u64>,
    /// The same, with a likely number where the line says nothing.
    pub(crate) volume: u64,
    /// Discount in percent, 0 to 75; invented, as is all below.
    pub(crate) discount_percent: u64,
    /// Commission in tenths of a percent; `None` where the line says that none is paid.
    pub(crate) commission_permille: Option<u64>,
    /// Positive reviews in tenths of a percent.
    pub(crate) evaluate_permille: u64,
    pub(crate) shop_id: u64,
    /// Beyond 2^53, as real ones are.
    pub(crate) sku_id: u64,
    /// Days a parcel takes: 3, 5, 7 or 10.
    pub(crate) delivery_days: u64,
}

#[derive(Deserialize)]
struct Line {
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

impl Product {
    /// Reads one line without its line end; its categories join the others.
    pub(super) fn read(line: &[u8], categories: &mut Categories) -> Result<Self, BadLine> {
        let text = std::str::from_utf8(line).map_err(|error| ("not_utf8", error.to_string()))?;
        let line: Line = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        let id = line.id.ok_or_else(|| ("id_missing", "the line has no id".to_owned()))?;
        let id = read_id(&id.text())?;
        let title = line.title.filter(|title| !title.trim().is_empty());
        let title = title.ok_or_else(|| ("title_missing", "the line has no title".to_owned()))?;
        let is_paid = line.attributes.and_then(|known| known.commission).unwrap_or(true);
        let mut chance = fastrand::Rng::with_seed(id);
        let delivery_days = [3, 5, 7, 10].get(chance.usize(..4)).copied().unwrap_or(7);
        Ok(Self {
            id,
            title,
            brand: line.brand,
            price: read_price(line.price.map(Scalar::text), line.currency),
            categories: categories.along(&tidy_path(line.category_path.unwrap_or_default())),
            image_url: line.image_url.filter(|url| !url.is_empty()),
            images: line.images.unwrap_or_default(),
            popularity: line.popularity,
            volume: line.popularity.unwrap_or_else(|| likely_volume(&mut chance)),
            discount_percent: chance.u64(..=15) * 5,
            commission_permille: is_paid.then(|| 30 + chance.u64(..=60)),
            evaluate_permille: 850 + chance.u64(..=149),
            shop_id: 1_100_000_000 + chance.u64(..9_000),
            sku_id: 12_000_000_000_000_000 + id % 1_000_000_000_000_000,
            delivery_days,
        })
    }
}

/// Few products sell much and most sell little, as in any shop.
fn likely_volume(chance: &mut fastrand::Rng) -> u64 {
    let scale = 10_u64.pow(chance.u32(..=4));
    chance.u64(..=scale)
}

fn unreadable(error: &serde_json::Error) -> BadLine {
    let reason = match error.classify() {
        Fault::Data => "wrong_type",
        Fault::Io | Fault::Syntax | Fault::Eof => "not_json",
    };
    (reason, error.to_string())
}

fn read_id(text: &str) -> Result<u64, BadLine> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && *id > 0);
    id.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        ("id_invalid", format!("id {shown:?} is not a positive whole number"))
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Category {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) parent: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Categories {
    flat: Vec<Category>,
    by_id: HashMap<u64, usize>,
}

impl Categories {
    /// The ids along a path from the top down. A category that is not known yet is added.
    pub(super) fn along(&mut self, path: &[String]) -> Vec<u64> {
        let mut ids: Vec<u64> = Vec::with_capacity(path.len());
        for (depth, name) in path.iter().enumerate() {
            let above = path.get(..=depth).unwrap_or(path).join("\u{1f}");
            let checksum = u64::from(crc32fast::hash(above.as_bytes()));
            ids.push(self.id(checksum % 900_000_000 + 100_000_000, name, ids.last().copied()));
        }
        ids
    }

    /// The first id from `id` on that is this category's, or nobody's.
    fn id(&mut self, mut id: u64, name: &str, parent: Option<u64>) -> u64 {
        while let Some(known) = self.get(id) {
            if known.name == name && known.parent == parent {
                return id;
            }
            id += 1;
        }
        self.by_id.insert(id, self.flat.len());
        self.flat.push(Category { id, name: name.to_owned(), parent });
        id
    }

    fn get(&self, id: u64) -> Option<&Category> {
        self.flat.get(*self.by_id.get(&id)?)
    }

    pub(crate) fn flat(&self) -> &[Category] {
        &self.flat
    }

    pub(crate) fn name(&self, id: u64) -> Option<&str> {
        self.get(id).map(|category| category.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Product, BadLine> {
        Product::read(line.as_bytes(), &mut Categories::default())
    }

    fn reason(line: &str) -> &'static str {
        read(line).expect_err(line).0
    }

    #[test]
    fn a_whole_line_is_read() {
        let line = r#"{"id": "9300000000000001", "title": "Cup", "description": "x", "brand": "B",
            "price": "49.95", "currency": "USD", "category_path": ["A", " ", "C "], "image_url": null,
            "images": ["http://i"], "popularity": 3, "released": null,
            "attributes": {"n": 6.0, "commission": false}}"#;
        let mut categories = Categories::default();
        let read = Product::read(line.as_bytes(), &mut categories).unwrap();
        assert_eq!((read.id, read.title.as_str()), (9_300_000_000_000_001, "Cup"));
        let path: Vec<_> = read.categories.iter().filter_map(|id| categories.name(*id)).collect();
        assert_eq!(path, ["A", "C"]);
        assert!(matches!(read.price, Price::Known(money) if money.text() == "49.95"));
        assert_eq!(
            (read.image_url, read.popularity, read.commission_permille),
            (None, Some(3), None)
        );
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
        let bytes = Product::read(b"{\"id\": \"\xff\"}", &mut Categories::default());
        assert_eq!(bytes.unwrap_err().0, "not_utf8");
    }

    #[test]
    fn defects_of_a_real_catalogue_are_kept() {
        let price = |fields: &str| {
            let line = format!(r#"{{"id": 1, "title": "x"{fields}}}"#);
            read(&line).expect(&line).price
        };
        assert_eq!(price(""), Price::Missing);
        assert_eq!(price(r#", "price": null, "currency": "USD""#), Price::Missing);
        for odd in [r#""price": "free""#, r#""price": -1"#, r#""price": "5", "currency": "XXX""#] {
            assert!(matches!(price(&format!(", {odd}")), Price::Odd { .. }), "{odd}");
        }
        assert!(matches!(price(r#", "price": 49.5"#), Price::Known(m) if m.text() == "49.50"));
    }

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn paths_become_a_tree_with_stable_ids() {
        let mut tree = Categories::default();
        let knives = tree.along(&path(&["Home", "Kitchen", "Knives"]));
        assert_eq!(tree.along(&path(&["Home"])), knives[..1]);
        let toys = tree.along(&path(&["Toys", "Kitchen"]));
        assert_eq!((tree.flat().len(), knives.len()), (5, 3));
        let last = tree.flat().iter().find(|category| category.name == "Knives").unwrap();
        assert_eq!((last.id, last.parent), (knives[2], Some(knives[1])));
        assert_eq!(tree.name(knives[0]), Some("Home"));
        assert_ne!(toys[1], knives[1], "the same name elsewhere is another category");
        assert_eq!(Categories::default().along(&path(&["Home", "Kitchen", "Knives"])), knives);
        assert!(tree.along(&[]).is_empty());
    }

    #[test]
    fn two_paths_with_one_checksum_are_two_categories() {
        let mut tree = Categories::default();
        let ids = [tree.id(7, "a", None), tree.id(7, "b", None), tree.id(7, "b", None)];
        assert_eq!(ids, [7, 8, 8]);
    }
}
