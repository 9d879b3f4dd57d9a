//! `link.generate`: affiliate links.
//!
//! Owns: what a link looks like and who gets none. Links come in another order than asked, each
//! with its `source_value`. A product without commission, a short link and an address outside the shop
//! come without `promotion_link`. Refuses: more than 50 at once.

use serde_json::{Value, json};
use url::Url;

use super::super::refusal::Refusal;
use super::{Answer, Call, Method};

const MOST_LINKS: usize = 50;

pub(super) const METHODS: &[Method] =
    &[Method { name: "aliexpress.affiliate.link.generate", answer: generate }];

fn generate(call: &Call<'_>) -> Result<Answer, Refusal> {
    let parameters = call.parameters;
    let tracking_id = parameters.required("tracking_id")?;
    parameters.required("source_values")?;
    let kind = parameters.one_of("promotion_link_type", &["0", "2"])?.unwrap_or("0");
    let asked = parameters.list("source_values");
    if asked.len() > MOST_LINKS {
        return Err(Refusal::invalid("source_values", "at most 50 addresses"));
    }
    let mut sources = in_another_order(&asked);
    if call.has_wrong_tracking_id() {
        sources.clear();
    }
    let links: Vec<Value> = sources.into_iter().map(|source| link(call, source, kind)).collect();
    Ok(Answer::Result(json!({
        "total_result_count": links.len(),
        "tracking_id": tracking_id,
        "promotion_links": {"promotion_link": links},
    })))
}

/// Sorted by checksum, and reversed if that happens to be the order asked.
fn in_another_order<'a>(asked: &[&'a str]) -> Vec<&'a str> {
    let mut order: Vec<&str> = asked.to_vec();
    order.sort_by_key(|source| (crc32fast::hash(source.as_bytes()), *source));
    order.dedup();
    if order == asked {
        order.reverse();
    }
    order
}

fn link(call: &Call<'_>, source: &str, kind: &str) -> Value {
    if earns(call, source) {
        let link = short_link('e', &format!("{kind}:{source}"), call.tracking_id);
        json!({"source_value": source, "promotion_link": link})
    } else {
        json!({"source_value": source})
    }
}

/// Whether anything is paid for this address.
fn earns(call: &Call<'_>, source: &str) -> bool {
    let Ok(url) = Url::parse(source) else { return false };
    let is_shop = url.host_str().is_some_and(|host| {
        let is_short = matches!(host, "a.aliexpress.com" | "s.click.aliexpress.com");
        let ends = [".aliexpress.com", ".aliexpress.us"];
        !is_short && (host == "aliexpress.com" || ends.iter().any(|end| host.ends_with(end)))
    });
    let product = item_id(&url).and_then(|id| call.catalogue.product(id));
    is_shop && product.is_none_or(|product| product.commission_permille.is_some())
}

fn item_id(url: &Url) -> Option<u64> {
    url.path().strip_prefix("/item/")?.strip_suffix(".html")?.parse().ok()
}

/// A short link of the kind `e` (one address) or `s` (shared), the same in every run.
pub(super) fn short_link(kind: char, what: &str, tracking_id: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let hash = |text: String| u64::from(crc32fast::hash(text.as_bytes()));
    let (left, right) =
        (hash(format!("{kind}{tracking_id}:{what}")), hash(format!("{what}{kind}")));
    let mut chance = fastrand::Rng::with_seed(left << 32 | right);
    let code: String =
        (0..8).filter_map(|_| chance.choice(DIGITS)).map(|byte| char::from(*byte)).collect();
    format!("https://s.click.aliexpress.com/{kind}/_{code}")
}
