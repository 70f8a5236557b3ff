//! AArch64 with the dot products of Armv8.2: sixteen lanes are four registers.
//!
//! `SDOT` takes values with sign, so nothing is added to them.

use core::arch::aarch64::*;
use core::arch::asm;

use super::host::{Bundles, Conv, Finish, LANES, Lanes, Pointers, Task, tiles};
use crate::isa::Isa;

/// Whether this processor, and the system that runs on it, know the instructions.
pub(crate) fn has(isa: Isa) -> bool {
    isa == Isa::Neon && std::arch::is_aarch64_feature_detected!("dotprod")
}

/// The bundles of blocks that the kernels take, for one pixel or for several.
pub(crate) fn bundles(_: Isa, is_one: bool) -> Bundles {
    Neon::bundles(is_one)
}

/// Runs a task with these instructions, if the processor has them.
pub(crate) fn run(isa: Isa, task: &mut Task<'_>) -> bool {
    if !has(isa) {
        return false;
    }
    // SAFETY: the processor has what the function is compiled for.
    unsafe { neon(task) };
    true
}

#[target_feature(enable = "neon,dotprod")]
fn neon(task: &mut Task<'_>) {
    task.run(Neon(()));
}

/// Says that the processor has the instructions; made only after asking it.
#[derive(Clone, Copy)]
struct Neon(());

/// What a rescaling needs of four lanes.
#[derive(Clone, Copy)]
struct Factors {
    multipliers: int32x4_t,
    /// Shifts to the left, negative to the right.
    left: int32x4_t,
    right: int32x4_t,
}

type Four = [int32x4_t; 4];

impl Neon {
    #[inline(always)]
    fn dot_4(self, sums: int32x4_t, values: int8x16_t, weights: int8x16_t) -> int32x4_t {
        let mut sums = sums;
        // SAFETY: registers alone; `self` says that the processor has the instruction.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {values:v}.16b, {weights:v}.16b",
                sums = inout(vreg) sums,
                values = in(vreg) values,
                weights = in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }

    /// Rescaled, with the zero point; saturation keeps to what lies far out.
    #[inline(always)]
    fn rescale_4(self, sums: int32x4_t, factors: Factors, finish: Finish) -> int32x4_t {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            let sums = if finish.is_low {
                sums
            } else {
                vshlq_s32(sums, factors.left)
            };
            let high = vqrdmulhq_s32(sums, factors.multipliers);
            // One less where negative and shifted, so that halves go away from zero.
            let away = vshrq_n_s32::<31>(vandq_s32(high, factors.right));
            let rounded = vrshlq_s32(vqaddq_s32(high, away), factors.right);
            vqaddq_s32(rounded, vdupq_n_s32(finish.zero_point))
        }
    }

    #[inline(always)]
    fn narrow(self, sums: Four, factors: [Factors; 4], finish: Finish) -> int8x16_t {
        let a = self.rescale_4(sums[0], factors[0], finish);
        let b = self.rescale_4(sums[1], factors[1], finish);
        let c = self.rescale_4(sums[2], factors[2], finish);
        let d = self.rescale_4(sums[3], factors[3], finish);
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            let low = vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
            let high = vcombine_s16(vqmovn_s32(c), vqmovn_s32(d));
            let bytes = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
            let bytes = vmaxq_s8(bytes, vdupq_n_s8(finish.clamp[0] as i8));
            vminq_s8(bytes, vdupq_n_s8(finish.clamp[1] as i8))
        }
    }

    #[inline(always)]
    fn factors_4(self, multipliers: int32x4_t, shifts: int32x4_t) -> Factors {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            Factors {
                multipliers,
                left: vmaxq_s32(shifts, vdupq_n_s32(0)),
                right: vminq_s32(shifts, vdupq_n_s32(0)),
            }
        }
    }
}

#[inline(always)]
unsafe fn four(from: *const u8) -> Four {
    // SAFETY: the caller lets 64 bytes be read.
    unsafe {
        [
            vreinterpretq_s32_u8(vld1q_u8(from)),
            vreinterpretq_s32_u8(vld1q_u8(from.add(16))),
            vreinterpretq_s32_u8(vld1q_u8(from.add(32))),
            vreinterpretq_s32_u8(vld1q_u8(from.add(48))),
        ]
    }
}

impl Lanes for Neon {
    const GROUP: usize = 4;
    const OFFSET: u8 = 0;
    type Sums = Four;
    type Groups = [int8x16_t; 4];
    type Group = int8x16_t;
    type Factors = [Factors; 4];

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> Four {
        // SAFETY: the caller's.
        unsafe { four(from) }
    }

    #[inline(always)]
    unsafe fn groups(self, from: *const u8) -> [int8x16_t; 4] {
        // SAFETY: the caller's.
        unsafe {
            let from = from.cast::<i8>();
            [
                vld1q_s8(from),
                vld1q_s8(from.add(16)),
                vld1q_s8(from.add(32)),
                vld1q_s8(from.add(48)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn group(self, from: *const u8) -> int8x16_t {
        // SAFETY: the caller's.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn gather(self, from: *const u8, step: usize, taps: usize) -> [int8x16_t; 4] {
        // SAFETY: the caller's.
        unsafe {
            let from = from.cast::<i8>();
            let a = vld1q_s8(from);
            let b = vld1q_s8(from.add(step));
            let c = vld1q_s8(from.add(2 * step));
            let d = if taps > 3 {
                vld1q_s8(from.add(3 * step))
            } else {
                c
            };
            let ab = vreinterpretq_s16_s8(vzip1q_s8(a, b));
            let cd = vreinterpretq_s16_s8(vzip1q_s8(c, d));
            let high_ab = vreinterpretq_s16_s8(vzip2q_s8(a, b));
            let high_cd = vreinterpretq_s16_s8(vzip2q_s8(c, d));
            [
                vreinterpretq_s8_s16(vzip1q_s16(ab, cd)),
                vreinterpretq_s8_s16(vzip2q_s16(ab, cd)),
                vreinterpretq_s8_s16(vzip1q_s16(high_ab, high_cd)),
                vreinterpretq_s8_s16(vzip2q_s16(high_ab, high_cd)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn factors(self, multipliers: *const u8, shifts: *const u8, _: Finish) -> [Factors; 4] {
        // SAFETY: the caller's.
        let (multipliers, shifts) = unsafe { (four(multipliers), four(shifts)) };
        [
            self.factors_4(multipliers[0], shifts[0]),
            self.factors_4(multipliers[1], shifts[1]),
            self.factors_4(multipliers[2], shifts[2]),
            self.factors_4(multipliers[3], shifts[3]),
        ]
    }

    #[inline(always)]
    fn dot(self, sums: Four, values: int8x16_t, weights: [int8x16_t; 4]) -> Four {
        self.dot_each(sums, [values; 4], weights)
    }

    #[inline(always)]
    fn dot_each(self, sums: Four, values: [int8x16_t; 4], weights: [int8x16_t; 4]) -> Four {
        [
            self.dot_4(sums[0], values[0], weights[0]),
            self.dot_4(sums[1], values[1], weights[1]),
            self.dot_4(sums[2], values[2], weights[2]),
            self.dot_4(sums[3], values[3], weights[3]),
        ]
    }

    #[inline(always)]
    fn splat(self, value: i32) -> Four {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { [vdupq_n_s32(value); 4] }
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            [
                vaddq_s32(a[0], b[0]),
                vaddq_s32(a[1], b[1]),
                vaddq_s32(a[2], b[2]),
                vaddq_s32(a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn multiply(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            [
                vmulq_s32(a[0], b[0]),
                vmulq_s32(a[1], b[1]),
                vmulq_s32(a[2], b[2]),
                vmulq_s32(a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn shift_right(self, a: Four, bits: Four) -> Four {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            [
                vshlq_s32(a[0], vnegq_s32(bits[0])),
                vshlq_s32(a[1], vnegq_s32(bits[1])),
                vshlq_s32(a[2], vnegq_s32(bits[2])),
                vshlq_s32(a[3], vnegq_s32(bits[3])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn widen(self, from: *const u8) -> Four {
        // SAFETY: the caller's.
        unsafe {
            let values = vld1q_s8(from.cast());
            let low = vmovl_s8(vget_low_s8(values));
            let high = vmovl_s8(vget_high_s8(values));
            [
                vmovl_s16(vget_low_s16(low)),
                vmovl_s16(vget_high_s16(low)),
                vmovl_s16(vget_low_s16(high)),
                vmovl_s16(vget_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn put(
        self,
        sums: Four,
        factors: [Factors; 4],
        finish: Finish,
        to: *mut u8,
        count: usize,
    ) {
        let bytes = self.narrow(sums, factors, finish);
        // SAFETY: the caller's.
        unsafe {
            if count == LANES {
                vst1q_s8(to.cast(), bytes);
            } else {
                let mut all = [0i8; LANES];
                vst1q_s8(all.as_mut_ptr(), bytes);
                to.copy_from_nonoverlapping(all.as_ptr().cast(), count);
            }
        }
    }

    #[inline(always)]
    fn lanes(self, sums: Four) -> [i32; LANES] {
        // SAFETY: both are 64 bytes of any value.
        unsafe { core::mem::transmute(sums) }
    }

    fn bundles(is_one: bool) -> Bundles {
        if is_one { &[4, 1] } else { &[1] }
    }

    #[inline(always)]
    unsafe fn convolve(self, conv: &Conv, finish: Finish, pointers: Pointers) {
        // SAFETY: the caller's. 24 of 32 registers hold sums, four weights.
        unsafe {
            if conv.pixels() == 1 {
                let block = tiles::<Self, 1, 1, 4>(self, conv, finish, pointers, 0);
                tiles::<Self, 1, 1, 1>(self, conv, finish, pointers, block);
            } else {
                tiles::<Self, 6, 1, 1>(self, conv, finish, pointers, 0);
            }
        }
    }
}
