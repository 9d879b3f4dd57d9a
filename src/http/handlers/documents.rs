//! `/`, the OpenAPI documents, and the page that shows them.
//!
//! Owns: serving what was generated at start; nothing here needs a file or the internet.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::to;
use bytes::Bytes;

use crate::http::accept_encoding::{WHOLE, weight};
use crate::http::extract::{Answer, Call};
use crate::http::public_address;
use crate::http::service::Route;
use crate::http::start_page::{self, Start, StartPage};
use crate::limits::Class;

const JSON: &str = "application/json";
/// Seconds that a client may keep a document: an upgrade is seen soon enough.
const LASTS: u64 = 300;
/// It depends on whether a page is wanted.
const BY_ACCEPT: HeaderValue = HeaderValue::from_static("accept");

const PAGE: &str = include_str!("documents.html");
/// The page's own script and style may run, named by their hashes (CSP 3, hash-source), and nothing
/// else. The test says what they are when the page changes.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-lez4dukWkezEmVAd/oAp6Kicnpv9DZ0Xfjr/o/gvT5g='; script-src 'sha256-YuchNenyGK1/sTGqCgycsCv93X+t60s+ii2+vkylhV8='; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub const ROUTES: &[Route] = &[
    Route::at("/", Class::General).get(|| to(start)).says(|doc| {
        let details = "As a page where `Accept` names `text/html`, as JSON to everybody else.";
        doc.says("Documents", "getStart", "Shows where to go.", details)
            .reports::<Start>("The addresses that lead on.")
            .lasts();
    }),
    Route::at("/openapi.json", Class::General).get(|| to(complete)).says(|doc| {
        let details = "Every operation, with what it takes, answers and needs.";
        doc.says("Documents", "getOpenApi", "Shows this document.", details)
            .answers(&[JSON], "An OpenAPI 3.1 document.")
            .lasts();
    }),
    Route::at("/openapi-gpt.json", Class::General).get(|| to(for_gpt)).says(|doc| {
        let summary = "Shows the document for GPT Actions: the public operations only.";
        let details = "With one security scheme and short descriptions, as GPT Actions need them.";
        doc.says("Documents", "getOpenApiForGpt", summary, details)
            .answers(&[JSON], "An OpenAPI 3.1 document.")
            .lasts();
    }),
    Route::at("/docs", Class::General).get(|| to(page)).says(|doc| {
        let details = "With a form to try every operation; needs no other file.";
        doc.says("Documents", "getDocs", "Shows this document as a page.", details)
            .answers(&["text/html"], "The page.")
            .lasts();
    }),
];

async fn start(call: Call) -> Answer {
    let StartPage { start, page } = &call.worker.shared.documents.start;
    let accept = call.headers().get_all(header::ACCEPT).map(HeaderValue::as_bytes);
    let mut response = if wants_page(accept) {
        html(&call, page.clone(), start_page::PAGE_POLICY)
    } else {
        call.lasts(LASTS, serde_json::to_vec(start).unwrap_or_default().into());
        call.report(start)?
    };
    response.headers_mut().append(header::VARY, BY_ACCEPT);
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

async fn complete(call: Call) -> HttpResponse {
    document(&call, &call.worker.shared.documents.openapi)
}

async fn for_gpt(call: Call) -> HttpResponse {
    document(&call, &call.worker.shared.documents.openapi_gpt)
}

fn document(call: &Call, text: &Bytes) -> HttpResponse {
    let text = match call.public_address() {
        Some(address) => public_address::written_into(text, &address),
        None => text.clone(),
    };
    call.lasts(LASTS, text.clone());
    let vary = (header::VARY, public_address::VARY);
    HttpResponse::Ok().content_type(JSON).append_header(vary).body(text)
}

async fn page(call: Call) -> HttpResponse {
    html(&call, Bytes::from_static(PAGE.as_bytes()), PAGE_POLICY)
}

fn html(call: &Call, page: Bytes, policy: HeaderValue) -> HttpResponse {
    call.lasts(LASTS, page.clone());
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(page)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// RFC 4648, section 4.
    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let at = |place: usize| usize::from(three.get(place).copied().unwrap_or(0));
            let bits = (at(0) << 16) | (at(1) << 8) | at(2);
            for place in 0..4 {
                let letter = char::from(LETTERS[(bits >> (18 - 6 * place)) & 63]);
                text.push(if place <= three.len() { letter } else { '=' });
            }
        }
        text
    }

    fn source(page: &str, element: &str) -> String {
        let (_, behind) = page.split_once(&format!("<{element}>")).unwrap();
        let (text, _) = behind.split_once(&format!("</{element}>")).unwrap();
        format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())))
    }

    #[test]
    fn the_page_has_one_script_and_one_style_and_the_policy_names_them() {
        let policy = PAGE_POLICY;
        let policy = policy.to_str().unwrap();
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1);
            let source = source(PAGE, element);
            assert!(policy.contains(&format!("{element}-src {source};")), "{source}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        // A proxy may put something in front of every address.
        let absolute = ["\"/openapi", "href=\"/", "href: \"/"];
        assert!(absolute.iter().all(|text| !PAGE.contains(text)));
        let (style, policy) = (source(start_page::PAGE, "style"), start_page::PAGE_POLICY);
        assert!(policy.to_str().unwrap().contains(&format!("style-src {style};")), "{style}");
        // Of the text "alert('Hello, world.');", as the standard has it.
        let known = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='";
        assert_eq!(source("<script>alert('Hello, world.');</script>", "script"), known);
    }

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
}
