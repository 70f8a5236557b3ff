//! Ops whose places are numbers: joins, rearrangements, functions of two values, reductions.

use tinyops_model::graph::{Data, Op, OpKind, Reduction, Tensor, Unary};
use tinyops_nn::Multiplier;
use tinyops_nn::lookup;
use tinyops_nn::record::{BinaryFunction, FLAG_FILL, OpCode, OpRecord, ReduceFunction};

use super::{Lowering, clamp, places};
use crate::compiled::CompileError;
use crate::constants::{self, filter_values, quantization};

impl Lowering<'_> {
    /// Lowers an op of one of these kinds into its record, and what goes before into records of
    /// its own.
    pub(super) fn lower_general(
        &mut self,
        record: &mut OpRecord,
        op: &Op,
        index: usize,
    ) -> Result<(), CompileError> {
        let graph = self.graph;
        let (input, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
        let scales = || CompileError::Scales {
            op: index,
            kind: op.kind.name(),
        };
        match op.kind {
            OpKind::Unary(unary) => {
                let (from, to) = (quantization(input), quantization(output));
                let table = match unary {
                    Unary::Tanh => lookup::tanh(from.0, from.1),
                    Unary::LeakyRelu { alpha } => lookup::leaky_relu(from, to, alpha),
                    Unary::HardSwish => lookup::hard_swish(from, to).ok_or_else(scales)?,
                    Unary::Abs => lookup::abs(from, to),
                    Unary::Rsqrt => lookup::rsqrt(from, to),
                    Unary::Elu => lookup::elu(from, to),
                    Unary::Exp => lookup::exp(from, to),
                    Unary::Log => lookup::log(from, to),
                    Unary::Gelu { approximate } => lookup::gelu(from, to, approximate),
                    Unary::Clip { least, greatest } => {
                        let end = |real: i8| tinyops_nn::quantize(f32::from(real), to.0, to.1);
                        lookup::rescale(from, to, [end(least), end(greatest)])
                    }
                    _ => return Err(no_kernel(op, index)),
                };
                self.lower_table(record, &table);
            }
            OpKind::Binary {
                function,
                activation,
            } => {
                let numbers = self.binary_numbers(op, function).ok_or_else(scales)?;
                record.code = OpCode::Binary;
                record.clamp = clamp(activation, output);
                let second = graph.tensor(op.inputs[1]);
                if second.data.is_some() {
                    let values = filter_values(second).iter().map(|&value| value as u8);
                    record.weights_offset = self.constants.put_array(&values.collect::<Vec<u8>>());
                } else {
                    record.inputs[1] = self.record(op.inputs[1])?;
                }
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            OpKind::Concat { outer } => {
                let places = |tensor: &Tensor| super::elements(tensor) / u64::from(outer);
                let whole = places(output) as i32;
                let mut start = 0;
                let last = op.inputs.len() - 1;
                for (number, &id) in op.inputs.iter().enumerate() {
                    let inner = places(graph.tensor(id)) as i32;
                    let parts = self.concat_numbers(outer, whole, start, inner);
                    start += inner;
                    for (part, numbers) in parts.iter().enumerate() {
                        let mut one = *record;
                        one.code = OpCode::Copy;
                        one.inputs[0] = self.record(id)?;
                        one.channels_offset = self.constants.put_numbers(numbers);
                        if number == last && part + 1 == parts.len() {
                            *record = one;
                        } else {
                            self.ops.push((one, None));
                        }
                    }
                }
            }
            OpKind::Normalize => {
                record.code = OpCode::Normalize;
                let (_, zero_point) = quantization(input);
                record.channels_offset = self.constants.put_numbers(&[i32::from(zero_point)]);
            }
            OpKind::Svdf(svdf) => self.lower_svdf(record, op, &svdf)?,
            OpKind::Lstm(lstm) => self.lower_lstm(record, op, &lstm)?,
            OpKind::Table => {
                let values = filter_values(graph.tensor(op.inputs[1]));
                let entry = |at: usize| values.get(at).map_or(0, |&value| value as u8);
                self.lower_table(record, &std::array::from_fn(entry));
            }
            OpKind::Product(product) => {
                let second = graph.tensor(op.inputs[1]);
                record.code = OpCode::Product;
                if second.data.is_some() {
                    let values = filter_values(second).iter().map(|&value| value as u8);
                    record.weights_offset = self.constants.put_array(&values.collect::<Vec<u8>>());
                } else {
                    record.inputs[1] = self.record(op.inputs[1])?;
                }
                let [(a, zero_a), (b, zero_b)] = [input, second].map(quantization);
                // TFLM, `GetQuantizedConvolutionMultipler`: the product in single precision.
                let real = f64::from(a * b) / f64::from(quantization(output).0);
                let multiplier = Multiplier::from_real(real);
                let mut numbers = vec![
                    i32::from(zero_a),
                    i32::from(zero_b),
                    multiplier.value,
                    i32::from(multiplier.shift),
                ];
                numbers.extend(product.counts.map(i32::from));
                let steps = product.first.into_iter().chain(product.second);
                numbers.extend(steps.map(|step| step as i32));
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            OpKind::Extreme { greatest, lens } => {
                record.code = OpCode::Extreme;
                let [before, places, after] = lens.map(|len| len as i32);
                let numbers = [
                    i32::from(!greatest),
                    before,
                    places * after,
                    after,
                    1,
                    places,
                    after,
                ];
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            OpKind::Rearrange { fill } => {
                let places = match &graph.tensor(op.inputs[1]).data {
                    Some(Data::Int32(places)) => places,
                    _ => return Err(no_kernel(op, index)),
                };
                let copies = places::copies(places, output.shape);
                let copies = copies.ok_or_else(|| no_kernel(op, index))?;
                record.code = OpCode::Copy;
                for (number, numbers) in copies.all.iter().enumerate() {
                    let mut one = *record;
                    if number == 0 && !copies.are_whole {
                        one.flags = FLAG_FILL;
                        one.clamp = [fill as i8, i8::MAX];
                    }
                    one.channels_offset = self.constants.put_numbers(numbers);
                    if number + 1 == copies.all.len() {
                        *record = one;
                    } else {
                        self.ops.push((one, None));
                    }
                }
            }
            OpKind::Reduce { function, axes } => {
                record.code = OpCode::Reduce;
                let numbers = reduce_numbers(function, axes, input, output);
                let numbers = numbers.ok_or_else(|| no_kernel(op, index))?;
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            OpKind::ResizeBilinear {
                align_corners,
                half_pixel,
            } => {
                record.code = OpCode::ResizeBilinear;
                let step = |axis: usize| {
                    let [from, to] =
                        [input, output].map(|tensor| i64::from(tensor.shape[axis + 1]));
                    let [from, to] = if align_corners && to > 1 {
                        [from - 1, to - 1]
                    } else {
                        [from, to]
                    };
                    ((1024 * from + to / 2) / to) as i32
                };
                let numbers = [step(0), step(1), i32::from(half_pixel)];
                record.channels_offset = self.constants.put_numbers(&numbers);
            }
            _ => return Err(no_kernel(op, index)),
        }
        Ok(())
    }

    /// The numbers of copies that put `inner` values after `start` in each of the parts; a plan
    /// counts in 16 bits, so long runs go in rows.
    pub(super) fn concat_numbers(
        &self,
        outer: u32,
        whole: i32,
        start: i32,
        inner: i32,
    ) -> Vec<Vec<i32>> {
        const RUN: i32 = 1 << 15;
        let outer = outer as i32;
        let parts_at_once = |from: i32| (outer - from).min(RUN);
        let mut all = Vec::new();
        for from in (0..outer).step_by(RUN as usize) {
            let parts = parts_at_once(from);
            let mut put = |at: i32, rows: i32, run: i32| {
                all.push(vec![
                    from * inner + at,
                    from * whole + start + at,
                    parts,
                    whole,
                    inner,
                    rows,
                    run,
                    run,
                    run,
                    1,
                    1,
                ]);
            };
            let rows = inner / RUN;
            if rows > 0 {
                put(0, rows, RUN);
            }
            if inner % RUN > 0 {
                put(rows * RUN, 1, inner % RUN);
            }
        }
        all
    }

    /// The numbers of a function of two values; `None` if the scales are too far apart.
    ///
    /// # Source
    /// TFLM, `CalculateOpDataAdd`, `CalculateOpDataSub`, `CalculateOpDataMul`,
    /// `CalculatePreluParams`.
    pub(super) fn binary_numbers(&self, op: &Op, function: BinaryFunction) -> Option<Vec<i32>> {
        let graph = self.graph;
        let [first, second] = [0, 1].map(|operand| graph.tensor(op.inputs[operand]));
        let output = graph.tensor(op.output);
        let [(a, zero_a), (b, zero_b), (out, _)] = [first, second, output].map(quantization);
        let [wide_a, wide_b, wide_out] = [a, b, out].map(f64::from);
        let exact = |real: f64| {
            let multiplier = Multiplier::from_real(real);
            [multiplier.value, i32::from(multiplier.shift)]
        };
        let multipliers = match function {
            BinaryFunction::Add | BinaryFunction::Subtract | BinaryFunction::SubtractFrom => {
                constants::add_numbers(a, b, out)?
            }
            BinaryFunction::Multiply => {
                let one = exact(wide_a * wide_b / wide_out);
                [one[0], one[1], 0, 0, 0, 0]
            }
            BinaryFunction::Prelu => {
                let [one, two] = [exact(wide_a / wide_out), exact(wide_a * wide_b / wide_out)];
                [one[0], one[1], two[0], two[1], 0, 0]
            }
            BinaryFunction::Maximum | BinaryFunction::Minimum => [0; 6],
            BinaryFunction::SquaredDifference => {
                let twice = 2.0 * f64::from(a.max(b));
                let [one, two] = [exact(wide_a / twice), exact(wide_b / twice)];
                let three = exact(twice * twice / (f64::from(1 << 14) * wide_out));
                [one[0], one[1], two[0], two[1], three[0], three[1]]
            }
        };
        let mut numbers = vec![function as i32, i32::from(zero_a), i32::from(zero_b)];
        numbers.extend(multipliers);
        for operand in [first, second] {
            let [_, height, width, channels] = operand.shape.map(i32::from);
            let step = |len: i32, step: i32| if len == 1 { 0 } else { step };
            numbers.extend([
                step(height, width * channels),
                step(width, channels),
                step(channels, 1),
            ]);
        }
        Some(numbers)
    }
}

pub(super) fn no_kernel(op: &Op, index: usize) -> CompileError {
    CompileError::NoKernel {
        op: index,
        kind: op.kind.name(),
    }
}

pub(super) fn reduce_numbers(
    function: Reduction,
    axes: [bool; 3],
    input: &Tensor,
    output: &Tensor,
) -> Option<Vec<i32>> {
    let [_, height, width, channels] = input.shape.map(i32::from);
    let lens = [height, width, channels];
    let count: i64 = lens
        .iter()
        .zip(axes)
        .map(|(&len, gone)| if gone { i64::from(len) } else { 1 })
        .product();
    let (from, to) = (quantization(input), quantization(output));
    let (code, sum) = match function {
        Reduction::Mean => (
            ReduceFunction::Sum,
            constants::mean_numbers(from, to, u32::try_from(count).ok()?),
        ),
        Reduction::Sum => {
            let multiplier = Multiplier::from_real(f64::from(from.0) / f64::from(to.0));
            let bias = (count * -i64::from(from.1)) as i32;
            (
                ReduceFunction::Sum,
                [bias, multiplier.value, i32::from(multiplier.shift)],
            )
        }
        Reduction::Maximum => (ReduceFunction::Maximum, [0; 3]),
        Reduction::Minimum => (ReduceFunction::Minimum, [0; 3]),
        _ => return None,
    };
    let mut numbers = vec![code as i32];
    numbers.extend(sum);
    let steps = [width * channels, channels, 1];
    for goes in [false, true] {
        for axis in 0..3 {
            let here = axes[axis] == goes;
            numbers.extend([if here { lens[axis] } else { 1 }, steps[axis]]);
        }
    }
    Some(numbers)
}
