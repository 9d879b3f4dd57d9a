//! `/`, where nobody knows the way yet: a small page for browsers, the same as JSON for programs.
//!
//! Owns: what is shown first. Made once at the start, of the addresses that are there. Has no neighbour
//! that could be down.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::to;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::documents::LASTS;
use crate::http::accept_encoding::{WHOLE, weight};
use crate::http::envelope::Integration;
use crate::http::extract::{Answer, Call};
use crate::http::service::{Route, Surface};
use crate::limits::Class;

const PAGE: &str = include_str!("start.html");
/// The page's own style and its icon may be used, and nothing else.
pub(super) const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-Q9GTgtnBpHHDQUdxvlmIe1UlOS0SpCMQoY8EcB59S5E='; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// It depends on whether a page is wanted.
const VARY: HeaderValue = HeaderValue::from_static("accept");

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
}

/// What `/` shows.
#[derive(Debug)]
pub struct StartPage {
    start: Start,
    page: Bytes,
}

impl StartPage {
    /// Of the addresses that are there.
    pub fn new(
        integration: Integration,
        surfaces: &[&Surface],
        is_there: impl Fn(&str) -> bool,
    ) -> Self {
        let there: Vec<_> = LINKS.into_iter().filter(|(_, path, _)| is_there(path)).collect();
        let examples: Vec<_> = surfaces.iter().map(|surface| surface.example).collect();
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

pub const ROUTES: &[Route] = &[Route::at("/", Class::General).get(|| to(start)).says(|doc| {
    let details = "As a page where `Accept` names `text/html`, as JSON to everybody else.";
    doc.says("Documents", "getStart", "Shows where to go.", details)
        .reports::<Start>("The addresses that lead on.")
        .lasts();
})];

async fn start(call: Call) -> Answer {
    let StartPage { start, page } = &call.worker.shared.documents.start;
    let accept = call.headers().get_all(header::ACCEPT).map(HeaderValue::as_bytes);
    let mut response = if wants_page(accept) {
        call.lasts(LASTS, page.clone());
        HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
            .body(page.clone())
    } else {
        call.lasts(LASTS, serde_json::to_vec(start).unwrap_or_default().into());
        call.report(start)?
    };
    response.headers_mut().append(header::VARY, VARY);
    Ok(response)
}

/// Whether a client names pages, and likes them at least as much as JSON (RFC 9110, 12.5.1). Programs
/// that take anything get JSON.
fn wants_page<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut page, mut json) = (0, 0);
    for item in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let liked = match kind.as_slice() {
            b"text/html" | b"application/xhtml+xml" => &mut page,
            b"application/json" => &mut json,
            _ => continue,
        };
        let mut weights = parts.filter(|part| matches!(part, [b'q' | b'Q', b'=', ..]));
        *liked = weights.next().map_or(WHOLE, weight).max(*liked);
    }
    page > 0 && page >= json
}

#[cfg(test)]
mod tests {
    use super::super::documents::tests::source;
    use super::*;

    #[test]
    fn only_who_names_pages_gets_one() {
        for (accept, page) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("TEXT/HTML", true),
            ("text/html;level=1;q=0.5, application/json;q=0.5", true),
            ("application/xhtml+xml", true),
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html;q=0.9", false),
            ("text/html;q=0", false),
            ("text/htmlx", false),
        ] {
            assert_eq!(wants_page([accept.as_bytes()].into_iter()), page, "{accept:?}");
        }
        assert!(!wants_page(std::iter::empty()));
        assert!(wants_page([&b"*/*"[..], b"text/html"].into_iter()));
    }

    #[test]
    fn only_what_is_there_is_shown() {
        let shown =
            |name, missing: &str| StartPage::new(Integration { name }, &[], |path| path != missing);
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
    fn the_policy_names_the_style() {
        let policy = PAGE_POLICY;
        let (source, policy) = (source(PAGE, "style"), policy.to_str().unwrap());
        assert!(policy.contains(&format!("style-src {source};")), "{source}");
    }
}
