//! The serial link under clean lines, noise and wrong starts.

use proptest::prelude::*;
use tinyops_wire::serial::{Decoder, Message, OVERHEAD, SerialError, line_bytes_max};

use crate::samples;

const BODY: usize = 600;

/// What a decoder makes of a line: bodies with their kinds, and errors.
fn read(line: &[u8]) -> Vec<Result<(u8, Vec<u8>), SerialError>> {
    let mut decoder = Decoder::<{ BODY + OVERHEAD }>::new();
    let mut read = Vec::new();
    for &byte in line {
        read.extend(decoder.push(byte).map(|answer| answer.map(owned)));
    }
    read
}

fn owned(message: Message<'_>) -> (u8, Vec<u8>) {
    match message {
        Message::Up(body) => (1, body.to_vec()),
        Message::Down(body) => (2, body.to_vec()),
        Message::Room { body_bytes } => (3, body_bytes.to_le_bytes().to_vec()),
        Message::Enrol(body) => (4, body.to_vec()),
        Message::Enrolled { nonce, answer } => (5, [&nonce[..], answer].concat()),
        _ => unreachable!("five kinds"),
    }
}

fn message(kind: u8, body: &[u8]) -> Message<'_> {
    match kind {
        1 => Message::Up(body),
        4 => Message::Enrol(body),
        _ => Message::Down(body),
    }
}

fn write(kind: u8, body: &[u8]) -> Vec<u8> {
    samples::write(|out| message(kind, body).encode(out).expect("room"))
}

fn bodies() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    // Zeros and runs of 254 are where stuffing can go wrong.
    let byte = prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()];
    let body = prop_oneof![
        prop::collection::vec(byte, 0..BODY),
        (1..=u8::MAX, 240..270_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let kind = prop_oneof![Just(1_u8), Just(2), Just(4)];
    prop::collection::vec((kind, body), 1..6)
}

proptest! {
    #[test]
    fn what_is_written_is_read(messages in bodies()) {
        let line: Vec<u8> = messages.iter().flat_map(|(kind, body)| write(*kind, body)).collect();
        let expected: Vec<_> = messages.into_iter().map(Ok).collect();
        prop_assert_eq!(read(&line), expected);
    }

    #[test]
    fn a_frame_has_no_zero_inside_and_keeps_its_bound(messages in bodies()) {
        for (kind, body) in messages {
            let line = write(kind, &body);
            prop_assert!(line.len() <= line_bytes_max(body.len()));
            prop_assert_eq!((line[0], line[line.len() - 1]), (0, 0));
            prop_assert!(line[1..line.len() - 1].iter().all(|&byte| byte != 0));
            let message = message(kind, &body);
            let mut exact = vec![0; line.len()];
            prop_assert_eq!(message.encode(&mut exact), Ok(line.len()));
            for room in [0, 1, 2, line.len() - 1] {
                prop_assert_eq!(message.encode(&mut exact[..room]), Err(SerialError::Room));
            }
        }
    }

    #[test]
    fn noise_between_frames_costs_no_frame(messages in bodies(), noise in prop::collection::vec(any::<u8>(), 0..900)) {
        let mut line = Vec::new();
        for (kind, body) in &messages {
            line.extend(&noise);
            line.extend(write(*kind, body));
        }
        let whole: Vec<_> = read(&line).into_iter().flatten().collect();
        // Noise could spell a frame of its own: one time in 2^32 for each.
        prop_assert_eq!(whole, messages);
    }

    #[test]
    fn damage_costs_the_frames_it_touches_and_no_other(
        messages in bodies(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..4),
    ) {
        let frames: Vec<Vec<u8>> = messages.iter().map(|(kind, body)| write(*kind, body)).collect();
        let mut line = frames.concat();
        let mut touched = vec![false; frames.len()];
        for (at, flip) in hits {
            let at = at.index(line.len());
            line[at] ^= flip;
            let mut end = 0;
            for (index, frame) in frames.iter().enumerate() {
                let begin = end;
                end += frame.len();
                // A zero that is damaged joins a frame to the one beside it.
                touched[index] |= (begin.saturating_sub(1)..=end).contains(&at);
            }
        }
        let untouched: Vec<_> = messages.into_iter().zip(&touched).filter(|(_, hit)| !**hit).map(|(message, _)| message).collect();
        let whole: Vec<_> = read(&line).into_iter().flatten().collect();
        let mut rest = whole.iter();
        for message in &untouched {
            prop_assert!(rest.any(|read| read == message), "an untouched frame is missing");
        }
        prop_assert!(whole.len() <= touched.len());
    }

    #[test]
    fn a_reader_that_comes_late_misses_only_what_it_came_into(messages in bodies(), late in any::<prop::sample::Index>()) {
        let frames: Vec<Vec<u8>> = messages.iter().map(|(kind, body)| write(*kind, body)).collect();
        let line = frames.concat();
        let start = late.index(line.len());
        let mut end = 0;
        let mut expected = Vec::new();
        for (frame, message) in frames.iter().zip(&messages) {
            if start <= end + 1 {
                expected.push(message.clone());
            }
            end += frame.len();
        }
        let whole: Vec<_> = read(&line[start..]).into_iter().flatten().collect();
        prop_assert_eq!(whole, expected);
    }
}

#[test]
fn what_is_too_long_is_said_once_and_passed_over() {
    let long = write(1, &[7; BODY + 1]);
    let short = write(2, &[8; BODY]);
    let answers = read(&[long, short].concat());
    assert_eq!(answers[0], Err(SerialError::TooLong));
    assert_eq!(answers[1], Ok((2, vec![8; BODY])));
    assert_eq!(answers.len(), 2);
}

#[test]
fn later_kinds_and_versions_are_told_apart_from_damage() {
    for (head, expected) in [
        (0x1f, SerialError::Kind { found: 15 }),
        (0x21, SerialError::Version { found: 2 }),
    ] {
        let mut checked = vec![head, 1, 2, 3];
        checked.extend(tinyops_wire::crc::crc32(&checked).to_le_bytes());
        // Eight bytes without a zero are one run.
        assert!(checked.iter().all(|&byte| byte != 0));
        let line = [&[0, checked.len() as u8 + 1], &checked[..], &[0]].concat();
        assert_eq!(read(&line), [Err(expected)]);
    }
}

#[test]
fn room_is_two_bytes() {
    let line = samples::write(|out| {
        Message::Room { body_bytes: 1062 }
            .encode(out)
            .expect("room")
    });
    assert_eq!(read(&line), [Ok((3, vec![0x26, 0x04]))]);
}
