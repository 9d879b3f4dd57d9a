//! A small table of named things that is read without a lock.
//!
//! Owns: at most `N` values, each made once for a name and never removed. Refuses: to grow; names
//! beyond the last place share one value made for `other`. Nothing here waits or fails, so readers
//! on several threads never stand in each other's way.

use std::sync::OnceLock;

/// What any value outside a closed set is counted as.
pub(super) const OTHER: &str = "other";

/// Values by `&'static str` name, filled from the front, at most `N` of them.
#[derive(Debug)]
pub(super) struct Handles<T, const N: usize> {
    named: [OnceLock<(&'static str, T)>; N],
    overflow: OnceLock<T>,
}

impl<T, const N: usize> Default for Handles<T, N> {
    fn default() -> Self {
        Self { named: [const { OnceLock::new() }; N], overflow: OnceLock::new() }
    }
}

impl<T, const N: usize> Handles<T, N> {
    /// The value of `name`, made by `make` when it is asked for the first time.
    ///
    /// Places fill strictly from the front: two threads that bring the same new name meet in the
    /// same place, one of them fills it and both see it.
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

    use super::*;

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
