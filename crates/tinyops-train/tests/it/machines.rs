//! Three conditions of a machine, as a three-axis accelerometer sees them.

use tinyops_train::progress::Flow;
use tinyops_train::{FeatureSet, Origin, Recording, Target, TrainSpec, Windows};

/// Nothing wrong, a worn bearing, a loose mount.
pub(crate) const CLASSES: [&str; 3] = ["calm", "worn", "loose"];

const LEN: usize = 128;

/// Windows of machines 0 to 5 for training, 6 for validation, 7 and 8 for test, at 100 Hz.
pub(crate) fn machines() -> [Windows; 3] {
    let mut parts = std::array::from_fn(|_| Windows::empty(100.0, 3, LEN as u32));
    for machine in 0..9u32 {
        let part: &mut Windows = &mut parts[[0, 0, 0, 0, 0, 0, 1, 2, 2][machine as usize]];
        let recording = part.recordings.len() as u32;
        part.recordings.push(Recording {
            name: format!("machine-{machine}.csv"),
            group: format!("machine {machine}"),
            ..Recording::default()
        });
        let mut noise = Noise(machine + 1);
        for window in 0..45 {
            let class = window % 3;
            let readings = shake(class as usize, machine, &mut noise);
            part.push(
                &readings,
                Target::Class(class as u16),
                Origin {
                    recording,
                    start: window * LEN as u32,
                },
            );
        }
    }
    parts
}

pub(crate) fn feature_set(spec: &TrainSpec) -> FeatureSet {
    FeatureSet::of_windows(spec, &CLASSES.map(String::from), &machines(), &mut |_| {
        Flow::Continue
    })
    .unwrap()
}

fn shake(class: usize, machine: u32, noise: &mut Noise) -> Vec<f32> {
    let speed = 0.35 + 0.01 * machine as f32 + 0.02 * noise.next();
    let (phase, strength) = (3.0 * noise.next(), 1.0 + 0.2 * noise.next());
    let mut readings = Vec::with_capacity(3 * LEN);
    for reading in 0..LEN {
        let angle = speed * reading as f32 + phase;
        let turn = strength * angle.sin();
        let fault = match class {
            0 => 0.0,
            1 => 0.5 * (6.3 * angle).sin() * (1.0 + angle.sin()),
            _ => 0.8 * (0.5 * angle).sin() + 0.3 * (1.5 * angle).cos(),
        };
        readings.push(turn + fault + 0.1 * noise.next());
        readings.push(strength * angle.cos() + 0.5 * fault + 0.1 * noise.next());
        readings.push(1.0 + 0.3 * fault + 0.1 * noise.next());
    }
    readings
}

/// A small congruential generator, uniform in -1..1: tests owe nothing to the crate's own chance.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
