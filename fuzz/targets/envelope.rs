//! Bytes off the air: parsed, refused by the wrong key, never a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::envelope::{Direction, Sealed};
use tinyops_wire::key::DeviceKey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sealed) = Sealed::parse(bytes) {
        let _ = sealed.device();
        let _ = sealed.open(&DeviceKey([7; 32]), Direction::Up);
    }
});
