//! What a kernel of the host asks of an instruction set: sixteen 32-bit lanes at a time.

use super::conv::{Bundles, Conv};

/// Lanes of a block: as many output channels are summed side by side.
pub(crate) const LANES: usize = 16;
/// Bytes of a group, the part of an input that one multiplication takes: [`Lanes::GROUP`] values.
pub(crate) const GROUP_BYTES: usize = 4;
/// Bytes of sixteen groups, or of sixteen 32-bit numbers.
pub(crate) const BLOCK_BYTES: usize = LANES * GROUP_BYTES;

/// What becomes of an accumulator after its rescaling.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    pub(crate) zero_point: i32,
    /// Least and greatest result, the zero point in them.
    pub(crate) clamp: [i32; 2],
    /// Whether every shift of the op is one of [`LOW_SHIFTS`] and every accumulator less than
    /// [`LOW_SUMS`]: then some steps fall away.
    pub(crate) is_low: bool,
}

/// Shifts to the right by which rescaling has room for the zero point before its second rounding:
/// `2^29 + 2^7 · 2^21 + 2^20` is less than `2^30`.
pub(crate) const LOW_SHIFTS: core::ops::RangeInclusive<i8> = -21..=-1;
/// What accumulators stay below for that.
pub(crate) const LOW_SUMS: i64 = 1 << 29;

/// Where an op reads and writes: windows of the padded copy lie in `values`, the blocks of weights
/// and numbers in `packed`, and `output` has the whole output tensor.
#[derive(Clone, Copy)]
pub(crate) struct Pointers {
    pub(crate) values: *const u8,
    pub(crate) packed: *const u8,
    pub(crate) output: *mut u8,
}

/// Sixteen lanes of an instruction set. A value of the implementing type says that the processor
/// has its instructions, so what takes no pointer is safe to call.
///
/// Everything here is inlined into one function that is compiled for these instructions.
pub(crate) trait Lanes: Copy {
    /// Values in a group.
    const GROUP: usize;
    /// What is added to a value when it goes into a group.
    const OFFSET: u8;
    /// 16 × i32.
    type Sums: Copy;
    /// 16 groups of values or of weights.
    type Groups: Copy;
    /// One group, in every lane.
    type Group: Copy;
    /// Multipliers and shifts of 16 channels.
    type Factors: Copy;

    /// # Safety
    /// 64 bytes can be read.
    unsafe fn load(self, from: *const u8) -> Self::Sums;
    /// # Safety
    /// 64 bytes can be read.
    unsafe fn groups(self, from: *const u8) -> Self::Groups;
    /// # Safety
    /// 4 bytes can be read.
    unsafe fn group(self, from: *const u8) -> Self::Group;
    /// Groups of one value each from the first `taps` of [`Lanes::GROUP`] places, `step` bytes from
    /// one to the next, for 16 neighbours. `taps` may leave no more than the last place out, whose
    /// values are then anything.
    ///
    /// # Safety
    /// 16 values of a group's width can be read from each of the places.
    unsafe fn gather(self, from: *const u8, step: usize, taps: usize) -> Self::Groups;
    /// Multipliers in 2³⁰…2³¹ − 1, and shifts.
    ///
    /// # Safety
    /// 64 bytes can be read from both.
    unsafe fn factors(
        self,
        multipliers: *const u8,
        shifts: *const u8,
        finish: Finish,
    ) -> Self::Factors;

    /// Adds the products of one group of values with sixteen of weights.
    fn dot(self, sums: Self::Sums, values: Self::Group, weights: Self::Groups) -> Self::Sums;
    /// Adds the products of sixteen groups of values with sixteen of weights.
    fn dot_each(self, sums: Self::Sums, values: Self::Groups, weights: Self::Groups) -> Self::Sums;
    /// One number in every lane.
    fn splat(self, value: i32) -> Self::Sums;
    /// Lane by lane, modulo 2³².
    fn add(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// Lane by lane, modulo 2³².
    fn multiply(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// `floor(a / 2^bits)`, lane by lane, for 0 to 31 bits.
    fn shift_right(self, a: Self::Sums, bits: Self::Sums) -> Self::Sums;

    /// Copies values into groups.
    ///
    /// # Safety
    /// `count` values can be read; as many of a group's width can be written, and
    /// [`super::OVERRUN_BYTES`] behind them.
    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            if Self::GROUP == GROUP_BYTES {
                for index in 0..count {
                    to.add(index)
                        .write(from.add(index).read().wrapping_add(Self::OFFSET));
                }
            } else {
                for index in 0..count {
                    let value = i16::from(from.add(index).read() as i8);
                    to.cast::<i16>().add(index).write_unaligned(value);
                }
            }
        }
    }
    /// The same value `count` times.
    ///
    /// # Safety
    /// As for [`Lanes::copy`].
    #[inline(always)]
    unsafe fn fill(self, to: *mut u8, value: u8, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            if Self::GROUP == GROUP_BYTES {
                to.write_bytes(value.wrapping_add(Self::OFFSET), count);
            } else {
                for index in 0..count {
                    let value = i16::from(value as i8);
                    to.cast::<i16>().add(index).write_unaligned(value);
                }
            }
        }
    }
    /// Sixteen int8 values as 32-bit numbers.
    ///
    /// # Safety
    /// 16 bytes can be read.
    unsafe fn widen(self, from: *const u8) -> Self::Sums;
    /// Rescales as [`crate::Multiplier::apply`] does, adds the zero point, clamps, and writes the
    /// bytes of the first `count` lanes.
    ///
    /// # Safety
    /// `count` bytes can be written; it is 16 at most.
    unsafe fn put(
        self,
        sums: Self::Sums,
        factors: Self::Factors,
        finish: Finish,
        to: *mut u8,
        count: usize,
    );
    /// [`Lanes::put`] of four blocks that lie side by side.
    ///
    /// # Safety
    /// 64 bytes can be written.
    #[inline(always)]
    unsafe fn put_4(
        self,
        sums: [Self::Sums; 4],
        factors: [Self::Factors; 4],
        finish: Finish,
        to: *mut u8,
    ) {
        for (block, (sums, factors)) in sums.into_iter().zip(factors).enumerate() {
            // SAFETY: the caller's.
            unsafe { self.put(sums, factors, finish, to.add(block * LANES), LANES) };
        }
    }
    /// The lanes as an array.
    fn lanes(self, sums: Self::Sums) -> [i32; LANES];
    /// The bundles of blocks that [`Lanes::convolve`] takes, for one pixel or for several.
    fn bundles(is_one: bool) -> Bundles;
    /// Runs a convolution by [`super::tiles`] of as many pixels and blocks as the registers hold.
    ///
    /// # Safety
    /// As [`Pointers`] says.
    unsafe fn convolve(self, conv: &Conv, finish: Finish, pointers: Pointers);
}
