//! The accelerometer of an Arduino Nano 33 BLE Sense: an LSM9DS1 on its first revision, a BMI270 on its second. Which one
//! there is, its bus says.
//!
//! Both are asked for 4 g, and both say the same of the same board: x, y and z as Arduino's own libraries have them.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod bmi270;
mod lsm9ds1;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use crate::bmi270::Bmi270;
use crate::lsm9ds1::Lsm9ds1;

/// The greatest reading of either, in g.
pub const FULL_SCALE_G: f32 = 4.0;

/// Which of the board's two revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// With an LSM9DS1.
    First,
    /// With a BMI270.
    Second,
}

impl Revision {
    /// The one whose accelerometer answers as itself, if one does.
    pub fn of(bus: &mut impl I2c) -> Option<Revision> {
        if lsm9ds1::is_there(bus) {
            return Some(Revision::First);
        }
        bmi270::is_there(bus).then_some(Revision::Second)
    }

    /// Readings per second, as the accelerometer's oscillator is set.
    pub const fn rate_hz(self) -> f32 {
        match self {
            Revision::First => lsm9ds1::RATE_HZ,
            Revision::Second => bmi270::RATE_HZ,
        }
    }
}

/// The accelerometer on its bus.
pub enum Imu<B, D> {
    /// Of the first revision.
    Lsm9ds1(Lsm9ds1<B>),
    /// Of the second.
    Bmi270(Bmi270<B, D>),
}

impl<B: I2c, D: DelayNs> Imu<B, D> {
    /// Starts it; `None` if it does not do as it is told.
    ///
    /// The BMI270 first takes 8 kB of configuration, about a second at 100 kHz.
    pub fn start(revision: Revision, bus: B, delay: D) -> Option<Imu<B, D>> {
        match revision {
            Revision::First => Lsm9ds1::start(bus).map(Imu::Lsm9ds1),
            Revision::Second => Bmi270::start(bus, delay).map(Imu::Bmi270),
        }
    }

    /// The newest reading in g, if there is one that has not been read.
    pub fn read(&mut self) -> Option<[f32; 3]> {
        match self {
            Imu::Lsm9ds1(imu) => imu.read().ok().flatten(),
            Imu::Bmi270(imu) => imu.read().ok().flatten(),
        }
    }
}

#[cfg(test)]
mod tests;
