//! What the layers around the handlers add to every operation.
//!
//! Owns: keys, limits, bodies and header fields, from what the route table and the operation say.
//! A handler describes only its own input and answers.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, RefOr, Response};

use super::failures::answer;
use super::{headers, plain};
use crate::http::error::ErrorCode;
use crate::http::extract::BODY_LIMIT;
use crate::http::route::AuthScope;
use crate::http::routes;
use crate::limits::Class;

/// The schemes' names in the document.
pub(super) const INTERNAL_KEY: &str = "x-internal-key";
pub(super) const AUTHORIZATION: &str = "authorization";
pub(super) const ADMIN_KEY: &str = "x-admin-key";

/// Adds it to every operation.
pub(super) fn dress(document: &mut OpenApi) {
    for (template, item) in &mut document.paths.paths {
        let address = routes::all().find(|address| address.template == template);
        let class = address.map_or(Class::General, |address| address.class);
        let always_open = address.is_some_and(routes::Address::is_always_open);
        for operation in operations(item) {
            plain::parameters(operation);
            refusals(operation, class, AuthScope::of(template));
            if class != Class::Exempt {
                too_many(operation, always_open);
            }
            if !always_open {
                refused_at_the_door(operation);
            }
            fields(operation, class);
        }
    }
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn refusals(operation: &mut Operation, class: Class, scope: AuthScope) {
    let broken = "A fault of ours; the request id tells where to look.";
    let mut refusals = vec![answer(&[ErrorCode::Internal], broken)];
    if scope == AuthScope::Clients {
        let denied = "The address or the key is on the deny list.";
        refusals.push(answer(&[ErrorCode::Blocked], denied));
    }
    if class != Class::Exempt && scope == AuthScope::Clients {
        let key = "There is no known key where one is required.";
        refusals.push(answer(&[ErrorCode::KeyRequired], key));
    }
    if is_for_admin(operation) {
        let closed = "The admin's key is missing or wrong, or none is configured.";
        refusals.push(answer(&[ErrorCode::Forbidden], closed));
    } else if class != Class::Exempt && operation.security.is_none() {
        operation.security = Some(optional_key());
    }
    if operation.request_body.is_some() {
        let large = format!("The body is larger than {BODY_LIMIT} bytes.");
        refusals.push(answer(&[ErrorCode::BodyTooLarge], &large));
        let other = "The body is not `application/json`.";
        refusals.push(answer(&[ErrorCode::UnsupportedMediaType], other));
    }
    for (status, refusal) in refusals {
        operation.responses.responses.entry(status).or_insert(refusal);
    }
}

/// The 429s: who is throttled for abuse still reaches what is always open.
fn too_many(operation: &mut Operation, always_open: bool) {
    let slow = "Too many requests; who waits as told is not refused.";
    let (status, refusal) = if always_open {
        answer(&[ErrorCode::RateLimited], slow)
    } else {
        let abuse = "Too many requests, or a pattern of abuse; who waits as told is not refused. A \
                     throttle for abuse is told as a limit of 0 that lasts as long.";
        answer(&[ErrorCode::RateLimited, ErrorCode::AbuseThrottled], abuse)
    };
    operation.responses.responses.entry(status).or_insert(refusal);
}

/// Where a handler has 503s of its own, `overloaded` is among them.
fn refused_at_the_door(operation: &mut Operation) {
    let (status, refusal) = answer(&[ErrorCode::Overloaded], "There are too many requests.");
    operation.responses.responses.entry(status).or_insert(refusal);
}

fn is_for_admin(operation: &Operation) -> bool {
    let admin = SecurityRequirement::new(ADMIN_KEY, Vec::<String>::new());
    operation.security.as_ref().is_some_and(|schemes| schemes.contains(&admin))
}

fn optional_key() -> Vec<SecurityRequirement> {
    let scheme = |name| SecurityRequirement::new(name, Vec::<String>::new());
    vec![SecurityRequirement::default(), scheme(INTERNAL_KEY), scheme(AUTHORIZATION)]
}

fn fields(operation: &mut Operation, class: Class) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let mut add = |name: &str| {
            response.headers.insert(name.to_owned(), headers::reference(name));
        };
        add(headers::REQUEST_ID);
        // Refusals behind the limit carry them as well; saying so everywhere would say nothing.
        if class != Class::Exempt && matches!(status.as_str(), "200" | "429") {
            headers::LIMITS.into_iter().for_each(&mut add);
        }
        if is_fetched(response) {
            for name in [headers::CACHE_STATUS, headers::AGE] {
                response.headers.insert(name.to_owned(), headers::reference(name));
            }
        }
    }
}

/// Whether the answer came through the cache, or past it.
fn is_fetched(response: &Response) -> bool {
    response.content.values().any(|content| {
        let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = content else {
            return false;
        };
        schema.ref_location.contains("/Fetched_")
    })
}
