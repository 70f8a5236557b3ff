//! ST's LSM9DS1: its accelerometer (datasheet DocID025715, revision 3).

use embedded_hal::i2c::I2c;

/// What it is asked for.
pub const RATE_HZ: f32 = 119.0;

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

/// Whether one answers as itself.
pub fn is_there(bus: &mut impl I2c) -> bool {
    let mut who = [0];
    bus.write_read(ADDRESS, &[WHO_AM_I], &mut who).is_ok() && who == [ITSELF]
}

/// The sensor on its bus.
pub struct Lsm9ds1<B>(B);

impl<B: I2c> Lsm9ds1<B> {
    /// Starts it.
    pub fn start(mut bus: B) -> Option<Lsm9ds1<B>> {
        for (register, value) in [(CTRL_REG8, WHOLE_READINGS), (CTRL_REG6_XL, RATE_119_HZ_4_G)] {
            bus.write(ADDRESS, &[register, value]).ok()?;
        }
        Some(Lsm9ds1(bus))
    }

    /// The newest reading in g, if there is one that has not been read.
    pub fn read(&mut self) -> Result<Option<[f32; 3]>, B::Error> {
        let (mut status, mut bytes) = ([0], [0; 6]);
        self.0.write_read(ADDRESS, &[STATUS_REG], &mut status)?;
        if status[0] & 1 == 0 {
            return Ok(None);
        }
        self.0.write_read(ADDRESS, &[OUT_X_XL], &mut bytes)?;
        let axis =
            |at: usize| f32::from(i16::from_le_bytes([bytes[at], bytes[at + 1]])) * G_PER_DIGIT;
        Ok(Some([axis(0), axis(2), axis(4)]))
    }
}
