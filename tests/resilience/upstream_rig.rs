//! A real ApiClientActor before a real simulator.
//!
//! Owns: the tables as the application makes them, but quick: short waits, a small breaker. What a
//! test wants otherwise it changes before the start.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use breakwater::clock;
use breakwater::config::{Current, Secret};
use breakwater::failure::Failure;
use breakwater::metrics::Metrics;
use breakwater::origin::actor::{ApiClientActor, NAME};
use breakwater::origin::attempt::Policy;
use breakwater::origin::call::Reply;
use breakwater::origin::concurrency::{self, ConcurrencyLimiter};
use breakwater::origin::credentials::{Credential, Credentials as OriginCredentials, Roster};
use breakwater::origin::pacing::{self, Pacing};
use breakwater::origin::state::OriginState;
use breakwater::origin::transport::Wire;
use breakwater::origin::{Call, Origin, OriginClient, Priority};
use breakwater::resilience::backoff::Backoff;
use breakwater::resilience::breaker::{self, Breaker};
use breakwater::resilience::retry_budget::RetryBudget;
use breakwater::services::products::aliexpress::{AliExpress, Method, Request};
use breakwater::services::products::endpoints::search;
use breakwater::services::products::settings::Credentials;
use breakwater::services::products::simulator::{
    self, DEMO_APP_KEY, DEMO_APP_SECRET, SimulatorSettings,
};
use breakwater::supervision::{Chaos, Observer, RestartPolicy, Silent, Spec, Supervisor};
use serde_json::Value;
use slog::Logger;

/// A search.
pub(crate) const SEARCH: &str = "aliexpress.affiliate.product.query";
/// Hot products.
pub(crate) const HOT: &str = "aliexpress.affiliate.hotproduct.query";
/// A search under this name.
pub(crate) fn named(name: &'static str) -> &'static Method {
    Box::leak(Box::new(Method { name, ..search::METHOD }))
}

/// Longest time any call of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The state before the start, and the origin of each credential; a test changes either.
pub(crate) struct Setup<O> {
    pub(crate) state: OriginState,
    pub(crate) origins: Vec<O>,
}

impl<O> Deref for Setup<O> {
    type Target = OriginState;

    fn deref(&self) -> &OriginState {
        &self.state
    }
}

impl<O> DerefMut for Setup<O> {
    fn deref_mut(&mut self) -> &mut OriginState {
        &mut self.state
    }
}

/// Its calls are made once.
pub(crate) fn no_retry(state: &OriginState) {
    state.retry.set(Policy { max_attempts: 1, ..state.retry.get() });
}

/// The state of so many credentials: unpaced, three attempts a few milliseconds apart, a breaker
/// that opens after five failures in a row and stays open for a minute.
pub(crate) fn state(credentials: usize, observer: Arc<dyn Observer>) -> OriginState {
    let names = ["upstream", "upstream_2"].into_iter().take(credentials);
    let credentials = names.map(|name| Credential {
        name,
        id: name.to_owned(),
        breaker: breaker(5, Duration::from_secs(60)),
        pacing: Pacing::new(pacing::Settings::default()),
        health: Arc::default(),
    });
    OriginState {
        name: "upstream",
        is_simulated: false,
        credentials: Current::new(Arc::new(OriginCredentials::new(credentials.collect()))),
        slots: ConcurrencyLimiter::new(concurrency::Settings::default()),
        budget: RetryBudget::default(),
        retry: Current::new(Policy {
            max_attempts: 3,
            backoff: Backoff {
                first: Duration::from_millis(10),
                longest: Duration::from_millis(100),
            },
        }),
        sharing: None,
        wire: Wire::default(),
        attempt_timeout: Duration::from_secs(5),
        metrics: Metrics::new().upstream.clone(),
        log: Logger::root(slog::Discard, slog::o!()),
        observer,
    }
}

/// The credentials of a state, to be changed before the start; in force when this is dropped.
pub(crate) struct Accounts<'a> {
    state: &'a OriginState,
    all: Vec<Credential>,
}

pub(crate) fn accounts(state: &OriginState) -> Accounts<'_> {
    Accounts { state, all: state.credentials.get().iter().cloned().collect() }
}

impl Deref for Accounts<'_> {
    type Target = [Credential];

    fn deref(&self) -> &[Credential] {
        &self.all
    }
}

impl DerefMut for Accounts<'_> {
    fn deref_mut(&mut self) -> &mut [Credential] {
        &mut self.all
    }
}

impl Drop for Accounts<'_> {
    fn drop(&mut self) {
        let all = std::mem::take(&mut self.all);
        self.state.credentials.set(Arc::new(OriginCredentials::new(all)));
    }
}

/// A breaker that opens after `failures` in a row, for `open`; the failure rate is left out.
pub(crate) fn breaker(failures: u32, open: Duration) -> Breaker {
    let settings =
        breaker::Settings { failure_rate: 1.0, ..breaker::Settings::new(failures, open) };
    Breaker::new("upstream", settings, Arc::new(|_| {}))
}

/// The key of a second account, which every simulator here knows.
pub(crate) const SECOND_KEY: &str = "500002";

fn second() -> simulator::Credentials {
    simulator::Credentials {
        app_key: SECOND_KEY.to_owned(),
        ..simulator::Credentials::demonstration()
    }
}

/// AliExpress with the demonstration account, towards `gateway`.
pub(crate) fn aliexpress(gateway: std::net::SocketAddr) -> AliExpress {
    aliexpress_at(format!("http://{gateway}/sync"))
}

/// The same towards any address of a gateway.
pub(crate) fn aliexpress_at(url: String) -> AliExpress {
    aliexpress_of(DEMO_APP_KEY, url)
}

fn aliexpress_of(app_key: &str, url: String) -> AliExpress {
    let app_secret = Secret::new(DEMO_APP_SECRET);
    AliExpress::new(Credentials { app_key: app_key.to_owned(), app_secret }, url)
}

/// The actor, its state and its simulator.
pub(crate) struct Rig<O: Origin = AliExpress> {
    /// The state.
    pub(crate) tables: Arc<OriginState>,
    /// Where the simulator listens.
    pub(crate) simulator: std::net::SocketAddr,
    supervisor: Supervisor,
    client: OriginClient<O>,
    handle: ServerHandle,
}

impl Rig {
    /// Starts both; `change` may alter the state before.
    pub(crate) fn start_with(change: impl FnOnce(&mut Setup<AliExpress>)) -> Self {
        Self::start_behind(|simulator| simulator, change)
    }

    /// The same, with something between the two: `way` is told where the simulator is and says
    /// where the actor shall go.
    pub(crate) fn start_behind(
        way: impl FnOnce(std::net::SocketAddr) -> std::net::SocketAddr,
        change: impl FnOnce(&mut Setup<AliExpress>),
    ) -> Self {
        Self::start_of(|address| vec![aliexpress(way(address))], change)
    }

    /// Both, with two credentials.
    pub(crate) fn start_with_two(change: impl FnOnce(&mut Setup<AliExpress>)) -> Self {
        let origins = |address| {
            let both = [DEMO_APP_KEY, SECOND_KEY];
            both.map(|key| aliexpress_of(key, format!("http://{address}/sync"))).into()
        };
        Self::start_of(origins, change)
    }
}

impl<O: Origin<Question = Request>> Rig<O> {
    #[expect(clippy::disallowed_methods, reason = "the test owns the server it starts")]
    pub(crate) fn start_of(
        origins: impl FnOnce(std::net::SocketAddr) -> Vec<O>,
        change: impl FnOnce(&mut Setup<O>),
    ) -> Self {
        let credentials = vec![simulator::Credentials::demonstration(), second()];
        let settings = SimulatorSettings { credentials, ..SimulatorSettings::default() };
        let running = simulator::start(settings).unwrap();
        drop(actix_rt::spawn(running.server));
        let supervisor = Supervisor::new(Arc::new(Silent)).unwrap();
        let origins = origins(running.address);
        let state = state(origins.len(), supervisor.observer());
        let mut setup = Setup { state, origins };
        change(&mut setup);
        let (tables, origins) = (Arc::new(setup.state), Arc::from(setup.origins));
        let roster =
            Arc::new(Current::new(Roster { credentials: tables.credentials.get(), origins }));
        let all = Arc::clone(&roster);
        let spec =
            Spec { name: NAME, instance: 0, capacity: 1_024, policy: RestartPolicy::default() };
        let of_actor = Arc::clone(&tables);
        let actor = supervisor
            .start_on_own_thread(spec, move || {
                ApiClientActor::new(Arc::clone(&of_actor), Arc::clone(&all))
            })
            .unwrap();
        let client = OriginClient::new(actor, Arc::clone(&tables), roster);
        Self { tables, simulator: running.address, supervisor, client, handle: running.handle }
    }

    /// The first account.
    pub(crate) fn account(&self) -> Credential {
        self.tables.credentials.with(|all| all.iter().next().unwrap().clone())
    }

    /// Calls a method, with retries, and waits long.
    pub(crate) async fn call(&self, method: &'static str) -> Result<Reply<O>, Failure> {
        self.call_within(method, PATIENCE).await
    }

    /// Calls a method, with retries, until a deadline.
    pub(crate) async fn call_within(
        &self,
        method: &'static str,
        within: Duration,
    ) -> Result<Reply<O>, Failure> {
        self.call_for(Priority::Client, method, within).await
    }

    /// The same for anybody, or nobody.
    pub(crate) async fn call_for(
        &self,
        priority: Priority,
        method: &'static str,
        within: Duration,
    ) -> Result<Reply<O>, Failure> {
        // Each another question: one that failed says nothing when it is asked again.
        static ASKED: AtomicU64 = AtomicU64::new(1_000_000);
        let price = ASKED.fetch_add(1, Ordering::Relaxed);
        let params = BTreeMap::from([
            ("keywords", "phone".to_owned()),
            ("max_sale_price", price.to_string()),
        ]);
        let question = Request { method: named(method), params };
        let deadline = clock::monotonic() + within;
        let request_id = "a-request".into();
        self.client.call(Call { request_id, ..Call::new(question, priority, deadline) }).await
    }

    /// Puts fault rules in force at the simulator.
    pub(crate) async fn faults(&self, rules: &Value) {
        let url = format!("http://{}/__simulator/faults", self.simulator);
        let answer = awc::Client::default().put(url).send_json(rules).await.unwrap();
        assert_eq!(answer.status(), 200, "the simulator refuses {rules}");
    }

    /// Calls of a method that reached the simulator.
    pub(crate) async fn calls_of(&self, method: &str) -> u64 {
        self.stats().await["calls"][method].as_u64().unwrap_or(0)
    }

    /// Calls of both accounts that reached the simulator.
    pub(crate) async fn calls_by_account(&self) -> [u64; 2] {
        let stats = self.stats().await;
        [DEMO_APP_KEY, SECOND_KEY].map(|key| stats["accounts"][key].as_u64().unwrap_or(0))
    }

    async fn stats(&self) -> Value {
        let url = format!("http://{}/__simulator/stats", self.simulator);
        let mut answer = awc::Client::default().get(url).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Strikes the actor.
    pub(crate) fn strike(&self, chaos: Chaos) {
        assert_eq!(self.supervisor.strike(NAME, chaos), 1);
    }

    /// How often the actor restarted.
    pub(crate) fn restarts(&self) -> u64 {
        self.supervisor.status().iter().map(|actor| actor.restarts).sum()
    }

    /// Ends the simulator; the actor ends with its last handle.
    pub(crate) async fn stop(self) {
        self.handle.stop(false).await;
    }
}
