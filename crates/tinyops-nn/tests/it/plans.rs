//! Plans of one op for the tests, and the activations that go through them.

use tinyops_nn::layout::{UNPACKED_MAX, pack_channel};
use tinyops_nn::record::{
    FLAG_ONE_MULTIPLIER, FLAG_PACKED, Header, NONE, OpCode, OpRecord, REGION_ALIGN, REGIONS_MAX,
    TensorRecord,
};
use tinyops_nn::{Isa, Line, Multiplier, Plan, Regions};

/// An activation: shape and quantization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activation {
    pub(crate) shape: [u16; 3],
    pub(crate) scale: f32,
    pub(crate) zero_point: i8,
}

impl Activation {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().map(|&dim| usize::from(dim)).product()
    }
}

fn shape_of(activation: &Activation) -> [u16; 4] {
    let [height, width, channels] = activation.shape;
    [1, height, width, channels]
}

/// An op over one or two inputs, with its constants.
#[derive(Clone, Debug)]
pub(crate) struct OneOp {
    pub(crate) inputs: Vec<Activation>,
    pub(crate) output: Activation,
    pub(crate) record: OpRecord,
    /// In the order of the specification; [`OneOp::bytes`] lays it out as a plan does.
    pub(crate) filter: Vec<i8>,
    pub(crate) table: Vec<u8>,
    pub(crate) numbers: Vec<u8>,
}

impl OneOp {
    pub(crate) fn new(code: OpCode, inputs: &[Activation], output: Activation) -> OneOp {
        let record = OpRecord {
            // An op without inputs names its output there.
            code,
            flags: 0,
            inputs: [0, 1].map(|index| {
                let is_there = usize::from(index) < inputs.len().max(1);
                if is_there { index } else { NONE }
            }),
            output: inputs.len() as u16,
            clamp: [-128, 127],
            shift: 0,
            scratch_offset: 0,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
            weights_offset: 0,
            channels_offset: 0,
        };
        OneOp {
            inputs: inputs.to_vec(),
            output,
            record,
            filter: vec![],
            table: vec![],
            numbers: vec![],
        }
    }

    /// Biases must have the zero point folded in already.
    pub(crate) fn with_filter(
        mut self,
        weights: &[i8],
        biases: &[i32],
        multipliers: &[Multiplier],
    ) -> OneOp {
        self.filter = weights.to_vec();
        if multipliers.len() > 1 && self.pack(biases, multipliers) {
            return self;
        }
        self.record.flags = if multipliers.len() == 1 {
            FLAG_ONE_MULTIPLIER
        } else {
            0
        };
        let words = biases
            .iter()
            .copied()
            .chain(multipliers.iter().map(|multiplier| multiplier.value));
        self.numbers = words.flat_map(i32::to_le_bytes).collect();
        self.numbers
            .extend(multipliers.iter().map(|multiplier| multiplier.shift as u8));
        self
    }

    /// Packs the channels if they go into seven bytes each.
    fn pack(&mut self, biases: &[i32], multipliers: &[Multiplier]) -> bool {
        let shift_max = multipliers.iter().map(|m| m.shift).max().unwrap_or(0);
        let channels = biases.iter().zip(multipliers);
        let packed: Option<Vec<_>> = channels
            .map(|(&bias, &multiplier)| pack_channel(bias, multiplier, shift_max))
            .collect();
        let Some(packed) = packed.filter(|packed| packed.len() <= UNPACKED_MAX) else {
            return false;
        };
        let (words, biases): (Vec<_>, Vec<_>) = packed.into_iter().unzip();
        self.numbers = [words.concat(), biases.concat()].concat();
        self.record.flags = FLAG_PACKED;
        self.record.shift = shift_max;
        true
    }

    pub(crate) fn with_numbers(mut self, numbers: &[i32]) -> OneOp {
        self.numbers = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        self
    }

    pub(crate) fn with_table(mut self, table: &[u8]) -> OneOp {
        self.table = table.to_vec();
        self
    }

    /// The bytes of the plan: inputs, output and scratch one after another in the arena.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_in(1)
    }

    /// [`OneOp::bytes`], each of the first tensors in a memory region of its own, the others and
    /// scratch in the last.
    pub(crate) fn bytes_in(&self, region_count: u8) -> Vec<u8> {
        let mut tensors = Vec::new();
        let mut arena_bytes = 0;
        let mut starts: Vec<u32> = Vec::new();
        let mut begin = |arena_bytes: &mut u32, tensor: usize| {
            if (1..usize::from(region_count)).contains(&tensor) {
                *arena_bytes = arena_bytes.next_multiple_of(REGION_ALIGN);
                starts.push(*arena_bytes);
            }
            starts.len() as u8
        };
        for (index, activation) in self.inputs.iter().chain([&self.output]).enumerate() {
            let [height, width, channels] = activation.shape;
            let region = begin(&mut arena_bytes, index);
            tensors.push(TensorRecord {
                offset: arena_bytes,
                shape: [1, height, width, channels],
                scale: activation.scale,
                zero_point: activation.zero_point,
                region,
                element: tinyops_nn::record::Element::Int8,
                is_state: self.record.code.has_state() && index == 1,
            });
            arena_bytes += activation.len() as u32;
        }
        for unused in tensors.len()..usize::from(region_count) {
            begin(&mut arena_bytes, unused);
        }
        let mut record = self.record;
        let first = self.inputs.first().unwrap_or(&self.output);
        let scratch_bytes = record.scratch_bytes(shape_of(first), shape_of(&self.output)) as u32;
        if scratch_bytes > 0 {
            record.scratch_offset = arena_bytes.next_multiple_of(4);
            arena_bytes = record.scratch_offset + scratch_bytes;
        }
        let mut constants = self.weights();
        constants.resize(constants.len().next_multiple_of(4), 0);
        record.channels_offset = constants.len() as u32;
        constants.extend(&self.numbers);
        let header = Header {
            flags: 0,
            more_inputs: 0,
            more_outputs: 0,
            more_regions: region_count - 1,
            arena_bytes,
            constants_bytes: constants.len() as u32,
            tensor_count: tensors.len() as u16,
            op_count: 1,
            input: 0,
            output: tensors.len() as u16 - 1,
            embedding: NONE,
        };
        let mut bytes = header.to_bytes().to_vec();
        starts
            .iter()
            .for_each(|start| bytes.extend(start.to_le_bytes()));
        tensors
            .iter()
            .for_each(|tensor| bytes.extend(tensor.to_bytes()));
        bytes.extend(record.to_bytes());
        bytes.resize(header.constants_offset(), 0);
        bytes.extend(constants);
        bytes
    }

    /// The filter or table as it lies in the plan.
    pub(crate) fn weights(&self) -> Vec<u8> {
        if self.record.code != OpCode::Conv2d {
            let filter = self.filter.iter().map(|&weight| weight as u8);
            return filter.chain(self.table.iter().copied()).collect();
        }
        let (input, output) = (shape_of(&self.inputs[0]), shape_of(&self.output));
        let mut bytes = vec![0; self.record.filter_bytes(input, output) as usize];
        let taps = self.record.taps(input) as usize;
        for (channel, row) in self.filter.chunks(taps).enumerate() {
            for (tap, &weight) in row.iter().enumerate() {
                bytes[self.record.filter_index(input, output, channel, tap)] = weight as u8;
            }
        }
        bytes
    }

    /// Runs the op over its inputs, one after another in `values`.
    pub(crate) fn run(&self, values: &[i8]) -> Vec<i8> {
        let bytes = self.bytes();
        let plan = Plan::load(&bytes).expect("the test writes sound plans");
        let mut arena = vec![0x5A; plan.arena_bytes()];
        for (place, &value) in arena.iter_mut().zip(values) {
            *place = value as u8;
        }
        run_every_way(&plan, &mut arena);
        let output: Vec<i8> = arena[plan.output().range()]
            .iter()
            .map(|&byte| byte as i8)
            .collect();
        for region_count in 2..=REGIONS_MAX as u8 {
            let bytes = self.bytes_in(region_count);
            let plan = Plan::load(&bytes).expect("regions make a plan no less sound");
            let mut arena = vec![0x5A; plan.arena_bytes()];
            let mut values = values;
            for index in 0..self.inputs.len() {
                let input = plan.tensor(index as u16).expect("an input");
                let own;
                (own, values) = values.split_at(input.len);
                for (place, &value) in arena[input.range()].iter_mut().zip(own) {
                    *place = value as u8;
                }
            }
            run_every_way(&plan, &mut arena);
            let own = arena[plan.output().range()].iter();
            let own: Vec<i8> = own.map(|&byte| byte as i8).collect();
            assert_eq!(own, output, "over {region_count} regions");
        }
        output
    }
}

/// Runs a plan with the portable kernels, and holds those of each instruction set that this
/// processor has, and an arena in pieces of no byte more than asked, to the same bytes.
pub(crate) fn run_every_way(plan: &Plan<'_>, arena: &mut [u8]) {
    let before = arena.to_vec();
    plan.run(arena).expect("the arena is as large as asked");
    let expected = &arena[plan.output().range()];
    let mut pieces: Vec<Vec<u8>> = plan
        .regions()
        .map(|region| before[region].to_vec())
        .collect();
    pieces.resize(REGIONS_MAX, Vec::new());
    let pieces: &mut [Vec<u8>; REGIONS_MAX] = (&mut pieces[..]).try_into().expect("as many");
    let mut regions = Regions::new(pieces.each_mut().map(|piece| &mut piece[..]));
    plan.run(&mut regions)
        .expect("the pieces are as large as asked");
    for (index, region) in plan.regions().enumerate() {
        assert_eq!(pieces[index], arena[region], "region {index}");
    }
    for isa in Isa::available() {
        let mut memory = vec![Line::ZERO; plan.prepared_lines(isa)];
        let prepared = plan
            .prepare(isa, &mut memory)
            .expect("the memory is as large as asked");
        let mut work = vec![Line::ZERO; prepared.work_lines()];
        let mut own = before.clone();
        prepared
            .run(&mut own, &mut work)
            .expect("arena and work are as large as asked");
        let actual = &own[plan.output().range()];
        assert!(
            expected == actual,
            "{}: {actual:?}, not {expected:?}",
            isa.name()
        );
    }
}

impl OneOp {
    /// Runs the op with its output `lead` bytes after the start of its input; `None` if refused.
    pub(crate) fn run_overlapping(&self, values: &[i8], lead: i64) -> Option<Vec<i8>> {
        let mut bytes = self.bytes();
        let margin = (self.inputs[0].len() + self.output.len()) as u32;
        let scratch_bytes = self
            .record
            .scratch_bytes(shape_of(&self.inputs[0]), shape_of(&self.output))
            as u32;
        let output = i64::from(margin) + lead;
        let put = |bytes: &mut [u8], at: usize, value: u32| {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        };
        put(&mut bytes, 8, 4 * margin + scratch_bytes);
        put(&mut bytes, 32, margin);
        put(&mut bytes, 52, u32::try_from(output).expect("inside"));
        put(&mut bytes, 72 + 12, 4 * margin);
        let plan = Plan::load(&bytes).ok()?;
        let mut arena = vec![0x5A; plan.arena_bytes()];
        for (place, &value) in arena[plan.input().range()].iter_mut().zip(values) {
            *place = value as u8;
        }
        run_every_way(&plan, &mut arena);
        let output = &arena[plan.output().range()];
        Some(output.iter().map(|&byte| byte as i8).collect())
    }
}
