//! What a kernel of the host asks of an instruction set: sixteen 32-bit lanes at a time.

use super::conv::Conv;

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
    /// Whether every shift of the op lies below -1: then some steps fall away.
    pub(crate) is_low: bool,
}

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
    unsafe fn factors(self, multipliers: *const u8, shifts: *const u8) -> Self::Factors;

    /// Adds the products of one group of values with sixteen of weights.
    fn dot(self, sums: Self::Sums, values: Self::Group, weights: Self::Groups) -> Self::Sums;
    /// Adds the products of sixteen groups of values with sixteen of weights.
    fn dot_each(self, sums: Self::Sums, values: Self::Groups, weights: Self::Groups) -> Self::Sums;
    /// [`crate::Multiplier::apply`] for each lane; `is_low` says that every shift lies below -1.
    fn rescale(self, sums: Self::Sums, factors: Self::Factors, is_low: bool) -> Self::Sums;
    /// One number in every lane.
    fn splat(self, value: i32) -> Self::Sums;
    /// Lane by lane, modulo 2³².
    fn add(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// Lane by lane, modulo 2³².
    fn multiply(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// `floor(a / 2^bits)`, for 0 to 31 bits.
    fn shift_right(self, a: Self::Sums, bits: u32) -> Self::Sums;

    /// Sixteen int8 values as 32-bit numbers.
    ///
    /// # Safety
    /// 16 bytes can be read.
    unsafe fn widen(self, from: *const u8) -> Self::Sums;
    /// Adds the zero point to the first `count` lanes, clamps them and writes their bytes.
    ///
    /// # Safety
    /// `count` bytes can be written; it is 16 at most.
    unsafe fn store(self, sums: Self::Sums, finish: Finish, to: *mut u8, count: usize);
    /// The lanes as an array.
    fn lanes(self, sums: Self::Sums) -> [i32; LANES];
    /// Runs a convolution by [`super::tiles`] of as many pixels and blocks as the registers hold.
    ///
    /// # Safety
    /// As [`Pointers`] says.
    unsafe fn convolve(self, conv: &Conv, finish: Finish, pointers: Pointers);
}
