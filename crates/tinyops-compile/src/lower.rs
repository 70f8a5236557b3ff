//! From the ops of a graph to the ops of a plan.

mod general;
mod places;
mod recurrent;
mod wide;

use std::collections::HashMap;

use tinyops_model::graph::{Activation, Conv, Graph, Op, OpKind, Padding, Pool, Tensor, TensorId};
use tinyops_nn::lookup;
use tinyops_nn::record::{
    BinaryFunction, Element, FLAG_BACKWARD, FLAG_SUM, Header, NONE, OpCode, OpRecord, TensorRecord,
};

use crate::compiled::{CompileError, Options};
use crate::constants::{self, Channels, Constants, filter_values, quantization};
use crate::layers::LayerPart;
use crate::placement::regions::{self, Spread};
use crate::placement::{self, Block, Overlap};
use crate::plan_memory::{self, MemoryPlan, Region};
use crate::schedule::{self, Pair, Step};
use crate::storages::{self, Place, Storages};

/// A plan, its arena over time, and its work.
pub(crate) struct Lowered {
    pub(crate) plan: Vec<u8>,
    pub(crate) memory: MemoryPlan,
    pub(crate) macs: u64,
    /// What convolutions make that go into sums.
    pub(crate) summed: Vec<TensorId>,
    /// What each op of the plan makes.
    pub(crate) parts: Vec<Option<LayerPart>>,
}

/// More inputs or outputs a plan has no numbers for.
const ENDS_MAX: usize = 256;
/// In so many bands a pair of ops may run.
const BAND_COUNTS: [usize; 6] = [2, 3, 4, 6, 8, 12];
/// Pixels that a convolution makes before they go into a sum: the blocks of all kernels divide it.
const SUM_PIXELS: i64 = 12;
/// Bands must save at least one part in so many of the arena.
const SAVED_PART: u32 = 16;

/// Writes the plan of a graph that has passed its check.
///
/// Pairs of ops run in bands of rows where that makes an arena of `split_from_bytes` or more
/// clearly smaller for hardly any more work.
pub(crate) fn lower(graph: &Graph, options: &Options) -> Result<Lowered, CompileError> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut best = Lowering::run(graph, options, &pairs, &[])?;
    let macs_most = best.macs + best.macs * u64::from(options.extra_macs_percent) / 100;
    while best.memory.arena_bytes >= options.split_from_bytes && !options.as_written {
        let arena_bytes = best.memory.arena_bytes;
        let is_free = |first: usize| pairs.iter().all(|pair| pair.first.abs_diff(first) > 1);
        let is_large = |first: usize| {
            elements(graph.tensor(graph.ops[first].output)) > u64::from(arena_bytes / 2)
        };
        let firsts = (0..graph.ops.len())
            .filter(|&first| schedule::can_pair(graph, first) && is_free(first) && is_large(first));
        let candidates = firsts.flat_map(|first| BAND_COUNTS.map(|bands| Pair { first, bands }));
        let mut better: Option<(Lowered, Pair)> = None;
        for pair in candidates {
            let with: Vec<Pair> = pairs.iter().copied().chain([pair]).collect();
            let lowered = Lowering::run(graph, options, &with, &[])?;
            let limit = better
                .as_ref()
                .map_or(arena_bytes - arena_bytes / SAVED_PART, |(lowered, _)| {
                    lowered.memory.arena_bytes - 1
                });
            if lowered.memory.arena_bytes <= limit && lowered.macs <= macs_most {
                better = Some((lowered, pair));
            }
        }
        let Some((lowered, pair)) = better else { break };
        pairs.push(pair);
        best = lowered;
    }
    if best.memory.arena_bytes > options.regions[0] {
        // Where even several regions do not suffice, the arena in one piece says what is missing.
        best = Lowering::run(graph, options, &pairs, &options.regions)?;
    }
    Ok(best)
}

struct Lowering<'g> {
    graph: &'g Graph,
    constants: Constants,
    storages: Storages,
    /// Records without offset, and where each lies.
    tensors: Vec<(TensorRecord, Place)>,
    records_of: HashMap<(Place, [u16; 4]), Vec<u16>>,
    /// Records with the index of the scratch storage in place of its offset.
    ops: Vec<(OpRecord, Option<usize>)>,
    /// Filter and numbers of the ops that have some, by what they make: bands share them.
    filters: HashMap<TensorId, [u32; 2]>,
    tables: HashMap<Vec<u8>, u32>,
    overlaps: Vec<Overlap>,
    /// For each op, what it makes of which layer; `None` for what only another op reads.
    parts: Vec<Option<LayerPart>>,
}

impl Lowering<'_> {
    /// Lowers to an arena in one piece, or over the regions if there are some and it goes in.
    fn run(
        graph: &Graph,
        options: &Options,
        pairs: &[Pair],
        regions: &[u32],
    ) -> Result<Lowered, CompileError> {
        let ends = [graph.inputs.len(), graph.outputs.len()];
        if !ends.iter().all(|count| (1..=ENDS_MAX).contains(count)) {
            return Err(CompileError::InputsOrOutputs {
                inputs: ends[0],
                outputs: ends[1],
            });
        }
        let constant_bytes = graph.constant_bytes();
        if constant_bytes > u32::MAX as usize / 4 {
            return Err(CompileError::TooLarge {
                what: "constants",
                bytes: constant_bytes as u64,
            });
        }
        let steps = schedule::steps(graph, pairs, !options.as_written);
        let kept = graph.outputs.iter().chain(&graph.embedding);
        let inputs = options.keep_input.then_some(&graph.inputs);
        let kept = kept.chain(inputs.into_iter().flatten());
        let left = graph.states.iter().filter_map(|state| state.after.as_ref());
        let kept = kept.chain(left);
        let kept: Vec<TensorId> = kept.copied().collect();
        let mut lowering = Lowering {
            graph,
            constants: Constants::default(),
            storages: Storages::new(graph, &steps, &kept)?,
            tensors: Vec::new(),
            records_of: HashMap::new(),
            ops: Vec::new(),
            filters: HashMap::new(),
            tables: HashMap::new(),
            overlaps: Vec::new(),
            parts: Vec::new(),
        };
        for (number, step) in (1..).zip(&steps) {
            match graph.ops[step.op].kind {
                OpKind::Reshape => continue,
                OpKind::Constant => lowering.lower_constant(&graph.ops[step.op])?,
                _ => lowering.lower_step(number, step)?,
            }
            match step.sum {
                None => lowering.note_parts(step),
                Some(sum) => lowering.lower_sum(number, sum)?,
            }
        }
        lowering.keep_states()?;
        let mut lowered = lowering.finish(options, &steps, regions)?;
        lowered.macs = schedule::macs(graph, &steps);
        let summed = steps.iter().filter(|step| step.sum.is_some());
        lowered.summed = summed.map(|step| graph.ops[step.op].output).collect();
        Ok(lowered)
    }

    fn finish(
        &mut self,
        options: &Options,
        steps: &[Step],
        regions: &[u32],
    ) -> Result<Lowered, CompileError> {
        let graph = self.graph;
        let input = self.ends(&graph.inputs)?;
        let output = self.ends(&graph.outputs)?;
        let embedding = graph
            .embedding
            .map_or(Ok(NONE), |embedding| self.record(embedding))?;

        let storages = &self.storages.all;
        let blocks: Vec<Block> = storages.iter().map(|s| s.block.clone()).collect();
        let spread = regions::spread(&blocks, &self.overlaps, &self.touched(), regions);
        let Spread {
            offsets,
            starts,
            arena_bytes,
        } = spread.unwrap_or_else(|| Spread::in_one(placement::place(&blocks, &self.overlaps)));
        self.constants
            .bytes
            .resize(self.constants.bytes.len().next_multiple_of(4), 0);
        let header = Header {
            flags: if options.keep_input {
                tinyops_nn::record::FLAG_INPUT_KEPT
            } else {
                0
            },
            arena_bytes,
            constants_bytes: self.constants.bytes.len() as u32,
            tensor_count: self.tensors.len() as u16,
            op_count: self.ops.len() as u16,
            input,
            more_inputs: (graph.inputs.len() - 1) as u8,
            output,
            more_outputs: (graph.outputs.len() - 1) as u8,
            more_regions: (starts.len() - 1) as u8,
            embedding,
        };
        let mut plan = header.to_bytes().to_vec();
        plan.extend(starts[1..].iter().flat_map(|start| start.to_le_bytes()));
        for (record, place) in &self.tensors {
            let offset = offsets[place.storage] + place.start;
            let region = (starts.iter().filter(|&&start| start <= offset).count() - 1) as u8;
            let placed = TensorRecord {
                offset,
                region,
                ..*record
            };
            plan.extend(placed.to_bytes());
        }
        for (record, scratch) in &self.ops {
            let scratch_offset = scratch.map_or(0, |storage| offsets[storage]);
            let flags = record.flags | self.direction(record, &offsets);
            plan.extend(
                OpRecord {
                    flags,
                    scratch_offset,
                    ..*record
                }
                .to_bytes(),
            );
        }
        plan.resize(header.constants_offset(), 0);
        plan.extend(&self.constants.bytes);

        let kinds = steps.iter().map(|step| {
            let kinds = step.ops().map(|op| graph.ops[op].kind.name());
            kinds.collect::<Vec<_>>().join(" + ")
        });
        let ends = ["input", "output"].map(str::to_owned);
        let [first, last] = ends.map(std::iter::once);
        let names = first.chain(kinds).chain(last);
        let placed = self.storages.placed(&offsets);
        let ends = starts[1..].iter().copied().chain([arena_bytes]);
        let memory = MemoryPlan {
            arena_bytes,
            regions: starts
                .iter()
                .zip(ends)
                .map(|(&offset, end)| Region {
                    offset,
                    bytes: end - offset,
                })
                .collect(),
            live_bytes_max: plan_memory::live_bytes_max(&placed),
            steps: names.collect(),
            placed,
        };
        Ok(Lowered {
            plan,
            memory,
            macs: 0,
            summed: Vec::new(),
            parts: std::mem::take(&mut self.parts),
        })
    }

    /// How many bytes of each storage one run reads and writes.
    fn touched(&self) -> Vec<u64> {
        let mut touched = vec![0; self.storages.all.len()];
        for (record, scratch) in &self.ops {
            let [reads, makes] = [record.inputs[0], record.output].map(|index| self.shape(index));
            let made = self.bytes(record.output) as u64;
            let taps = record.taps(reads);
            let pixels = u64::from(makes[1]) * u64::from(makes[2]);
            let window = taps / u64::from(reads[3]);
            let read = match record.code {
                // Four outputs at a time, from the input or from patches in scratch.
                OpCode::Conv2d if scratch.is_none() => taps * made.div_ceil(4),
                OpCode::Conv2d => taps * pixels,
                OpCode::DepthwiseConv2d | OpCode::MaxPool2d | OpCode::AveragePool2d => {
                    window * made
                }
                _ => self.bytes(record.inputs[0]) as u64,
            };
            let mut add = |index: u16, bytes: u64| {
                let (_, place) = self.tensors[usize::from(index)];
                touched[place.storage] += bytes;
            };
            add(record.inputs[0], read);
            if record.inputs[1] != NONE {
                add(record.inputs[1], self.bytes(record.inputs[1]) as u64);
            }
            add(record.output, made);
            if let &Some(scratch) = scratch {
                touched[scratch] += taps * (pixels + made.div_ceil(2));
            }
        }
        touched
    }

    /// Notes what the ops of a step make of the step's layer.
    fn note_parts(&mut self, step: &Step) {
        let (graph, band) = (self.graph, step.band.as_ref());
        let output = graph.ops[step.op].output;
        let (makes_at, _) = self.storages.place(graph, output, band, true);
        let start = band.map_or(0, |band| {
            band.makes.start * storages::row_bytes(graph, output) as usize
        });
        for (record, _) in &self.ops[self.parts.len()..] {
            let (_, place) = self.tensors[usize::from(record.output)];
            let layer = step.op;
            self.parts
                .push((place == makes_at).then_some(LayerPart { layer, start }));
        }
    }

    /// Puts what a run leaves where the next looks for it.
    fn keep_states(&mut self) -> Result<(), CompileError> {
        let graph = self.graph;
        for state in &graph.states {
            let Some(after) = state.after.filter(|&after| after != state.before) else {
                continue;
            };
            let values = elements(graph.tensor(after)) as i32;
            let (from, to) = (self.record(after)?, self.record(state.before)?);
            for numbers in self.concat_numbers(1, values, 0, values) {
                let mut record = OpRecord::new(OpCode::Copy, [from, NONE], to);
                record.channels_offset = self.constants.put_numbers(&numbers);
                self.ops.push((record, None));
                self.parts.push(None);
            }
        }
        Ok(())
    }

    /// The first of the records of inputs or outputs, which stand after each other.
    fn ends(&mut self, tensors: &[TensorId]) -> Result<u16, CompileError> {
        if let &[one] = tensors {
            return self.record(one);
        }
        self.records_of.clear();
        let first = self.tensors.len();
        for &tensor in tensors {
            self.record(tensor)?;
            // A tensor that is twice an output has two records.
            self.records_of.clear();
        }
        u16::try_from(first).map_err(|_| CompileError::TooLarge {
            what: "the tensor table",
            bytes: 1 << 16,
        })
    }

    /// The record of a whole activation under its own shape.
    fn record(&mut self, tensor: TensorId) -> Result<u16, CompileError> {
        let (place, shape) = self.storages.place(self.graph, tensor, None, false);
        self.record_at(tensor, place, shape)
    }

    /// The record of an activation, or some rows of it, at a place.
    fn record_at(
        &mut self,
        tensor: TensorId,
        place: Place,
        shape: [u16; 4],
    ) -> Result<u16, CompileError> {
        let (scale, zero_point) = quantization(self.graph.tensor(tensor));
        let record = TensorRecord {
            offset: 0,
            shape,
            scale,
            zero_point,
            region: 0,
            element: self.graph.tensor(tensor).element(),
            is_state: self.storages.is_state(tensor),
        };
        // Tensors of one storage may have scales of their own.
        let known = self.records_of.entry((place, shape)).or_default();
        let is_same = |&&index: &&u16| self.tensors[usize::from(index)].0 == record;
        if let Some(&index) = known.iter().find(is_same) {
            return Ok(index);
        }
        let index = u16::try_from(self.tensors.len())
            .ok()
            .filter(|&index| index != NONE);
        let index = index.ok_or(CompileError::TooLarge {
            what: "the tensor table",
            bytes: 1 << 16,
        })?;
        self.tensors.push((record, place));
        known.push(index);
        Ok(index)
    }

    fn lower_step(&mut self, number: u32, step: &Step) -> Result<(), CompileError> {
        let graph = self.graph;
        let (index, band) = (step.op, step.band.as_ref());
        let op = &graph.ops[index];
        let storages = &self.storages;
        let (reads_at, reads) = storages.place(graph, op.inputs[0], band, false);
        let (makes_at, makes) = storages.place(graph, op.output, band, true);
        let input = graph.tensor(op.inputs[0]);
        let output = graph.tensor(op.output);
        let inputs = [self.record_at(op.inputs[0], reads_at, reads)?, NONE];
        let made = self.record_at(op.output, makes_at, makes)?;
        let mut record = OpRecord::new(OpCode::Conv2d, inputs, made);
        let is_wide = wide::is_wide(graph, op);
        match op.kind {
            _ if is_wide => self.lower_wide(&mut record, op, index, [reads_at, makes_at])?,
            OpKind::Conv2d(conv) => {
                let filter = graph.tensor(op.inputs[1]);
                record.kernel = [filter.shape[1], filter.shape[2]];
                self.lower_conv(&mut record, op, &conv, filter_values(filter).to_vec());
            }
            OpKind::DepthwiseConv2d(conv) => {
                let filter = graph.tensor(op.inputs[1]);
                record.kernel = [filter.shape[1], filter.shape[2]];
                let outputs = usize::from(filter.shape[3]);
                if input.shape[3] == 1 {
                    // Over one input channel a depthwise convolution is a convolution, whose kernel is faster.
                    let filter = transpose(filter_values(filter), outputs);
                    self.lower_conv(&mut record, op, &conv, filter);
                } else {
                    self.lower_depthwise(&mut record, op, &conv);
                }
            }
            OpKind::Dense(activation) => {
                let filter = graph.tensor(op.inputs[1]);
                let inputs =
                    u16::try_from(elements(input)).map_err(|_| CompileError::TooLarge {
                        what: "the input of a dense layer",
                        bytes: elements(input),
                    })?;
                let flat = [1, 1, 1, inputs];
                record.inputs[0] = self.record_at(op.inputs[0], reads_at, flat)?;
                let conv = Conv::valid(activation);
                self.lower_conv(&mut record, op, &conv, filter_values(filter).to_vec());
            }
            OpKind::MaxPool2d(pool) => lower_pool(&mut record, OpCode::MaxPool2d, &pool, input),
            OpKind::AveragePool2d(pool) => {
                lower_pool(&mut record, OpCode::AveragePool2d, &pool, input)
            }
            OpKind::Mean => {
                record.code = OpCode::Mean;
                let count = u32::from(input.shape[1]) * u32::from(input.shape[2]);
                let numbers =
                    constants::mean_numbers(quantization(input), quantization(output), count);
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            OpKind::Add(activation) => {
                record.inputs[1] = self.record(op.inputs[1])?;
                record.clamp = clamp(activation, output);
                let (second, _) = quantization(graph.tensor(op.inputs[1]));
                let numbers =
                    constants::add_numbers(quantization(input).0, second, quantization(output).0);
                let numbers = numbers.ok_or(CompileError::Scales {
                    op: index,
                    kind: op.kind.name(),
                })?;
                record.channels_offset = if constants::suits_sum(&numbers) {
                    record.code = OpCode::Add;
                    if let Some((before, _)) = self.ops.last()
                        && before.goes_into_sum()
                    {
                        record.flags = FLAG_SUM;
                    }
                    self.constants.put_numbers(&numbers)
                } else {
                    record.code = OpCode::Binary;
                    let numbers = self.binary_numbers(op, BinaryFunction::Add);
                    self.constants.put_numbers(&numbers.unwrap_or_default())
                };
            }
            OpKind::Softmax { beta } => {
                record.code = OpCode::Softmax;
                let (multiplier, least) = lookup::softmax_numbers(quantization(input).0, beta);
                if multiplier.shift < 0 {
                    return Err(CompileError::Scales {
                        op: index,
                        kind: op.kind.name(),
                    });
                }
                let numbers = [multiplier.value, i32::from(multiplier.shift), least];
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            OpKind::Logistic => {
                let (scale, zero_point) = quantization(input);
                self.lower_table(&mut record, &lookup::logistic(scale, zero_point));
            }
            OpKind::Activate(activation) => {
                let clamp = clamp(activation, output);
                let table = lookup::rescale(quantization(input), quantization(output), clamp);
                self.lower_table(&mut record, &table);
            }
            OpKind::Pad(padding) => {
                record.code = OpCode::Pad;
                record.pad =
                    [0, 1].map(|axis| padding.around(axis, input.shape[axis + 1], 1, 1).0 as u16);
            }
            OpKind::Reshape => return Ok(()),
            OpKind::DenseRows(activation) => {
                let filter = graph.tensor(op.inputs[1]);
                let values = elements(filter) / u64::from(filter.shape[0]);
                let rows = u16::try_from(elements(input) / values);
                let (Ok(rows), Ok(values)) = (rows, u16::try_from(values)) else {
                    return Err(CompileError::TooLarge {
                        what: "the input of a dense layer",
                        bytes: elements(input),
                    });
                };
                record.inputs[0] = self.record_at(op.inputs[0], reads_at, [1, 1, rows, values])?;
                let result = [1, 1, rows, filter.shape[0]];
                record.output = self.record_at(op.output, makes_at, result)?;
                let conv = Conv::valid(activation);
                self.lower_conv(&mut record, op, &conv, filter_values(filter).to_vec());
            }
            _ => self.lower_general(&mut record, op, index)?,
        }
        if let Some(band) = band {
            record.pad[0] = band.pad_top as u16;
        }
        let makes = self.shape(record.output);
        let scratch_bytes = match is_wide {
            true => 0,
            false => record.scratch_bytes(self.shape(record.inputs[0]), makes),
        };
        let scratch = (scratch_bytes > 0).then(|| {
            let name = format!("scratch of {}", output.name);
            let bytes = u32::try_from(scratch_bytes).unwrap_or(u32::MAX);
            self.storages.add_scratch(name, bytes, number)
        });
        self.find_overlaps(&record, number);
        self.ops.push((record, scratch));
        Ok(())
    }

    /// The sum that the convolution before goes into.
    fn lower_sum(&mut self, number: u32, index: usize) -> Result<(), CompileError> {
        // Nobody sees what the convolution makes.
        self.parts.push(None);
        if let Some((conv, _)) = self.ops.last_mut() {
            conv.flags |= FLAG_SUM;
        }
        let step = Step {
            op: index,
            band: None,
            sum: None,
        };
        self.lower_step(number, &step)?;
        self.note_parts(&step);
        Ok(())
    }

    /// A constant as an activation: its values go from the constants to the arena.
    fn lower_constant(&mut self, op: &Op) -> Result<(), CompileError> {
        let bytes = constants::operand_bytes(self.graph.tensor(op.inputs[0]));
        let output = self.record(op.output)?;
        let mut record = OpRecord::new(OpCode::Constant, [output, NONE], output);
        record.weights_offset = self.constants.put_array(&bytes);
        self.ops.push((record, None));
        Ok(())
    }

    /// Notes how far the op may write over the inputs that it reads for the last time.
    fn find_overlaps(&mut self, record: &OpRecord, step: u32) {
        let (_, output) = self.tensors[usize::from(record.output)];
        let makes = self.shape(record.output);
        let inputs = record.inputs.into_iter().filter(|&input| input != NONE);
        let mut inputs: Vec<u16> = inputs.collect();
        inputs.dedup();
        for index in inputs {
            let (_, input) = self.tensors[usize::from(index)];
            let reads = self.shape(index);
            let parts = |place: Place| &self.storages.all[place.storage].block.parts;
            let ends = parts(input).iter().any(|part| part.last == step);
            let begins = parts(output).iter().any(|part| part.first == step);
            if input.storage == output.storage || !ends || !begins {
                continue;
            }
            let [bytes_read, bytes_made] = [index, record.output].map(|index| self.bytes(index));
            let (below, above) = (-bytes_made, bytes_read);
            let forbidden = match record.code {
                // The convolution writes some pixels before the sum reads the other operand's.
                OpCode::Add if record.flags & FLAG_SUM != 0 => {
                    let piece = SUM_PIXELS * i64::from(reads[3]);
                    vec![((-piece).max(below), above)]
                }
                OpCode::Add | OpCode::Softmax => vec![(below, 0), (0, above)],
                // An operand that is repeated is no place for the result, nor one of other values.
                OpCode::Binary | OpCode::Lookup => match bytes_read == bytes_made {
                    true => vec![(below, 0), (0, above)],
                    false => continue,
                },
                _ => match self.overlap(record, [reads, makes]) {
                    Some((lead, lag)) => {
                        // Made from the last row to the first, the output may lie above as well.
                        let lag = lag.unwrap_or(above);
                        vec![(lead.clamp(below, above), lag.clamp(below, above))]
                    }
                    None => continue,
                },
            };
            // From the distance of what is read and made to that of the storages they lie in.
            let shift = i64::from(input.start) - i64::from(output.start);
            let forbidden = forbidden
                .into_iter()
                .map(|(low, high)| (low + shift, high + shift));
            // What a convolution reads may be the other operand of its sum too.
            let is_same = |known: &&mut Overlap| {
                [known.input, known.output] == [input.storage, output.storage] && known.step == step
            };
            match self.overlaps.iter_mut().find(is_same) {
                Some(known) => known.forbidden.extend(forbidden),
                None => self.overlaps.push(Overlap {
                    input: input.storage,
                    output: output.storage,
                    step,
                    forbidden: forbidden.collect(),
                }),
            }
        }
    }

    /// The flag of an op that has to make its rows from the last to the first, where it lies.
    fn direction(&self, record: &OpRecord, offsets: &[u32]) -> u8 {
        let [reads, makes] = [record.inputs[0], record.output].map(|index| self.shape(index));
        let [input, output] = [record.inputs[0], record.output].map(|index| {
            let (_, place) = self.tensors[usize::from(index)];
            i64::from(offsets[place.storage]) + i64::from(place.start)
        });
        let input_bytes = self.bytes(record.inputs[0]);
        let distance = output - input;
        match self.overlap(record, [reads, makes]) {
            Some((lead, Some(_))) if distance > lead && distance < input_bytes => FLAG_BACKWARD,
            _ => 0,
        }
    }

    /// How far the op's output may lie above its input, and from where on if its rows are made
    /// from the last to the first; in bytes.
    fn overlap(&self, record: &OpRecord, shapes: [[u16; 4]; 2]) -> Option<(i64, Option<i64>)> {
        let [reads, makes] = shapes;
        let (output, _) = &self.tensors[usize::from(record.output)];
        if output.element == Element::Int16 {
            let (lead, lag) = record.wide_overlap(reads, makes)?;
            return Some((lead, Some(lag)));
        }
        let lead = record.overlap_lead(reads, makes)?;
        Some((lead, record.overlap_lag(reads, makes)))
    }

    /// The bytes of a tensor of the plan.
    fn bytes(&self, index: u16) -> i64 {
        let (record, _) = &self.tensors[usize::from(index)];
        record.element_count() as i64 * record.element.bytes() as i64
    }

    fn shape(&self, index: u16) -> [u16; 4] {
        self.tensors[usize::from(index)].0.shape
    }

    fn lower_conv(&mut self, record: &mut OpRecord, op: &Op, conv: &Conv, filter: Vec<i8>) {
        record.code = OpCode::Conv2d;
        let outputs = usize::from(self.graph.tensor(op.output).shape[3]);
        let taps = filter.len() / outputs;
        let sum = |row: &[i8]| {
            row.iter()
                .fold(0i32, |sum, &w| sum.wrapping_add(i32::from(w)))
        };
        let sums: Vec<i32> = filter.chunks_exact(taps).map(sum).collect();
        self.lower_filter(record, op, conv, &filter, &sums);
    }

    fn lower_depthwise(&mut self, record: &mut OpRecord, op: &Op, conv: &Conv) {
        record.code = OpCode::DepthwiseConv2d;
        let outputs = usize::from(self.graph.tensor(op.output).shape[3]);
        let filter = filter_values(self.graph.tensor(op.inputs[1]));
        let mut sums = vec![0i32; outputs];
        for tap in filter.chunks_exact(outputs) {
            for (sum, &weight) in sums.iter_mut().zip(tap) {
                *sum = sum.wrapping_add(i32::from(weight));
            }
        }
        self.lower_filter(record, op, conv, filter, &sums);
    }

    fn lower_filter(
        &mut self,
        record: &mut OpRecord,
        op: &Op,
        conv: &Conv,
        filter: &[i8],
        sums: &[i32],
    ) {
        let graph = self.graph;
        let input = graph.tensor(op.inputs[0]);
        let output = graph.tensor(op.output);
        let is_dense = matches!(op.kind, OpKind::Dense(_) | OpKind::DenseRows(_));
        let channels = Channels::of(graph, op, sums);
        (record.flags, record.shift) = channels.flags_and_shift();
        record.clamp = clamp(conv.activation, output);
        record.stride = conv.stride;
        record.dilation = conv.dilation;
        if !is_dense {
            record.pad = pads(conv.padding, record, input);
        }
        let known = self.filters.get(&op.output).copied();
        [record.weights_offset, record.channels_offset] = known.unwrap_or_else(|| {
            let bytes = self.filter_bytes(record, filter);
            let weights = self.constants.put_array(&bytes);
            [weights, self.constants.put_channels(&channels)]
        });
        let offsets = [record.weights_offset, record.channels_offset];
        self.filters.insert(op.output, offsets);
    }

    /// A filter as the plan lays it out; `filter` has one row for each output of a convolution, or
    /// one for each tap of a depthwise one.
    fn filter_bytes(&self, record: &OpRecord, filter: &[i8]) -> Vec<u8> {
        let [reads, makes] = [record.inputs[0], record.output].map(|index| self.shape(index));
        if record.code == OpCode::DepthwiseConv2d {
            return filter.iter().map(|&weight| weight as u8).collect();
        }
        let mut bytes = vec![0; record.filter_bytes(reads, makes) as usize];
        let taps = record.taps(reads) as usize;
        for (channel, row) in filter.chunks_exact(taps).enumerate() {
            for (tap, &weight) in row.iter().enumerate() {
                bytes[record.filter_index(reads, makes, channel, tap)] = weight as u8;
            }
        }
        bytes
    }

    fn lower_table(&mut self, record: &mut OpRecord, table: &lookup::Table) {
        record.code = OpCode::Lookup;
        let constants = &mut self.constants;
        let known = self
            .tables
            .entry(table.to_vec())
            .or_insert_with(|| constants.put_array(table));
        record.weights_offset = *known;
    }
}

fn lower_pool(record: &mut OpRecord, code: OpCode, pool: &Pool, input: &Tensor) {
    record.code = code;
    record.kernel = pool.window;
    record.stride = pool.stride;
    record.clamp = clamp(pool.activation, input);
    record.pad = pads(pool.padding, record, input);
}

fn pads(padding: Padding, record: &OpRecord, input: &Tensor) -> [u16; 2] {
    [0, 1].map(|axis| {
        let extent = (u32::from(record.kernel[axis]) - 1) * u32::from(record.dilation[axis]) + 1;
        let (before, _) = padding.around(axis, input.shape[axis + 1], extent, record.stride[axis]);
        before.min(u32::from(u16::MAX)) as u16
    })
}

/// The least and the greatest value that an op with this activation makes.
pub(crate) fn clamp(activation: Activation, output: &Tensor) -> [i8; 2] {
    let (scale, zero_point) = quantization(output);
    activation.clamp(scale, zero_point)
}

/// From tap-major to channel-major.
fn transpose(filter: &[i8], outputs: usize) -> Vec<i8> {
    let taps = filter.len() / outputs;
    (0..filter.len())
        .map(|index| filter[index % taps * outputs + index / taps])
        .collect()
}

fn elements(tensor: &Tensor) -> u64 {
    tensor.shape.iter().map(|&dim| u64::from(dim)).product()
}
