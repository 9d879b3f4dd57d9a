//! Registration: one line a metric, name, help and label names side by side.
//!
//! Owns: the builder that fills the registry before anything else starts, and [`Labelled`], a
//! metric with `N` labels. Refuses: label values that are not `&'static str`; text that came from
//! outside cannot become a label by accident.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::DurationHistogram;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// One metric for every combination of `N` label values.
#[derive(Debug, Clone)]
pub(super) struct Labelled<M, const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, M>,
}

impl<M: Clone, const N: usize> Labelled<M, N> {
    fn new(names: [&'static str; N], make: fn() -> M) -> Self {
        Self { names, family: Family::new_with_constructor(make) }
    }

    /// The metric with these label values, in the order of the label names; made when new.
    /// The result may be kept: it stays the same metric.
    pub(super) fn at(&self, values: [&'static str; N]) -> M {
        let mut values = values.into_iter();
        let labels = self.names.map(|name| (name, values.next().unwrap_or_default()));
        self.family.get_or_create_owned(&labels)
    }
}

/// Fills a registry.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    registry: Registry,
}

impl Registrar {
    /// The finished registry.
    pub(super) fn finish(self) -> Registry {
        self.registry
    }

    /// A collector that is asked at every scrape.
    pub(super) fn collector(
        &mut self,
        collector: Box<dyn prometheus_client::collector::Collector>,
    ) {
        self.registry.register_collector(collector);
    }

    /// A counter, exposed as `{name}_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.single(name, help, None, Counter::default())
    }

    /// A counter of bytes, exposed as `{name}_bytes_total`.
    pub(super) fn byte_counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.single(name, help, Some(Unit::Bytes), Counter::default())
    }

    /// Counters by label, exposed as `{name}_total`.
    pub(super) fn counters<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Labelled<Counter, N> {
        self.labelled(name, help, None, labels, Counter::default)
    }

    /// A gauge, exposed under its own name.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.single(name, help, None, Gauge::default())
    }

    /// A gauge that need not be a whole number, exposed under its own name.
    pub(super) fn fraction_gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Gauge<f64, AtomicU64> {
        self.single(name, help, None, Gauge::default())
    }

    /// Gauges by label, exposed under their own name.
    pub(super) fn gauges<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Labelled<Gauge, N> {
        self.labelled(name, help, None, labels, Gauge::default)
    }

    /// Gauges by label that need not be whole numbers, exposed under their own name.
    pub(super) fn fraction_gauges<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Labelled<Gauge<f64, AtomicU64>, N> {
        self.labelled(name, help, None, labels, Gauge::default)
    }

    /// A histogram of durations, exposed as `{name}_seconds`.
    pub(super) fn durations(
        &mut self,
        name: &'static str,
        help: &'static str,
        make: fn() -> DurationHistogram,
    ) -> DurationHistogram {
        self.single(name, help, Some(Unit::Seconds), make())
    }

    /// Histograms of durations by label, exposed as `{name}_seconds`.
    pub(super) fn labelled_durations<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        make: fn() -> DurationHistogram,
    ) -> Labelled<DurationHistogram, N> {
        self.labelled(name, help, Some(Unit::Seconds), labels, make)
    }

    fn labelled<M, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        labels: [&'static str; N],
        make: fn() -> M,
    ) -> Labelled<M, N>
    where
        M: EncodeMetric + TypedMetric + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let labelled = Labelled::new(labels, make);
        self.single(name, help, unit, labelled.family.clone());
        labelled
    }

    fn single<M>(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        metric: M,
    ) -> M
    where
        M: EncodeMetric + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric.clone()),
            None => self.registry.register(name, help, metric.clone()),
        }
        metric
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn values_meet_their_names_in_order() {
        let mut registrar = Registrar::default();
        let counters = registrar.counters("seen", "what was seen", ["kind", "type"]);
        counters.at(["a", "b"]).inc();
        counters.at(["a", "b"]).inc();
        let mut text = String::new();
        encode(&mut text, &registrar.finish()).unwrap();
        assert!(text.contains("seen_total{kind=\"a\",type=\"b\"} 2\n"), "{text}");
    }
}
