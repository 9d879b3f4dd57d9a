//! Trying what the settings name: `check-config --connect`.
//!
//! Owns: which parts are tried, one after the other. Changes nothing in the database; Redis gets one key
//! that lives for seconds; a collector gets no spans; every account of an upstream makes one call. What is down is told in its own
//! words.

use std::sync::Arc;

use slog::{Discard, Logger, o};

use super::stores::Stores;
use super::{Connect, Start};
use crate::config::Settings;
use crate::database::{self, Address, DatabaseSettings, PostgresAddress};
use crate::http::service::{ServiceParts, Surface, Tried};
use crate::http::settings::Server;
use crate::metrics::Metrics;
use crate::origin::start::Environment;
use crate::otlp::try_collector;
use crate::redis::RedisSettings;
use crate::supervision::{Silent, Supervisor};

pub(super) async fn connect(
    settings: &Settings,
    services: &[(&Surface, Start, Connect)],
) -> Vec<Tried> {
    let (metrics, log) = (Metrics::new(), Logger::root(Discard, o!()));
    let mut tried = vec![try_database(settings.of()).await];
    tried.extend(try_replicas(settings.of()).await);
    if let Some(outcome) = Stores::try_redis(settings, &metrics, &log).await {
        tried.push(Tried {
            what: "redis".to_owned(),
            setting: "REDIS_URL",
            outcome,
            remedy: if settings.of::<RedisSettings>().uses_tls() {
                "look at its address, password and permissions, whether it is a primary, and whether this \
                 port speaks TLS; if not, write redis:// instead of rediss://"
            } else {
                "look at its address, password and permissions, whether it is a primary, and whether this \
                 port wants TLS; if so, write rediss:// instead of redis://"
            },
        });
    }
    if let Some(outcome) = try_collector(&settings.of(), &log).await {
        tried.push(Tried {
            what: "collector of traces".to_owned(),
            setting: "OTEL_EXPORTER_OTLP_ENDPOINT",
            outcome,
            remedy: "look at its address, whether it takes OTLP over HTTP there (port 4318, not the 4317 of \
                     gRPC), and at OTEL_EXPORTER_OTLP_HEADERS",
        });
    }
    let supervisor = match Supervisor::new(Arc::new(Silent)) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            tried.push(Tried {
                what: "upstreams".to_owned(),
                setting: "HTTP_WORKERS",
                outcome: Err(error.to_string()),
                remedy: "allow this process more threads",
            });
            return tried;
        }
    };
    for (_, _, connect) in services {
        let parts = ServiceParts::new(Environment {
            settings,
            request_timeout: settings.of::<Server>().request_timeout,
            metrics: &metrics,
            log: &log,
            supervisor: &supervisor,
            sharing: None,
        });
        tried.extend(connect(&parts).await);
    }
    tried
}

async fn try_database(settings: DatabaseSettings) -> Tried {
    let DatabaseSettings { address, .. } = settings;
    let remedy = match &address {
        Address::Sqlite(_) => "look at the file, its folder and their permissions",
        Address::Postgres(_) => "look at its address, password and permissions, and at sslmode",
    };
    let what = format!("database {address}");
    let described = tokio::task::spawn_blocking(move || database::describe(&address)).await;
    let outcome = match described {
        Ok(described) => described.map_err(|error| error.to_string()),
        Err(died) => Err(died.to_string()),
    };
    Tried { what, setting: "DATABASE_URL", outcome, remedy }
}

/// Each replica, and whether it is one of that primary.
async fn try_replicas(settings: DatabaseSettings) -> Vec<Tried> {
    if settings.replicas.is_empty() {
        return Vec::new();
    }
    let described = tokio::task::spawn_blocking(move || {
        let DatabaseSettings { address, replicas, .. } = settings;
        let describe = |replica: &PostgresAddress| {
            (replica.servers(), database::describe_replica(&address, replica))
        };
        replicas.iter().map(describe).collect::<Vec<_>>()
    });
    let tried = described.await.unwrap_or_default().into_iter().map(|(name, outcome)| Tried {
        what: format!("replica {name}"),
        setting: "DATABASE_REPLICA_URLS",
        outcome,
        remedy: "name standbys of the server that DATABASE_URL names, which answer",
    });
    tried.collect()
}
