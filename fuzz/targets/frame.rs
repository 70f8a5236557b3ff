//! A frame that decodes must encode to a frame that decodes to the same.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::frame::Frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        let mut again = [0; 4096];
        if let Ok(len) = frame.encode(&mut again) {
            assert_eq!(Frame::decode(&again[..len]).as_ref(), Ok(&frame));
        }
    }
});
