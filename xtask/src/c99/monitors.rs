//! Baselines, sound ones and changed ones, and what a device's monitor makes of windows: alarms, and sealed reports.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use tinyops_device::monitor::Monitor;
use tinyops_sketch::{
    BINS, Baseline, BaselineError, Calibration, ChannelBaseline, Direction, Noise, Observation,
    Sketch, Source, Summary,
};
use tinyops_wire::cost::Cost;
use tinyops_wire::envelope::{self, Envelope};
use tinyops_wire::frame::{Alarm, Flags, Frame};
use tinyops_wire::summary::{FRAME_BYTES_MAX, Format, Header, SummaryFrame};
use tinyops_wire::{DeviceId, DeviceKey, ModelId};

/// Memory of the device whose costs are told, as `c/check/monitor.c` has it.
const RAM_TOTAL: f32 = 3_000_000.0;

/// So many monitors, and as many baselines that were changed.
///
/// # Errors
/// When a baseline or a report cannot be written.
pub(crate) fn records(count: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(13);
    let mut records = Vec::new();
    for index in 0..count {
        let baseline = drawn(&mut chance)?;
        let mut bytes = vec![0; baseline.encoded_len()];
        baseline
            .encode(&mut bytes)
            .map_err(|error| error.to_string())?;
        let mut changed = bytes.clone();
        for _ in 0..=chance.below(2) {
            change(&mut changed, &mut chance);
        }
        for (name, bytes) in [("monitor", bytes), ("changed baseline", changed)] {
            let (verdict, behind) = match Baseline::decode(&bytes) {
                Ok(baseline) => (0, watched(&baseline, &mut chance)?),
                Err(error) => (reason(error), Vec::new()),
            };
            let name = format!("{name} {index}");
            records.push(Record::of_bytes(
                name,
                Kind::Monitor,
                bytes,
                behind,
                verdict,
            ));
        }
    }
    Ok(records)
}

/// The number of a reason in `c/include/tinyops_monitor.h`.
fn reason(error: BaselineError) -> u32 {
    match error {
        BaselineError::Channels => 1,
        BaselineError::Classes => 2,
        BaselineError::Length => 3,
        BaselineError::Number => 4,
        BaselineError::Version => 5,
        // A reason that the C runtime has no number for: it cannot be equal.
        _ => 255,
    }
}

fn change(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = match chance.below(3) {
        0 => chance.below(bytes.len().min(12)),
        _ => chance.below(bytes.len()),
    };
    match chance.below(7) {
        0 => bytes.truncate(at.max(1)),
        1 => bytes.push(0),
        2 => bytes[at] ^= 1 << chance.below(8),
        3 => bytes[at] = [0, 1, 2, 9, 10, 127, 128, 255][chance.below(8)],
        4 => {
            let number = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e-45, 3e38][chance.below(6)];
            for (place, byte) in bytes.iter_mut().skip(at & !1).zip(number.to_le_bytes()) {
                *place = byte;
            }
        }
        _ => bytes[at] = chance.next() as u8,
    }
}

fn drawn(chance: &mut Chance) -> Result<Baseline, String> {
    let has_output = chance.below(4) > 0;
    let has_embedding = chance.below(3) == 0;
    let channels: Vec<ChannelBaseline> = (0..chance.below(10))
        .map(|index| {
            let source = match index {
                2 if has_output => Source::Output,
                1 if has_embedding => Source::Embedding,
                _ => Source::Feature(chance.below(14) as u16),
            };
            let (mean, sd) = (chance.normal() as f32, chance.uniform() as f32 + 0.01);
            let mut channel = ChannelBaseline::new(source, mean, sd);
            let mut edges: Vec<f32> = (0..BINS - 1)
                .map(|_| mean + sd * chance.normal() as f32)
                .collect();
            edges.sort_by(f32::total_cmp);
            channel.edges.copy_from_slice(&edges);
            channel.noise = Noise {
                mean: 0.1,
                ln_sd: 0.2,
                psi: 0.3,
            };
            channel
        })
        .collect();
    let classes = chance.below(33);
    let prior = vec![1.0 / classes.max(1) as f32; classes];
    let calibration = (chance.below(3) == 0).then_some(Calibration {
        windows: [9; BINS],
        right: [8; BINS],
        embedding_mean: 1.0,
        embedding_sd: 0.5,
    });
    Baseline::new(700, &channels, &prior)
        .and_then(|baseline| baseline.with_calibration(calibration))
        .map_err(|error| error.to_string())
}

/// Windows with their alarms, the reports of the period, and those of the next, in which there was none.
fn watched(baseline: &Baseline, chance: &mut Chance) -> Result<Vec<u8>, String> {
    let key = DeviceKey(std::array::from_fn(|_| chance.next() as u8));
    let mut behind = key.0.to_vec();
    let windows = [0, 1, 2, 40, 300][chance.below(5)];
    let features = 12;
    let mut put = |word: u32| behind.extend(word.to_le_bytes());
    put(features);
    put(windows);
    let (mut monitor, mut flags, mut measured) = (Monitor::new(), 0, Vec::new());
    // From a window on everything is another, so that alarms are raised.
    let (moves_at, by) = (chance.below(300) as u32, 6.0 * chance.normal() as f32);
    let class_count = baseline.class_prior().len();
    for index in 0..windows {
        let shift = if index >= moves_at { by } else { 0.0 };
        let value = |chance: &mut Chance| match chance.below(60) {
            0 => [f32::NAN, f32::INFINITY, 1e30, -0.0][chance.below(4)],
            _ => chance.normal() as f32 + shift,
        };
        let features: Vec<f32> = (0..features).map(|_| value(chance)).collect();
        let (embedding, output) = (value(chance), value(chance));
        let class = (class_count > 0).then(|| chance.below(class_count) as u8);
        // Half of the windows are not measured.
        let is_measured = chance.below(2) == 0;
        let most = 1 << chance.below(22);
        let micros = u32::from(is_measured) * (1 + chance.below(most) as u32);
        features.iter().for_each(|x| put(x.to_bits()));
        put(embedding.to_bits());
        put(output.to_bits());
        put(class.map_or(255, u32::from));
        put(micros);
        if micros > 0 {
            measured.push(micros);
        }
        let observation = Observation::of(baseline, &features)
            .with_output(baseline, output)
            .with_embedding(baseline, embedding);
        if !output.is_finite() {
            flags |= Flags::NOT_FINITE.0;
        }
        let alarm = monitor.push(baseline, &observation, output, class);
        if alarm.is_some() {
            flags |= Flags::MOVED.0;
        }
        put(frame_of(&alarm.unwrap_or(Alarm {
            flags: Flags(flags),
            moved: None,
        }))?);
    }
    let model = chance.next() as u32;
    let header = |epoch, flags| Header {
        model: model as u16,
        epoch,
        count_code: 0,
        flags: Flags(flags | Flags::LOW_BATTERY.0),
    };
    let summary = monitor.summary(baseline);
    let empty = Summary::of(&Sketch::new(), baseline);
    let cost = cost(&measured);
    for (summary, header, cost) in [
        (summary, header(0, flags), cost),
        (empty, header(1, 0), None),
    ] {
        for format in [Format::M6H8, Format::M8, Format::M4] {
            let sequence = chance.next() as u32;
            let sealed = sealed(format, header, &summary, cost, model, sequence, &key)?;
            for word in [sealed.len() as u32, model, sequence] {
                behind.extend(word.to_le_bytes());
            }
            behind.extend(sealed);
        }
    }
    Ok(behind)
}

/// Flags and channel of an alarm's frame, or of a heartbeat's where nothing has moved.
///
/// # Errors
/// When it is not written, or not as the frame is said to be.
fn frame_of(alarm: &Alarm) -> Result<u32, String> {
    let mut bytes = [0; 3];
    let written = Frame::Alarm(*alarm).encode(&mut bytes);
    let is_down = matches!(alarm.moved, Some((_, Direction::Down)));
    if written != Ok(3) || is_down != (bytes[2] >= 0x80) {
        return Err(format!("the frame of an alarm is {bytes:?}, {written:?}"));
    }
    Ok(u32::from(bytes[1]) | u32::from(bytes[2]) << 8)
}

fn cost(measured: &[u32]) -> Option<Cost> {
    let sum: u64 = measured.iter().map(|&micros| u64::from(micros)).sum();
    let max = *measured.iter().max()?;
    Some(Cost {
        mean_us: sum as f32 / measured.len() as f32,
        max_us: max as f32,
        // The check in C says as many bytes as microseconds.
        ram_share: Some(max as f32 / RAM_TOTAL),
    })
}

fn sealed(
    format: Format,
    header: Header,
    summary: &Summary,
    cost: Option<Cost>,
    model: u32,
    sequence: u32,
    key: &DeviceKey,
) -> Result<Vec<u8>, String> {
    let dither = (key.dither_seed(), sequence);
    let mut frame = [0; FRAME_BYTES_MAX];
    let mut len = SummaryFrame::encode(format, header, summary, dither, &mut frame)
        .map_err(|error| error.to_string())?;
    if let Some(cost) = cost {
        len = cost
            .append(format, len, dither, &mut frame)
            .map_err(|error| error.to_string())?;
    }
    let mut out = vec![0; len + envelope::OVERHEAD];
    let envelope = Envelope {
        direction: envelope::Direction::Up,
        device: DeviceId(0x0123_4567_89ab_cdef),
        model: ModelId(model),
        sequence,
        body: &frame[..len],
    };
    envelope
        .seal(key, &mut out)
        .map_err(|error| error.to_string())?;
    Ok(out)
}
