//! A fan: rotor, blades, bearing, mounting and sensor.

use std::f32::consts::TAU;

use super::{Dice, mount::Mount};

/// Axes of the accelerometer: radial, radial, axial.
pub(crate) const AXES: usize = 3;

/// What the sensor gives per second and axis.
pub(crate) const RATE_HZ: f32 = 400.0;

/// Physics runs four times faster, so that what rings above the sensor's band is there to be filtered.
const OVERSAMPLING: usize = 4;
const STEP_HZ: f32 = RATE_HZ * OVERSAMPLING as f32;

/// A common MEMS part: ±8 g in 16 bits.
const COUNTS_PER_G: f32 = 4096.0;

/// What is wrong with a fan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Normal,
    /// Mass off the axis: the line at the speed of rotation grows.
    Imbalance,
    /// One blade is chipped: it pushes less air than the others, once per turn.
    Blade,
    /// A dent in the outer race: each ball that rolls over it rings the housing.
    Bearing,
    /// The rotor has play: motion is clipped, with half and whole multiples of the speed.
    Looseness,
}

impl Condition {
    /// All of them, in the order of the class indices.
    pub(crate) const ALL: [Self; 5] = [
        Self::Normal,
        Self::Imbalance,
        Self::Blade,
        Self::Bearing,
        Self::Looseness,
    ];

    /// The condition with this label.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|condition| condition.word() == word)
    }

    /// The label in recordings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Imbalance => "imbalance",
            Self::Blade => "blade",
            Self::Bearing => "bearing",
            Self::Looseness => "looseness",
        }
    }
}

/// What does not change about one fan: how it was built and mounted.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    rotation_hz: f32,
    residual_imbalance_g: f32,
    misalignment_g: f32,
    blade_pass_g: f32,
    turbulence_g: f32,
    /// What the neighbour's rotor, close to this one in speed, sends through the floor.
    neighbour_g: f32,
    neighbour_hz: f32,
    /// Balls that pass a point of the outer race per turn.
    outer_race_factor: f32,
    housing_hz: f32,
    resonance_hz: [f32; AXES],
    damping: [f32; AXES],
    gain: [f32; AXES],
    noise_g: f32,
    /// How this one ages: the angle its sensor bracket turns by, in radians at full wear.
    bracket_turn: f32,
    phases: [f32; 8],
}

impl Machine {
    /// A fan off the line: every figure has its tolerance.
    pub(crate) fn build(dice: &mut Dice) -> Self {
        Self {
            rotation_hz: dice.between(20.0, 23.0),
            residual_imbalance_g: dice.between(0.03, 0.10),
            misalignment_g: dice.between(0.01, 0.03),
            blade_pass_g: dice.between(0.04, 0.07),
            turbulence_g: dice.between(0.05, 0.11),
            neighbour_g: dice.between(0.0, 0.05),
            neighbour_hz: dice.between(19.0, 24.0),
            outer_race_factor: dice.between(3.0, 3.1),
            housing_hz: dice.between(145.0, 165.0),
            resonance_hz: [
                dice.between(78.0, 88.0),
                dice.between(84.0, 94.0),
                dice.between(96.0, 110.0),
            ],
            damping: [
                dice.between(0.18, 0.26),
                dice.between(0.18, 0.26),
                dice.between(0.18, 0.26),
            ],
            gain: [
                dice.between(0.8, 1.25),
                dice.between(0.8, 1.25),
                dice.between(0.8, 1.25),
            ],
            noise_g: dice.between(0.004, 0.016),
            bracket_turn: dice.between(0.75, 1.05),
            phases: std::array::from_fn(|_| dice.unit()),
        }
    }
}

/// A fan that runs.
#[derive(Clone, Debug)]
pub(crate) struct Fan {
    machine: Machine,
    mounts: [Mount; AXES],
    /// Turns since the start; only the fraction matters, twice over because of the half multiples.
    turns: f32,
    /// The neighbour's turns since the start.
    neighbour_turns: f32,
    /// Balls since the last one that hit the dent, and the ringing it left.
    balls: f32,
    ring: [f32; 2],
    turbulence: [f32; AXES],
    play: f32,
    dice: Dice,
    wear: f32,
}

impl Fan {
    /// Starts a machine; `dice` is the chance of its life from now on.
    pub(crate) fn start(machine: Machine, dice: Dice) -> Self {
        let mut fan = Self {
            machine,
            mounts: Default::default(),
            turns: 0.0,
            neighbour_turns: 0.0,
            balls: 0.0,
            ring: [0.0; 2],
            turbulence: [0.0; AXES],
            play: 0.0,
            dice,
            wear: 0.0,
        };
        fan.set_wear(0.0);
        fan
    }

    /// How far the mounting has worked loose, from 0 (as built) to 1.
    ///
    /// A loose mounting is softer and less damped, lets more through, and the bracket of the
    /// sensor turns, so that what was axial is seen on a radial axis too.
    pub(crate) fn set_wear(&mut self, wear: f32) {
        self.wear = wear;
        for axis in 0..AXES {
            self.mounts[axis].set(
                STEP_HZ,
                self.machine.resonance_hz[axis] * (1.0 - 0.45 * wear),
                self.machine.damping[axis] * (1.0 - 0.3 * wear),
                self.machine.gain[axis] * (1.0 + 0.5 * wear),
            );
        }
    }

    /// Measures on: fills `readings` (interleaved, in g) while the fan has `condition` in the given
    /// `severity` (1 is typical) under `load` (1 is nominal).
    pub(crate) fn measure(
        &mut self,
        condition: Condition,
        severity: f32,
        load: f32,
        readings: &mut [f32],
    ) {
        let slow = self.machine.rotation_hz * (1.0 - 0.04 * (load - 1.0));
        // Mains and draught: the speed wanders a little from window to window.
        let rotation_hz = slow * (1.0 + 0.006 * self.dice.normal());
        for reading in readings.chunks_exact_mut(AXES) {
            let mut sums = [0.0f32; AXES];
            for _ in 0..OVERSAMPLING {
                let forces = self.forces(condition, severity, load, rotation_hz);
                for ((sum, mount), force) in sums.iter_mut().zip(&mut self.mounts).zip(forces) {
                    *sum += mount.step(force);
                }
            }
            self.sense(sums, reading);
        }
    }

    fn forces(
        &mut self,
        condition: Condition,
        severity: f32,
        load: f32,
        rotation_hz: f32,
    ) -> [f32; AXES] {
        self.turns = (self.turns + rotation_hz / STEP_HZ) % 2.0;
        let machine = &self.machine;
        self.neighbour_turns = (self.neighbour_turns + machine.neighbour_hz / STEP_HZ) % 1.0;
        let phase = &machine.phases;
        let line = |multiple: f32, phase: f32| (TAU * (multiple * self.turns + phase)).sin();
        // Centrifugal force grows with the square of the speed.
        let speed = (rotation_hz / 21.5).powi(2);

        let mut unbalance = machine.residual_imbalance_g;
        let mut blade_pass = machine.blade_pass_g * load;
        let mut chipped = 0.0;
        let mut play = 0.0;
        match condition {
            Condition::Imbalance => unbalance += 0.22 * severity,
            Condition::Blade => {
                chipped = 0.11 * severity * load;
                unbalance += 0.04 * severity;
                blade_pass *= 0.8;
            }
            Condition::Looseness => play = 0.13 * severity,
            Condition::Normal | Condition::Bearing => {}
        }

        let radial = unbalance * speed;
        let mut x = radial * line(1.0, phase[0]);
        let mut y = radial * line(1.0, phase[0] + 0.25);
        let mut z = 0.15 * radial * line(1.0, phase[1]);
        let misaligned = machine.misalignment_g * line(2.0, phase[2]);
        x += misaligned;
        z += 0.8 * misaligned;

        // Five blades: whole, they push together five times per turn; chipped, one is missed once
        // per turn, which is a pulse and so has every low multiple, and both sides of the fifth.
        let pass = blade_pass * line(5.0, phase[3]);
        x += 0.3 * pass;
        y += 0.3 * pass;
        z += pass;
        if chipped > 0.0 {
            let pulse = line(1.0, phase[4])
                + 0.8 * line(2.0, phase[4])
                + 0.6 * line(3.0, phase[4])
                + 0.5 * line(4.0, phase[4])
                + 0.4 * line(6.0, phase[4]);
            z += chipped * pulse;
            x += 0.25 * chipped * pulse;
        }

        if play > 0.0 {
            // The rotor lands anew every other turn, never quite alike.
            self.play += 0.02 * (self.dice.normal() - self.play);
            let landing = play * (1.0 + 4.0 * self.play);
            let knock = 0.9 * line(0.5, phase[5])
                + 0.5 * line(1.5, phase[5])
                + 0.8 * line(2.0, phase[5])
                + 0.6 * line(2.5, phase[6])
                + 0.7 * line(3.0, phase[6])
                + 0.5 * line(4.0, phase[6]);
            x += landing * knock;
            y += 0.6 * landing * knock;
            z += 0.2 * landing * knock;
        }

        // The floor moves sideways: the two rotors beat on both radial axes.
        let (sin, cos) = (TAU * self.neighbour_turns).sin_cos();
        x += machine.neighbour_g * sin;
        y += machine.neighbour_g * cos;

        let ringing = self.bearing(condition, severity, load, rotation_hz);
        x += ringing;
        y += 0.7 * ringing;
        z += 0.4 * ringing;

        for value in &mut self.turbulence {
            // First order, corner at about 60 Hz.
            *value += 0.21 * (self.dice.normal() - *value);
        }
        let turbulence_g = self.machine.turbulence_g * load;
        [
            x + 0.5 * turbulence_g * self.turbulence[0],
            y + 0.5 * turbulence_g * self.turbulence[1],
            z + turbulence_g * self.turbulence[2],
        ]
    }

    /// The housing rings each time a ball passes the dent; balls slip, so the beat is not exact.
    fn bearing(&mut self, condition: Condition, severity: f32, load: f32, rotation_hz: f32) -> f32 {
        let angle = TAU * self.machine.housing_hz / STEP_HZ;
        // Rings down to 1/e in 7 ms.
        let decay = (-1.0 / (0.007 * STEP_HZ)).exp();
        let [older, old] = self.ring;
        let mut now = 2.0 * decay * angle.cos() * old - decay * decay * older;
        self.balls += self.machine.outer_race_factor * rotation_hz / STEP_HZ
            * (1.0 + 0.1 * self.dice.normal());
        if self.balls >= 1.0 {
            self.balls -= 1.0;
            if condition == Condition::Bearing {
                let blow = 0.34 * severity * load * (1.0 + 0.15 * self.dice.normal());
                now += blow * angle.sin();
            }
        }
        self.ring = [old, now];
        now
    }

    /// The bracket turns what the mounting moves; the sensor averages, adds its noise and rounds.
    fn sense(&mut self, sums: [f32; AXES], reading: &mut [f32]) {
        let (sin, cos) = (self.wear * self.machine.bracket_turn).sin_cos();
        let [x, y, z] = sums.map(|sum| sum / OVERSAMPLING as f32);
        let turned = [cos * x + sin * z, y, cos * z - sin * x];
        for (value, motion) in reading.iter_mut().zip(turned) {
            let noisy = motion + self.machine.noise_g * self.dice.normal();
            *value = (noisy.clamp(-8.0, 8.0) * COUNTS_PER_G).round() / COUNTS_PER_G;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power of one axis at one frequency, by the sum of Goertzel.
    fn power(readings: &[f32], axis: usize, frequency_hz: f32) -> f32 {
        let (mut re, mut im) = (0.0f32, 0.0f32);
        for (index, reading) in readings.chunks_exact(AXES).enumerate() {
            let angle = TAU * frequency_hz * index as f32 / RATE_HZ;
            re += reading[axis] * angle.cos();
            im += reading[axis] * angle.sin();
        }
        let count = (readings.len() / AXES) as f32;
        (re * re + im * im) / (count * count)
    }

    fn record(condition: Condition, wear: f32) -> Vec<f32> {
        let mut dice = Dice::new(3, 0);
        let machine = Machine {
            rotation_hz: 20.0,
            ..Machine::build(&mut dice)
        };
        let mut fan = Fan::start(machine, Dice::new(3, 1));
        fan.set_wear(wear);
        let mut readings = vec![0.0; 800 * AXES];
        fan.measure(condition, 1.0, 1.0, &mut readings);
        readings
    }

    /// Power within 1 Hz: the speed wanders.
    fn around(readings: &[f32], axis: usize, frequency_hz: f32) -> f32 {
        (-10..=10)
            .map(|step| power(readings, axis, frequency_hz + 0.1 * step as f32))
            .fold(0.0, f32::max)
    }

    #[test]
    fn each_fault_has_its_lines() {
        let normal = record(Condition::Normal, 0.0);
        let imbalance = record(Condition::Imbalance, 0.0);
        assert!(around(&imbalance, 0, 20.0) > 9.0 * around(&normal, 0, 20.0));
        let blade = record(Condition::Blade, 0.0);
        assert!(around(&blade, 2, 40.0) > 9.0 * around(&normal, 2, 40.0));
        let looseness = record(Condition::Looseness, 0.0);
        assert!(around(&looseness, 0, 10.0) > 9.0 * around(&normal, 0, 10.0));
    }

    #[test]
    fn one_seed_is_one_recording() {
        assert_eq!(
            record(Condition::Bearing, 0.5),
            record(Condition::Bearing, 0.5)
        );
    }

    #[test]
    fn a_worn_mounting_turns_the_bracket() {
        // The blades push along the axis; a turned bracket shows that on a radial axis.
        let share = |readings: &[f32]| around(readings, 0, 100.0) / around(readings, 2, 100.0);
        let fresh = share(&record(Condition::Normal, 0.0));
        let worn = share(&record(Condition::Normal, 1.0));
        assert!(worn > 3.0 * fresh, "fresh {fresh}, worn {worn}");
    }
}
