//! A convolution that goes into the sum after it: the bytes of both ops one after the other, wherever
//! the other operand may lie, and a refusal where it may not.

use proptest::prelude::*;
use tinyops_nn::record::{Element, FLAG_SUM, Header, NONE, OpCode, OpRecord, TensorRecord};
use tinyops_nn::{Multiplier, Plan, PlanError};

use crate::plans::{Activation, OneOp, run_every_way};

/// A convolution, and what is added to its output.
#[derive(Clone, Debug)]
pub(crate) struct Summed {
    pub(crate) conv: OneOp,
    /// As what the sum is read and written.
    pub(crate) other: Activation,
    pub(crate) output: Activation,
    pub(crate) numbers: [i32; 6],
    pub(crate) clamp: [i8; 2],
    /// Whether the convolution makes the second operand.
    pub(crate) is_second: bool,
    /// Whether its input is the other operand.
    pub(crate) adds_input: bool,
    /// How far the other operand lies above the sum; `None` for apart.
    pub(crate) above: Option<u32>,
}

impl Summed {
    /// The plan of both, as one or as two ops with memory of their own.
    pub(crate) fn bytes(&self, is_merged: bool) -> Vec<u8> {
        let alone = self.conv.bytes();
        let plan = Plan::load(&alone).expect("sound");
        let conv = plan.op(0).expect("one op");
        let constants = &alone[plan.plan_bytes() - constants_len(&alone)..];
        let (input, made) = (self.conv.inputs[0], self.conv.output);
        let len = made.len() as u32;
        let mut arena_bytes = 0;
        let mut place = |bytes: u32| {
            let offset = arena_bytes;
            arena_bytes += bytes.next_multiple_of(4);
            offset
        };
        let input_at = place(input.len() as u32);
        let shape = |activation: &Activation| {
            let [height, width, channels] = activation.shape;
            [1, height, width, channels]
        };
        let scratch_bytes = conv.scratch_bytes(shape(&input), shape(&made)) as u32;
        let scratch_offset = place(scratch_bytes);
        let sum_at = place(len);
        let made_at = if is_merged { sum_at } else { place(len) };
        let other_at = match self.above.filter(|_| is_merged) {
            _ if self.adds_input => input_at,
            Some(above) => {
                place(above);
                sum_at + above
            }
            None => place(len),
        };
        let tensor = |offset: u32, activation: &Activation| TensorRecord {
            offset,
            shape: shape(activation),
            scale: activation.scale,
            zero_point: activation.zero_point,
            region: 0,
            element: Element::Int8,
            is_state: false,
        };
        let tensors = [
            tensor(input_at, &input),
            tensor(other_at, &self.other),
            tensor(made_at, &made),
            tensor(sum_at, &self.output),
        ];
        let flag = if is_merged { FLAG_SUM } else { 0 };
        let conv = OpRecord {
            flags: conv.flags | flag,
            output: 2,
            scratch_offset,
            ..conv
        };
        let operands = if self.is_second { [1, 2] } else { [2, 1] };
        let sum = OpRecord {
            flags: flag,
            clamp: self.clamp,
            channels_offset: constants.len().next_multiple_of(4) as u32,
            ..OpRecord::new(OpCode::Add, operands, 3)
        };
        let mut constants = constants.to_vec();
        constants.resize(sum.channels_offset as usize, 0);
        constants.extend(self.numbers.iter().flat_map(|number| number.to_le_bytes()));
        let header = Header {
            flags: 0,
            arena_bytes,
            constants_bytes: constants.len() as u32,
            tensor_count: 4,
            op_count: 2,
            input: 0,
            more_inputs: u8::from(!self.adds_input),
            output: 3,
            more_outputs: 0,
            more_regions: 0,
            embedding: NONE,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(tensors.iter().flat_map(TensorRecord::to_bytes));
        bytes.extend([conv, sum].iter().flat_map(OpRecord::to_bytes));
        bytes.resize(header.constants_offset(), 0);
        bytes.extend(constants);
        bytes
    }

    /// Runs both over the values of input and other operand.
    fn run(&self, is_merged: bool, values: &[u8]) -> Vec<u8> {
        let bytes = self.bytes(is_merged);
        let plan = Plan::load(&bytes).expect("the test writes sound plans");
        let mut arena = vec![0x5A; plan.arena_bytes()];
        let mut rest = values;
        for input in plan.inputs() {
            let (one, others) = rest.split_at(input.len);
            arena[input.range()].copy_from_slice(one);
            rest = others;
        }
        run_every_way(&plan, &mut arena);
        arena[plan.output().range()].to_vec()
    }
}

fn constants_len(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize
}

fn multiplier(real: f64) -> [i32; 2] {
    let multiplier = Multiplier::from_real(real);
    [multiplier.value, i32::from(multiplier.shift)]
}

/// A sum of some size, with numbers as a compiler writes them.
fn summed() -> impl Strategy<Value = Summed> {
    let size = (
        1u16..7,
        1u16..9,
        1u16..7,
        prop_oneof![1u16..6, Just(8), Just(16), Just(20), Just(36)],
    );
    let window = (1u16..4, 1u16..4, any::<bool>());
    let scales = (0.01f64..1.0, any::<bool>(), 1e-8f64..9e-7);
    let kinds = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let clamp = prop_oneof![Just([-128i8, 127]), Just([-3, 127]), Just([-20, 90])];
    let each = (any::<u64>(), any::<[i8; 3]>(), clamp.clone(), clamp);
    (size, window, scales, kinds, each).prop_map(
        |(size, window, scales, kinds, (seed, zero_points, conv_clamp, clamp))| {
            let (height, width, channels, outputs) = size;
            let (is_second, adds_input, per_channel, is_above) = kinds;
            let outputs = if adds_input { channels } else { outputs };
            let activation = |channels: u16, zero_point: i8| Activation {
                shape: [height, width, channels],
                scale: 0.1,
                zero_point,
            };
            let [input, made, other] = [channels, outputs, outputs];
            let [input, made, other] = [
                activation(input, zero_points[0]),
                activation(made, zero_points[1]),
                activation(
                    other,
                    if adds_input {
                        zero_points[0]
                    } else {
                        zero_points[2]
                    },
                ),
            ];
            let mut state = seed | 1;
            let mut random = move || {
                state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                (state >> 33) as i32
            };
            let (rows, columns, spread) = window;
            let taps = rows * columns * channels;
            let weights: Vec<i8> = (0..taps * outputs).map(|_| random() as i8).collect();
            let biases: Vec<i32> = (0..outputs).map(|_| random() % 3000).collect();
            let count = if per_channel { outputs } else { 1 };
            let mut factor = || 0.0005 + f64::from(random() % 100) * 1e-4;
            let factors: Vec<Multiplier> = (0..count)
                .map(|_| Multiplier::from_real(factor()))
                .collect();
            let mut conv = OneOp::new(OpCode::Conv2d, &[input], made);
            conv.record.kernel = [rows, columns];
            conv.record.pad = [rows / 2, columns / 2];
            conv.record.dilation = if spread { [2, 2] } else { [1, 1] };
            conv.record.clamp = conv_clamp;
            let conv = conv.with_filter(&weights, &biases, &factors);
            let (ratio, first_is_greater, result) = scales;
            let [greater, less] = [0.5, 0.5 * ratio];
            let pair = if first_is_greater {
                [greater, less]
            } else {
                [less, greater]
            };
            let numbers = [multiplier(pair[0]), multiplier(pair[1]), multiplier(result)].concat();
            let block = 4 * u32::from(outputs);
            Summed {
                conv,
                other,
                output: activation(outputs, zero_points[2]),
                numbers: numbers.try_into().expect("six"),
                clamp,
                is_second,
                adds_input,
                above: is_above.then_some(block + seed as u32 % 3 * block / 2),
            }
        },
    )
}

/// A dense layer is its own kernel.
fn is_dense(summed: &Summed) -> bool {
    let [height, width, channels] = summed.conv.output.shape;
    summed.conv.record.is_dense([1, height, width, channels])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    #[test]
    fn a_merged_sum_gives_the_bytes_of_two_ops(summed in summed(), seed: u64) {
        let len = summed.conv.inputs[0].len() + summed.other.len();
        let mut state = seed;
        let values: Vec<u8> = (0..len).map(|_| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (state >> 56) as u8
        }).collect();
        // What is too near the end lies apart.
        let len = summed.output.len() as u32;
        let above = summed.above.filter(|&above| above < len && !is_dense(&summed));
        let summed = Summed { above, ..summed };
        prop_assert_eq!(summed.run(true, &values), summed.run(false, &values));
    }
}

/// A sound one: 16 bytes are a block.
pub(crate) fn sound() -> Summed {
    let tensor = Activation {
        shape: [5, 6, 4],
        scale: 0.1,
        zero_point: -3,
    };
    let half = [Multiplier::from_real(0.01)];
    let mut conv = OneOp::new(OpCode::Conv2d, &[tensor], tensor);
    conv.record.kernel = [3, 3];
    conv.record.pad = [1, 1];
    let weights: Vec<i8> = (0..4 * 36).map(|at| (at * 7 % 100) as i8).collect();
    let numbers = [multiplier(0.5), multiplier(0.2), multiplier(8e-7)].concat();
    Summed {
        conv: conv.with_filter(&weights, &[1; 4], &half),
        other: tensor,
        output: tensor,
        numbers: numbers.try_into().expect("six"),
        clamp: [-128, 127],
        is_second: false,
        adds_input: false,
        above: Some(16),
    }
}

#[test]
fn the_other_operand_lies_a_block_above_or_apart() {
    let load = |above: Option<u32>| {
        let bytes = Summed { above, ..sound() }.bytes(true);
        Plan::load(&bytes).map(|_| ())
    };
    assert_eq!(load(None), Ok(()));
    for above in [16, 17, 40, 119, 120] {
        assert_eq!(load(Some(above)), Ok(()), "{above}");
    }
    for above in [0, 1, 15] {
        assert_eq!(load(Some(above)), Err(PlanError::Overlap(1)), "{above}");
    }
}

/// Where the records of the tensors and ops lie.
const TENSORS: usize = 32;
const OPS: usize = TENSORS + 4 * 20;

#[test]
fn what_is_no_pair_is_refused() {
    let load_changed = |at: usize, value: &[u8]| {
        let mut bytes = sound().bytes(true);
        bytes[at..at + value.len()].copy_from_slice(value);
        Plan::load(&bytes).map(|_| ())
    };
    let sum = OPS + 40;
    assert_eq!(load_changed(0, b"TPLN"), Ok(()));
    // One flag without the other.
    assert_eq!(load_changed(sum + 1, &[0]), Err(PlanError::Op(0)));
    let flags = sound().bytes(true)[OPS + 1] & !FLAG_SUM;
    assert_eq!(load_changed(OPS + 1, &[flags]), Err(PlanError::Op(1)));
    // The last op goes nowhere.
    assert_eq!(load_changed(18, &[1]), Err(PlanError::Header));
    // Neither operand is the convolution's, or both are.
    assert_eq!(load_changed(sum + 2, &[1, 0, 1, 0]), Err(PlanError::Op(1)));
    assert_eq!(load_changed(sum + 2, &[2, 0, 2, 0]), Err(PlanError::Op(1)));
    // The convolution's output lies elsewhere: 4 bytes below the sum.
    let made = TENSORS + 2 * 20;
    let at = u32::from_le_bytes(
        sound().bytes(true)[made..made + 4]
            .try_into()
            .expect("four"),
    );
    let moved = Summed {
        above: None,
        ..sound()
    }
    .bytes(true);
    let mut below = moved.clone();
    below[made + 20..made + 24].copy_from_slice(&(at + 4).to_le_bytes());
    assert_eq!(Plan::load(&below).map(|_| ()), Err(PlanError::Overlap(1)));
    // The other operand lies in the scratch.
    let scratch = u32::from_le_bytes(moved[OPS + 12..OPS + 16].try_into().expect("four"));
    let mut inside = moved;
    inside[TENSORS + 20..TENSORS + 24].copy_from_slice(&scratch.to_le_bytes());
    assert_eq!(Plan::load(&inside).map(|_| ()), Err(PlanError::Overlap(1)));
    // Factors of a half and more.
    let constants = sound().bytes(true).len() - 24;
    for pair in [0, 1, 2] {
        let [value, shift] = [1i32 << 30 | 1, 0].map(i32::to_le_bytes);
        let expected = Err(PlanError::Constants(1));
        assert_eq!(
            load_changed(constants + 8 * pair, &[value, shift].concat()),
            expected
        );
    }
    let half = [1i32 << 30, 0].map(i32::to_le_bytes).concat();
    assert_eq!(load_changed(constants, &half), Ok(()));
    assert_eq!(
        load_changed(constants + 16, &half),
        Err(PlanError::Constants(1))
    );
}

#[test]
fn any_byte_of_a_merged_plan_may_be_any_other() {
    let step = if cfg!(miri) { 37 } else { 1 };
    for above in [None, Some(16)] {
        let sound = Summed { above, ..sound() }.bytes(true);
        let numbers = sound.len() - 24;
        for at in (0..OPS + 80).chain(numbers..sound.len()).step_by(step) {
            for value in [
                0,
                1,
                2,
                3,
                0x40,
                0x7F,
                0x80,
                0xFF,
                sound[at] ^ 1,
                sound[at] ^ 0x10,
            ] {
                let mut bytes = sound.clone();
                bytes[at] = value;
                if let Ok(plan) = Plan::load(&bytes)
                    && plan.arena_bytes() <= 1 << 16
                {
                    let mut arena: Vec<u8> = (0..plan.arena_bytes()).map(|at| at as u8).collect();
                    run_every_way(&plan, &mut arena);
                }
            }
        }
    }
}
