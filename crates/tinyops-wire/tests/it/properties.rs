//! Decoders take anything, and what they accept they would have written so.

use proptest::prelude::*;
use tinyops_wire::payload::Payload;
use tinyops_wire::section::{DecisionSection, Golden, GoldenSection, Labels, ScalerSection};
use tinyops_wire::sensor::SensorSection;
use tinyops_wire::statistics::{PART_HEADER_BYTES, Shape, encode_part, plan_parts, value_count};
use tinyops_wire::{Downlink, Frame, Manifest};

use crate::samples;

fn decode_all(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(bytes) {
        if let Frame::Summary(summary) = &frame {
            for (channels, classes) in [(0, 0), (9, 4), (9, 32), (3, 2), (100, 100)] {
                let _ = summary.decode(channels, classes, (1, 2));
            }
            let _ = summary.cost((1, 2));
        }
        if let Frame::Shadow(report) = &frame {
            let shares: f32 = report.class_shares().sum();
            assert!(shares == 0.0 || (shares - 1.0).abs() < 1e-4, "{report:?}");
            let _ = report.cost((1, 2));
        }
        if let Frame::Statistics(part) = &frame {
            let end = value_count(part.shape.class_count.into(), part.shape.width.into());
            assert!(part.values().all(|(index, _)| index < end));
        }
        if let Frame::MaskedReport(report) = &frame {
            assert!([0, 1, 22, 50].iter().all(|&count| {
                report
                    .values(count)
                    .is_none_or(|values| values.count() == count)
            }));
        }
        if let Frame::NoisedReport(report) = &frame {
            assert!([0, 1, 22, 50].iter().all(|&count| {
                report
                    .values(count)
                    .is_none_or(|values| values.count() == count)
            }));
        }
        if let Frame::MaskedPart(part) = &frame {
            assert!(part.values().all(|(index, _)| index < part.head.len()));
        }
        assert_eq!(samples::frame(&frame), bytes, "{frame:?}");
    }
    if let Ok(message) = Downlink::decode(bytes) {
        let again = samples::downlink(&message);
        assert_eq!(Downlink::decode(&again), Ok(message));
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(
            samples::write(|out| manifest.encode(out).expect("room")),
            bytes
        );
    }
    let _ = Payload::parse(bytes);
    if let Ok(section) = SensorSection::decode(bytes) {
        assert_eq!(section.channels().count(), section.count());
        // A version 2 that says no more than version 1 is written so.
        let again = samples::sensor(&section);
        if again.first() == bytes.first() {
            assert_eq!(again, bytes);
        }
    }
    if let Ok(section) = DecisionSection::decode(bytes) {
        assert_eq!(section.encode(), bytes);
    }
    if let Ok(section) = ScalerSection::decode(bytes) {
        section.apply(&mut [1.0; 7]);
    }
    if let Ok(section) = Labels::decode(bytes) {
        assert_eq!(section.names().count(), section.count());
    }
    if let Ok(section) = GoldenSection::decode(bytes) {
        assert_eq!(section.vectors().count(), section.count());
    }
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    let mut all: Vec<Vec<u8>> = samples::frames()
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    all.extend(samples::downlinks().into_iter().map(|(_, bytes)| bytes));
    all.extend(samples::sensors().into_iter().map(|(_, bytes)| bytes));
    let payload = samples::payload();
    let sections = Payload::parse(&payload).expect("a payload");
    use tinyops_wire::payload::SectionId as Id;
    for id in [Id::Scaler, Id::Labels, Id::Decision, Id::Golden] {
        all.push(sections.section(id).expect("a section").to_vec());
    }
    let capsule = samples::capsule();
    let manifest = capsule
        .windows(3)
        .position(|head| head == [0xa8, 1, 1])
        .expect("a manifest");
    let manifest_bytes = usize::from(capsule[manifest - 1]);
    all.push(capsule[manifest..manifest + manifest_bytes].to_vec());
    all.push(payload);
    prop::sample::select(all)
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
    }

    #[test]
    fn changed_bytes_are_decoded_or_refused(
        mut bytes in valid(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        decode_all(&bytes);
    }

    #[test]
    fn statistics_come_back_from_parts_in_any_order(
        values in prop::collection::vec(any::<i64>(), 9..=9),
        small in prop::collection::vec(-300..300_i64, 9..=9),
        is_small: bool,
        frame_bytes in PART_HEADER_BYTES + 10..80,
        backwards: bool,
    ) {
        let values = if is_small { small } else { values };
        let shape = Shape { round: 1, class_count: 2, width: 2, window_count: 30 };
        let mut parts = Vec::new();
        for part in 0..=u8::MAX {
            let Some(cut) = plan_parts(values.iter().copied(), frame_bytes, part).expect("fits") else {
                break;
            };
            let bytes = samples::write(|out| {
                encode_part(shape, part, cut, values.iter().copied(), out).expect("room")
            });
            prop_assert!(bytes.len() <= frame_bytes);
            parts.push(bytes);
        }
        if backwards {
            parts.reverse();
        }
        let mut sums = [None; 9];
        for bytes in &parts {
            let Ok(Frame::Statistics(part)) = Frame::decode(bytes) else {
                panic!("a part");
            };
            prop_assert_eq!(usize::from(part.part_count), parts.len());
            prop_assert_eq!(part.shape, shape);
            for (index, value) in part.values() {
                prop_assert_eq!(sums[index].replace(value), None);
            }
        }
        prop_assert_eq!(sums.to_vec(), values.into_iter().map(Some).collect::<Vec<_>>());
    }
}

#[test]
fn golden_vectors_of_different_kinds_stand_together() {
    let vectors = [
        Golden::Window {
            readings: &[[0, 0, 128, 63], [0, 0, 0, 0]],
            output: &[1, 2],
        },
        Golden::Tensor {
            input: &[3],
            output: &[4, 5],
        },
        Golden::Score {
            features: &[[0, 0, 0, 64]],
            score: 0.5,
        },
    ];
    let mut bytes = [0; 64];
    let len = GoldenSection::encode(&vectors, &mut bytes).expect("room");
    let section = GoldenSection::decode(&bytes[..len]).expect("what was written");
    assert_eq!(section.vectors().collect::<Vec<_>>(), vectors);
}
