//! A list of an aggregator's keys of any bytes: one that can be sealed for, or a reason.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_fleet::dap::{HpkeConfig, HpkeConfigError};

fuzz_target!(|bytes: &[u8]| {
    match HpkeConfig::choose(bytes) {
        Ok(config) => {
            let key = &config.public_key[..];
            assert!(bytes.windows(32).any(|window| window == key));
        }
        Err(HpkeConfigError::Malformed | HpkeConfigError::Empty) => {}
        // Only what is a list can be of unknown algorithms, or name one id twice.
        Err(error) => {
            let length = u16::from_be_bytes([bytes[0], bytes[1]]);
            assert_eq!(usize::from(length) + 2, bytes.len());
            assert!(error.to_string().len() < 600);
        }
    }
});
