//! A network that is written as `.tflite` and read again has the same plan, byte for byte, and runs
//! elsewhere with the same bytes.

use std::path::PathBuf;

use tinyops_compile::compile_graph;
use tinyops_model::tflite::{export, import};

use crate::graphs::{len, run};
use crate::networks::{Random, network};

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

/// Every op that training makes, in random networks, against TFLM and LiteRT where they are
/// installed: `TINYOPS_PYTHON` names a Python that has `tflite-micro` and `ai-edge-litert`.
#[expect(clippy::print_stdout, reason = "a test that skips says why")]
#[test]
fn exported_networks_run_elsewhere_with_the_same_bytes() {
    const NETWORKS: u64 = 24;
    let folder = std::env::temp_dir().join(format!("tinyops-peers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let at = |name: String| folder.join(name);
    let mut expected = Vec::new();
    for seed in 0..NETWORKS {
        let mut graph = network(seed);
        graph.outputs.truncate(1);
        let values = Random::new(!seed).int8s(len(&graph, graph.inputs[0]));
        let program = compile_graph(&graph, false).expect("compiles").program;
        let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
        let written = export(&graph).expect("has words for every op");
        std::fs::write(at(format!("{seed}.tflite")), written).expect("writes");
        std::fs::write(at(format!("{seed}.in")), bytes).expect("writes");
        expected.push(run(&program, &values).1);
    }
    let python = std::env::var("TINYOPS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let answer = std::process::Command::new(&python)
        .args(["-c", include_str!("peers.py")])
        .arg(&folder)
        .output();
    let read = |name: String| -> Vec<i8> {
        let bytes = std::fs::read(at(name)).expect("the script writes it");
        bytes.iter().map(|&byte| byte as i8).collect()
    };
    match answer {
        Ok(answer) if answer.status.success() => {
            let mut agreed = 0;
            for (seed, expected) in (0..NETWORKS).zip(&expected) {
                let [tflm, litert] = ["tflm", "litert"].map(|peer| read(format!("{seed}.{peer}")));
                assert_eq!(&tflm, expected, "network {seed} in TFLM");
                agreed += usize::from(tflm == litert);
            }
            println!("{agreed} of {NETWORKS} networks: LiteRT agrees with TFLM, and both with us");
            assert!(agreed > 0, "LiteRT never agrees");
        }
        Ok(answer) if answer.status.code() == Some(3) => {
            println!("skipped: {python} has no tflite-micro or ai-edge-litert; set TINYOPS_PYTHON");
        }
        Ok(answer) => panic!("{}", String::from_utf8_lossy(&answer.stderr)),
        Err(error) => println!("skipped: {python} does not run: {error}; set TINYOPS_PYTHON"),
    }
    std::fs::remove_dir_all(&folder).expect("the folder was made above");
}
