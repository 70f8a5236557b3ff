//! Standardisation of features, the last step before quantization.

/// Standardises features: `(x - mean[g]) * inv_std[g]`, where feature `i` belongs to group `i % groups`.
///
/// # Shapes
/// `mean` and `inv_std` hold one number per group. Groups are 1 (one scale for all), a divisor of
/// the feature count (one per filter or coefficient, shared by all frames), or the feature count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaler<'a> {
    /// Mean of each group over the training windows.
    pub mean: &'a [f32],
    /// Reciprocal of the standard deviation of each group; finite, also where a feature is constant.
    pub inv_std: &'a [f32],
}

impl Scaler<'_> {
    /// Whether this scaler suits features of that count: equal, non-empty groups that divide it, all finite.
    pub fn suits(&self, feature_count: usize) -> bool {
        let groups = self.mean.len();
        groups > 0
            && groups == self.inv_std.len()
            && feature_count.is_multiple_of(groups)
            && self.mean.iter().chain(self.inv_std).all(|x| x.is_finite())
    }

    /// Standardises in place. A scaler without groups leaves the features as they are.
    pub fn apply(&self, features: &mut [f32]) {
        let groups = self.mean.len().min(self.inv_std.len());
        if groups == 0 {
            return;
        }
        for row in features.chunks_mut(groups) {
            for ((x, mean), inv_std) in row.iter_mut().zip(self.mean).zip(self.inv_std) {
                *x = (*x - mean) * inv_std;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mean: &[f32], inv_std: &[f32], features: &[f32], expected: &[f32]) {
        let mut features = features.to_vec();
        Scaler { mean, inv_std }.apply(&mut features);
        assert_eq!(features, expected);
    }

    #[test]
    fn groups_repeat_over_the_features() {
        check(&[1.0], &[2.0], &[1.0, 2.0, 3.0], &[0.0, 2.0, 4.0]);
        check(
            &[1.0, 0.0],
            &[1.0, 0.5],
            &[1.0, 2.0, 3.0, 4.0],
            &[0.0, 1.0, 2.0, 2.0],
        );
        check(&[], &[], &[1.0], &[1.0]);
    }

    #[test]
    fn unequal_groups_do_not_suit() {
        let suits = |mean: &[f32], inv_std: &[f32], count| Scaler { mean, inv_std }.suits(count);
        assert!(suits(&[0.0, 0.0], &[1.0, 1.0], 4));
        assert!(!suits(&[0.0, 0.0], &[1.0, 1.0], 3));
        assert!(!suits(&[0.0], &[1.0, 1.0], 4));
        assert!(!suits(&[f32::NAN], &[1.0], 4));
        assert!(!suits(&[], &[], 0));
    }
}
