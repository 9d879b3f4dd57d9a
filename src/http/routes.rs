//! The routes of the gateway itself, and how all routes reach their handlers.
//!
//! Owns: the order of routes and what every one of them is wrapped in. What is in no table does not
//! exist: an unknown path is a 404, a known one with another method a 405 with `Allow`. The OpenAPI
//! documents are made of the same tables.

use actix_web::dev::HttpServiceFactory;
use actix_web::guard::{self, GuardContext};
use actix_web::http::Method as HttpMethod;
use actix_web::web::{self, ServiceConfig};
use actix_web_lab::middleware::CatchPanic;

use super::envelope::Integration;
use super::handlers::{admin, documents, health, method_not_allowed, not_found, status};
use super::pipeline::Pipeline;
use super::route::{AuthScope, Route as Known, is_always_open, is_keyed};
use super::service::{Method, Operation, Route, Surface};
use super::settings::Server;
use super::start_page::StartPage;
use super::state::Worker;
use crate::limits::Class;

/// The gateway's own routes that are always there.
const CORE: &[&[Route]] = &[health::ROUTES, status::ROUTES, documents::ROUTES, admin::ROUTES];

/// A route with a fault, for the test that sees what a client gets then; in no binary.
#[cfg(test)]
const FAULTY: Route = Route::at("/panics", Class::General).get(|| web::to(panics));

#[cfg(test)]
async fn panics() -> actix_web::HttpResponse {
    panic!("a secret of the inside");
}

/// Every route there can be: those of the services first.
pub fn all<'a>(
    surfaces: impl IntoIterator<Item = &'a Surface>,
) -> impl Iterator<Item = &'static Route> {
    let own = CORE.iter().copied().chain([admin::CHAOS]).flatten();
    let of_services: Vec<_> = surfaces.into_iter().flat_map(|surface| surface.routes).collect();
    of_services.into_iter().copied().flatten().chain(own)
}

/// What `/` shows of the routes of its own side.
pub fn start_page(
    integration: Integration,
    key_required: bool,
    surfaces: &[&Surface],
    side: Side,
) -> StartPage {
    let examples = surfaces.iter().map(|surface| surface.example).collect();
    StartPage::new(integration, key_required, examples, |path| {
        side.serves(path) && all(surfaces.iter().copied()).any(|route| route.template == path)
    })
}

/// Which routes a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// There is one listener for all.
    Both,
    Public,
    /// Metrics, health and admin.
    Inside,
}

impl Side {
    /// That of the clients' listener.
    pub fn of_clients(settings: &Server) -> Self {
        if settings.metrics_listen.is_some() { Self::Public } else { Self::Both }
    }

    fn serves(self, template: &str) -> bool {
        // Who balances load asks where it sends to.
        let on_both = ["/health/live", "/health/ready"].contains(&template);
        let inside = template == "/metrics" || AuthScope::of(template) != AuthScope::Clients;
        self == Self::Both || on_both || inside == (self == Self::Inside)
    }
}

/// Leads every route that is there to its handlers.
pub fn configure(config: &mut ServiceConfig, worker: &web::Data<Worker>, side: Side) {
    let shared = &worker.shared;
    for service in &shared.services {
        service.install(config);
    }
    for route in all(shared.services.iter().map(|service| service.surface())) {
        let is_chaos = admin::CHAOS.iter().any(|one| one.template == route.template);
        if side.serves(route.template) && (!is_chaos || shared.settings.chaos.enabled) {
            config.service(resource(route, worker));
        }
    }
    #[cfg(test)]
    config.service(resource(&FAULTY, worker));
    let unmatched = pipeline(&Route::at("unmatched", Class::General), worker);
    config.default_service(web::route().to(not_found).wrap(unmatched));
}

/// A panic in a handler is caught inside the pipeline, where it becomes an answer.
fn resource(route: &Route, worker: &web::Data<Worker>) -> impl HttpServiceFactory + use<> {
    let handled = |operation: &Operation| {
        let handled = (operation.handler)();
        match operation.method {
            Method::Get => handled.guard(guard::fn_guard(is_read)),
            Method::Post => handled.guard(guard::Post()),
            Method::Delete => handled.guard(guard::Delete()),
        }
    };
    let resource = web::resource(route.template);
    route
        .operations()
        .fold(resource, |resource, operation| resource.route(handled(operation)))
        .default_service(web::to(method_not_allowed))
        .wrap(CatchPanic::default())
        .wrap(pipeline(route, worker))
}

fn is_read(request: &GuardContext<'_>) -> bool {
    [HttpMethod::GET, HttpMethod::HEAD].contains(&request.head().method)
}

fn pipeline(route: &Route, worker: &web::Data<Worker>) -> Pipeline {
    let Route { template, class, .. } = *route;
    Pipeline::new(
        worker.clone(),
        Known {
            template,
            class,
            scope: AuthScope::of(template),
            always_open: is_always_open(template, class),
            keyed: is_keyed(template, class),
            allow: route.allow(),
            metrics: worker.shared.metrics.http.route(template),
        },
    )
}
