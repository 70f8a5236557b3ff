//! What lies between a force and the sensor: a mounting with one resonance per axis.

use std::f32::consts::TAU;

/// The transmissibility of a mass on a damped spring, as a digital filter.
///
/// `H(s) = g (2ζω s + ω²) / (s² + 2ζω s + ω²)`, by the bilinear transform with the resonance
/// prewarped.
///
/// # Source
/// S. S. Rao, 2011, "Mechanical Vibrations", 5th ed., section 3.6 (base excitation).
#[derive(Clone, Debug, Default)]
pub(crate) struct Mount {
    b: [f32; 3],
    a: [f32; 2],
    state: [f32; 2],
}

impl Mount {
    /// Sets resonance, damping ratio and gain; the motion that is in it goes on.
    pub(crate) fn set(&mut self, rate_hz: f32, resonance_hz: f32, damping: f32, gain: f32) {
        let k = 1.0 / (TAU * resonance_hz / (2.0 * rate_hz)).tan();
        let damped = 2.0 * damping * k;
        let norm = 1.0 / (k * k + damped + 1.0);
        self.b = [
            gain * (damped + 1.0) * norm,
            gain * 2.0 * norm,
            gain * (1.0 - damped) * norm,
        ];
        self.a = [2.0 * (1.0 - k * k) * norm, (k * k - damped + 1.0) * norm];
    }

    /// Moves one step: force in, motion out (transposed direct form II).
    pub(crate) fn step(&mut self, force: f32) -> f32 {
        let motion = self.b[0] * force + self.state[0];
        self.state[0] = self.b[1] * force - self.a[0] * motion + self.state[1];
        self.state[1] = self.b[2] * force - self.a[1] * motion;
        motion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The amplitude of the answer to a unit sine.
    fn answer(mount: &mut Mount, rate_hz: f32, frequency_hz: f32) -> f32 {
        let steps = (rate_hz * 4.0) as usize;
        (0..steps)
            .map(|step| {
                let motion = mount.step((TAU * frequency_hz * step as f32 / rate_hz).sin());
                if step > steps / 2 { motion.abs() } else { 0.0 }
            })
            .fold(0.0, f32::max)
    }

    #[track_caller]
    fn check(frequency_hz: f32) {
        let (resonance_hz, damping) = (70.0, 0.2);
        let mut mount = Mount::default();
        mount.set(1600.0, resonance_hz, damping, 1.0);
        let r = frequency_hz / resonance_hz;
        let expected = ((1.0 + (2.0 * damping * r).powi(2))
            / ((1.0 - r * r).powi(2) + (2.0 * damping * r).powi(2)))
        .sqrt();
        let found = answer(&mut mount, 1600.0, frequency_hz);
        assert!(
            (found / expected - 1.0).abs() < 0.05,
            "{frequency_hz} Hz: {found}, expected {expected}"
        );
    }

    #[test]
    fn transmissibility_is_the_textbook_one() {
        check(10.0);
        check(70.0);
        check(120.0);
    }
}
