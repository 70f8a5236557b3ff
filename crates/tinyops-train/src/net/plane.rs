//! Shapes of planes and how a kernel walks over them.

/// Height, width and channels of one example, stored in this order, channels innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Dims {
    pub(crate) fn vector(len: usize) -> Self {
        Self {
            height: 1,
            width: 1,
            channels: len,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    pub(crate) fn positions(&self) -> usize {
        self.height * self.width
    }
}

/// A kernel's size and step over a plane, with TensorFlow's SAME or VALID padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// SAME: zeros around the plane, so that the output has `ceil(input / stride)` positions.
    pub(crate) padded: bool,
}

impl Walk {
    pub(crate) fn out(&self, input: Dims, channels: usize) -> Dims {
        let along = |len: usize, axis: usize| {
            let room = if self.padded {
                len
            } else {
                (len + 1).saturating_sub(self.kernel[axis])
            };
            room.div_ceil(self.stride[axis])
        };
        Dims {
            height: along(input.height, 0),
            width: along(input.width, 1),
            channels,
        }
    }

    /// Zeros above and to the left of the plane; a lone extra zero goes below and to the right.
    pub(crate) fn before(&self, input: Dims) -> [usize; 2] {
        let out = self.out(input, input.channels);
        let pad = |len: usize, out: usize, axis: usize| {
            let reach = out.saturating_sub(1) * self.stride[axis] + self.kernel[axis];
            if self.padded {
                reach.saturating_sub(len) / 2
            } else {
                0
            }
        };
        [
            pad(input.height, out.height, 0),
            pad(input.width, out.width, 1),
        ]
    }

    /// Calls `at(output position, kernel position, input position)` wherever the kernel is on the plane.
    #[inline]
    pub(crate) fn visit(&self, input: Dims, mut at: impl FnMut(usize, usize, usize)) {
        let out = self.out(input, input.channels);
        let [top, left] = self.before(input);
        for row in 0..out.height {
            for column in 0..out.width {
                for ky in 0..self.kernel[0] {
                    let y = row * self.stride[0] + ky;
                    if y < top || y - top >= input.height {
                        continue;
                    }
                    for kx in 0..self.kernel[1] {
                        let x = column * self.stride[1] + kx;
                        if x < left || x - left >= input.width {
                            continue;
                        }
                        at(
                            row * out.width + column,
                            ky * self.kernel[1] + kx,
                            (y - top) * input.width + x - left,
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(len: usize, kernel: usize, stride: usize, padded: bool, out: usize, before: usize) {
        let walk = Walk {
            kernel: [1, kernel],
            stride: [1, stride],
            padded,
        };
        let input = Dims {
            height: 1,
            width: len,
            channels: 1,
        };
        assert_eq!(
            (walk.out(input, 1).width, walk.before(input)[1]),
            (out, before)
        );
    }

    #[test]
    fn padding_is_tensorflows() {
        check(10, 3, 1, true, 10, 1);
        check(10, 4, 1, true, 10, 1);
        check(10, 3, 2, true, 5, 0);
        check(9, 3, 2, true, 5, 1);
        check(10, 3, 1, false, 8, 0);
        check(10, 2, 2, false, 5, 0);
        check(9, 2, 2, false, 4, 0);
    }
}
