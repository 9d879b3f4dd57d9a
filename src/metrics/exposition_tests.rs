//! Tests of the file beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::metrics::Words;
use crate::resilience::breaker::State;

/// Every metric touched once; an untouched family has no samples and is not exposed.
fn touched() -> Metrics {
    let metrics = Metrics::new();
    let ms = Duration::from_millis(1);
    let http = &metrics.http;
    http.route("/api/products/details/{product_id}").finished("GET", 200, ms);
    drop(http.in_flight.begin());
    http.shed.at(["lag"]).inc();
    http.loop_lag.set(0.012);
    http.unread.at(["malformed"]).inc();
    http.cut.at(["answer_not_taken"]).inc();
    http.compressed_bytes.inc_by(1_234);
    touch_cache(&metrics);
    let upstream = &metrics.upstream;
    upstream.calls.at(["aliexpress.affiliate.product.query", "ok"]).inc();
    upstream.duration.observe(ms);
    upstream.retries.inc();
    upstream.background_refused.at(["refresh", "kept_for_clients"]).inc();
    upstream.shed.at(["standing"]).inc();
    upstream.budget_remaining.set(4_999);
    upstream.breakers.moved("aliexpress", State::Open);
    upstream.breakers.slow_start.at(["aliexpress"]).set(4.5);
    upstream.breakers.tier_state.at(["redis"]).set(State::HalfOpen.gauge());
    metrics.limits.refused.at(["/api/products/search", "ip"]).inc();
    metrics.limits.abuse_detected.at(["repeated_query"]).inc();
    metrics.limits.abuse_refused.at(["on"]).inc();
    metrics.limits.abuse_throttled.set(3);
    metrics.limits.whitelist_size.set(1);
    metrics.limits.blacklist_size.set(2);
    metrics.database.duration.at(["select"]).observe(ms);
    metrics.database.slow.at(["select"]).inc();
    metrics.access.log_lost.at(["failed"]).set(1);
    metrics.tracing.exported.inc();
    metrics.tracing.dropped.at(["queue_full"]).inc();
    metrics.actors.up.at(["cache"]).set(1);
    metrics.actors.queue_length.at(["cache"]).set(0);
    metrics.actors.events_dropped.at(["cache"]);
    metrics.actors.restarts.at(["cache", "panic"]).inc();
    metrics.actors.task_panics.at(["cache"]).inc();
    let dropped = metrics.service_counter(
        "products_dropped",
        ("reason", Words::these([])),
        "Products dropped",
    );
    dropped.at(["title_too_short"]).inc();
    metrics
}

fn touch_cache(metrics: &Metrics) {
    let cache = &metrics.cache;
    cache.hit("search", "memory");
    cache.stale("search");
    cache.tier_miss("search", "redis");
    cache.miss("search");
    cache.error("search", "redis");
    cache.latency.at(["search", "get"]).observe(Duration::from_micros(3));
    cache.invalidations.at(["search", "admin"]).inc_by(2);
    cache.evictions.inc();
    cache.warmed.inc();
    cache.served_age.observe(Duration::from_secs(12));
    cache.size("memory", 10, 2_048);
    cache.corrupt_entries.at(["database"]).inc();
    cache.writes_dropped.at(["database"]).inc();
}

/// Name, type and label names of every family, in a line each, sorted. Process metrics depend on
/// the system and are left out.
fn families(text: &str) -> String {
    let mut families = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let sample = text.lines().find(|line| belongs(line, name)).unwrap_or_default();
        families.insert(name.to_owned(), format!("{kind} {}", label_names(sample)));
    }
    families.retain(|name, _| !name.starts_with("process_"));
    families.iter().map(|(name, kind)| format!("{name} {}\n", kind.trim_end())).collect()
}

fn belongs(line: &str, family: &str) -> bool {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    [family.to_owned(), format!("{family}_count"), format!("{family}_total")]
        .contains(&name.to_owned())
}

fn label_names(sample: &str) -> String {
    let Some((_, rest)) = sample.split_once('{') else { return String::new() };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    let names: Vec<_> = labels.split("\",").filter_map(|label| label.split('=').next()).collect();
    names.join(",")
}

fn prometheus() -> String {
    render(&touched()).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each family")]
fn the_prometheus_text_has_every_name_type_and_label() {
    insta::assert_snapshot!(families(&prometheus()), @r"
    actor_events_dropped_total counter actor
    actor_queue_length gauge actor
    actor_restarts_total counter actor,reason
    actor_task_panics_total counter actor
    actor_up gauge actor
    api_keys gauge
    audit_given_up gauge
    audit_waiting gauge
    cache_bytes gauge tier
    cache_circuit_breaker_state gauge cache_type
    cache_corrupt_entries_total counter tier
    cache_entries gauge tier
    cache_errors_total counter cache_type,cache_layer
    cache_evictions_total counter
    cache_hits_total counter cache_type,cache_layer
    cache_invalidations_total counter cache_type,reason
    cache_misses_total counter cache_type,cache_layer
    cache_operation_latency_seconds histogram cache_type,operation
    cache_served_age_seconds histogram
    cache_stale_answers_total counter cache_type
    cache_warmed_total counter
    cache_writes_dropped_total counter tier
    certificate_expires_timestamp_seconds gauge setting
    circuit_breaker_slow_start_per_second gauge name
    circuit_breaker_state gauge name
    circuit_breaker_transitions_total counter name,to
    config_last_reload_successful gauge
    config_last_reload_timestamp_seconds gauge
    database_disk_free_bytes gauge
    db_connection_pool_size gauge state
    db_query_duration_seconds histogram query_type
    db_slow_queries_total counter query_type
    event_loop_lag_seconds gauge
    http_connections gauge
    http_connections_cut_total counter reason
    http_request_duration_seconds histogram method,route
    http_requests_in_flight gauge
    http_requests_shed_total counter reason
    http_requests_total counter method,route,status
    http_unread_requests_total counter reason
    last_resort_answers_total counter
    log_lines_lost gauge reason
    pressure_level gauge
    products_dropped_total counter reason
    rate_limit_abuse_detected_total counter pattern
    rate_limit_abuse_refused_total counter mode
    rate_limit_abuse_throttled gauge
    rate_limit_blacklist_size gauge
    rate_limit_hits_total counter endpoint,type
    rate_limit_local_decisions_total counter
    rate_limit_shared gauge
    rate_limit_whitelist_size gauge
    replication_pending gauge
    replication_unreadable gauge
    response_compressed_bytes_total counter
    trace_spans_dropped_total counter reason
    trace_spans_exported_total counter
    upstream_background_refused_total counter priority,reason
    upstream_budget_remaining gauge
    upstream_call_duration_seconds histogram
    upstream_calls_total counter method,outcome
    upstream_concurrency_limit gauge
    upstream_in_flight gauge
    upstream_misconfigured gauge
    upstream_retries_total counter
    upstream_shed_total counter reason
    upstream_waiting gauge
    ");
}

#[test]
fn every_name_of_the_contract_is_there() {
    let text = prometheus();
    for sample in [
        "http_requests_total{method=\"GET\",route=\"/api/products/details/{product_id}\",status=\"200\"} 1",
        "http_request_duration_seconds_count{method=\"GET\",route=\"/api/products/details/{product_id}\"} 1",
        "http_requests_in_flight 0",
        "http_requests_shed_total{reason=\"lag\"} 1",
        "event_loop_lag_seconds 0.012",
        "cache_hits_total{cache_type=\"search\",cache_layer=\"memory\"} 1",
        "cache_misses_total{cache_type=\"search\",cache_layer=\"none\"} 1",
        "cache_operation_latency_seconds_count{cache_type=\"search\",operation=\"get\"} 1",
        "cache_invalidations_total{cache_type=\"search\",reason=\"admin\"} 2",
        "cache_evictions_total 1",
        "cache_warmed_total 1",
        "cache_served_age_seconds_bucket{le=\"60.0\"} 1",
        "circuit_breaker_state{name=\"aliexpress\"} 1",
        "cache_circuit_breaker_state{cache_type=\"redis\"} 2",
        "circuit_breaker_transitions_total{name=\"aliexpress\",to=\"open\"} 1",
        "upstream_calls_total{method=\"aliexpress.affiliate.product.query\",outcome=\"ok\"} 1",
        "upstream_call_duration_seconds_count 1",
        "upstream_retries_total 1",
        "upstream_background_refused_total{priority=\"refresh\",reason=\"kept_for_clients\"} 1",
        "upstream_budget_remaining 4999",
        "rate_limit_hits_total{endpoint=\"/api/products/search\",type=\"ip\"} 1",
        "rate_limit_abuse_detected_total{pattern=\"repeated_query\"} 1",
        "rate_limit_abuse_refused_total{mode=\"on\"} 1",
        "rate_limit_abuse_throttled 3",
        "rate_limit_whitelist_size 1",
        "rate_limit_blacklist_size 2",
        "actor_restarts_total{actor=\"cache\",reason=\"panic\"} 1",
        "actor_queue_length{actor=\"cache\"} 0",
        "actor_up{actor=\"cache\"} 1",
        "products_dropped_total{reason=\"title_too_short\"} 1",
        "response_compressed_bytes_total 1234",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} in\n{text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_metrics_have_their_conventional_names() {
    let text = render(&Metrics::new()).unwrap();
    for family in [
        "# TYPE process_cpu_seconds_total counter",
        "# TYPE process_start_time_seconds gauge",
        "# TYPE process_resident_memory_bytes gauge",
        "# TYPE process_virtual_memory_bytes gauge",
        "# TYPE process_open_fds gauge",
        "# TYPE process_max_fds gauge",
        "# TYPE process_threads gauge",
    ] {
        assert!(text.lines().any(|line| line == family), "{family} in\n{text}");
    }
}

#[test]
fn every_sample_belongs_to_a_family_with_help_and_type() {
    let text = prometheus();
    let named = |prefix: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect()
    };
    let (helps, types) = (named("# HELP "), named("# TYPE "));
    assert_eq!(helps, types);
    let mut unique = types.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), types.len());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = |name: &str| types.iter().any(|family| family == name);
        assert!(known(name) || base.is_some_and(known), "{line}");
    }
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
}

#[test]
fn scraping_while_counting_is_safe() {
    let metrics = touched();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let route = metrics.http.route("/a");
            for _ in 0..20_000 {
                route.finished("GET", 200, Duration::from_micros(80));
            }
        });
        for _ in 0..20 {
            assert!(render(&metrics).is_ok());
        }
    });
    assert_eq!(metrics.http.totals().requests, 20_001);
}
