//! The way of a request, stop by stop. Nothing else stands between the router and a handler.
//!
//! | # | stop | decides | file |
//! |---|---|---|---|
//! | 1 | context | request id, deadline | [`super::context`] |
//! | 2 | load shedder | 503 `overloaded` before anything is done | [`super::load_shedder`] |
//! | 3 | client address and key | who the client is | [`Caller`], [`admin_key`] |
//! | 4 | CORS | answers preflights | [`answer`] |
//! | 5 | access lists | 403 `blocked` | [`Caller`] |
//! | 6 | abuse watch | 429 `abuse_throttled` | [`Caller`] |
//! | 7 | rate limit | 429 `rate_limited`, then 401 `key_required` | [`rate_limit`] |
//! | 8 | handler | the answer; its panic is a 500 | [`super::routes`] |
//! | 9 | envelope and headers | one shape for every error | [`answer`] |
//! | 10 | storing | `Cache-Control`, `ETag`, 304, `Vary` | [`storing`] |
//! | 11 | compression | gzip | [`answer`] |
//! | 12 | metrics and log | counts exactly, logs what matters | [`record`] |
//!
//! A stop refuses with an [`ApiError`]; stops 9 to 12 see every answer, refusals included.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::{ConnectionType, Method, header};
use actix_web::{Error, HttpResponse, web};

use super::connection::Requests;
use super::context::{Fields, RequestContext};
use super::error::{ApiError, ErrorCode};
use super::route::{AuthScope, Route};
use super::state::Worker;
use super::stops::caller::Caller;
use super::stops::{admin_key, answer, rate_limit, record, storing};
use crate::clock;
use crate::limits::{Admission, Class};

/// The one layer around the handlers of a route.
pub(super) struct Pipeline(Rc<Stops>);

impl Pipeline {
    pub(super) fn new(worker: web::Data<Worker>, route: Route) -> Self {
        Self(Rc::new(Stops { worker, route }))
    }
}

struct Stops {
    worker: web::Data<Worker>,
    route: Route,
}

impl Stops {
    async fn serve<S, B>(
        &self,
        handler: &S,
        request: ServiceRequest,
    ) -> Result<ServiceResponse<BoxBody>, Error>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let Self { worker, route } = self;
        let asked = request.request().clone();
        let fields = Fields::of(asked.headers());
        let timeout = worker.shared.settings.server.request_timeout;
        let now = clock::monotonic();
        let context = RequestContext::begin(asked.headers(), &fields, now, timeout); // 1
        let connection = underway(&request, &context);
        let with_body = request.method() == Method::POST;
        let shedder = &worker.shedder;
        let slot = if route.always_open || answer::is_preflight(&request) {
            Ok(shedder.pass(with_body))
        } else {
            shedder.enter(with_body, fastrand::f64) // 2
        };
        let (mut limits, mut shed) = (None, None);
        let outcome = match slot {
            Ok(_slot) => {
                let _in_flight = worker.shared.metrics.http.in_flight.begin();
                let underway = record::Underway::new(worker, route, &context, &asked);
                let way = self.respond(handler, &fields, &context, &mut limits, request); // 3 to 8
                let outcome = way.await;
                underway.answered();
                outcome
            }
            Err(reason) => {
                shed = Some(reason);
                Err(ApiError::new(ErrorCode::Overloaded).retry_after(answer::COME_BACK))
            }
        };
        let limited = limits.as_ref().map(|limits| rate_limit::judged(limits, &context));
        let (mut response, failure) = answer::settle(&context, outcome); // 9
        storing::permit(worker, route, &context, &asked, &mut response, &mut limits); // 10
        let failed = failure.as_ref();
        let pack =
            answer::write_headers(worker, route, &context, fields.origin, &mut response, failed);
        rate_limit::write_headers(response.headers_mut(), route.scope, limits.as_ref(), failed);
        let is_last = connection.is_some_and(super::connection::Serving::answered);
        if is_last || worker.shared.is_draining() {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        if pack {
            // In a box: the future of an answer that is not packed here stays small.
            response = Box::pin(answer::pack(worker, response)).await?; // 11
        }
        let status = response.status();
        let done = record::Done { context: &context, request: &asked, status, limited };
        match shed {
            None => record::request(worker, route, &done, failure.as_ref()), // 12
            Some(reason) => record::shed(worker, route, &done, reason),
        }
        Ok(ServiceResponse::new(asked, response))
    }

    async fn respond<S, B>(
        &self,
        handler: &S,
        fields: &Fields<'_>,
        context: &Rc<RequestContext>,
        limits: &mut Option<Admission>,
        request: ServiceRequest,
    ) -> Result<HttpResponse, ApiError>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let Self { worker, route } = self;
        let caller = Caller::find(worker, &request, fields, context); // 4
        let is_preflight = answer::is_preflight(&request);
        if is_preflight || route.class == Class::Exempt {
            rate_limit::check_open(worker, &caller, context)?;
        }
        if is_preflight {
            return answer::preflight(
                request.headers(),
                &worker.shared.settings.server.allowed_origins,
            ); // 3
        }
        let is_admin =
            route.scope == AuthScope::Admin && admin_key::check(worker, &request, &caller.address);
        caller.check_lists(worker, route)?; // 5
        caller.check_abuse(worker, route, context)?; // 6
        if !is_admin {
            *limits = rate_limit::charge(worker, route, &caller, context).await; // 7
            if let Some(admission) = limits {
                rate_limit::check(worker, admission, caller.principal.is_key())?;
            }
            // Only now: a request without the key it needs is charged like any other.
            caller.check_key(worker, route, context)?;
        }
        match handler.call(request).await {
            Ok(response) => Ok(response.into_parts().1.map_into_boxed_body()), // 8
            Err(error) => Ok(HttpResponse::from_error(error)),
        }
    }
}

/// Notes on the connection that a request is being served; the handler finds the context there.
fn underway(
    request: &ServiceRequest,
    context: &Rc<RequestContext>,
) -> Option<super::connection::Serving> {
    // A body of a known length ends where it ends. Only reading finds the end of one in chunks.
    let with_body = !matches!(request.parts().1, Payload::None);
    let in_chunks = with_body && request.headers().contains_key(header::TRANSFER_ENCODING);
    let is_last = request.head().connection_type() == ConnectionType::Close;
    request.conn_data::<Rc<Requests>>().map(|requests| {
        requests.expect(with_body, is_last);
        requests.begin(in_chunks, context)
    })
}

impl<S, B> Transform<S, ServiceRequest> for Pipeline
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = Piped<S>;
    type InitError = ();
    type Future = Ready<Result<Piped<S>, ()>>;

    fn new_transform(&self, handler: S) -> Self::Future {
        ready(Ok(Piped(Rc::new((Rc::clone(&self.0), handler)))))
    }
}

pub(super) struct Piped<S>(Rc<(Rc<Stops>, S)>);

impl<S, B> Service<ServiceRequest> for Piped<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, task: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        self.0.1.poll_ready(task)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let parts = Rc::clone(&self.0);
        Box::pin(async move { parts.0.serve(&parts.1, request).await })
    }
}
