//! A product of a catalogue.
//!
//! Owns: what a catalogue line says, and what it lacks and the simulator's answers need: discount,
//! commission, ratings, shop and so on, invented from the id, so that they are the same in every
//! run. Who tells the truth from a catalogue leaves out what is invented. Has no neighbour.

use super::categories::Categories;
use super::line::{Line, Price};

/// One product, ready to be found and served.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    /// Product id.
    pub(crate) id: u64,
    /// Title, as in the catalogue.
    pub(crate) title: String,
    /// Price, as far as known.
    pub(crate) price: Price,
    /// Category numbers from the top down; may be empty.
    pub(crate) categories: Vec<u64>,
    /// Main image.
    pub(crate) image_url: Option<String>,
    /// More images.
    pub(crate) images: Vec<String>,
    /// Units sold lately; likely ones where the line says nothing.
    pub(crate) volume: u64,
    /// The same, as far as the line says.
    pub(crate) popularity: Option<u64>,
    /// Discount in percent, 0 to 75.
    pub(crate) discount_percent: u64,
    /// Commission in tenths of a percent; none is paid for a few products.
    pub(crate) commission_permille: Option<u64>,
    /// Positive reviews in tenths of a percent.
    pub(crate) evaluate_permille: u64,
    /// Shop.
    pub(crate) shop_id: u64,
    /// Stock-keeping unit; beyond 2^53.
    pub(crate) sku_id: u64,
    /// Days a parcel takes: 3, 5, 7 or 10.
    pub(crate) delivery_days: u64,
}

impl Product {
    /// The product of a catalogue line.
    pub(crate) fn of(line: Line, categories: &Categories) -> Self {
        let mut chance = fastrand::Rng::with_seed(line.id);
        let delivery_days = [3, 5, 7, 10].get(chance.usize(..4)).copied().unwrap_or(7);
        Self {
            id: line.id,
            categories: categories.ids(&line.category_path),
            popularity: line.popularity,
            volume: line.popularity.unwrap_or_else(|| likely_volume(&mut chance)),
            discount_percent: chance.u64(..=15) * 5,
            commission_permille: line.commission.then(|| 30 + chance.u64(..=60)),
            evaluate_permille: 850 + chance.u64(..=149),
            shop_id: 1_100_000_000 + chance.u64(..9_000),
            sku_id: 12_000_000_000_000_000 + line.id % 1_000_000_000_000_000,
            delivery_days,
            title: line.title,
            price: line.price,
            image_url: line.image_url,
            images: line.images,
        }
    }
}

/// Few products sell much and most sell little, as in any shop.
fn likely_volume(chance: &mut fastrand::Rng) -> u64 {
    let scale = 10_u64.pow(chance.u32(..=4));
    chance.u64(..=scale)
}
