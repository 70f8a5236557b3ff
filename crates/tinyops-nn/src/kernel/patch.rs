//! The inputs under a filter in one piece.

use core::cell::Cell;

use super::{copy, fill};
use crate::record::OpRecord;

/// Copies the inputs under the filter at one output pixel into one piece.
pub(crate) fn gather(
    op: &OpRecord,
    input: &[Cell<u8>],
    shape: [usize; 3],
    at: [usize; 2],
    zero_point: i8,
    patch: &[Cell<u8>],
) {
    let [height, width, channels] = shape;
    let kernel_width = usize::from(op.kernel[1]);
    let [dilation_y, dilation_x] = op.dilation.map(i32::from);
    let top = at[0] as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
    let left = at[1] as i32 * i32::from(op.stride[1]) - i32::from(op.pad[1]);
    let row_len = kernel_width * channels;
    for (row, piece) in patch.chunks_exact(row_len).enumerate() {
        let y = top + row as i32 * dilation_y;
        if y < 0 || y >= height as i32 {
            fill(piece, zero_point as u8);
            continue;
        }
        let line = &input[y as usize * width * channels..][..width * channels];
        if dilation_x == 1 && left >= 0 && left as usize + kernel_width <= width {
            copy(piece, &line[left as usize * channels..]);
            continue;
        }
        for (column, tap) in piece.chunks_exact(channels).enumerate() {
            let x = left + column as i32 * dilation_x;
            if x < 0 || x >= width as i32 {
                fill(tap, zero_point as u8);
            } else {
                copy(tap, &line[x as usize * channels..]);
            }
        }
    }
}
