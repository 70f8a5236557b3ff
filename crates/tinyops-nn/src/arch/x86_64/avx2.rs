//! AVX2, alone and with VNNI: sixteen lanes are two registers.
//!
//! Alone it multiplies pairs of 16-bit values (`VPMADDWD`), which is exact; its products of bytes
//! saturate. With VNNI it takes four bytes, 128 added to each value, as AVX-512 does.

use core::arch::x86_64::*;

use crate::arch::host::{Bundles, Conv, Finish, LANES, Lanes, Pointers, tiles};

/// Says that the processor has AVX2, and AVX-VNNI if `VNNI`; made only after asking it.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// # Safety
    /// The processor has AVX2, and AVX-VNNI if `VNNI`.
    pub(super) unsafe fn new() -> Avx2<VNNI> {
        Avx2(())
    }
}

/// What a rescaling needs of eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    /// `2 · multiplier - 2^32`.
    even: __m256i,
    /// The same of odd lanes, in even places.
    odd: __m256i,
    /// Shifts to the right and to the left.
    right: __m256i,
    left: __m256i,
    /// Half of what the shift to the right leaves out, and the zero point above that.
    half: __m256i,
}

/// Odd lanes, in even places as well. A shift by 32 bits does the same, but from it the compiler makes three
/// multiplications of the one that follows.
const ODD: i32 = 0b11_11_01_01;

type Pair = [__m256i; 2];

#[inline(always)]
unsafe fn pair(from: *const u8) -> Pair {
    // SAFETY: the caller lets 64 bytes be read.
    unsafe {
        [
            _mm256_loadu_si256(from.cast()),
            _mm256_loadu_si256(from.add(32).cast()),
        ]
    }
}

impl<const VNNI: bool> Avx2<VNNI> {
    #[inline(always)]
    fn dot_8(self, sums: __m256i, values: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            if VNNI {
                _mm256_dpbusd_avx_epi32(sums, values, weights)
            } else {
                _mm256_add_epi32(sums, _mm256_madd_epi16(values, weights))
            }
        }
    }

    #[inline(always)]
    fn factors_8(self, multipliers: __m256i, shifts: __m256i, finish: Finish) -> Factors {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            let even = _mm256_slli_epi32::<1>(multipliers);
            let zero = _mm256_setzero_si256();
            let right = _mm256_sub_epi32(zero, _mm256_min_epi32(shifts, zero));
            let half = _mm256_sllv_epi32(_mm256_set1_epi32(1), right);
            let zero_point = _mm256_sllv_epi32(_mm256_set1_epi32(finish.zero_point), right);
            Factors {
                even,
                odd: _mm256_shuffle_epi32::<ODD>(even),
                right,
                left: _mm256_max_epi32(shifts, zero),
                half: _mm256_add_epi32(_mm256_srli_epi32::<1>(half), zero_point),
            }
        }
    }

    #[inline(always)]
    /// As `Avx512::rescale`, of eight lanes.
    fn rescale_8(self, sums: __m256i, factors: Factors, finish: Finish) -> __m256i {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            let sums = if finish.is_low {
                sums
            } else {
                _mm256_sllv_epi32(sums, factors.left)
            };
            // The upper half of sums · (2m - 2^32) + 2^31, and the sums again: sums · m / 2^31.
            let half = _mm256_set1_epi64x(1 << 31);
            let even = _mm256_add_epi64(_mm256_mul_epi32(sums, factors.even), half);
            let odd = _mm256_mul_epi32(_mm256_shuffle_epi32::<ODD>(sums), factors.odd);
            let odd = _mm256_add_epi64(odd, half);
            let upper = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
            let high = _mm256_add_epi32(upper, sums);
            // One less where negative, so that halves go away from zero.
            let away = _mm256_add_epi32(high, _mm256_srai_epi32::<31>(high));
            if finish.is_low {
                return _mm256_srav_epi32(_mm256_add_epi32(away, factors.half), factors.right);
            }
            let one = _mm256_set1_epi32(1);
            let twice = _mm256_srav_epi32(away, _mm256_sub_epi32(factors.right, one));
            let rounded = _mm256_srai_epi32::<1>(_mm256_add_epi32(twice, one));
            let is_shifted = _mm256_cmpgt_epi32(factors.right, _mm256_setzero_si256());
            let result = _mm256_blendv_epi8(high, rounded, is_shifted);
            // Far out, where saturation is all that matters, no zero point may wrap it.
            let result = _mm256_max_epi32(result, _mm256_set1_epi32(-1024));
            let result = _mm256_min_epi32(result, _mm256_set1_epi32(1024));
            _mm256_add_epi32(result, _mm256_set1_epi32(finish.zero_point))
        }
    }
}

impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    const GROUP: usize = if VNNI { 4 } else { 2 };
    const OFFSET: u8 = if VNNI { 0x80 } else { 0 };
    type Sums = Pair;
    type Groups = Pair;
    type Group = __m256i;
    type Factors = [Factors; 2];

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> Pair {
        // SAFETY: the caller's.
        unsafe { pair(from) }
    }

    #[inline(always)]
    unsafe fn groups(self, from: *const u8) -> Pair {
        // SAFETY: the caller's.
        unsafe { pair(from) }
    }

    #[inline(always)]
    unsafe fn group(self, from: *const u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn gather(self, from: *const u8, step: usize, taps: usize) -> Pair {
        // SAFETY: the caller's: sixteen bytes of four places, or sixteen pairs of bytes of two.
        unsafe {
            if VNNI {
                let a = _mm_loadu_si128(from.cast());
                let b = _mm_loadu_si128(from.add(step).cast());
                let c = _mm_loadu_si128(from.add(2 * step).cast());
                let d = if taps > 3 {
                    _mm_loadu_si128(from.add(3 * step).cast())
                } else {
                    c
                };
                let [ab, cd] = [_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d)];
                let low = [_mm_unpacklo_epi16(ab, cd), _mm_unpackhi_epi16(ab, cd)];
                let [ab, cd] = [_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d)];
                let high = [_mm_unpacklo_epi16(ab, cd), _mm_unpackhi_epi16(ab, cd)];
                [
                    _mm256_set_m128i(low[1], low[0]),
                    _mm256_set_m128i(high[1], high[0]),
                ]
            } else {
                let a = _mm256_loadu_si256(from.cast());
                let b = _mm256_loadu_si256(from.add(step).cast());
                let [low, high] = [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)];
                [
                    _mm256_permute2x128_si256::<0x20>(low, high),
                    _mm256_permute2x128_si256::<0x31>(low, high),
                ]
            }
        }
    }

    #[inline(always)]
    unsafe fn factors(
        self,
        multipliers: *const u8,
        shifts: *const u8,
        finish: Finish,
    ) -> [Factors; 2] {
        // SAFETY: the caller's.
        let (multipliers, shifts) = unsafe { (pair(multipliers), pair(shifts)) };
        [
            self.factors_8(multipliers[0], shifts[0], finish),
            self.factors_8(multipliers[1], shifts[1], finish),
        ]
    }

    #[inline(always)]
    fn dot(self, sums: Pair, values: __m256i, weights: Pair) -> Pair {
        [
            self.dot_8(sums[0], values, weights[0]),
            self.dot_8(sums[1], values, weights[1]),
        ]
    }

    #[inline(always)]
    fn dot_each(self, sums: Pair, values: Pair, weights: Pair) -> Pair {
        [
            self.dot_8(sums[0], values[0], weights[0]),
            self.dot_8(sums[1], values[1], weights[1]),
        ]
    }

    #[inline(always)]
    fn splat(self, value: i32) -> Pair {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { [_mm256_set1_epi32(value); 2] }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn multiply(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            [
                _mm256_mullo_epi32(a[0], b[0]),
                _mm256_mullo_epi32(a[1], b[1]),
            ]
        }
    }

    #[inline(always)]
    fn shift_right(self, a: Pair, bits: Pair) -> Pair {
        // SAFETY: `self` says that the processor has these instructions.
        unsafe {
            [
                _mm256_srav_epi32(a[0], bits[0]),
                _mm256_srav_epi32(a[1], bits[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn widen(self, from: *const u8) -> Pair {
        // SAFETY: the caller's.
        unsafe {
            let values = _mm_loadu_si128(from.cast());
            [
                _mm256_cvtepi8_epi32(values),
                _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(values)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn put(
        self,
        sums: Pair,
        factors: [Factors; 2],
        finish: Finish,
        to: *mut u8,
        count: usize,
    ) {
        let low = self.rescale_8(sums[0], factors[0], finish);
        let high = self.rescale_8(sums[1], factors[1], finish);
        // SAFETY: the caller's.
        unsafe {
            // Packing keeps to halves of registers: their order is put right between the two.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let bytes = _mm_packs_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
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
    fn lanes(self, sums: Pair) -> [i32; LANES] {
        // SAFETY: both are 64 bytes of any value.
        unsafe { core::mem::transmute(sums) }
    }

    fn bundles(is_one: bool) -> Bundles {
        if is_one { &[4, 1] } else { &[1] }
    }

    #[inline(always)]
    unsafe fn convolve(self, conv: &Conv, finish: Finish, pointers: Pointers) {
        // SAFETY: the caller's. Sixteen registers hold six pixels by one block.
        unsafe {
            let mut block = 0;
            if conv.pixels() == 1 {
                block = tiles::<Self, 1, 1, 4>(self, conv, finish, pointers, block);
                tiles::<Self, 1, 1, 1>(self, conv, finish, pointers, block);
            } else {
                tiles::<Self, 6, 1, 1>(self, conv, finish, pointers, block);
            }
        }
    }
}
