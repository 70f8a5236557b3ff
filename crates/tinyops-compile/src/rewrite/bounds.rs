//! What values each element of each activation can take, whatever the input.

use std::collections::HashMap;

use tinyops_model::graph::{Data, Graph, Op, OpKind, Padding, Tensor, TensorId};
use tinyops_nn::{Multiplier, lookup};

use crate::constants::{Channels, add_numbers, filter_values, mean_numbers, quantization};
use crate::geometry::Windows;
use crate::lower::clamp;

/// The least and the greatest value of each element of one tensor, in order of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) least: Vec<i8>,
    pub(crate) greatest: Vec<i8>,
}

impl Bounds {
    fn any(len: usize) -> Bounds {
        Bounds {
            least: vec![i8::MIN; len],
            greatest: vec![i8::MAX; len],
        }
    }

    /// The values of one channel at each pixel, if the input cannot change any of them.
    pub(crate) fn fixed(&self, channel: usize, channels: usize) -> Option<Vec<i8>> {
        let places = (channel..self.least.len()).step_by(channels);
        places
            .map(|at| (self.least[at] == self.greatest[at]).then_some(self.least[at]))
            .collect()
    }
}

/// The bounds of every activation and int8 constant, by tensor; those of other constants are empty.
///
/// Interval arithmetic over each element: the ends of an interval go through the very arithmetic
/// of the kernels, which never falls where its input rises. Where the 32-bit accumulator could
/// wrap, nothing is known.
pub(crate) fn bounds(graph: &Graph) -> Vec<Bounds> {
    let of_constant = |tensor: &Tensor| match &tensor.data {
        Some(Data::Int8(values)) => Bounds {
            least: values.clone(),
            greatest: values.clone(),
        },
        _ => Bounds::any(0),
    };
    let mut all: Vec<Bounds> = graph.tensors.iter().map(of_constant).collect();
    let states = graph.states.iter().map(|state| &state.before);
    for &input in graph.inputs.iter().chain(states) {
        all[input.0 as usize] = Bounds::any(len(graph.tensor(input)));
    }
    for op in &graph.ops {
        let made = of_op(graph, op, &all);
        let len = len(graph.tensor(op.output));
        // An op that this does not understand tells nothing.
        let is_whole = made.least.len() == len && made.greatest.len() == len;
        all[op.output.0 as usize] = if is_whole { made } else { Bounds::any(len) };
    }
    all
}

fn of_op(graph: &Graph, op: &Op, all: &[Bounds]) -> Bounds {
    let tensor = |id: TensorId| graph.tensor(id);
    let input = &all[op.inputs[0].0 as usize];
    let (source, output) = (tensor(op.inputs[0]), tensor(op.output));
    match op.kind {
        OpKind::Conv2d(_) | OpKind::Dense(_) => of_filter(graph, op, input, dot_products),
        OpKind::DepthwiseConv2d(_) => of_filter(graph, op, input, products_by_channel),
        OpKind::MaxPool2d(_) | OpKind::AveragePool2d(_) => of_pool(graph, op, input),
        OpKind::Mean => {
            let count = u32::from(source.shape[1]) * u32::from(source.shape[2]);
            let [bias, value, shift] =
                mean_numbers(quantization(source), quantization(output), count);
            let multiplier = Multiplier {
                value,
                shift: shift as i8,
            };
            let channels = usize::from(output.shape[3]);
            let sum_of = |values: &[i8]| -> Vec<Option<i32>> {
                let sum = |channel: usize| {
                    let values = values.iter().skip(channel).step_by(channels);
                    i64::from(bias) + values.map(|&value| i64::from(value)).sum::<i64>()
                };
                let rescaled = |channel| rescaled(multiplier, sum(channel));
                (0..channels).map(rescaled).collect()
            };
            let clamp = [i8::MIN, i8::MAX];
            finished(sum_of(&input.least), sum_of(&input.greatest), output, clamp)
        }
        OpKind::Add(activation) => {
            let second = &all[op.inputs[1].0 as usize];
            let tensors = [source, tensor(op.inputs[1]), output];
            let limits = clamp(activation, output);
            sums(tensors, input, second, limits).unwrap_or_else(|| Bounds::any(len(output)))
        }
        OpKind::Logistic => {
            let (scale, zero_point) = quantization(source);
            through_table(input, &lookup::logistic(scale, zero_point))
        }
        OpKind::Activate(activation) => {
            let limits = clamp(activation, output);
            let table = lookup::rescale(quantization(source), quantization(output), limits);
            through_table(input, &table)
        }
        OpKind::Reshape | OpKind::Constant => input.clone(),
        OpKind::Table => {
            let values = filter_values(tensor(op.inputs[1]));
            let entry = |at: usize| values.get(at).map_or(0, |&value| value as u8);
            through_table(input, &std::array::from_fn(entry))
        }
        OpKind::Pad(padding) => padded(padding, input, source, output),
        _ => Bounds::any(len(output)),
    }
}

/// The ends of the accumulators of one window, by output channel, without bias.
///
/// Takes twice the middle and twice the radius of each value under the window.
type Accumulate = fn(middles: &[i32], radii: &[i32], filter: &Filter<'_>) -> Vec<[i64; 2]>;

struct Filter<'g> {
    weights: &'g [i8],
    taps: usize,
    outputs: usize,
    channels: usize,
}

fn of_filter(graph: &Graph, op: &Op, input: &Bounds, accumulate: Accumulate) -> Bounds {
    let (source, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
    let weights = graph.tensor(op.inputs[1]);
    let (Some(windows), OpKind::Conv2d(_) | OpKind::DepthwiseConv2d(_) | OpKind::Dense(_)) =
        (Windows::of(graph, op), op.kind)
    else {
        return Bounds::any(len(output));
    };
    let filter = Filter {
        weights: filter_values(weights),
        taps: windows.taps(),
        outputs: usize::from(output.shape[3]),
        channels: usize::from(source.shape[3]),
    };
    let numbers = Channels::of(graph, op, &vec![0; filter.outputs]);
    let limits = match op.kind {
        OpKind::Conv2d(conv) | OpKind::DepthwiseConv2d(conv) => clamp(conv.activation, output),
        OpKind::Dense(activation) => clamp(activation, output),
        _ => [i8::MIN, i8::MAX],
    };
    let zero_point = i32::from(quantization(source).1);
    let finish = |values: Vec<i8>| -> Bounds {
        let (least, greatest) = values.split_at(values.len() / 2);
        let pairs = || {
            least
                .iter()
                .zip(greatest)
                .map(|(&a, &b)| [a, b].map(i32::from))
        };
        let middles: Vec<i32> = pairs().map(|[a, b]| a + b - 2 * zero_point).collect();
        let radii: Vec<i32> = pairs().map(|[a, b]| b - a).collect();
        let ends = accumulate(&middles, &radii, &filter);
        let results = |end: usize| {
            let rescale = |(channel, ends): (usize, &[i64; 2])| {
                let biased = i64::from(numbers.biases[channel]) + ends[end];
                rescaled(numbers.multiplier(channel), biased)
            };
            ends.iter().enumerate().map(rescale).collect()
        };
        finished(results(0), results(1), output, limits)
    };

    // Most windows see the same bounds, so each kind is computed once.
    let mut known: HashMap<Vec<i8>, Bounds> = HashMap::new();
    let mut bounds = Bounds::any(0);
    for pixel in windows.pixels() {
        let mut values = Vec::with_capacity(2 * filter.taps * filter.channels);
        for part in [&input.least, &input.greatest] {
            for place in windows.sources(pixel) {
                match place {
                    Some(at) => values.extend(&part[at * filter.channels..][..filter.channels]),
                    None => values.extend(std::iter::repeat_n(zero_point as i8, filter.channels)),
                }
            }
        }
        let of_pixel = known
            .entry(values)
            .or_insert_with_key(|values| finish(values.clone()));
        bounds.least.extend(&of_pixel.least);
        bounds.greatest.extend(&of_pixel.greatest);
    }
    bounds
}

fn dot_products(middles: &[i32], radii: &[i32], filter: &Filter<'_>) -> Vec<[i64; 2]> {
    // Sums of so many products of a weight and twice a difference stay within 32 bits.
    const PART: usize = 1 << 14;
    let row_len = filter.taps * filter.channels;
    let ends = |row: &[i8]| {
        let (mut middle, mut radius) = (0i64, 0i64);
        let parts = row.chunks(PART).zip(middles.chunks(PART));
        for ((weights, middles), radii) in parts.zip(radii.chunks(PART)) {
            let (mut part_middle, mut part_radius) = (0i32, 0i32);
            for ((&weight, &m), &r) in weights.iter().zip(middles).zip(radii) {
                part_middle += i32::from(weight) * m;
                part_radius += i32::from(weight).abs() * r;
            }
            middle += i64::from(part_middle);
            radius += i64::from(part_radius);
        }
        [(middle - radius) / 2, (middle + radius) / 2]
    };
    filter.weights.chunks_exact(row_len).map(ends).collect()
}

fn products_by_channel(middles: &[i32], radii: &[i32], filter: &Filter<'_>) -> Vec<[i64; 2]> {
    let multiplier = filter.outputs / filter.channels;
    let mut ends = vec![[0i64; 2]; filter.outputs];
    for (tap, weights) in filter.weights.chunks_exact(filter.outputs).enumerate() {
        for (output, &weight) in weights.iter().enumerate() {
            let at = tap * filter.channels + output / multiplier;
            let middle = i64::from(weight) * i64::from(middles[at]);
            let radius = i64::from(weight).abs() * i64::from(radii[at]);
            ends[output][0] += middle - radius;
            ends[output][1] += middle + radius;
        }
    }
    ends.into_iter()
        .map(|pair| pair.map(|end| end / 2))
        .collect()
}

fn of_pool(graph: &Graph, op: &Op, input: &Bounds) -> Bounds {
    let output = graph.tensor(op.output);
    let (Some(windows), OpKind::MaxPool2d(pool) | OpKind::AveragePool2d(pool)) =
        (Windows::of(graph, op), op.kind)
    else {
        return Bounds::any(len(output));
    };
    let is_max = matches!(op.kind, OpKind::MaxPool2d(_));
    let channels = usize::from(output.shape[3]);
    let [least, greatest] = clamp(pool.activation, output);
    let pooled = |part: &[i8]| -> Vec<i8> {
        let value = |pixel: [usize; 2], channel: usize| {
            let places = windows.sources(pixel).flatten();
            let values = places.map(|at| part[at * channels + channel]);
            let value = if is_max {
                values.max().unwrap_or(i8::MIN)
            } else {
                let (sum, count) = values.fold((0i64, 0i64), |(sum, count), value| {
                    (sum + i64::from(value), count + 1)
                });
                let half = if sum > 0 { count / 2 } else { -(count / 2) };
                ((sum + half) / count.max(1)) as i8
            };
            value.clamp(least, greatest.max(least))
        };
        windows
            .pixels()
            .flat_map(|pixel| (0..channels).map(move |channel| (pixel, channel)))
            .map(|(pixel, channel)| value(pixel, channel))
            .collect()
    };
    Bounds {
        least: pooled(&input.least),
        greatest: pooled(&input.greatest),
    }
}

fn sums(
    [first, second, output]: [&Tensor; 3],
    a: &Bounds,
    b: &Bounds,
    limits: [i8; 2],
) -> Option<Bounds> {
    let (a_scale, a_zero) = quantization(first);
    let (b_scale, b_zero) = quantization(second);
    let numbers = add_numbers(a_scale, b_scale, quantization(output).0)?;
    let multiplier = |index: usize| Multiplier {
        value: numbers[2 * index],
        shift: numbers[2 * index + 1] as i8,
    };
    let lifted = |value: i8, zero: i8| (i32::from(value) - i32::from(zero)) << 20;
    let sum = |(&a, &b): (&i8, &i8)| {
        let a = multiplier(0).apply(lifted(a, a_zero));
        let b = multiplier(1).apply(lifted(b, b_zero));
        rescaled(multiplier(2), i64::from(a) + i64::from(b))
    };
    let least = a.least.iter().zip(&b.least).map(sum).collect();
    let greatest = a.greatest.iter().zip(&b.greatest).map(sum).collect();
    Some(finished(least, greatest, output, limits))
}

fn through_table(input: &Bounds, table: &lookup::Table) -> Bounds {
    let value = |entry: i16| table[(entry + 128) as usize] as i8;
    let ends = |(&least, &greatest): (&i8, &i8)| {
        let entries = i16::from(least)..=i16::from(greatest);
        let values = entries.map(value);
        values.fold((i8::MAX, i8::MIN), |(a, b), value| {
            (a.min(value), b.max(value))
        })
    };
    let (least, greatest) = input.least.iter().zip(&input.greatest).map(ends).unzip();
    Bounds { least, greatest }
}

fn padded(padding: Padding, input: &Bounds, source: &Tensor, output: &Tensor) -> Bounds {
    let [_, height, width, channels] = source.shape.map(usize::from);
    let row_len = usize::from(output.shape[2]) * channels;
    let [top, left] = [0, 1].map(|axis| {
        let (before, _) = padding.around(axis, source.shape[axis + 1], 1, 1);
        before as usize
    });
    let around = |values: &[i8]| {
        let mut made = vec![quantization(source).1; len(output)];
        for y in 0..height {
            let line = &values[y * width * channels..][..width * channels];
            made[(top + y) * row_len + left * channels..][..line.len()].copy_from_slice(line);
        }
        made
    };
    Bounds {
        least: around(&input.least),
        greatest: around(&input.greatest),
    }
}

/// Rescales an accumulator as the kernels do; `None` if it does not hold in 32 bits on the way.
fn rescaled(multiplier: Multiplier, accumulator: i64) -> Option<i32> {
    let shifted = accumulator << multiplier.shift.max(0);
    i32::try_from(shifted).ok()?;
    Some(multiplier.apply(i32::try_from(accumulator).ok()?))
}

/// Adds the zero point and clamps; an end that is not known takes the other with it.
fn finished(
    least: Vec<Option<i32>>,
    greatest: Vec<Option<i32>>,
    output: &Tensor,
    limits: [i8; 2],
) -> Bounds {
    let zero_point = i32::from(quantization(output).1);
    let [low, high] = limits.map(i32::from);
    let end = |value: i32| {
        let value = value.saturating_add(zero_point);
        value.clamp(low, high.max(low)) as i8
    };
    let pair = |(least, greatest): (Option<i32>, Option<i32>)| match (least, greatest) {
        (Some(least), Some(greatest)) => (end(least), end(greatest)),
        _ => (limits[0], limits[1].max(limits[0])),
    };
    let (least, greatest) = least.into_iter().zip(greatest).map(pair).unzip();
    Bounds { least, greatest }
}

fn len(tensor: &Tensor) -> usize {
    tensor.shape.iter().map(|&dim| usize::from(dim)).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_model::{GraphBuilder, Quantization};

    #[test]
    fn the_ends_of_a_table_are_found_inside_it() {
        let mut table = [0u8; 256];
        table[130] = 7;
        table[131] = 0x80;
        let input = Bounds {
            least: vec![0],
            greatest: vec![5],
        };
        let through = through_table(&input, &table);
        assert_eq!((through.least[0], through.greatest[0]), (-128, 7));
    }

    #[test]
    fn an_accumulator_that_could_wrap_tells_nothing() {
        let mut builder = GraphBuilder::new();
        let quantization = Some(Quantization::per_tensor(0.1, 0));
        let input = builder.input([1, 1, 1, 2], quantization.clone());
        let weights = tinyops_model::build::Weights::int8(
            [1, 1, 1, 2],
            vec![1, 1],
            vec![0.1],
            vec![i32::MAX],
            0.1,
        );
        let output = builder.dense(input, weights, Default::default(), quantization);
        let graph = builder.finish(&[output]);
        let bounds = bounds(&graph);
        assert_eq!(bounds[output.0 as usize], Bounds::any(1));
    }
}
