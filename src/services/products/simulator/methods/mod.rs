//! The methods of the gateway: their names and who answers each.
//!
//! Owns: the list of methods. A method reads its parameters, complains in the gateway's words or
//! answers; it does no I/O, reads no clock and cannot fail otherwise. `image.search` is not among
//! them: looking at pictures is beyond a simulator.

mod categories;
mod links;
mod orders;
mod product_view;
mod products;
mod promotions;
mod smart_match;

use super::answer::Answer;
use super::parameters::Parameters;
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::services::products::aliexpress::terms::Language;
use crate::services::products::catalogue::Catalogue;

/// A method the simulator answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Search.
    ProductQuery,
    /// Search among what sells best.
    HotProductQuery,
    /// Products by id.
    ProductDetail,
    /// All categories.
    Categories,
    /// Affiliate links.
    Links,
    /// Products like another.
    SmartMatch,
    /// Names of promotions.
    Promotions,
    /// Products of a promotion.
    PromotionProducts,
    /// Orders by time, page by page.
    OrderList,
    /// Orders by time, with a cursor.
    OrderListByIndex,
    /// Orders by id.
    OrderGet,
}

impl Method {
    /// Every method, in the order of the protocol page.
    pub(crate) const ALL: [Self; 11] = [
        Self::ProductQuery,
        Self::HotProductQuery,
        Self::ProductDetail,
        Self::Categories,
        Self::Links,
        Self::SmartMatch,
        Self::Promotions,
        Self::PromotionProducts,
        Self::OrderList,
        Self::OrderListByIndex,
        Self::OrderGet,
    ];

    /// The full name, as sent in `method`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ProductQuery => "aliexpress.affiliate.product.query",
            Self::HotProductQuery => "aliexpress.affiliate.hotproduct.query",
            Self::ProductDetail => "aliexpress.affiliate.productdetail.get",
            Self::Categories => "aliexpress.affiliate.category.get",
            Self::Links => "aliexpress.affiliate.link.generate",
            Self::SmartMatch => "aliexpress.affiliate.product.smartmatch",
            Self::Promotions => "aliexpress.affiliate.featuredpromo.get",
            Self::PromotionProducts => "aliexpress.affiliate.featuredpromo.products.get",
            Self::OrderList => "aliexpress.affiliate.order.list",
            Self::OrderListByIndex => "aliexpress.affiliate.order.listbyindex",
            Self::OrderGet => "aliexpress.affiliate.order.get",
        }
    }

    /// The method of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// One call whose caller is known.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Everything that was sent.
    pub(crate) parameters: &'a Parameters,
    /// Everything there is.
    pub(crate) catalogue: &'a Catalogue,
    /// The caller's one valid tracking id.
    pub(crate) tracking_id: &'a str,
    /// When.
    pub(crate) now: Timestamp,
}

impl Call<'_> {
    /// Answers, or complains.
    pub(crate) fn answer(&self, method: Method) -> Result<Answer, Refusal> {
        match method {
            Method::ProductQuery => products::query(self, None),
            Method::HotProductQuery => products::hot(self),
            Method::ProductDetail => products::detail(self),
            Method::Categories => Ok(categories::all(self)),
            Method::Links => links::generate(self),
            Method::SmartMatch => smart_match::like(self),
            Method::Promotions => Ok(promotions::names(self)),
            Method::PromotionProducts => promotions::products(self),
            Method::OrderList => orders::by_page(self),
            Method::OrderListByIndex => orders::by_cursor(self),
            Method::OrderGet => orders::by_id(self),
        }
    }

    /// Whether a tracking id was sent that the caller does not have. Upstream says nothing about
    /// it and answers with an empty list.
    fn wrong_tracking_id(&self) -> bool {
        self.parameters.get("tracking_id").is_some_and(|sent| sent != self.tracking_id)
    }

    /// The country parcels go to, under either of its two names.
    fn country(&self, name: &str) -> Result<&str, Refusal> {
        let country = self.parameters.get(name).unwrap_or("US");
        let known = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        known.then_some(country).ok_or_else(|| Refusal::invalid(name, "two capital letters"))
    }

    /// Titles stay in the catalogue's language; the language asked for is only checked.
    fn check_language(&self) -> Result<(), Refusal> {
        let languages = Language::ALL.map(Language::code);
        self.parameters.one_of("target_language", &languages).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
