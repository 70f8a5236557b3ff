//! Plans of whole networks with wrong bytes: refused, or run within their memory.

use proptest::prelude::*;
use proptest::sample::Index;
use tinyops_compile::{CompileError, Options, compile_graph, compile_graph_with};
use tinyops_nn::Plan;

use crate::networks::network;
use crate::regions::{lend, pieces_of, rooms};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_plans_of_networks_never_leave_their_memory(
        seed in 0u64..300, in_regions: bool, changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..5), in_tables: bool,
    ) {
        let graph = network(seed);
        prop_assume!(graph.check().is_ok());
        let mut compiled = compile_graph(&graph, seed % 2 == 0).expect("compiles");
        if in_regions {
            let regions = rooms(compiled.arena_bytes, [6, 5, 4]);
            let options = Options { keep_input: seed % 2 == 0, regions, ..Options::default() };
            compiled = compile_graph_with(&graph, &options).expect("compiles");
        }
        let mut bytes = compiled.program;
        // Half of the time where it hurts: header and tables come first.
        let reach = if in_tables { bytes.len().min(400) } else { bytes.len() };
        for (index, value) in changes {
            let at = index.index(reach);
            bytes[at] = value;
        }
        if let Ok(plan) = Plan::load(&bytes)
            && plan.arena_bytes() <= 1 << 16
        {
            let mut arena = vec![0x80; plan.arena_bytes()];
            let mut pieces = pieces_of(&plan, &arena);
            plan.run(&mut arena).expect("the arena is as large as asked");
            plan.run(&mut lend(&mut pieces)).expect("the pieces are as large as asked");
            prop_assert_eq!(&pieces, &pieces_of(&plan, &arena));
        }
    }
}

/// The single operators of the golden vectors, and the networks over int16.
fn operators() -> Vec<Vec<u8>> {
    [networks("tflite"), networks("tflite-int16")].concat()
}

/// The `.tflite` files of a folder of golden vectors.
pub(crate) fn networks(folder: &str) -> Vec<Vec<u8>> {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let entries = std::fs::read_dir(golden.join(folder)).expect("the folder is in the repository");
    let paths = entries.map(|entry| entry.expect("reads").path());
    let networks = paths.filter(|path| path.extension().is_some_and(|ending| ending == "tflite"));
    let mut sorted: Vec<_> = networks.collect();
    sorted.sort();
    let bytes = sorted
        .iter()
        .map(|path| std::fs::read(path).expect("reads"));
    bytes.collect()
}

#[test]
fn an_operator_cut_short_anywhere_is_refused_or_read() {
    for bytes in operators().iter().step_by(9) {
        for len in (0..bytes.len()).step_by(5) {
            let _ = tinyops_model::tflite::import(&bytes[..len]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutated_operators_are_refused_or_run(
        which: Index,
        changes in prop::collection::vec((any::<Index>(), prop_oneof![
            any::<u32>(), 0u32..16, Just(u32::MAX), Just(0x8000_0000), Just(0x7FFF_FFFF), Just(0xFFFF),
        ], 1usize..5), 1..4),
    ) {
        let all = operators_once();
        let mut bytes = which.get(all).clone();
        for (index, value, width) in changes {
            let at = index.index(bytes.len());
            for (place, byte) in bytes[at..].iter_mut().zip(value.to_le_bytes()).take(width) {
                *place = byte;
            }
        }
        let Ok(graph) = tinyops_model::tflite::import(&bytes) else { return Ok(()) };
        let values = graph.tensors.iter().map(|tensor| tensor.shape.iter().map(|&dim| u64::from(dim)).product::<u64>());
        if values.sum::<u64>() > 1 << 20 {
            return Ok(());
        }
        if let Ok(compiled) = compile_graph(&graph, false) {
            let plan = Plan::load(&compiled.program).expect("the compiler has loaded it");
            plan.run(&mut vec![0; plan.arena_bytes()]).expect("as large as asked");
        }
    }
}

fn operators_once() -> &'static [Vec<u8>] {
    static ALL: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    ALL.get_or_init(operators)
}

/// What fuzzing has found, and the small files that it begins with.
#[test]
fn kept_files_are_refused_or_compiled() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/corpus/tflite");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is in the repository") {
        let path = entry.expect("reads").path();
        let bytes = std::fs::read(&path).expect("reads");
        let Ok(graph) = tinyops_model::tflite::import(&bytes) else {
            continue;
        };
        count += 1;
        let compiled = compile_graph(&graph, false);
        let fault = compiled
            .err()
            .filter(|error| matches!(error, CompileError::Plan(_) | CompileError::Arena(_)));
        assert!(fault.is_none(), "{}: {fault:?}", path.display());
    }
    assert!(count > 20, "{count}");
}
