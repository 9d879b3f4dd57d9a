//! Which descriptors the connections hold, and what that says of all descriptors of the process.
//!
//! Owns: the count of those in use. The system gives the lowest number that is free. So all below a new one
//! are in use; of those above it the ones of connections are known, and nothing else asks for many.

/// A bit for each number.
#[derive(Debug, Default)]
pub(super) struct Descriptors(Vec<u64>);

impl Descriptors {
    pub(super) fn take(&mut self, number: u32) {
        let (word, bit) = place(number);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << bit;
        }
    }

    pub(super) fn give_back(&mut self, number: u32) {
        let (word, bit) = place(number);
        if let Some(bits) = self.0.get_mut(word) {
            *bits &= !(1 << bit);
        }
    }

    /// How many are in use, of all kinds, at least, when `free` is the lowest number that is free.
    pub(super) fn in_use(&self, free: u32) -> u32 {
        let (word, bit) = place(free);
        let mut above = self.0.iter().skip(word);
        let first = above.next().map_or(0, |bits| (bits >> bit).count_ones());
        above.fold(free + first, |all, bits| all + bits.count_ones())
    }
}

fn place(number: u32) -> (usize, u32) {
    (usize::try_from(number / u64::BITS).unwrap_or_default(), number % u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_number_that_is_free_again_hides_nothing() {
        let mut held = Descriptors::default();
        (44..200).for_each(|number| held.take(number));
        assert_eq!(held.in_use(200), 200);
        held.give_back(44);
        held.give_back(130);
        assert_eq!(held.in_use(44), 198);
        // What others have is known below the free one only.
        assert_eq!(held.in_use(10), 10 + 154);
        assert_eq!(held.in_use(5_000), 5_000);
        held.give_back(7_000);
        (44..200).for_each(|number| held.give_back(number));
        assert_eq!(held.in_use(44), 44);
    }
}
