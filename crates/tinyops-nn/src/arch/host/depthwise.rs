//! Depthwise convolutions, sixteen channels at a time, or sixteen neighbours of a row.

use super::lanes::{BLOCK_BYTES, Finish, GROUP_BYTES, LANES, Lanes, Pointers};

/// Where a depthwise convolution finds its values in the padded copy, in bytes.
///
/// The copy has the output's channels. The filter's taps are some lines, each some groups of
/// [`Lanes::GROUP`] taps; the last group of a line may reach beyond it, where the weights are 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depthwise {
    /// Lines, and groups of a line.
    pub(crate) groups: [usize; 2],
    /// From a line to the next, from a group to the next, from a tap to the next.
    pub(crate) steps: [usize; 3],
    /// Taps of a group that are worth reading.
    pub(crate) taps: usize,
    /// From an output's window to the next one's, along a row and from row to row.
    pub(crate) window_steps: [usize; 2],
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Depthwise {
    /// How many bytes of the copy and of the packed arrays the op reads, and of the output writes.
    pub(crate) fn reach(&self, group: usize) -> (usize, usize, usize) {
        let last = |count: usize, step: usize| count.saturating_sub(1) * step;
        let value_bytes = GROUP_BYTES / group;
        let read = last(self.rows, self.window_steps[1])
            + last(self.width, self.window_steps[0])
            + last(self.groups[0], self.steps[0])
            + last(self.groups[1], self.steps[1])
            + last(group, self.steps[2])
            + (self.channels + LANES) * value_bytes;
        let arrays = 3 + self.groups[0] * self.groups[1];
        let line = self.width * self.channels;
        (read, arrays * array_bytes(self.channels), self.rows * line)
    }

    /// Whether neighbours of a row of outputs see neighbours of the copy.
    fn is_dense(&self, value_bytes: usize) -> bool {
        self.window_steps[0] == self.channels * value_bytes
    }
}

/// Bytes of an array of groups or numbers, one for each channel and sixteen for the first again:
/// so that a block may begin at any channel.
pub(crate) fn array_bytes(channels: usize) -> usize {
    ((channels + LANES) * GROUP_BYTES).next_multiple_of(BLOCK_BYTES)
}

/// Runs the op. In `packed` lie the biases, multipliers, shifts and the weights of each group of
/// taps, each as [`array_bytes`] says.
///
/// # Safety
/// As [`Pointers`] says.
#[inline(always)]
pub(crate) unsafe fn run<V: Lanes>(lanes: V, op: &Depthwise, finish: Finish, pointers: Pointers) {
    let value_bytes = GROUP_BYTES / V::GROUP;
    let is_dense = op.is_dense(value_bytes);
    // SAFETY: the caller's.
    unsafe {
        if is_dense && LANES.is_multiple_of(op.channels) {
            // Sixteen neighbours are some pixels, and have the same channels everywhere.
            let line = op.width * op.channels;
            let strip = Strip {
                packed: pointers.packed,
                lanes: LANES,
                last_lanes: (line - 1) % LANES + 1,
                places: line.div_ceil(LANES),
                steps: [LANES * value_bytes, LANES],
            };
            strips(lanes, op, finish, pointers, &strip);
        } else if is_dense && !op.channels.is_multiple_of(LANES) {
            neighbours(lanes, op, finish, pointers);
        } else {
            for channel in (0..op.channels).step_by(LANES) {
                let count = LANES.min(op.channels - channel);
                let strip = Strip {
                    packed: pointers.packed.add(channel * GROUP_BYTES),
                    lanes: count,
                    last_lanes: count,
                    places: op.width,
                    steps: [op.window_steps[0], op.channels],
                };
                let pointers = Pointers {
                    values: pointers.values.add(channel * value_bytes),
                    output: pointers.output.add(channel),
                    ..pointers
                };
                strips(lanes, op, finish, pointers, &strip);
            }
        }
    }
}

/// Places of each row whose sixteen lanes are the same channels.
struct Strip {
    /// Where the numbers of the first lane begin.
    packed: *const u8,
    lanes: usize,
    /// How many lanes the last place of a row has.
    last_lanes: usize,
    places: usize,
    /// From a place to the next, in bytes of the copy and of the output.
    steps: [usize; 2],
}

/// # Safety
/// As [`Pointers`] says; every place of the strip lies in copy and output.
#[inline(always)]
unsafe fn strips<V: Lanes>(
    lanes: V,
    op: &Depthwise,
    finish: Finish,
    pointers: Pointers,
    strip: &Strip,
) {
    // SAFETY: the caller's.
    unsafe {
        match (op.groups[0] * op.groups[1], op.taps) {
            (3, 3) => held::<V, 3, 3>(lanes, op, finish, pointers, strip),
            (1, _) => held::<V, 1, 4>(lanes, op, finish, pointers, strip),
            (2, _) => held::<V, 2, 4>(lanes, op, finish, pointers, strip),
            (3, _) => held::<V, 3, 4>(lanes, op, finish, pointers, strip),
            (4, _) => held::<V, 4, 4>(lanes, op, finish, pointers, strip),
            (6, _) => held::<V, 6, 4>(lanes, op, finish, pointers, strip),
            _ => held::<V, 0, 4>(lanes, op, finish, pointers, strip),
        }
    }
}

/// Runs a strip; with a filter of so many groups, whose weights stay in registers, or with any
/// filter where that is 0.
///
/// # Safety
/// As for [`strips`].
#[inline(always)]
unsafe fn held<V: Lanes, const GROUPS: usize, const TAPS: usize>(
    lanes: V,
    op: &Depthwise,
    finish: Finish,
    pointers: Pointers,
    strip: &Strip,
) {
    let stride = array_bytes(op.channels);
    // SAFETY: sixteen numbers follow any channel in each array; windows lie in the copy.
    unsafe {
        let weights = strip.packed.add(3 * stride);
        let biases = lanes.load(strip.packed);
        let factors = lanes.factors(
            strip.packed.add(stride),
            strip.packed.add(2 * stride),
            finish,
        );
        let mut own = [(lanes.groups(weights), 0); GROUPS];
        for (group, own) in own.iter_mut().enumerate() {
            let (line, piece) = (group / op.groups[1], group % op.groups[1]);
            let place = line * op.steps[0] + piece * op.steps[1];
            *own = (lanes.groups(weights.add(group * stride)), place);
        }
        for row in 0..op.rows {
            let mut values = pointers.values.add(row * op.window_steps[1]);
            let mut output = pointers.output.add(row * op.width * op.channels);
            for place in 0..strip.places {
                let mut sums = biases;
                for (own, place) in own {
                    let groups = lanes.gather(values.add(place), op.steps[2], TAPS);
                    sums = lanes.dot_each(sums, groups, own);
                }
                if GROUPS == 0 {
                    sums = sum(lanes, op, sums, values, weights);
                }
                let is_last = place + 1 == strip.places;
                let count = if is_last {
                    strip.last_lanes
                } else {
                    strip.lanes
                };
                lanes.put(sums, factors, finish, output, count);
                values = values.add(strip.steps[0]);
                output = output.add(strip.steps[1]);
            }
        }
    }
}

/// Adds the products of a whole window.
///
/// # Safety
/// The window lies in the copy; each group's weights lie an array behind the one before.
#[inline(always)]
unsafe fn sum<V: Lanes>(
    lanes: V,
    op: &Depthwise,
    mut sums: V::Sums,
    values: *const u8,
    mut weights: *const u8,
) -> V::Sums {
    let stride = array_bytes(op.channels);
    for line in 0..op.groups[0] {
        for group in 0..op.groups[1] {
            // SAFETY: the caller's.
            unsafe {
                let place = values.add(line * op.steps[0] + group * op.steps[1]);
                let groups = lanes.gather(place, op.steps[2], op.taps);
                sums = lanes.dot_each(sums, groups, lanes.groups(weights));
                weights = weights.add(stride);
            }
        }
    }
    sums
}

/// Rows as one piece: sixteen neighbours at a time, whatever pixels they belong to.
///
/// # Safety
/// As [`Pointers`] says.
#[inline(always)]
unsafe fn neighbours<V: Lanes>(lanes: V, op: &Depthwise, finish: Finish, pointers: Pointers) {
    let value_bytes = GROUP_BYTES / V::GROUP;
    let stride = array_bytes(op.channels);
    let line = op.width * op.channels;
    let turn = LANES % op.channels;
    for row in 0..op.rows {
        let mut channel = 0;
        for at in (0..line).step_by(LANES) {
            // SAFETY: sixteen numbers follow any channel in each array, sixteen values any place
            // in the copy, and the output has what the last block of a row stores.
            unsafe {
                let values = pointers
                    .values
                    .add(row * op.window_steps[1] + at * value_bytes);
                let packed = pointers.packed.add(channel * GROUP_BYTES);
                let biases = lanes.load(packed);
                let sums = sum(lanes, op, biases, values, packed.add(3 * stride));
                let factors = lanes.factors(packed.add(stride), packed.add(2 * stride), finish);
                let output = pointers.output.add(row * line + at);
                lanes.put(sums, factors, finish, output, LANES.min(line - at));
            }
            channel += turn;
            if channel >= op.channels {
                channel -= op.channels;
            }
        }
    }
}
