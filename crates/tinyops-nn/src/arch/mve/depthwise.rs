//! A row of a depthwise convolution: turned into one plane for each channel, then a vector a sum.
//!
//! A plane holds the columns of one channel one after the other, and of each column the rows under
//! the filter: so all taps of an output lie in one piece of at most sixteen bytes, and the next
//! output's begin a stride of columns later. Filters are turned in the same way.
//!
//! Where the planes of all channels have room, a row stays in its place while outputs go on: row
//! `r` lies in byte `r mod column`, and filters are read in the order that this makes.

use core::arch::naked_asm;
use core::cell::Cell;
use core::mem::MaybeUninit;

use super::Table;
use super::bytes::fill_asm;

/// The most bytes that the taps of an output may take in a plane.
pub(crate) const TAPS_BYTES: usize = 16;
/// The most channels of [`Filters`]; a layer with more sets them again.
pub(crate) const FILTERS_MAX: usize = 64;
/// The bytes of all planes.
pub(crate) const PLANES_BYTES: usize = 3584;

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
    pub(super) fn hold(&self, channels: usize) -> bool {
        let end = || {
            let last_row = self.rows.checked_sub(1)?.checked_mul(self.row_step)?;
            let last = self.columns.checked_sub(1)?.checked_mul(self.pixel_step)?;
            last_row.checked_add(last)?.checked_add(channels)
        };
        end().is_some_and(|end| end <= self.values.len())
    }
}

/// How planes lie.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes of a column: the rows under the filter, or more.
    pub(crate) column_bytes: usize,
    pub(crate) plane_bytes: usize,
}

/// What [`turn_asm`] takes and changes, in this order.
#[repr(C)]
struct Turning {
    from: *const u8,
    to: *mut u8,
    columns: usize,
    rows: usize,
    pixel_step: usize,
    row_step: usize,
    column_bytes: usize,
    plane_bytes: usize,
    channels: usize,
    /// Rows before the first byte of a column is the next.
    rows_to_wrap: usize,
}

/// The filters of some channels, one after the other.
#[repr(align(4))]
pub(crate) struct Filters {
    bytes: [MaybeUninit<u8>; FILTERS_MAX * TAPS_BYTES],
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
            (1..=FILTERS_MAX).contains(&channels)
                && weights.hold(channels)
                && weights.rows <= column_bytes
                && column_bytes <= TAPS_BYTES
                && weights.columns * column_bytes <= TAPS_BYTES,
            "the filters have room"
        );
        self.channels = channels;
        let mut turning = Turning {
            from: weights.values.as_ptr(),
            to: self.bytes.as_mut_ptr().cast(),
            columns: weights.columns,
            rows: weights.rows,
            pixel_step: weights.pixel_step,
            row_step: weights.row_step,
            column_bytes,
            plane_bytes: TAPS_BYTES,
            channels,
            rows_to_wrap: column_bytes,
        };
        // SAFETY: there are sixteen bytes for each channel to be filled, and so many channels of
        // every weight to be read and written into each channel's sixteen.
        unsafe {
            fill_asm(self.bytes.as_mut_ptr().cast(), channels * TAPS_BYTES, 0);
            turn_asm(&mut turning);
        }
    }
}

/// Where planes lie, with room for the vector of the last output.
#[repr(align(4))]
pub(crate) struct Planes {
    bytes: [MaybeUninit<u8>; PLANES_BYTES + TAPS_BYTES],
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

    /// Turns pixels of some channels into planes, from a byte of a column and from a column on.
    pub(crate) fn turn(
        &mut self,
        pixels: Pixels<&[Cell<u8>]>,
        channels: usize,
        [byte, column]: [usize; 2],
        shape: Shape,
    ) {
        let Shape {
            column_bytes,
            plane_bytes,
        } = shape;
        let columns_end = column
            .saturating_add(pixels.columns)
            .saturating_mul(column_bytes);
        let planes_end = channels.checked_mul(plane_bytes);
        assert!(
            channels > 0
                && pixels.hold(channels)
                && pixels.rows <= column_bytes
                && byte < column_bytes
                && columns_end <= plane_bytes
                && planes_end.is_some_and(|end| end <= PLANES_BYTES),
            "the planes have room"
        );
        let mut turning = Turning {
            from: pixels.values.as_ptr().cast(),
            to: self.bytes[column * column_bytes + byte..]
                .as_mut_ptr()
                .cast(),
            columns: pixels.columns,
            rows: pixels.rows,
            pixel_step: pixels.pixel_step,
            row_step: pixels.row_step,
            column_bytes,
            plane_bytes,
            channels,
            rows_to_wrap: column_bytes - byte,
        };
        // SAFETY: reads so many channels of every pixel and writes as many planes, of each the
        // columns after `column` and in each of them a byte for each row, from `byte` on and then
        // from the first on. All were held to the lengths.
        unsafe { turn_asm(&mut turning) }
    }
}

/// Turns channels of pixels into planes, eight at a time.
///
/// # Safety
/// The pointers hold what the fields say; there is a row, a column, a channel.
#[unsafe(naked)]
unsafe extern "C" fn turn_asm(turning: *mut Turning) {
    // r0 r6 values of two columns, r1 of the row, r2 place of the row, r3 columns, r4 rows, r5 from
    // pixel to pixel, r7 from row to row, r8 from column to column, r9 from plane to plane, r10 rows
    // to the first byte of a column, r11 two columns, r12 place. q1 q2 the lanes' places in both
    // columns.
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r0, r4-r11, lr}}",
        "ldr r9, [r0, #28]",
        "ldr r8, [r0, #24]",
        "mov r10, #0",
        "vidup.u16 q1, r10, #1",
        "vmul.i16 q1, q1, r9",
        "vadd.i16 q2, q1, r8",
        "lsl r11, r8, #1",
        // The next eight channels.
        "11:",
        "ldr r10, [r0, #36]",
        "ldr r6, [r0, #32]",
        "vctp.16 r6",
        "ldm r0, {{r1, r2, r3, r4, r5, r7}}",
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
        "subs r10, #1",
        "it eq",
        "subeq r2, r2, r8",
        "subs r4, #1",
        "bne 12b",
        "ldr r0, [sp]",
        "ldrd r1, r2, [r0]",
        "ldr r3, [r0, #32]",
        "add r1, #8",
        "add r2, r2, r9, lsl #3",
        "strd r1, r2, [r0]",
        "subs r3, #8",
        "str r3, [r0, #32]",
        "bgt 11b",
        "pop {{r0, r4-r11, pc}}",
    )
}

/// Where the bytes of a filter lie: the row of each byte's tap, and the first byte of its column.
pub(crate) struct Places([[u8; TAPS_BYTES]; 2]);

impl Places {
    pub(crate) fn of(column_bytes: usize, kernel_columns: usize) -> Places {
        // Behind the taps lie zeros, of which the last byte is one.
        let mut places = [[0; TAPS_BYTES], [NO_PLACE; TAPS_BYTES]];
        let (mut row, mut column) = (0, 0);
        for place in 0..TAPS_BYTES.min(column_bytes * kernel_columns) {
            places[0][place] = row as u8;
            places[1][place] = column as u8;
            row += 1;
            if row == column_bytes {
                (row, column) = (0, place + 1);
            }
        }
        Places(places)
    }
}

/// So far behind the filter that no row leads back into it; the assembly takes the last byte then.
const NO_PLACE: u8 = 64;

/// Some outputs of a row.
pub(crate) struct Row<'a> {
    pub(crate) shape: Shape,
    /// The first plane.
    pub(crate) plane: usize,
    pub(crate) places: &'a Places,
    /// The byte of a column that the filter's first row meets.
    pub(crate) phase: usize,
    /// Columns from an output to the next one, and under the filter.
    pub(crate) stride: usize,
    pub(crate) kernel_columns: usize,
    /// Outputs, `output_step` bytes from one to the next.
    pub(crate) pixels: usize,
    pub(crate) output: &'a [Cell<u8>],
    pub(crate) output_step: usize,
    pub(crate) zero_point: i8,
}

/// What [`convolve_row`]'s assembly keeps at its stack pointer, in this order.
#[repr(C)]
struct Block {
    planes: *const u8,
    plane_bytes: usize,
    filters: *const u8,
    table: *const i32,
    output: *const Cell<u8>,
    output_step: usize,
    pixels: usize,
    zero_point: i32,
    /// Bytes of a plane from an output's taps to the next one's.
    plane_step: usize,
    table_end: *const i32,
    places: *const u8,
    phase: usize,
    column_bytes: usize,
}

/// Computes channels `first..first + channels` of the filters' and the table's of some outputs.
/// They are four or a multiple; every shift is below 0.
pub(crate) fn convolve_row(
    row: &Row<'_>,
    (first, channels): (usize, usize),
    filters: &Filters,
    table: &Table,
    planes: &Planes,
) {
    let Shape {
        column_bytes,
        plane_bytes,
    } = row.shape;
    let columns = row.pixels.saturating_sub(1).saturating_mul(row.stride);
    let columns_end = columns
        .saturating_add(row.kernel_columns)
        .saturating_mul(column_bytes);
    let planes_end = row
        .plane
        .saturating_add(channels)
        .saturating_mul(plane_bytes);
    let output_end = |last: usize| last.checked_mul(row.output_step)?.checked_add(channels);
    assert!(
        channels > 0
            && first.is_multiple_of(4)
            && channels.is_multiple_of(4)
            && table.is_low()
            && table.quads() * 4 == filters.channels
            && first + channels <= filters.channels
            && row.pixels > 0
            && planes.is_filled
            && columns_end <= plane_bytes
            && planes_end <= PLANES_BYTES
            && output_end(row.pixels - 1).is_some_and(|end| end <= row.output.len()),
        "the parts of a row fit together"
    );
    let words = table.quads_at(first / 4, channels / 4);
    let plane_step = row.stride * column_bytes;
    let block = Block {
        planes: planes.bytes[row.plane * plane_bytes..].as_ptr().cast(),
        plane_bytes,
        filters: filters.bytes[first * TAPS_BYTES..].as_ptr().cast(),
        table: words.start,
        output: row.output.as_ptr(),
        output_step: row.output_step,
        pixels: row.pixels,
        zero_point: i32::from(row.zero_point),
        plane_step,
        table_end: words.end,
        places: row.places.0.as_ptr().cast(),
        phase: row.phase,
        column_bytes,
    };
    // SAFETY: for each four channels the assembly reads sixteen bytes from each output's first tap
    // on, of each plane, which end in the planes or in the room after the last; sixteen of each
    // channel's filter, in whichever order; and a quad of the table; it writes four bytes of each
    // output. All were held to the lengths. Cells may be written through a shared reference.
    unsafe {
        match plane_step {
            4 => convolve_row_4_asm(&block),
            8 => convolve_row_8_asm(&block),
            _ => convolve_row_any_asm(&block),
        }
    }
}

/// Offsets of the fields of [`Block`] and [`Turning`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Turning, column_bytes) == 24);
    assert!(core::mem::offset_of!(Turning, channels) == 32);
    assert!(core::mem::offset_of!(Block, filters) == 8);
    assert!(core::mem::offset_of!(Block, output) == 16);
    assert!(core::mem::offset_of!(Block, pixels) == 24);
    assert!(core::mem::offset_of!(Block, plane_step) == 32);
    assert!(core::mem::offset_of!(Block, places) == 40);
    assert!(size_of::<Block>() == 52);
};

/// The function for one distance in a plane from output to output, or for any.
macro_rules! convolve_row_asm {
    ($name:ident, $step:literal, $($advance:literal)?) => {
        /// # Safety
        /// The block's pointers hold what its fields say.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(block: *const Block) {
            // r0 r2 r4 r12 sums, r1 r3 r5 r7 planes, r6 output, r8 table, r9 zero point, r10 from
            // output to output, r11 the same in a plane. q0-q3 filters, q4 taps and sums, q5
            // multipliers, q6 factors.
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "sub sp, #60",
                // The filters' bytes in the order in which they meet the planes': the row less the
                // phase, in a circle.
                "add r0, #40",
                "ldm r0, {{r1, r2, r3}}",
                "vldrb.u8 q4, [r1]",
                "vldrb.u8 q0, [r1, #16]",
                "vsub.i8 q4, q4, r2",
                "vcmp.s8 lt, q4, zr",
                "vpst",
                "vaddt.i8 q4, q4, r3",
                "vadd.i8 q4, q4, q0",
                "vmov.i8 q0, #15",
                "vmin.u8 q4, q4, q0",
                "add r1, sp, #40",
                "vstrb.8 q4, [r1]",
                "sub r0, #40",
                "ldm r0, {{r1-r10}}",
                "stm sp, {{r1-r10}}",
                // The next four channels.
                "20:",
                "ldr r9, [sp, #4]",
                "add r3, r1, r9",
                "add r5, r3, r9",
                "add r7, r5, r9",
                "add r0, r7, r9",
                "str r0, [sp]",
                "add r0, sp, #40",
                "vldrb.u8 q4, [r0]",
                "ldrd r10, r8, [sp, #8]",
                "vldrb.u8 q0, [r10, q4]",
                "add r10, #16",
                "vldrb.u8 q1, [r10, q4]",
                "add r10, #16",
                "vldrb.u8 q2, [r10, q4]",
                "add r10, #16",
                "vldrb.u8 q3, [r10, q4]",
                "add r10, #16",
                "vldrw.u32 q5, [r8, #16]",
                "vldrw.u32 q6, [r8, #32]",
                "add r0, r8, #48",
                "strd r10, r0, [sp, #8]",
                "ldrd r6, r10, [sp, #16]",
                "add r0, r6, #4",
                "str r0, [sp, #16]",
                "ldrd lr, r9, [sp, #24]",
                "ldr r11, [sp, #32]",
                "dls lr, lr",
                "30:",
                "ldm r8, {{r0, r2, r4, r12}}",
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
                "ldr r8, [sp, #12]",
                "ldr r0, [sp, #36]",
                "ldr r1, [sp]",
                "cmp r0, r8",
                "bne 20b",
                "add sp, #60",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
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
