//! Writes a recording as a message of Edge Impulse's data acquisition format, signed where there is a key:
//! [`crate::decode::edge_impulse`] reads it.

use std::fmt::Write as _;

use crate::decode::edge_impulse::tag;
use crate::sample::Channel;

/// A recording of a device.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// What the device calls itself.
    pub device_name: &'a str,
    /// What kind of device it is.
    pub device_type: &'a str,
    /// Milliseconds from one row to the next.
    pub interval_ms: f64,
    /// What is measured, in order.
    pub sensors: &'a [Channel],
    /// `[row, sensor]`; every value is finite.
    pub values: &'a [f32],
}

impl Message<'_> {
    /// The message in JSON, signed with HS256 over its very bytes if there is a key.
    ///
    /// # Panics
    /// If there are no whole rows.
    pub fn encode(&self, key: Option<&[u8]>) -> Vec<u8> {
        let width = self.sensors.len();
        assert!(
            width > 0 && self.values.len().is_multiple_of(width),
            "a recording has whole rows"
        );
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (alg, signature) = match key {
            Some(_) => ("HS256", "0".repeat(64)),
            None => ("none", "00".to_owned()),
        };
        let sensors: Vec<String> = self
            .sensors
            .iter()
            .map(|sensor| {
                let (name, units) = (text(&sensor.name), text(&sensor.unit));
                format!(r#"{{"name":{name},"units":{units}}}"#)
            })
            .collect();
        let mut message = format!(
            r#"{{"protected":{{"ver":"v1","alg":"{alg}"}},"signature":"{signature}","payload":{{"device_name":{},"device_type":{},"interval_ms":{},"sensors":[{}],"values":["#,
            text(self.device_name),
            text(self.device_type),
            self.interval_ms,
            sensors.join(",")
        );
        for (index, row) in self.values.chunks_exact(width).enumerate() {
            message += if index == 0 { "[" } else { ",[" };
            for (place, value) in row.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                let _ = write!(message, "{comma}{value}");
            }
            message.push(']');
        }
        message += "]}}";
        let mut bytes = message.into_bytes();
        if let Some(key) = key {
            let tag = tag(key, &[&bytes]);
            let place = bytes
                .windows(64)
                .position(|window| window == [b'0'; 64])
                .expect("it was just written");
            bytes[place..place + 64].copy_from_slice(tag.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Findings, edge_impulse};
    use crate::finding::Report;
    use crate::spec::{Format, Missing};

    #[test]
    fn what_is_written_is_read_and_its_signature_fits() {
        let sensors = ["a \"x\"", "y"].map(|name| Channel {
            name: name.to_owned(),
            unit: "g".to_owned(),
        });
        let message = Message {
            device_name: "bench\n7",
            device_type: "XIAO",
            interval_ms: 9.615_384,
            sensors: &sensors,
            values: &[1.0, -2.5, 1e-9, 3.0e20],
        };
        for key in [None, Some(&b"0123456789abcdef"[..])] {
            let mut bytes = message.encode(key);
            let mut report = Report::new();
            let mut findings = Findings::new("a.json", Missing::Refuse, &mut report);
            let read = edge_impulse::decode(&bytes, Format::EiJson, key, &mut findings);
            let read = read.expect("a recording");
            assert_eq!(read.readings, message.values);
            assert_eq!(read.channels, sensors);
            assert_eq!(read.metadata["device_name"], "bench\n7");
            let place = bytes.len() - 6;
            bytes[place] ^= 1;
            let read = edge_impulse::decode(&bytes, Format::EiJson, key, &mut findings);
            assert_eq!(read.is_none(), key.is_some());
        }
    }
}
