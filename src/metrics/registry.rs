//! How a metric is declared: name, labels and help side by side, in one line.
//!
//! Owns: the registry, the kinds of metric, [`Labelled`], a metric with `N` labels, and [`Handles`], by
//! which metrics of one name are found without a lock. Refuses: label values that are not `&'static str`;
//! text from outside cannot become a label by accident.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric, gauge};
use prometheus_client::registry::Registry;

use super::catalogue::{Catalogue, Words};

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

    /// Takes all of them away, for who sets anew those that there are: what is no more is not exported
    /// with its last value for ever.
    pub fn clear(&self) {
        self.family.clear();
    }
}

pub(super) trait Metric:
    EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static
{
}

impl<M: EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static> Metric for M {}

/// Declares metrics: a struct, and how each field is made of a [`Registrar`]. A line is
/// `field: type = expression;`.
macro_rules! metrics {
    ($(#[$meta:meta])* pub struct $name:ident($registrar:ident) {
        $($field:ident: $type:ty = $make:expr;)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $(pub $field: $type,)*
        }

        impl $name {
            pub(super) fn declare($registrar: &mut Registrar) -> Self {
                Self { $($field: $make,)* }
            }
        }
    };
}
pub(super) use metrics;

/// The registry while metrics are declared. `_total` is put behind the name of a counter.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    pub(super) registry: Registry,
    pub(super) catalogue: Catalogue,
}

impl Registrar {
    pub(super) fn one<M: Metric + Default>(&mut self, name: &'static str, help: &'static str) -> M {
        self.add(name, help, M::default())
    }

    /// A metric for every combination of what may stand in its labels; all of them are there from the
    /// start.
    pub(super) fn many<M: Metric + Default, const N: usize>(
        &mut self,
        name: &'static str,
        labels: [(&'static str, Words); N],
        help: &'static str,
    ) -> Labelled<M, N> {
        let labelled =
            self.labelled(name, labels.each_ref().map(|(name, _)| *name), help, M::default);
        let made = labelled.clone();
        let make = Box::new(move |values: &[&'static str]| {
            if let Ok(values) = values.try_into() {
                made.at(values);
            }
        });
        self.catalogue.bounded(name, labels.into(), make);
        labelled
    }

    /// The same where nobody can say beforehand which there will be, or should not; and why.
    pub(super) fn open<M: Metric, const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        (make, why): (fn() -> M, &'static str),
        help: &'static str,
    ) -> Labelled<M, N> {
        self.catalogue.open(name, &labels, why);
        self.labelled(name, labels, help, make)
    }

    fn labelled<M: Metric, const N: usize>(
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
        self.catalogue.bounded(name, Vec::new(), Box::new(|_| {}));
        self.registry.register(name, help, metric.clone());
        metric
    }
}

/// What any value outside a closed set is counted as.
pub(super) const OTHER: &str = "other";

/// At most `N` values by name, each made once and never removed, so that readers need no lock. Names
/// beyond the last place share one value made for `other`.
#[derive(Debug)]
pub struct Handles<T, const N: usize> {
    named: [OnceLock<(&'static str, T)>; N],
    overflow: OnceLock<T>,
}

impl<T, const N: usize> Default for Handles<T, N> {
    fn default() -> Self {
        Self { named: [const { OnceLock::new() }; N], overflow: OnceLock::new() }
    }
}

impl<T, const N: usize> Handles<T, N> {
    /// The value of `name`, made by `make` when it is asked for the first time. Places fill strictly
    /// from the front: two threads that bring the same new name meet in the same place, and both see
    /// what one of them made.
    pub(super) fn resolve(&self, name: &'static str, make: impl Fn(&'static str) -> T) -> &T {
        for place in &self.named {
            let (taken, value) = place.get_or_init(|| (name, make(name)));
            if *taken == name {
                return value;
            }
        }
        self.overflow.get_or_init(|| make(OTHER))
    }

    /// Every value made so far, `other` last.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.named
            .iter()
            .map_while(|place| place.get().map(|(name, value)| (*name, value)))
            .chain(self.overflow.get().map(|value| (OTHER, value)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        let make: fn() -> Counter = Counter::default;
        let why = (make, "nobody knows");
        let counters: Counters<2> = registrar.open("seen", ["kind", "type"], why, "what was seen");
        counters.at(["a", "b"]).inc();
        counters.at(["a", "b"]).inc();
        let text = text(&registrar);
        assert!(text.contains("seen_total{kind=\"a\",type=\"b\"} 2\n"), "{text}");
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

    #[test]
    fn a_name_is_made_once_and_then_found() {
        let handles = Handles::<String, 3>::default();
        let made = AtomicUsize::new(0);
        let make = |name: &'static str| {
            made.fetch_add(1, Ordering::Relaxed);
            name.to_uppercase()
        };
        assert_eq!(handles.resolve("a", make), "A");
        assert_eq!(handles.resolve("b", make), "B");
        assert_eq!(handles.resolve("a", make), "A");
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn names_beyond_the_last_place_share_other() {
        let handles = Handles::<String, 2>::default();
        for name in ["a", "b", "c", "d"] {
            handles.resolve(name, str::to_owned);
        }
        let all: Vec<_> = handles.iter().map(|(name, _)| name).collect();
        assert_eq!(all, ["a", "b", OTHER]);
    }

    #[test]
    fn threads_that_race_for_one_name_agree_on_its_value() {
        let handles = Handles::<usize, 4>::default();
        let made = AtomicUsize::new(0);
        let seen: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| *handles.resolve("x", |_| made.fetch_add(1, Ordering::Relaxed)))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(handles.iter().count(), 1);
    }
}
