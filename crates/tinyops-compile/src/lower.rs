//! From the ops of a graph to the ops of a plan.

use std::collections::HashMap;

use tinyops_model::graph::{Activation, Conv, Graph, Op, OpKind, Padding, Pool, Tensor, TensorId};
use tinyops_nn::lookup;
use tinyops_nn::record::{Header, NONE, OpCode, OpRecord, TensorRecord};

use crate::compiled::CompileError;
use crate::constants::{self, Channels, Constants, filter_values, quantization};
use crate::placement::{self, Block, Overlap};
use crate::plan_memory::{self, Lifetime, MemoryPlan, Placed};

/// Writes the plan of a graph that has passed its check; `keep_input` lets the input live to the end.
pub(crate) fn lower(
    graph: &Graph,
    keep_input: bool,
) -> Result<(Vec<u8>, MemoryPlan), CompileError> {
    let mut lowering = Lowering {
        graph,
        constants: Constants::default(),
        tensors: Vec::new(),
        ops: Vec::new(),
        record_of: HashMap::new(),
        storages: Vec::new(),
        storage_of: HashMap::new(),
        tables: HashMap::new(),
        overlaps: Vec::new(),
    };
    lowering.lower(keep_input)
}

/// Bytes of the arena that one or more tensors share.
struct Storage {
    name: String,
    lifetime: Lifetime,
}

struct Lowering<'g> {
    graph: &'g Graph,
    constants: Constants,
    /// Records with the index of the storage in place of the offset, until the arena is placed.
    tensors: Vec<TensorRecord>,
    /// Records with the index of the scratch storage in place of its offset.
    ops: Vec<(OpRecord, Option<usize>)>,
    record_of: HashMap<(TensorId, [u16; 4]), u16>,
    storages: Vec<Storage>,
    storage_of: HashMap<TensorId, usize>,
    tables: HashMap<Vec<u8>, u32>,
    overlaps: Vec<Overlap>,
}

impl Lowering<'_> {
    fn lower(&mut self, keep_input: bool) -> Result<(Vec<u8>, MemoryPlan), CompileError> {
        let ([input], [output]) = (&self.graph.inputs[..], &self.graph.outputs[..]) else {
            return Err(CompileError::InputsOrOutputs {
                inputs: self.graph.inputs.len(),
                outputs: self.graph.outputs.len(),
            });
        };
        let constant_bytes = self.graph.constant_bytes();
        if constant_bytes > u32::MAX as usize / 4 {
            return Err(CompileError::TooLarge {
                what: "constants",
                bytes: constant_bytes as u64,
            });
        }
        self.find_storages(*input, keep_input)?;
        let graph = self.graph;
        for (index, op) in graph.ops.iter().enumerate() {
            if !matches!(op.kind, OpKind::Reshape) {
                self.lower_op(index, op)?;
            }
        }
        let input = self.record(*input)?;
        let output = self.record(*output)?;
        let embedding = graph
            .embedding
            .map_or(Ok(NONE), |embedding| self.record(embedding))?;

        let blocks: Vec<Block> = self
            .storages
            .iter()
            .map(|Storage { lifetime, .. }| {
                Block::whole(lifetime.bytes, lifetime.first, lifetime.last)
            })
            .collect();
        let (offsets, arena_bytes) = placement::place(&blocks, &self.overlaps);
        self.constants
            .bytes
            .resize(self.constants.bytes.len().next_multiple_of(4), 0);
        let header = Header {
            flags: if keep_input {
                tinyops_nn::record::FLAG_INPUT_KEPT
            } else {
                0
            },
            arena_bytes,
            constants_bytes: self.constants.bytes.len() as u32,
            tensor_count: self.tensors.len() as u16,
            op_count: self.ops.len() as u16,
            input,
            output,
            embedding,
        };
        let mut plan = header.to_bytes().to_vec();
        for record in &self.tensors {
            let offset = offsets[record.offset as usize];
            plan.extend(TensorRecord { offset, ..*record }.to_bytes());
        }
        for (record, scratch) in &self.ops {
            let scratch_offset = scratch.map_or(0, |storage| offsets[storage]);
            plan.extend(
                OpRecord {
                    scratch_offset,
                    ..*record
                }
                .to_bytes(),
            );
        }
        plan.resize(header.constants_offset(), 0);
        plan.extend(&self.constants.bytes);

        let kinds = graph.ops.iter().map(|op| op.kind.name());
        let steps = std::iter::once("input").chain(kinds).chain(["output"]);
        let placed = self.storages.iter().zip(&offsets);
        let placed: Vec<Placed> = placed
            .map(|(storage, &offset)| Placed {
                name: storage.name.clone(),
                offset,
                lifetime: storage.lifetime,
            })
            .collect();
        let map = MemoryPlan {
            arena_bytes,
            live_bytes_max: plan_memory::live_bytes_max(&placed),
            steps: steps.map(str::to_owned).collect(),
            placed,
        };
        Ok((plan, map))
    }

    /// Decides which tensors share bytes, and how long each share of bytes is needed.
    fn find_storages(&mut self, input: TensorId, keep_input: bool) -> Result<(), CompileError> {
        let graph = self.graph;
        // What must outlive the last op is needed in a step of its own, so that op cannot write over it.
        let end = graph.ops.len() as u32 + 1;
        let mut last_read: HashMap<TensorId, u32> = HashMap::new();
        for (index, op) in graph.ops.iter().enumerate() {
            for &input in &op.inputs {
                last_read.insert(input, index as u32 + 1);
            }
        }
        let kept = graph
            .outputs
            .iter()
            .chain(&graph.embedding)
            .chain(keep_input.then_some(&input));
        for &tensor in kept {
            last_read.insert(tensor, end);
        }
        let last_of =
            |tensor: TensorId, made: u32| last_read.get(&tensor).copied().unwrap_or(made).max(made);

        self.add_storage(input, 0, last_of(input, 0))?;
        for (index, op) in graph.ops.iter().enumerate() {
            let step = index as u32 + 1;
            let last = last_of(op.output, step);
            let shared = match op.kind {
                OpKind::Reshape => self.storage_of.get(&op.inputs[0]).copied(),
                _ => None,
            };
            match shared {
                Some(storage) => {
                    let lifetime = &mut self.storages[storage].lifetime;
                    lifetime.last = lifetime.last.max(last);
                    self.storage_of.insert(op.output, storage);
                }
                None => self.add_storage(op.output, step, last)?,
            }
        }
        Ok(())
    }

    fn add_storage(&mut self, tensor: TensorId, first: u32, last: u32) -> Result<(), CompileError> {
        let bytes = elements(self.graph.tensor(tensor));
        let bytes = u32::try_from(bytes).ok().filter(|&bytes| bytes < 1 << 30);
        let bytes = bytes.ok_or_else(|| CompileError::TooLarge {
            what: "an activation",
            bytes: elements(self.graph.tensor(tensor)),
        })?;
        let name = self.graph.tensor(tensor).name.clone();
        self.storage_of.insert(tensor, self.storages.len());
        self.storages.push(Storage {
            name,
            lifetime: Lifetime { bytes, first, last },
        });
        Ok(())
    }

    /// The record of an activation under its own shape.
    fn record(&mut self, tensor: TensorId) -> Result<u16, CompileError> {
        self.record_as(tensor, self.graph.tensor(tensor).shape)
    }

    /// The record of an activation under another shape of as many values.
    fn record_as(&mut self, tensor: TensorId, shape: [u16; 4]) -> Result<u16, CompileError> {
        if let Some(&index) = self.record_of.get(&(tensor, shape)) {
            return Ok(index);
        }
        let (scale, zero_point) = quantization(self.graph.tensor(tensor));
        let index = u16::try_from(self.tensors.len())
            .ok()
            .filter(|&index| index != NONE);
        let index = index.ok_or(CompileError::TooLarge {
            what: "the tensor table",
            bytes: 1 << 16,
        })?;
        let offset = self.storage_of[&tensor] as u32;
        self.tensors.push(TensorRecord {
            offset,
            shape,
            scale,
            zero_point,
            region: 0,
        });
        self.record_of.insert((tensor, shape), index);
        Ok(index)
    }

    fn lower_op(&mut self, index: usize, op: &Op) -> Result<(), CompileError> {
        let graph = self.graph;
        let input = graph.tensor(op.inputs[0]);
        let output = graph.tensor(op.output);
        let mut record = OpRecord {
            code: OpCode::Conv2d,
            flags: 0,
            inputs: [self.record(op.inputs[0])?, NONE],
            output: self.record(op.output)?,
            clamp: [i8::MIN, i8::MAX],
            scratch_offset: 0,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
            weights_offset: 0,
            channels_offset: 0,
        };
        match op.kind {
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
                record.inputs[0] = self.record_as(op.inputs[0], [1, 1, 1, inputs])?;
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
                record.code = OpCode::Add;
                record.inputs[1] = self.record(op.inputs[1])?;
                record.clamp = clamp(activation, output);
                let (second, _) = quantization(graph.tensor(op.inputs[1]));
                let numbers =
                    constants::add_numbers(quantization(input).0, second, quantization(output).0);
                let numbers = numbers.ok_or(CompileError::Scales {
                    op: index,
                    kind: op.kind.name(),
                })?;
                record.channels_offset = self.constants.put_numbers(&numbers);
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
            _ => {
                return Err(CompileError::NoKernel {
                    op: index,
                    kind: op.kind.name(),
                });
            }
        }
        let [reads, makes] =
            [record.inputs[0], record.output].map(|index| self.tensors[usize::from(index)].shape);
        let scratch_bytes = record.scratch_bytes(reads, makes);
        let scratch = (scratch_bytes > 0).then(|| {
            let step = index as u32 + 1;
            let name = format!("scratch of {}", output.name);
            let bytes = u32::try_from(scratch_bytes).unwrap_or(u32::MAX);
            self.storages.push(Storage {
                name,
                lifetime: Lifetime {
                    bytes,
                    first: step,
                    last: step,
                },
            });
            self.storages.len() - 1
        });
        self.find_overlaps(&record, op, index as u32 + 1);
        self.ops.push((record, scratch));
        Ok(())
    }

    /// Notes how far the op may write over the inputs that it reads for the last time.
    fn find_overlaps(&mut self, record: &OpRecord, op: &Op, step: u32) {
        let output = self.storage_of[&op.output];
        let inputs = op.inputs.iter().filter_map(|id| self.storage_of.get(id));
        let mut inputs: Vec<usize> = inputs.copied().collect();
        inputs.dedup();
        for input in inputs {
            let [read, made] = [input, output].map(|storage| self.storages[storage].lifetime);
            if input == output || read.last != step || made.first != step {
                continue;
            }
            let (below, above) = (-i64::from(made.bytes), i64::from(read.bytes));
            let [reads, makes] = [record.inputs[0], record.output]
                .map(|index| self.tensors[usize::from(index)].shape);
            let forbidden = match record.code {
                OpCode::Add | OpCode::Softmax | OpCode::Lookup => vec![(below, 0), (0, above)],
                _ => match record.overlap_lead(reads, makes) {
                    Some(lead) => vec![(lead.clamp(below, above), above)],
                    None => continue,
                },
            };
            self.overlaps.push(Overlap {
                input,
                output,
                step,
                forbidden,
            });
        }
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
        let is_dense = matches!(op.kind, OpKind::Dense(_));
        let channels = Channels::of(graph, op, sums);
        record.flags = channels.flags;
        record.clamp = clamp(conv.activation, output);
        record.stride = conv.stride;
        record.dilation = conv.dilation;
        if !is_dense {
            record.pad = pads(conv.padding, record, input);
        }
        let bytes = self.filter_bytes(record, filter);
        record.weights_offset = self.constants.put_array(&bytes);
        record.channels_offset = self.constants.put_channels(&channels);
    }

    /// A filter as the plan lays it out; `filter` has one row for each output of a convolution, or
    /// one for each tap of a depthwise one.
    fn filter_bytes(&self, record: &OpRecord, filter: &[i8]) -> Vec<u8> {
        let [reads, makes] =
            [record.inputs[0], record.output].map(|index| self.tensors[usize::from(index)].shape);
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
