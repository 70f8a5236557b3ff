//! Convolutions and dense layers: tiles of some pixels by some blocks of sixteen outputs.

use super::lanes::{BLOCK_BYTES, Finish, GROUP_BYTES, LANES, Lanes, Pointers};

/// Where a convolution finds its values in the padded copy, in bytes.
///
/// A filter is `runs[0]` rows of `runs[1]` pieces; the values of a piece lie side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    pub(crate) runs: [usize; 2],
    /// From a row of pieces to the next, and from a piece to the next.
    pub(crate) run_steps: [usize; 2],
    /// Groups of a piece; the last may reach beyond its values, where the weights are 0.
    pub(crate) run_groups: usize,
    /// From an output's window to the next one's, along a row and from row to row.
    pub(crate) steps: [usize; 2],
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) outputs: usize,
}

/// Neighbours of a row that a tile may take together, some of them beyond its end.
const NEIGHBOURS_MAX: usize = 4;

/// Blocks of biases, multipliers and shifts before the weights of sixteen outputs.
pub(crate) const HEAD: usize = 3;

impl Conv {
    /// Groups of a whole filter.
    pub(crate) fn groups(&self) -> usize {
        self.runs[0] * self.runs[1] * self.run_groups
    }

    /// How many bytes of the copy and of the packed blocks the op reads, and of the output writes.
    pub(crate) fn reach(&self) -> (usize, usize, usize) {
        let last = |count: usize, step: usize| count.saturating_sub(1) * step;
        let read = last(self.rows, self.steps[1])
            + last(self.width.next_multiple_of(NEIGHBOURS_MAX), self.steps[0])
            + last(self.runs[0], self.run_steps[0])
            + last(self.runs[1], self.run_steps[1])
            + self.run_groups * GROUP_BYTES;
        let packed = self.outputs.div_ceil(LANES) * self.block_bytes();
        (read, packed, self.pixels() * self.outputs)
    }

    /// Windows, which is pixels of the output.
    pub(crate) fn pixels(&self) -> usize {
        self.rows * self.width
    }

    /// Bytes of sixteen outputs' numbers and weights.
    pub(crate) fn block_bytes(&self) -> usize {
        (HEAD + self.groups()) * BLOCK_BYTES
    }
}

/// Runs the blocks from `block` on that come in `BLOCKS`, `TEAMS` times `NEIGHBOURS` pixels at a
/// time; answers with the first block that is left. Neighbours are pixels of one row, so that a
/// team needs but one pointer.
///
/// # Safety
/// As [`Pointers`] says.
#[inline(always)]
pub(crate) unsafe fn tiles<
    V: Lanes,
    const TEAMS: usize,
    const NEIGHBOURS: usize,
    const BLOCKS: usize,
>(
    lanes: V,
    conv: &Conv,
    finish: Finish,
    pointers: Pointers,
    mut block: usize,
) -> usize {
    const { assert!(NEIGHBOURS <= NEIGHBOURS_MAX) };
    let block_bytes = conv.block_bytes();
    while (block + BLOCKS) <= conv.outputs.div_ceil(LANES) {
        // SAFETY: there are so many blocks.
        let packed = unsafe { pointers.packed.add(block * block_bytes) };
        let mut next = (0, 0);
        while next.0 < conv.rows {
            // Teams beyond the last repeat it and store nothing.
            let mut teams = [(next, 0); TEAMS];
            let mut places = [pointers.values; TEAMS];
            let mut last = next;
            for (team, place) in teams.iter_mut().zip(&mut places) {
                if next.0 < conv.rows {
                    last = next;
                    *team = (next, NEIGHBOURS.min(conv.width - next.1));
                    next.1 += NEIGHBOURS;
                    if next.1 >= conv.width {
                        next = (next.0 + 1, 0);
                    }
                }
                // SAFETY: a window, which lies in the copy.
                *place = unsafe {
                    pointers
                        .values
                        .add(last.0 * conv.steps[1] + last.1 * conv.steps[0])
                };
            }
            // SAFETY: neighbours beyond the end of a row lie in the copy's reach too.
            let sums = unsafe { sums::<V, TEAMS, NEIGHBOURS, BLOCKS>(lanes, conv, places, packed) };
            for index in 0..BLOCKS {
                // SAFETY: the head of a block is three times 64 bytes.
                let factors = unsafe {
                    let head = packed.add(index * block_bytes);
                    lanes.factors(head.add(BLOCK_BYTES), head.add(2 * BLOCK_BYTES))
                };
                let channel = (block + index) * LANES;
                let count = (conv.outputs - channel).min(LANES);
                for (sums, ((row, column), valid)) in sums.iter().zip(teams) {
                    let pixel = row * conv.width + column;
                    for (neighbour, sums) in sums.iter().enumerate() {
                        if neighbour >= valid {
                            break;
                        }
                        let result = lanes.rescale(sums[index], factors, finish.is_low);
                        // SAFETY: the output has these channels of this pixel.
                        unsafe {
                            let to = (pixel + neighbour) * conv.outputs + channel;
                            lanes.store(result, finish, pointers.output.add(to), count);
                        }
                    }
                }
            }
        }
        block += BLOCKS;
    }
    block
}

/// # Safety
/// Windows begin at `places` and, `conv.steps[0]` apart, behind them; `BLOCKS` blocks at `packed`.
#[inline(always)]
unsafe fn sums<V: Lanes, const TEAMS: usize, const NEIGHBOURS: usize, const BLOCKS: usize>(
    lanes: V,
    conv: &Conv,
    places: [*const u8; TEAMS],
    packed: *const u8,
) -> [[[V::Sums; BLOCKS]; NEIGHBOURS]; TEAMS] {
    let block_bytes = conv.block_bytes();
    let mut sums = [[[lanes.splat(0); BLOCKS]; NEIGHBOURS]; TEAMS];
    for block in 0..BLOCKS {
        // SAFETY: a block begins with its biases.
        let biases = unsafe { lanes.load(packed.add(block * block_bytes)) };
        for sums in sums.as_flattened_mut() {
            sums[block] = biases;
        }
    }
    // SAFETY: the weights come after the head.
    let mut weights = unsafe { packed.add(HEAD * BLOCK_BYTES) };
    for row in 0..conv.runs[0] {
        for run in 0..conv.runs[1] {
            let at = row * conv.run_steps[0] + run * conv.run_steps[1];
            let mut values = places;
            for values in &mut values {
                // SAFETY: a piece of a window lies in the copy.
                *values = unsafe { values.add(at) };
            }
            for _ in 0..conv.run_groups {
                // SAFETY: the first block's group.
                let mut own = [unsafe { lanes.groups(weights) }; BLOCKS];
                for (block, own) in own.iter_mut().enumerate().skip(1) {
                    // SAFETY: each block has as many groups.
                    *own = unsafe { lanes.groups(weights.add(block * block_bytes)) };
                }
                for (values, sums) in values.iter_mut().zip(&mut sums) {
                    for (neighbour, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: a window lies in the copy, or ends less than a group behind it.
                        let group = unsafe { lanes.group(values.add(neighbour * conv.steps[0])) };
                        for (sum, own) in sums.iter_mut().zip(own) {
                            *sum = lanes.dot(*sum, group, own);
                        }
                    }
                    // SAFETY: at most one behind the piece.
                    *values = unsafe { values.add(GROUP_BYTES) };
                }
                // SAFETY: at most one behind the last group.
                weights = unsafe { weights.add(BLOCK_BYTES) };
            }
        }
    }
    sums
}
