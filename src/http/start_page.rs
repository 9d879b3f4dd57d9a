//! `/`, where nobody knows the way yet: a small page for browsers, the same as JSON for programs.
//!
//! Owns: what is shown first, and the documents beside it, made once at the start. A leaf.

use std::collections::BTreeMap;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::Integration;
use super::page_files::PageFiles;
use super::route::is_keyed;
use crate::limits::Class;

pub(super) const PAGE: &str = include_str!("start_page.html");
/// The page's own style and its icon may be used, and nothing else.
pub(super) const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-eaR/RwoUQPAmzr8MveQ+aooR+4MwAtfvHxmLn067Knc='; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// What leads on: its name for programs, its address, and what a person finds there.
const LINKS: [(&str, &str, &str); 8] = [
    ("docs", "/docs", "every operation, with a form to try it"),
    ("openapi", "/openapi.json", "the same as an OpenAPI document"),
    ("openapi_gpt", "/openapi-gpt.json", "the public operations, for GPT Actions"),
    ("health", "/health", "whether it runs; with its parts at /health/detailed"),
    ("status", "/api/status", "what it answers from, and what it has to do without"),
    ("cache", "/api/cache/stats", "how many upstream calls the cache saved"),
    ("metrics", "/metrics", "all counters, for Prometheus"),
    ("admin", "/admin", "for the operator, with the admin's key"),
];

/// How an example is sent where a key is required.
const WITH_KEY: &str = "<span>with the header <code>x-internal-key: KEY</code> or <code>Authorization: Bearer KEY</code></span>";

/// Where to go.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Start {
    /// Name of the service.
    service: &'static str,
    /// Its version.
    version: &'static str,
    /// `live` or `simulator`.
    api_integration: &'static str,
    /// The addresses that lead on, by name.
    links: BTreeMap<&'static str, &'static str>,
    /// Requests to begin with.
    examples: Vec<&'static str>,
    /// What the examples carry: where a key is required, its header with `KEY` in its place.
    headers: BTreeMap<&'static str, &'static str>,
}

/// What describes this gateway, made once.
#[derive(Debug)]
pub struct Documents {
    pub start: StartPage,
    pub openapi: Bytes,
    pub openapi_gpt: Bytes,
    pub admin_page: PageFiles,
}

/// What `/` shows.
#[derive(Debug)]
pub struct StartPage {
    pub(super) start: Start,
    pub(super) page: Bytes,
}

impl StartPage {
    /// Of the addresses that are there.
    pub fn new(
        integration: Integration,
        key_required: bool,
        examples: Vec<&'static str>,
        is_there: impl Fn(&str) -> bool,
    ) -> Self {
        let there: Vec<_> = LINKS.into_iter().filter(|(_, path, _)| is_there(path)).collect();
        let about = match integration.name {
            "simulator" => {
                "A gateway that keeps answering when what is behind it does not. No account is set: \
                 what it answers comes from its simulator and is made up."
            }
            _ => "A gateway that keeps answering when what is behind it does not.",
        };
        // The class is that of all links but health, which has a scope of its own, and metrics.
        let needs_key =
            |path: &str| key_required && is_keyed(path, Class::General) && path != "/metrics";
        let version = env!("CARGO_PKG_VERSION");
        let linked = |path: &str, what: &str| {
            // From where the page is: a proxy may put something in front.
            let from_here = path.trim_start_matches('/');
            let key = if needs_key(path) { "; with a client's key" } else { "" };
            format!("<li><a href=\"{from_here}\">{path}</a><span>{what}{key}</span></li>")
        };
        // A link cannot carry a key.
        let example = |path: &str| {
            if key_required {
                format!("<li><code>GET {path}</code>{WITH_KEY}</li>")
            } else {
                linked(path, "")
            }
        };
        let page = PAGE
            .replace("{version}", version)
            .replace("{about}", about)
            .replace(
                "{links}",
                &there.iter().map(|(_, path, what)| linked(path, what)).collect::<String>(),
            )
            .replace("{examples}", &examples.iter().map(|path| example(path)).collect::<String>());
        let start = Start {
            service: "breakwater",
            version,
            api_integration: integration.name,
            links: there.iter().map(|(name, path, _)| (*name, *path)).collect(),
            examples,
            headers: key_required.then_some(("x-internal-key", "KEY")).into_iter().collect(),
        };
        Self { start, page: page.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_shown() {
        let shown = |name, missing: &str| {
            StartPage::new(Integration { name }, false, vec!["/x"], |path| path != missing)
        };
        let live = shown("live", "/admin");
        assert!(!live.start.links.contains_key("admin"));
        let text = String::from_utf8(live.page.to_vec()).unwrap();
        assert!(text.contains("href=\"docs\"") && !text.contains("/admin"), "{text}");
        assert!(!text.contains("made up"), "{text}");
        for place in ["{version}", "{about}", "{links}", "{examples}"] {
            assert!(PAGE.contains(place) && !text.contains(place), "{place}");
        }
        let simulated = shown("simulator", "");
        assert!(simulated.page.windows(7).any(|part| part == b"made up"));
        assert_eq!(simulated.start.links["admin"], "/admin");
    }

    #[test]
    fn examples_carry_a_key_where_one_is_required() {
        let shown = |required| {
            let page = StartPage::new(Integration { name: "live" }, required, vec!["/x"], |_| true);
            (String::from_utf8(page.page.to_vec()).unwrap(), serde_json::json!(page.start))
        };
        let (page, start) = shown(true);
        assert!(
            page.contains("<code>GET /x</code>") && page.contains("x-internal-key: KEY"),
            "{page}"
        );
        assert!(!page.contains("href=\"x\""), "a link would be answered 401: {page}");
        assert_eq!(page.matches("; with a client's key").count(), 2, "{page}");
        assert_eq!(start["headers"], serde_json::json!({"x-internal-key": "KEY"}));
        let (page, start) = shown(false);
        assert!(page.contains("href=\"x\"") && !page.contains("KEY"), "{page}");
        assert_eq!(start["headers"], serde_json::json!({}));
    }
}
