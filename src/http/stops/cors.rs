//! Cross-origin requests (Fetch, "CORS protocol"): exactly the origins that are configured.
//!
//! Own code in place of actix-cors: that is a layer of its own, and it joins a `Vary` of three names
//! anew for every answer. All that is needed here is a comparison with a short list.

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};

use crate::http::error::{ApiError, ErrorCode};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const HEADERS: &str = "content-type, authorization, x-internal-key, x-request-id, traceparent";
/// Seconds that a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
/// What a script of an allowed origin may read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, cache-status, age, retry-after, x-ratelimit-limit, x-ratelimit-remaining, \
     x-ratelimit-reset, ratelimit, ratelimit-policy",
);

pub(in crate::http) fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight, whatever it is for.
pub(in crate::http) fn preflight(
    asked: &HeaderMap,
    origins: &[String],
) -> Result<HttpResponse, ApiError> {
    let refuse = |what| {
        let message = format!("This {what} is not allowed for cross-origin requests.");
        Err(ApiError::with_message(ErrorCode::InvalidRequest, message))
    };
    if allowed(asked, origins).is_none() {
        return refuse("origin");
    }
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    if method.is_none_or(|method| ![b"GET".as_slice(), b"POST"].contains(&method.as_bytes())) {
        return refuse("method");
    }
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).map(HeaderValue::to_str);
    let wanted = wanted.transpose().unwrap_or(Some("?")).unwrap_or_default();
    let is_known = |name: &str| HEADERS.split(", ").any(|known| known.eq_ignore_ascii_case(name));
    if !wanted.split(',').map(str::trim).all(|name| name.is_empty() || is_known(name)) {
        return refuse("header");
    }
    let mut answer = HttpResponse::new(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Ok(answer)
}

/// Lets scripts of an allowed origin read the answer.
pub(in crate::http) fn expose(answer: &mut HeaderMap, asked: &HeaderMap, origins: &[String]) {
    if let Some(origin) = allowed(asked, origins) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn allowed<'a>(asked: &'a HeaderMap, origins: &[String]) -> Option<&'a HeaderValue> {
    let origin = asked.get(header::ORIGIN)?;
    origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    fn ask(pairs: &[(HeaderName, &'static str)]) -> Result<HttpResponse, ApiError> {
        let pairs = pairs.iter().cloned();
        let headers = pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        preflight(&headers, &["https://shop.test".to_owned()])
    }

    #[test]
    fn a_preflight_is_granted_only_with_all_three() {
        let origin = (header::ORIGIN, "https://shop.test");
        let method = (header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let names = |names| (header::ACCESS_CONTROL_REQUEST_HEADERS, names);
        for granted in ["", "content-type", "X-Request-ID ,Authorization"] {
            assert!(ask(&[origin.clone(), method.clone(), names(granted)]).is_ok(), "{granted}");
        }
        for refused in ["x-admin-key", "content-type, cookie", "*"] {
            assert!(ask(&[origin.clone(), method.clone(), names(refused)]).is_err(), "{refused}");
        }
        assert!(ask(&[origin.clone(), method.clone()]).is_ok());
        assert!(ask(std::slice::from_ref(&method)).is_err());
        assert!(ask(&[(header::ORIGIN, "null"), method]).is_err());
        assert!(ask(&[origin, (header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")]).is_err());
    }
}
