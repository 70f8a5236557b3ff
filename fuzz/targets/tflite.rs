//! A `.tflite` file of any bytes: refused with a reason, or a graph that passes its check.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_model::tflite::import;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(graph) = import(bytes) {
        assert!(graph.check().is_ok());
    }
});
