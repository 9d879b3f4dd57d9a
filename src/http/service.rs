//! What a service brings to the gateway.
//!
//! Owns: the shape of a route and [`Service`], the one thing that `http` knows of a service. `app`
//! hands over the list. A service whose origin is down answers from the cache or with a typed
//! failure; nothing here depends on it.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::ServiceConfig;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::openapi::Doc;
use crate::cache::{CacheKey, Plan};
use crate::config::{Group, Settings};
pub use crate::limits::Class;
pub use crate::limits::abuse::Seen;
use crate::origin::start::Environment;
use crate::origin::state::OriginState;
use crate::origin::{Identity, Origin, OriginClient};
use crate::supervision::spawn_watched;

pub use super::extract::{Answer, Call};
pub use super::forms::Check;
pub use super::route::Method;
pub use super::served::Served;
pub use crate::limits::abuse::fingerprint;

/// Says in the OpenAPI document what an operation takes and answers.
pub type Describe = fn(&mut Doc<'_>);

/// One operation: a method of a route, its handler, and what the OpenAPI document says of it.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub method: Method,
    /// The POST of an operation that is described with its GET: the form comes in the body.
    pub by_body: bool,
    pub handler: fn() -> actix_web::Route,
    /// Without it the document leaves the operation out.
    pub(super) describe: Option<Describe>,
}

/// Methods of one address, at most.
const METHODS: usize = 3;

/// One address of the surface: `Route::at(template, class).get(handler).says(description)`.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The path template: the label in metrics and logs.
    pub template: &'static str,
    /// The class its requests are limited in.
    pub class: Class,
    operations: [Option<Operation>; METHODS],
}

impl Route {
    pub const fn at(template: &'static str, class: Class) -> Self {
        Self { template, class, operations: [None; METHODS] }
    }

    pub const fn get(self, handler: fn() -> actix_web::Route) -> Self {
        self.with(Method::Get, false, handler)
    }

    pub const fn post(self, handler: fn() -> actix_web::Route) -> Self {
        self.with(Method::Post, false, handler)
    }

    /// The POST that means the same as the GET.
    pub const fn same_by_post(self, handler: fn() -> actix_web::Route) -> Self {
        self.with(Method::Post, true, handler)
    }

    pub const fn delete(self, handler: fn() -> actix_web::Route) -> Self {
        self.with(Method::Delete, false, handler)
    }

    /// Describes every operation so far that has no description.
    pub const fn says(mut self, describe: Describe) -> Self {
        let mut left = self.operations.as_mut_slice();
        while let [first, rest @ ..] = left {
            if let Some(Operation { describe: none @ None, .. }) = first {
                *none = Some(describe);
            }
            left = rest;
        }
        self
    }

    const fn with(self, method: Method, by_body: bool, handler: fn() -> actix_web::Route) -> Self {
        self.adding(Operation { method, by_body, handler, describe: None })
    }

    const fn adding(mut self, operation: Operation) -> Self {
        let mut left = self.operations.as_mut_slice();
        while let [first, rest @ ..] = left {
            if first.is_none() {
                *first = Some(operation);
                break;
            }
            left = rest;
        }
        self
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().flatten()
    }

    pub(super) fn takes(&self, method: Method) -> bool {
        self.operations().any(|operation| operation.method == method)
    }

    /// The methods it takes, as in `Allow`.
    pub(super) fn allow(&self) -> &'static str {
        match [Method::Get, Method::Post, Method::Delete].map(|method| self.takes(method)) {
            [true, false, false] => "GET, HEAD",
            [true, true, false] => "GET, HEAD, POST",
            [true, true, true] => "GET, HEAD, POST, DELETE",
            [true, false, true] => "GET, HEAD, DELETE",
            [false, true, false] => "POST",
            [false, true, true] => "POST, DELETE",
            [false, false, true] => "DELETE",
            [false, false, false] => "",
        }
    }
}

/// What is known of a service before it is built.
#[derive(Debug)]
pub struct Surface {
    /// The service's part of cache keys.
    pub name: &'static str,
    /// Its routes, one list an endpoint.
    pub routes: &'static [&'static [Route]],
    /// The operation parts of its cache keys, each with the kind of what is kept under them.
    pub operations: &'static [(&'static str, &'static str)],
    /// The words that the tags of its answers begin with, each with the values that can follow; none
    /// where these are the numbers of things.
    pub about: &'static [(&'static str, &'static [&'static str])],
    /// A request to begin with.
    pub example: &'static str,
    /// Its sections of settings.
    pub settings: &'static [Group],
    /// Its tags in the OpenAPI document, each with a description.
    pub tags: &'static [(&'static str, &'static str)],
}

/// A service of the process. All workers share it.
pub trait Service: Send + Sync {
    fn surface(&self) -> &'static Surface;

    /// Puts what its handlers need where [`Call::service`](super::extract::Call::service) finds it.
    /// Called once for each worker, on the worker's thread.
    fn install(&self, config: &mut ServiceConfig);

    /// How to load `key` again, for which `question` was stored; `None` when no client can ask it
    /// any more.
    fn plan_for(&self, key: &CacheKey, question: &str) -> Option<Plan>;

    /// Takes over what of its settings is marked as live; called when they were read again.
    fn take_over(&self, _settings: &Settings) {}

    /// The longest time that it lets something be fresh.
    fn longest_ttl(&self) -> Duration;

    /// Whether what makes its calls is down, so that only the cache answers.
    fn is_cut_off(&self) -> bool {
        false
    }

    /// What it adds to the detailed health.
    fn health(&self) -> Vec<Component> {
        Vec::new()
    }

    /// What it adds to the status.
    fn status(&self) -> Map<String, Value> {
        Map::new()
    }

    /// The simulator that stands in for its upstream, where this process runs one.
    fn simulator(&self) -> Option<&dyn Simulated> {
        None
    }

    /// Ends what it started beside its upstreams' actors; no request comes any more.
    fn stop(&self) {}
}

/// A simulator of an upstream that can be told to misbehave.
pub trait Simulated {
    /// The rules in force.
    fn faults(&self) -> Value;

    /// Puts rules in force in place of all others.
    ///
    /// # Errors
    /// Every mistake in them; nothing has changed then.
    fn replace_faults(&self, rules: &Value) -> Result<(), Vec<String>>;
}

/// How well a part, or the whole, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Healthy,
    /// Serves, but something is missing.
    Degraded,
    /// Does not serve.
    Unhealthy,
}

/// One component.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Component {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub status: Health,
    /// In words.
    pub detail: String,
}

/// One component of the detailed health.
pub fn component(name: &'static str, status: Health, detail: impl Into<String>) -> Component {
    Component { name, status, detail: detail.into() }
}

pub use crate::config::Tried;

/// Why a service cannot be built, in words for the operator.
pub type StartFailure = Box<dyn Error + Send + Sync>;

/// What a service is built from.
pub struct ServiceParts<'a> {
    environment: Environment<'a>,
    origins: RefCell<Vec<Arc<OriginState>>>,
}

impl<'a> ServiceParts<'a> {
    pub(crate) const fn new(environment: Environment<'a>) -> Self {
        Self { environment, origins: RefCell::new(Vec::new()) }
    }

    /// The way to an upstream of the service's own, called with the bounds of the settings under
    /// `upstream`. Its breakers, health and counts are shown with those of all others, and what must
    /// survive a restart is stored. Answers of a simulator of our own are not live, and it is paced
    /// only where a setting asks for it.
    pub fn origin<O: Origin>(
        &self,
        identities: Vec<Identity<O>>,
        is_simulated: bool,
    ) -> io::Result<OriginClient<O>> {
        let mut origins = self.origins.borrow_mut();
        let client = self.environment.start(origins.len(), identities, is_simulated)?;
        origins.push(Arc::clone(client.state()));
        Ok(client)
    }

    /// Runs a task on this thread beside the requests; a panic in it is counted and logged.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        let observer = self.environment.supervisor.observer();
        observer.task_started(name);
        spawn_watched(name, observer, task);
    }

    /// The upstreams of all services that were built.
    pub(crate) fn origins(self) -> Vec<Arc<OriginState>> {
        self.origins.into_inner()
    }
}

impl<'a> Deref for ServiceParts<'a> {
    type Target = Environment<'a>;

    fn deref(&self) -> &Environment<'a> {
        &self.environment
    }
}

impl std::fmt::Debug for dyn Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.surface().name)
    }
}
