//! A network that is written as `.tflite` and read again has the same plan, byte for byte.

use std::path::PathBuf;

use tinyops_compile::compile_graph;
use tinyops_model::tflite::{export, import};

#[expect(clippy::print_stdout, reason = "a test that skips says why")]
#[test]
fn reference_networks_keep_their_plans() {
    let data = std::env::var("TINYOPS_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let folder = PathBuf::from(data).join("mlperf-tiny");
    let names = [
        "kws_ref_model",
        "pretrainedResnet_quant",
        "str_ww_ref_model",
        "ad01_int8",
    ];
    for name in names {
        let path = folder.join(format!("{name}.tflite"));
        let Ok(bytes) = std::fs::read(&path) else {
            println!("skipped: {} is not there; set TINYOPS_DATA", path.display());
            return;
        };
        let graph = import(&bytes).expect("reads");
        let written = export(&graph).expect("has words for every op");
        let again = import(&written).expect("reads");
        let plan = |graph| compile_graph(graph, false).expect("compiles").program;
        assert!(plan(&graph) == plan(&again), "{name} has another plan");
    }
}
