//! The OpenAPI documents and the page that shows them.
//!
//! Owns: serving what was generated at start; nothing here needs a file or the internet.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::to;
use bytes::Bytes;

use crate::http::extract::Call;
use crate::http::public_address;
use crate::http::service::Route;
use crate::limits::Class;

const JSON: &str = "application/json";
/// Seconds that a client may keep a document: an upgrade is seen soon enough.
pub(super) const LASTS: u64 = 300;
const PAGE: &str = include_str!("documents.html");
/// The page's own script and style may run, named by their hashes (CSP 3, hash-source), and nothing
/// else. The test says what they are when the page changes.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-lez4dukWkezEmVAd/oAp6Kicnpv9DZ0Xfjr/o/gvT5g='; script-src 'sha256-wVa//GF+JamIw/5m2zXn8w1a3xVpZTycZHTE06cTfgQ='; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub const ROUTES: &[Route] = &[
    Route::at("/openapi.json", Class::General).get(|| to(complete)).says(|doc| {
        doc.says("Documents", "getOpenApi", "Shows this document.", "")
            .answers(&[JSON], "An OpenAPI 3.1 document.")
            .lasts();
    }),
    Route::at("/openapi-gpt.json", Class::General).get(|| to(for_gpt)).says(|doc| {
        let summary = "Shows the document for GPT Actions: the public operations only.";
        doc.says("Documents", "getOpenApiForGpt", summary, "")
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
    call.lasts(LASTS, Bytes::from_static(PAGE.as_bytes()));
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(PAGE)
}

#[cfg(test)]
pub(super) mod tests {
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

    pub(in super::super) fn source(page: &str, element: &str) -> String {
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
        // Of the text "alert('Hello, world.');", as the standard has it.
        let known = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='";
        assert_eq!(source("<script>alert('Hello, world.');</script>", "script"), known);
    }
}
