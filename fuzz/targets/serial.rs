//! A line of any bytes gives messages that are written and read again as the same, and a frame after it is read.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::serial::{BODY_BYTES_MAX, Decoder, Message, OVERHEAD, line_bytes_max};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new();
    let mut line = vec![0; line_bytes_max(BODY_BYTES_MAX)];
    for &byte in bytes {
        if let Some(Ok(message)) = decoder.push(byte) {
            let len = message.encode(&mut line).expect("room for any body");
            let mut again = Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new();
            let whole = line[1..len - 1]
                .iter()
                .all(|&byte| again.push(byte).is_none());
            assert!(whole, "no zero inside");
            assert_eq!(again.push(0), Some(Ok(message)));
        }
    }
    let len = Message::Up(b"after").encode(&mut line).expect("room");
    let answers = line[..len].iter().filter_map(|&byte| {
        decoder
            .push(byte)
            .map(|answer| answer == Ok(Message::Up(b"after")))
    });
    assert_eq!(answers.last(), Some(true));
});
