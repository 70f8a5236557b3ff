//! Choice of few items of a stream that lie far apart: the k-center problem in one pass, item by item.
//!
//! The items themselves are kept by the caller, in as many places as it has room for; this says which of them the next
//! item goes to. It costs a distance to each of at most [`ITEMS_MAX`] kept items, and nothing more unless the threshold
//! rises.
//!
//! # Source
//! The doubling algorithm of Charikar, Chekuri, Feder and Motwani, 1997, "Incremental clustering and dynamic
//! information retrieval", section 3. Every item seen is within 8 times the least radius that as many centres can have,
//! wherever these may lie.

/// Most items that are kept.
pub const ITEMS_MAX: usize = 8;

/// Which of the items kept are centres, and how far these are apart.
///
/// Let *t* be the threshold, and *r* the least radius of balls, as many as there are places, that hold all items seen.
/// Centres are more than *t* apart, and every item seen is within 2 *t* of one. When a centre too many comes, the least
/// distance *d* of any two shows that *r* ≥ *d* / 2, for two of them must share a ball; as *d* > *t*, the new threshold
/// max(*d*, 2 *t*) is at most 4 *r*. One of each pair within it ceases to be a centre: what it had been the centre of is
/// within 2 *t* + max(*d*, 2 *t*), which is at most twice the new threshold, of the other.
///
/// An item that ceases to be a centre stays where it is until its place is wanted, so that places are never empty once
/// they were filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    count: u8,
    /// One bit for each place: whether its item is a centre.
    centres: u8,
    threshold_squared: u64,
}

impl Spread {
    /// Before any item.
    pub const NEW: Spread = Spread {
        count: 0,
        centres: 0,
        threshold_squared: 0,
    };

    /// How many places are filled, from the first on.
    pub fn len(&self) -> usize {
        self.count.into()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes the next item in: the place that it is to be kept in, if it is, of `places` that there are (at most
    /// [`ITEMS_MAX`] of them are used). `kept` tells the item in a place that is filled; all have one width.
    pub fn push<'k>(
        &mut self,
        item: &[u8],
        places: usize,
        kept: impl Fn(usize) -> &'k [u8],
    ) -> Option<usize> {
        let places = places.min(ITEMS_MAX);
        let mut distances = [u64::MAX; ITEMS_MAX];
        for place in self.places_of(self.centres) {
            distances[place] = distance_squared(item, kept(place));
            if distances[place] <= self.threshold_squared {
                return None;
            }
        }
        if places == 0 {
            return None;
        }
        let chosen = if self.len() < places {
            self.count += 1;
            self.len() - 1
        } else {
            let all = u8::MAX >> (8 - places.min(8));
            if self.centres & all == all {
                self.raise(&distances, &kept);
                // The item itself may be too near to a centre that is left.
                let left = self.centres;
                let is_near = |place: usize| distances[place] <= self.threshold_squared;
                if self.places_of(left).any(is_near) {
                    return None;
                }
            }
            // Of the items that are no centres the nearest gives way: it is the most alike.
            let spare = self.places_of(all & !self.centres);
            spare.min_by_key(|place| distance_squared(item, kept(*place)))?
        };
        self.centres |= 1 << chosen;
        Some(chosen)
    }

    /// Raises the threshold to where two of the centres and the new item, whose distances to them these are, are too near
    /// to each other, and lets go of centres that are too near to one before them.
    fn raise<'k>(&mut self, distances: &[u64; ITEMS_MAX], kept: &impl Fn(usize) -> &'k [u8]) {
        let mut least = u64::MAX;
        for place in self.places_of(self.centres) {
            least = least.min(distances[place]);
            for other in self.places_of(self.centres).filter(|other| *other < place) {
                least = least.min(distance_squared(kept(place), kept(other)));
            }
        }
        self.threshold_squared = least.max(self.threshold_squared.saturating_mul(4));
        let mut left = 0_u8;
        for place in self.places_of(self.centres) {
            let is_apart =
                |other| distance_squared(kept(place), kept(other)) > self.threshold_squared;
            if self.places_of(left).all(is_apart) {
                left |= 1 << place;
            }
        }
        self.centres = left;
    }

    fn places_of(&self, bits: u8) -> impl Iterator<Item = usize> + use<> {
        (0..ITEMS_MAX).filter(move |place| bits >> place & 1 == 1)
    }
}

/// Squared Euclidean distance of bytes that are numbers of eight bits, negative ones in two's complement.
fn distance_squared(a: &[u8], b: &[u8]) -> u64 {
    let square = |(a, b): (&u8, &u8)| {
        let difference = u64::from((*a as i8).abs_diff(*b as i8));
        difference * difference
    };
    a.iter().zip(b).map(square).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is kept of a stream, and the squared radius of it around the centres.
    fn chosen(stream: &[Vec<u8>], places: usize) -> (Spread, Vec<Vec<u8>>) {
        let mut spread = Spread::NEW;
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for item in stream {
            if let Some(place) = spread.push(item, places, |place| &kept[place]) {
                if place == kept.len() {
                    kept.push(item.clone());
                } else {
                    kept[place].clone_from(item);
                }
            }
            assert_eq!(spread.len(), kept.len());
        }
        (spread, kept)
    }

    fn radius_squared(stream: &[Vec<u8>], centres: &[Vec<u8>]) -> u64 {
        let nearest = |item: &Vec<u8>| {
            let distances = centres.iter().map(|centre| distance_squared(item, centre));
            distances.min().expect("a centre")
        };
        stream.iter().map(nearest).max().unwrap_or(0)
    }

    /// The greedy choice of Gonzalez, 1985, which may look at all items as often as it likes: within twice the least.
    fn greedy(stream: &[Vec<u8>], places: usize) -> Vec<Vec<u8>> {
        let mut centres = vec![stream[0].clone()];
        while centres.len() < places {
            let farthest = stream
                .iter()
                .max_by_key(|item| {
                    centres
                        .iter()
                        .map(|centre| distance_squared(item, centre))
                        .min()
                })
                .expect("an item");
            centres.push(farthest.clone());
        }
        centres
    }

    /// The least squared radius around centres that are items.
    fn least(stream: &[Vec<u8>], places: usize) -> u64 {
        fn over(stream: &[Vec<u8>], from: usize, left: usize, centres: &mut Vec<Vec<u8>>) -> u64 {
            if left == 0 || from == stream.len() {
                return if centres.is_empty() {
                    u64::MAX
                } else {
                    radius_squared(stream, centres)
                };
            }
            centres.push(stream[from].clone());
            let with = over(stream, from + 1, left - 1, centres);
            centres.pop();
            with.min(over(stream, from + 1, left, centres))
        }
        over(stream, 0, places, &mut Vec::new())
    }

    fn centres_of(spread: &Spread, kept: &[Vec<u8>]) -> Vec<Vec<u8>> {
        spread
            .places_of(spread.centres)
            .map(|place| kept[place].clone())
            .collect()
    }

    /// A number of eight bits that is less than `end`, either way.
    fn small(end: i8) -> impl Strategy<Value = u8> {
        (-end..end).prop_map(|value| value as u8)
    }

    proptest! {
        #[test]
        fn no_item_is_farther_than_eight_times_the_greedy_radius(
            stream in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 3), 1..200),
            places in 1..=ITEMS_MAX,
        ) {
            let (spread, kept) = chosen(&stream, places);
            let centres = centres_of(&spread, &kept);
            let radius = radius_squared(&stream, &centres);
            let greedy = radius_squared(&stream, &greedy(&stream, places));
            prop_assert!(radius <= 64 * greedy, "{radius} {greedy}");
            prop_assert!(radius <= 4 * spread.threshold_squared, "it is what it says");
            for (index, centre) in centres.iter().enumerate() {
                for other in &centres[..index] {
                    prop_assert!(distance_squared(centre, other) > spread.threshold_squared);
                }
            }
            // What is kept beside the centres only adds to what they cover.
            prop_assert!(radius_squared(&stream, &kept) <= radius);
        }

        #[test]
        fn nor_than_eight_times_the_least_there_is(
            stream in proptest::collection::vec(proptest::collection::vec(small(20), 2), 1..12),
            places in 1..4_usize,
        ) {
            let (spread, kept) = chosen(&stream, places);
            let radius = radius_squared(&stream, &centres_of(&spread, &kept));
            prop_assert!(radius <= 64 * least(&stream, places));
        }

        #[test]
        fn places_are_filled_while_there_are_different_items(
            stream in proptest::collection::vec(proptest::collection::vec(small(3), 2), 1..60),
            places in 1..=ITEMS_MAX,
        ) {
            let (_, kept) = chosen(&stream, places);
            let mut different = stream.clone();
            different.sort();
            different.dedup();
            prop_assert_eq!(kept.len(), places.min(different.len()));
            let mut once = kept.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), kept.len(), "an item is kept once");
        }
    }

    #[test]
    fn rare_items_are_kept_among_many_of_one_kind() {
        // A thousand windows of one kind, and three of others among them, in every third.
        let mut stream: Vec<Vec<u8>> = (0..1000)
            .map(|index| vec![(index % 7) as u8, (index % 5) as u8])
            .collect();
        for (at, rare) in [(100, [100, 0]), (400, [0, 100]), (900, [156, 156])] {
            stream[at] = rare.to_vec();
        }
        let (_, kept) = chosen(&stream, 4);
        for rare in [[100, 0], [0, 100], [156, 156]] {
            assert!(kept.contains(&rare.to_vec()), "{rare:?} of {kept:?}");
        }
    }

    #[test]
    fn nothing_is_kept_in_no_places() {
        let (spread, kept) = chosen(&[vec![1], vec![2]], 0);
        assert!(spread.is_empty() && kept.is_empty());
    }
}
