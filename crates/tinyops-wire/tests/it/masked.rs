//! Secure sums: sizes, masks that depend on all that they should, sums that are exact, rings that do not overflow.

use proptest::prelude::*;
use tinyops_wire::frame::Flags;
use tinyops_wire::mask::{HelperKey, MaskKey, Purpose, Task};
use tinyops_wire::masked::{self, Content, MaskedReport};
use tinyops_wire::{DeviceId, Frame, ModelId};

use crate::samples;

fn task(ring_bits: u8, norm_max: u16, noise_tenths: u16) -> Task {
    Task {
        ring_bits,
        norm_max,
        noise_tenths,
        ..samples::TASK
    }
}

#[test]
fn sizes_are_those_of_the_design() {
    // Nine channels and four classes, a hundred devices and twenty times one device's noise: 43 bytes.
    let fitting = task(13, 1, 200).with_finest_norm(100).expect("it fits");
    assert_eq!(fitting.norm_max, 18);
    assert_eq!(
        fitting.with_least_ring(100).map(|task| task.ring_bits),
        Some(13)
    );
    assert_eq!(masked::report_bytes(9, 4, 13), 43);
    assert_eq!(samples::masked_report().len(), 43);
    // Beside 22 numbers of 6 bits in the clear, 17 bytes: 2.2 times as many.
    let plain = (22_usize * 6).div_ceil(8);
    assert!((22_usize * 13).div_ceil(8) as f64 <= 2.2 * plain as f64);
    // A thousand devices still fit a frame of LoRaWAN's lowest rate.
    let wide = task(16, 1, 200).with_finest_norm(1000).expect("it fits");
    assert!(wide.norm_max >= 15 && masked::report_bytes(9, 4, 16) == 51);
    for (content, width, classes, bits, bytes) in [
        (Content::Prototypes, 32, 6, 16, 396),
        (Content::Gram, 16, 6, 16, 476),
        (Content::Gram, 16, 10, 16, 612),
        (Content::Gram, 32, 6, 18, 1_634),
        (Content::Gram, 32, 10, 18, 1_931),
    ] {
        assert_eq!((content.len(classes, width) * bits).div_ceil(8), bytes);
    }
}

#[test]
fn a_ring_is_as_wide_as_the_sum_needs_and_no_wider() {
    for devices in [20_u32, 100, 999, 5_000] {
        for noise in [0_u16, 50, 200] {
            let least = task(2, 40, noise)
                .with_least_ring(devices)
                .expect("it fits");
            let largest = 40 * i64::from(devices) + (6.0 * least.noise_sd()).ceil() as i64;
            let half = 1_i64 << (least.ring_bits - 1);
            assert!(
                largest < half && 2 * largest >= half - 2,
                "{devices} {noise}"
            );
            assert!(least.holds(devices));
            let narrower = Task {
                ring_bits: least.ring_bits - 1,
                ..least
            };
            assert!(!narrower.holds(devices));
        }
    }
    assert_eq!(task(2, u16::MAX, 200).with_least_ring(u32::MAX), None);
    assert_eq!(task(2, 1, 200).with_finest_norm(100), None);
}

#[test]
fn masks_are_of_the_keystream_of_their_message_alone() {
    let key = HelperKey([1; 32]).mask_key(DeviceId(7));
    let of = |key: &MaskKey, task: &Task, sequence| -> Vec<u32> {
        key.masks(task, sequence).take(40).collect()
    };
    let base = task(13, 15, 200);
    let first = of(&key, &base, 5);
    assert_eq!(first, of(&key, &base, 5));
    assert!(first.iter().all(|mask| *mask < 1 << 13));
    let mut from_ten = key.masks(&base, 5);
    from_ten.seek(10);
    assert_eq!(from_ten.take(30).collect::<Vec<u32>>(), first[10..]);
    // A server that tells the helper another task than the device gets other masks.
    for (number, other) in [
        (
            5,
            Task {
                noise_tenths: 0,
                ..base
            },
        ),
        (
            5,
            Task {
                norm_max: 14,
                ..base
            },
        ),
        (
            5,
            Task {
                purpose: Purpose::Update,
                ..base
            },
        ),
        (
            5,
            Task {
                model: ModelId(1),
                ..base
            },
        ),
        (5, Task { clip: 0.6, ..base }),
        (6, base),
    ] {
        assert_ne!(first, of(&key, &other, number));
    }
    assert_ne!(
        first,
        of(&HelperKey([1; 32]).mask_key(DeviceId(8)), &base, 5)
    );
    assert_ne!(
        first,
        of(&HelperKey([2; 32]).mask_key(DeviceId(7)), &base, 5)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever devices say, clipped: the sum of what they send less the sum of their masks is the sum of their integers.
    #[test]
    fn sums_are_exact(
        devices in prop::collection::vec(prop::collection::vec(-3.0_f64..3.0, 22), 20..60),
        noise in prop::sample::select(vec![0_u16, 50, 200]),
    ) {
        let task = task(13, 1, noise).with_finest_norm(60).expect("it fits");
        let helper = HelperKey([3; 32]);
        let (mut sum, mut masks, mut plain) = ([0_u32; 22], [0_u32; 22], [0_i64; 22]);
        for (id, values) in (0_u64..).zip(&devices) {
            let values = masked::quantize(&task, values.iter().copied()).expect("fine enough");
            let integers: Vec<i32> = values.collect();
            let length: i64 = integers.iter().map(|value| i64::from(*value).pow(2)).sum();
            prop_assert!(length <= i64::from(task.norm_max).pow(2));
            let key = helper.mask_key(DeviceId(id));
            let mut out = [0; 64];
            let flags = Flags::default();
            let len = MaskedReport::encode(&task, flags, integers.iter().copied(), key.masks(&task, 9), &mut out)
                .expect("room");
            let Ok(Frame::MaskedReport(report)) = Frame::decode(&out[..len]) else { panic!("a report") };
            prop_assert!(report.values(21).is_none(), "another shape has another length");
            for (index, (value, mask)) in report.values(22).expect("its shape").zip(key.masks(&task, 9)).enumerate() {
                sum[index] = sum[index].wrapping_add(value);
                masks[index] = masks[index].wrapping_add(mask);
                plain[index] += i64::from(integers[index]);
            }
        }
        for index in 0..22 {
            prop_assert_eq!(task.signed(sum[index].wrapping_sub(masks[index])), plain[index]);
        }
    }
}

#[test]
fn numbers_that_are_none_count_as_nothing() {
    let values = [f64::NAN, f64::INFINITY, -1e300, 0.1];
    let quantized: Vec<i32> = masked::quantize(&task(13, 15, 0), values.into_iter())
        .expect("fine enough")
        .collect();
    assert_eq!(quantized[..2], [0, 0]);
    assert!(quantized.iter().all(|value| value.abs() <= 15));
    // A norm below what rounding may add is no norm.
    assert!(masked::quantize(&task(13, 2, 0), [0.0; 22].into_iter()).is_none());
}

#[test]
fn a_task_has_one_encoding_and_unsound_ones_are_refused() {
    let bytes = samples::TASK.encode();
    assert_eq!(Task::decode(&bytes), Some(samples::TASK));
    for (at, value) in [(0, 0), (0, 9), (7, 1), (7, 33), (13, 0xff)] {
        let mut bad = bytes;
        bad[at] = value;
        assert_eq!(Task::decode(&bad), None, "byte {at}");
    }
    let mut no_norm = bytes;
    no_norm[8..10].fill(0);
    assert_eq!(Task::decode(&no_norm), None);
    let mut backwards = bytes;
    backwards[10..14].copy_from_slice(&(-1.0_f32).to_le_bytes());
    assert_eq!(Task::decode(&backwards), None);
}

#[test]
fn costs_are_rounded_up() {
    assert_eq!(task(13, 15, 200).cost(), 1_250);
    assert_eq!(task(13, 15, 50).cost(), 20_000);
    assert_eq!(task(13, 15, 300).cost(), 556);
    assert_eq!(task(13, 15, 0).cost(), 0);
    assert_eq!(task(13, 15, 1).cost(), 50_000_000);
}

#[test]
fn a_part_ends_with_its_last_number() {
    let whole = samples::masked_part();
    let Ok(Frame::MaskedPart(part)) = Frame::decode(&whole) else {
        panic!("a part");
    };
    assert_eq!(part.values().count(), part.head.len());
    for behind in 1..9 {
        let longer = [&whole[..], &vec![0; behind]].concat();
        assert!(Frame::decode(&longer).is_err(), "{behind} bytes behind it");
    }
    let shorter = &whole[..whole.len() - 1];
    assert!(
        Frame::decode(shorter).is_err(),
        "half a number is none, and its bits are"
    );
}
