//! Depthwise convolution for the vector extension: the channels of a row one plane after another.

use core::cell::Cell;

use super::{Channels, rows_in_order, taps_inside};
use crate::arch::mve::{
    self, FILTERS_MAX, Filters, PLANES_BYTES, Pixels, Places, Planes, Row, Shape, TAPS_BYTES, Table,
};
use crate::plan::Plan;
use crate::record::OpRecord;

/// Channels whose planes are made at once where those of all have no room.
const GROUP: usize = 8;

/// How a filter goes over an image; indexes are the row's and the column's.
struct Course {
    input: [usize; 2],
    output: [usize; 2],
    kernel: [u16; 2],
    stride: [usize; 2],
    dilation: [u8; 2],
    pad: [i32; 2],
}

impl Course {
    fn of(op: &OpRecord, input: [u16; 4], output: [u16; 4], channels: usize) -> Course {
        let course = Course {
            input: [1, 2].map(|axis| usize::from(input[axis])),
            output: [1, 2].map(|axis| usize::from(output[axis])),
            kernel: op.kernel,
            stride: op.stride.map(usize::from),
            dilation: op.dilation,
            pad: op.pad.map(i32::from),
        };
        // A single column is as well a single row, if all of it is read before any output is made.
        let is_column = course.input[1] == 1
            && course.output[1] == 1
            && course.kernel[1] == 1
            && course.pad[1] == 0
            && course.dilation[0] == 1;
        let turned = Course {
            input: [1, course.input[0]],
            output: [1, course.output[0]],
            kernel: [1, course.kernel[0]],
            stride: [1, course.stride[0]],
            dilation: [1, 1],
            pad: [0, course.pad[0]],
        };
        if is_column && turned.planes_bytes(channels) <= PLANES_BYTES {
            return turned;
        }
        course
    }

    /// Bytes of a column of a plane. Those of four, as most filters have, make for fixed steps.
    fn column_bytes(&self) -> usize {
        match self.kernel[0] {
            2 | 3 => 4,
            rows => usize::from(rows),
        }
    }

    fn taps_bytes(&self) -> usize {
        self.column_bytes()
            .saturating_mul(usize::from(self.kernel[1]))
    }

    /// Bytes of the planes for so many outputs of a row.
    fn plane_bytes(&self, outputs: usize) -> usize {
        let step = self.stride[1] * self.column_bytes();
        let last = (outputs - 1).saturating_mul(step);
        last.saturating_add(self.taps_bytes())
    }

    /// Bytes of the planes of all channels for a row.
    fn planes_bytes(&self, channels: usize) -> usize {
        self.plane_bytes(self.output[1]).saturating_mul(channels)
    }
}

/// As the portable kernel; false, with nothing done, where this one does not serve: more outputs
/// than inputs, channels that are no multiple of four, many taps, a factor of 1/2 or more.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
) -> bool {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let channels = usize::from(source.shape[3]);
    let course = Course::of(op, source.shape, result.shape, channels);
    let channel_table = Channels::of(plan, op, channels);
    // Outputs of a row that go into planes at once.
    let room = PLANES_BYTES / GROUP;
    let suits = usize::from(result.shape[3]) == channels
        && channels.is_multiple_of(4)
        && course.dilation[1] == 1
        && course.taps_bytes() <= TAPS_BYTES
        && channel_table.shifts_are_low();
    if !suits {
        return false;
    }
    let column_bytes = course.column_bytes();
    let [height, width] = course.input;
    let [rows, columns] = course.output;
    let [kernel_rows, kernel_columns] = course.kernel.map(usize::from);
    let stride = course.stride[1];
    let filter = &plan.constants()[op.weights_offset as usize..];
    let filter = &filter[..op.filter_bytes(source.shape, result.shape) as usize];
    let (mut filters, mut table, mut planes) = (Filters::new(), Table::new(true), Planes::new());
    let mut set = None;
    let places = Places::of(column_bytes, kernel_columns);
    // Where the planes of all channels have room, rows stay in them while outputs go on.
    let is_whole_row = course.planes_bytes(channels) <= PLANES_BYTES;
    let piece = if is_whole_row {
        columns
    } else {
        ((room - course.taps_bytes()) / (stride * column_bytes) + 1).min(columns)
    };
    let is_kept = is_whole_row && course.dilation[0] == 1;
    let group = if is_whole_row { channels } else { GROUP };
    let mut kept = 0..0;
    let mut is_filled = false;
    for y in rows_in_order(op, rows) {
        let top = (y * course.stride[0]) as i32 - course.pad[0];
        let taps = taps_inside(top, course.kernel[0], course.dilation[0], height);
        let row_of = |tap: usize| top + tap as i32 * i32::from(course.dilation[0]);
        let is_whole = taps == (0, kernel_rows);
        let line = &output[y * columns * channels..][..columns * channels];
        for (index, pixels) in line.chunks(piece * channels).enumerate() {
            let count = pixels.len() / channels;
            let left = (index * piece * stride) as i32 - course.pad[1];
            let shape = Shape {
                column_bytes,
                plane_bytes: course.plane_bytes(count),
            };
            let under = (shape.plane_bytes / column_bytes) as i32;
            let first = (-left).clamp(0, under);
            let end = (width as i32 - left).clamp(first, under);
            // What lies outside is the same for the rows in the middle.
            if !is_filled || !is_whole {
                planes.fill(source.zero_point);
                kept = 0..0;
            }
            is_filled = is_whole && piece == columns;
            // The rows to be turned into planes, and the byte of a column for the first.
            let mut new = row_of(taps.0)..row_of(taps.1);
            let (mut new_rows, mut byte, mut phase) = (taps.1 - taps.0, taps.0, 0);
            if is_kept {
                let window = new.clone();
                if kept.contains(&window.start) {
                    new.start = kept.end.min(window.end);
                } else if kept.contains(&(window.end - 1)) {
                    new.end = kept.start;
                }
                kept = window;
                new_rows = new.len();
                byte = new.start.rem_euclid(column_bytes as i32) as usize;
                phase = top.rem_euclid(column_bytes as i32) as usize;
            }
            for channel in (0..channels).step_by(group) {
                if new_rows > 0 && first < end {
                    let at = new.start as usize * width + (left + first) as usize;
                    let inside = Pixels {
                        values: &input[at * channels + channel..],
                        rows: new_rows,
                        columns: (end - first) as usize,
                        row_step: usize::from(course.dilation[0]) * width * channels,
                        pixel_step: channels,
                    };
                    let turned = group.min(channels - channel);
                    planes.turn(inside, turned, [byte, first as usize], shape);
                }
                let group_end = (channel + group).min(channels);
                let mut begin = channel;
                while begin < group_end {
                    let block = begin / FILTERS_MAX * FILTERS_MAX;
                    if set != Some(block) {
                        let weights = Pixels {
                            values: &filter[block..],
                            rows: kernel_rows,
                            columns: kernel_columns,
                            row_step: kernel_columns * channels,
                            pixel_step: channels,
                        };
                        let block_channels = FILTERS_MAX.min(channels - block);
                        filters.set(weights, block_channels, column_bytes);
                        table.clear();
                        channel_table.push(&mut table, block, block_channels);
                        set = Some(block);
                    }
                    let end = group_end.min(block + FILTERS_MAX);
                    let row = Row {
                        shape,
                        plane: begin - channel,
                        places: &places,
                        phase,
                        stride,
                        kernel_columns,
                        pixels: count,
                        output: &pixels[begin..],
                        output_step: channels,
                        zero_point: result.zero_point,
                    };
                    let range = (begin - block, end - begin);
                    mve::convolve_row(&row, range, &filters, &table, &planes);
                    begin = end;
                }
            }
            mve::clamp(pixels, op.clamp);
        }
    }
    true
}
