//! Sums that run with the convolution before them: the bytes of the ops one by one, by every way of
//! running, and only where that is right.

use proptest::prelude::*;
use tinyops_compile::{Options, Pass, compile_graph, compile_graph_with};
use tinyops_model::build::Weights;
use tinyops_model::{Activation, Conv, Graph, GraphBuilder, Quantization, TensorId};
use tinyops_nn::record::FLAG_SUM;
use tinyops_nn::{Isa, Line, Plan};

use crate::graphs::{len, op_by_op};
use crate::networks::{Random, residual};

/// How many sums of a plan run with the convolution before.
fn merged(program: &[u8]) -> usize {
    let plan = Plan::load(program).expect("what the compiler writes loads");
    let ops = (0..plan.op_count()).filter_map(|index| plan.op(index));
    ops.filter(|op| op.is_merged_sum()).count()
}

/// What the plan of a graph makes of an input, by each instruction set of this machine.
fn run_each(program: &[u8], input: &[i8]) -> Vec<(Isa, Vec<i8>)> {
    let plan = Plan::load(program).expect("what the compiler writes loads");
    let with = |isa: Isa| {
        let mut arena = vec![0x3C; plan.arena_bytes()];
        for (place, &value) in arena[plan.input().range()].iter_mut().zip(input) {
            *place = value as u8;
        }
        let mut memory = vec![Line::ZERO; plan.prepared_lines(isa)];
        let prepared = plan.prepare(isa, &mut memory).expect("as many lines");
        let mut work = vec![Line::ZERO; prepared.work_lines()];
        prepared.run(&mut arena, &mut work).expect("as much memory");
        let output = arena[plan.output().range()].iter();
        (isa, output.map(|&byte| byte as i8).collect())
    };
    Isa::available().map(with).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_merged_sum_changes_nothing(seed: u64, keep_input: bool) {
        let graph = residual(seed);
        prop_assume!(graph.check().is_ok());
        let compiled = compile_graph(&graph, keep_input).expect("compiles");
        let input = Random::new(seed ^ 0x5A).int8s(len(&graph, graph.inputs[0]));
        let expected = op_by_op(&graph, &input).expect("it compiled whole");
        for (isa, output) in run_each(&compiled.program, &input) {
            prop_assert_eq!(&output, &expected[graph.outputs[0].0 as usize], "{}", isa.name());
        }
    }
}

#[test]
fn most_residual_networks_have_merged_sums_and_small_arenas() {
    let mut counts = [0; 3];
    for seed in 0..200 {
        let graph = residual(seed);
        if graph.check().is_err() {
            continue;
        }
        let compiled = compile_graph(&graph, false).expect("compiles");
        let told = compiled.saved.rewrites.iter();
        let told = told.filter(|rewrite| rewrite.pass == Pass::Sum).count();
        assert_eq!(merged(&compiled.program), told, "seed {seed}");
        counts[0] += 1;
        counts[1] += usize::from(told > 0);
        // Layer by layer every sum is an op of its own.
        let as_written = Options {
            as_written: true,
            ..Options::default()
        };
        let written = compile_graph_with(&graph, &as_written).expect("compiles");
        assert_eq!(merged(&written.program), 0, "seed {seed}");
    }
    assert!(
        counts[0] > 150 && counts[1] * 3 > counts[0] * 2,
        "{counts:?}"
    );
}

fn quantization(scale: f32, zero_point: i8) -> Option<Quantization> {
    Some(Quantization::per_tensor(scale, zero_point))
}

/// A pointwise convolution of four channels.
fn conv(builder: &mut GraphBuilder, input: TensorId) -> TensorId {
    let filter = (0..16).map(|at| at * 5 - 40).collect();
    let weights = Weights::int8([4, 1, 1, 4], filter, vec![0.02; 4], vec![7; 4], 0.1);
    let conv = Conv::same(Activation::None);
    builder.conv2d(input, weights, conv, quantization(0.1, 3))
}

fn count_of(graph: &Graph) -> usize {
    merged(&compile_graph(graph, false).expect("compiles").program)
}

#[test]
fn a_sum_runs_with_what_makes_its_later_operand_for_it_alone() {
    let small = [1, 5, 6, 4];
    let build = |finish: &dyn Fn(&mut GraphBuilder, TensorId, TensorId) -> TensorId| {
        let mut builder = GraphBuilder::new();
        let input = builder.input(small, quantization(0.1, -3));
        let made = conv(&mut builder, input);
        let output = finish(&mut builder, input, made);
        builder.finish(&[output])
    };
    let add = |builder: &mut GraphBuilder, a: TensorId, b: TensorId, scale: f32| {
        builder.add(a, b, Activation::Relu, quantization(scale, -128))
    };
    assert_eq!(
        count_of(&build(&|builder, x, y| add(builder, x, y, 0.2))),
        1
    );
    assert_eq!(
        count_of(&build(&|builder, x, y| add(builder, y, x, 0.2))),
        1
    );
    // Both operands are one.
    assert_eq!(
        count_of(&build(&|builder, _, y| add(builder, y, y, 0.2))),
        0
    );
    // Somebody else reads it too.
    let twice = build(&|builder, x, y| {
        let sum = add(builder, x, y, 0.2);
        add(builder, sum, y, 0.2)
    });
    assert_eq!(count_of(&twice), 0);
    // The network shows it.
    let shown = build(&|builder, x, y| {
        builder.embedding(y);
        add(builder, x, y, 0.2)
    });
    assert_eq!(count_of(&shown), 0);
    // A later operand that no convolution makes.
    let later = build(&|builder, x, y| {
        let other = builder.activate(x, Activation::Relu, quantization(0.07, 5));
        add(builder, y, other, 0.2)
    });
    assert_eq!(count_of(&later), 0);
    // Factors that the kernel of sums does not take are for a function of two values.
    let far = build(&|builder, x, y| add(builder, x, y, 0.2 / f32::from(1u16 << 15) / 16.0));
    let compiled = compile_graph(&far, false).expect("compiles");
    let plan = Plan::load(&compiled.program).expect("loads");
    assert_eq!(plan.op_count(), 2);
    assert_eq!(plan.op(1).map(|op| op.flags & FLAG_SUM), Some(0));
    let input = Random::new(3).int8s(120);
    let expected = op_by_op(&far, &input).expect("it compiled whole");
    for (isa, output) in run_each(&compiled.program, &input) {
        assert_eq!(
            output,
            expected[far.outputs[0].0 as usize],
            "{}",
            isa.name()
        );
    }
}
