//! A message to a device that decodes must encode to one that decodes to the same.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::downlink::Downlink;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Downlink::decode(bytes) {
        let mut again = vec![0; bytes.len() + 64];
        if let Ok(len) = message.encode(&mut again) {
            assert_eq!(Downlink::decode(&again[..len]).as_ref(), Ok(&message));
        }
    }
});
