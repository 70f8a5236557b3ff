//! Whatever the bytes: loading answers, and what loads runs without leaving its memory.

use proptest::prelude::*;
use proptest::sample::Index;
use tinyops_nn::record::OpCode;
use tinyops_nn::{Multiplier, Plan, PlanError, Regions, RunError, lookup};

use crate::plans::{Activation, OneOp, run_every_way};

/// Miri takes a thousand times as long: it sees a few cases of each kind.
const CASES: u32 = if cfg!(miri) { 4 } else { 3000 };
const STEP: usize = if cfg!(miri) { 101 } else { 1 };

fn sound_plans() -> Vec<OneOp> {
    let tensor = |shape| Activation {
        shape,
        scale: 0.1,
        zero_point: -3,
    };
    let half = [Multiplier::from_real(0.01)];
    let mut conv = OneOp::new(OpCode::Conv2d, &[tensor([5, 6, 3])], tensor([5, 6, 4])).with_filter(
        &[7; 4 * 27],
        &[1; 4],
        &half,
    );
    conv.record.kernel = [3, 3];
    conv.record.pad = [1, 1];
    let pointwise = OneOp::new(OpCode::Conv2d, &[tensor([5, 6, 3])], tensor([3, 3, 5]))
        .with_filter(&[7; 15], &[1; 5], &[half[0]; 5]);
    let pointwise = OneOp {
        record: tinyops_nn::record::OpRecord {
            stride: [2, 2],
            ..pointwise.record
        },
        ..pointwise
    };
    let mut depthwise = OneOp::new(
        OpCode::DepthwiseConv2d,
        &[tensor([5, 6, 3])],
        tensor([5, 6, 6]),
    )
    .with_filter(&[7; 6 * 9], &[1; 6], &[half[0]; 6]);
    depthwise.record.kernel = [3, 3];
    depthwise.record.pad = [1, 1];
    let mut pool = OneOp::new(OpCode::MaxPool2d, &[tensor([4, 4, 3])], tensor([2, 2, 3]));
    pool.record.kernel = [2, 2];
    pool.record.stride = [2, 2];
    let mut average = pool.clone();
    average.record.code = OpCode::AveragePool2d;
    let mean = OneOp::new(OpCode::Mean, &[tensor([4, 4, 3])], tensor([1, 1, 3])).with_numbers(&[
        48,
        half[0].value,
        i32::from(half[0].shift),
    ]);
    let pair = [half[0].value, i32::from(half[0].shift)];
    let add = OneOp::new(OpCode::Add, &[tensor([4, 4, 3]); 2], tensor([4, 4, 3]))
        .with_numbers(&[pair, pair, pair].concat());
    let (scale, least) = lookup::softmax_numbers(0.1, 1.0);
    let softmax = OneOp::new(OpCode::Softmax, &[tensor([1, 2, 10])], tensor([1, 2, 10]))
        .with_numbers(&[scale.value, i32::from(scale.shift), least]);
    let table = OneOp::new(OpCode::Lookup, &[tensor([4, 4, 3])], tensor([4, 4, 3]))
        .with_table(&lookup::logistic(0.1, -3));
    let mut pad = OneOp::new(OpCode::Pad, &[tensor([4, 4, 3])], tensor([6, 7, 3]));
    pad.record.pad = [1, 2];
    let mut sound = vec![
        conv, pointwise, depthwise, pool, average, mean, add, softmax, table, pad,
    ];
    sound.extend(general_plans(tensor));
    sound
}

/// Ops whose places are numbers.
fn general_plans(tensor: impl Fn([u16; 3]) -> Activation) -> Vec<OneOp> {
    let copy = |numbers: &[i32], from: [u16; 3], to: [u16; 3]| {
        OneOp::new(OpCode::Copy, &[tensor(from)], tensor(to)).with_numbers(numbers)
    };
    let transpose = copy(&[0, 0, 4, 1, 6, 3, 8, 2, 2, 4, 1], [4, 3, 2], [2, 3, 4]);
    let mut padded = copy(&[0, 8, 2, 8, 4, 2, 2, 2, 2, 1, 1], [2, 2, 2], [4, 4, 2]);
    padded.record.flags = tinyops_nn::record::FLAG_FILL;
    let table = tinyops_nn::record::COPY_TABLE;
    let gather = copy(
        &[0, 0, 1, 0, 0, 1, 0, 0, 3, 1, table, 5, 0, 5],
        [1, 1, 6],
        [1, 1, 3],
    );
    let half = Multiplier::from_real(0.01);
    let pair = [half.value, i32::from(half.shift)];
    let steps = [12, 3, 1, 0, 0, 1];
    let binary = |function: i32| [&[function, -3, 4][..], &pair, &pair, &pair, &steps].concat();
    let mut product = OneOp::new(OpCode::Binary, &[tensor([4, 4, 3])], tensor([4, 4, 3]))
        .with_numbers(&binary(3))
        .with_table(&[1, 2, 3]);
    product.numbers.extend([0; 4]);
    let sum = OneOp::new(
        OpCode::Binary,
        &[tensor([4, 4, 3]), tensor([1, 1, 3])],
        tensor([4, 4, 3]),
    )
    .with_numbers(&binary(0));
    let counts = [4, 3, 1, 0, 1, 0, 3, 1, 1, 0, 1, 0];
    let reduce = OneOp::new(OpCode::Reduce, &[tensor([4, 1, 3])], tensor([1, 1, 4]))
        .with_numbers(&[&[0, 9][..], &pair, &counts].concat());
    let resize = OneOp::new(
        OpCode::ResizeBilinear,
        &[tensor([3, 4, 2])],
        tensor([5, 6, 2]),
    )
    .with_numbers(&[614, 683, 1]);
    let mut square = sum.clone();
    square.numbers[0] = 7;
    let matrices = [
        &[-3, 4, half.value, i32::from(half.shift)][..],
        &[1, 2, 3, 4, 5, 0, 15, 5, 1, 0, 0, 1, 4],
    ]
    .concat();
    let matrix = OneOp::new(
        OpCode::Product,
        &[tensor([2, 3, 5]), tensor([1, 5, 4])],
        tensor([2, 3, 4]),
    )
    .with_numbers(&matrices);
    let mut known = OneOp::new(OpCode::Product, &[tensor([2, 3, 5])], tensor([2, 3, 4]))
        .with_numbers(&matrices)
        .with_table(&[7; 20]);
    known.numbers.extend([0; 4]);
    let extreme = OneOp::new(OpCode::Extreme, &[tensor([3, 4, 2])], tensor([1, 3, 2]))
        .with_numbers(&[0, 3, 8, 2, 1, 4, 2]);
    let normal =
        OneOp::new(OpCode::Normalize, &[tensor([1, 2, 3])], tensor([1, 2, 3])).with_numbers(&[-3]);
    let mut svdf_numbers = [&[4, 3, 2, 1, -3][..], &pair, &pair].concat();
    svdf_numbers.extend([5; 6]);
    let svdf = OneOp::new(
        OpCode::Svdf,
        &[tensor([1, 1, 5]), tensor([1, 4, 3])],
        tensor([1, 1, 2]),
    )
    .with_numbers(&svdf_numbers)
    .with_table(&[9; 20 + 12]);
    let mut lstm_numbers = vec![2, 3, -3, 900, 6, 0];
    lstm_numbers.extend((0..11).flat_map(|_| pair));
    lstm_numbers.extend([7; 16]);
    let lstm = OneOp::new(
        OpCode::Lstm,
        &[tensor([1, 4, 3]), tensor([1, 1, 6])],
        tensor([1, 4, 2]),
    )
    .with_numbers(&lstm_numbers)
    .with_table(&[200; 512 + 4 * 2 * (3 + 2)]);
    let constant = OneOp::new(OpCode::Constant, &[], tensor([1, 2, 3])).with_table(&[1; 6]);
    vec![
        transpose, padded, gather, product, sum, reduce, resize, square, matrix, known, extreme,
        normal, svdf, lstm, constant,
    ]
}

/// Loads, and runs what loads in an arena of exactly its size.
fn load_and_run(bytes: &[u8]) -> Result<(), PlanError> {
    let plan = Plan::load(bytes)?;
    // A plan may ask for any arena; a device that has not that much refuses it. So does this test.
    if plan.arena_bytes() <= 1 << 16 {
        let mut arena = vec![0x7F; plan.arena_bytes()];
        run_every_way(&plan, &mut arena);
    }
    Ok(())
}

#[test]
fn sound_plans_load() {
    for one in sound_plans() {
        for region_count in 1..=4 {
            let bytes = one.bytes_in(region_count);
            assert_eq!(load_and_run(&bytes), Ok(()), "{:?}", one.record.code);
        }
    }
}

/// A plan of an input, an output and scratch, each in a region of its own, and where they begin.
fn three_regions() -> (Vec<u8>, [u32; 2]) {
    let bytes = sound_plans()[0].bytes_in(3);
    let start = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let starts = [start(32), start(36)];
    (bytes, starts)
}

#[track_caller]
fn check_changed(at: usize, value: u32, expected: Result<(), PlanError>) {
    let (mut bytes, _) = three_regions();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    assert_eq!(load_and_run(&bytes), expected, "{value} at {at}");
}

#[test]
fn what_lies_in_two_regions_does_not_load() {
    let (bytes, [second, third]) = three_regions();
    let [first_tensor, second_tensor, op] = [40, 60, 80];
    // The input has 90 bytes, the output 120, scratch more.
    check_changed(first_tensor, second - 90, Ok(()));
    check_changed(first_tensor, second - 89, Err(PlanError::Tensor(0)));
    check_changed(second_tensor, third - 120, Ok(()));
    check_changed(second_tensor, third - 119, Err(PlanError::Tensor(1)));
    check_changed(second_tensor, second - 1, Err(PlanError::Tensor(1)));
    check_changed(op + 12, third - 4, Err(PlanError::Op(0)));
    for region in [1, 2, 3, 4, 255] {
        let mut bytes = bytes.clone();
        bytes[first_tensor + 17] = region;
        assert_eq!(load_and_run(&bytes), Err(PlanError::Tensor(0)));
    }
}

#[test]
fn regions_out_of_order_do_not_load() {
    let (bytes, [second, third]) = three_regions();
    let arena_bytes = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    for (at, value) in [
        (32, second + 1),
        (32, third + 16),
        (32, u32::MAX),
        (36, second - 16),
        (36, 0),
        (36, arena_bytes.next_multiple_of(16) + 16),
        (36, u32::MAX),
        (36, u32::MAX - 15),
    ] {
        check_changed(at, value, Err(PlanError::Regions));
    }
    for count in [4, 5, 128, 255] {
        let mut bytes = bytes.clone();
        bytes[28] = count;
        assert_eq!(load_and_run(&bytes), Err(PlanError::Header), "{count}");
    }
}

#[test]
fn a_small_region_is_an_error() {
    let (bytes, _) = three_regions();
    let plan = Plan::load(&bytes).expect("sound");
    let sizes: Vec<usize> = plan.regions().map(|region| region.len()).collect();
    for region in 0..3 {
        let mut pieces: Vec<Vec<u8>> = sizes.iter().map(|&bytes| vec![9; bytes]).collect();
        pieces[region].pop();
        let before = pieces.clone();
        let [first, second, third] = &mut pieces[..] else {
            unreachable!("three regions")
        };
        let mut regions = Regions::new([&mut first[..], &mut second[..], &mut third[..]]);
        let expected = Err(RunError::RegionTooSmall {
            region,
            needed: sizes[region],
            given: sizes[region] - 1,
        });
        assert_eq!(plan.run(&mut regions), expected);
        assert_eq!(plan.reset(&mut regions), expected);
        assert_eq!(plan.set_input(&[0.5], &mut regions), expected);
        assert_eq!(pieces, before, "untouched");
    }
}

#[test]
fn a_plan_cut_short_anywhere_does_not_load() {
    for one in sound_plans() {
        let bytes = one.bytes_in(3);
        for len in (0..bytes.len()).step_by(STEP) {
            assert!(
                Plan::load(&bytes[..len]).is_err(),
                "{:?} cut at {len}",
                one.record.code
            );
        }
    }
}

#[test]
fn any_one_byte_may_be_any_other() {
    for (one, region_count) in sound_plans().into_iter().zip((1..=3).cycle()) {
        let sound = one.bytes_in(region_count);
        // Header, tables and numbers; weights are data and cannot be wrong.
        let tables = sound.len() - one.weights().len();
        let numbers = sound.len() - one.numbers.len()..sound.len();
        for index in (0..tables).chain(numbers).step_by(STEP) {
            for value in [
                0,
                1,
                2,
                3,
                0x7F,
                0x80,
                0xFE,
                0xFF,
                sound[index] ^ 1,
                sound[index] ^ 0x10,
            ] {
                let mut bytes = sound.clone();
                bytes[index] = value;
                let _ = load_and_run(&bytes);
            }
        }
    }
}

#[test]
fn a_small_arena_is_an_error() {
    let bytes = sound_plans()[0].bytes();
    let plan = Plan::load(&bytes).expect("sound");
    let needed = plan.arena_bytes();
    let mut arena = vec![0; needed - 1];
    assert_eq!(
        plan.run(&mut arena),
        Err(RunError::ArenaTooSmall {
            needed,
            given: needed - 1
        })
    );
}

#[test]
fn an_op_may_not_write_over_what_it_reads() {
    for one in sound_plans() {
        if one.inputs.is_empty() {
            continue;
        }
        let mut bytes = one.bytes();
        // The output's tensor record: let it begin at the last byte of the first input.
        let output_at = 32 + 20 * one.inputs.len();
        let last = one.inputs[0].len() as u32 - 1;
        bytes[output_at..output_at + 4].copy_from_slice(&last.to_le_bytes());
        assert_eq!(
            load_and_run(&bytes),
            Err(PlanError::Overlap(0)),
            "{:?}",
            one.record.code
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn mutated_plans_never_leave_their_memory(
        which: Index, region_count in 1u8..=4, changes in prop::collection::vec((any::<Index>(), prop_oneof![
            any::<u32>(), 0u32..64, Just(u32::MAX), Just(0x8000_0000), Just(0xFFFF),
        ], 1usize..5), 1..6),
    ) {
        let plans = sound_plans();
        let mut bytes = which.get(&plans).bytes_in(region_count);
        for (index, value, width) in changes {
            let at = index.index(bytes.len());
            for (place, byte) in bytes[at..].iter_mut().zip(value.to_le_bytes()).take(width) {
                *place = byte;
            }
        }
        let _ = load_and_run(&bytes);
    }

    #[test]
    fn any_bytes_after_a_header_are_answered(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let head = [b'T', b'P', b'L', b'N', 2, 0, 0, 0];
        for (place, byte) in bytes.iter_mut().zip(head) {
            *place = byte;
        }
        let _ = load_and_run(&bytes);
    }
}
