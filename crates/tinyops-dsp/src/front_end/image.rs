//! The image block.

use super::{FrontEnd, FrontEndError, Image, Shape, require, require_finite};

/// Weights of red, green and blue in a brightness (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

impl Image {
    pub(super) fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        let pixels = u32::from(self.source_height) * u32::from(self.source_width);
        require(pixels == end.window_len, "image.source")?;
        require(matches!(end.channel_count, 1 | 3), "channel_count")?;
        require(
            (1..=self.source_height).contains(&self.height),
            "image.height",
        )?;
        require((1..=self.source_width).contains(&self.width), "image.width")?;
        require_finite(self.offset, "image.offset")?;
        require_finite(self.scale, "image.scale")
    }

    pub(super) fn shape(&self, end: &FrontEnd) -> Shape {
        let channels = if self.grey { 1 } else { end.channel_count };
        Shape {
            height: self.height,
            width: self.width,
            channels,
        }
    }

    pub(super) fn extract(&self, window: &[f32], features: &mut [f32]) {
        let (height, width) = (usize::from(self.height), usize::from(self.width));
        let source_width = usize::from(self.source_width);
        let depth = window.len() / (usize::from(self.source_height) * source_width);
        let channels = features.len() / (height * width);
        for (index, pixel) in features.chunks_exact_mut(channels).enumerate() {
            let rows = stretch(index / width, height, usize::from(self.source_height));
            let columns = stretch(index % width, width, source_width);
            let area = (rows.len() * columns.len()) as f32;
            let mut sums = [0.0_f32; 3];
            for row in rows {
                let line = row * source_width * depth;
                let covered = &window[line + columns.start * depth..line + columns.end * depth];
                for source in covered.chunks_exact(depth) {
                    for (sum, x) in sums.iter_mut().zip(source) {
                        *sum += x;
                    }
                }
            }
            let mean = sums.map(|sum| sum / area);
            if channels == 1 && depth == 3 {
                let grey = mean[0] * LUMA[0] + mean[1] * LUMA[1] + mean[2] * LUMA[2];
                pixel[0] = (grey + self.offset) * self.scale;
            } else {
                for (y, x) in pixel.iter_mut().zip(mean) {
                    *y = (x + self.offset) * self.scale;
                }
            }
        }
    }
}

/// Part `index` of `count` nearly equal parts of `whole`; none is empty where `count <= whole`.
fn stretch(index: usize, count: usize, whole: usize) -> core::ops::Range<usize> {
    index * whole / count..(index + 1) * whole / count
}
