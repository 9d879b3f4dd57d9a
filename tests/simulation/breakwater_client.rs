//! Breakwater's own client, with the tables that the application makes when nothing but the
//! credentials is set.
//!
//! Owns: the settings, and who hears of a breaker's moves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use breakwater::clock;
use breakwater::config::{Current, Secret};
use breakwater::failure::{Failure, FailureKind};
use breakwater::metrics::Metrics;
use breakwater::origin::attempt::Policy;
use breakwater::origin::concurrency::{self, ConcurrencyLimiter};
use breakwater::origin::credentials::{Credential, Credentials as OriginCredentials, Roster};
use breakwater::origin::pacing::{self, Pacing};
use breakwater::origin::settings::{BreakerSettings, RetrySettings, UpstreamSettings};
use breakwater::origin::state::OriginState;
use breakwater::origin::transport::Wire;
use breakwater::origin::{Call, Origin, Priority, course};
use breakwater::resilience::RejectReason;
use breakwater::resilience::backoff::Backoff;
use breakwater::resilience::breaker::{self, Breaker};
use breakwater::resilience::retry_budget::RetryBudget;
use breakwater::services::products::aliexpress::{AliExpress, Request};
use breakwater::services::products::settings::Credentials;
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
    state: OriginState,
    origins: Arc<[AliExpress]>,
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
                moves.lock().unwrap().push((clock::monotonic(), *change));
            })
        };
        let origins = app_keys.iter().enumerate().map(|(place, key)| protocol(key).at(place));
        let origins: Arc<[_]> = origins.collect();
        let names = ["upstream", "upstream_2"].into_iter().zip(origins.iter());
        let credentials = names.map(|(name, origin)| Credential {
            name,
            id: origin.id().to_owned(),
            breaker: Breaker::new(name, breaker_settings(), Arc::clone(&listener)),
            pacing: Pacing::new(pacing::Settings {
                rate: Some(pacing::Rate { per_second: PER_SECOND, burst: BURST }),
                daily_budget: Some(daily_budget),
                day_offset: AliExpress::QUOTA_DAY_OFFSET,
                ..pacing::Settings::default()
            }),
            health: Arc::default(),
        });
        let credentials = OriginCredentials::new(credentials.collect());
        Self { state: state(credentials), origins, moves }
    }

    /// Asks once; all else is the client's.
    pub(crate) async fn ask(&self, line: &Line<'_>, request: &Request, until: Instant) -> Answer {
        let call = Call::new(request.clone(), Priority::Client, until.into_std());
        let call = Call { request_id: "a-request".into(), ..call };
        let (credentials, origins) = (self.state.credentials.get(), Arc::clone(&self.origins));
        match course::run(&self.state, &Roster { credentials, origins }, line, None, &call).await {
            Ok(Some(_)) => Answer::Ok,
            Ok(None) => Answer::Empty,
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

    /// The state.
    pub(crate) const fn state(&self) -> &OriginState {
        &self.state
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
        FailureKind::ShareSpent
        | FailureKind::KeptForKeys
        | FailureKind::NotStored
        | FailureKind::Internal => panic!("{failure}"),
    }
}

/// By the upstream's answer, or by the ban that followed from another's.
fn is_throttled(reason: &str) -> bool {
    reason.starts_with("throttled") || reason == RejectReason::Banned.in_words()
}

fn state(credentials: OriginCredentials) -> OriginState {
    let retry = RetrySettings::default();
    OriginState {
        name: "upstream",
        is_simulated: false,
        credentials: Current::new(Arc::new(credentials)),
        slots: ConcurrencyLimiter::new(concurrency::Settings::default()),
        budget: RetryBudget::default(),
        retry: Current::new(Policy {
            max_attempts: retry.max_attempts,
            backoff: Backoff { first: retry.base_delay, longest: retry.max_delay },
        }),
        sharing: None,
        wire: Wire::default(),
        attempt_timeout: UpstreamSettings::default().attempt_timeout,
        metrics: Metrics::new().upstream.clone(),
        log: Logger::root(slog::Discard, slog::o!()),
        observer: Arc::new(Silent),
    }
}

fn breaker_settings() -> breaker::Settings {
    let set = BreakerSettings::default();
    let attempt_timeout = UpstreamSettings::default().attempt_timeout;
    breaker::Settings {
        open_max: LONGEST_OPEN,
        probe_timeout: attempt_timeout + Duration::from_secs(1),
        slow_start: true,
        ..breaker::Settings::new(set.failures, set.open)
    }
}
