//! What is normal for a device: the mean of its first reports under a model. Under masks it tells how far it is from
//! that, and never where it is.
//!
//! ```text
//! offset  bytes
//!  0       1    reports in it
//!  1       1    zero
//!  2       4    model
//!  6     100    numbers, i16 in 1/1024: the weighted numbers of a report, `tinyops_wire::masked::report_values`
//! ```

use tinyops_sketch::{CHANNELS_MAX, CLASSES_MAX, Summary};
use tinyops_wire::ModelId;
use tinyops_wire::masked::{report_len, report_values};

/// Reports that make it.
pub(crate) const NORMAL_REPORTS: u8 = 14;

const LEN: usize = report_len(CHANNELS_MAX, CLASSES_MAX);
pub(crate) const NORMAL_BYTES: usize = 6 + 2 * LEN;
const STEPS: f32 = 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Normal {
    count: u8,
    model: ModelId,
    /// Means so far, in steps.
    values: [i16; LEN],
}

impl Normal {
    pub(crate) const NEW: Normal = Normal {
        count: 0,
        model: ModelId(0),
        values: [0; LEN],
    };

    /// Whether enough reports of this model have made it.
    pub(crate) fn is_known(&self, model: ModelId) -> bool {
        self.model == model && self.count >= NORMAL_REPORTS
    }

    /// With one more report in it; another model begins anew.
    #[must_use]
    pub(crate) fn learn(self, model: ModelId, summary: &Summary) -> Normal {
        let mut after = if self.model == model {
            self
        } else {
            Normal {
                model,
                ..Normal::NEW
            }
        };
        after.count = after.count.saturating_add(1);
        for (mean, value) in after.values.iter_mut().zip(report_values(summary)) {
            let value = if value.is_finite() {
                value * STEPS
            } else {
                0.0
            };
            let step = (value - f32::from(*mean)) / f32::from(after.count);
            // A cast to an integer stays in its range.
            *mean = libm::roundf(f32::from(*mean) + step) as i16;
        }
        after
    }

    /// How far a report is from it.
    pub(crate) fn deviations<'a>(
        &'a self,
        summary: &'a Summary,
    ) -> impl Iterator<Item = f64> + Clone + 'a {
        report_values(summary)
            .zip(&self.values)
            .map(|(value, mean)| f64::from(value) - f64::from(*mean) / f64::from(STEPS))
    }

    pub(crate) fn encode(&self) -> [u8; NORMAL_BYTES] {
        let mut out = [0; NORMAL_BYTES];
        out[0] = self.count;
        out[2..6].copy_from_slice(&self.model.0.to_le_bytes());
        for (place, value) in out[6..].chunks_exact_mut(2).zip(&self.values) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8; NORMAL_BYTES]) -> Normal {
        let [count, _, m0, m1, m2, m3, rest @ ..] = bytes;
        let mut values = [0; LEN];
        for (value, bytes) in values.iter_mut().zip(rest.chunks_exact(2)) {
            *value = i16::from_le_bytes([bytes[0], bytes[1]]);
        }
        Normal {
            count: *count,
            model: ModelId(u32::from_le_bytes([*m0, *m1, *m2, *m3])),
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_sketch::ChannelSummary;

    fn summary(mean: f32) -> Summary {
        let channel = ChannelSummary {
            mean,
            ln_sd: -0.25,
            shares: None,
        };
        Summary::new(100.0, &[channel], &[0.25, 0.75])
    }

    #[test]
    fn it_is_the_mean_of_the_first_reports_and_survives_as_bytes() {
        let model = ModelId(7);
        let mut normal = Normal::NEW;
        for report in 0..NORMAL_REPORTS {
            assert!(!normal.is_known(model));
            let mean = if report % 2 == 0 { 0.5 } else { 1.5 };
            normal = Normal::decode(&normal.learn(model, &summary(mean)).encode());
        }
        assert!(normal.is_known(model) && !normal.is_known(ModelId(8)));
        let live = summary(1.25);
        let deviations: Vec<f64> = normal.deviations(&live).collect();
        assert!((deviations[0] - 0.25).abs() < 0.01, "{deviations:?}");
        assert!(
            deviations[1..]
                .iter()
                .all(|deviation| deviation.abs() < 0.002)
        );
        // Another model begins anew, and no number is too large.
        let other = normal.learn(ModelId(8), &summary(f32::INFINITY));
        assert!(!other.is_known(ModelId(8)) && other.count == 1);
        let far = Normal::NEW.learn(model, &summary(1e9));
        assert_eq!(far.values[0], i16::MAX);
    }
}
