//! Where each tensor lies in the arena, and when.

use serde::Serialize;

/// Every tensor begins at a multiple of this, so that wide loads of any kernel are aligned.
pub const ARENA_ALIGN: u32 = 16;

/// Bytes that are needed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// How many bytes.
    pub bytes: u32,
    /// The first step that uses them.
    pub first: u32,
    /// The last step that uses them.
    pub last: u32,
}

impl Lifetime {
    /// Whether both are needed at some step.
    #[must_use]
    pub fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Bytes of a known lifetime at a known place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// For people: the tensor's name.
    pub name: String,
    /// The first byte in the arena.
    pub offset: u32,
    /// How many bytes and when.
    pub lifetime: Lifetime,
}

/// The arena over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// What no plan without overlaps can go below: the most that is alive at one step.
    pub live_bytes_max: u32,
    /// The operator of each step; the first step fills the input, the last reads the output.
    pub steps: Vec<String>,
    /// What lies where, in the order of the graph.
    pub placed: Vec<Placed>,
}

/// Finds an offset for each lifetime so that no two that meet overlap; returns offsets and arena bytes.
///
/// Greedy: the next one goes to the lowest gap that takes it. Several orders are tried (largest
/// first, longest-lived first, widest step first, in time), and the smallest arena wins. One more
/// way grows from both ends: it is the best there is for a chain, which most networks are.
///
/// # Source
/// Pisarchyk and Lee, 2020, "Efficient memory management for deep neural net inference",
/// greedy by size and greedy by breadth.
#[must_use]
pub fn place(lifetimes: &[Lifetime]) -> (Vec<u32>, u32) {
    let steps = lifetimes
        .iter()
        .map(|lifetime| lifetime.last)
        .max()
        .unwrap_or(0);
    let alive = |step: u32| {
        lifetimes
            .iter()
            .filter(move |l| l.first <= step && step <= l.last)
    };
    let breadths: Vec<u64> = (0..=steps)
        .map(|step| alive(step).map(|lifetime| u64::from(lifetime.bytes)).sum())
        .collect();
    let breadth_of = |l: &Lifetime| (l.first..=l.last).map(|step| breadths[step as usize]).max();
    let duration = |l: &Lifetime| l.last - l.first;

    let mut by_size: Vec<usize> = (0..lifetimes.len()).collect();
    by_size.sort_by_key(|&index| {
        (
            std::cmp::Reverse(lifetimes[index].bytes),
            lifetimes[index].first,
        )
    });
    let mut by_duration = by_size.clone();
    by_duration.sort_by_key(|&index| std::cmp::Reverse(duration(&lifetimes[index])));
    let mut by_breadth = by_size.clone();
    by_breadth.sort_by_key(|&index| std::cmp::Reverse(breadth_of(&lifetimes[index])));
    let mut by_time = by_size.clone();
    by_time.sort_by_key(|&index| lifetimes[index].first);

    let both_ends = place_at_both_ends(lifetimes, &by_time);
    [by_size, by_breadth, by_duration, by_time]
        .into_iter()
        .map(|order| place_in_order(lifetimes, &order))
        .chain(both_ends)
        .min_by_key(|(_, arena_bytes)| *arena_bytes)
        .unwrap_or_default()
}

/// The most bytes alive at one step.
pub(crate) fn live_bytes_max(lifetimes: &[Lifetime]) -> u32 {
    let live = |step: u32| {
        let alive = lifetimes
            .iter()
            .filter(|l| l.first <= step && step <= l.last);
        alive.map(|lifetime| lifetime.bytes).sum()
    };
    lifetimes
        .iter()
        .map(|lifetime| live(lifetime.first))
        .max()
        .unwrap_or(0)
}

fn place_in_order(lifetimes: &[Lifetime], order: &[usize]) -> (Vec<u32>, u32) {
    let mut offsets = vec![0; lifetimes.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(order.len()); // by offset
    let mut arena_bytes = 0;
    for &index in order {
        let lifetime = &lifetimes[index];
        let mut offset = 0u32;
        for &other in placed
            .iter()
            .filter(|&&other| lifetimes[other].meets(lifetime))
        {
            if offset.saturating_add(lifetime.bytes) <= offsets[other] {
                break;
            }
            let end = offsets[other].saturating_add(lifetimes[other].bytes);
            offset = offset.max(
                end.checked_next_multiple_of(ARENA_ALIGN)
                    .unwrap_or(u32::MAX),
            );
        }
        offsets[index] = offset;
        arena_bytes = arena_bytes.max(offset.saturating_add(lifetime.bytes));
        let at = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(at, index);
    }
    (offsets, arena_bytes)
}

/// Places in order of time at the bottom if that is free, else at the top of the least possible
/// arena, else in any gap; `None` if one does not fit.
fn place_at_both_ends(lifetimes: &[Lifetime], order: &[usize]) -> Option<(Vec<u32>, u32)> {
    let rounded = |bytes: u32| bytes.checked_next_multiple_of(ARENA_ALIGN);
    let whole: Option<Vec<Lifetime>> = lifetimes
        .iter()
        .map(|lifetime| {
            Some(Lifetime {
                bytes: rounded(lifetime.bytes)?,
                ..*lifetime
            })
        })
        .collect();
    let whole = whole?;
    let arena_bytes = live_bytes_max(&whole);
    let mut offsets = vec![0; lifetimes.len()];
    for (count, &index) in order.iter().enumerate() {
        let lifetime = &whole[index];
        let neighbours = order[..count]
            .iter()
            .filter(|&&other| whole[other].meets(lifetime));
        let mut taken: Vec<(u32, u32)> = neighbours
            .map(|&other| (offsets[other], offsets[other] + whole[other].bytes))
            .collect();
        taken.sort_unstable();
        let is_free = |offset: u32| {
            let apart =
                |&(start, end): &(u32, u32)| offset + lifetime.bytes <= start || end <= offset;
            offset + lifetime.bytes <= arena_bytes && taken.iter().all(apart)
        };
        let top = arena_bytes - lifetime.bytes;
        let mut places = [0, top]
            .into_iter()
            .chain(taken.iter().map(|&(_, end)| end));
        offsets[index] = places.find(|&offset| is_free(offset))?;
    }
    let ends = offsets
        .iter()
        .zip(lifetimes)
        .map(|(offset, lifetime)| offset + lifetime.bytes);
    let arena_bytes = ends.max().unwrap_or(0);
    Some((offsets, arena_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lifetimes() -> impl Strategy<Value = Vec<Lifetime>> {
        let lifetime = (1u32..5000, 0u32..40, 0u32..6);
        prop::collection::vec(lifetime, 0..40).prop_map(|parts| {
            let with_end = |(bytes, first, steps)| Lifetime {
                bytes,
                first,
                last: first + steps,
            };
            parts.into_iter().map(with_end).collect()
        })
    }

    proptest! {
        #[test]
        fn tensors_alive_together_never_overlap(lifetimes in lifetimes()) {
            let (offsets, arena_bytes) = place(&lifetimes);
            let ends = |index: usize| offsets[index] + lifetimes[index].bytes;
            for a in 0..lifetimes.len() {
                prop_assert_eq!(offsets[a] % ARENA_ALIGN, 0);
                prop_assert!(ends(a) <= arena_bytes);
                for b in 0..a {
                    let apart = ends(a) <= offsets[b] || ends(b) <= offsets[a];
                    prop_assert!(apart || !lifetimes[a].meets(&lifetimes[b]), "{} and {} overlap", a, b);
                }
            }
            prop_assert!(arena_bytes >= live_bytes_max(&lifetimes));
        }

        #[test]
        fn a_chain_needs_no_more_than_its_two_widest_neighbours(sizes in prop::collection::vec(1u32..300, 2..30)) {
            let chain: Vec<_> = sizes.iter().enumerate().map(|(step, &size)| {
                Lifetime { bytes: size * ARENA_ALIGN, first: step as u32, last: step as u32 + 1 }
            }).collect();
            prop_assert_eq!(place(&chain).1, live_bytes_max(&chain));
        }
    }
}
