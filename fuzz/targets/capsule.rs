//! Bytes that claim to be a capsule: refused without the key, never a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::capsule::Capsule;
use tinyops_wire::key::SigningKey;

fuzz_target!(|bytes: &[u8]| {
    let key = SigningKey::from_seed(&[9; 32]).verifying_key();
    let _ = Capsule::verify(bytes, &[key]);
});
