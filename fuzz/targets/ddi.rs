//! A body of the DDI, in JSON or CBOR by its first byte: what is read is written and read again as the same.
#![no_main]
use libfuzzer_sys::fuzz_target;

use serde_json::Value;
use tinyops_fleet::ddi::Shown;
use tinyops_fleet::ddi::body::{
    AssignedVersion, AutoConfirm, ConfigData, Confirmation, Feedback, Form, read, write,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((&form, body)) = bytes.split_first() else {
        return;
    };
    let form = if form & 1 == 0 {
        Form::Json
    } else {
        Form::Cbor
    };
    if let Ok(value) = read::<Value>(form, body) {
        let again = write(Form::Cbor, &value);
        // Nesting that JSON has and CBOR is not read with is the one difference.
        if let Ok(read) = read::<Value>(Form::Cbor, &again) {
            assert_eq!(read, value);
        }
        if form == Form::Cbor {
            assert!(read::<Value>(Form::Json, &write(Form::Json, &value)).is_ok());
        }
    }
    let _ = read::<Feedback>(form, body);
    let _ = read::<ConfigData>(form, body);
    let _ = read::<Confirmation>(form, body);
    let _ = read::<AutoConfirm>(form, body);
    let _ = read::<AssignedVersion>(form, body);
    if let Ok(header) = std::str::from_utf8(body) {
        let _ = Shown::parse(header);
    }
});
