//! `[sensor]`: what no recording tells of the sensor, and the contract that both make.

use serde::{Deserialize, Serialize};
use tinyops_compile::{
    AXIS_BYTES_MAX, Mounting, RATE_TOLERANCE_PPM, RATE_TOLERANCE_PPM_MAX, SensorChannel,
    SensorContract, UNIT_BYTES_MAX,
};
use tinyops_data::{dataset::Dataset, sample::Channel};

use crate::RunError;

/// `[sensor]`: with it, capsules say all of what they were trained on, and a device whose firmware states otherwise refuses
/// them. Rate and units are those of the recordings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorSection {
    /// Names of the axes as the firmware states them, in the order of the channels; empty takes the names of the channels,
    /// where all recordings agree on them.
    pub axes: Vec<String>,
    /// Greatest reading, in the unit of the recordings: one for all channels, or one for each; empty where it is not known.
    pub full_scale: Vec<f32>,
    /// Where the sensor's x, y and z point in the machine, such as `y -x z`; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounting: Option<String>,
    /// How far a device's rate may lie from that of the recordings, in millionths of it.
    pub rate_tolerance_ppm: u32,
}

impl Default for SensorSection {
    fn default() -> Self {
        Self {
            axes: Vec::new(),
            full_scale: Vec::new(),
            mounting: None,
            rate_tolerance_ppm: RATE_TOLERANCE_PPM,
        }
    }
}

impl SensorSection {
    /// The first value that no contract can have: its key, and what is wrong with it.
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        for (index, axis) in self.axes.iter().enumerate() {
            if axis.is_empty() || axis.len() > AXIS_BYTES_MAX {
                let why = format!("names `{axis}`: 1 to {AXIS_BYTES_MAX} bytes");
                return Some(("sensor.axes", why));
            }
            if self.axes[..index].contains(axis) {
                return Some(("sensor.axes", format!("names `{axis}` twice")));
            }
        }
        let is_scale = |scale: &&f32| scale.is_finite() && **scale > 0.0;
        if let Some(scale) = self.full_scale.iter().find(|scale| !is_scale(scale)) {
            let why = format!("holds {scale}: a full scale is a finite number above 0");
            return Some(("sensor.full_scale", why));
        }
        if let Some(text) = &self.mounting
            && let Err(why) = text.parse::<Mounting>()
        {
            return Some(("sensor.mounting", format!("is `{text}`: {why}")));
        }
        (self.rate_tolerance_ppm > RATE_TOLERANCE_PPM_MAX).then(|| {
            let why = format!(
                "is {}: at most {RATE_TOLERANCE_PPM_MAX}, a tenth",
                self.rate_tolerance_ppm
            );
            ("sensor.rate_tolerance_ppm", why)
        })
    }

    fn mounting(&self) -> Option<Mounting> {
        self.mounting.as_ref()?.parse().ok()
    }

    /// The full scale of one of so many channels, 0 where it is not known.
    fn full_scale(&self, channel: usize) -> Option<f32> {
        match self.full_scale[..] {
            [] => Some(0.0),
            [one] => Some(one),
            _ => self.full_scale.get(channel).copied(),
        }
    }
}

/// A filter rings beside what has been cut off at the full scale; a wrong range is wrong by a factor of two.
const RINGING: f32 = 1.25;

/// What the readings of a dataset are, as capsules of a model say it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contract<'d> {
    rate_hz: f32,
    rate_tolerance_ppm: u32,
    mounting: Option<Mounting>,
    channels: Vec<SensorChannel<'d>>,
}

impl<'d> Contract<'d> {
    /// What the recordings tell, as far as all agree, and what `[sensor]` adds; `None` where nothing is known. Number of
    /// channels and rate are those of the model's front end.
    ///
    /// # Errors
    /// [`RunError::Sensor`] where `[sensor]` and the recordings contradict each other.
    pub(crate) fn of(
        section: Option<&'d SensorSection>,
        dataset: &'d Dataset,
        (channel_count, rate_hz): (u16, f32),
    ) -> Result<Option<Contract<'d>>, RunError> {
        let count = usize::from(channel_count);
        let mut samples = dataset.samples.iter().map(|sample| &sample.channels[..]);
        let first = samples.next().filter(|channels| channels.len() == count);
        // What all recordings say of a channel; empty where one says otherwise, or none does.
        let agreed = |index: usize, of: fn(&'d Channel) -> &'d str, most: usize| {
            let said = first.map_or("", |channels| of(&channels[index]));
            let mut others = samples.clone();
            let is_common = others.all(|other| other.get(index).is_some_and(|one| of(one) == said));
            if is_common && said.len() <= most {
                said
            } else {
                ""
            }
        };
        let unit = |index| agreed(index, |channel| &channel.unit, UNIT_BYTES_MAX);
        let channels: Vec<SensorChannel<'d>> = match section {
            None => (0..count)
                .map(|index| channel("", unit(index), 0.0))
                .collect(),
            Some(section) => {
                section.suits(count, dataset)?;
                let axis = |index: usize| match section.axes.get(index) {
                    Some(axis) => axis.as_str(),
                    None => agreed(index, |channel| &channel.name, AXIS_BYTES_MAX),
                };
                let scale = |index| section.full_scale(index).unwrap_or_default();
                (0..count)
                    .map(|index| channel(axis(index), unit(index), scale(index)))
                    .collect()
            }
        };
        let is_known = channels.iter().any(|channel| !channel.unit.is_empty());
        let default = SensorSection::default();
        Ok((is_known || section.is_some()).then(|| Contract {
            rate_hz,
            rate_tolerance_ppm: section.unwrap_or(&default).rate_tolerance_ppm,
            mounting: section.and_then(SensorSection::mounting),
            channels,
        }))
    }

    /// The same as the payload of a capsule says it.
    pub(crate) fn section(&self) -> SensorContract<'_> {
        SensorContract {
            rate_hz: self.rate_hz,
            rate_tolerance_ppm: self.rate_tolerance_ppm,
            mounting: self.mounting,
            channels: &self.channels,
        }
    }
}

impl SensorSection {
    /// Whether it is of so many channels, and no reading exceeds what it says is the greatest.
    fn suits(&self, count: usize, dataset: &Dataset) -> Result<(), RunError> {
        let refuse = |key, why| Err(RunError::Sensor { key, why });
        let lengths = [
            ("axes", self.axes.len(), self.axes.is_empty()),
            (
                "full_scale",
                self.full_scale.len(),
                self.full_scale.len() <= 1,
            ),
        ];
        for (key, len, is_any) in lengths {
            if !is_any && len != count {
                return refuse(
                    key,
                    format!("is for {len}, and the recordings have {count} channels"),
                );
            }
        }
        for sample in &dataset.samples {
            let width = sample.channels.len().max(1);
            for (index, reading) in sample.readings.iter().enumerate() {
                let scale = self.full_scale(index % width).unwrap_or_default();
                if scale > 0.0 && reading.abs() > RINGING * scale {
                    let name = &sample.name;
                    let why = format!("is {scale}, and `{name}` reads {reading}");
                    return refuse("full_scale", why);
                }
            }
        }
        Ok(())
    }
}

fn channel<'d>(axis: &'d str, unit: &'d str, full_scale: f32) -> SensorChannel<'d> {
    SensorChannel {
        axis,
        unit,
        // Parts of full scale say themselves what theirs is; of others no recording tells.
        full_scale: if unit == "FS" { 1.0 } else { full_scale },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tinyops_data::sample::{Label, Origin, Sample};

    use super::*;

    /// Recordings of two channels each, with the units that they say.
    fn dataset(units: &[[&str; 2]]) -> Dataset {
        let sample = |(index, units): (usize, &[&str; 2])| Sample {
            name: format!("{index}.csv"),
            rate_hz: 104.0,
            channels: [("x", units[0]), ("y", units[1])]
                .map(|(name, unit)| Channel {
                    name: name.to_owned(),
                    unit: unit.to_owned(),
                })
                .to_vec(),
            readings: vec![0.5, -2.4],
            image: None,
            label: Label::None,
            group: String::new(),
            role: None,
            origin: Origin::default(),
            metadata: BTreeMap::new(),
        };
        Dataset {
            samples: units.iter().enumerate().map(sample).collect(),
            classes: Vec::new(),
        }
    }

    /// Axes, units and full scales that a contract says.
    fn said(section: Option<&SensorSection>, dataset: &Dataset) -> Option<String> {
        let contract = Contract::of(section, dataset, (2, 104.0)).unwrap()?;
        let channel = |channel: &SensorChannel<'_>| {
            format!("{}:{}:{}", channel.axis, channel.unit, channel.full_scale)
        };
        let channels: Vec<String> = contract.channels.iter().map(channel).collect();
        Some(channels.join(" "))
    }

    #[test]
    fn recordings_say_what_all_of_them_agree_on() {
        let section = SensorSection::default();
        for (units, plain, whole) in [
            (
                &[["g", "g"], ["g", "g"]][..],
                Some(":g:0 :g:0"),
                "x:g:0 y:g:0",
            ),
            (&[["g", "g"], ["g", "m/s2"]], Some(":g:0 ::0"), "x:g:0 y::0"),
            (&[["", ""]], None, "x::0 y::0"),
            (&[["FS", "FS"]], Some(":FS:1 :FS:1"), "x:FS:1 y:FS:1"),
            (
                &[["furlongs/fortnight", "g"]],
                Some("::0 :g:0"),
                "x::0 y:g:0",
            ),
            (&[], None, "::0 ::0"),
        ] {
            let dataset = dataset(units);
            assert_eq!(said(None, &dataset).as_deref(), plain, "{units:?}");
            assert_eq!(
                said(Some(&section), &dataset).as_deref(),
                Some(whole),
                "{units:?}"
            );
        }
    }

    #[test]
    fn a_project_adds_what_no_recording_tells_and_may_not_contradict_them() {
        let dataset = dataset(&[["g", "g"]]);
        let mut section = SensorSection {
            axes: vec!["acc.x".to_owned(), "acc.y".to_owned()],
            full_scale: vec![4.0],
            mounting: Some("y -x z".to_owned()),
            rate_tolerance_ppm: 200,
        };
        assert_eq!(
            said(Some(&section), &dataset).as_deref(),
            Some("acc.x:g:4 acc.y:g:4")
        );
        let contract = Contract::of(Some(&section), &dataset, (2, 104.0));
        let contract = contract.unwrap().expect("a contract");
        let wire = contract.section();
        assert_eq!((wire.rate_hz, wire.rate_tolerance_ppm), (104.0, 200));
        assert_eq!(wire.mounting.map(Mounting::code), Some(0x32));
        let refused = |section: &SensorSection| {
            let contract = Contract::of(Some(section), &dataset, (2, 104.0));
            contract.expect_err("contradicts").to_string()
        };
        // What rings beside a range of 2 g is no reading of another range; twice as much is.
        section.full_scale = vec![4.0, 2.0];
        assert_eq!(
            said(Some(&section), &dataset).as_deref(),
            Some("acc.x:g:4 acc.y:g:2")
        );
        section.full_scale = vec![4.0, 1.0];
        assert_eq!(
            refused(&section),
            "`sensor.full_scale` is 1, and `0.csv` reads -2.4"
        );
        section.full_scale = vec![1.0, 2.0, 3.0];
        assert_eq!(
            refused(&section),
            "`sensor.full_scale` is for 3, and the recordings have 2 channels"
        );
        section.full_scale = Vec::new();
        section.axes.pop();
        assert_eq!(
            refused(&section),
            "`sensor.axes` is for 1, and the recordings have 2 channels"
        );
    }
}
