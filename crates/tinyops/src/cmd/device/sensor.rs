//! What the virtual device states of its sensor, as firmware does.

use tinyops_device::Sensor;
use tinyops_pipeline::Project;
use tinyops_wire::sensor::{Channel, UNIT_BYTES_MAX};

/// The sensor that this project's recordings are of, as its file says it when the device starts: what a model of a later
/// file wants is another's.
pub(super) fn of(project: &Project, channel_count: u16, rate_hz: f32) -> Sensor {
    let count = usize::from(channel_count);
    let section = project.sensor.clone().unwrap_or_default();
    // Text of each channel, where one text is for all or one for each.
    let each = |texts: &[String], index: usize| match texts {
        [one] => one.clone(),
        _ => texts.get(index).cloned().unwrap_or_default(),
    };
    let units = common(project.data.source.iter().map(|source| &source.units[..]));
    let channel = |index: usize| Channel {
        axis: section.axes.get(index).cloned().unwrap_or_default().leak(),
        unit: Some(each(units, index))
            .filter(|unit| unit.len() <= UNIT_BYTES_MAX)
            .unwrap_or_default()
            .leak(),
        full_scale: section.full_scale(index),
    };
    Sensor {
        channel_count,
        rate_hz,
        mounting: section.mounting(),
        // As firmware has it: for as long as the program runs.
        channels: (0..count).map(channel).collect::<Vec<_>>().leak(),
    }
}

/// What all say; nothing where one says otherwise.
fn common<'p>(mut said: impl Iterator<Item = &'p [String]>) -> &'p [String] {
    let first = said.next().unwrap_or_default();
    if said.all(|other| other == first) {
        first
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_virtual_device_states_what_the_project_says() {
        let text = "[sensor]\naxes = [\"acc.x\", \"acc.y\"]\nfull_scale = [4]\nmounting = \"y -x z\"\n\
                    [[data.source]]\nunits = [\"g\"]\n";
        let project = Project::parse(text, Path::new("tinyops.toml")).unwrap();
        let sensor = of(&project, 2, 104.0);
        assert_eq!(
            sensor.mounting.map(|at| at.to_string()).as_deref(),
            Some("y -x z")
        );
        let channel = |axis| Channel {
            axis,
            unit: "g",
            full_scale: 4.0,
        };
        assert_eq!(sensor.channels, [channel("acc.x"), channel("acc.y")]);
        let silent = of(&Project::default(), 2, 104.0);
        assert_eq!(silent.channels, [Channel::default(); 2]);
    }
}
