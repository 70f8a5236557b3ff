//! The short form, fragments and blocks over LoRaWAN.

use proptest::prelude::*;
use tinyops_wire::envelope::{Direction, EnvelopeError};
use tinyops_wire::lorawan::{
    Assembler, Known, Missing, OVERHEAD, OVERHEAD_WITH_MODEL, Part, Short, decode_block,
    encode_block, fragments, seal,
};
use tinyops_wire::{DeviceId, DeviceKey, Envelope, ModelId};

use crate::samples::{self, DEVICE, KEY, MODEL, SEQUENCE};

fn envelope(direction: Direction, body: &[u8]) -> Envelope<'_> {
    Envelope {
        direction,
        device: DEVICE,
        model: MODEL,
        sequence: SEQUENCE,
        body,
    }
}

fn known(direction: Direction) -> Known {
    Known {
        direction,
        device: DEVICE,
        model: MODEL,
        sequence: SEQUENCE - 1,
    }
}

#[test]
fn a_report_fits_the_slowest_rate() {
    let frame = samples::summary_frame(tinyops_wire::summary::Format::M8);
    let short = samples::short(&envelope(Direction::Up, &frame), false);
    assert_eq!(short.len(), frame.len() + OVERHEAD);
    assert!(short.len() <= 51);
    let short = samples::short(&envelope(Direction::Up, &frame), true);
    assert_eq!(short.len(), frame.len() + OVERHEAD_WITH_MODEL);
}

#[test]
fn what_is_not_said_is_still_proved() {
    let short = samples::short(&envelope(Direction::Up, b"body"), false);
    let short = Short::parse(&short).expect("a short form");
    let good = known(Direction::Up);
    let opened = short.open(&good, &KEY).expect("its key");
    assert_eq!(opened, envelope(Direction::Up, b"body"));
    let wrong = [
        Known {
            direction: Direction::Down,
            ..good
        },
        Known {
            device: DeviceId(1),
            ..good
        },
        Known {
            model: ModelId(1),
            ..good
        },
        // As far behind as the short number cannot reach: the guess is another number.
        Known {
            sequence: SEQUENCE + 0x1_0000,
            ..good
        },
    ];
    for known in wrong {
        assert_eq!(
            short.open(&known, &KEY),
            Err(EnvelopeError::Tag),
            "{known:?}"
        );
    }
    assert_eq!(
        short.open(&good, &DeviceKey([8; 32])),
        Err(EnvelopeError::Tag)
    );
    let with_model = samples::short(&envelope(Direction::Up, b"body"), true);
    let told = Known {
        model: ModelId(1),
        ..good
    };
    let opened = Short::parse(&with_model)
        .unwrap()
        .open(&told, &KEY)
        .expect("it says its model");
    assert_eq!(opened.model, MODEL);
}

#[test]
fn every_changed_bit_is_refused() {
    let bytes = samples::short(&envelope(Direction::Down, b"body"), true);
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened =
            Short::parse(&changed).and_then(|short| short.open(&known(Direction::Down), &KEY));
        assert!(opened.is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        let cut =
            Short::parse(&bytes[..len]).and_then(|short| short.open(&known(Direction::Down), &KEY));
        assert!(cut.is_err(), "{len} bytes");
    }
}

proptest! {
    #[test]
    fn short_forms_open_for_whoever_is_not_far_behind(
        sequence: u32, behind in -32_000_i32..32_000, body in prop::collection::vec(any::<u8>(), 0..60),
        with_model: bool,
    ) {
        let envelope = Envelope { sequence, ..envelope(Direction::Up, &body) };
        let short = samples::short(&envelope, with_model);
        let Some(newest) = sequence.checked_add_signed(-behind) else { return Ok(()) };
        let known = Known { sequence: newest, ..known(Direction::Up) };
        prop_assert_eq!(Short::parse(&short).unwrap().open(&known, &KEY), Ok(envelope));
    }

    #[test]
    fn fragments_in_any_order_again_and_again_make_the_message(
        message in prop::collection::vec(any::<u8>(), 1..300),
        room in 11..120_usize,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let Some(parts) = fragments(&message, 5, room) else {
            prop_assert!(message.len() > 32 * (room - 3));
            return Ok(());
        };
        let parts: Vec<_> = parts.collect();
        let mut assembler = Assembler::<300>::new();
        let mut whole = None;
        let order = order.iter().map(|index| index.index(parts.len())).chain(0..parts.len());
        let mut came = std::collections::BTreeSet::new();
        for index in order {
            let mut payload = [0; 128];
            let len = Part::Fragment(parts[index]).encode(&mut payload).unwrap();
            prop_assert!(len <= room);
            let Some(Part::Fragment(fragment)) = Part::decode(&payload[..len]) else { panic!("a fragment") };
            let given = assembler.push(fragment).map(<[u8]>::to_vec);
            prop_assert!(whole.is_none() || given.is_none(), "given once");
            whole = whole.or(given);
            came.insert(index);
            let lacks = (0..parts.len()).filter(|index| !came.contains(index)).fold(0, |bits, index| bits | 1 << index);
            prop_assert_eq!(assembler.missing(), Some(Missing { number: 5, bitmap: lacks }));
        }
        prop_assert_eq!(whole, Some(message));
    }

    #[test]
    fn any_bytes_leave_an_assembler_well(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..60)) {
        let mut assembler = Assembler::<64>::new();
        for payload in &payloads {
            if let Some(part) = Part::decode(payload) {
                let mut again = [0; 64];
                let len = part.encode(&mut again).unwrap();
                prop_assert_eq!(&again[..len], &payload[..]);
                if let Part::Fragment(fragment) = part {
                    let _ = assembler.push(fragment);
                }
            }
        }
        let whole = [7; 50];
        let mut given = None;
        for fragment in fragments(&whole, 127, 20).unwrap() {
            given = given.or(assembler.push(fragment).map(<[u8]>::to_vec));
        }
        // Unless a fragment of just this shape had come before, which then differs.
        prop_assume!(!payloads.iter().any(|payload| payload.first() == Some(&127)));
        prop_assert_eq!(given.as_deref(), Some(&whole[..]));
    }

    #[test]
    fn blocks_name_their_place(word in 0..=u16::MAX, bytes in prop::collection::vec(any::<u8>(), 1..48)) {
        let digest = [9, 8, 7, 6, 5, 4, 3, 2];
        let mut payload = [0; 51];
        let offset = u32::from(word) * 4;
        let len = encode_block(&digest, offset, &bytes, &mut payload).unwrap();
        prop_assert_eq!(len, bytes.len() + 3);
        prop_assert_eq!(decode_block(&digest, &payload[..len]), Some((offset, &bytes[..])));
        prop_assert_eq!(decode_block(&[8; 8], &payload[..len]), None);
        prop_assert_eq!(encode_block(&digest, offset + 2, &bytes, &mut payload), None);
    }
}

#[test]
fn messages_that_do_not_fit_are_refused() {
    assert!(fragments(&[0; 257], 0, 11).is_none(), "33 fragments");
    assert!(fragments(&[0; 256], 0, 11).is_some(), "32 fragments");
    assert!(fragments(&[0; 10], 0, 3).is_none(), "no room");
    assert!(fragments(&[], 0, 51).is_none(), "nothing");
    assert!(
        seal(
            &envelope(Direction::Up, &[0; 45]),
            false,
            &KEY,
            &mut [0; 51]
        )
        .is_err()
    );
    let mut assembler = Assembler::<64>::new();
    for fragment in fragments(&[1; 65], 3, 20).unwrap() {
        assert_eq!(assembler.push(fragment), None, "more than it has room for");
    }
}
