//! Memory that a caller lends to the kernels of the host.

/// 64 bytes of memory, aligned as vectors like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Line([u8; 64]);

impl Line {
    /// Zeros.
    pub const ZERO: Line = Line([0; 64]);
    /// The bytes of a line.
    pub const BYTES: usize = 64;

    pub(crate) fn slice(lines: &[Line]) -> &[u8] {
        // SAFETY: a line is 64 bytes, without padding.
        unsafe { core::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * Line::BYTES) }
    }

    pub(crate) fn slice_mut(lines: &mut [Line]) -> &mut [u8] {
        let len = lines.len() * Line::BYTES;
        // SAFETY: a line is 64 bytes, without padding, and any bytes are a line.
        unsafe { core::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), len) }
    }
}
