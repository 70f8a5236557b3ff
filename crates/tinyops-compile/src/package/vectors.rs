//! Inputs with what every stage must make of them, which a package carries to prove itself.

use serde_json::{Value, json};
use tinyops_nn::record::Element;
use tinyops_nn::{Plan, Program};
use tinyops_wire::crc::crc32;

use super::PackageError;
use super::contents::Contents;
use super::escape::hex;
use crate::capsule::Golden;
use crate::replay::golden_of;

/// A package carries at least so many, drawn ones after those of the capsule.
pub(super) const VECTORS_MIN: usize = 8;
/// Of them drawn windows, where the capsule has none: they alone prove the front end.
const WINDOWS_DRAWN: usize = 2;
/// What replaying a payload has refused before.
const UNSUITABLE: PackageError = PackageError::Incoherent("a golden vector is of another program");

/// An input with what comes out of each stage.
pub(super) struct Vector {
    pub(super) input: Input,
    /// CRC-32 of the features before scaling, as little-endian floats, where the vector begins with a window.
    pub(super) features_crc: Option<u32>,
    /// CRC-32 of the bytes of the input tensor, or of the scaled features that a distance takes, as little-endian floats.
    pub(super) input_crc: u32,
    /// The bytes of the output tensor, or of a distance's score, a little-endian float.
    pub(super) output: Vec<u8>,
}

/// What a vector begins with.
pub(super) enum Input {
    /// The bytes of the input tensor, out of the capsule.
    Tensor(Vec<u8>),
    /// A window of readings, out of the capsule.
    Window(Vec<f32>),
    /// Features before scaling, out of the capsule, for a distance.
    Features(Vec<f32>),
    /// The bytes of the input tensor, drawn from a seed: see [`drawn_bytes`].
    DrawnTensor(u32),
    /// A window of readings from `-2^exponent` to `2^exponent`, drawn from a seed.
    DrawnWindow {
        seed: u32,
        /// A power of two, so that a product with it is exact everywhere.
        amplitude: f32,
    },
}

impl Vector {
    /// Whether it came with the capsule.
    pub(super) fn is_recorded(&self) -> bool {
        matches!(
            self.input,
            Input::Tensor(_) | Input::Window(_) | Input::Features(_)
        )
    }
}

/// Numbers from a seed that is not 0: three shifts, which every language writes alike.
///
/// # Source
/// Marsaglia, 2003, "Xorshift RNGs", the triple 13, 17, 5.
struct Xorshift(u32);

impl Xorshift {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// Bytes of an input tensor: the uppermost eight bits of each number.
fn drawn_bytes(seed: u32, len: usize) -> Vec<u8> {
    let mut numbers = Xorshift(seed);
    (0..len).map(|_| (numbers.next() >> 24) as u8).collect()
}

/// Readings: the upper 24 bits of each number, centred, in steps of `amplitude / 2^23`. Every step is exact.
fn drawn_readings(seed: u32, amplitude: f32, len: usize) -> Vec<f32> {
    let mut numbers = Xorshift(seed);
    let mut reading = || {
        let centred = (numbers.next() >> 8) as i32 - (1 << 23);
        centred as f32 * (1.0 / 8_388_608.0) * amplitude
    };
    (0..len).map(|_| reading()).collect()
}

/// The vectors of a payload, and as many drawn ones as are missing of [`VECTORS_MIN`], with what the Rust runtime makes of them.
pub(super) fn vectors(
    contents: &Contents<'_>,
    payload: &[u8],
) -> Result<Vec<Vector>, PackageError> {
    let mut runs = Runs {
        contents,
        arena: vec![0; contents.program.arena_bytes()],
    };
    let mut all = Vec::new();
    for golden in golden_of(payload)? {
        let vector = match golden {
            Golden::Tensor { input, output } => {
                let made = runs.tensor(contents.plan().ok_or(UNSUITABLE)?, &input);
                debug_assert_eq!(made, output, "the payload was replayed");
                Vector {
                    features_crc: None,
                    input_crc: crc32(&input),
                    input: Input::Tensor(input),
                    output,
                }
            }
            Golden::Window { readings, .. } => runs
                .window(&readings)
                .map(|made| made.with(Input::Window(readings)))
                .ok_or(PackageError::Incoherent("a golden window has no features"))?,
            Golden::Score { features, .. } => runs
                .features(&features)
                .map(|made| Vector {
                    features_crc: None,
                    ..made.with(Input::Features(features))
                })
                .ok_or(UNSUITABLE)?,
        };
        all.push(vector);
    }
    let has_window = all.iter().any(|vector| vector.features_crc.is_some());
    if !has_window {
        let amplitude = amplitude(contents);
        // Every other stage of a distance is behind features, which nothing draws.
        let count = match contents.plan() {
            Some(_) => WINDOWS_DRAWN,
            None => VECTORS_MIN.saturating_sub(all.len()).max(WINDOWS_DRAWN),
        };
        let seeds = (1..).take(count);
        let drawn = seeds.filter_map(|seed| {
            let readings = drawn_readings(seed, amplitude, contents.front_end.reading_count());
            let made = runs.window(&readings)?;
            Some(made.with(Input::DrawnWindow { seed, amplitude }))
        });
        all.extend(drawn);
    }
    if let Some(plan) = contents.plan() {
        for seed in 1.. {
            if all.len() >= VECTORS_MIN {
                break;
            }
            let input = drawn_bytes(seed, plan.input().bytes());
            all.push(Vector {
                features_crc: None,
                input_crc: crc32(&input),
                output: runs.tensor(plan, &input),
                input: Input::DrawnTensor(seed),
            });
        }
    }
    Ok(all)
}

/// The power of two at or below the sensor's full scale, as far as it is known and the same for all channels; 1 otherwise.
fn amplitude(contents: &Contents<'_>) -> f32 {
    let channels = contents.sensor.iter().flat_map(|sensor| sensor.channels());
    let least = channels
        .map(|channel| channel.full_scale)
        .filter(|&scale| scale > 0.0)
        .fold(f32::INFINITY, f32::min);
    match least.is_finite() {
        true => least.log2().floor().clamp(-20.0, 20.0).exp2(),
        false => 1.0,
    }
}

/// What became of a window.
struct Made {
    features_crc: u32,
    input_crc: u32,
    output: Vec<u8>,
}

impl Made {
    fn with(self, input: Input) -> Vector {
        Vector {
            input,
            features_crc: Some(self.features_crc),
            input_crc: self.input_crc,
            output: self.output,
        }
    }
}

/// The Rust runtime at work.
struct Runs<'a> {
    contents: &'a Contents<'a>,
    arena: Vec<u8>,
}

impl Runs<'_> {
    const LENT: &'static str = "the arena has the length that the plan asked for";

    fn tensor(&mut self, plan: &Plan<'_>, input: &[u8]) -> Vec<u8> {
        plan.reset(&mut self.arena[..]).expect(Self::LENT);
        self.arena[plan.input().range()].copy_from_slice(input);
        self.run(plan)
    }

    /// `None` where a feature is no number: its bits are the processor's.
    fn window(&mut self, readings: &[f32]) -> Option<Made> {
        let front_end = &self.contents.front_end;
        let mut features = vec![0.0; front_end.feature_count()];
        let mut scratch = vec![0.0; front_end.scratch_len()];
        front_end
            .extract(readings, &mut features, &mut scratch)
            .ok()?;
        self.features(&features)
    }

    /// `None` where a feature or a score is no number, and of another count of features.
    fn features(&mut self, features: &[f32]) -> Option<Made> {
        let is_right = features.len() == self.contents.front_end.feature_count();
        if !is_right || !features.iter().all(|feature| feature.is_finite()) {
            return None;
        }
        let mut scaled = features.to_vec();
        self.contents.scaler.apply(&mut scaled);
        let (input_crc, output) = match &self.contents.program {
            Program::Plan(plan) => {
                plan.reset(&mut self.arena[..]).expect(Self::LENT);
                plan.set_input(&scaled, &mut self.arena[..])
                    .expect(Self::LENT);
                let input_crc = crc32(&self.arena[plan.input().range()]);
                (input_crc, self.run(plan))
            }
            Program::Distance(distance) => {
                let score = distance.score(&scaled);
                if !score.is_finite() {
                    return None;
                }
                (crc32(&le_bytes(&scaled)), score.to_le_bytes().to_vec())
            }
        };
        Some(Made {
            features_crc: crc32(&le_bytes(features)),
            input_crc,
            output,
        })
    }

    fn run(&mut self, plan: &Plan<'_>) -> Vec<u8> {
        plan.run(&mut self.arena[..]).expect(Self::LENT);
        self.arena[plan.output().range()].to_vec()
    }
}

/// Floats as they lie in memory that is little-endian.
pub(super) fn le_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// What a tensor's values are called in C.
pub(super) fn element(element: Element) -> &'static str {
    match element {
        Element::Int8 => "int8",
        Element::Int16 => "int16",
    }
}

/// The vectors for programs: hex digits, and seeds where they are drawn.
pub(super) fn vectors_json(vectors: &[Vector]) -> Vec<u8> {
    let rows = vectors.iter().map(|vector| {
        let input = match &vector.input {
            Input::Tensor(bytes) => json!({ "tensor": hex(bytes) }),
            Input::Window(readings) => json!({ "window": readings }),
            Input::Features(features) => json!({ "features": features }),
            Input::DrawnTensor(seed) => json!({ "tensor_from_seed": seed }),
            Input::DrawnWindow { seed, amplitude } => {
                json!({ "window_from_seed": seed, "amplitude": amplitude })
            }
        };
        json!({
            "input": input,
            "features_crc32": vector.features_crc,
            "input_crc32": vector.input_crc,
            "output": hex(&vector.output),
        })
    });
    let rows: Vec<Value> = rows.collect();
    let text = serde_json::to_string_pretty(&rows).expect("a value of JSON has a text");
    (text + "\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_numbers_are_what_the_generated_sources_draw() {
        // By hand: 1 ^ 1<<13 = 0x2001; ^ >>17 stays; ^ <<5 = 0x42021.
        assert_eq!(Xorshift(1).next(), 0x0004_2021);
        assert_eq!(drawn_bytes(1, 3).len(), 3);
        let readings = drawn_readings(7, 4.0, 1000);
        assert!(readings.iter().all(|reading| reading.abs() <= 4.0));
        let mean: f32 = readings.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.5, "{mean}");
    }
}
