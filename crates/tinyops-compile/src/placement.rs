//! Finds offsets in one arena for blocks of bytes that may overlap where an op allows it.
//!
//! Two blocks that are needed at one step lie apart, unless an op that reads the one for the last
//! time and makes the other says which distances it bears. So each pair of blocks has distances
//! that are forbidden, and a placement is a set of offsets with none of them.

pub(crate) mod regions;

use crate::plan_memory::ARENA_ALIGN;

/// Bytes that lie together: a tensor, whose parts may be needed for different whiles, or scratch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) parts: Vec<Part>,
}

/// A part of a block, in bytes from the block's start, and the steps in which it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// What an op bears between the block it reads for the last time and the block it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// The block that is read.
    pub(crate) input: usize,
    /// The block that is made.
    pub(crate) output: usize,
    /// When.
    pub(crate) step: u32,
    /// Distances `output offset - input offset` that would overwrite what is still needed.
    pub(crate) forbidden: Vec<Span>,
}

/// The distances above the first and below the second number.
pub(crate) type Span = (i64, i64);

impl Block {
    /// A block all of which is needed from one step to another.
    pub(crate) fn whole(bytes: u32, first: u32, last: u32) -> Block {
        let part = Part {
            start: 0,
            end: bytes,
            first,
            last,
        };
        Block { parts: vec![part] }
    }

    pub(crate) fn bytes(&self) -> u32 {
        self.parts.iter().map(|part| part.end).max().unwrap_or(0)
    }

    fn first(&self) -> u32 {
        self.parts.iter().map(|part| part.first).min().unwrap_or(0)
    }

    fn last(&self) -> u32 {
        self.parts.iter().map(|part| part.last).max().unwrap_or(0)
    }

    fn bytes_at(&self, step: u32) -> u32 {
        let needed = self.parts.iter().filter(|part| part.is_needed(step));
        needed.map(|part| part.end - part.start).sum()
    }
}

impl Part {
    fn is_needed(&self, step: u32) -> bool {
        self.first <= step && step <= self.last
    }

    fn meets(&self, other: &Part) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets for all blocks, each a multiple of [`ARENA_ALIGN`], and the bytes of the arena.
///
/// Blocks go one after another to the lowest offset that bears those before; what differs is the
/// order. Small sets are searched with branch and bound, others from several sound orders by
/// exchanges, the same every time.
pub(crate) fn place(blocks: &[Block], overlaps: &[Overlap]) -> (Vec<u32>, u32) {
    let search = Search::new(blocks, overlaps);
    let orders = search.first_orders().into_iter();
    let mut best = orders
        .map(|order| search.placed(order))
        .chain(search.at_both_ends())
        .min_by_key(Placed::cost)
        .unwrap_or_default();
    if best.bytes > search.least_bytes {
        best = if blocks.len() <= EXACT_BLOCKS {
            search.exhausted(best)
        } else {
            search.exchanged(best)
        };
    }
    (best.offsets, best.bytes)
}

/// So many blocks are placed in every order that could be better.
const EXACT_BLOCKS: usize = 6;
/// So many changed orders are tried for each of more blocks.
const EXCHANGES: usize = 64;

struct Search<'b> {
    blocks: &'b [Block],
    /// For each block the others that it meets, and the distances to their offset that are forbidden.
    neighbours: Vec<Vec<(usize, Vec<Span>)>>,
    /// What no placement can go below.
    least_bytes: u32,
}

#[derive(Clone, Debug, Default)]
struct Placed {
    order: Vec<usize>,
    /// Blocks that go to the highest offset below a limit, not to the lowest.
    is_high: Vec<bool>,
    offsets: Vec<u32>,
    bytes: u32,
}

impl Placed {
    fn cost(&self) -> u32 {
        self.bytes
    }
}

impl<'b> Search<'b> {
    fn new(blocks: &'b [Block], overlaps: &[Overlap]) -> Search<'b> {
        let mut neighbours = vec![Vec::new(); blocks.len()];
        for a in 0..blocks.len() {
            for b in 0..a {
                let mut spans = Vec::new();
                let of_pair = overlaps.iter().find(|overlap| {
                    let pair = [overlap.input, overlap.output];
                    pair == [a, b] || pair == [b, a]
                });
                for of_a in &blocks[a].parts {
                    for of_b in blocks[b].parts.iter().filter(|part| part.meets(of_a)) {
                        // Only what ends with the op and what begins with it may overlap.
                        let borne = of_pair.is_some_and(|overlap| {
                            let (read, made) = if overlap.input == a {
                                (of_a, of_b)
                            } else {
                                (of_b, of_a)
                            };
                            read.last == overlap.step && made.first == overlap.step
                        });
                        if !borne {
                            let [a, b] = [of_a, of_b];
                            let low = i64::from(b.start) - i64::from(a.end);
                            let high = i64::from(b.end) - i64::from(a.start);
                            spans.push((low, high));
                        }
                    }
                }
                if let Some(overlap) = of_pair {
                    // The op tells `output - input`; here it is `a - b`.
                    spans.extend(overlap.forbidden.iter().map(|&(low, high)| {
                        if overlap.output == a {
                            (low, high)
                        } else {
                            (-high, -low)
                        }
                    }));
                }
                spans.retain(|(low, high)| low < high);
                if !spans.is_empty() {
                    let turned = spans.iter().map(|&(low, high)| (-high, -low)).collect();
                    neighbours[a].push((b, spans));
                    neighbours[b].push((a, turned));
                }
            }
        }
        Search {
            least_bytes: least_bytes(blocks, overlaps),
            blocks,
            neighbours,
        }
    }

    /// Largest first, longest first, widest step first, in time, against time.
    ///
    /// # Source
    /// Pisarchyk and Lee, 2020, "Efficient memory management for deep neural net inference":
    /// greedy by size and greedy by breadth.
    fn first_orders(&self) -> Vec<Vec<usize>> {
        let breadth = |step: u32| -> u64 {
            let bytes = self.blocks.iter().map(|block| block.bytes_at(step));
            bytes.map(u64::from).sum()
        };
        let steps = self.blocks.iter().map(Block::last).max().unwrap_or(0);
        let breadths: Vec<u64> = (0..=steps).map(breadth).collect();
        let by = |key: &dyn Fn(&Block) -> (u64, u64)| {
            let mut order: Vec<usize> = (0..self.blocks.len()).collect();
            order.sort_by_key(|&index| std::cmp::Reverse(key(&self.blocks[index])));
            order
        };
        let widest = |block: &Block| {
            let steps = block.first()..=block.last();
            steps.map(|step| breadths[step as usize]).max().unwrap_or(0)
        };
        let bytes = |block: &Block| u64::from(block.bytes());
        let in_time = by(&|block| (u64::from(u32::MAX - block.first()), bytes(block)));
        let mut against_time = in_time.clone();
        against_time.reverse();
        vec![
            by(&|block| (bytes(block), 0)),
            by(&|block| (u64::from(block.last() - block.first()), bytes(block))),
            by(&|block| (widest(block), bytes(block))),
            in_time,
            against_time,
        ]
    }

    fn placed(&self, order: Vec<usize>) -> Placed {
        self.placed_below(order, vec![false; self.blocks.len()], 0)
    }

    /// Places in an order, some blocks as high as they go below a limit.
    fn placed_below(&self, order: Vec<usize>, is_high: Vec<bool>, limit: u32) -> Placed {
        let mut offsets: Vec<Option<u32>> = vec![None; self.blocks.len()];
        let mut bytes = 0;
        for &index in &order {
            let high = is_high[index]
                .then(|| self.highest(index, &offsets, limit))
                .flatten();
            let offset = high.unwrap_or_else(|| self.lowest(index, &offsets));
            offsets[index] = Some(offset);
            bytes = bytes.max(offset.saturating_add(self.blocks[index].bytes()));
        }
        let offsets = offsets.into_iter().map(Option::unwrap_or_default);
        Placed {
            offsets: offsets.collect(),
            order,
            is_high,
            bytes,
        }
    }

    /// In time, to the bottom where that is free, else to the top of the least possible arena, else
    /// to any gap: the best there is for a chain without overlaps. `None` if something does not fit.
    fn at_both_ends(&self) -> Option<Placed> {
        let least = self.least_bytes.checked_next_multiple_of(ARENA_ALIGN)?;
        let mut order: Vec<usize> = (0..self.blocks.len()).collect();
        order.sort_by_key(|&index| (self.blocks[index].first(), index));
        // Rounding of offsets can take a little more.
        (0..4).find_map(|more| self.within(order.clone(), least.checked_add(more * ARENA_ALIGN)?))
    }

    fn within(&self, order: Vec<usize>, limit: u32) -> Option<Placed> {
        let mut offsets: Vec<Option<u32>> = vec![None; self.blocks.len()];
        let mut bytes = 0;
        for &index in &order {
            let block_bytes = self.blocks[index].bytes();
            let top = limit.checked_sub(block_bytes)?;
            let top = top - top % ARENA_ALIGN;
            let taken = self.taken(index, &offsets);
            let is_free = |offset: &u32| {
                let offset = i64::from(*offset);
                !taken
                    .iter()
                    .any(|&(low, high)| low < offset && offset < high)
            };
            let offset = [0, top].into_iter().find(is_free);
            let offset = offset.unwrap_or_else(|| self.lowest(index, &offsets));
            offsets[index] = Some(offset);
            bytes = bytes.max(offset.checked_add(block_bytes)?);
        }
        let offsets = offsets.into_iter().map(Option::unwrap_or_default);
        let placed = Placed {
            offsets: offsets.collect(),
            order,
            is_high: vec![false; self.blocks.len()],
            bytes,
        };
        (bytes <= limit).then_some(placed)
    }

    /// The offsets of a block that what is placed forbids, from the lowest.
    fn taken(&self, index: usize, offsets: &[Option<u32>]) -> Vec<Span> {
        let neighbours = self.neighbours[index].iter();
        let mut taken: Vec<Span> = neighbours
            .filter_map(|(other, spans)| {
                let at = i64::from(offsets[*other]?);
                Some(spans.iter().map(move |&(low, high)| (at + low, at + high)))
            })
            .flatten()
            .collect();
        taken.sort_unstable();
        taken
    }

    /// The lowest offset of a block that bears all that are placed.
    fn lowest(&self, index: usize, offsets: &[Option<u32>]) -> u32 {
        let taken = self.taken(index, offsets);
        let align = i64::from(ARENA_ALIGN);
        let mut offset = 0i64;
        for (low, high) in taken {
            if low < offset && offset < high {
                offset = (high + align - 1).div_euclid(align) * align;
            }
        }
        // A lower span ends no later than the offset has moved, so one pass is enough.
        u32::try_from(offset).unwrap_or(u32::MAX - u32::MAX % ARENA_ALIGN)
    }

    /// The highest offset of a block that ends below a limit and bears all that are placed.
    fn highest(&self, index: usize, offsets: &[Option<u32>], limit: u32) -> Option<u32> {
        let mut taken = self.taken(index, offsets);
        taken.sort_unstable_by_key(|&(_, high)| std::cmp::Reverse(high));
        let align = i64::from(ARENA_ALIGN);
        let mut offset = i64::from(limit.checked_sub(self.blocks[index].bytes())?);
        offset -= offset % align;
        for (low, high) in taken {
            if low < offset && offset < high {
                offset = low.div_euclid(align) * align;
            }
        }
        u32::try_from(offset).ok()
    }

    /// The best of all orders.
    fn exhausted(&self, mut best: Placed) -> Placed {
        let mut offsets = vec![None; self.blocks.len()];
        let mut order = Vec::new();
        self.descend(&mut order, &mut offsets, 0, &mut best);
        best
    }

    fn descend(
        &self,
        order: &mut Vec<usize>,
        offsets: &mut Vec<Option<u32>>,
        bytes: u32,
        best: &mut Placed,
    ) {
        if order.len() == self.blocks.len() {
            best.order.clone_from(order);
            best.offsets = offsets.iter().map(|offset| offset.unwrap_or(0)).collect();
            best.bytes = bytes;
            return;
        }
        for index in 0..self.blocks.len() {
            if offsets[index].is_some() || best.bytes <= self.least_bytes {
                continue;
            }
            let offset = self.lowest(index, offsets);
            let end = bytes.max(offset.saturating_add(self.blocks[index].bytes()));
            if end < best.bytes {
                offsets[index] = Some(offset);
                order.push(index);
                self.descend(order, offsets, end, best);
                order.pop();
                offsets[index] = None;
            }
        }
    }

    /// A better placement, found by moving one block at a time to another place in the order, or
    /// to the other end of the arena.
    fn exchanged(&self, mut best: Placed) -> Placed {
        let count = best.order.len() as u64;
        // A fixed seed: the same graph gets the same plan.
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut below = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit) as usize
        };
        let limit = self.least_bytes.next_multiple_of(ARENA_ALIGN);
        for _ in 0..EXCHANGES * best.order.len() {
            let (mut order, mut is_high) = (best.order.clone(), best.is_high.clone());
            if below(2) == 0 {
                let index = order.remove(below(count));
                order.insert(below(count), index);
            } else {
                for _ in 0..=below(3) {
                    let index = below(count);
                    is_high[index] = !is_high[index];
                }
            }
            let other = self.placed_below(order, is_high, limit);
            if other.cost() <= best.cost() {
                best = other;
            }
            if best.bytes <= self.least_bytes {
                break;
            }
        }
        best
    }
}

/// The most that must lie in the arena at one step, with the best overlap that its op bears.
fn least_bytes(blocks: &[Block], overlaps: &[Overlap]) -> u32 {
    let at = |step: u32| -> u64 {
        let bytes = blocks.iter().map(|block| block.bytes_at(step));
        let apart: u64 = bytes.map(u64::from).sum();
        let of_step = overlaps.iter().filter(|overlap| overlap.step == step);
        let shared = of_step.map(|overlap| {
            let [a, b] = [overlap.input, overlap.output].map(|block| &blocks[block]);
            if a.parts.len() > 1 || b.parts.len() > 1 {
                // Parts could share in more ways; the least that both can take is the greater one.
                return u64::from(a.bytes().min(b.bytes()));
            }
            let [a, b] = [a, b].map(|block| i64::from(block.bytes()));
            let union = |distance: i64| (a.max(distance + b) - distance.min(0)).min(a + b);
            let ends = overlap
                .forbidden
                .iter()
                .flat_map(|&(low, high)| [low, high]);
            let free = |distance: &i64| {
                let inside = |&(low, high): &Span| low < *distance && *distance < high;
                !overlap.forbidden.iter().any(inside)
            };
            let least = ends.chain([0]).filter(free).map(union).min();
            (a + b - least.unwrap_or(a + b)) as u64
        });
        apart - shared.max().unwrap_or(0)
    };
    let steps = blocks.iter().map(Block::first);
    let most = steps.map(at).max().unwrap_or(0);
    u32::try_from(most).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks() -> impl Strategy<Value = Vec<Block>> {
        let block = (1u32..5000, 0u32..40, 0u32..6);
        prop::collection::vec(block, 0..40).prop_map(|parts| {
            let block = |(bytes, first, steps)| Block::whole(bytes, first, first + steps);
            parts.into_iter().map(block).collect()
        })
    }

    proptest! {
        #[test]
        fn blocks_needed_together_never_overlap(blocks in blocks()) {
            let (offsets, arena_bytes) = place(&blocks, &[]);
            let ends = |index: usize| offsets[index] + blocks[index].bytes();
            for a in 0..blocks.len() {
                prop_assert_eq!(offsets[a] % ARENA_ALIGN, 0);
                prop_assert!(ends(a) <= arena_bytes);
                for b in 0..a {
                    let apart = ends(a) <= offsets[b] || ends(b) <= offsets[a];
                    let meet = blocks[a].parts[0].meets(&blocks[b].parts[0]);
                    prop_assert!(apart || !meet, "{} and {} overlap", a, b);
                }
            }
            prop_assert!(arena_bytes >= least_bytes(&blocks, &[]));
        }

        #[test]
        fn a_chain_needs_no_more_than_its_two_widest_neighbours(sizes in prop::collection::vec(1u32..300, 2..30)) {
            let chain: Vec<_> = sizes.iter().enumerate().map(|(step, &size)| {
                Block::whole(size * ARENA_ALIGN, step as u32, step as u32 + 1)
            }).collect();
            prop_assert_eq!(place(&chain, &[]).1, least_bytes(&chain, &[]));
        }
    }

    fn chain(sizes: &[u32], forbidden: impl Fn(usize) -> Vec<Span>) -> u32 {
        let blocks: Vec<Block> = sizes
            .iter()
            .enumerate()
            .map(|(step, &bytes)| Block::whole(bytes, step as u32, step as u32 + 1))
            .collect();
        let overlap = |input: usize| Overlap {
            input,
            output: input + 1,
            step: input as u32 + 1,
            forbidden: forbidden(input),
        };
        let overlaps: Vec<Overlap> = (0..sizes.len() - 1).map(overlap).collect();
        place(&blocks, &overlaps).1
    }

    #[test]
    fn ops_that_write_in_place_need_the_largest_tensor_alone() {
        let in_place = |_| vec![(-8000, 0), (0, 8000)];
        assert_eq!(chain(&[8000; 6], in_place), 8000);
    }

    #[test]
    fn a_lag_of_rows_is_needed_once_where_ops_can_run_backward() {
        // Each op bears two rows of 320 bytes below, and every second one above as well.
        let down = |_| vec![(-640, 8000)];
        assert_eq!(chain(&[8000; 5], down), 8000 + 4 * 640);
        let both = |input: usize| match input % 2 {
            0 => vec![(-640, 640)],
            _ => vec![(0, 8000)],
        };
        assert_eq!(chain(&[8000; 5], both), 8000 + 640);
    }

    #[test]
    fn what_a_part_leaves_is_free_before_the_rest() {
        let halves = Block {
            parts: vec![
                Part {
                    start: 0,
                    end: 160,
                    first: 0,
                    last: 1,
                },
                Part {
                    start: 160,
                    end: 320,
                    first: 0,
                    last: 2,
                },
            ],
        };
        let late = Block::whole(160, 2, 3);
        let (offsets, bytes) = place(&[halves, late], &[]);
        assert_eq!((offsets, bytes), (vec![0, 0], 320));
    }
}
