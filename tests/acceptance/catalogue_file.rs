//! The catalogue as this side reads it: `CATALOG`, or the one built into the simulator.
//!
//! Owns: its own reading of the file, so that what the service answers is compared with the source
//! and not with another reading of the simulator's.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;
use serde_json::Value;

/// A product of the file.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Id, digits.
    pub(crate) id: String,
    /// Title with white space folded.
    pub(crate) title: String,
    /// Exact price; none when the file has no usable one.
    pub(crate) price: Option<Decimal>,
    /// Currency.
    pub(crate) currency: String,
    /// False when the file says that no commission is paid.
    pub(crate) commission: bool,
}

/// All products of the file.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// In the file's order.
    pub(crate) products: Vec<Listed>,
    /// Places in `products`.
    pub(crate) by_id: HashMap<String, usize>,
    /// Categories of all levels.
    pub(crate) categories: usize,
}

/// The file named by `CATALOG`.
pub(crate) fn named() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its caller what to read")]
    let named = std::env::var_os("CATALOG");
    named.filter(|name| !name.is_empty()).map(PathBuf::from)
}

impl Catalogue {
    /// Reads the named file, or the built-in one.
    pub(crate) fn read() -> Self {
        let built_in = "src/services/products/catalogue/builtin.jsonl";
        let path =
            named().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(built_in));
        let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let plain: Box<dyn Read> = match path.extension() {
            Some(end) if end == "gz" => Box::new(MultiGzDecoder::new(file)),
            _ => Box::new(file),
        };
        let (mut products, mut paths) = (Vec::new(), HashSet::new());
        for line in BufReader::new(plain).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            products.push(listed(&line));
            let names: Vec<String> = path_of(&line).map(str::to_owned).collect();
            paths.extend((1..=names.len()).filter_map(|n| names.get(..n).map(<[_]>::to_vec)));
        }
        let places = products.iter().enumerate().map(|(at, listed)| (listed.id.clone(), at));
        Self { by_id: places.collect(), products, categories: paths.len() }
    }

    /// The product with this id.
    pub(crate) fn product(&self, id: &str) -> Option<&Listed> {
        self.products.get(*self.by_id.get(id)?)
    }
}

fn path_of(line: &Value) -> impl Iterator<Item = &str> {
    let names = line["category_path"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::trim).filter(|name| !name.is_empty())
}

fn listed(line: &Value) -> Listed {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let title = text("title").split_whitespace().collect::<Vec<_>>().join(" ");
    Listed {
        id: text("id"),
        title,
        price: text("price").parse().ok(),
        currency: text("currency"),
        commission: line["attributes"]["commission"].as_bool().unwrap_or(true),
    }
}
