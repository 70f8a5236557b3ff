//! A registered int8 network as one that can be trained, and back.

use tinyops_model::{
    Activation, Body, Data, Graph, Model, OpKind, Padding, Quantization, TensorId,
};

use super::hold::{Free, Grid, Held};
use crate::TrainError;
use crate::net::{AveragePool, Conv, Dense, Depthwise, Dims, Layer, MaxPool, Network, Param, Walk};
use crate::quantize::{per_tensor, round_weights};

/// The network of a model in real numbers, each exactly what the device has.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) net: Network,
    /// The layers with weights, first to last.
    pub(crate) layers: Vec<Weighted>,
    /// Least and greatest input that the int8 input can hold.
    pub(crate) input_range: [f32; 2],
}

/// A layer with weights: where it lies, and on which grid.
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    /// Among the layers of the network.
    pub(crate) index: usize,
    filter: TensorId,
    bias: TensorId,
    output: TensorId,
    filter_codes: Vec<i8>,
    bias_codes: Vec<i32>,
    /// One for each output channel.
    scales: Vec<f32>,
    input_scale: f32,
    /// The channel is the innermost index of a weight, not the outermost.
    channels_last: bool,
    /// What a number of this layer is multiplied by to mean what the model's does, and what a bias has added.
    unit: [f32; 2],
}

impl Weighted {
    fn channel(&self, index: usize) -> usize {
        let channels = self.scales.len();
        if self.channels_last {
            index % channels
        } else {
            index / (self.filter_codes.len() / channels)
        }
    }

    fn bias_step(&self, channel: usize) -> f64 {
        f64::from(self.input_scale) * f64::from(self.scales[channel])
    }

    /// How many numbers the layer has: weights, then biases.
    pub(crate) fn lens(&self) -> [usize; 2] {
        [self.filter_codes.len(), self.bias_codes.len()]
    }

    /// Weights and biases as real numbers.
    fn values(&self) -> [Vec<f32>; 2] {
        let [unit, added] = self.unit;
        let weights = self.filter_codes.iter().enumerate();
        let weights =
            weights.map(|(index, &code)| f32::from(code) * self.scales[self.channel(index)] / unit);
        let biases = self.bias_codes.iter().enumerate();
        let biases = biases.map(|(channel, &code)| {
            ((f64::from(code) * self.bias_step(channel)) as f32 - added) / unit
        });
        [weights.collect(), biases.collect()]
    }

    /// What a fine-tune may move of the layer's weights and biases.
    pub(crate) fn held(&self, free: [Free; 2], is_rounded: bool) -> [Held; 2] {
        let [weights, biases] = self.values();
        let grid = match is_rounded {
            false => Vec::new(),
            true => (0..weights.len())
                .map(|index| self.weight_grid(index))
                .collect(),
        };
        let [free_weights, free_biases] = free;
        // One step of a bias is far below one of what comes out: rounding it changes nothing in training.
        [
            Held::new(weights, free_weights, grid),
            Held::new(biases, free_biases, Vec::new()),
        ]
    }

    fn weight_grid(&self, index: usize) -> Grid {
        let code = i32::from(self.filter_codes[index]);
        Grid {
            step: self.scales[self.channel(index)] / self.unit[0],
            least: (-127 - code).min(0),
            most: 127 - code,
        }
    }

    /// How many steps of its grid each number has moved.
    pub(crate) fn moves(&self, [weights, biases]: [&[f32]; 2]) -> [Vec<i32>; 2] {
        let [start_weights, start_biases] = self.values();
        let weights = weights.iter().zip(&start_weights).enumerate();
        let weights =
            weights.map(|(index, (value, start))| self.weight_grid(index).steps(*start, *value));
        let biases = biases.iter().zip(&start_biases).enumerate();
        let biases = biases.map(|(channel, (value, start))| {
            let moved = f64::from(value - start) * f64::from(self.unit[0]);
            (moved / self.bias_step(channel)).round() as i32
        });
        [weights.collect(), biases.collect()]
    }
}

impl Start {
    /// Reads the network of a model; `value_scale` is mean and deviation of the targets, 0 and 1 for classes.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where the network is none that this crate trains.
    pub(crate) fn of(model: &Model, value_scale: [f32; 2]) -> Result<Self, TrainError> {
        let Body::Network(graph) = &model.body else {
            return Err(refused("its body is no network of layers"));
        };
        let [mut tensor] = graph.inputs[..] else {
            return Err(refused("its network has several inputs"));
        };
        let input = quantization(graph, tensor)?;
        let at = |code: i16| input.scale() * f32::from(code - i16::from(input.zero_point));
        let input_range = [at(-128), at(127)];
        let mut net = Network::new(dims(graph.tensor(tensor).shape));
        let mut layers: Vec<Weighted> = Vec::new();
        for (place, op) in graph.ops.iter().enumerate() {
            let name = op.kind.name();
            if op.inputs.first() != Some(&tensor) {
                return Err(refused(&format!(
                    "op {place} `{name}` does not follow the one before it"
                )));
            }
            let activation = match op.kind {
                OpKind::Conv2d(conv) if conv.dilation == [1, 1] => {
                    let layer = weighted(graph, op, net.layers.len(), false)?;
                    let [weights, bias] = params(&layer);
                    let walk = walk(graph.tensor(layer.filter).shape, conv.stride, conv.padding)?;
                    net.push(Layer::Conv(Conv::holding(
                        dims(graph.tensor(tensor).shape),
                        layer.scales.len(),
                        walk,
                        weights,
                        bias,
                    )));
                    layers.push(layer);
                    conv.activation
                }
                OpKind::DepthwiseConv2d(conv) if conv.dilation == [1, 1] => {
                    let layer = weighted(graph, op, net.layers.len(), true)?;
                    let input = dims(graph.tensor(tensor).shape);
                    if input.channels != layer.scales.len() {
                        return Err(refused(&format!("op {place} `{name}` multiplies channels")));
                    }
                    let [weights, bias] = params(&layer);
                    let walk = walk(graph.tensor(layer.filter).shape, conv.stride, conv.padding)?;
                    net.push(Layer::Depthwise(Depthwise::holding(
                        input, walk, weights, bias,
                    )));
                    layers.push(layer);
                    conv.activation
                }
                OpKind::Dense(activation) => {
                    let layer = weighted(graph, op, net.layers.len(), false)?;
                    let [weights, bias] = params(&layer);
                    let inputs = net.output().len();
                    net.push(Layer::Dense(Dense::holding(
                        inputs,
                        layer.scales.len(),
                        weights,
                        bias,
                    )));
                    layers.push(layer);
                    activation
                }
                OpKind::MaxPool2d(pool) => {
                    let input = dims(graph.tensor(tensor).shape);
                    let walk = window(pool.window, pool.stride, pool.padding)?;
                    net.push(Layer::MaxPool(MaxPool::new(input, walk)));
                    pool.activation
                }
                OpKind::AveragePool2d(pool) => {
                    let input = dims(graph.tensor(tensor).shape);
                    let walk = window(pool.window, pool.stride, pool.padding)?;
                    net.push(Layer::AveragePool(AveragePool::new(input, walk)));
                    pool.activation
                }
                OpKind::Mean => {
                    let input = dims(graph.tensor(tensor).shape);
                    net.push(Layer::AveragePool(AveragePool::global(input)));
                    Activation::None
                }
                OpKind::Activate(activation) => activation,
                OpKind::Reshape => Activation::None,
                OpKind::Softmax { .. } if place + 1 == graph.ops.len() => Activation::None,
                _ => return Err(refused(&format!("op {place} is `{name}`"))),
            };
            match activation {
                Activation::None => {}
                Activation::Relu => {
                    net.push(Layer::Relu);
                }
                Activation::Relu6 => {
                    return Err(refused(&format!("op {place} `{name}` ends in RELU6")));
                }
            }
            tensor = op.output;
        }
        let Some(last) = layers.last_mut() else {
            return Err(refused("its network has no weights"));
        };
        let [mean, deviation] = value_scale;
        last.unit = [deviation, mean];
        let mut start = Self {
            net,
            layers,
            input_range,
        };
        start.settle();
        Ok(start)
    }

    /// Puts the last layer into the unit that training uses.
    fn settle(&mut self) {
        let values: Vec<[Vec<f32>; 2]> = self.layers.iter().map(Weighted::values).collect();
        for (param, value) in self.net.params_mut().zip(values.into_iter().flatten()) {
            param.value = value;
        }
    }

    /// The model with so many steps more on every number: weights, then biases, layer after layer.
    pub(crate) fn moved(&self, model: &Model, moves: &[Vec<i32>]) -> Model {
        let mut model = model.clone();
        let Body::Network(graph) = &mut model.body else {
            return model;
        };
        for (layer, moves) in self.layers.iter().zip(moves.chunks_exact(2)) {
            let filter = layer.filter_codes.iter().zip(&moves[0]);
            let filter = filter.map(|(&code, &steps)| (i32::from(code) + steps) as i8);
            graph.tensors[layer.filter.0 as usize].data = Some(Data::Int8(filter.collect()));
            let bias = layer.bias_codes.iter().zip(&moves[1]);
            let bias = bias.map(|(&code, &steps)| code.saturating_add(steps));
            graph.tensors[layer.bias.0 as usize].data = Some(Data::Int32(bias.collect()));
        }
        model
    }

    /// The model with a last layer on scales of its own: that of `net`, whose outputs on calibration windows these are.
    pub(crate) fn rescaled_last(
        &self,
        model: &Model,
        net: &Network,
        outputs: &[f32],
        range: crate::Range,
    ) -> Model {
        let mut model = model.clone();
        let (Body::Network(graph), Some(layer)) = (&mut model.body, self.layers.last()) else {
            return model;
        };
        let Some(Layer::Dense(dense)) = net.layers.get(layer.index) else {
            return model;
        };
        let [unit, added] = layer.unit;
        let weights: Vec<f32> = dense.weights.value.iter().map(|w| w * unit).collect();
        let bias: Vec<f32> = dense.bias.value.iter().map(|b| b * unit + added).collect();
        let outputs: Vec<f32> = outputs.iter().map(|y| y * unit + added).collect();
        let rounded = round_weights(&weights, &bias, layer.input_scale, false);
        let bias_scales = rounded
            .scales
            .iter()
            .map(|s| s * layer.input_scale)
            .collect();
        let mut put = |id: TensorId, data: Option<Data>, quantization: Quantization| {
            let tensor = &mut graph.tensors[id.0 as usize];
            tensor.data = data;
            tensor.quantization = Some(quantization);
        };
        let filter = Some(Data::Int8(rounded.filter));
        put(
            layer.filter,
            filter,
            Quantization::per_channel(rounded.scales),
        );
        let bias = Some(Data::Int32(rounded.bias));
        put(layer.bias, bias, Quantization::per_channel(bias_scales));
        put(layer.output, None, per_tensor(&outputs, range));
        model
    }

    /// A trained network in the units of the model.
    pub(crate) fn in_units(&self, mut net: Network) -> Network {
        if let Some(layer) = self.layers.last()
            && let Some(Layer::Dense(dense)) = net.layers.get_mut(layer.index)
        {
            let [unit, added] = layer.unit;
            dense.weights.value.iter_mut().for_each(|w| *w *= unit);
            dense
                .bias
                .value
                .iter_mut()
                .for_each(|b| *b = *b * unit + added);
        }
        net
    }
}

fn weighted(
    graph: &Graph,
    op: &tinyops_model::Op,
    index: usize,
    channels_last: bool,
) -> Result<Weighted, TrainError> {
    let none = || refused("a layer has no int8 weights, or no biases");
    let &[input, filter, bias] = &op.inputs[..] else {
        return Err(none());
    };
    let (filters, biases) = (graph.tensor(filter), graph.tensor(bias));
    let (Some(Data::Int8(filter_codes)), Some(Data::Int32(bias_codes))) =
        (&filters.data, &biases.data)
    else {
        return Err(none());
    };
    let of_filter = quantization(graph, filter)?;
    let channels = bias_codes.len();
    let scales = match of_filter.scales.len() {
        1 => vec![of_filter.scale(); channels],
        _ => of_filter.scales.clone(),
    };
    if channels == 0 || scales.len() != channels || !filter_codes.len().is_multiple_of(channels) {
        return Err(none());
    }
    Ok(Weighted {
        index,
        filter,
        bias,
        output: op.output,
        filter_codes: filter_codes.clone(),
        bias_codes: bias_codes.clone(),
        scales,
        input_scale: quantization(graph, input)?.scale(),
        channels_last,
        unit: [1.0, 0.0],
    })
}

fn params(layer: &Weighted) -> [Param; 2] {
    let [weights, biases] = layer.values();
    [
        Param::holding(weights, false),
        Param::holding(biases, false),
    ]
}

fn quantization(graph: &Graph, tensor: TensorId) -> Result<&Quantization, TrainError> {
    let quantization = graph.tensor(tensor).quantization.as_ref();
    let usable = |q: &&Quantization| {
        q.scales
            .iter()
            .all(|&scale| scale > 0.0 && scale.is_finite())
    };
    quantization
        .filter(usable)
        .ok_or_else(|| refused("a tensor has no scale"))
}

fn dims([_, height, width, channels]: [u16; 4]) -> Dims {
    Dims {
        height: height.into(),
        width: width.into(),
        channels: channels.into(),
    }
}

fn walk(filter: [u16; 4], stride: [u8; 2], padding: Padding) -> Result<Walk, TrainError> {
    window([filter[1], filter[2]], stride, padding)
}

fn window(kernel: [u16; 2], stride: [u8; 2], padding: Padding) -> Result<Walk, TrainError> {
    let padded = match padding {
        Padding::Same => true,
        Padding::Valid => false,
        Padding::Explicit { .. } => return Err(refused("a layer has a padding of its own")),
    };
    Ok(Walk {
        kernel: kernel.map(usize::from),
        stride: stride.map(usize::from),
        padded,
    })
}

fn refused(why: &str) -> TrainError {
    TrainError::Mismatch(format!("the model cannot be fine-tuned: {why}"))
}
