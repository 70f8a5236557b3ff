//! Bosch's BMI270: its accelerometer, over the driver `bmi2`, which carries the configuration that it wants before it
//! measures (datasheet BST-BMI270-DS000, 4.5).

use bmi2::config::BMI270_CONFIG_FILE;
use bmi2::types::BMI270_CHIP_ID;
use bmi2::types::{AccBwp, AccConf, AccRange, Burst, Error, Odr, PerfMode, PwrCtrl};
use bmi2::{Bmi2, I2cAddr, interface::I2cInterface};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

/// What it is asked for: it knows 100 and 200, and no 119.
pub const RATE_HZ: f32 = 100.0;

const CHIP_ID: u8 = 0x00;
/// Bytes that are written at once, of the configuration: on the stack.
const BURST_BYTES: usize = 64;
/// 4 g over the range of its digits.
const G_PER_DIGIT: f32 = 4.0 / 32_768.0;

/// Whether one answers as itself.
pub fn is_there(bus: &mut impl I2c) -> bool {
    let mut chip = [0];
    bus.write_read(I2cAddr::Default.addr(), &[CHIP_ID], &mut chip)
        .is_ok()
        && chip == [BMI270_CHIP_ID]
}

/// The sensor on its bus.
pub struct Bmi270<B, D>(Bmi2<I2cInterface<B>, D, BURST_BYTES>);

impl<B: I2c, D: DelayNs> Bmi270<B, D> {
    /// Gives it its configuration and starts it; `None` if it does not take it.
    pub fn start(bus: B, delay: D) -> Option<Bmi270<B, D>> {
        let burst = Burst::new(BURST_BYTES as u16);
        let mut chip = Bmi2::new_i2c(bus, delay, I2cAddr::Default, burst);
        chip.init(&BMI270_CONFIG_FILE).ok()?;
        // The driver leaves it saving power, in which it wants a pause after every register.
        chip.disable_power_save().ok()?;
        chip.set_acc_conf(AccConf {
            odr: Odr::Odr100,
            bwp: AccBwp::NormAvg4,
            filter_perf: PerfMode::Perf,
        })
        .ok()?;
        chip.set_acc_range(AccRange::Range4g).ok()?;
        let only_the_accelerometer = PwrCtrl {
            aux_en: false,
            gyr_en: false,
            acc_en: true,
            temp_en: false,
        };
        chip.set_pwr_ctrl(only_the_accelerometer).ok()?;
        Some(Bmi270(chip))
    }

    /// The newest reading in g, if there is one that has not been read.
    pub fn read(&mut self) -> Result<Option<[f32; 3]>, Error<B::Error>> {
        if !self.0.get_status()?.acc_data_ready {
            return Ok(None);
        }
        let raw = self.0.get_acc_data()?;
        let g = |digits: i16| f32::from(digits) * G_PER_DIGIT;
        // The chip lies on the board turned by a quarter and mirrored against the first revision's: as Arduino's library
        // for this revision has it, so that x and y of both are the board's.
        Ok(Some([-g(raw.y), -g(raw.x), g(raw.z)]))
    }
}
