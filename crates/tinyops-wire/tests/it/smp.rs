//! SMP frames and console lines, some of them worked out beside this code from the specification.

use proptest::prelude::*;
use tinyops_wire::smp::{
    Console, Damaged, Exchange, Frame, GROUP, LINE_BYTES_MAX, Operation, console_bytes_max,
    encode_console,
};

use crate::samples;

/// What a console makes of bytes.
fn read(bytes: &[u8]) -> Vec<Result<Vec<u8>, Damaged>> {
    let mut console = Console::<1100>::new();
    let frames = bytes
        .iter()
        .filter_map(|&byte| console.push(byte).map(|frame| frame.map(<[u8]>::to_vec)));
    frames.collect()
}

/// `mcumgr echo hello`: header by the table of the specification, CRC and base64 by another implementation.
const ECHO: &[u8] = b"\x02\x00\x00\x09\x00\x00\x01\x00\xa1\x61\x64\x65hello";
const ECHO_LINE: &[u8] = b"\x06\x09ABMCAAAJAAABAKFhZGVoZWxsb/0m\n";

#[test]
fn the_echo_of_the_documentation() {
    let frame = Frame::decode(ECHO).expect("a frame");
    assert_eq!((frame.operation, frame.group), (Operation::Write, 0));
    assert_eq!((frame.sequence, frame.command), (1, 0));
    assert_eq!(frame.body, &ECHO[8..]);
    let line = samples::write(|out| encode_console(ECHO, out).expect("room"));
    assert_eq!(line, ECHO_LINE);
    assert_eq!(read(ECHO_LINE), [Ok(ECHO.to_vec())]);
}

#[test]
fn what_else_a_console_prints_is_passed_over() {
    let noisy = [
        b"uart:~$ \r\n*** Booting\n\x06\n\n",
        ECHO_LINE,
        b"I: x=\xff\x00\n",
        &[b'y'; 500],
        b"\n",
        ECHO_LINE,
    ]
    .concat();
    assert_eq!(read(&noisy), [Ok(ECHO.to_vec()), Ok(ECHO.to_vec())]);
    let crlf = [&ECHO_LINE[..ECHO_LINE.len() - 1], b"\r\n"].concat();
    assert_eq!(read(&crlf), [Ok(ECHO.to_vec())]);
}

#[test]
fn a_changed_character_costs_its_frame() {
    for at in 2..ECHO_LINE.len() - 1 {
        let mut line = ECHO_LINE.to_vec();
        line[at] = if line[at] == b'A' { b'B' } else { b'A' };
        let answers = read(&[&line[..], ECHO_LINE].concat());
        assert_eq!(answers.last(), Some(&Ok(ECHO.to_vec())), "{at}");
        assert!(
            answers.iter().rev().skip(1).all(|answer| answer.is_err()),
            "{at}"
        );
    }
}

#[test]
fn frames_of_other_lengths_and_kinds_are_none() {
    for bytes in [
        &b""[..],
        &ECHO[..7],
        &ECHO[..16],
        &[ECHO, b"x"].concat(),
        b"\x07\0\0\0\0\0\0\0",
        b"\x12\0\0\0\0\0\0\0",
    ] {
        assert_eq!(Frame::decode(bytes), None, "{bytes:?}");
    }
}

#[test]
fn an_exchange_is_a_small_map() {
    let body = samples::write(|out| {
        Exchange {
            down: Some(b"abc"),
            ..Exchange::default()
        }
        .encode(out)
        .unwrap()
    });
    assert_eq!(body, b"\xa1\x61d\x43abc");
    let body = samples::write(|out| Exchange::default().encode(out).unwrap());
    assert_eq!(body, b"\xa0");
    let answer = Exchange {
        up: Some(b"xy"),
        more: 3,
        ..Exchange::default()
    };
    let body = samples::write(|out| answer.encode(out).unwrap());
    assert_eq!(body, b"\xa2\x61u\x42xy\x61n\x03");
    // Maps of no stated length, as Zephyr's encoder writes them, and keys of later versions.
    let open = b"\xbf\x61u\x42xy\x63new\x82\x01\x02\x61n\x03\xff";
    assert_eq!(Exchange::decode(open), Some(answer));
    assert_eq!(
        Exchange::decode(b"\xa1\x62rc\x08").map(|answer| answer.error),
        Some(8)
    );
    for wrong in [
        &b""[..],
        b"\xa1",
        b"\xa1\x61d\x63abc",
        b"\xa0\x00",
        b"\x80",
        b"\xbf\x61n\x03",
    ] {
        assert_eq!(Exchange::decode(wrong), None, "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn frames_go_over_a_console_whole(body in prop::collection::vec(any::<u8>(), 0..1000), sequence: u8) {
        let frame = Frame { operation: Operation::Write, group: GROUP, sequence, command: 0, body: &body };
        let frame_bytes = samples::write(|out| frame.encode(out).unwrap());
        prop_assert_eq!(Frame::decode(&frame_bytes), Some(frame));
        let lines = samples::write(|out| encode_console(&frame_bytes, out).unwrap());
        prop_assert!(lines.len() <= console_bytes_max(frame_bytes.len()));
        prop_assert!(lines.split_inclusive(|&byte| byte == b'\n').all(|line| line.len() <= LINE_BYTES_MAX));
        prop_assert_eq!(read(&lines), [Ok(frame_bytes)]);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = (read(&bytes), Frame::decode(&bytes), Exchange::decode(&bytes));
    }
}
