//! How a metric is declared: name, labels and help side by side, in one call.
//!
//! Owns: the registry, the kinds of metric, and [`Labelled`], a metric with `N` labels. Refuses: label
//! values that are not `&'static str`; text from outside cannot become a label by accident.

use std::fmt::Debug;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric, gauge};
use prometheus_client::registry::Registry;

pub type Counters<const N: usize> = Labelled<Counter, N>;
pub type Gauges<const N: usize> = Labelled<Gauge, N>;
/// A gauge that need not be a whole number.
pub type Fraction = gauge::Gauge<f64, AtomicU64>;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// A whole number that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(gauge::Gauge);

impl Gauge {
    /// Sets it; what is too large for a gauge stops at its end.
    pub fn set(&self, value: impl TryInto<i64>) {
        self.0.set(value.try_into().unwrap_or(i64::MAX));
    }

    pub fn get(&self) -> i64 {
        self.0.get()
    }

    /// Counts one more until the returned guard is dropped, which also happens when the client goes
    /// away or the handler panics.
    pub fn begin(&self) -> InFlight {
        self.0.inc();
        InFlight(self.0.clone())
    }
}

impl TypedMetric for Gauge {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Gauge {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// One of what a gauge counts; ends when dropped.
#[derive(Debug)]
pub struct InFlight(gauge::Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One metric for every combination of `N` label values.
#[derive(Debug, Clone)]
pub struct Labelled<M, const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, M>,
}

impl<M: Clone, const N: usize> Labelled<M, N> {
    /// The metric with these label values, in the order of the label names; made when new.
    /// The result may be kept: it stays the same metric.
    pub fn at(&self, values: [&'static str; N]) -> M {
        let mut values = values.into_iter();
        let labels = self.names.map(|name| (name, values.next().unwrap_or_default()));
        self.family.get_or_create_owned(&labels)
    }
}

pub(super) trait Metric:
    EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static
{
}

impl<M: EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static> Metric for M {}

/// The registry while metrics are declared. `_total` is put behind the name of a counter.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    pub(super) registry: Registry,
    /// The counters that services declared.
    services: Vec<(&'static str, Counters<1>)>,
}

impl Registrar {
    pub(super) fn one<M: Metric + Default>(&mut self, name: &'static str, help: &'static str) -> M {
        self.add(name, help, M::default())
    }

    /// A metric for every combination of labels.
    pub(super) fn many<M: Metric + Default, const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) -> Labelled<M, N> {
        self.family(name, labels, help, M::default)
    }

    /// The same with a constructor, for metrics that have bounds.
    pub(super) fn family<M: Metric, const N: usize>(
        &mut self,
        name: &'static str,
        names: [&'static str; N],
        help: &'static str,
        make: fn() -> M,
    ) -> Labelled<M, N> {
        let family = Family::new_with_constructor(make);
        self.registry.register(name, help, family.clone());
        Labelled { names, family }
    }

    /// A metric that is there already.
    pub(super) fn add<M: Metric>(
        &mut self,
        name: &'static str,
        help: &'static str,
        metric: M,
    ) -> M {
        self.registry.register(name, help, metric.clone());
        metric
    }

    /// A counter of a service; who asks for the same name again gets the same counter.
    pub(super) fn of_service(
        &mut self,
        name: &'static str,
        label: &'static str,
        help: &'static str,
    ) -> Counters<1> {
        if let Some((_, known)) = self.services.iter().find(|(known, _)| *known == name) {
            return known.clone();
        }
        let counters: Counters<1> = self.many(name, [label], help);
        self.services.push((name, counters.clone()));
        counters
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(registrar: &Registrar) -> String {
        let mut text = String::new();
        encode(&mut text, &registrar.registry).unwrap();
        text
    }

    #[test]
    fn values_meet_their_names_in_order() {
        let mut registrar = Registrar::default();
        let counters: Counters<2> = registrar.many("seen", ["kind", "type"], "what was seen");
        counters.at(["a", "b"]).inc();
        counters.at(["a", "b"]).inc();
        let text = text(&registrar);
        assert!(text.contains("seen_total{kind=\"a\",type=\"b\"} 2\n"), "{text}");
    }

    #[test]
    fn a_service_that_is_built_twice_has_one_counter() {
        let mut registrar = Registrar::default();
        for _ in 0..2 {
            registrar.of_service("dropped", "reason", "what was dropped").at(["old"]).inc();
        }
        let text = text(&registrar);
        assert!(text.contains("dropped_total{reason=\"old\"} 2\n"), "{text}");
        assert_eq!(text.matches("# TYPE dropped").count(), 1);
    }

    #[test]
    fn sizes_beyond_a_gauge_stop_at_its_end() {
        let gauge = Gauge::default();
        gauge.set(u64::MAX);
        assert_eq!(gauge.get(), i64::MAX);
    }

    #[test]
    fn one_is_in_flight_until_its_guard_goes() {
        let gauge = Gauge::default();
        let (first, second) = (gauge.begin(), gauge.begin());
        assert_eq!(gauge.get(), 2);
        drop(first);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = second;
            panic!("handler");
        }));
        assert!(panicked.is_err());
        assert_eq!(gauge.get(), 0);
    }
}
