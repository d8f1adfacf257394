//! Offsets of one partition, held as ranges: few numbers for many offsets. Pure.

use crate::record::Offset;

/// From and to, both in it.
pub type Range = (Offset, Offset);

/// A set of offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// In order, apart from each other.
    ranges: Vec<Range>,
}

impl Ranges {
    /// All of `first..=last`; nothing, if that is empty.
    pub fn insert(&mut self, (first, last): Range) {
        if first > last {
            return;
        }
        // Those that touch it, neighbours included, become one with it.
        let begin = self.ranges.partition_point(|(_, end)| end.next().raw() < first.raw());
        let end = self.ranges.partition_point(|(start, _)| start.raw() <= last.next().raw());
        let touched = self.ranges.get(begin..end).unwrap_or_default();
        let first = touched.first().map_or(first, |(start, _)| first.min(*start));
        let last = touched.last().map_or(last, |(_, end)| last.max(*end));
        self.ranges.splice(begin..end, [(first, last)]);
    }

    /// Is it in there?
    pub fn contains(&self, offset: Offset) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < offset);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= offset)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Range> {
        self.ranges.iter().copied()
    }

    /// Without any offset.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl FromIterator<Offset> for Ranges {
    fn from_iter<I: IntoIterator<Item = Offset>>(offsets: I) -> Self {
        let mut ranges = Self::default();
        offsets.into_iter().for_each(|offset| ranges.insert((offset, offset)));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_in_fewer_words(all in vec((0i64..60, -2i64..6), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, length) in all {
                ranges.insert((Offset::new(first), Offset::new(first + length)));
                set.extend(first..=first + length);
            }
            for offset in -1..70 {
                prop_assert_eq!(ranges.contains(Offset::new(offset)), set.contains(&offset), "{}", offset);
            }
            let listed: Vec<Range> = ranges.iter().collect();
            prop_assert!(listed.iter().all(|(first, last)| first <= last));
            prop_assert!(listed.windows(2).all(|w| w[0].1.next().raw() < w[1].0.raw()), "{:?}", listed);
            prop_assert_eq!(ranges.is_empty(), set.is_empty());
        }

        #[test]
        fn one_by_one_is_the_same(set in prop::collection::btree_set(0i64..40, 0..30)) {
            let ranges: Ranges = set.iter().copied().map(Offset::new).collect();
            let again = ranges.iter().flat_map(|(first, last)| first.raw()..=last.raw());
            prop_assert!(again.eq(set));
        }
    }
}
