//! Bytes that decode to a model must encode again to a model that decodes to the same.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_model::Model;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::decode(bytes) {
        let again = model.encode();
        let decoded = Model::decode(&again).expect("what encode wrote decodes");
        assert_eq!(decoded.encode(), again);
    }
});
