//! What a device's sensor delivers, held against what a model was trained on.

use tinyops_dsp::FrontEnd;
use tinyops_wire::frame::Reason;
use tinyops_wire::sensor::{Channel, Mounting, RATE_TOLERANCE_PPM, SensorSection};

use crate::model::Refusal;

/// What a sensor delivers: the firmware's side of the sensor contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensor {
    /// Channels of a reading.
    pub channel_count: u16,
    /// Readings per second.
    pub rate_hz: f32,
    /// How it sits in its machine; `None` if the device does not say, and then any capsule's mounting will do.
    pub mounting: Option<Mounting>,
    /// What each channel measures; none if the device does not say, and then any capsule's will do.
    pub channels: &'static [Channel<'static>],
}

impl Sensor {
    /// Whether readings of this sensor mean to a model what those of its training did, as far as both say. `section` is what
    /// the model's capsule says of them beside its front end.
    ///
    /// The rate may differ by the section's tolerance, a full scale by one part in 1,000; all else is equal or not.
    ///
    /// # Errors
    /// The first that differs, in the order of number of channels, rate, then for each channel axis, unit and full scale,
    /// then mounting: [`Reason::Channels`], [`Reason::Rate`], [`Reason::Axis`], [`Reason::Unit`], [`Reason::FullScale`],
    /// [`Reason::Mounting`].
    pub fn check(
        &self,
        front_end: &FrontEnd,
        section: Option<&SensorSection<'_>>,
    ) -> Result<(), Refusal> {
        let channel_count = front_end.channel_count;
        if channel_count != self.channel_count {
            return Err(Refusal::needs(Reason::Channels, usize::from(channel_count)));
        }
        let tolerance = section.map_or(RATE_TOLERANCE_PPM, SensorSection::rate_tolerance_ppm);
        let rate_hz = front_end.rate_hz;
        let difference = (rate_hz - self.rate_hz).abs();
        // What was trained on pictures has no rate, and takes any.
        let is_same_rate = rate_hz == 0.0 || difference <= tolerance as f32 * 1e-6 * rate_hz.abs();
        if !is_same_rate {
            return Err(Refusal::needs(Reason::Rate, (rate_hz * 1000.0) as usize));
        }
        let Some(section) = section else {
            return Ok(());
        };
        for (index, (wanted, own)) in section.channels().zip(self.channels).enumerate() {
            let differs =
                |wanted: &str, own: &str| !wanted.is_empty() && !own.is_empty() && wanted != own;
            if differs(wanted.axis, own.axis) {
                return Err(Refusal::needs(Reason::Axis, index));
            }
            if differs(wanted.unit, own.unit) {
                return Err(Refusal::needs(Reason::Unit, index));
            }
            let says_scale = wanted.full_scale > 0.0 && own.full_scale > 0.0;
            let difference = (wanted.full_scale - own.full_scale).abs();
            if says_scale && difference > 1e-3 * wanted.full_scale {
                let thousandths = (wanted.full_scale * 1000.0) as usize;
                return Err(Refusal::needs(Reason::FullScale, thousandths));
            }
        }
        match (section.mounting(), self.mounting) {
            (Some(wanted), Some(own)) if wanted != own => {
                Err(Refusal::needs(Reason::Mounting, usize::from(wanted.code())))
            }
            _ => Ok(()),
        }
    }
}
