//! A console of any bytes gives frames that are written and read again as the same.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::smp::{Console, Exchange, Frame, console_bytes_max, encode_console};

fuzz_target!(|bytes: &[u8]| {
    if let Some(frame) = Frame::decode(bytes) {
        let mut again = vec![0; bytes.len()];
        assert_eq!(frame.encode(&mut again), Some(bytes.len()));
        assert_eq!(Frame::decode(&again), Some(frame));
    }
    if let Some(exchange) = Exchange::decode(bytes) {
        let mut again = vec![0; bytes.len() + 16];
        if let Some(len) = exchange.encode(&mut again) {
            assert_eq!(Exchange::decode(&again[..len]), Some(exchange));
        }
    }
    let mut console = Console::<2400>::new();
    for &byte in bytes {
        if let Some(Ok(frame)) = console.push(byte) {
            let mut lines = vec![0; console_bytes_max(frame.len())];
            let len = encode_console(frame, &mut lines).expect("room");
            let mut again = Console::<2400>::new();
            let read = lines[..len]
                .iter()
                .filter_map(|&byte| again.push(byte).map(|answer| answer == Ok(frame)));
            assert_eq!(read.last(), Some(true));
        }
    }
});
