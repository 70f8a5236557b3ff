//! The accelerometer of the board's first revision, an LSM9DS1.

use embassy_nrf::twim::{Error, Twim};

/// Its greatest reading, in g.
pub const FULL_SCALE_G: f32 = 4.0;

const ADDRESS: u8 = 0x6b;
const WHO_AM_I: u8 = 0x0f;
const ITSELF: u8 = 0x68;
const CTRL_REG6_XL: u8 = 0x20;
const CTRL_REG8: u8 = 0x22;
const STATUS_REG: u8 = 0x27;
const OUT_X_XL: u8 = 0x28;
/// 119 Hz, 4 g; block data update, addresses that count on.
const RATE_119_HZ_4_G: u8 = 0x70;
const WHOLE_READINGS: u8 = 0x44;
/// Of the datasheet's table of sensitivities.
const G_PER_DIGIT: f32 = 0.000_122;

/// The sensor on its bus.
pub struct Imu(Twim<'static>);

impl Imu {
    /// What its oscillator is set to.
    pub const RATE_HZ: f32 = 119.0;

    /// Starts it; `None` if it does not answer as itself.
    pub fn start(mut bus: Twim<'static>) -> Option<Imu> {
        let mut who = [0];
        bus.blocking_write_read(ADDRESS, &[WHO_AM_I], &mut who)
            .ok()?;
        if who != [ITSELF] {
            return None;
        }
        for (register, value) in [(CTRL_REG8, WHOLE_READINGS), (CTRL_REG6_XL, RATE_119_HZ_4_G)] {
            bus.blocking_write(ADDRESS, &[register, value]).ok()?;
        }
        Some(Imu(bus))
    }

    /// The newest reading in g, if there is one that has not been read.
    pub fn read(&mut self) -> Option<[f32; 3]> {
        self.read_bytes().ok().flatten()
    }

    fn read_bytes(&mut self) -> Result<Option<[f32; 3]>, Error> {
        let (mut status, mut bytes) = ([0], [0; 6]);
        self.0
            .blocking_write_read(ADDRESS, &[STATUS_REG], &mut status)?;
        if status[0] & 1 == 0 {
            return Ok(None);
        }
        self.0
            .blocking_write_read(ADDRESS, &[OUT_X_XL], &mut bytes)?;
        let axis =
            |at: usize| f32::from(i16::from_le_bytes([bytes[at], bytes[at + 1]])) * G_PER_DIGIT;
        Ok(Some([axis(0), axis(2), axis(4)]))
    }
}
