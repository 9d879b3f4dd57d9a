//! A request that has reached its handler.
//!
//! Owns: [`Call`], all that a handler needs, and the bounds on a body. Refuses: with an error that
//! names every field, whatever is wrong with the input. A body of another type is 415, one that is
//! too large 413, one that is not there before the request's deadline 408.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::Requests;
use super::context::{RequestContext, Scope};
use super::envelope;
use super::error::{ApiError, ErrorCode};
use super::forms::{self, BODY_LIMIT, InvalidField, NoFields, RawForm, Sent};
use super::public_address::public_address;
use super::served::{Body, Lasting, Served};
use super::state::Worker;
use super::stops::caller;
use super::wishes::Wishes;
use crate::access::ListStatus;
use crate::cache::CacheClient;
use crate::limits::Principal;
use crate::limits::abuse::Seen;
use crate::origin::Payer;

pub type Answer = Result<HttpResponse, ApiError>;

/// A request, and the ways of its handler to everything else.
pub struct Call {
    pub(super) worker: web::Data<Worker>,
    pub(super) context: Rc<RequestContext>,
    request: HttpRequest,
    payload: RefCell<Payload>,
}

impl FromRequest for Call {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let worker = request.app_data::<web::Data<Worker>>().cloned();
        let call = worker.zip(context_of(request)).map(|(worker, context)| {
            let payload = RefCell::new(payload.take());
            Self { worker, context, request: request.clone(), payload }
        });
        std::future::ready(
            call.ok_or_else(|| {
                ApiError::new(ErrorCode::Internal).because("request without context")
            }),
        )
    }
}

impl Call {
    /// What the service of this handler has installed.
    pub fn service<T: 'static>(&self) -> Result<&T, ApiError> {
        self.request.app_data::<T>().ok_or_else(|| {
            let missing = format!("{} is not installed", std::any::type_name::<T>());
            ApiError::new(ErrorCode::Internal).because(missing)
        })
    }

    pub fn cache(&self) -> &CacheClient {
        &self.worker.cache
    }

    pub fn scope(&self) -> Scope {
        self.context.scope()
    }

    /// The same for what is loaded, with who pays for it: nobody for a key or an address on the allow
    /// list. Each call weighs so many.
    #[must_use]
    pub fn paid_scope(&self, weight: u32) -> Scope {
        let context = &self.context;
        let principal = context.principal.get();
        let is_free = match principal {
            Principal::Key(_) => true,
            Principal::Network(_) => {
                let list = self.worker.shared.access.evaluate(context.address.get(), None);
                list == ListStatus::Allowed
            }
            Principal::InDoubt(_) => false,
        };
        let payer = (!is_free).then(|| Payer { client: principal.to_string().into(), weight });
        let trace = self.worker.shared.trace(context, self.headers());
        Scope { payer, steps: context.steps(trace).clone(), ..self.scope() }
    }

    /// Whether the client has shown a key that is known.
    pub fn has_key(&self) -> bool {
        self.context.principal.get().is_key()
    }

    /// That it has is needed.
    ///
    /// # Errors
    /// It has not; why.
    pub fn needs_key(&self) -> Result<(), ApiError> {
        let why = self.context.no_key.get();
        self.has_key().then_some(()).ok_or_else(|| caller::key_required(why))
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    #[must_use]
    pub fn wishes(&self) -> Wishes {
        Wishes::of(self.headers(), self.has_key())
    }

    /// The query string where the form can be nowhere else: there is no body.
    pub fn query(&self) -> Option<&str> {
        let is_bare = self.is_read() && matches!(*self.payload.borrow(), Payload::None);
        is_bare.then(|| self.request.query_string())
    }

    fn is_read(&self) -> bool {
        [Method::GET, Method::HEAD].contains(self.request.method())
    }

    /// What stands in the variable parts of the path.
    ///
    /// # Errors
    /// It is no such thing: 404.
    pub fn path<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let path = web::Path::<T>::from_request(&self.request, &mut Payload::None).into_inner();
        path.map(web::Path::into_inner)
            .map_err(|wrong| ApiError::new(ErrorCode::NotFound).because(wrong))
    }

    /// The form in the query string, of a request that has no body or whose handler reads that itself.
    /// GET and HEAD have none (RFC 9110, 9.3.1): to ignore one would be to ignore what was meant.
    pub async fn query_form<T: RawForm>(&self) -> Result<Sent<T>, ApiError> {
        let form = forms::from_query(self.request.query_string());
        if self.query().is_some() || !self.is_read() || Box::pin(self.raw_body()).await?.is_empty()
        {
            return Ok(form);
        }
        let problem = format!("is not read by {}", self.request.method());
        let allowed = "no body; fields are in the query string";
        Ok(form.but([InvalidField::new("body", problem, allowed)]))
    }

    /// For a request without a form.
    ///
    /// # Errors
    /// There are fields, in the query string or in a body.
    pub async fn no_fields(&self) -> Result<(), ApiError> {
        let _none: NoFields = self.form().await?.read(Ok)?;
        Ok(())
    }

    /// For a request whose form is in the query string although it could have a body.
    ///
    /// # Errors
    /// There are fields in the body.
    pub async fn no_body(&self) -> Result<(), ApiError> {
        let body = Box::pin(self.body()).await?;
        if !body.is_empty() {
            let _none: NoFields = forms::from_json(&body)?.read(Ok)?;
        }
        Ok(())
    }

    /// The form of the request: in the query string of a GET, in the JSON body of a POST (no body is
    /// an empty object), and in either of a DELETE, whose body a proxy may drop.
    pub async fn form<T: RawForm>(&self) -> Result<Sent<T>, ApiError> {
        if self.is_read() {
            return self.query_form().await;
        }
        // In a box: the future of a request without a body stays small.
        let body = Box::pin(self.body()).await?;
        let query = self.request.query_string();
        if body.is_empty() && self.request.method() == Method::DELETE {
            return Ok(forms::from_query(query));
        }
        let stray = forms::beside_body::<T>(query);
        match forms::from_json::<T>(if body.is_empty() { b"{}" } else { &body }) {
            Ok(form) => Ok(form.but(stray)),
            Err(mistakes) => Err(mistakes.into_iter().chain(stray).collect::<Vec<_>>().into()),
        }
    }

    /// Shows what is asked for to the watch for abuse; `what` is called only where the client is
    /// watched.
    pub fn watch<'a>(&self, what: impl FnOnce() -> Seen<'a>) -> Result<(), ApiError> {
        caller::observe(&self.worker, &self.request, &self.context, what)
    }

    pub fn answer(&self, served: Served) -> HttpResponse {
        let shared = &self.worker.shared;
        if served.last_resort {
            shared.metrics.cache.last_resort.inc();
        }
        envelope::answer(&self.context, served, shared.integration, &self.worker.degraded())
    }

    /// The address that clients know this gateway by, if that is known.
    #[must_use]
    pub fn public_address(&self) -> Option<String> {
        public_address(&self.worker.shared, &self.request)
    }

    /// Says that the answer's data stays the same for a while; `data` changes whenever it does.
    pub fn lasts(&self, seconds: u64, data: Bytes) {
        self.context.lasting.replace(Some(Lasting { seconds, data: Body::Own(data) }));
    }

    /// An answer of the gateway itself.
    pub fn report(&self, data: &impl Serialize) -> Answer {
        envelope::own(&self.context, data)
    }

    /// The whole body, if it says that it is JSON.
    async fn body(&self) -> Result<Bytes, ApiError> {
        let coding = self.request.headers().get(header::CONTENT_ENCODING);
        if coding.and_then(|coding| coding.to_str().ok()).is_some_and(is_packed) {
            let message =
                "Content-Encoding: bodies are read as they are; allowed: identity, or none";
            return Err(ApiError::with_message(ErrorCode::UnsupportedMediaType, message));
        }
        let body = self.raw_body().await?;
        if !is_json(&self.request) && !body.is_empty() {
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType));
        }
        Ok(body)
    }

    async fn raw_body(&self) -> Result<Bytes, ApiError> {
        self.context.waited.set(true);
        let body = Bytes::from_request(&self.request, &mut self.payload.borrow_mut().take());
        let wait = self.worker.cache.waiting().begin();
        // A client that sends nothing more must not keep a slot for ever.
        let body = tokio::time::timeout_at(self.context.deadline.into(), body)
            .await
            .map_err(|_| ApiError::new(ErrorCode::RequestTimeout))?;
        drop(wait);
        if let (Some(requests), Ok(_)) = (self.request.conn_data::<Rc<Requests>>(), &body) {
            requests.body_ended();
        }
        body.map_err(|error| {
            let status = error.as_response_error().status_code();
            let refused = ApiError::new(ErrorCode::of_status(status));
            if refused.code == ErrorCode::BodyTooLarge {
                let message = format!("The body is larger than {BODY_LIMIT} bytes.");
                return ApiError { message: message.into(), ..refused };
            }
            refused.because(error)
        })
    }
}

/// The context of a request that is being served.
pub(super) fn context_of(request: &HttpRequest) -> Option<Rc<RequestContext>> {
    request.conn_data::<Rc<Requests>>()?.context()
}

/// Content codings (RFC 9110, section 8.4.1). Some clients name a charset in their place, which changes nothing.
const CODINGS: [&str; 7] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"];

fn is_packed(codings: &str) -> bool {
    let is_coding = |word: &str| CODINGS.iter().any(|coding| coding.eq_ignore_ascii_case(word));
    codings.split(',').map(str::trim).any(is_coding)
}

/// Whether the body says that it is JSON (`application/json` or `application/*+json`).
fn is_json(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
