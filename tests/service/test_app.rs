//! Gateway and simulator inside the test process.
//!
//! Owns: starting them on threads of their own, talking to both, and stopping them in order when
//! the test is over. The gateway's log is kept and shown when a test fails.

use std::io::Write;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use breakwater::app::{Gateway, Losses, SCHEMA, ServiceParts, Services};
use breakwater::cli::Failure;
use breakwater::config::{Environment, InForce, resolve};
use breakwater::services::products::simulator::{self, Credentials, SimulatorSettings};
use serde_json::{Value, json};
use slog::{Drain, Logger, o};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::gateway::{ADMIN_KEY, Plan};
use crate::support::http::{Answer, Connection};

/// Something that runs on a thread of its own until it is dropped.
struct Hosted {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Hosted {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()),
            "a hosted service panicked"
        );
    }
}

/// Runs `serve` on a thread with an actix system; it reports its address and serves until the
/// receiver is told, or its sender is gone.
fn host<F>(
    serve: impl FnOnce(mpsc::Sender<SocketAddr>, oneshot::Receiver<()>) -> F + Send + 'static,
) -> (SocketAddr, Hosted)
where
    F: Future<Output = ()>,
{
    let (report, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(serve(report, stopped));
    });
    let hosted = Hosted { stop: Some(stop), thread: Some(thread) };
    (address.recv().expect("the service starts"), hosted)
}

/// A simulator of the upstream.
pub(crate) struct Upstream {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    _hosted: Hosted,
}

impl Upstream {
    /// Starts one with the built-in catalogue.
    pub(crate) fn start() -> Self {
        Self::knowing(vec![Credentials::demonstration()])
    }

    /// The same for these accounts.
    pub(crate) fn knowing(credentials: Vec<Credentials>) -> Self {
        let (address, hosted) = host(|report, stopped| async move {
            let settings = SimulatorSettings { credentials, ..SimulatorSettings::default() };
            let running = simulator::start(settings).expect("a free port");
            report.send(running.address).expect("the test waits");
            let handle = running.handle;
            let stop = async {
                drop(stopped.await);
                handle.stop(false).await;
            };
            drop(futures_util::future::join(running.server, stop).await);
        });
        Self { address, _hosted: hosted }
    }

    /// Puts these fault rules in force in place of all others.
    pub(crate) fn faults(&self, rules: &Value) {
        let mut connection =
            Connection::to(self.address).with_header("content-type", "application/json");
        let body = rules.to_string();
        let answer = connection.send("PUT", "/__simulator/faults", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Every call meets this fault.
    pub(crate) fn fails_with(&self, fault: &Value) {
        self.faults(&json!([fault]));
    }

    /// No faults any more.
    pub(crate) fn recovers(&self) {
        self.faults(&json!([]));
    }

    /// Calls so far, of all methods.
    pub(crate) fn calls(&self) -> u64 {
        let calls = &self.stats()["calls"];
        calls.as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    /// Calls so far of one method, named without what all names begin with.
    pub(crate) fn calls_of(&self, method: &str) -> u64 {
        let name = format!("aliexpress.affiliate.{method}");
        self.stats()["calls"].get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Calls so far of the account with this key.
    pub(crate) fn calls_by(&self, app_key: &str) -> u64 {
        self.stats()["accounts"][app_key].as_u64().expect("an account")
    }

    fn stats(&self) -> Value {
        Connection::to(self.address).get("/__simulator/stats").unwrap().json()
    }
}

/// A gateway in front of a simulator.
pub(crate) struct TestApp {
    // Dropped in this order: who calls before who is called, the files last.
    gateway: Running,
    /// What the gateway calls.
    pub(crate) upstream: Upstream,
    plan: Plan,
    /// Where the gateway's files lie.
    pub(crate) folder: TempDir,
}

/// One run of the gateway.
pub(crate) struct Running {
    address: SocketAddr,
    log: Lines,
    _hosted: Hosted,
}

impl TestApp {
    /// A gateway without limits on clients, which does not retry.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more settings.
    pub(crate) fn with(settings: &[(&'static str, &str)]) -> Self {
        Self::before(Upstream::start(), settings)
    }

    /// The same in front of this upstream.
    pub(crate) fn before(upstream: Upstream, settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = Plan::in_folder(folder.path())
            .before(upstream.address)
            .with("HTTP_WORKERS", "2")
            .with("RETRY_MAX_ATTEMPTS", "1")
            .with("LOG_LEVEL", "debug");
        let plan = settings.iter().fold(plan, |plan, (name, value)| plan.with(name, *value));
        Self { gateway: run(&plan), upstream, plan, folder }
    }

    /// Stops the gateway and starts another on the same files.
    pub(crate) fn restart(self) -> Self {
        self.restart_with(|_| {})
    }

    /// The same; what happens meanwhile happens while no gateway runs.
    pub(crate) fn restart_with(self, meanwhile: impl FnOnce(&Upstream)) -> Self {
        let Self { gateway, upstream, plan, folder } = self;
        drop(gateway);
        meanwhile(&upstream);
        Self { gateway: run(&plan), upstream, plan, folder }
    }
}

impl Deref for TestApp {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.gateway
    }
}

impl Running {
    /// Where the gateway answers.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to the gateway.
    pub(crate) const fn connection(&self) -> Connection {
        Connection::to(self.address)
    }

    /// A new connection with the admin's key.
    pub(crate) fn admin(&self) -> Connection {
        self.connection().with_header("x-admin-key", ADMIN_KEY)
    }

    /// `GET` on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connection().get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `POST` of JSON on a connection of its own.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    /// `POST` of what says that it is JSON.
    pub(crate) fn post_text(&self, path: &str, body: &str) -> Answer {
        let connection = self.connection().with_header("content-type", "application/json");
        let mut connection = connection;
        let answer = connection.send("POST", path, body.as_bytes());
        answer.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// The figure of a metric's line, which begins with `series`; 0 when there is none.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let figure = line.and_then(|rest| rest.trim().parse().ok());
        figure.unwrap_or(0.0)
    }

    /// The log so far, one JSON object a line.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }
}

fn run(plan: &Plan) -> Running {
    run_with(plan, |_| Ok(Vec::new()))
}

/// Runs a gateway with more services.
pub(crate) fn run_with(
    plan: &Plan,
    more: impl FnOnce(&ServiceParts<'_>) -> Result<Services, Failure> + Send + 'static,
) -> Running {
    let settings =
        resolve(SCHEMA, None, &Environment::from_iter(plan.settings())).expect("good settings");
    let log = Lines::default();
    let logger = log.logger();
    let (address, hosted) = host(|report, stopped| async move {
        let in_force = InForce::new(None, settings, |_| ());
        let gateway = Gateway::start_with(in_force, logger, Losses::default(), more);
        let gateway = gateway.await.expect("it starts");
        report.send(gateway.address).expect("the test waits");
        drop(stopped.await);
        gateway.stop().await;
    });
    Running { address, log, _hosted: hosted }
}

impl Drop for Running {
    fn drop(&mut self) {
        let log = self.log.text();
        if std::thread::panicking() {
            return println!("{log}");
        }
        // Whatever a test did: no line of a request is without its place in a trace.
        for line in log.lines().filter(|line| line.contains("\"request_id\"")) {
            assert!(line.contains("\"trace_id\"") && line.contains("\"span_id\""), "{line}");
        }
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn logger(&self) -> Logger {
        let json = slog_json::Json::new(self.clone()).add_default_keys().build();
        Logger::root(Mutex::new(json).fuse(), o!())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
