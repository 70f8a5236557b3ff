//! Where an image's numbers lie: what the spans of a delta are made of.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;

use tinyops_nn::Plan;
use tinyops_nn::record::{
    Element, FLAG_ONE_MULTIPLIER, FLAG_PACKED, Header, OP_BYTES, OpCode, OpRecord, TENSOR_BYTES,
};
use tinyops_wire::delta::Layout;
use tinyops_wire::payload::{Payload, SectionId};

/// What the bytes of a part are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Weights, of output channels that lie so.
    Weights(Layout),
    /// Numbers of so many bytes, one for each channel of the weights before; the zero point is
    /// that of the input, which is folded into biases.
    Numbers { width: u8, zero_point: i8 },
    /// Anything else.
    Bytes,
}

/// A part of an image; parts tile it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
    /// The same for the part of another image that it answers to: section, filter or table, role.
    pub(super) key: (u16, u32, u8),
}

/// Head of a capsule, and the tables of a payload and of a plan: not sections.
const HEAD: u16 = 0;
/// After the last role of a filter.
const GAP: u8 = 5;

/// The parts of an image: a capsule, a payload, or bytes of no known form.
pub(super) fn parts(image: &[u8]) -> Vec<Part> {
    let mut found = Vec::new();
    let start = payload_start(image).unwrap_or(0);
    add(&mut found, 0..start, Kind::Bytes, (HEAD, 0, 0));
    if let Some(payload) = image
        .get(start..)
        .and_then(|bytes| Payload::parse(bytes).ok())
    {
        for id in 1..=SECTION_LAST {
            let Some(section) = section_of(id).and_then(|id| payload.section_range(id)) else {
                continue;
            };
            let range = start + section.start..start + section.end;
            let plan = (id == SectionId::Program as u16)
                .then(|| plan_parts(&image[range.clone()], range.start))
                .flatten();
            match plan {
                Some(parts) => found.extend(parts),
                None => add(&mut found, range, Kind::Bytes, (id, 0, 0)),
            }
        }
    }
    tile(found, image.len())
}

const SECTION_LAST: u16 = SectionId::Golden as u16;

fn section_of(id: u16) -> Option<SectionId> {
    [
        SectionId::Program,
        SectionId::FrontEnd,
        SectionId::Scaler,
        SectionId::Labels,
        SectionId::Baseline,
        SectionId::Decision,
        SectionId::Golden,
    ]
    .into_iter()
    .find(|&section| section as u16 == id)
}

/// Where the payload of a capsule begins.
fn payload_start(image: &[u8]) -> Option<usize> {
    let capsule = tinyops_wire::capsule::Unverified::parse(image).ok()?;
    Some(image.len() - capsule.manifest.payload_bytes as usize)
}

/// The parts of a plan that lies at `start` of the image; `None` if it is none.
fn plan_parts(plan: &[u8], start: usize) -> Option<Vec<Part>> {
    let header = Header::from_bytes(plan.first_chunk()?)?;
    let loaded = Plan::load(plan).ok()?;
    let id = SectionId::Program as u16;
    let mut found = Vec::new();
    // The memory regions go with the header.
    let tensors = header.tensors_offset();
    let ops = tensors + TENSOR_BYTES * usize::from(header.tensor_count);
    let end = ops + OP_BYTES * usize::from(header.op_count);
    for (role, range) in [0..tensors, tensors..ops, ops..end].into_iter().enumerate() {
        let range = start + range.start..start + range.end;
        add(&mut found, range, Kind::Bytes, (id, 0, role as u8));
    }
    let constants = start + header.constants_offset();
    let mut seen = BTreeSet::new();
    let mut filters = 0;
    for op in (0..loaded.op_count()).filter_map(|index| loaded.op(index)) {
        // Bands of one layer share its filter.
        if seen.insert(op.weights_offset) {
            filters +=
                channel_parts(&loaded, &op, constants, filters + 1, &mut found).map_or(0, |()| 1);
        }
    }
    Some(found)
}

/// Filter, biases, multipliers and shifts of an op that has them.
fn channel_parts(
    plan: &Plan<'_>,
    op: &OpRecord,
    constants: usize,
    filter: u32,
    found: &mut Vec<Part>,
) -> Option<()> {
    if !matches!(op.code, OpCode::Conv2d | OpCode::DepthwiseConv2d) {
        return None;
    }
    let (input, output) = (plan.tensor(op.inputs[0])?, plan.tensor(op.output)?);
    let bytes = op.filter_bytes(input.shape, output.shape);
    let channels = u32::from(output.shape[3]);
    let row = bytes as u32 / channels.max(1);
    let [inner, turns, times] = match op.code {
        OpCode::DepthwiseConv2d => [1, channels, row],
        _ if op.is_dense(output.shape) => [4, 4, op.taps(input.shape).div_ceil(4) as u32],
        _ => [row, 1, 1],
    };
    let layout = Layout {
        inner: NonZeroU32::new(inner)?,
        channels: NonZeroU32::new(turns)?,
        times: NonZeroU32::new(times)?,
    };
    let id = SectionId::Program as u16;
    let mut at = constants + op.weights_offset as usize;
    let weights = at..at + bytes as usize;
    add(found, weights, Kind::Weights(layout), (id, filter, 0));
    if input.element != Element::Int8 || output.element != Element::Int8 {
        return Some(());
    }
    let channels = channels as usize;
    let multipliers = match op.flags & FLAG_ONE_MULTIPLIER {
        0 => channels,
        _ => 1,
    };
    at = constants + op.channels_offset as usize;
    let mut numbers = |role: u8, count: usize, width: u8, zero_point: i8| {
        let range = at..at + count * usize::from(width);
        at = range.end;
        let kind = match width {
            1 => Kind::Bytes,
            _ => Kind::Numbers { width, zero_point },
        };
        add(found, range, kind, (id, filter, role));
    };
    if op.flags & FLAG_PACKED != 0 {
        numbers(2, channels, 4, 0);
        numbers(1, channels, 3, input.zero_point);
    } else {
        numbers(1, channels, 4, input.zero_point);
        numbers(2, multipliers, 4, 0);
        numbers(3, multipliers, 1, 0);
    }
    Some(())
}

fn add(found: &mut Vec<Part>, range: Range<usize>, kind: Kind, key: (u16, u32, u8)) {
    if !range.is_empty() {
        found.push(Part { range, kind, key });
    }
}

/// Parts in order, with what lies between them as parts of bytes.
fn tile(mut found: Vec<Part>, bytes: usize) -> Vec<Part> {
    found.sort_by_key(|part| part.range.start);
    let mut tiled: Vec<Part> = Vec::new();
    let mut key = (HEAD, 0, 0);
    let mut end = 0;
    for part in found {
        // Arrays that share bytes are an oddity that no compiler of ours makes.
        if part.range.start < end || part.range.end > bytes {
            continue;
        }
        add(
            &mut tiled,
            end..part.range.start,
            Kind::Bytes,
            (key.0, key.1, GAP + key.2),
        );
        (end, key) = (part.range.end, part.key);
        tiled.push(part);
    }
    add(
        &mut tiled,
        end..bytes,
        Kind::Bytes,
        (key.0, key.1, GAP + key.2),
    );
    tiled
}
