//! What the simulator can be told at its start.
//!
//! Owns: the settings and the key, secret and tracking id of the demonstration account. Refuses:
//! nothing; a bad address or catalogue is refused by the start itself.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Application key of the demonstration account.
pub const DEMO_APP_KEY: &str = "500001";
/// Secret of the demonstration account; it guards nothing.
pub const DEMO_APP_SECRET: &str = "breakwater-demonstration-secret";
/// Tracking id of the demonstration account.
pub const DEMO_TRACKING_ID: &str = "breakwater";

/// An account the simulator knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Application key, as sent in `app_key`.
    pub app_key: String,
    /// Secret that calls are signed with.
    pub app_secret: String,
    /// The one tracking id of the account; any other gives empty lists.
    pub tracking_id: String,
}

impl Credentials {
    /// The account a gateway uses when it starts the simulator inside itself.
    #[must_use]
    pub fn demonstration() -> Self {
        Self {
            app_key: DEMO_APP_KEY.to_owned(),
            app_secret: DEMO_APP_SECRET.to_owned(),
            tracking_id: DEMO_TRACKING_ID.to_owned(),
        }
    }
}

impl fmt::Debug for Credentials {
    /// Without the secret: a configured account may be a real one.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials")
            .field("app_key", &self.app_key)
            .field("tracking_id", &self.tracking_id)
            .finish_non_exhaustive()
    }
}

/// How to start a simulator.
#[derive(Debug, Clone)]
pub struct SimulatorSettings {
    /// Address to listen on; port 0 for any free one.
    pub listen: SocketAddr,
    /// A catalogue of one JSON object a line, plain or gzip; `None` for the built-in one.
    pub catalog: Option<PathBuf>,
    /// Every account that may call; the first that has the sent key counts.
    pub credentials: Vec<Credentials>,
    /// Threads that answer; at least one is started.
    pub workers: usize,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            catalog: None,
            credentials: vec![Credentials::demonstration()],
            workers: 1,
        }
    }
}
