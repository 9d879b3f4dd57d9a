//! Declarations: where the gateway listens. Owns no logic and refuses nothing; see the parent.

use super::{Declaration, setting};
use crate::config::addresses::{Interface, Origin};
use crate::config::kinds::{Kind, Millis, Seconds, Whole};
use crate::config::texts::List;

pub(super) const SETTINGS: &[Declaration] = &[
    setting!("API_HOST", "server", "host", in settings.server.host, Interface,
        "address to listen on"),
    setting!("API_PORT", "server", "port", in settings.server.port, Whole(0, 65_535),
        "port to listen on; 0 takes any free port and prints it"),
    setting!("HTTP_WORKERS", "server", "workers", in settings.server.workers, Whole(1, 512),
        "threads that serve requests", default "number of cores"),
    setting!("REQUEST_TIMEOUT_MS", "server", "request_timeout_ms",
        in settings.server.request_timeout, Millis(1, 600_000),
        "longest time a request may take in all"),
    setting!("MAX_CONNECTIONS", "server", "max_connections", in settings.server.max_connections,
        Whole(1, 1_000_000), "connections in all; one more is refused; fewer where there are too few descriptors"),
    setting!("MAX_CONNECTIONS_PER_ADDRESS", "server", "max_connections_per_address",
        in settings.server.max_connections_per_address, Whole(0, 1_000_000),
        "connections of one address, while clients are limited at all; those of trusted proxies \
         are not counted; 0: any"),
    setting!("HEAD_TIMEOUT_MS", "server", "head_timeout_ms", in settings.server.head_timeout,
        Millis(10, 600_000), "longest time for the head of a request to arrive, and for a new connection to begin one"),
    setting!("SEND_TIMEOUT_MS", "server", "send_timeout_ms", in settings.server.send_timeout,
        Millis(10, 600_000), "longest time for a client to take nothing of its answer"),
    setting!("KEEP_ALIVE_SECONDS", "server", "keep_alive_seconds", in settings.server.keep_alive,
        Seconds(1, 3_600), "longest time between two requests of a connection"),
    setting!("MAX_REQUESTS_IN_FLIGHT", "server", "max_requests_in_flight",
        in settings.server.max_in_flight, Whole(1, 1_000_000),
        "requests that one worker serves at once; more are refused, and of those with a body half \
         as many"),
    setting!("SHED_LAG_MS", "server", "shed_lag_ms", in settings.server.shed_lag, Millis(0, 10_000),
        "wait before a worker above which, when it lasts, a share of the requests is refused; 0: \
         any"),
    setting!("SHUTDOWN_TIMEOUT_SECONDS", "server", "shutdown_timeout_seconds",
        in settings.server.shutdown_timeout, Seconds(1, 3_600),
        "longest time to finish what is in flight when stopping"),
    setting!("ALLOWED_ORIGINS", "server", "allowed_origins", in settings.allowed_origins,
        List(Origin), "web origins that may call from a browser, compared exactly"),
];
