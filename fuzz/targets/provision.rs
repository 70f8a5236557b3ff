//! Bytes that claim to be a record of who a board is: no panic, and what can be taken apart is put together to the same bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::crc::crc32;
use tinyops_wire::enrolment::Proof;
use tinyops_wire::provision::{RECORD_BYTES_MAX, Record};

fuzz_target!(|bytes: &[u8]| {
    let _ = Record::decode(bytes);
    // Length and CRC are mended, for no mutation would find them.
    let mut bytes = bytes.to_vec();
    let Some(body) = bytes.len().checked_sub(12) else {
        return;
    };
    let Ok(body) = u16::try_from(body) else {
        return;
    };
    bytes[6..8].copy_from_slice(&body.to_le_bytes());
    let (checked, crc) = bytes.split_at_mut(8 + usize::from(body));
    crc.copy_from_slice(&crc32(checked).to_le_bytes());
    let Ok(record) = Record::decode(&bytes) else {
        return;
    };
    let mut again = [0; RECORD_BYTES_MAX];
    // Some parts are read longer than they are written, and a root key that is named twice is one.
    let names_once = match &record {
        Record::Factory(factory) => factory.roots.keys().count() == usize::from(bytes[9]),
        _ => true,
    };
    if let Ok(written) = record.encode(&mut again)
        && names_once
    {
        assert_eq!(again[..written], bytes[..]);
    }
    if let Record::Factory(factory) = record {
        let _ = factory.keys();
        let proves = |proof: Proof<'_>| !matches!(proof, Proof::Operator);
        assert!(factory.credential.prove(proves));
        let channels = factory.sensor.map(|sensor| sensor.channels().count());
        assert!(channels.is_none_or(|count| count == usize::from(factory.channel_count)));
    }
});
