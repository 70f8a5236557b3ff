//! Four pixels of a convolution against row after row of its filter.

use core::arch::naked_asm;
use core::cell::Cell;

use super::{ChannelTable, Patches, WIDE_QUAD, is_aligned};
use crate::layout::{BLOCK_PIXELS, QUAD};

/// One to four pixels' patches against some rows of a filter.
pub(crate) struct ConvBlock<'a> {
    job: Job,
    filter: &'a [u8],
    table: ChannelTable,
    /// Bytes from the first pixel's first output to the last pixel's last one.
    span: usize,
}

/// What the assembly of [`ConvBlock::run`] keeps at its stack pointer, in this order.
#[repr(C)]
struct Job {
    output: *const Cell<u8>,
    table: *const u32,
    /// From the first pixel's output to that of the second, third and fourth.
    offsets: [usize; 3],
    zero_point: i32,
    output_end: *const Cell<u8>,
    patches: *const Cell<u8>,
    patches_end: *const Cell<u8>,
    quads: usize,
    entry: usize,
    weights: *const u8,
    /// Whether the output's zero point is the least value and every shift is below 0.
    is_plain: usize,
}

impl<'a> ConvBlock<'a> {
    /// Four pixels' patches, widened, against a filter of whole quads.
    ///
    /// A patch has, for each quad of taps, `(k0, k2)` of the four pixels and then `(k1, k3)`.
    pub(crate) fn new(patches: &Patches<'a>, filter: &'a [u8], zero_point: i8) -> ConvBlock<'a> {
        let wide = patches.wide();
        let quads = wide.len() / WIDE_QUAD;
        assert!(
            quads > 0 && is_aligned(wide) && filter.as_ptr().addr().is_multiple_of(4),
            "a patch has a tap, and words are aligned"
        );
        let patches = wide.as_ptr();
        ConvBlock {
            // What `begin` and `run` put in.
            job: Job {
                output: patches,
                table: filter.as_ptr().cast(),
                offsets: [quads; 3],
                zero_point: i32::from(zero_point),
                output_end: patches,
                patches,
                patches_end: wide[quads * WIDE_QUAD..].as_ptr(),
                quads,
                entry: quads,
                weights: filter.as_ptr(),
                is_plain: 0,
            },
            filter,
            table: ChannelTable::new(),
            span: usize::MAX,
        }
    }

    /// The channels that [`ConvBlock::begin`] takes up.
    pub(crate) fn table(&mut self) -> &mut ChannelTable {
        // Until then nothing can run.
        self.span = usize::MAX;
        &mut self.table
    }

    /// Takes up the table's channels, of which the filter's row `first` is the first, and so many
    /// pixels, whose outputs lie `stride` bytes apart.
    pub(crate) fn begin(&mut self, first: usize, pixels: usize, stride: usize) {
        let channels = self.table.len();
        let row = self.job.quads * QUAD;
        let weights = &self.filter[first * row..];
        assert!(
            channels > 0 && weights.len() >= channels * row && (1..=BLOCK_PIXELS).contains(&pixels),
            "the parts of a block fit together"
        );
        let offset = |pixel: usize| pixel.min(pixels - 1) * stride;
        self.job.offsets = [offset(1), offset(2), offset(3)];
        self.job.weights = weights.as_ptr();
        self.job.is_plain = usize::from(self.job.zero_point == -128 && self.table.is_low());
        self.span = offset(3) + channels;
    }

    /// Computes the channels of the pixels whose patches are there; `outputs` begin with the first.
    pub(crate) fn run(&mut self, outputs: &[Cell<u8>]) {
        assert!(outputs.len() >= self.span, "each output has a place");
        self.job.table = self.table.as_ptr();
        self.job.output = outputs.as_ptr();
        self.job.output_end = outputs.as_ptr().wrapping_add(self.table.len());
        // SAFETY: the assembly reads `quads` quads of four patches, as many quads of a row for each
        // of the table's channels, and the table's words; it writes a byte for each channel from
        // each pixel's offset on. All were held against the slices' lengths, words against their
        // alignment, here and in `begin`. Cells may be written through a shared reference.
        unsafe { convolve_block_asm(&self.job) }
    }
}

/// Offsets of the fields of [`Job`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Job, zero_point) == 20);
    assert!(core::mem::offset_of!(Job, output_end) == 24);
    assert!(core::mem::offset_of!(Job, patches) == 28);
    assert!(core::mem::offset_of!(Job, quads) == 36);
    assert!(core::mem::offset_of!(Job, weights) == 44);
    assert!(core::mem::offset_of!(Job, is_plain) == 48);
};

/// The first values of a quad, whose weights `r8` has: sums begin with the bias in `r11`.
macro_rules! first_half {
    () => {
        "
        ldm.w r0!, {{r4, r5, r6, r7}}
        sxtb16 r12, r8
        smlad r4, r4, r12, r11
        smlad r5, r5, r12, r11
        smlad r6, r6, r12, r11
        smlad r7, r7, r12, r11
        "
    };
}

/// Half a quad of one row against four patches, the weights of which come from `$weights`.
macro_rules! half_quad {
    ($weights:literal) => {
        concat!(
            "ldm.w r0!, {{r2, r3, r10, r11}}\n",
            "sxtb16 r12, ",
            $weights,
            "\n",
            "smlad r4, r2, r12, r4\n",
            "smlad r5, r3, r12, r5\n",
            "smlad r6, r10, r12, r6\n",
            "smlad r7, r11, r12, r7\n",
        )
    };
}

/// What follows the first half of two quads.
macro_rules! two_quads_rest {
    () => {
        concat!(
            half_quad!("r8, ror #8"),
            half_quad!("r9"),
            half_quad!("r9, ror #8"),
        )
    };
}

/// Two quads of one row against four patches: 25 instructions for 32 products.
macro_rules! two_quads {
    () => {
        concat!(
            "ldrd r8, r9, [r1], #8\n",
            half_quad!("r8"),
            two_quads_rest!(),
        )
    };
}

/// One pixel's sum, rescaled for a shift in `r10` of 0 or more.
macro_rules! rescale_upwards {
    ($x:literal) => {
        concat!(
            "lsl ", $x, ", ", $x, ", r10\n", "smmlar ", $x, ", ", $x, ", r12, ", $x, "\n", "qadd ",
            $x, ", ", $x, ", lr\n", "ssat ", $x, ", #8, ", $x, "\n",
        )
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn convolve_block_asm(job: *const Job) {
    // r0 patches, r1 weights, r2 r3 r10 r11 inputs, r4-r7 sums of the four pixels, r8 r9 weights,
    // r12 widened weights, lr end of the patches. The job lies at the stack pointer, so that one
    // LDM brings what the end of a channel needs.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "sub sp, #48",
        "ldm r0!, {{r1, r2, r4-r9}}",
        "stm sp, {{r1, r2, r4-r9}}",
        "ldm r0, {{r4, r5, r6, r7, r9}}",
        // One quad or two begin the sums, then a part of the four-fold loop, then whole rounds of it.
        "sub r3, r5, #1",
        "lsrs r3, r3, #1",
        "adr r6, 32f",
        "beq 12f",
        "sub r3, #1",
        "and r3, r3, #3",
        "rsb r3, r3, #3",
        "mov r8, #100",
        "adr r6, 20f",
        "mla r6, r3, r8, r6",
        "12:",
        "orr r6, r6, #1",
        "adr r8, 10f",
        "adr r3, 15f",
        "tst r5, #1",
        "it eq",
        "moveq r8, r3",
        "orr r8, r8, #1",
        "mov r1, r7",
        // With the least zero point a negative sum is the least result, however it is rounded.
        "adr r7, 50f",
        "adr r3, 31f",
        "cmp r9, #0",
        "it ne",
        "movne r7, r3",
        "orr r7, r7, #1",
        "add r12, sp, #32",
        "mov r5, r8",
        "stm r12, {{r4, r5, r6, r7}}",
        "ldr r11, [r2], #8",
        "str r2, [sp, #4]",
        "ldrd r0, lr, [sp, #28]",
        "bx r8",
        // The first quad, to the bias in r11.
        ".p2align 2",
        "10:",
        "ldr r8, [r1], #4",
        first_half!(),
        half_quad!("r8, ror #8"),
        "ldr pc, [sp, #40]",
        // The first two.
        ".p2align 2",
        "15:",
        "ldrd r8, r9, [r1], #8",
        first_half!(),
        two_quads_rest!(),
        "ldr pc, [sp, #40]",
        ".p2align 2",
        "20:",
        two_quads!(),
        two_quads!(),
        two_quads!(),
        two_quads!(),
        "cmp.w r0, lr",
        "bne.w 20b",
        ".p2align 2",
        "32:",
        // r0 output, r2 table, r3 r8 r9 offsets, r10 factor, r11 the next bias, r12 2m, lr zero point.
        "ldm sp, {{r0, r2, r3, r8, r9, lr}}",
        "ldm.w r2!, {{r10, r11, r12}}",
        "ldr pc, [sp, #44]",
        ".p2align 2",
        "31:",
        rescale_plain!("r4"),
        rescale_plain!("r5"),
        rescale_plain!("r6"),
        rescale_plain!("r7"),
        "33:",
        "strb r7, [r0, r9]",
        "strb r6, [r0, r8]",
        "strb r5, [r0, r3]",
        "strb r4, [r0], #1",
        "strd r0, r2, [sp]",
        "ldr r12, [sp, #24]",
        "cmp r0, r12",
        "ldrd r0, lr, [sp, #28]",
        "beq 40f",
        "ldr pc, [sp, #36]",
        "40:",
        "add sp, #48",
        "pop {{r4-r11, pc}}",
        // Other zero points, and shifts that are rare.
        ".p2align 2",
        "50:",
        "cmp r10, #0",
        "bge 51f",
        rescale!("r4"),
        rescale!("r5"),
        rescale!("r6"),
        rescale!("r7"),
        "b 33b",
        "51:",
        rescale_upwards!("r4"),
        rescale_upwards!("r5"),
        rescale_upwards!("r6"),
        rescale_upwards!("r7"),
        "b 33b",
    )
}
