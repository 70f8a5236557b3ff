//! How far the ladder goes, and what its rungs cost a device.

use serde::{Deserialize, Serialize};
use tinyops_wire::annotation::{ORDER_WINDOWS_MAX, PART_OVERHEAD, WINDOW_HEAD_BYTES};
use tinyops_wire::envelope::OVERHEAD;
use tinyops_wire::masked::{self, Content, part_len};
use tinyops_wire::sealing::{ENCAPSULATED_BYTES, TAG_BYTES};
use tinyops_wire::statistics::{PART_HEADER_BYTES, value_count};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How far the loop goes by itself, and what that may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepairPolicy {
    /// Most bytes that repairs of one model family may have a device send in 30 days; a rung that would take more is
    /// passed over.
    pub device_bytes_max: u64,
    /// The public key that windows are sealed for; without one none are ordered.
    pub annotator: Option<[u8; 32]>,
    /// How many windows are ordered of a device, 1 to 8.
    pub windows: u8,
    /// Out of how many that come next.
    pub windows_of: u16,
    /// Recordings that must be newly labelled before the model is trained on them.
    pub labelled_min: u32,
    /// How long devices may be told of an order.
    pub order_ms: i64,
    /// How long after an order the labels may take.
    pub labelled_within_ms: i64,
    /// How long labels may take to lead devices to heads of their own.
    pub own_heads_ms: i64,
    /// How long a version that passed every gate may wait to be everywhere.
    pub rollout_within_ms: i64,
    /// Windows that labels must have judged before they are a verdict.
    pub verdict_windows_min: i64,
    /// How long such labels are awaited.
    pub verdict_within_ms: i64,
    /// How far below what it was before the drift a share of right windows may lie and be called repaired.
    pub loss_max: f64,
    /// What a new version must gain on what ran meanwhile to be kept while the next rung is tried.
    pub gain_min: f64,
    /// How long after a repair in vain the same capsule is tried again.
    pub again_after_ms: i64,
}

impl Default for RepairPolicy {
    fn default() -> RepairPolicy {
        RepairPolicy {
            device_bytes_max: 64 << 10,
            annotator: None,
            windows: ORDER_WINDOWS_MAX,
            windows_of: 500,
            labelled_min: 16,
            order_ms: 3 * DAY_MS,
            labelled_within_ms: 14 * DAY_MS,
            own_heads_ms: 3 * DAY_MS,
            rollout_within_ms: 30 * DAY_MS,
            verdict_windows_min: 100,
            verdict_within_ms: 7 * DAY_MS,
            loss_max: 0.02,
            gain_min: 0.005,
            again_after_ms: 7 * DAY_MS,
        }
    }
}

/// Over so long the bytes of repairs count against the budget.
pub const BUDGET_MS: i64 = 30 * DAY_MS;

/// Most bytes that a device sends for a round in the clear: counts and class sums in two bytes, products of two values in three, and
/// what parts of `frame_bytes` add.
#[must_use]
pub fn round_bytes(class_count: usize, width: usize, frame_bytes: u16) -> u64 {
    let sums = class_count + class_count * width;
    let products = value_count(class_count, width) - sums;
    let values = 2 * sums + 3 * products;
    let part = usize::from(frame_bytes)
        .saturating_sub(PART_HEADER_BYTES)
        .max(1);
    let parts = values.div_ceil(part).max(1);
    (values + parts * (PART_HEADER_BYTES + OVERHEAD)) as u64
}

/// Bytes that a device sends for a round under masks: every number takes the ring's bits, whatever it is.
#[must_use]
pub fn masked_round_bytes(
    class_count: usize,
    width: usize,
    frame_bytes: u16,
    ring_bits: u8,
) -> u64 {
    let numbers = Content::Gram.len(class_count, width);
    let per_part = part_len(frame_bytes.into(), ring_bits).max(1);
    let bytes_of = |count: usize| (count * usize::from(ring_bits)).div_ceil(8);
    let (whole, rest) = (numbers / per_part, numbers % per_part);
    let parts = numbers.div_ceil(per_part);
    let bits = whole * bytes_of(per_part) + bytes_of(rest);
    (bits + parts * (masked::PART_HEADER_BYTES + OVERHEAD)) as u64
}

/// Bytes of a part of a parcel that links carry at least, for what its envelopes add.
const PART_BYTES: usize = 200;

/// Most bytes that a device sends for an order: windows with their vectors and readings, sealed, part by part.
#[must_use]
pub fn order_bytes(windows: u8, width: usize, reading_count: usize) -> u64 {
    let window = WINDOW_HEAD_BYTES + width + 4 * reading_count + TAG_BYTES;
    let parcel = ENCAPSULATED_BYTES + usize::from(windows) * window;
    let parts = parcel.div_ceil(PART_BYTES);
    (parcel + parts * (PART_OVERHEAD + OVERHEAD)) as u64
}
