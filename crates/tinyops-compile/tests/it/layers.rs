//! Layer by layer: a plan as a device runs it against the network as it was written.

use proptest::prelude::*;
use tinyops_compile::{Case, Compiled, Options, Values, Verdict, compare, compile_graph_with};
use tinyops_model::Graph;
use tinyops_nn::Plan;

use crate::graphs::{len, op_by_op, options};
use crate::networks::{Random, network, tall};
use crate::rewrites::references;

fn as_written() -> Options {
    Options {
        as_written: true,
        ..Options::default()
    }
}

fn traced(compiled: &Compiled, input: &[i8]) -> Case {
    let input: Vec<u8> = input.iter().map(|&value| value as u8).collect();
    let plan = Plan::load(&compiled.program).expect("what the compiler writes loads");
    Case {
        name: "random".to_owned(),
        layers: compiled.layers.trace(&plan, &input).expect("runs"),
    }
}

/// Every layer of the network as it was written is what its op gives alone; every layer that the
/// shipped plan has left is the same. Answers with how many layers both have.
#[track_caller]
fn check_layers(graph: &Graph, shipped: &Options, seed: u64) -> usize {
    let input = Random::new(seed).int8s(len(graph, graph.inputs[0]));
    let whole = compile_graph_with(graph, &as_written()).expect("compiles");
    let whole = traced(&whole, &input);
    let expected = op_by_op(graph, &input).expect("it compiled whole");
    assert_eq!(whole.layers.len(), graph.ops.len(), "seed {seed}");
    for (op, layer) in graph.ops.iter().zip(&whole.layers) {
        let expected = &expected[op.output.0 as usize];
        let bytes = expected.iter().map(|&value| value as u8).collect();
        assert_eq!(
            layer.values,
            Values::Bytes(bytes),
            "seed {seed}, {}",
            layer.name
        );
    }
    let small = compile_graph_with(graph, shipped).expect("compiles");
    let found = compare(&[whole], &[traced(&small, &input)], 0);
    assert_eq!(found.first, None, "seed {seed}: {:#?}", found.rows);
    let both = |verdict: Verdict| !matches!(verdict, Verdict::OnlyA | Verdict::OnlyB);
    found.rows.iter().filter(|row| both(row.verdict)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_layer_that_is_left_has_other_values(seed: u64, in_bands: bool) {
        let graph = if in_bands { tall(seed) } else { network(seed) };
        prop_assume!(graph.check().is_ok());
        check_layers(&graph, &options(false, in_bands), seed);
    }
}

#[test]
fn the_layers_of_the_reference_networks_are_left_as_they_were() {
    for (key, graph) in references() {
        let layers = check_layers(&graph, &Options::default(), 5);
        let ops = graph.ops.len();
        // A reshape before a dense layer goes, and no name with it but its own.
        assert!(layers + 1 >= ops, "{key}: {layers} of {ops}");
    }
}
