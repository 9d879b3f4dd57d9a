//! What of an answer may be stored, by whom and for how long (RFC 9111), what it depends on (`Vary`), and
//! 304 for a client that has it already (RFC 9110, 13.1.2). The one place that decides this for every
//! route; a handler only says that its data lasts ([`Lasting`]).
//!
//! | answer | `Cache-Control` |
//! |---|---|
//! | files of the admin's page, the same for everybody | `public, max-age=0` |
//! | health, status, metrics, admin; every error; every method but GET and HEAD | `no-store` |
//! | without [`Lasting`]: orders, past the cache, second best | `no-store` |
//! | to a client with a key, or that shows an admin's | `no-store` |
//! | with the fields of a client's limits | `no-store`; in public without these fields |
//! | the rest | `private` or `public`, `max-age=` what is left of its fresh time |
//!
//! The validator is made of the data alone, without what tells how it came about. Metadata changes with each
//! answer (id, time, age, tier) and says nothing about the data, so the tag is weak: `W/"{envelope version}-{64 bits of SHA-256}"`. It is the
//! same on all instances, in all encodings, and when a renewal brought the same data again.
//!
//! Has no neighbour that could be down.

use actix_web::body::{BoxBody, None as NoBody};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use crate::http::context::RequestContext;
use crate::http::envelope::API_VERSION;
use crate::http::headers::ADMIN_KEY;
use crate::http::route::{AuthScope, Route};
use crate::http::served::Lasting;
use crate::http::state::Worker;
use crate::limits::Admission;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Who may store an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storing {
    Nobody,
    /// The client itself.
    Private,
    /// Caches between, too, for all clients.
    Public,
}

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
struct Facts {
    scope: AuthScope,
    /// It answers GET or HEAD, with 200.
    is_read: bool,
    /// The handler says that its data stays the same for a while.
    lasts: bool,
    /// Its client has a key, or shows one of an admin: what it was answered is for no other eyes, also
    /// where the key makes no difference.
    keyed: bool,
    /// It tells its client what is left of its limits.
    limited: bool,
    /// Features are on for a share of the clients.
    by_client: bool,
    /// `PUBLIC_CACHING`.
    public: bool,
}

const fn decide(facts: Facts) -> Storing {
    let Facts { scope, is_read, lasts, keyed, limited, by_client, public } = facts;
    match scope {
        AuthScope::Clients if is_read && lasts && !keyed => match (public && !by_client, limited) {
            (true, _) => Storing::Public,
            (false, true) => Storing::Nobody,
            (false, false) => Storing::Private,
        },
        // The same for everybody, whoever asks.
        AuthScope::Open if is_read && lasts => Storing::Public,
        AuthScope::Clients | AuthScope::Open | AuthScope::Admin => Storing::Nobody,
    }
}

/// What an answer depends on beside its address; large ones also on what encoding is taken.
pub(in crate::http) const fn vary(scope: AuthScope, by_encoding: bool) -> HeaderValue {
    HeaderValue::from_static(match (scope, by_encoding) {
        (AuthScope::Open, false) => "Origin",
        (AuthScope::Open, true) => "Origin, accept-encoding",
        (AuthScope::Clients | AuthScope::Admin, false) => {
            "Origin, authorization, x-internal-key, x-admin-key"
        }
        (AuthScope::Clients | AuthScope::Admin, true) => {
            "Origin, authorization, x-internal-key, x-admin-key, accept-encoding"
        }
    })
}

/// Says who may store the answer. What the client has already becomes a 304. Takes away `limits` where
/// the answer is for all clients.
pub(in crate::http) fn permit(
    worker: &Worker,
    route: &Route,
    context: &RequestContext,
    request: &HttpRequest,
    response: &mut HttpResponse,
    limits: &mut Option<Admission>,
) {
    let settings = &worker.shared.settings;
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let lasting = context.lasting.take();
    let limited = limits.as_ref().is_some_and(|limits| limits.verdict.binding().is_some());
    let public = settings.server.public_caching;
    // Looked for only where it makes a difference.
    let shows_admin_key = || (public || !limited) && request.headers().contains_key(ADMIN_KEY);
    let storing = decide(Facts {
        scope: route.scope,
        is_read: is_read && response.status() == StatusCode::OK,
        lasts: lasting.is_some(),
        keyed: context.principal.get().is_key() || shows_admin_key(),
        limited,
        by_client: settings.features.depend_on_clients(),
        public,
    });
    match (storing, lasting) {
        (Storing::Nobody, _) | (_, None) => {
            response.headers_mut().append(header::CACHE_CONTROL, NO_STORE);
        }
        (Storing::Private | Storing::Public, Some(lasting)) => {
            if storing == Storing::Public {
                *limits = None;
            }
            keep(storing, &lasting, request.headers(), response);
        }
    }
}

fn keep(storing: Storing, lasting: &Lasting, asked: &HeaderMap, response: &mut HttpResponse) {
    let tag = entity_tag(lasting.digest());
    let is_known = knows(asked, &tag);
    let headers = response.headers_mut();
    let who = if storing == Storing::Public { "public" } else { "private" };
    let permission = HeaderValue::try_from(format!("{who}, max-age={}", lasting.seconds));
    headers.append(header::CACHE_CONTROL, permission.unwrap_or(NO_STORE));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.append(header::ETAG, tag);
    }
    if lasting.seconds > 0 {
        // `max-age` is counted from now, and not from when the data was fetched.
        headers.remove(header::AGE);
    }
    if is_known {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
        let whole = std::mem::replace(response, HttpResponse::new(StatusCode::NOT_MODIFIED));
        *response = whole.set_body(BoxBody::new(NoBody::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
}

fn entity_tag(digest: u64) -> String {
    format!("W/\"{API_VERSION}-{digest:016x}\"")
}

/// Whether the client has what `tag` stands for, by weak comparison (RFC 9110, 8.8.3.2).
fn knows(asked: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let ours = opaque(tag);
    let given = asked.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    given
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || opaque(one) == ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Facts = Facts {
        scope: AuthScope::Clients,
        is_read: true,
        lasts: true,
        keyed: false,
        limited: false,
        by_client: false,
        public: false,
    };

    #[test]
    fn only_what_lasts_and_is_no_clients_own_may_be_stored() {
        assert_eq!(decide(LASTING), Storing::Private);
        assert_eq!(decide(Facts { public: true, ..LASTING }), Storing::Public);
        let page = Facts { scope: AuthScope::Open, keyed: true, ..LASTING };
        assert_eq!(decide(page), Storing::Public);
        for public in [false, true] {
            for facts in [
                Facts { scope: AuthScope::Open, lasts: false, ..LASTING },
                Facts { scope: AuthScope::Admin, ..LASTING },
                Facts { is_read: false, ..LASTING },
                Facts { lasts: false, ..LASTING },
                Facts { keyed: true, ..LASTING },
            ] {
                let facts = Facts { public, ..facts };
                assert_eq!(decide(facts), Storing::Nobody, "{facts:?}");
            }
        }
    }

    #[test]
    fn a_limited_clients_answer_is_its_own_unless_all_get_the_same() {
        let limited = Facts { limited: true, ..LASTING };
        assert_eq!(decide(limited), Storing::Nobody);
        assert_eq!(decide(Facts { public: true, ..limited }), Storing::Public);
        assert_eq!(decide(Facts { public: true, by_client: true, ..limited }), Storing::Nobody);
        assert_eq!(decide(Facts { public: true, by_client: true, ..LASTING }), Storing::Private);
    }

    #[test]
    fn tags_are_compared_weakly() {
        let tag = entity_tag(0xfeed);
        assert_eq!(tag, "W/\"1-000000000000feed\"");
        let with = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            let asked = [(header::IF_NONE_MATCH, value)].into_iter().collect();
            knows(&asked, &tag)
        };
        let strong = &tag[2..];
        for known in
            [&tag, strong, "*", &format!("\"other\", {tag}"), &format!(" W/\"x\" ,{strong}")]
        {
            assert!(with(known), "{known}");
        }
        for other in ["", "W/\"1-000000000000feee\"", "1-000000000000feed", "w/\"x\"", ", ,"] {
            assert!(!with(other), "{other}");
        }
        assert!(!knows(&HeaderMap::new(), &tag));
    }
}
