//! The flatten block.

use super::{Flatten, FrontEnd, FrontEndError, require_finite};
use crate::statistics::{extremes, moments, rms};

impl Flatten {
    pub(super) fn check(&self) -> Result<(), FrontEndError> {
        require_finite(self.scale, "flatten.scale")
    }

    /// Which statistics are chosen, in their order.
    fn chosen(&self) -> [bool; 7] {
        [
            self.average,
            self.minimum,
            self.maximum,
            self.rms,
            self.deviation,
            self.skewness,
            self.kurtosis,
        ]
    }

    pub(super) fn feature_count(&self, end: &FrontEnd) -> usize {
        let chosen = self.chosen().iter().filter(|chosen| **chosen).count();
        chosen * usize::from(end.channel_count)
    }

    pub(super) fn extract(
        &self,
        end: &FrontEnd,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) {
        let mut features = features.iter_mut();
        for channel in 0..usize::from(end.channel_count) {
            end.copy_channel(window, channel, self.scale, scratch);
            let (low, high) = extremes(scratch);
            let m = moments(scratch);
            let all = [
                m.mean,
                low,
                high,
                rms(scratch),
                m.deviation,
                m.skewness,
                m.kurtosis,
            ];
            let chosen = all
                .into_iter()
                .zip(self.chosen())
                .filter(|(_, chosen)| *chosen);
            for ((value, _), feature) in chosen.zip(&mut features) {
                *feature = value;
            }
        }
    }
}
