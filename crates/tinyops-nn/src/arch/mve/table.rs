//! Biases, multipliers and shifts in vectors of four channels.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

/// Channels of one table; an op with more fills it again.
pub(crate) const CHANNELS_MAX: usize = 128;

/// Words of four channels: biases, multipliers, and `2^(31 + shift)` or the shifts themselves.
const QUAD_WORDS: usize = 12;

/// Some channels of an op, as the assembly reads them.
#[repr(C, align(8))]
pub(crate) struct Table {
    words: [MaybeUninit<i32>; CHANNELS_MAX / 4 * QUAD_WORDS],
    quads: usize,
    is_low: bool,
}

/// What fills a table, in this order.
#[repr(C)]
struct Filling {
    biases: *const u8,
    multipliers: *const u8,
    shifts: *const u8,
    to: *mut MaybeUninit<i32>,
    count: usize,
    /// Not 0 if the factors shall follow, 0 for the shifts.
    is_low: usize,
    /// The one multiplier of all channels or the greatest shift of packed ones.
    shift: i32,
    multiplier: i32,
}

impl Table {
    /// A table for channels with shifts below 0, or of any sign.
    pub(crate) fn new(is_low: bool) -> Table {
        Table {
            words: [const { MaybeUninit::uninit() }; _],
            quads: 0,
            is_low,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.quads = 0;
    }

    /// Puts in channels with a multiplier and shift each.
    pub(crate) fn push_wide(&mut self, biases: &[[u8; 4]], multipliers: &[[u8; 4]], shifts: &[u8]) {
        let count = biases.len();
        assert!(
            multipliers.len() == count && shifts.len() == count && is_aligned(multipliers),
            "each channel has its own"
        );
        let mut filling = self.filling(biases);
        filling.multipliers = multipliers.as_ptr().cast();
        filling.shifts = shifts.as_ptr();
        // SAFETY: reads `count` words of both, and as many bytes of the shifts; writes three
        // words for each channel, which `filling` has held to the table's length.
        unsafe { push_wide_asm(&filling) }
    }

    /// Puts in channels with one multiplier and shift.
    pub(crate) fn push_one(&mut self, biases: &[[u8; 4]], multiplier: i32, shift: i8) {
        let mut filling = self.filling(biases);
        filling.multiplier = multiplier;
        filling.shift = i32::from(shift);
        if self.is_low {
            filling.shift = 1 << ((31 + filling.shift) & 31);
        }
        // SAFETY: reads as many words as there are biases; writes three for each, which
        // `filling` has held to the table's length.
        unsafe { push_one_asm(&filling) }
    }

    /// Puts in packed channels, see [`crate::layout::unpack_channel`].
    pub(crate) fn push_packed(&mut self, words: &[[u8; 4]], biases: &[[u8; 3]], shift_max: i8) {
        assert!(words.len() == biases.len(), "each channel has a bias");
        let mut filling = self.filling(words);
        filling.multipliers = words.as_ptr().cast();
        filling.biases = biases.as_ptr().cast();
        filling.shift = i32::from(shift_max);
        // SAFETY: reads as many words and three bytes each of the biases; writes three words for
        // each channel, which `filling` has held to the table's length.
        unsafe { push_packed_asm(&filling) }
    }

    /// Takes room for some channels.
    fn filling(&mut self, words: &[[u8; 4]]) -> Filling {
        let (first, count) = (self.quads, words.len());
        self.quads += count.div_ceil(4);
        assert!(
            count > 0 && self.quads <= CHANNELS_MAX / 4 && is_aligned(words),
            "the table has room"
        );
        Filling {
            biases: words.as_ptr().cast(),
            multipliers: core::ptr::null(),
            shifts: core::ptr::null(),
            to: self.words[first * QUAD_WORDS..].as_mut_ptr(),
            count,
            is_low: usize::from(self.is_low),
            shift: 0,
            multiplier: 0,
        }
    }

    pub(super) fn is_low(&self) -> bool {
        self.is_low
    }

    pub(super) fn quads(&self) -> usize {
        self.quads
    }

    /// Some of the quads that were put in: the first word and one past the last.
    pub(super) fn quads_at(&self, first: usize, count: usize) -> core::ops::Range<*const i32> {
        assert!(first + count <= self.quads, "the table has been filled");
        let words = self.words[first * QUAD_WORDS..][..count * QUAD_WORDS].as_ptr_range();
        words.start.cast()..words.end.cast()
    }
}

fn is_aligned(words: &[[u8; 4]]) -> bool {
    words.as_ptr().addr().is_multiple_of(4)
}

/// Offsets of the fields of [`Filling`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Filling, to) == 12);
    assert!(core::mem::offset_of!(Filling, count) == 16);
    assert!(core::mem::offset_of!(Filling, shift) == 24);
    assert!(size_of::<Filling>() == 32);
};

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn push_one_asm(filling: *const Filling) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "ldm r0, {{r1-r7, lr}}",
        "vdup.32 q1, lr",
        "vdup.32 q2, r7",
        "dlstp.32 lr, r5",
        "2:",
        "vldrw.u32 q0, [r1], #16",
        "vstrw.32 q0, [r4], #16",
        "vstrw.32 q1, [r4], #16",
        "vstrw.32 q2, [r4], #16",
        "letp lr, 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn push_wide_asm(filling: *const Filling) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "ldm r0, {{r1-r6}}",
        "mov r7, #31",
        "vmov.i32 q3, #1",
        "dlstp.32 lr, r5",
        "2:",
        "vldrw.u32 q0, [r1], #16",
        "vldrw.u32 q1, [r2], #16",
        "vldrb.s32 q2, [r3], #4",
        "cbz r6, 3f",
        "vadd.i32 q2, q2, r7",
        "vshl.u32 q2, q3, q2",
        "3:",
        "vstrw.32 q0, [r4], #16",
        "vstrw.32 q1, [r4], #16",
        "vstrw.32 q2, [r4], #16",
        "letp lr, 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn push_packed_asm(filling: *const Filling) {
    // The biases' bytes of four channels lie 3 apart: their places are in q4.
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r9, lr}}",
        "vpush {{d8-d9}}",
        "ldm r0, {{r1-r7}}",
        "mov r8, #31",
        "mov r9, #3",
        "mov r0, #0",
        "vmov.i32 q3, #1",
        "vidup.u32 q4, r0, #1",
        "vmul.i32 q4, q4, r9",
        "dlstp.32 lr, r5",
        "2:",
        "vldrb.u32 q0, [r1, q4]",
        "add r0, r1, #1",
        "vldrb.u32 q1, [r0, q4]",
        "add r0, r1, #2",
        "vldrb.s32 q2, [r0, q4]",
        "add r1, #12",
        "vsli.32 q0, q1, #8",
        "vsli.32 q0, q2, #16",
        "vldrw.u32 q1, [r2], #16",
        "vshr.u32 q2, q1, #30",
        "vneg.s32 q2, q2",
        "vadd.i32 q2, q2, r7",
        "vbic.i32 q1, #0xc0000000",
        "vorr.i32 q1, #0x40000000",
        "cbz r6, 3f",
        "vadd.i32 q2, q2, r8",
        "vshl.u32 q2, q3, q2",
        "3:",
        "vstrw.32 q0, [r4], #16",
        "vstrw.32 q1, [r4], #16",
        "vstrw.32 q2, [r4], #16",
        "letp lr, 2b",
        "vpop {{d8-d9}}",
        "pop {{r4-r9, pc}}",
    )
}
