//! What came out of a model against what its golden vector says: one arithmetic for host, smoke test and device.

use crate::plan::quantized_values;
use crate::record::Element;

/// How far a score may be from the golden one, as a share of it: scores are floating-point, and a compiler for
/// another core may contract. See `docs/arithmetic.md`.
const SCORE_SHARE_MAX: f32 = 1e-4;
/// Below this a share says nothing, and the difference itself counts.
const SCORE_FLOOR: f32 = 1e-3;

/// One element of an output that is not the golden one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Which element, from 0.
    pub element: usize,
    /// The golden value: a quantized score, or a distance.
    pub expected: f32,
    /// What came out.
    pub actual: f32,
}

/// The elements of an output that differ from the golden ones, in order.
///
/// # Shapes
/// Both are the bytes of one output tensor; the longer one's rest is not compared.
pub fn differences<'a>(
    element: Element,
    expected: &'a [u8],
    actual: &'a [u8],
) -> impl Iterator<Item = Difference> + 'a {
    let pairs = quantized_values(element, expected).zip(quantized_values(element, actual));
    pairs
        .enumerate()
        .filter(|(_, (expected, actual))| expected != actual)
        .map(|(element, (expected, actual))| Difference {
            element,
            expected: expected as f32,
            actual: actual as f32,
        })
}

/// The difference of a floating-point score from the golden one, if it is more than a part in 10,000.
///
/// A score that is not a number always differs.
#[must_use]
pub fn score_difference(expected: f32, actual: f32) -> Option<Difference> {
    let allowed = SCORE_SHARE_MAX * libm::fabsf(expected).max(SCORE_FLOOR);
    let is_same = libm::fabsf(actual - expected) <= allowed;
    (!is_same).then_some(Difference {
        element: 0,
        expected,
        actual,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_differ_by_element() {
        let found: Vec<_> = differences(Element::Int8, &[1, 0xff, 3], &[1, 2, 3]).collect();
        let difference = Difference {
            element: 1,
            expected: -1.0,
            actual: 2.0,
        };
        assert_eq!(found, [difference]);
        let wide = differences(Element::Int16, &[0, 1, 0xff, 0xff], &[0, 1, 2, 0]);
        assert_eq!(wide.collect::<Vec<_>>(), [difference]);
    }

    #[track_caller]
    fn check_score(expected: f32, actual: f32, is_same: bool) {
        assert_eq!(score_difference(expected, actual).is_none(), is_same);
    }

    #[test]
    fn scores_differ_by_a_share() {
        check_score(100.0, 100.009, true);
        check_score(100.0, 100.02, false);
        check_score(0.01, 0.010_000_5, true);
        check_score(0.01, 0.010_1, false);
        check_score(0.0, 5e-8, true);
        check_score(0.0, 1e-4, false);
        check_score(1.0, f32::NAN, false);
    }
}
