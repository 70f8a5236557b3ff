//! `[sensor]`: what no recording tells of the sensor, and the contract that both make.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tinyops_compile::{
    AXIS_BYTES_MAX, Mounting, RATE_TOLERANCE_PPM, RATE_TOLERANCE_PPM_MAX, SensorChannel,
    SensorContract, UNIT_BYTES_MAX,
};
use tinyops_data::{
    dataset::Dataset,
    finding::{Code, Finding, Report},
    sample::Channel,
};

use crate::project::{FILE_NAME, place_of};

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

    /// Where the sensor's axes point in the machine; `None` where it is not known.
    pub fn mounting(&self) -> Option<Mounting> {
        self.mounting.as_ref()?.parse().ok()
    }

    /// The full scale of a channel, in the unit of the recordings; 0 where it is not known.
    pub fn full_scale(&self, channel: usize) -> f32 {
        match self.full_scale[..] {
            [one] => one,
            _ => self.full_scale.get(channel).copied().unwrap_or(0.0),
        }
    }
}

/// A filter rings beside what has been cut off at the full scale; a wrong range is wrong by a factor of two.
const RINGING: f32 = 1.25;

/// The unit of readings that are parts of the full scale, such as those of a WAV file.
const FULL_SCALE_UNIT: &str = "FS";

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
    /// channels and rate are those of the model's front end. Whether the two contradict each other has been told before
    /// anything was trained ([`SensorSection::check`]).
    pub(crate) fn of(
        section: Option<&'d SensorSection>,
        dataset: &'d Dataset,
        (channel_count, rate_hz): (u16, f32),
    ) -> Option<Contract<'d>> {
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
                let axis = |index: usize| match section.axes.get(index) {
                    Some(axis) => axis.as_str(),
                    None => agreed(index, |channel| &channel.name, AXIS_BYTES_MAX),
                };
                let scale = |index| section.full_scale(index);
                (0..count)
                    .map(|index| channel(axis(index), unit(index), scale(index)))
                    .collect()
            }
        };
        let is_known = channels.iter().any(|channel| !channel.unit.is_empty());
        let default = SensorSection::default();
        (is_known || section.is_some()).then(|| Contract {
            rate_hz,
            rate_tolerance_ppm: section.unwrap_or(&default).rate_tolerance_ppm,
            mounting: section.and_then(SensorSection::mounting),
            channels,
        })
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

/// The settings that recordings can contradict.
const KEYS: [&str; 3] = [
    "sensor.axes",
    "sensor.full_scale",
    "sensor.rate_tolerance_ppm",
];

/// The lines of [`KEYS`] in the project file, from 1; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Lines([u64; KEYS.len()]);

impl Lines {
    /// Those of the file in a project's folder.
    pub(crate) fn below(root: &Path) -> Self {
        std::fs::read_to_string(root.join(FILE_NAME))
            .map_or_else(|_| Self::default(), |text| Self::of(&text))
    }

    fn of(text: &str) -> Self {
        Self(KEYS.map(|key| place_of(text, key).0 as u64))
    }
}

impl SensorSection {
    /// Reports where the section and the recordings contradict each other, with the line of the setting.
    pub(crate) fn check(&self, dataset: &Dataset, lines: &Lines, report: &mut Report) {
        let Some(first) = dataset.samples.first() else {
            return; // That nothing was read has been said.
        };
        let findings = [
            self.axes_fault(&first.channels),
            self.full_scale_fault(&first.channels, dataset),
            self.rate_doubt(dataset),
        ];
        for ((key, line), finding) in KEYS.iter().zip(lines.0).zip(findings) {
            if let Some(mut finding) = finding {
                finding.message = format!("`{key}` {}", finding.message);
                finding = finding.in_file(FILE_NAME);
                report.push(match line {
                    0 => finding,
                    line => finding.at_row(line),
                });
            }
        }
    }

    fn axes_fault(&self, channels: &[Channel]) -> Option<Finding> {
        if self.axes.is_empty() {
            return None;
        }
        let read: Vec<&str> = channels.iter().map(|one| one.name.as_str()).collect();
        if self.axes.len() != channels.len() {
            let hint = "name one axis for each channel, in their order, or choose with `channels` in the source what is \
                        read; without the line the channels' own names count";
            return Some(
                Finding::error(Code::Setting, count_told(self.axes.len(), &read)).hint(hint),
            );
        }
        // The firmware calls its axes as it likes, but not by the names that the recordings have for others of them.
        let whole = |axis: &String| axis.clone();
        let last = |axis: &String| axis.rsplit('.').next().unwrap_or(axis).to_owned();
        let index = moved(&self.axes, &read, whole).or_else(|| moved(&self.axes, &read, last))?;
        let message = format!(
            "has `{}` where the recordings have `{}`: their channels are {}",
            self.axes[index],
            read[index],
            quoted(&read)
        );
        let hint = "bring the axes into the order of the channels, or with `channels` in the source the channels into that \
                    of the axes";
        Some(Finding::error(Code::Setting, message).hint(hint))
    }

    fn full_scale_fault(&self, channels: &[Channel], dataset: &Dataset) -> Option<Finding> {
        let width = channels.len().max(1);
        if self.full_scale.len() > 1 && self.full_scale.len() != width {
            let read: Vec<&str> = channels.iter().map(|one| one.name.as_str()).collect();
            let hint = "say one for all channels, or one for each in their order";
            return Some(
                Finding::error(Code::Setting, count_told(self.full_scale.len(), &read)).hint(hint),
            );
        }
        let scale_of = |index: usize| self.full_scale(index);
        let is_other = |index: &usize| {
            channels[*index].unit == FULL_SCALE_UNIT && ![0.0, 1.0].contains(&scale_of(*index))
        };
        if let Some(index) = (0..channels.len()).find(is_other) {
            let message = format!(
                "is {}, and channel `{}` is in `{FULL_SCALE_UNIT}`, parts of full scale, of which the greatest is 1",
                scale_of(index),
                channels[index].name
            );
            let hint = "leave the line out, or say with `scale` and `units` in the source what the readings are in";
            return Some(Finding::error(Code::Setting, message).hint(hint));
        }
        for sample in &dataset.samples {
            for (at, reading) in sample.readings.iter().enumerate() {
                let scale = scale_of(at % width);
                if scale > 0.0 && reading.abs() > RINGING * scale {
                    let channel = &channels[at % width];
                    let unit = match channel.unit.as_str() {
                        "" => String::new(),
                        unit => format!(" {unit}"),
                    };
                    let message = format!(
                        "is {scale}, and channel `{}` of `{}` reads {reading}{unit} in row {} of its readings",
                        channel.name,
                        sample.name,
                        at / width + 1
                    );
                    let hint = "say the range that the sensor was set to, in the unit of the recordings, or turn those into \
                                the unit of the range with `scale` and `units` in the source";
                    return Some(Finding::error(Code::Setting, message).hint(hint));
                }
            }
        }
        None
    }

    /// Recordings may differ in rate by more than devices may: one as fast as some of them would refuse the model.
    fn rate_doubt(&self, dataset: &Dataset) -> Option<Finding> {
        let rate_hz = f64::from(dataset.rate_hz());
        let off_ppm = |rate: f32| ((f64::from(rate) / rate_hz - 1.0).abs() * 1e6).round();
        let samples = dataset.samples.iter().filter(|_| rate_hz > 0.0);
        let worst = samples.max_by(|a, b| off_ppm(a.rate_hz).total_cmp(&off_ppm(b.rate_hz)))?;
        let off = off_ppm(worst.rate_hz);
        (off > f64::from(self.rate_tolerance_ppm)).then(|| {
            let message = format!(
                "is {}, and `{}` is of {} Hz where `{}` is of {rate_hz} Hz, {off} millionths apart: a device of that rate \
                 refuses the model",
                self.rate_tolerance_ppm, worst.name, worst.rate_hz, dataset.samples[0].name
            );
            let hint = "say the rate that the sensor was set to with `rate_hz` in the source, or allow more";
            Finding::warning(Code::Setting, message).hint(hint)
        })
    }
}

/// The words for a list of another length than the recordings have channels.
fn count_told(count: usize, read: &[&str]) -> String {
    let channels = if read.len() == 1 {
        "channel"
    } else {
        "channels"
    };
    format!(
        "is for {count}, and the recordings have {} {channels}: {}",
        read.len(),
        quoted(read)
    )
}

/// The first place whose axis has another name than the channel there, where both lists hold the same names otherwise.
fn moved(axes: &[String], read: &[&str], name: impl Fn(&String) -> String) -> Option<usize> {
    let said: Vec<String> = axes.iter().map(name).collect();
    let (mut ours, mut theirs) = (said.clone(), read.to_vec());
    ours.sort_unstable();
    theirs.sort_unstable();
    if ours != theirs {
        return None;
    }
    said.iter()
        .zip(read)
        .position(|(axis, channel)| axis != channel)
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn channel<'d>(axis: &'d str, unit: &'d str, full_scale: f32) -> SensorChannel<'d> {
    SensorChannel {
        axis,
        unit,
        // Parts of full scale say themselves what theirs is; of others no recording tells.
        full_scale: if unit == FULL_SCALE_UNIT {
            1.0
        } else {
            full_scale
        },
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
        let contract = Contract::of(section, dataset, (2, 104.0))?;
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
    fn a_project_adds_what_no_recording_tells() {
        let dataset = dataset(&[["g", "g"]]);
        let section = SensorSection {
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
        let contract = contract.expect("a contract");
        let wire = contract.section();
        assert_eq!((wire.rate_hz, wire.rate_tolerance_ppm), (104.0, 200));
        assert_eq!(wire.mounting.map(Mounting::code), Some(0x32));
    }

    /// What is found of a section, in a file whose third line has the setting.
    #[track_caller]
    fn check(section: SensorSection, dataset: &Dataset, key: &str, expected: &[&str]) {
        let mut report = Report::new();
        let text = format!("# a project\n[sensor]\n{key} = 1\n");
        section.check(dataset, &Lines::of(&text), &mut report);
        let found: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
            assert!(found.contains("\n  hint: "), "{found}");
        }
    }

    fn axes(names: &[&str]) -> SensorSection {
        SensorSection {
            axes: names.iter().map(|&name| name.to_owned()).collect(),
            ..SensorSection::default()
        }
    }

    #[test]
    fn axes_are_as_many_as_the_channels_and_in_their_order() {
        let dataset = dataset(&[["g", "g"]]);
        for sound in [
            &["x", "y"][..],
            &["acc.x", "acc.y"],
            &["a", "x"],
            &["acc.x", "gyr.x"],
            &[],
        ] {
            check(axes(sound), &dataset, "axes", &[]);
        }
        let few = "error[setting]: tinyops.toml, row 3: `sensor.axes` is for 1, and the recordings have 2 channels: `x`, `y`";
        check(axes(&["x"]), &dataset, "axes", &[few]);
        for (moved, first) in [(["y", "x"], "y"), (["acc.y", "acc.x"], "acc.y")] {
            let told = format!(
                "error[setting]: tinyops.toml, row 3: `sensor.axes` has `{first}` where the recordings have `x`: their \
                 channels are `x`, `y`"
            );
            check(axes(&moved), &dataset, "axes", &[&told]);
        }
    }

    #[test]
    fn no_reading_exceeds_the_full_scale_by_far() {
        let scales = |full_scale: &[f32]| SensorSection {
            full_scale: full_scale.to_vec(),
            ..SensorSection::default()
        };
        let in_g = dataset(&[["g", "g"]]);
        // What rings beside a range of 2 g is no reading of another range; twice as much is.
        for sound in [&[4.0][..], &[4.0, 2.0], &[]] {
            check(scales(sound), &in_g, "full_scale", &[]);
        }
        let above = "error[setting]: tinyops.toml, row 3: `sensor.full_scale` is 1, and channel `y` of `0.csv` reads -2.4 g \
                     in row 1 of its readings";
        check(scales(&[4.0, 1.0]), &in_g, "full_scale", &[above]);
        let many = "error[setting]: tinyops.toml, row 3: `sensor.full_scale` is for 3, and the recordings have 2 channels";
        check(scales(&[1.0, 2.0, 3.0]), &in_g, "full_scale", &[many]);
        let parts = "error[setting]: tinyops.toml, row 3: `sensor.full_scale` is 4, and channel `x` is in `FS`";
        check(
            scales(&[4.0]),
            &dataset(&[["FS", "FS"]]),
            "full_scale",
            &[parts],
        );
    }

    #[test]
    fn rates_that_devices_may_not_have_are_told() {
        let mut dataset = dataset(&[["g", "g"], ["g", "g"]]);
        dataset.samples[1].rate_hz = 104.05;
        check(
            SensorSection::default(),
            &dataset,
            "rate_tolerance_ppm",
            &[],
        );
        dataset.samples[1].rate_hz = 105.04;
        let told = "warning[setting]: tinyops.toml, row 3: `sensor.rate_tolerance_ppm` is 1000, and `1.csv` is of 105.04 Hz \
                    where `0.csv` is of 104 Hz, 10000 millionths apart";
        check(
            SensorSection::default(),
            &dataset,
            "rate_tolerance_ppm",
            &[told],
        );
        let wide = SensorSection {
            rate_tolerance_ppm: 20_000,
            ..SensorSection::default()
        };
        check(wide, &dataset, "rate_tolerance_ppm", &[]);
    }
}
