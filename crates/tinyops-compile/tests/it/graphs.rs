//! A compiled network gives what its ops give one by one, each with memory of its own.

use proptest::prelude::*;
use tinyops_compile::{ARENA_ALIGN, CompileError, Options, compile_graph, compile_graph_with};
use tinyops_model::graph::Data;
use tinyops_model::{Activation, Graph, Op, OpKind, Quantization, Tensor, TensorId};
use tinyops_nn::{Multiplier, Plan};

use crate::networks::{Random, network, tall};

/// The values of every activation, op by op; `None` for scales that no kernel bridges.
pub(crate) fn op_by_op(graph: &Graph, input: &[i8]) -> Option<Vec<Vec<i8>>> {
    let mut values = vec![Vec::new(); graph.tensors.len()];
    values[graph.inputs[0].0 as usize] = input.to_vec();
    for op in &graph.ops {
        let reads = &values[op.inputs[0].0 as usize];
        let made = match op.kind {
            OpKind::Add(activation) => {
                let second = &values[op.inputs[1].0 as usize];
                let tensors = [op.inputs[0], op.inputs[1], op.output].map(|id| graph.tensor(id));
                add(tensors, reads, second, activation)
            }
            OpKind::Reshape => reads.clone(),
            OpKind::Constant => match &graph.tensor(op.inputs[0]).data {
                Some(Data::Int8(values)) => values.clone(),
                other => panic!("{other:?}"),
            },
            _ => alone(graph, op, &values)?,
        };
        values[op.output.0 as usize] = made;
    }
    Some(values)
}

/// One op as a network of its own, over the values that it reads.
fn alone(graph: &Graph, op: &Op, values: &[Vec<i8>]) -> Option<Vec<i8>> {
    let mut inputs: Vec<TensorId> = Vec::new();
    for &input in &op.inputs {
        if graph.tensor(input).data.is_none() && !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    let alone = Graph {
        tensors: graph.tensors.clone(),
        ops: vec![op.clone()],
        inputs: inputs.clone(),
        outputs: vec![op.output],
        embedding: None,
        states: Vec::new(),
    };
    let compiled = match compile_graph(&alone, true) {
        Ok(compiled) => compiled,
        Err(CompileError::Scales { .. }) => return None,
        Err(error) => panic!("{}: {error}", op.kind.name()),
    };
    let read: Vec<&[i8]> = inputs
        .iter()
        .map(|input| &values[input.0 as usize][..])
        .collect();
    let (_, output) = run_all(&compiled.program, &read);
    Some(output)
}

fn add(
    [first, second, output]: [&Tensor; 3],
    a: &[i8],
    b: &[i8],
    activation: Activation,
) -> Vec<i8> {
    let of = |tensor: &Tensor| tensor.quantization.clone().expect("quantized");
    let (first, second, output) = (of(first), of(second), of(output));
    let twice = 2.0 * f64::from(first.scale().max(second.scale()));
    let lifted = |value: i8, tensor: &Quantization| {
        let multiplier = Multiplier::from_real(f64::from(tensor.scale()) / twice);
        multiplier.apply((i32::from(value) - i32::from(tensor.zero_point)) << 20)
    };
    let result = Multiplier::from_real(twice / f64::from(1 << 20) / f64::from(output.scale()));
    let [least, greatest] = activation
        .clamp(output.scale(), output.zero_point)
        .map(i32::from);
    a.iter()
        .zip(b)
        .map(|(&a, &b)| {
            let sum = result.apply(lifted(a, &first) + lifted(b, &second));
            (sum + i32::from(output.zero_point)).clamp(least, greatest) as i8
        })
        .collect()
}

/// Arena and output of a run.
pub(crate) fn run(program: &[u8], input: &[i8]) -> (Vec<u8>, Vec<i8>) {
    run_all(program, &[input])
}

fn run_all(program: &[u8], inputs: &[&[i8]]) -> (Vec<u8>, Vec<i8>) {
    let plan = Plan::load(program).expect("what the compiler writes loads");
    let mut arena = vec![0xA5; plan.arena_bytes()];
    for (place, input) in plan.inputs().zip(inputs) {
        for (place, &value) in arena[place.range()].iter_mut().zip(*input) {
            *place = value as u8;
        }
    }
    plan.run(&mut arena)
        .expect("the arena is as large as asked");
    let output = int8s(&arena[plan.output().range()]);
    (arena, output)
}

fn int8s(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&byte| byte as i8).collect()
}

pub(crate) fn len(graph: &Graph, id: TensorId) -> usize {
    graph
        .tensor(id)
        .shape
        .iter()
        .map(|&dim| usize::from(dim))
        .product()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn sharing_memory_changes_nothing(seed: u64, keep_input: bool, in_bands: bool) {
        let graph = if in_bands { tall(seed) } else { network(seed) };
        prop_assume!(graph.check().is_ok());
        let compiled = match compile_graph_with(&graph, &options(keep_input, in_bands)) {
            Ok(compiled) => compiled,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let input = Random::new(seed ^ 0xA5).int8s(len(&graph, graph.inputs[0]));
        let (arena, output) = run(&compiled.program, &input);
        let expected = op_by_op(&graph, &input).expect("it compiled whole");
        prop_assert_eq!(&output, &expected[graph.outputs[0].0 as usize]);

        let plan = Plan::load(&compiled.program).expect("loaded before");
        prop_assert_eq!(plan.input_is_kept(), keep_input);
        if keep_input {
            prop_assert_eq!(&int8s(&arena[plan.input().range()]), &input, "the input is kept");
        }
        if let Some(embedding) = graph.embedding {
            let view = plan.embedding().expect("the graph names one");
            prop_assert_eq!(&int8s(&arena[view.range()]), &expected[embedding.0 as usize], "the embedding is kept");
        }
    }

    #[test]
    fn a_plan_is_written_the_same_every_time(seed: u64) {
        let graph = network(seed);
        prop_assume!(graph.check().is_ok());
        let written = || compile_graph(&graph, false).map(|compiled| compiled.program).ok();
        prop_assert_eq!(written(), written());
    }

    #[test]
    fn the_picture_tells_the_truth(seed: u64, in_bands: bool) {
        let graph = if in_bands { tall(seed) } else { network(seed) };
        prop_assume!(graph.check().is_ok());
        let compiled = compile_graph_with(&graph, &options(false, in_bands)).expect("compiles");
        let memory = &compiled.memory;
        prop_assert_eq!(compiled.arena_bytes, memory.arena_bytes);
        let ends = memory.placed.iter().map(|placed| placed.offset + placed.lifetime.bytes);
        prop_assert_eq!(ends.max(), Some(memory.arena_bytes));
        for (index, placed) in memory.placed.iter().enumerate() {
            prop_assert!(placed.offset % ARENA_ALIGN == 0 || placed.name.contains(" from byte "));
            for other in &memory.placed[..index] {
                // Only an op's input and output may share bytes, and only at that op's step.
                let (a, b) = (placed.lifetime, other.lifetime);
                let hand_over = a.first == b.last || b.first == a.last;
                prop_assert!(!placed.overlaps(other) || !a.meets(&b) || hand_over);
            }
        }
    }

    #[test]
    fn a_run_touches_the_whole_arena_and_nothing_more(seed: u64, keep_input: bool) {
        let graph = network(seed);
        prop_assume!(graph.check().is_ok());
        let compiled = compile_graph(&graph, keep_input).expect("compiles");
        let scratch = compiled.memory.placed.iter().filter(|placed| placed.name.starts_with("scratch"));
        let spare = scratch.map(|placed| placed.lifetime.bytes).max().unwrap_or(0);
        let touched = touched_bytes(&compiled.program);
        prop_assert!(touched + spare >= compiled.arena_bytes, "{} of {}", touched, compiled.arena_bytes);
    }
}

/// Bands wherever they save anything, or nowhere.
pub(crate) fn options(keep_input: bool, in_bands: bool) -> Options {
    Options {
        keep_input,
        split_from_bytes: if in_bands { 0 } else { u32::MAX },
        extra_macs_percent: 1000,
        ..Options::default()
    }
}

#[test]
fn most_tall_networks_run_in_bands() {
    let sound = (0..100).map(tall).filter(|graph| graph.check().is_ok());
    let in_bands = sound.filter(|graph| {
        let compiled = compile_graph_with(graph, &options(false, true)).expect("compiles");
        let placed = &compiled.memory.placed;
        placed.iter().any(|placed| placed.name.contains(" rows "))
    });
    let count = in_bands.count();
    assert!(count >= 30, "{count}");
}

/// The high-water mark of a run in an arena larger than asked: what differs from every paint.
pub(crate) fn touched_bytes(program: &[u8]) -> u32 {
    let plan = Plan::load(program).expect("what the compiler writes loads");
    let mut touched = 0;
    for paint in [0xA5, 0x5A, 0x33, 0xCC] {
        let mut arena = vec![paint; plan.arena_bytes() + 64];
        arena[plan.input().range()].fill(7);
        plan.run(&mut arena)
            .expect("the arena is larger than asked");
        let last = arena.iter().rposition(|&byte| byte != paint);
        touched = touched.max(last.map_or(0, |last| last + 1));
    }
    assert!(touched <= plan.arena_bytes(), "outside the arena");
    touched as u32
}

#[test]
fn most_random_networks_hold_together() {
    let sound = (0..200)
        .filter(|&seed| network(seed).check().is_ok())
        .count();
    assert!(sound > 120, "{sound} of 200");
}
