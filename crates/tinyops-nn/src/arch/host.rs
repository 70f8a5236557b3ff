//! The kernels of the host, written once over sixteen lanes of whatever instruction set there is.
//!
//! A [`Task`] is one op. It holds its geometry against the memory that it was given before it
//! hands out pointers, so that nothing unsafe depends on the bytes of a plan.

use core::cell::Cell;

mod conv;
mod depthwise;
mod elementwise;
mod lanes;
mod line;
mod padded;
mod pool;

pub(crate) use conv::{Bundles, Conv, HEAD, tiles};
pub(crate) use depthwise::{Depthwise, array_bytes};
pub(crate) use elementwise::{Add, Term};
pub(crate) use lanes::{
    BLOCK_BYTES, Finish, GROUP_BYTES, LANES, LOW_SHIFTS, LOW_SUMS, Lanes, Pointers,
};
pub use line::Line;
pub(crate) use padded::{OVERRUN_BYTES, Padded};
pub(crate) use pool::{Pool, Rule};

/// One op, and the memory that it works on.
pub(crate) enum Task<'a> {
    Convolve(Convolve<'a>),
    Add {
        op: Add<'a>,
        finish: Finish,
        inputs: [&'a [Cell<u8>]; 2],
        output: &'a [Cell<u8>],
        /// How many values were made: whole blocks only.
        done: &'a mut usize,
    },
    Pool {
        op: Pool,
        input: &'a [Cell<u8>],
        output: &'a [Cell<u8>],
    },
}

/// A convolution over a padded copy of its input.
pub(crate) struct Convolve<'a> {
    pub(crate) padded: Padded,
    pub(crate) windows: Windows,
    pub(crate) finish: Finish,
    pub(crate) input: &'a [Cell<u8>],
    pub(crate) packed: &'a [u8],
    /// Where the copy goes.
    pub(crate) work: &'a mut [u8],
    pub(crate) output: &'a [Cell<u8>],
}

/// What becomes of each window of the copy.
#[derive(Clone, Copy)]
pub(crate) enum Windows {
    Conv(Conv),
    Depthwise(Depthwise),
}

impl Windows {
    /// How many bytes of the copy and of the packed numbers the op reads, and of the output writes.
    pub(crate) fn reach(&self, group: usize) -> (usize, usize, usize) {
        match self {
            Windows::Conv(conv) => conv.reach(),
            Windows::Depthwise(depthwise) => depthwise.reach(group),
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    pub(crate) fn run<V: Lanes>(&mut self, lanes: V) {
        match self {
            Task::Convolve(convolve) => convolve.run(lanes),
            Task::Add {
                op,
                finish,
                inputs,
                output,
                done,
            } => {
                let len = output.len();
                assert!(inputs.iter().all(|input| input.len() >= len));
                let to = output.as_ptr().cast_mut().cast();
                // SAFETY: inputs and output have `len` values; cells may be written through.
                **done = unsafe {
                    elementwise::add(
                        lanes,
                        op,
                        *finish,
                        (inputs.map(|input| input.as_ptr().cast()), to, len),
                    )
                };
            }
            Task::Pool { op, input, output } => pool::pool(lanes, op, input, output),
        }
    }
}

impl Convolve<'_> {
    #[inline(always)]
    fn run<V: Lanes>(&mut self, lanes: V) {
        let value_bytes = GROUP_BYTES / V::GROUP;
        let padded = &self.padded;
        let copy_bytes = padded.size[0] * padded.row() * value_bytes;
        let (read_bytes, packed_bytes, written) = self.windows.reach(V::GROUP);
        // Geometry comes from the plan's own records, which `Plan::load` has checked, but the
        // pointers below rest on these lines alone.
        assert!((copy_bytes + OVERRUN_BYTES).max(read_bytes) <= self.work.len());
        assert!(packed_bytes <= self.packed.len());
        assert!(written <= self.output.len());
        let values = self.work.as_mut_ptr();
        assert!(padded.input.iter().product::<usize>() <= self.input.len());
        // SAFETY: the copy fits, as the first line holds.
        unsafe { padded.fill(lanes, self.input, values) };
        let pointers = Pointers {
            values,
            packed: self.packed.as_ptr(),
            output: self.output.as_ptr().cast_mut().cast(),
        };
        // SAFETY: windows end in the copy or behind it in `work`, blocks in `packed`, and pixels in the
        // output, as the lines above hold; cells may be written through.
        unsafe {
            match &self.windows {
                Windows::Conv(conv) => lanes.convolve(conv, self.finish, pointers),
                Windows::Depthwise(op) => depthwise::run(lanes, op, self.finish, pointers),
            }
        }
    }
}
