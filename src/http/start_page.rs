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

pub(super) const PAGE: &str = include_str!("start_page.html");
/// The page's own style and its icon may be used, and nothing else.
pub(super) const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-Q9GTgtnBpHHDQUdxvlmIe1UlOS0SpCMQoY8EcB59S5E='; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
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
        let version = env!("CARGO_PKG_VERSION");
        let linked = |path: &str, what: &str| {
            // From where the page is: a proxy may put something in front.
            let from_here = path.trim_start_matches('/');
            format!("<li><a href=\"{from_here}\">{path}</a><span>{what}</span></li>")
        };
        let page = PAGE
            .replace("{version}", version)
            .replace("{about}", about)
            .replace(
                "{links}",
                &there.iter().map(|(_, path, what)| linked(path, what)).collect::<String>(),
            )
            .replace(
                "{examples}",
                &examples.iter().map(|path| linked(path, "")).collect::<String>(),
            );
        let start = Start {
            service: "breakwater",
            version,
            api_integration: integration.name,
            links: there.iter().map(|(name, path, _)| (*name, *path)).collect(),
            examples,
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
            StartPage::new(Integration { name }, vec!["/x"], |path| path != missing)
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
}
