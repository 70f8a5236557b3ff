//! A `.tflite` file of any bytes: refused with a reason, or a graph that passes its check and compiles to a plan
//! that loads, or is refused with a reason again.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_compile::{CompileError, compile_graph};
use tinyops_model::tflite::import;

/// Larger networks only take longer.
const VALUES_MAX: u64 = 1 << 12;
const OPS_MAX: usize = 6;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(graph) = import(bytes) {
        assert!(graph.check().is_ok());
        let values = |shape: [u16; 4]| shape.iter().map(|&dim| u64::from(dim)).product::<u64>();
        let all: u64 = graph
            .tensors
            .iter()
            .map(|tensor| values(tensor.shape))
            .sum();
        if all > VALUES_MAX || graph.ops.len() > OPS_MAX || graph.macs() > 1 << 20 {
            return;
        }
        // The compiler runs what it writes: these two are its own faults.
        if let Err(fault @ (CompileError::Plan(_) | CompileError::Arena(_))) =
            compile_graph(&graph, false)
        {
            panic!("{fault}");
        }
    }
});
