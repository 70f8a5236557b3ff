//! Reference values of SciPy and of a plain tabular CUSUM, from `drift-golden`.

use std::path::PathBuf;

use serde_json::Value;
use tinyops_sketch::distance::{
    Smoothing, hellinger, jensen_shannon, kolmogorov_smirnov, psi, shares_of, total_variation,
};
use tinyops_sketch::{Cusum, Direction};

#[test]
fn distances_agree_with_scipy() {
    let Some(file) = read("two_sample.json") else {
        return;
    };
    let mut checked = 0;
    for pair in file["pairs"]
        .as_array()
        .or(file["cases"].as_array())
        .expect("pairs")
    {
        for bins in ["bins10", "bins16"] {
            let expected = &pair[bins];
            let counts = |key: &str| -> Vec<u64> {
                let counts = expected[key].as_array().expect("counts");
                counts
                    .iter()
                    .map(|count| count.as_u64().expect("count"))
                    .collect()
            };
            let (base, live) = (counts("ref_counts"), counts("cur_counts"));
            let shares = |smoothing| {
                let of = |counts: &[u64]| {
                    let mut shares = vec![0.0; counts.len()];
                    shares_of(counts, smoothing, &mut shares);
                    shares
                };
                (of(&base), of(&live))
            };
            for (key, smoothing) in [
                ("PSI_floor_1e-4", Smoothing::Floor(1e-4)),
                ("PSI_floor_1e-6", Smoothing::Floor(1e-6)),
                ("PSI_add_half", Smoothing::AddHalf),
            ] {
                let (base, live) = shares(smoothing);
                check(&expected[key], psi(&base, &live), key);
            }
            let (base, live) = shares(Smoothing::None);
            check(
                &expected["JS_distance_base2"],
                jensen_shannon(&base, &live),
                "JS",
            );
            check(&expected["hellinger"], hellinger(&base, &live), "hellinger");
            check(&expected["TV"], total_variation(&base, &live), "TV");
            check(
                &expected["KS_binned"],
                kolmogorov_smirnov(&base, &live),
                "KS",
            );
            checked += 1;
        }
    }
    assert!(checked >= 16, "only {checked} histograms in the file");
}

#[test]
fn cusum_alarms_where_the_reference_does() {
    let Some(file) = read("streaming.json") else {
        return;
    };
    let mut checked = 0;
    for (name, sequence) in file["sequences"].as_object().expect("sequences") {
        let values = numbers(&sequence["x"]);
        let (mean, sd) = moments(&values[..100]);
        for (detector, expected) in sequence["detectors"].as_object().expect("detectors") {
            let Some(settings) = detector.strip_prefix("CUSUM(") else {
                continue;
            };
            let setting = |key: &str| -> f64 {
                let rest = settings.split_once(key).expect("a setting").1;
                rest.split(',')
                    .next()
                    .expect("its value")
                    .parse()
                    .expect("a number")
            };
            let mut cusum = Cusum::new(setting("k="), setting("h="));
            let mut alarms = Vec::new();
            let mut checkpoints = expected["checkpoints"]
                .as_array()
                .expect("checkpoints")
                .iter();
            for (index, value) in values.iter().enumerate().skip(100) {
                match cusum.update((value - mean) / sd) {
                    Some(Direction::Up) => alarms.push((index, "up")),
                    Some(Direction::Down) => alarms.push((index, "down")),
                    None => {}
                }
                if index % 100 == 99 {
                    let checkpoint = numbers(checkpoints.next().expect("a checkpoint"));
                    assert_eq!(checkpoint[0], index as f64);
                    for (sum, expected) in [(cusum.up, checkpoint[1]), (cusum.down, checkpoint[2])]
                    {
                        // The file has eight decimals.
                        assert!(
                            (sum - expected).abs() < 1e-7,
                            "{name} {detector} at {index}"
                        );
                    }
                }
            }
            let expected: Vec<(usize, &str)> = expected["drift_at_index"]
                .as_array()
                .expect("alarms")
                .iter()
                .map(|alarm| {
                    (
                        alarm[0].as_u64().expect("index") as usize,
                        alarm[1].as_str().expect("side"),
                    )
                })
                .collect();
            assert_eq!(alarms, expected, "{name} {detector}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} sequences in the file");
}

#[track_caller]
fn check(expected: &Value, actual: f64, what: &str) {
    let Some(expected) = expected.as_f64() else {
        return; // The reference has no finite value here.
    };
    let tolerance = 1e-9 * expected.abs().max(1e-6);
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual} instead of {expected}"
    );
}

fn read(name: &str) -> Option<Value> {
    let data = std::env::var_os("TINYOPS_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = data.join("drift-golden").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("JSON")),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
            {
                eprintln!("skipped: {}: {error}; set TINYOPS_DATA", path.display());
            }
            None
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("numbers").iter();
    values
        .map(|value| value.as_f64().expect("a number"))
        .collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = sum(values) / count;
    let squares: Vec<f64> = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .collect();
    (mean, (sum(&squares) / count).sqrt())
}

/// Adds in the order of NumPy: one unit in the last place decides whether a sum of 8 exceeds 8.
fn sum(values: &[f64]) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let lanes = eights.iter().fold([0.0; 8], |mut lanes, eight| {
        lanes
            .iter_mut()
            .zip(eight)
            .for_each(|(lane, value)| *lane += value);
        lanes
    });
    let [a, b, c, d, e, f, g, h] = lanes;
    rest.iter()
        .fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| {
            sum + value
        })
}
