//! Which memory region each block lies in, where no single one holds them all.

use super::{Block, EXCHANGES, Overlap, Search, place};
use crate::plan_memory::ARENA_ALIGN;

/// Blocks over several regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Where each block lies, through all regions.
    pub(crate) offsets: Vec<u32>,
    /// Where each region begins; the first at 0.
    pub(crate) starts: Vec<u32>,
    /// Where the last region ends.
    pub(crate) arena_bytes: u32,
}

impl Spread {
    /// Offsets and bytes of one region.
    pub(crate) fn in_one((offsets, arena_bytes): (Vec<u32>, u32)) -> Spread {
        Spread {
            offsets,
            starts: vec![0],
            arena_bytes,
        }
    }
}

/// Which region each block lies in, and where there.
#[derive(Clone, Debug)]
struct Assigned {
    order: Vec<usize>,
    places: Vec<Option<(usize, u32)>>,
    /// Where what lies in each region ends.
    ends: Vec<u32>,
    /// Bytes without a place, then touches far from the first region, then bytes of all regions.
    cost: (u64, u64, u64),
}

/// Spreads blocks over regions of so many bytes each, the best first; `None` if they do not go in.
///
/// `touched` says how many bytes of a block one run reads and writes. A block goes to the first
/// region that has room for it, those that are touched most often for each of their bytes before
/// others; from there exchanges look for less that lies far away, the same every time.
pub(crate) fn spread(
    blocks: &[Block],
    overlaps: &[Overlap],
    touched: &[u64],
    rooms: &[u32],
) -> Option<Spread> {
    if rooms.is_empty() {
        return None;
    }
    let rooms: Vec<u32> = rooms.iter().map(|room| room - room % ARENA_ALIGN).collect();
    let search = Search::new(blocks, overlaps);
    let mut hottest: Vec<usize> = (0..blocks.len()).collect();
    hottest.sort_by_key(|&block| {
        let bytes = u64::from(blocks[block].bytes().max(1));
        std::cmp::Reverse(touched[block].saturating_mul(1 << 10) / bytes)
    });
    let orders = search.first_orders().into_iter().chain([hottest]);
    let assigned = orders.map(|order| search.assigned(order, touched, &rooms));
    let best = assigned.min_by_key(|assigned| assigned.cost)?;
    let best = search.with_exchanges(best, touched, &rooms);
    (best.cost.0 == 0).then(|| together(blocks, overlaps, &best))?
}

impl Search<'_> {
    /// Puts each block into the first region where it goes in, at the lowest offset.
    fn assigned(&self, order: Vec<usize>, touched: &[u64], rooms: &[u32]) -> Assigned {
        let mut offsets = vec![vec![None; self.blocks.len()]; rooms.len()];
        let mut places = vec![None; self.blocks.len()];
        let mut cost = (0, 0, 0);
        let mut ends = vec![0; rooms.len()];
        for &block in &order {
            let bytes = self.blocks[block].bytes();
            let found = (0..rooms.len()).find_map(|region| {
                let offset = self.lowest(block, &offsets[region]);
                let end = offset.checked_add(bytes)?;
                (end <= rooms[region]).then_some((region, offset, end))
            });
            let Some((region, offset, end)) = found else {
                cost.0 += u64::from(bytes);
                continue;
            };
            offsets[region][block] = Some(offset);
            places[block] = Some((region, offset));
            ends[region] = ends[region].max(end);
            cost.1 += touched[block].saturating_mul(region as u64);
        }
        cost.2 = ends.iter().copied().map(u64::from).sum();
        Assigned {
            order,
            places,
            ends,
            cost,
        }
    }

    /// A better order, found by moving one block at a time to another place in it.
    fn with_exchanges(&self, mut best: Assigned, touched: &[u64], rooms: &[u32]) -> Assigned {
        let count = best.order.len() as u64;
        // A fixed seed: the same graph gets the same plan.
        let mut state = 0x2545_F491_4F6C_DD1Du64;
        let mut below = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit) as usize
        };
        for _ in 0..EXCHANGES * best.order.len() {
            let mut order = best.order.clone();
            let block = order.remove(below(count));
            order.insert(below(count), block);
            let other = self.assigned(order, touched, rooms);
            if other.cost <= best.cost {
                best = other;
            }
        }
        best
    }
}

/// Region after region, each region's blocks as if they were all there is, where that is smaller.
fn together(blocks: &[Block], overlaps: &[Overlap], assigned: &Assigned) -> Option<Spread> {
    let mut spread = Spread {
        offsets: vec![0; blocks.len()],
        starts: Vec::new(),
        arena_bytes: 0,
    };
    let used = assigned.places.iter().flatten();
    let last = used.map(|&(region, _)| region).max().unwrap_or(0);
    for region in 0..=last {
        let placed = |block: usize| assigned.places[block].filter(|&(own, _)| own == region);
        let own: Vec<usize> = (0..blocks.len())
            .filter(|&block| placed(block).is_some())
            .collect();
        let place_of = |block: usize| own.iter().position(|&own| own == block);
        let own_overlaps: Vec<Overlap> = overlaps
            .iter()
            .filter_map(|overlap| {
                Some(Overlap {
                    input: place_of(overlap.input)?,
                    output: place_of(overlap.output)?,
                    ..overlap.clone()
                })
            })
            .collect();
        let own_blocks: Vec<Block> = own.iter().map(|&block| blocks[block].clone()).collect();
        let (mut offsets, mut bytes) = place(&own_blocks, &own_overlaps);
        if bytes > assigned.ends[region] {
            bytes = assigned.ends[region];
            offsets = own
                .iter()
                .filter_map(|&block| Some(placed(block)?.1))
                .collect();
        }
        let start = spread.arena_bytes.checked_next_multiple_of(ARENA_ALIGN)?;
        for (&block, offset) in own.iter().zip(offsets) {
            spread.offsets[block] = start.checked_add(offset)?;
        }
        spread.starts.push(start);
        spread.arena_bytes = start.checked_add(bytes)?;
    }
    Some(spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_stay_in_their_region_and_apart(
            parts in prop::collection::vec((1u32..3000, 0u32..20, 0u32..6, 0u64..9), 1..24),
            rooms in prop::collection::vec(0u32..9000, 2..=4),
        ) {
            let whole = |&(bytes, first, steps, _): &(u32, u32, u32, u64)| Block::whole(bytes, first, first + steps);
            let blocks: Vec<Block> = parts.iter().map(whole).collect();
            let touched: Vec<u64> = parts.iter().map(|part| part.3 * u64::from(part.0)).collect();
            let Some(spread) = spread(&blocks, &[], &touched, &rooms) else {
                // Every block alone in rooms that hold all of them is a way.
                let all: u64 = parts.iter().map(|part| u64::from(part.0.next_multiple_of(16))).sum();
                prop_assert!(rooms.iter().all(|&room| u64::from(room) < all + 16));
                return Ok(());
            };
            let mut ends = spread.starts[1..].to_vec();
            ends.push(spread.arena_bytes);
            for (region, (&start, &end)) in spread.starts.iter().zip(&ends).enumerate() {
                prop_assert_eq!(start % ARENA_ALIGN, 0);
                prop_assert!(end - start <= rooms[region]);
            }
            let region_of = |byte: u32| spread.starts.iter().filter(|&&start| start <= byte).count();
            for (a, block) in blocks.iter().enumerate() {
                let (start, end) = (spread.offsets[a], spread.offsets[a] + block.bytes());
                prop_assert!(end <= spread.arena_bytes);
                prop_assert_eq!(region_of(start), region_of(end - 1));
                for (other, &offset) in blocks.iter().zip(&spread.offsets).take(a) {
                    let apart = end <= offset || offset + other.bytes() <= start;
                    prop_assert!(apart || !block.parts[0].meets(&other.parts[0]));
                }
            }
        }
    }

    #[test]
    fn what_is_touched_most_lies_in_the_first_region() {
        let blocks = [
            Block::whole(1024, 0, 1),
            Block::whole(1024, 0, 2),
            Block::whole(512, 1, 1),
        ];
        let regions = |touched: [u64; 3]| {
            let spread = spread(&blocks, &[], &touched, &[1536, 4096]).expect("there is room");
            let second = spread.starts[1];
            spread
                .offsets
                .iter()
                .map(|&offset| usize::from(offset >= second))
                .collect::<Vec<_>>()
        };
        assert_eq!(regions([9000, 1024, 9000]), [0, 1, 0]);
        assert_eq!(regions([1024, 9000, 9000]), [1, 0, 0]);
        assert_eq!(regions([1024, 1024, 9000])[2], 0);
    }

    #[test]
    fn an_op_that_writes_in_place_does_so_in_one_region() {
        let blocks = [
            Block::whole(1600, 0, 1),
            Block::whole(1600, 1, 2),
            Block::whole(800, 0, 2),
        ];
        let in_place = Overlap {
            input: 0,
            output: 1,
            step: 1,
            forbidden: vec![(-1600, 0), (0, 1600)],
        };
        let spread = spread(&blocks, &[in_place], &[1; 3], &[1600, 800]).expect("there is room");
        assert_eq!(spread.offsets, [0, 0, 1600]);
        assert_eq!((spread.starts, spread.arena_bytes), (vec![0, 1600], 2400));
    }

    #[test]
    fn what_goes_into_no_regions_is_said() {
        let blocks = [Block::whole(1600, 0, 1), Block::whole(1600, 0, 1)];
        assert_eq!(spread(&blocks, &[], &[1; 2], &[1600, 1599]), None);
        let spread = spread(&blocks, &[], &[1; 2], &[0, 1600, 0, 1600]).expect("there is room");
        assert_eq!(spread.starts, [0, 0, 1600, 1600]);
    }
}
