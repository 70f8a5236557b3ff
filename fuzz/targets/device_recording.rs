//! What a device sends as a recording: any bytes. A head, more to come, or a reason; never a payload that was not signed.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_fleet::recording::{Claimed, HEAD_BYTES_MAX};
use tinyops_wire::DeviceKey;

fuzz_target!(|bytes: &[u8]| {
    match Claimed::parse(bytes) {
        Ok(None) => assert!(bytes.len() <= HEAD_BYTES_MAX),
        Ok(Some(claimed)) => {
            assert!(claimed.head_bytes <= bytes.len().min(HEAD_BYTES_MAX));
            let _ = (claimed.device(), claimed.digest());
            if claimed.head_bytes > HEAD_BYTES_MAX - 100 {
                return; // The length of another payload may take more digits.
            }
            let key = DeviceKey([7; 32]);
            let again = claimed.head.seal(&key, &bytes[claimed.head_bytes..]);
            let read = Claimed::parse(&again)
                .expect("what is sealed is read")
                .expect("whole");
            assert_eq!(read.head.counter, claimed.head.counter);
        }
        Err(_) => {}
    }
});
