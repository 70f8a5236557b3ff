//! A row of a depthwise convolution: turned into one plane for each channel, then a vector a sum.
//!
//! A plane holds the columns of one channel one after the other, and of each column the rows under
//! the filter: so all taps of an output lie in one piece of at most sixteen bytes, and the next
//! output's begin a stride of columns later. Filters are turned in the same way.

use core::arch::naked_asm;
use core::cell::Cell;
use core::mem::MaybeUninit;

use super::bytes::fill_asm;
use super::{CHANNELS_MAX, Table};

/// The most bytes that the taps of an output may take in a plane.
pub(crate) const TAPS_BYTES: usize = 16;
/// The most bytes of a plane.
pub(crate) const PLANE_MAX: usize = 256;
/// Channels that are turned at once.
const LANES: usize = 8;

/// Values that lie channel by channel: `rows` times `columns` pixels.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<P> {
    /// The first channel of the first pixel.
    pub(crate) values: P,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_step: usize,
    pub(crate) pixel_step: usize,
}

impl<T> Pixels<&[T]> {
    /// Whether all pixels have so many channels.
    fn hold(&self, channels: usize) -> bool {
        let end = || {
            let last_row = self.rows.checked_sub(1)?.checked_mul(self.row_step)?;
            let last = self.columns.checked_sub(1)?.checked_mul(self.pixel_step)?;
            last_row.checked_add(last)?.checked_add(channels)
        };
        end().is_some_and(|end| end <= self.values.len())
    }
}

/// What [`transpose_asm`] takes, in this order.
#[repr(C)]
struct Transposition {
    from: *const u8,
    to: *mut u8,
    columns: usize,
    rows: usize,
    pixel_step: usize,
    row_step: usize,
    column_bytes: usize,
    plane_bytes: usize,
    /// Channels, of which eight at most are turned.
    channels: usize,
}

/// The filters of some channels, one after the other.
#[repr(align(4))]
pub(crate) struct Filters {
    bytes: [MaybeUninit<u8>; CHANNELS_MAX * TAPS_BYTES],
    channels: usize,
}

impl Filters {
    pub(crate) fn new() -> Filters {
        Filters {
            bytes: [const { MaybeUninit::uninit() }; _],
            channels: 0,
        }
    }

    /// Becomes the filters of some channels, whose columns have `column_bytes` bytes, zeros last.
    pub(crate) fn set(&mut self, weights: Pixels<&[u8]>, channels: usize, column_bytes: usize) {
        assert!(
            channels <= CHANNELS_MAX
                && weights.hold(channels)
                && weights.rows <= column_bytes
                && column_bytes <= TAPS_BYTES
                && weights.columns * column_bytes <= TAPS_BYTES,
            "the filters have room"
        );
        self.channels = channels;
        // SAFETY: there are as many bytes as are written.
        unsafe { fill_asm(self.bytes.as_mut_ptr().cast(), channels * TAPS_BYTES, 0) }
        for first in (0..channels).step_by(LANES) {
            let transposition = Transposition {
                from: weights.values[first..].as_ptr(),
                to: self.bytes[first * TAPS_BYTES..].as_mut_ptr().cast(),
                columns: weights.columns,
                rows: weights.rows,
                pixel_step: weights.pixel_step,
                row_step: weights.row_step,
                column_bytes,
                plane_bytes: TAPS_BYTES,
                channels: channels - first,
            };
            // SAFETY: reads so many channels, eight at most, of every pixel, and writes as many
            // bytes, in each channel's sixteen; held to both lengths.
            unsafe { transpose_asm(&transposition) }
        }
    }
}

/// Where planes lie, with room for the vector of the last output.
#[repr(align(4))]
pub(crate) struct Planes {
    bytes: [MaybeUninit<u8>; LANES * PLANE_MAX + TAPS_BYTES],
    is_filled: bool,
}

impl Planes {
    pub(crate) fn new() -> Planes {
        Planes {
            bytes: [const { MaybeUninit::uninit() }; _],
            is_filled: false,
        }
    }

    /// Every value becomes the input's zero point, as what lies outside of the input has it.
    pub(crate) fn fill(&mut self, value: i8) {
        self.is_filled = true;
        // SAFETY: there are as many bytes as are written.
        unsafe {
            fill_asm(
                self.bytes.as_mut_ptr().cast(),
                self.bytes.len(),
                value as u8,
            )
        }
    }
}

/// Some outputs of a row.
pub(crate) struct Row<'a> {
    /// What of the input lies under the filter: its column and row, counted from the first tap's.
    pub(crate) inside: Pixels<&'a [Cell<u8>]>,
    pub(crate) first: [usize; 2],
    /// Columns from an output to the next one, and under the filter.
    pub(crate) stride: usize,
    pub(crate) kernel_columns: usize,
    pub(crate) column_bytes: usize,
    /// Outputs, `output_step` bytes from one to the next.
    pub(crate) pixels: usize,
    pub(crate) output: &'a [Cell<u8>],
    pub(crate) output_step: usize,
    pub(crate) zero_point: i8,
}

/// What [`convolve_row`]'s assembly keeps at its stack pointer, in this order.
#[repr(C)]
struct Block {
    transposition: Transposition,
    planes: *const u8,
    filters: *const u8,
    table: *const i32,
    output: *const Cell<u8>,
    output_step: usize,
    pixels: usize,
    zero_point: i32,
    /// Bytes of a plane from an output's taps to the next one's.
    plane_step: usize,
    /// The next plane.
    next: usize,
}

/// Computes the table's channels of some outputs. Every shift is below 0.
pub(crate) fn convolve_row(row: &Row<'_>, filters: &Filters, table: &Table, planes: &mut Planes) {
    let channels = filters.channels;
    let columns = row
        .pixels
        .wrapping_sub(1)
        .saturating_mul(row.stride)
        .saturating_add(row.kernel_columns);
    let plane_bytes = columns.saturating_mul(row.column_bytes);
    let [first_row, first_column] = row.first;
    let output_end = |last: usize| last.checked_mul(row.output_step)?.checked_add(channels);
    assert!(
        channels > 0
            && channels.is_multiple_of(4)
            && table.is_low()
            && table.quads() == channels / 4
            && row.pixels > 0
            && planes.is_filled
            && plane_bytes <= PLANE_MAX
            && row.kernel_columns * row.column_bytes <= TAPS_BYTES
            && row.inside.hold(channels)
            && first_row.saturating_add(row.inside.rows) <= row.column_bytes
            && first_column.saturating_add(row.inside.columns) <= columns
            && output_end(row.pixels - 1).is_some_and(|end| end <= row.output.len()),
        "the parts of a row fit together"
    );
    let plane_step = row.stride * row.column_bytes;
    let block = Block {
        transposition: Transposition {
            from: row.inside.values.as_ptr().cast(),
            to: planes.bytes[first_column * row.column_bytes + first_row..]
                .as_mut_ptr()
                .cast(),
            columns: row.inside.columns,
            rows: row.inside.rows,
            pixel_step: row.inside.pixel_step,
            row_step: row.inside.row_step,
            column_bytes: row.column_bytes,
            plane_bytes,
            channels,
        },
        planes: planes.bytes.as_ptr().cast(),
        filters: filters.bytes.as_ptr().cast(),
        table: table.quads_at(0, channels / 4).start,
        output: row.output.as_ptr(),
        output_step: row.output_step,
        pixels: row.pixels,
        zero_point: i32::from(row.zero_point),
        plane_step,
        next: 0,
    };
    // SAFETY: for each eight channels (four at the end) the assembly reads them of every pixel
    // inside and writes them into planes, of which eight have room; then it reads sixteen bytes
    // from each output's first tap on, of each plane, which ends in them or in the room after the
    // last, sixteen of each channel's filter, and each quad of the table; it writes four bytes of
    // each output for each quad. All were held to the lengths. Cells may be written through a
    // shared reference, and the planes are borrowed mutably.
    unsafe {
        match plane_step {
            4 => convolve_row_4_asm(&block),
            8 => convolve_row_8_asm(&block),
            _ => convolve_row_any_asm(&block),
        }
    }
}

/// Turns up to eight channels of pixels into planes.
///
/// # Safety
/// The pointers hold what the fields say; there is a row and a column.
#[unsafe(naked)]
unsafe extern "C" fn transpose_asm(transposition: *const Transposition) {
    // r0 r6 values of two columns, r1 of the row, r2 place of the row, r3 columns, r4 rows, r5 from
    // pixel to pixel, r7 from row to row, r8 from column to column, r9 from plane to plane, r11 two
    // columns, r12 place. q1 q2 the lanes' places in both columns.
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "ldr r6, [r0, #32]",
        "ldm r0, {{r1, r2, r3, r4, r5, r7, r8, r9}}",
        "vctp.16 r6",
        "mov r10, #0",
        "vidup.u16 q1, r10, #1",
        "vmul.i16 q1, q1, r9",
        "vadd.i16 q2, q1, r8",
        "lsl r11, r8, #1",
        "12:",
        "mov r0, r1",
        "add r6, r1, r5",
        "mov r12, r2",
        "lsr lr, r3, #1",
        "wls lr, lr, 14f",
        "13:",
        "vpstttt",
        "vldrbt.u16 q0, [r0]",
        "vldrbt.u16 q3, [r6]",
        "vstrbt.16 q0, [r12, q1]",
        "vstrbt.16 q3, [r12, q2]",
        "add r0, r0, r5, lsl #1",
        "add r6, r6, r5, lsl #1",
        "add r12, r11",
        "le lr, 13b",
        "14:",
        "tst r3, #1",
        "beq 15f",
        "vpstt",
        "vldrbt.u16 q0, [r0]",
        "vstrbt.16 q0, [r12, q1]",
        "15:",
        "add r1, r7",
        "add r2, #1",
        "subs r4, #1",
        "bne 12b",
        "pop {{r4-r11, pc}}",
    )
}

/// Offsets of the fields of [`Block`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Transposition, plane_bytes) == 28);
    assert!(core::mem::offset_of!(Transposition, channels) == 32);
    assert!(core::mem::offset_of!(Block, planes) == 36);
    assert!(core::mem::offset_of!(Block, filters) == 40);
    assert!(core::mem::offset_of!(Block, output) == 48);
    assert!(core::mem::offset_of!(Block, pixels) == 56);
    assert!(core::mem::offset_of!(Block, plane_step) == 64);
    assert!(size_of::<Block>() == 72);
};

/// The function for one distance in a plane from output to output, or for any.
macro_rules! convolve_row_asm {
    ($name:ident, $step:literal, $($advance:literal)?) => {
        /// # Safety
        /// The block's pointers hold what its fields say.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(block: *const Block) {
            // r0 r2 r4 r12 sums, r1 r3 r5 r7 planes, r8 table, r9 zero point, r10 from output to
            // output, r11 the same in a plane, r6 output. q0-q3 filters, q4 taps and sums, q5
            // multipliers, q6 factors.
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "sub sp, #76",
                "ldm r0!, {{r1-r12}}",
                "stm sp, {{r1-r12}}",
                "ldm r0, {{r1-r6}}",
                "add r0, sp, #48",
                "stm r0, {{r1-r6}}",
                // The next eight channels.
                "10:",
                "mov r0, sp",
                "bl {transpose}",
                "ldr r1, [sp, #36]",
                // The next four.
                "20:",
                "ldr r9, [sp, #28]",
                "add r3, r1, r9",
                "add r5, r3, r9",
                "add r7, r5, r9",
                "add r0, r7, r9",
                "str r0, [sp, #68]",
                "ldrd r10, r8, [sp, #40]",
                "vldrw.u32 q0, [r10], #16",
                "vldrw.u32 q1, [r10], #16",
                "vldrw.u32 q2, [r10], #16",
                "vldrw.u32 q3, [r10], #16",
                "vldrw.u32 q5, [r8, #16]",
                "vldrw.u32 q6, [r8, #32]",
                "add r0, r8, #48",
                "strd r10, r0, [sp, #40]",
                "ldrd r6, r10, [sp, #48]",
                "add r0, r6, #4",
                "str r0, [sp, #48]",
                "ldrd lr, r9, [sp, #56]",
                "ldr r11, [sp, #64]",
                "dls lr, lr",
                "30:",
                "ldrd r0, r2, [r8]",
                "ldrd r4, r12, [r8, #8]",
                concat!("vldrb.u8 q4, [r1]", $step),
                "vmladava.s8 r0, q4, q0",
                concat!("vldrb.u8 q4, [r3]", $step),
                "vmladava.s8 r2, q4, q1",
                concat!("vldrb.u8 q4, [r5]", $step),
                "vmladava.s8 r4, q4, q2",
                concat!("vldrb.u8 q4, [r7]", $step),
                "vmladava.s8 r12, q4, q3",
                $($advance,)?
                "vmov q4[2], q4[0], r0, r4",
                "vmov q4[3], q4[1], r2, r12",
                rescale!("q4", "q5", "q6", "q7", "r9"),
                "vstrb.32 q4, [r6]",
                "add r6, r10",
                "le lr, 30b",
                "ldr r6, [sp, #32]",
                "subs r6, #4",
                "str r6, [sp, #32]",
                "beq 40f",
                "ldr r9, [sp, #28]",
                "ldr r0, [sp, #36]",
                "ldr r1, [sp, #68]",
                "add r0, r0, r9, lsl #3",
                "cmp r0, r1",
                "bne 20b",
                "ldr r0, [sp]",
                "add r0, #8",
                "str r0, [sp]",
                "b 10b",
                "40:",
                "add sp, #76",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
                transpose = sym transpose_asm,
            )
        }
    };
}

convolve_row_asm!(convolve_row_4_asm, ", #4",);
convolve_row_asm!(convolve_row_8_asm, ", #8",);
convolve_row_asm!(
    convolve_row_any_asm,
    "",
    "add r1, r11
     add r3, r11
     add r5, r11
     add r7, r11"
);
