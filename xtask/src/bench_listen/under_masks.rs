//! A round of sums as devices tell it under masks: their integers and masks in parts, the server that adds what it cannot
//! read, the helper that tells the sum of the masks of exactly these, and the sum opened.

use tinyops_fleet::helper::{Helper, SumRequest};
use tinyops_fleet::masked::PrivacyPolicy;
use tinyops_fleet::masked_sums::{Asked, MaskedGathering, Taken, add, opened, unmasked};
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::sums::Sums;
use tinyops_store::DeviceId;
use tinyops_store::round::RoundId;
use tinyops_train::head::Statistics;
use tinyops_wire::mask::Task;
use tinyops_wire::masked::{Content, MaskedPart, PartHead, part_len, quantize, update_value};
use tinyops_wire::{Frame, ModelId};

use super::episodes::ENVELOPE;
use super::rounds::statistics;

/// Number of the envelope that a device's first part goes in.
const SEQUENCE: u32 = 1;

/// The statistics that the sum comes to, and the bytes up of all devices; the error says why there is none, as where there
/// are fewer devices than the helper answers for.
///
/// Noise is left out: with as few devices as an episode has, it would be louder than any sum (`docs/privacy.md`).
pub(super) fn sum(all: &[Sums]) -> Result<(Statistics, usize), String> {
    let policy = PrivacyPolicy {
        noise: 0.0,
        ..PrivacyPolicy::default()
    };
    let first = all.first().ok_or("no device has sums")?;
    let task = policy.update_task(ModelId(1), RoundId(1), all.len() as u32);
    let asked = Asked {
        task: task.ok_or("no ring is wide enough")?,
        class_count: first.class_count,
        frame_bytes: RoundPolicy::default().frame_bytes,
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let helper = Helper::open(folder.path(), &[0x5a; 32], 0).map_err(|error| error.to_string())?;
    let mut added = vec![0; first.values.len()];
    let mut bytes = 0;
    let mut reports = Vec::new();
    for (device, sums) in (1..).map(DeviceId).zip(all) {
        let mut gathering = MaskedGathering::default();
        let parts = told(&asked, sums, &helper, device)?;
        for frame in &parts {
            bytes += frame.len() + ENVELOPE;
            let Frame::MaskedPart(part) = Frame::decode(frame).map_err(|e| e.to_string())? else {
                return Err("a part came back as another frame".to_owned());
            };
            if let Taken::Whole(numbers) = gathering.take(&asked, &part)? {
                add(&mut added, &numbers, &asked.task);
                reports.push((device, SEQUENCE));
            }
        }
    }
    if reports.len() != all.len() {
        return Err(format!(
            "{} of {} devices came whole",
            reports.len(),
            all.len()
        ));
    }
    let request = SumRequest {
        task: asked.task,
        value_count: added.len(),
        reports,
    };
    let masks = helper.sum(&request).map_err(|denied| denied.to_string())?;
    let steps = unmasked(&asked.task, &added, &masks);
    let shape = (first.class_count, first.width);
    let sums = opened(&asked.task, shape, all.len() as u32, &steps)?;
    Ok((statistics(&sums).ok_or("sums of no model")?, bytes))
}

/// The parts that a device tells, as its agent cuts and masks them.
fn told(
    asked: &Asked,
    sums: &Sums,
    helper: &Helper,
    device: DeviceId,
) -> Result<Vec<Vec<u8>>, String> {
    let task: &Task = &asked.task;
    let key = helper.mask_key(device);
    let per_part = part_len(asked.frame_bytes.into(), task.ring_bits);
    let part_count = sums.values.len().div_ceil(per_part.max(1));
    let head = PartHead {
        task: task.number,
        ring_bits: task.ring_bits,
        part_count: u8::try_from(part_count).map_err(|_| "too many parts")?,
        sequence: SEQUENCE,
        content: Content::Gram,
        class_count: sums.class_count as u8,
        width: sums.width as u16,
    };
    let cells = sums.values.iter().enumerate();
    let values: Vec<f64> = cells
        .map(|(at, &cell)| update_value(at, cell, sums.class_count, sums.width))
        .collect();
    let parts = 0..head.part_count;
    let parts = parts.map(|part| {
        let integers = quantize(task, values.iter().copied()).ok_or("the ring is too coarse")?;
        let mut out = vec![0; asked.frame_bytes.into()];
        let masks = key.masks(task, SEQUENCE);
        let written = MaskedPart::encode(head, part, per_part, task, integers, masks, &mut out)
            .map_err(|error| error.to_string())?;
        out.truncate(written);
        Ok(out)
    });
    parts.collect()
}
