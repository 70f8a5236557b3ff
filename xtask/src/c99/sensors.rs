//! Sensor contracts, sound ones and changed ones, against sensors of all sorts, with what the Rust agent says of each.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use tinyops_device::Sensor;
use tinyops_dsp::{Block, FrontEnd, Raw};
use tinyops_wire::frame::Reason;
use tinyops_wire::sensor::{Channel, Mounting, RATE_TOLERANCE_PPM, SensorContract, SensorSection};

const AXES: [&str; 5] = ["", "acc.x", "acc.y", "acc.z", "0123456789.abcd"];
const UNITS: [&str; 5] = ["", "g", "m/s2", "\u{b0}/s", "\u{20ac}\u{1f980}"];
const RATES_HZ: [f32; 7] = [0.0, 10.0, 104.0, 104.05, 104.2, 16_000.0, 1e9];
const SCALES: [f32; 7] = [0.0, 2.0, 4.0, 4.003, 4.005, 2000.0, 1e30];

/// So many, most of which differ somewhere.
pub(crate) fn records(count: usize) -> Vec<Record> {
    let mut chance = Chance(23);
    (0..count).map(|index| record(index, &mut chance)).collect()
}

/// What a sensor is, and the section that says so.
pub(super) struct Said {
    pub(super) rate_hz: f32,
    pub(super) mounting: Option<Mounting>,
    pub(super) channels: Vec<Channel<'static>>,
    pub(super) section: Vec<u8>,
}

/// A sensor with so many channels.
pub(super) fn said(count: usize, chance: &mut Chance) -> Said {
    let rate_hz = RATES_HZ[chance.below(7)];
    let channels: Vec<_> = (0..count).map(|_| channel(chance)).collect();
    let mounting = mounting(chance);
    let contract = SensorContract {
        rate_hz,
        rate_tolerance_ppm: [RATE_TOLERANCE_PPM, 0, 100, 100_000][chance.below(4)],
        mounting,
        channels: &channels,
    };
    let mut section = vec![0; contract.encoded_len()];
    let len = contract
        .encode(&mut section)
        .expect("these are values of a contract");
    section.truncate(len);
    Said {
        rate_hz,
        mounting,
        channels,
        section,
    }
}

fn record(index: usize, chance: &mut Chance) -> Record {
    let count = chance.below(5);
    let Said {
        rate_hz,
        mounting,
        channels: wanted,
        mut section,
    } = said(count, chance);
    for _ in 0..chance.below(3).saturating_sub(1) {
        change(&mut section, chance);
    }
    // A device that is mostly the one that is wanted.
    let mut own = wanted.clone();
    match chance.below(4) {
        0 => own = channels(chance),
        1 => own.reverse(),
        2 if !own.is_empty() => {
            let at = chance.below(own.len());
            own[at] = channel(chance);
        }
        _ => {}
    }
    let is_likely = |chance: &mut Chance| chance.below(5) > 0;
    let own_rate_hz = match is_likely(chance) {
        true => rate_hz,
        false => RATES_HZ[chance.below(7)],
    };
    let own_mounting = match is_likely(chance) {
        true => mounting,
        false => self::mounting(chance),
    };
    let front_end_rate_hz = match is_likely(chance) {
        true => rate_hz,
        false => own_rate_hz,
    };
    let front_end_channels = match is_likely(chance) {
        true => wanted.len(),
        false => own.len(),
    };
    let front_end = front_end(front_end_channels, front_end_rate_hz);
    let (has_section, says_channels) = (chance.below(12) > 0, chance.below(6) > 0);
    let mut behind = Vec::new();
    behind.extend(front_end.channel_count.to_le_bytes());
    behind.extend((own.len() as u16).to_le_bytes());
    behind.extend(front_end.rate_hz.to_le_bytes());
    behind.extend(own_rate_hz.to_le_bytes());
    behind.extend(u32::from(own_mounting.map_or(0, Mounting::code)).to_le_bytes());
    behind.extend(u32::from(has_section).to_le_bytes());
    behind.extend(u32::from(says_channels).to_le_bytes());
    for Channel {
        axis,
        unit,
        full_scale,
    } in &own
    {
        behind.extend(full_scale.to_le_bytes());
        for text in [unit, axis] {
            let mut bytes = [0; 16];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            behind.extend(bytes);
        }
    }
    let sensor = Sensor {
        channel_count: own.len() as u16,
        rate_hz: own_rate_hz,
        mounting: own_mounting,
        channels: match says_channels {
            true => own.leak(),
            false => &[],
        },
    };
    let (reason, detail) = judged(&sensor, &front_end, has_section.then_some(&section[..]));
    let verdict = reason as u32 | detail << 8;
    Record::of_bytes(
        format!("sensor {index}"),
        Kind::Sensor,
        section,
        behind,
        verdict,
    )
}

/// As the agent judges it: what can be read, whether it is of the front end, whether the sensor is that one.
pub(super) fn judged(
    sensor: &Sensor,
    front_end: &FrontEnd,
    section: Option<&[u8]>,
) -> (Reason, u32) {
    let section = match section.map(SensorSection::decode) {
        None => None,
        Some(Ok(section)) => Some(section),
        Some(Err(_)) => return (Reason::Malformed, 0),
    };
    if let Some(section) = &section
        && !section.is_of(front_end.channel_count, front_end.rate_hz)
    {
        return (Reason::Plan, 0);
    }
    match sensor.check(front_end, section.as_ref()) {
        Ok(()) => (Reason::None, 0),
        Err(refusal) => (refusal.reason, refusal.detail),
    }
}

/// A front end of which nothing counts but its channels and its rate.
pub(super) fn front_end(channels: usize, rate_hz: f32) -> FrontEnd {
    FrontEnd {
        rate_hz,
        channel_count: channels as u16,
        window_len: 1,
        block: Block::Raw(Raw { scale: 1.0 }),
    }
}

fn channels(chance: &mut Chance) -> Vec<Channel<'static>> {
    (0..chance.below(5)).map(|_| channel(chance)).collect()
}

fn channel(chance: &mut Chance) -> Channel<'static> {
    Channel {
        axis: AXES[chance.below(5)],
        unit: UNITS[chance.below(5)],
        full_scale: SCALES[chance.below(7)],
    }
}

fn mounting(chance: &mut Chance) -> Option<Mounting> {
    Mounting::from_code([0, 0x13, 0x32, 0x64][chance.below(4)])
}

fn change(section: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(section.len());
    match chance.below(6) {
        // A record of no bytes would end the file.
        0 => section.truncate(at.max(1)),
        1 => section.push(0),
        2 => section[at] ^= 1 << chance.below(8),
        3 => section[at.min(3)] = [0, 1, 2, 3, 0x11, 0x61, 0x70][chance.below(7)],
        4 => section[at] = [0, 1, 15, 16, 127, 128, 255][chance.below(7)],
        _ => section[at] = chance.next() as u8,
    }
}
