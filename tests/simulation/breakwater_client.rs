//! Breakwater's own client, with the tables that the application makes when nothing but the
//! credentials is set.
//!
//! Owns: the settings, and who hears of a breaker's moves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use breakwater::clock;
use breakwater::config::{Credentials, Secret, Settings};
use breakwater::failure::{Failure, FailureKind};
use breakwater::metrics::Metrics;
use breakwater::origin::accounts::{Account, Accounts, NAMES};
use breakwater::origin::actor::{Call, Reply};
use breakwater::origin::budget::{self, RetryBudget};
use breakwater::origin::crowd::{self, Crowd};
use breakwater::origin::pacing::{self, Pacing};
use breakwater::origin::retry::Policy;
use breakwater::origin::standing::Standing;
use breakwater::origin::tables::UpstreamTables;
use breakwater::origin::transport::Wire;
use breakwater::origin::{Priority, Request, call};
use breakwater::resilience::breaker::{self, Breaker};
use breakwater::services::products::aliexpress::{AliExpress, QUOTA_DAY_OFFSET};
use breakwater::supervision::Silent;
use slog::Logger;
use tokio::time::Instant;

use crate::record::{Answer, Move};
use crate::upstream::Line;

/// The pace of an account: what is set when nothing is.
pub(crate) const PER_SECOND: f64 = 5.0;
/// Calls at once.
pub(crate) const BURST: u32 = 10;
/// The longest that a breaker stays open.
pub(crate) const LONGEST_OPEN: Duration = Duration::from_secs(60);

/// The client.
pub(crate) struct BreakwaterClient {
    tables: UpstreamTables,
    moves: Arc<Mutex<Vec<(std::time::Instant, breaker::Transition)>>>,
}

/// An account at the upstream, for whichever client.
pub(crate) fn protocol(app_key: &str) -> AliExpress {
    let credentials =
        Credentials { app_key: app_key.to_owned(), app_secret: Secret::new("a secret") };
    AliExpress::new(credentials, "https://upstream.example/sync")
}

impl BreakwaterClient {
    /// With these accounts, each with a day's budget.
    pub(crate) fn new(app_keys: &[&str], daily_budget: u64) -> Self {
        let moves = Arc::<Mutex<Vec<_>>>::default();
        let listener: breaker::Listener = {
            let moves = Arc::clone(&moves);
            Arc::new(move |change: &breaker::Transition| {
                moves.lock().unwrap().push((clock::monotonic(), change.clone()));
            })
        };
        let accounts = NAMES.iter().zip(app_keys).enumerate().map(|(place, (name, key))| Account {
            name,
            protocol: Arc::new(protocol(key).at(place)),
            breaker: Breaker::new(*name, breaker_settings(), Arc::clone(&listener)),
            pacing: Pacing::new(pacing::Settings {
                rate: Some(pacing::Rate { per_second: PER_SECOND, burst: BURST }),
                daily_budget: Some(daily_budget),
                max_queue: Settings::default().upstream.queue,
                day_offset: QUOTA_DAY_OFFSET,
                ..pacing::Settings::default()
            }),
            standing: Standing::default(),
        });
        let accounts = Accounts::new(accounts.collect()).unwrap();
        Self { tables: tables(accounts), moves }
    }

    /// Asks once; all else is the client's.
    pub(crate) async fn ask(&self, line: &Line<'_>, request: &Request, until: Instant) -> Answer {
        let call = Call {
            request: request.clone(),
            deadline: until.into_std(),
            retry: true,
            priority: Priority::Client,
            request_id: "a-request".into(),
        };
        match call::run(&self.tables, line, &call).await {
            Ok(Reply::Found(_)) => Answer::Ok,
            Ok(Reply::Empty) => Answer::Empty,
            Err(failure) => answer(&failure),
        }
    }

    /// What the breakers did since midnight.
    pub(crate) fn moves(&self, midnight: std::time::Instant) -> Vec<Move> {
        let moves = self.moves.lock().unwrap();
        let since = |(at, change): &(std::time::Instant, breaker::Transition)| Move {
            at: *at - midnight,
            from: change.from,
            to: change.to,
        };
        moves.iter().map(since).collect()
    }

    /// The tables.
    pub(crate) const fn tables(&self) -> &UpstreamTables {
        &self.tables
    }
}

fn answer(failure: &Failure) -> Answer {
    match failure.kind {
        FailureKind::UpstreamUnavailable if is_throttled(&failure.reason) => Answer::Throttled,
        FailureKind::UpstreamUnavailable => Answer::Unavailable,
        FailureKind::UpstreamRejected => Answer::Rejected,
        FailureKind::Overloaded => Answer::Overloaded,
        FailureKind::CircuitOpen => Answer::CircuitOpen,
        FailureKind::DeadlineExceeded => Answer::Deadline,
        FailureKind::Internal => panic!("{failure}"),
    }
}

/// By the upstream's answer, or by the ban that followed from another's.
fn is_throttled(reason: &str) -> bool {
    reason.starts_with("throttled") || reason.ends_with("banned")
}

fn tables(accounts: Accounts) -> UpstreamTables {
    let set = Settings::default().upstream;
    UpstreamTables {
        accounts,
        crowd: Crowd::new(crowd::Settings::default()),
        budget: RetryBudget::new(budget::Settings::default()),
        retry: Policy {
            max_attempts: set.retry_max_attempts,
            base_delay: set.retry_base_delay,
            max_delay: set.retry_max_delay,
            max_told_wait: Duration::from_secs(3),
            least_attempt: Duration::from_millis(50),
        },
        wire: Wire::default(),
        attempt_timeout: set.attempt_timeout,
        metrics: Metrics::new().upstream().clone(),
        log: Logger::root(slog::Discard, slog::o!()),
        observer: Arc::new(Silent),
    }
}

fn breaker_settings() -> breaker::Settings {
    let set = Settings::default().upstream;
    breaker::Settings {
        failure_rate: f64::from(set.breaker_failure_percent) / 100.0,
        open_max: LONGEST_OPEN,
        probe_timeout: set.attempt_timeout + Duration::from_secs(1),
        slow_start: true,
        ..breaker::Settings::new(set.breaker_failures, set.breaker_open)
    }
}
