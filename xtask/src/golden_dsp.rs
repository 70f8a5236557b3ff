//! Holds `tinyops-dsp` against reference outputs of established libraries: `cargo xtask golden dsp PATH…`.
//!
//! Reads any file in the format of the project's `dsp-golden` data folder. Each operation is computed twice: in double
//! precision, held to 1e-6 of the largest value, and in the single precision of the devices, held to 1e-4; levels in
//! dB to 1e-3 above -80 dB; counts and shapes exactly. Where weak bins beside strong ones are looked at closely (see
//! [`WEAK_BINS`]), single precision may be farther off by what its own resolution of the strongest bin explains.

#[path = "golden_dsp/ops.rs"]
mod ops;

use crate::tally::Tally;
use ops::Op;
use serde_json::Value;
use std::path::Path;
use tinyops_dsp::Real;

/// Operations that take the logarithm of weak bins which stand beside strong ones. The rounding of a
/// single-precision transform, and that of the readings themselves, lies near -120 dB of the strongest bin, above
/// what these outputs resolve in synthetic tones: readings rounded to single precision and everything after in double
/// precision miss three of them too.
const WEAK_BINS: [&str; 3] = ["mel_db", "mfcc_librosa", "spectral_flatness"];

/// How far each bin of a spectrum is moved, as a share of the strongest, to see how far an output moves with it:
/// what rounded readings, rounded tapers and a single-precision transform of 512 may leave.
const RESOLUTION: f64 = 8.0 * f32::EPSILON as f64;

/// Ways of moving the bins that are tried; twice the largest movement that they cause is allowed for, since the worst
/// way is not among them.
const NUDGES: u32 = 16;

/// Compares every operation of a file.
///
/// # Errors
/// When the file cannot be read or is no JSON; operations that are unknown or malformed count as differences.
pub(crate) fn check_file(path: &Path, tally: &mut Tally) -> Result<(), String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ops = file.as_array().or_else(|| file["ops"].as_array());
    let ops = ops.ok_or_else(|| format!("{}: holds no `ops`", path.display()))?;
    for op in ops {
        tally.checked += 1;
        if let Err(difference) = check_op(&file, op) {
            let kind = op["op"].as_str().unwrap_or("?");
            let line = format!("{name}: {kind} {}: {difference}", parameters_of(op));
            tally.differences.push(line);
        }
    }
    Ok(())
}

fn parameters_of(op: &Value) -> String {
    if !op["params"].is_null() {
        return op["params"].to_string();
    }
    let fields = op.as_object().into_iter().flatten();
    let scalars =
        fields.filter(|(name, value)| *name != "op" && !value.is_array() && !value.is_object());
    let pairs: Vec<String> = scalars
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(" ")
}

fn check_op(file: &Value, op: &Value) -> Result<(), String> {
    let plain = Op {
        file,
        op,
        nudge: None,
    };
    let double = plain.outputs::<f64>()?;
    let kind = op["op"].as_str().unwrap_or_default();
    for output in &double {
        output
            .check(kind, 1e-6, &[])
            .map_err(|error| format!("double precision: {error}"))?;
    }
    for (output, exact) in plain.outputs::<f32>()?.iter().zip(&double) {
        let mut room = vec![0.0_f64; exact.found.len()];
        if WEAK_BINS.contains(&kind) {
            for seed in 0..NUDGES {
                let nudge = Some(seed);
                for moved in (Op { file, op, nudge }).outputs::<f64>()? {
                    for (room, (a, b)) in room.iter_mut().zip(moved.found.iter().zip(&exact.found))
                    {
                        *room = room.max(2.0 * (a - b).abs());
                    }
                }
            }
        }
        output
            .check(kind, 1e-4, &room)
            .map_err(|error| format!("single precision: {error}"))?;
    }
    Ok(())
}

/// One array that an operation gave, beside the reference.
struct Output {
    found: Vec<f64>,
    shape: Vec<usize>,
    expected: Value,
}

impl Output {
    fn new<T: Real>(found: &[T], shape: &[usize], expected: &Value) -> Self {
        let found = found.iter().map(|x| x.double()).collect();
        Self {
            found,
            shape: shape.to_vec(),
            expected: expected.clone(),
        }
    }

    fn row<T: Real>(found: &[T], expected: &Value) -> Self {
        Self::new(found, &[found.len()], expected)
    }

    /// Holds what was found to the tolerance; `room` is how much farther off each number may be.
    fn check(&self, kind: &str, tolerance: f64, room: &[f64]) -> Result<(), String> {
        let shape = shape_of(&self.expected);
        // An empty list carries no inner extent.
        if shape != self.shape && !(shape == [0] && self.shape.first() == Some(&0)) {
            return Err(format!("shape {:?}, reference has {shape:?}", self.shape));
        }
        let mut expected = Vec::new();
        flatten(&self.expected, &mut expected)?;
        let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        let mut worst = (0.0, 0);
        for (index, (found, expected)) in self.found.iter().zip(&expected).enumerate() {
            if !found.is_finite() {
                return Err(format!("{found} at {index}, reference has {expected}"));
            }
            let room = room.get(index).copied().unwrap_or(0.0);
            let off = ((found - expected).abs() - room).max(0.0);
            let error = match kind {
                "mel_db" if *expected > -80.0 => off / 1e-3,
                // Below -80 dB only the depth is compared, not its decimals.
                "mel_db" => f64::from(u8::from(*found > -79.0 + room)) * 2.0,
                _ => off / (tolerance * largest).max(f64::MIN_POSITIVE),
            };
            if error > worst.0 {
                worst = (error, index);
            }
        }
        if worst.0 > 1.0 {
            let (found, expected) = (self.found[worst.1], expected[worst.1]);
            return Err(format!(
                "worst {found} at {}, reference has {expected} (largest {largest})",
                worst.1
            ));
        }
        Ok(())
    }
}

fn shape_of(value: &Value) -> Vec<usize> {
    let mut shape = Vec::new();
    let mut value = value;
    while let Some(items) = value.as_array() {
        shape.push(items.len());
        match items.first() {
            Some(first) => value = first,
            None => break,
        }
    }
    shape
}

fn flatten(value: &Value, into: &mut Vec<f64>) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| flatten(item, into)),
        other => {
            into.push(
                other
                    .as_f64()
                    .ok_or_else(|| format!("`{other}` is not a number"))?,
            );
            Ok(())
        }
    }
}
