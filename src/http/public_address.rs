//! The address by which clients reach this gateway, for documents that name it.
//!
//! It is `PUBLIC_URL`, or what a trusted proxy tells (`Forwarded`, RFC 7239, or `X-Forwarded-Host` and
//! `X-Forwarded-Proto`, else the `Host` it passes on). Nobody else is believed: what is left then is the
//! address relative to the document. A leaf.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use bytes::Bytes;
use serde_json::json;

use super::state::Shared;
use crate::limits::is_trusted;

pub(super) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What it depends on where a proxy tells it.
pub(super) const VARY: HeaderValue =
    HeaderValue::from_static("forwarded, x-forwarded-host, x-forwarded-proto");
/// Longest host with its port: a name of the DNS, a colon, five digits.
const LONGEST: usize = 253 + 6;

/// The address without a slash at the end; `None` where nobody knows it.
pub(super) fn public_address(shared: &Shared, request: &HttpRequest) -> Option<String> {
    if let Some(address) = &shared.settings.server.public_url {
        return Some(address.trim_end_matches('/').to_owned());
    }
    let peer = request.peer_addr()?.ip();
    let is_trusted = is_trusted(peer, &shared.settings.limits.trusted_proxies);
    is_trusted.then(|| told(request.headers())).flatten()
}

/// What a proxy tells. Of several hosts the first is the one that the client asked.
fn told(headers: &HeaderMap) -> Option<String> {
    let first = |name: HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok())?;
        value.split(',').next().map(str::trim)
    };
    let forwarded = first(header::FORWARDED).unwrap_or_default();
    let pair = |wanted: &str| {
        let pairs = forwarded.split(';').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value.trim().trim_matches('"'))
    };
    let host = pair("host").or_else(|| first(FORWARDED_HOST)).or_else(|| first(header::HOST))?;
    let scheme = pair("proto").or_else(|| first(FORWARDED_PROTO)).unwrap_or("http");
    let scheme = ["http", "https"].into_iter().find(|one| one.eq_ignore_ascii_case(scheme))?;
    is_host(host).then(|| format!("{scheme}://{}", host.to_ascii_lowercase()))
}

/// Only what a name or an address with a port is made of: this goes into documents.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=LONGEST).contains(&host.len()) && host.bytes().all(allowed)
}

/// Where a document names the address it describes, relative to itself.
const SERVER: &[u8] = b"\"url\":\"/\"";

/// The document for clients that reach the gateway at `address`.
#[must_use]
pub(super) fn written_into(document: &Bytes, address: &str) -> Bytes {
    let Some(place) = document.windows(SERVER.len()).position(|part| part == SERVER) else {
        return document.clone();
    };
    let (before, rest) = document.split_at(place);
    let server = format!("\"url\":{}", json!(address));
    [before, server.as_bytes(), rest.get(SERVER.len()..).unwrap_or_default()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_by(pairs: &[(&'static str, &str)]) -> Option<String> {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        told(&pairs.iter().map(field).collect())
    }

    #[test]
    fn a_proxy_tells_host_and_scheme() {
        let shop = Some("https://api.shop.example".to_owned());
        let (proto, host) = (("x-forwarded-proto", "https"), ("host", "api.shop.example"));
        assert_eq!(told_by(&[host, proto]), shop);
        let forwarded = ("x-forwarded-host", "API.shop.example, inner");
        assert_eq!(told_by(&[("host", "inner"), forwarded, proto]), shop);
        let standard =
            ("forwarded", "for=1.2.3.4;Host=\"api.shop.example\"; proto=https, for=5.6.7.8");
        assert_eq!(told_by(&[("host", "inner"), standard]), shop);
        assert_eq!(told_by(&[("host", "[::1]:8080")]), Some("http://[::1]:8080".to_owned()));
    }

    #[test]
    fn what_is_no_host_is_not_told() {
        for host in ["", "a b", "a/b", "a\"", "user@host", "a?b", &"a".repeat(260)] {
            assert_eq!(told_by(&[("host", host)]), None, "{host}");
        }
        assert_eq!(told_by(&[("host", "a"), ("x-forwarded-proto", "javascript")]), None);
        assert_eq!(told_by(&[]), None);
    }
}
