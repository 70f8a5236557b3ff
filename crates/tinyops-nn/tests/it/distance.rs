//! Distances against the formula in double precision.

use proptest::prelude::*;
use tinyops_nn::Distance;
use tinyops_nn::distance::{encode_k_means, encode_mahalanobis};

const FEATURES: usize = 4;

fn k_means(centres: &[f32], radii: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_k_means(centres, radii, |part| bytes.extend(part));
    bytes
}

fn mahalanobis(mean: &[f32], triangle: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_mahalanobis(mean, triangle, |part| bytes.extend(part));
    bytes
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-10.0f32..10.0, count)
}

proptest! {
    #[test]
    fn k_means_is_the_least_distance_less_its_radius(
        centres in numbers(3 * FEATURES), radii in numbers(3), features in numbers(FEATURES),
    ) {
        let bytes = k_means(&centres, &radii);
        let distance = Distance::load(&bytes).expect("sound");
        let to = |centre: &[f32]| centre.iter().zip(&features).map(|(c, f)| f64::from(f - c).powi(2)).sum::<f64>().sqrt();
        let expected = centres.chunks(FEATURES).zip(&radii).map(|(c, &r)| to(c) - f64::from(r)).fold(f64::INFINITY, f64::min);
        prop_assert!((f64::from(distance.score(&features)) - expected).abs() < 1e-4);
    }

    #[test]
    fn mahalanobis_is_the_quadratic_form(mean in numbers(FEATURES), root in numbers(FEATURES * FEATURES), features in numbers(FEATURES)) {
        // A matrix times its transpose is positive.
        let entry = |i: usize, j: usize| (0..FEATURES).map(|k| f64::from(root[i * FEATURES + k] * root[j * FEATURES + k])).sum::<f64>();
        let triangle: Vec<f32> = (0..FEATURES).flat_map(|i| (i..FEATURES).map(move |j| (i, j))).map(|(i, j)| entry(i, j) as f32).collect();
        let bytes = mahalanobis(&mean, &triangle);
        let distance = Distance::load(&bytes).expect("sound");
        let d: Vec<f64> = features.iter().zip(&mean).map(|(f, m)| f64::from(f - m)).collect();
        let square: f64 = (0..FEATURES).flat_map(|i| (0..FEATURES).map(move |j| (i, j))).map(|(i, j)| d[i] * entry(i, j) * d[j]).sum();
        let size: f64 = d.iter().map(|x| x * x).sum::<f64>() * root.iter().map(|&x| f64::from(x * x)).sum::<f64>();
        let actual = f64::from(distance.score(&features));
        prop_assert!((actual * actual - square).abs() <= 1e-4 * (1.0 + size), "{} for {}", actual, square.sqrt());
    }

    #[test]
    fn any_bytes_are_answered(mut bytes in prop::collection::vec(any::<u8>(), 0..64), words in (0u32..4, 0u32..4), kind in 0u8..3) {
        let head = [&b"TDST"[..], &[1, 0, kind, 0], &words.0.to_le_bytes(), &words.1.to_le_bytes()].concat();
        for (place, byte) in bytes.iter_mut().zip(head) {
            *place = byte;
        }
        if let Ok(distance) = Distance::load(&bytes) {
            let _ = distance.score(&vec![1.0; distance.feature_count()]);
        }
    }
}

#[test]
fn cut_or_huge_distances_do_not_load() {
    let bytes = k_means(&[1.0, 2.0], &[3.0]);
    for len in 0..bytes.len() {
        assert!(Distance::load(&bytes[..len]).is_err(), "cut at {len}");
    }
    let mut huge = bytes;
    huge[8..16].fill(0xFF);
    assert!(Distance::load(&huge).is_err());
    huge[6] = 1;
    huge[12..16].copy_from_slice(&1u32.to_le_bytes());
    assert!(Distance::load(&huge).is_err());
}
