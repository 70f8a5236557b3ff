//! Builds a graph op by op, with shapes worked out on the way.

use crate::graph::{
    Activation, Conv, Data, Graph, Op, OpKind, Padding, Pool, Quantization, Tensor, TensorId,
};

/// Builds a graph in the order of execution; each method adds one op and returns its result.
///
/// The shapes of results follow from inputs and constants, scales are the caller's (`None` for a
/// graph of real numbers). [`GraphBuilder::finish`] sets the outputs; [`Graph::check`] tells what
/// does not hold together.
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    graph: Graph,
}

/// A filter and its bias, as numbers with their scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Shape of the filter, as told at [`OpKind`].
    pub shape: [u16; 4],
    /// The filter's numbers.
    pub filter: Data,
    /// The filter's scales, one for each output channel or one for all.
    pub filter_quantization: Option<Quantization>,
    /// The bias's numbers.
    pub bias: Option<Data>,
    /// The bias's scales: input scale times filter scale.
    pub bias_quantization: Option<Quantization>,
}

impl Weights {
    /// Int8 weights: bias scales follow from the input's scale.
    #[must_use]
    pub fn int8(
        shape: [u16; 4],
        filter: Vec<i8>,
        scales: Vec<f32>,
        bias: Vec<i32>,
        input_scale: f32,
    ) -> Weights {
        let bias_scales = scales.iter().map(|scale| scale * input_scale).collect();
        Weights {
            shape,
            filter: Data::Int8(filter),
            filter_quantization: Some(Quantization::per_channel(scales)),
            bias: Some(Data::Int32(bias)),
            bias_quantization: Some(Quantization::per_channel(bias_scales)),
        }
    }

    /// Real weights.
    #[must_use]
    pub fn float(shape: [u16; 4], filter: Vec<f32>, bias: Vec<f32>) -> Weights {
        Weights {
            shape,
            filter: Data::Float32(filter),
            filter_quantization: None,
            bias: Some(Data::Float32(bias)),
            bias_quantization: None,
        }
    }
}

impl GraphBuilder {
    /// An empty graph.
    #[must_use]
    pub fn new() -> GraphBuilder {
        GraphBuilder::default()
    }

    /// Adds an input `[1, height, width, channels]`.
    pub fn input(&mut self, shape: [u16; 4], quantization: Option<Quantization>) -> TensorId {
        let input = self.tensor("input", shape, quantization, None);
        self.graph.inputs.push(input);
        input
    }

    /// Adds a convolution.
    pub fn conv2d(
        &mut self,
        input: TensorId,
        weights: Weights,
        conv: Conv,
        quantization: Option<Quantization>,
    ) -> TensorId {
        let [outputs, height, width, _] = weights.shape;
        let shape = self.convolved(input, &conv, [height, width], outputs);
        self.weighted(OpKind::Conv2d(conv), input, weights, shape, quantization)
    }

    /// Adds a depthwise convolution.
    pub fn depthwise_conv2d(
        &mut self,
        input: TensorId,
        weights: Weights,
        conv: Conv,
        quantization: Option<Quantization>,
    ) -> TensorId {
        let [_, height, width, outputs] = weights.shape;
        let shape = self.convolved(input, &conv, [height, width], outputs);
        self.weighted(
            OpKind::DepthwiseConv2d(conv),
            input,
            weights,
            shape,
            quantization,
        )
    }

    /// Adds a dense layer over all values of its input.
    pub fn dense(
        &mut self,
        input: TensorId,
        weights: Weights,
        activation: Activation,
        quantization: Option<Quantization>,
    ) -> TensorId {
        let shape = [1, 1, 1, weights.shape[0]];
        self.weighted(
            OpKind::Dense(activation),
            input,
            weights,
            shape,
            quantization,
        )
    }

    /// Adds max pooling; the result keeps the input's scale.
    pub fn max_pool2d(&mut self, input: TensorId, pool: Pool) -> TensorId {
        let shape = self.pooled(input, &pool);
        let quantization = self.quantization(input);
        self.push(OpKind::MaxPool2d(pool), vec![input], shape, quantization)
    }

    /// Adds average pooling; the result keeps the input's scale.
    pub fn average_pool2d(&mut self, input: TensorId, pool: Pool) -> TensorId {
        let shape = self.pooled(input, &pool);
        let quantization = self.quantization(input);
        self.push(
            OpKind::AveragePool2d(pool),
            vec![input],
            shape,
            quantization,
        )
    }

    /// Adds the mean over height and width.
    pub fn mean(&mut self, input: TensorId, quantization: Option<Quantization>) -> TensorId {
        let channels = self.graph.tensor(input).shape[3];
        self.push(OpKind::Mean, vec![input], [1, 1, 1, channels], quantization)
    }

    /// Adds the sum of two tensors.
    pub fn add(
        &mut self,
        first: TensorId,
        second: TensorId,
        activation: Activation,
        quantization: Option<Quantization>,
    ) -> TensorId {
        let shape = self.graph.tensor(first).shape;
        self.push(
            OpKind::Add(activation),
            vec![first, second],
            shape,
            quantization,
        )
    }

    /// Adds a softmax over the channels, to scale 1/256 and zero point -128 where quantized.
    pub fn softmax(&mut self, input: TensorId) -> TensorId {
        self.probability(OpKind::Softmax { beta: 1.0 }, input)
    }

    /// Adds a logistic function, to scale 1/256 and zero point -128 where quantized.
    pub fn logistic(&mut self, input: TensorId) -> TensorId {
        self.probability(OpKind::Logistic, input)
    }

    /// Adds an activation that stands alone, or a change of scale.
    pub fn activate(
        &mut self,
        input: TensorId,
        activation: Activation,
        quantization: Option<Quantization>,
    ) -> TensorId {
        let shape = self.graph.tensor(input).shape;
        self.push(
            OpKind::Activate(activation),
            vec![input],
            shape,
            quantization,
        )
    }

    /// Adds another shape for the same values.
    pub fn reshape(&mut self, input: TensorId, shape: [u16; 4]) -> TensorId {
        let quantization = self.quantization(input);
        self.push(OpKind::Reshape, vec![input], shape, quantization)
    }

    /// Adds zeros around height and width.
    pub fn pad(&mut self, input: TensorId, padding: Padding) -> TensorId {
        let quantization = self.quantization(input);
        let [_, height, width, channels] = self.graph.tensor(input).shape;
        let padded = |axis: usize, len: u16| {
            let (before, after) = padding.around(axis, len, 1, 1);
            saturating_u16(u32::from(len) + before + after)
        };
        let shape = [1, padded(0, height), padded(1, width), channels];
        self.push(OpKind::Pad(padding), vec![input], shape, quantization)
    }

    /// Names the tensor that learning on the device reads: the input of the last dense layer.
    pub fn embedding(&mut self, tensor: TensorId) {
        self.graph.embedding = Some(tensor);
    }

    /// The shape of a tensor so far.
    #[must_use]
    pub fn shape(&self, tensor: TensorId) -> [u16; 4] {
        self.graph.tensor(tensor).shape
    }

    /// The scale and zero point of a tensor so far.
    #[must_use]
    pub fn quantization(&self, tensor: TensorId) -> Option<Quantization> {
        self.graph.tensor(tensor).quantization.clone()
    }

    /// Names a tensor, for people.
    pub fn name(&mut self, tensor: TensorId, name: &str) {
        name.clone_into(&mut self.graph.tensors[tensor.0 as usize].name);
    }

    /// The graph with these outputs.
    #[must_use]
    pub fn finish(mut self, outputs: &[TensorId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }

    fn weighted(
        &mut self,
        kind: OpKind,
        input: TensorId,
        weights: Weights,
        shape: [u16; 4],
        quantization: Option<Quantization>,
    ) -> TensorId {
        let outputs = shape[3];
        let mut inputs = vec![input];
        inputs.push(self.tensor(
            "filter",
            weights.shape,
            weights.filter_quantization,
            Some(weights.filter),
        ));
        if let Some(bias) = weights.bias {
            let shape = [1, 1, 1, outputs];
            inputs.push(self.tensor("bias", shape, weights.bias_quantization, Some(bias)));
        }
        self.push(kind, inputs, shape, quantization)
    }

    fn probability(&mut self, kind: OpKind, input: TensorId) -> TensorId {
        let tensor = self.graph.tensor(input);
        let shape = tensor.shape;
        let quantization = tensor
            .quantization
            .as_ref()
            .map(|_| Quantization::per_tensor(1.0 / 256.0, -128));
        self.push(kind, vec![input], shape, quantization)
    }

    fn push(
        &mut self,
        kind: OpKind,
        inputs: Vec<TensorId>,
        shape: [u16; 4],
        quantization: Option<Quantization>,
    ) -> TensorId {
        let name = format!("{}_{}", kind.name().to_lowercase(), self.graph.ops.len());
        let output = self.tensor(&name, shape, quantization, None);
        self.graph.ops.push(Op {
            kind,
            inputs,
            output,
        });
        output
    }

    fn tensor(
        &mut self,
        name: &str,
        shape: [u16; 4],
        quantization: Option<Quantization>,
        data: Option<Data>,
    ) -> TensorId {
        let id = TensorId(self.graph.tensors.len() as u32);
        self.graph.tensors.push(Tensor {
            name: name.to_owned(),
            shape,
            quantization,
            data,
        });
        id
    }

    fn convolved(&self, input: TensorId, conv: &Conv, kernel: [u16; 2], outputs: u16) -> [u16; 4] {
        let input = self.graph.tensor(input).shape;
        let [height, width] = [0, 1].map(|axis| {
            let (stride, dilation) = (conv.stride[axis], conv.dilation[axis]);
            let len =
                conv.padding
                    .output_len(axis, input[axis + 1], kernel[axis], dilation, stride);
            saturating_u16(len)
        });
        [1, height, width, outputs]
    }

    fn pooled(&self, input: TensorId, pool: &Pool) -> [u16; 4] {
        let conv = Conv {
            stride: pool.stride,
            dilation: [1, 1],
            padding: pool.padding,
            activation: pool.activation,
        };
        self.convolved(input, &conv, pool.window, self.graph.tensor(input).shape[3])
    }
}

/// A dimension too large is refused by [`Graph::check`], not here.
fn saturating_u16(len: u32) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
