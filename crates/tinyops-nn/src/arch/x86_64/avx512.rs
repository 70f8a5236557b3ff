//! AVX-512 with VNNI and VBMI: 64 products and their sums in one instruction.
//!
//! `VPDPBUSD` takes values without sign, so 128 is added to each, and taken away by the biases.

use core::arch::x86_64::*;

use crate::arch::host::{Bundles, Conv, Finish, LANES, Lanes, Pointers, tiles};

/// Says that the processor has the instructions; made only after asking it.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512 F, BW, VL, VBMI and VNNI.
    pub(super) unsafe fn new() -> Avx512 {
        Avx512(())
    }
}

impl Avx512 {
    /// Rescaled, with the zero point, and no farther out than saturation allows.
    #[inline(always)]
    fn rescale(self, sums: __m512i, factors: Factors, finish: Finish) -> __m512i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            let sums = if finish.is_low {
                sums
            } else {
                _mm512_sllv_epi32(sums, factors.left)
            };
            // The upper half of sums · (2m - 2^32) + 2^31, and the sums again: sums · m / 2^31.
            let half = _mm512_set1_epi64(1 << 31);
            let even = _mm512_add_epi64(_mm512_mul_epi32(sums, factors.even), half);
            let odd = _mm512_mul_epi32(_mm512_shuffle_epi32::<ODD>(sums), factors.odd);
            let odd = _mm512_add_epi64(odd, half);
            let upper = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even);
            let high = _mm512_add_epi32(upper, sums);
            // One less where negative, so that halves go away from zero.
            let away = _mm512_add_epi32(high, _mm512_srai_epi32::<31>(high));
            if finish.is_low {
                return _mm512_srav_epi32(_mm512_add_epi32(away, factors.half), factors.right);
            }
            let one = _mm512_set1_epi32(1);
            let twice = _mm512_srav_epi32(away, _mm512_sub_epi32(factors.right, one));
            let rounded = _mm512_srai_epi32::<1>(_mm512_add_epi32(twice, one));
            let is_shifted = _mm512_test_epi32_mask(factors.right, factors.right);
            let result = _mm512_mask_mov_epi32(high, is_shifted, rounded);
            // Far out, where saturation is all that matters, no zero point may wrap it.
            let result = _mm512_max_epi32(result, _mm512_set1_epi32(-1024));
            let result = _mm512_min_epi32(result, _mm512_set1_epi32(1024));
            _mm512_add_epi32(result, _mm512_set1_epi32(finish.zero_point))
        }
    }
}

/// What a rescaling needs of each lane.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    /// `2 · multiplier - 2^32`.
    even: __m512i,
    /// The same of odd lanes, in even places.
    odd: __m512i,
    /// Shifts to the right and to the left.
    right: __m512i,
    left: __m512i,
    /// Half of what the shift to the right leaves out, and the zero point above that.
    half: __m512i,
}

/// Odd lanes, in even places as well. A shift by 32 bits does the same, but from it the compiler makes three
/// multiplications of the one that follows.
const ODD: i32 = 0b11_11_01_01;

impl Lanes for Avx512 {
    const GROUP: usize = 4;
    const OFFSET: u8 = 0x80;
    type Sums = __m512i;
    type Groups = __m512i;
    type Group = __m512i;
    type Factors = Factors;

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn groups(self, from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn group(self, from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn gather(self, from: *const u8, step: usize, taps: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            let mut all = _mm512_castsi128_si512(_mm_loadu_si128(from.cast()));
            all = _mm512_inserti32x4::<1>(all, _mm_loadu_si128(from.add(step).cast()));
            all = _mm512_inserti32x4::<2>(all, _mm_loadu_si128(from.add(2 * step).cast()));
            if taps > 3 {
                all = _mm512_inserti32x4::<3>(all, _mm_loadu_si128(from.add(3 * step).cast()));
            }
            _mm512_permutexvar_epi8(_mm512_loadu_si512(TURNED.as_ptr().cast()), all)
        }
    }

    #[inline(always)]
    unsafe fn factors(self, multipliers: *const u8, shifts: *const u8, finish: Finish) -> Factors {
        // SAFETY: the caller's.
        unsafe {
            let even = _mm512_slli_epi32::<1>(_mm512_loadu_si512(multipliers.cast()));
            let shifts = _mm512_loadu_si512(shifts.cast());
            let zero = _mm512_setzero_si512();
            let right = _mm512_sub_epi32(zero, _mm512_min_epi32(shifts, zero));
            let half = _mm512_sllv_epi32(_mm512_set1_epi32(1), right);
            let zero_point = _mm512_sllv_epi32(_mm512_set1_epi32(finish.zero_point), right);
            Factors {
                even,
                odd: _mm512_shuffle_epi32::<ODD>(even),
                right,
                left: _mm512_max_epi32(shifts, zero),
                half: _mm512_add_epi32(_mm512_srli_epi32::<1>(half), zero_point),
            }
        }
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { _mm512_dpbusd_epi32(sums, values, weights) }
    }

    #[inline(always)]
    fn dot_each(self, sums: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        self.dot(sums, values, weights)
    }

    #[inline(always)]
    fn splat(self, value: i32) -> __m512i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    fn shift_right(self, a: __m512i, bits: __m512i) -> __m512i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { _mm512_srav_epi32(a, bits) }
    }

    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, count: usize) {
        let mut at = 0;
        // SAFETY: the caller's; what lies behind the last value is masked where it is read.
        unsafe {
            let offset = _mm512_set1_epi8(i8::MIN);
            while at + 64 <= count {
                let values = _mm512_loadu_si512(from.add(at).cast());
                _mm512_storeu_si512(to.add(at).cast(), _mm512_xor_si512(values, offset));
                at += 64;
            }
            if at < count {
                let mask = u64::MAX >> (64 - (count - at));
                let values = _mm512_maskz_loadu_epi8(mask, from.add(at).cast());
                _mm512_storeu_si512(to.add(at).cast(), _mm512_xor_si512(values, offset));
            }
        }
    }

    #[inline(always)]
    unsafe fn fill(self, to: *mut u8, value: u8, count: usize) {
        // SAFETY: the caller's: the last vector may reach behind the last value.
        unsafe {
            let values = _mm512_set1_epi8((value ^ Self::OFFSET) as i8);
            for at in (0..count).step_by(64) {
                _mm512_storeu_si512(to.add(at).cast(), values);
            }
        }
    }

    #[inline(always)]
    unsafe fn widen(self, from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn put(
        self,
        sums: __m512i,
        factors: Factors,
        finish: Finish,
        to: *mut u8,
        count: usize,
    ) {
        let sums = self.rescale(sums, factors, finish);
        // SAFETY: the caller's.
        unsafe {
            let bytes = _mm512_cvtsepi32_epi8(sums);
            let bytes = _mm_max_epi8(bytes, _mm_set1_epi8(finish.clamp[0] as i8));
            let bytes = _mm_min_epi8(bytes, _mm_set1_epi8(finish.clamp[1] as i8));
            if count == LANES {
                _mm_storeu_si128(to.cast(), bytes);
            } else {
                super::store_some(bytes, to, count);
            }
        }
    }

    #[inline(always)]
    unsafe fn put_4(self, sums: [__m512i; 4], factors: [Factors; 4], finish: Finish, to: *mut u8) {
        // Packing keeps to quarters of registers: the last step puts them in order.
        let a = self.rescale(sums[0], factors[0], finish);
        let b = self.rescale(sums[1], factors[1], finish);
        let c = self.rescale(sums[2], factors[2], finish);
        let d = self.rescale(sums[3], factors[3], finish);
        // SAFETY: the caller's.
        unsafe {
            let words = [_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)];
            let bytes = _mm512_packs_epi16(words[0], words[1]);
            let order = _mm512_loadu_si512(QUARTERS.as_ptr().cast());
            let bytes = _mm512_permutexvar_epi32(order, bytes);
            let bytes = _mm512_max_epi8(bytes, _mm512_set1_epi8(finish.clamp[0] as i8));
            let bytes = _mm512_min_epi8(bytes, _mm512_set1_epi8(finish.clamp[1] as i8));
            _mm512_storeu_si512(to.cast(), bytes);
        }
    }

    #[inline(always)]
    fn lanes(self, sums: __m512i) -> [i32; LANES] {
        // SAFETY: both are 64 bytes of any value.
        unsafe { core::mem::transmute(sums) }
    }

    fn bundles(is_one: bool) -> Bundles {
        if is_one { &[8, 4, 1] } else { &[4, 2, 1] }
    }

    #[inline(always)]
    unsafe fn convolve(self, conv: &Conv, finish: Finish, pointers: Pointers) {
        // SAFETY: the caller's. 24 of 32 registers hold sums.
        unsafe {
            let mut block = 0;
            if conv.pixels() == 1 {
                block = tiles::<Self, 1, 1, 8>(self, conv, finish, pointers, block);
                block = tiles::<Self, 1, 1, 4>(self, conv, finish, pointers, block);
                tiles::<Self, 1, 1, 1>(self, conv, finish, pointers, block);
            } else {
                block = tiles::<Self, 6, 1, 4>(self, conv, finish, pointers, block);
                block = tiles::<Self, 3, 4, 2>(self, conv, finish, pointers, block);
                tiles::<Self, 4, 4, 1>(self, conv, finish, pointers, block);
            }
        }
    }
}

/// Sixteen bytes each of four taps to four bytes each of sixteen neighbours.
static TURNED: [u8; 64] = {
    let mut turned = [0; 64];
    let mut index = 0;
    while index < 64 {
        turned[index] = (index % 4 * 16 + index / 4) as u8;
        index += 1;
    }
    turned
};

/// Dwords of a register whose quarters have four bytes each of four blocks, block by block.
static QUARTERS: [i32; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
