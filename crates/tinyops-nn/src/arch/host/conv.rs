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

/// How many blocks the kernels take at once, from the first on: a bundle has the heads of its
/// blocks, then their weights, group by group, so that they are read in one piece. The last is 1.
pub(crate) type Bundles = &'static [usize];

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

    /// Where the weights of a group of an output lie, and where its numbers begin, if `sizes` are
    /// the bundles that the kernels take.
    pub(crate) fn place(&self, sizes: &[usize], output: usize, group: usize) -> (usize, usize) {
        let blocks = self.outputs.div_ceil(LANES);
        let block = output / LANES;
        let (mut first, mut size) = (0, 1);
        for &bundle in sizes {
            size = bundle;
            let whole = (blocks - first) / bundle * bundle;
            if block < first + whole {
                break;
            }
            first += whole;
        }
        let inside = (block - first) % size;
        let start = (block - inside) * self.block_bytes() + output % LANES * GROUP_BYTES;
        let weights = size * HEAD * BLOCK_BYTES + (group * size + inside) * BLOCK_BYTES;
        (start + weights, start + inside * HEAD * BLOCK_BYTES)
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
            let mut teams: [Team; TEAMS] = [(next, 0); TEAMS];
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
            // SAFETY: the head of a block is three times 64 bytes; the output has these channels
            // of these pixels.
            unsafe {
                let left = conv.outputs - block * LANES;
                let first = (block, packed);
                // Whole blocks, four at once: those of one pixel, or of neighbours that have no
                // others.
                let is_even = BLOCKS <= 4 && (NEIGHBOURS * BLOCKS).is_multiple_of(4);
                let is_alone = conv.outputs == BLOCKS * LANES;
                if is_even && (is_alone || BLOCKS == 4 && left >= 4 * LANES) {
                    put_quads(lanes, conv, finish, pointers, first, teams, &sums);
                } else {
                    put_blocks(lanes, conv, finish, pointers, first, teams, &sums);
                }
            }
        }
        block += BLOCKS;
    }
    block
}

/// The same pointer, of which the compiler knows nothing: else it keeps one for each neighbour, and
/// there are not so many registers.
#[expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "nothing is read or written through it"
)]
#[inline(always)]
fn opaque(mut pointer: *const u8) -> *const u8 {
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
    }
    pointer
}

/// Where a team begins, row and column, and how many of its neighbours are pixels.
type Team = ((usize, usize), usize);

/// The factors of a block.
///
/// # Safety
/// The block has its head.
#[inline(always)]
unsafe fn factors<V: Lanes>(lanes: V, block: *const u8, finish: Finish) -> V::Factors {
    // SAFETY: the caller's.
    unsafe { lanes.factors(block.add(BLOCK_BYTES), block.add(2 * BLOCK_BYTES), finish) }
}

/// Writes a tile, block after block.
///
/// # Safety
/// As for [`tiles`]; `sums` are those of the blocks that begin with number `first` at `packed`.
#[inline(always)]
unsafe fn put_blocks<V: Lanes, const TEAMS: usize, const NEIGHBOURS: usize, const BLOCKS: usize>(
    lanes: V,
    conv: &Conv,
    finish: Finish,
    pointers: Pointers,
    (first, packed): (usize, *const u8),
    teams: [Team; TEAMS],
    sums: &[[[V::Sums; BLOCKS]; NEIGHBOURS]; TEAMS],
) {
    for block in 0..BLOCKS {
        // SAFETY: the caller's.
        let factors = unsafe { factors(lanes, packed.add(block * HEAD * BLOCK_BYTES), finish) };
        let channel = (first + block) * LANES;
        let count = (conv.outputs - channel).min(LANES);
        for (sums, ((row, column), valid)) in sums.iter().zip(teams) {
            let pixel = row * conv.width + column;
            for (neighbour, sums) in sums.iter().enumerate() {
                if neighbour >= valid {
                    break;
                }
                // SAFETY: the output has these channels of this pixel.
                unsafe {
                    let to = (pixel + neighbour) * conv.outputs + channel;
                    lanes.put(sums[block], factors, finish, pointers.output.add(to), count);
                }
            }
        }
    }
}

/// Writes a tile of whole blocks, four at once.
///
/// # Safety
/// As for [`put_blocks`]; the blocks of a pixel are four, or the only ones that it has.
#[inline(always)]
unsafe fn put_quads<V: Lanes, const TEAMS: usize, const NEIGHBOURS: usize, const BLOCKS: usize>(
    lanes: V,
    conv: &Conv,
    finish: Finish,
    pointers: Pointers,
    (first, packed): (usize, *const u8),
    teams: [Team; TEAMS],
    sums: &[[[V::Sums; BLOCKS]; NEIGHBOURS]; TEAMS],
) {
    // SAFETY: the caller's.
    let mut own = [unsafe { factors(lanes, packed, finish) }; 4];
    for (block, own) in own.iter_mut().enumerate().skip(1) {
        // SAFETY: the caller's.
        *own = unsafe {
            factors(
                lanes,
                packed.add(block % BLOCKS * HEAD * BLOCK_BYTES),
                finish,
            )
        };
    }
    for (sums, ((row, column), valid)) in sums.iter().zip(teams) {
        let (quads, _) = sums.as_flattened().as_chunks::<4>();
        for (quad, sums) in quads.iter().enumerate() {
            let pixel = quad * 4 / BLOCKS;
            if pixel >= valid {
                break;
            }
            let to = (row * conv.width + column + pixel) * conv.outputs + first * LANES;
            // SAFETY: the output has these channels of these pixels; where the last of several
            // is none, blocks go one by one.
            unsafe {
                let to = pointers.output.add(to);
                let valid = (valid - pixel) * BLOCKS;
                if valid >= 4 {
                    lanes.put_4(*sums, own, finish, to);
                } else {
                    for block in 0..valid {
                        let to = to.add(block * LANES);
                        lanes.put(sums[block], own[block], finish, to, LANES);
                    }
                }
            }
        }
    }
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
    let mut sums = [[[lanes.splat(0); BLOCKS]; NEIGHBOURS]; TEAMS];
    for block in 0..BLOCKS {
        // SAFETY: a block begins with its biases.
        let biases = unsafe { lanes.load(packed.add(block * HEAD * BLOCK_BYTES)) };
        for sums in sums.as_flattened_mut() {
            sums[block] = biases;
        }
    }
    // SAFETY: the weights come after the heads.
    let mut weights = unsafe { packed.add(BLOCKS * HEAD * BLOCK_BYTES) };
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
                    *own = unsafe { lanes.groups(weights.add(block * BLOCK_BYTES)) };
                }
                for (values, sums) in values.iter_mut().zip(&mut sums) {
                    *values = opaque(*values);
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
                weights = unsafe { weights.add(BLOCKS * BLOCK_BYTES) };
            }
        }
    }
    sums
}
