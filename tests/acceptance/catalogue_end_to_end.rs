//! A whole catalogue through the gateway: every answer right, then every answer from the cache,
//! then every answer from SQL after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use breakwater::clock::monotonic;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::catalogue_file::{self, Catalogue};
use crate::figures::{Table, millis, samples, simulator_calls};
use crate::support::gateway::{Plan, Running, simulate};
use crate::survey::{self, Reply, ask_all, assert_all_good, by_tier};

const SEARCHES: usize = 2_000;
const DETAILS: usize = 500;

/// One round of all questions.
struct Round {
    searches: Vec<Reply>,
    details: Vec<Reply>,
    categories: Vec<Reply>,
    upstream_calls: u64,
    took: Duration,
}

impl Round {
    fn run(gateway: &Running, simulator: &Running, questions: &Questions) -> Self {
        let before = simulator_calls(&mut simulator.connection());
        let began = monotonic();
        let searches = ask_all(gateway.address, &questions.searches);
        let details = ask_all(gateway.address, &questions.details);
        let categories = all_categories(gateway);
        let took = monotonic() - began;
        let upstream_calls = simulator_calls(&mut simulator.connection()) - before;
        assert_all_good("searches", &searches);
        assert_all_good("details", &details);
        assert_all_good("categories", &categories);
        Self { searches, details, categories, upstream_calls, took }
    }

    fn replies(&self) -> impl Iterator<Item = &Reply> {
        self.searches.iter().chain(&self.details).chain(&self.categories)
    }

    fn row(&self, name: &str) -> [String; 9] {
        let mut tiers = by_tier(&self.searches);
        for (tier, count) in by_tier(&self.details).into_iter().chain(by_tier(&self.categories)) {
            *tiers.entry(tier).or_default() += count;
        }
        let tier = |name: &str| tiers.get(name).copied().unwrap_or(0).to_string();
        [
            name.to_owned(),
            self.searches.len().to_string(),
            self.details.len().to_string(),
            self.categories.len().to_string(),
            tier("none"),
            tier("memory"),
            tier("database"),
            self.upstream_calls.to_string(),
            millis(self.took),
        ]
    }
}

struct Questions {
    searches: Vec<String>,
    details: Vec<String>,
}

#[test]
fn catalogue_end_to_end() {
    let catalogue = Catalogue::read();
    let file = catalogue_file::named();
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulate(folder.path(), file.as_deref());
    // Empty results must not run out between two rounds.
    let plan = Plan::in_folder(folder.path())
        .before(simulator.address)
        .with("CACHE_NEGATIVE_TTL", "3600")
        .with("LOG_LEVEL", "warning");
    let questions = Questions {
        searches: survey::searches(&catalogue, SEARCHES),
        details: survey::details(&catalogue, DETAILS),
    };

    let gateway = plan.start();
    let cold = Round::run(&gateway, &simulator, &questions);
    let compared = compare(&cold, &catalogue);
    let dropped = dropped(&gateway);
    let warm = Round::run(&gateway, &simulator, &questions);
    gateway.stop();
    let gateway = plan.start();
    let restarted = Round::run(&gateway, &simulator, &questions);
    gateway.stop();
    simulator.stop();

    let source =
        file.map_or("the built-in catalogue".to_owned(), |file| file.display().to_string());
    print(&source, &catalogue, &compared, &dropped, [&cold, &warm, &restarted]);
    judge(&compared, &dropped, &cold, &warm, &restarted);
}

fn judge(
    compared: &Compared,
    dropped: &BTreeMap<String, u64>,
    cold: &Round,
    warm: &Round,
    restarted: &Round,
) {
    assert!(compared.differences.is_empty(), "{:#?}", compared.differences);
    let left_out: u64 = dropped.values().sum();
    assert_eq!(compared.expected, compared.products + left_out, "no product is lost silently");
    for (name, round) in [("again", warm), ("after the restart", restarted)] {
        assert_eq!(round.upstream_calls, 0, "{name}: upstream calls");
        let missed = round.replies().find(|reply| reply.tier() == "none");
        assert!(missed.is_none(), "{name}: not from the cache: {missed:?}");
        assert_same("searches", &cold.searches, &round.searches);
        assert_same("details", &cold.details, &round.details);
        assert_same("categories", &cold.categories, &round.categories);
    }
    // Those asked for most are in memory already: warming took them from SQL, too.
    let tiers = by_tier(&restarted.searches);
    let kept = ["memory", "database"].map(|tier| tiers.get(tier).copied().unwrap_or(0));
    assert_eq!(kept.iter().sum::<usize>(), SEARCHES, "after the restart: {tiers:?}");
    assert!(kept[1] > SEARCHES / 2, "most come from SQL when asked for: {tiers:?}");
}

fn assert_same(what: &str, first: &[Reply], later: &[Reply]) {
    let differs = first.iter().zip(later).find(|(first, later)| first.data() != later.data());
    assert!(differs.is_none(), "{what}: another answer than the first time: {differs:#?}");
    assert_eq!(first.len(), later.len(), "{what}");
}

/// The list of categories, then the children of each.
fn all_categories(gateway: &Running) -> Vec<Reply> {
    let mut replies = ask_all(gateway.address, &["/api/categories".to_owned()]);
    let listed: Vec<String> = replies
        .iter()
        .flat_map(|reply| category_ids(reply.data()))
        .map(|id| format!("/api/categories/{id}/children"))
        .collect();
    replies.extend(ask_all(gateway.address, &listed));
    replies
}

fn category_ids(data: &Value) -> BTreeSet<String> {
    let listed = data["categories"].as_array().into_iter().flatten();
    listed.filter_map(|category| category["category_id"].as_str()).map(str::to_owned).collect()
}

/// What the comparison of the answers with the file found.
#[derive(Debug, Default)]
struct Compared {
    /// Products in answers that were compared.
    products: u64,
    /// Products that the answers should hold by their own count of matches.
    expected: u64,
    differences: Vec<String>,
}

fn compare(round: &Round, catalogue: &Catalogue) -> Compared {
    let mut compared = Compared::default();
    for reply in &round.searches {
        compared.expected += on_page(reply.data());
        for product in reply.data()["products"].as_array().into_iter().flatten() {
            compared.product(product, catalogue, reply);
        }
    }
    for reply in &round.details {
        compared.expected += 1;
        let product = product_of(reply.data());
        let asked = reply.path.rsplit('/').next();
        if product["product_id"].as_str() != asked {
            compared.differences.push(format!("{}: another product", reply.path));
        }
        compared.product(product, catalogue, reply);
    }
    compared.categories(&round.categories, catalogue);
    compared
}

/// A single product stands in `data` itself, or under `product`.
fn product_of(data: &Value) -> &Value {
    data.get("product").unwrap_or(data)
}

/// How many products the upstream has for this page.
fn on_page(data: &Value) -> u64 {
    let figure = |name: &str| data[name].as_u64().unwrap_or(0);
    let before = figure("page_size") * figure("current_page").saturating_sub(1);
    figure("total_record_count").saturating_sub(before).min(figure("page_size"))
}

impl Compared {
    fn product(&mut self, product: &Value, catalogue: &Catalogue, reply: &Reply) {
        self.products += 1;
        let text = |name: &str| product[name].as_str().unwrap_or_default();
        let Some(listed) = catalogue.product(text("product_id")) else {
            self.differences.push(format!("{}: not in the catalogue: {product}", reply.path));
            return;
        };
        let price: Option<Decimal> = text("price").parse().ok();
        let same = price.is_some()
            && price == listed.price
            && text("currency") == listed.currency
            && text("product_title") == listed.title;
        if !same {
            self.differences.push(format!("{}: {product} is not {listed:?}", reply.path));
        }
    }

    fn categories(&mut self, replies: &[Reply], catalogue: &Catalogue) {
        let Some((all, children)) = replies.split_first() else { return };
        let listed = category_ids(all.data()).len();
        if listed != catalogue.categories {
            self.differences.push(format!("{listed} categories, not {}", catalogue.categories));
        }
        let below: BTreeSet<String> =
            children.iter().flat_map(|reply| category_ids(reply.data())).collect();
        let tops = all.data()["categories"].as_array().into_iter().flatten();
        let tops = tops.filter(|category| category["parent_category_id"].is_null()).count();
        if below.len() + tops != listed {
            self.differences.push(format!("{tops} tops and {} children", below.len()));
        }
    }
}

/// Products left out by the gateway so far, by reason.
fn dropped(gateway: &Running) -> BTreeMap<String, u64> {
    let metrics = gateway.connection().get("/metrics").expect("metrics answer").text();
    let counts = samples(&metrics, "products_dropped_total").into_iter();
    counts
        .filter(|(_, count)| *count > 0.0)
        .map(|(labels, count)| {
            let reason = labels.split('"').nth(1).unwrap_or_default().to_owned();
            (reason, format!("{count:.0}").parse().unwrap_or(u64::MAX))
        })
        .collect()
}

fn print(
    source: &str,
    catalogue: &Catalogue,
    compared: &Compared,
    dropped: &BTreeMap<String, u64>,
    rounds: [&Round; 3],
) {
    let columns = [
        "round",
        "searches",
        "details",
        "categories",
        "upstream",
        "memory",
        "database",
        "calls",
        "ms",
    ];
    let title = format!("catalogue end to end: {source}, {} products", catalogue.products.len());
    let mut table = Table::new(title, &columns);
    for (name, round) in ["first", "again", "after a restart"].into_iter().zip(rounds) {
        table.row(round.row(name));
    }
    table.print();
    println!(
        "  failures 0; products compared {}, different {}; dropped {dropped:?}",
        compared.products,
        compared.differences.len()
    );
}
