//! Which inputs a window op reads for each of its outputs.

use tinyops_model::graph::{Graph, Op, OpKind, Padding, Pool};

/// The windows of a convolution, a pool or a dense layer over one input.
///
/// A dense layer is one window as large as its input. Arrays are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) pad: [usize; 2],
}

impl Windows {
    /// The windows of an op of a graph that has passed its check; `None` for an op without any.
    pub(crate) fn of(graph: &Graph, op: &Op) -> Option<Windows> {
        let place = |shape: [u16; 4]| [usize::from(shape[1]), usize::from(shape[2])];
        let input = graph.tensor(op.inputs[0]).shape;
        let output = place(graph.tensor(op.output).shape);
        let (kernel, stride, dilation, padding) = match op.kind {
            OpKind::Conv2d(conv) | OpKind::DepthwiseConv2d(conv) => {
                let filter = graph.tensor(op.inputs[1]).shape;
                let kernel = [filter[1], filter[2]];
                (kernel, conv.stride, conv.dilation, conv.padding)
            }
            OpKind::MaxPool2d(pool) | OpKind::AveragePool2d(pool) => {
                let Pool {
                    window,
                    stride,
                    padding,
                    ..
                } = pool;
                (window, stride, [1, 1], padding)
            }
            OpKind::Dense(_) => ([input[1], input[2]], [1, 1], [1, 1], Padding::Valid),
            _ => return None,
        };
        let pad = [0, 1].map(|axis| {
            let extent = (u32::from(kernel[axis]).max(1) - 1) * u32::from(dilation[axis]) + 1;
            let (before, _) = padding.around(axis, input[axis + 1], extent, stride[axis]);
            before as usize
        });
        Some(Windows {
            input: place(input),
            output,
            kernel: kernel.map(usize::from),
            stride: stride.map(usize::from),
            dilation: dilation.map(usize::from),
            pad,
        })
    }

    /// How many taps a window has.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The output pixels in order of memory, as `[row, column]`.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [height, width] = self.output;
        (0..height).flat_map(move |y| (0..width).map(move |x| [y, x]))
    }

    /// The input pixel, counted in order of memory, under each tap of one window; `None` in the padding.
    pub(crate) fn sources(&self, pixel: [usize; 2]) -> impl Iterator<Item = Option<usize>> + use<> {
        let windows = *self;
        let [height, width] = self.kernel;
        (0..height).flat_map(move |row| {
            let y = windows.source(0, pixel[0], row);
            (0..width).map(move |column| {
                let x = windows.source(1, pixel[1], column);
                Some(y? * windows.input[1] + x?)
            })
        })
    }

    /// Where one tap of one window lies along an axis (0 height, 1 width); `None` in the padding.
    pub(crate) fn source(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let place = at * self.stride[axis] + tap * self.dilation[axis];
        let place = place.checked_sub(self.pad[axis])?;
        (place < self.input[axis]).then_some(place)
    }
}
