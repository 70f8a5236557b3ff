//! From a graph to a `.tflite` file.

use std::collections::HashMap;

use tinyops_nn::record::Element;

use crate::check::GraphError;
use crate::graph::{
    Activation, Conv, Data, Graph, Op, OpKind, Padding, Pool, Tensor, TensorId, Unary,
};
use crate::tflite::operators::OPERATORS;
use crate::tflite::schema::{
    self, IDENTIFIER, INT8, INT32, buffer, model, operator as op, operator_code, quantization,
    subgraph, tensor,
};
use crate::tflite::write::{Table, Value, file};

/// Why a graph is not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The graph does not hold together.
    #[error("the graph has {} faults, the first: {}", .0.len(), .0[0])]
    Graph(Vec<GraphError>),
    /// A tensor holds real numbers.
    #[error("tensor `{0}` is not quantized; quantize the model first")]
    NotQuantized(String),
    /// A tensor holds int16.
    #[error("tensor `{0}` is int16; networks of int8 are exported")]
    Int16(String),
    /// A network that remembers something between runs.
    #[error("state `{0}` is not exported")]
    State(String),
    /// An op that the format cannot say, or that nobody needs exported yet.
    #[error("op {op} {kind} is not exported")]
    Op {
        /// Which op, from 0.
        op: usize,
        /// Its name.
        kind: &'static str,
    },
}

/// Writes a quantized graph as a `.tflite` file of schema version 3.
///
/// # Shapes
/// Every activation has four dimensions. A dense layer gets a reshape before it where its input is
/// no row yet, and explicit padding becomes an operator of its own.
///
/// # Errors
/// [`ExportError`].
pub fn export(graph: &Graph) -> Result<Vec<u8>, ExportError> {
    graph.check().map_err(ExportError::Graph)?;
    let real = graph.tensors.iter().find(|tensor| {
        tensor.quantization.is_none() || matches!(tensor.data, Some(Data::Float32(_)))
    });
    if let Some(tensor) = real {
        return Err(ExportError::NotQuantized(tensor.name.clone()));
    }
    let mut tensors = graph.tensors.iter();
    if let Some(tensor) = tensors.find(|tensor| tensor.element() == Element::Int16) {
        return Err(ExportError::Int16(tensor.name.clone()));
    }
    if let Some(state) = graph.states.first() {
        let name = graph.tensor(state.before).name.clone();
        return Err(ExportError::State(name));
    }
    let mut export = Export {
        graph,
        // Buffer 0 is empty by convention, and every activation's.
        buffers: vec![Table::new()],
        tensors: Vec::new(),
        operators: Vec::new(),
        codes: Vec::new(),
        known: HashMap::new(),
    };
    for &input in &graph.inputs {
        export.activation(input);
    }
    for (index, op) in graph.ops.iter().enumerate() {
        export.op(op).ok_or(ExportError::Op {
            op: index,
            kind: op.kind.name(),
        })?;
    }
    Ok(export.finish())
}

struct Export<'g> {
    graph: &'g Graph,
    buffers: Vec<Table>,
    tensors: Vec<Table>,
    operators: Vec<Table>,
    /// Codes of the operators used, in the order of their first use.
    codes: Vec<i32>,
    known: HashMap<TensorId, i32>,
}

/// The options of an operator: which table, and the table.
type Options = Option<(u8, Table)>;

impl Export<'_> {
    fn finish(mut self) -> Vec<u8> {
        let ids = |export: &mut Self, ids: &[TensorId]| -> Vec<i32> {
            ids.iter().map(|&id| export.activation(id)).collect()
        };
        let graph = self.graph;
        let inputs = ids(&mut self, &graph.inputs);
        let outputs = ids(&mut self, &graph.outputs);
        let codes = self.codes.iter().map(|&code| {
            vec![
                (
                    operator_code::OLD_CODE as u16,
                    Value::Byte(code.min(127) as u8),
                ),
                (operator_code::VERSION, Value::Int(1)),
                (operator_code::CODE as u16, Value::Int(code)),
            ]
        });
        let graph = vec![
            (subgraph::TENSORS as u16, Value::Tables(self.tensors)),
            (subgraph::INPUTS as u16, Value::ints(&inputs)),
            (subgraph::OUTPUTS as u16, Value::ints(&outputs)),
            (subgraph::OPERATORS as u16, Value::Tables(self.operators)),
            (subgraph::NAME, Value::Text("main".to_owned())),
        ];
        let root = vec![
            (model::VERSION as u16, Value::Int(schema::VERSION as i32)),
            (model::OPERATOR_CODES as u16, Value::Tables(codes.collect())),
            (model::SUBGRAPHS as u16, Value::Tables(vec![graph])),
            (model::DESCRIPTION, Value::Text("TinyOps".to_owned())),
            (model::BUFFERS as u16, Value::Tables(self.buffers)),
        ];
        file(IDENTIFIER, &root)
    }

    /// Writes one op; `None` if the format has no words for it.
    fn op(&mut self, one: &Op) -> Option<()> {
        let graph = self.graph;
        let output = graph.tensor(one.output);
        let input = one.inputs[0];
        let (name, inputs, options) = match one.kind {
            OpKind::Conv2d(conv) => {
                let (input, conv) = self.padded(input, conv);
                let mut inputs = vec![input];
                self.weights(
                    one,
                    graph.tensor(one.inputs[1]).shape.map(i32::from).to_vec(),
                    0,
                    &mut inputs,
                );
                ("CONV_2D", inputs, Some((1, conv_options(&conv, None)?)))
            }
            OpKind::DepthwiseConv2d(conv) => {
                let channels = graph.tensor(input).shape[3];
                let multiplier = i32::from(output.shape[3] / channels);
                let (input, conv) = self.padded(input, conv);
                let mut inputs = vec![input];
                self.weights(
                    one,
                    graph.tensor(one.inputs[1]).shape.map(i32::from).to_vec(),
                    3,
                    &mut inputs,
                );
                let options = conv_options(&conv, Some(multiplier))?;
                ("DEPTHWISE_CONV_2D", inputs, Some((2, options)))
            }
            OpKind::Dense(activation) | OpKind::DenseRows(activation) => {
                let [outputs, height, width, values] =
                    graph.tensor(one.inputs[1]).shape.map(i32::from);
                let values = height * width * values;
                let shape = graph.tensor(input).shape.map(i32::from);
                let row = if shape[3] == values && matches!(one.kind, OpKind::DenseRows(_))
                    || shape == [1, 1, 1, values]
                {
                    self.activation(input)
                } else {
                    let rows = shape.iter().product::<i32>() / values;
                    self.reshaped(input, [1, 1, rows, values])
                };
                let mut inputs = vec![row];
                self.weights(one, vec![outputs, values], 0, &mut inputs);
                let options = vec![
                    (0, Value::Byte(activation_code(activation))),
                    // The result keeps the four dimensions of the input.
                    (2, Value::Byte(1)),
                ];
                ("FULLY_CONNECTED", inputs, Some((8, options)))
            }
            OpKind::MaxPool2d(pool) => ("MAX_POOL_2D", self.one(input), pool_options(&pool)?),
            OpKind::AveragePool2d(pool) => {
                ("AVERAGE_POOL_2D", self.one(input), pool_options(&pool)?)
            }
            OpKind::Mean => {
                let axes = self.int32s("axes", vec![2], &[1, 2]);
                let inputs = vec![self.activation(input), axes];
                ("MEAN", inputs, Some((27, vec![(0, Value::Byte(1))])))
            }
            OpKind::Add(activation) => {
                let inputs = one.inputs.iter().map(|&id| self.activation(id)).collect();
                let options = vec![(0, Value::Byte(activation_code(activation)))];
                ("ADD", inputs, Some((11, options)))
            }
            OpKind::Softmax { beta } => {
                let options = vec![(0, Value::Float(beta))];
                ("SOFTMAX", self.one(input), Some((9, options)))
            }
            OpKind::Logistic => ("LOGISTIC", self.one(input), None),
            OpKind::Activate(Activation::None) => {
                ("QUANTIZE", self.one(input), Some((89, Table::new())))
            }
            OpKind::Activate(Activation::Relu) => ("RELU", self.one(input), None),
            OpKind::Activate(Activation::Relu6) => ("RELU6", self.rescaled(input, output), None),
            OpKind::Unary(Unary::Tanh) => ("TANH", self.one(input), None),
            OpKind::Unary(Unary::HardSwish) => {
                ("HARD_SWISH", self.one(input), Some((91, Table::new())))
            }
            OpKind::Unary(Unary::LeakyRelu { alpha }) => {
                let options = vec![(0, Value::Float(alpha))];
                ("LEAKY_RELU", self.one(input), Some((75, options)))
            }
            OpKind::Reshape => {
                let shape = output.shape.map(i32::from);
                let inputs = vec![
                    self.activation(input),
                    self.int32s("shape", vec![4], &shape),
                ];
                let options = vec![(0, Value::ints(&shape))];
                ("RESHAPE", inputs, Some((17, options)))
            }
            OpKind::Pad(padding) => {
                let pads = self.pads(padding)?;
                let inputs = vec![self.activation(input), pads];
                ("PAD", inputs, Some((22, Table::new())))
            }
            _ => return None,
        };
        let output = self.activation(one.output);
        self.push(name, inputs, output, options);
        Some(())
    }

    fn push(&mut self, name: &str, inputs: Vec<i32>, output: i32, options: Options) {
        let code = OPERATORS.iter().position(|operator| operator.name == name);
        let code = code.map_or(-1, |code| code as i32);
        let known = self.codes.iter().position(|&known| known == code);
        let index = known.unwrap_or_else(|| {
            self.codes.push(code);
            self.codes.len() - 1
        });
        let mut table = vec![
            (op::CODE_INDEX as u16, Value::Int(index as i32)),
            (op::INPUTS as u16, Value::ints(&inputs)),
            (op::OUTPUTS as u16, Value::ints(&[output])),
        ];
        if let Some((kind, options)) = options {
            table.push((op::OPTIONS_KIND, Value::Byte(kind)));
            table.push((op::OPTIONS as u16, Value::Table(options)));
        }
        self.operators.push(table);
    }

    fn one(&mut self, input: TensorId) -> Vec<i32> {
        vec![self.activation(input)]
    }

    fn activation(&mut self, id: TensorId) -> i32 {
        if let Some(&known) = self.known.get(&id) {
            return known;
        }
        let one = self.graph.tensor(id);
        let index = self.tensor(one, &one.name, one.shape.map(i32::from).to_vec(), 0);
        self.known.insert(id, index);
        index
    }

    /// Filter and bias, behind the activation in `inputs`.
    fn weights(&mut self, one: &Op, dims: Vec<i32>, dimension: i32, inputs: &mut Vec<i32>) {
        let graph = self.graph;
        let filter = graph.tensor(one.inputs[1]);
        inputs.push(self.tensor(filter, &filter.name, dims, dimension));
        if let Some(&bias) = one.inputs.get(2) {
            let bias = graph.tensor(bias);
            let count = bias.shape.map(i32::from).iter().product();
            inputs.push(self.tensor(bias, &bias.name, vec![count], 0));
        }
    }

    /// The input with zeros around where the convolution has explicit padding, and the rest of it.
    fn padded(&mut self, input: TensorId, conv: Conv) -> (i32, Conv) {
        let Padding::Explicit { .. } = conv.padding else {
            return (self.activation(input), conv);
        };
        let one = self.graph.tensor(input);
        let mut dims = one.shape.map(i32::from).to_vec();
        for axis in [0, 1] {
            let (before, after) = conv.padding.around(axis, 1, 1, 1);
            dims[axis + 1] += (before + after) as i32;
        }
        let inputs = vec![
            self.activation(input),
            self.pads(conv.padding).unwrap_or(-1),
        ];
        let padded = self.tensor(one, &format!("{} padded", one.name), dims, 0);
        self.push("PAD", inputs, padded, Some((22, Table::new())));
        let padding = Padding::Valid;
        (padded, Conv { padding, ..conv })
    }

    /// The input in the scale of the output: TFLM's RELU6 clamps, and does not rescale.
    fn rescaled(&mut self, input: TensorId, output: &Tensor) -> Vec<i32> {
        let one = self.graph.tensor(input);
        if one.quantization == output.quantization {
            return self.one(input);
        }
        let inputs = self.one(input);
        let dims = one.shape.map(i32::from).to_vec();
        let made = self.tensor(output, &format!("{} rescaled", one.name), dims, 0);
        self.push("QUANTIZE", inputs, made, Some((89, Table::new())));
        vec![made]
    }

    fn reshaped(&mut self, input: TensorId, shape: [i32; 4]) -> i32 {
        let one = self.graph.tensor(input);
        let inputs = vec![
            self.activation(input),
            self.int32s("shape", vec![4], &shape),
        ];
        let row = self.tensor(one, &format!("{} in a row", one.name), shape.to_vec(), 0);
        let options = vec![(0, Value::ints(&shape))];
        self.push("RESHAPE", inputs, row, Some((17, options)));
        row
    }

    fn pads(&mut self, padding: Padding) -> Option<i32> {
        let Padding::Explicit {
            top,
            bottom,
            left,
            right,
        } = padding
        else {
            return None;
        };
        let [top, bottom, left, right] = [top, bottom, left, right].map(i32::from);
        let pads = [0, 0, top, bottom, left, right, 0, 0];
        Some(self.int32s("paddings", vec![4, 2], &pads))
    }

    /// A tensor like one of the graph, under another name and shape.
    fn tensor(&mut self, one: &Tensor, name: &str, dims: Vec<i32>, dimension: i32) -> i32 {
        let (kind, bytes) = match &one.data {
            Some(Data::Int8(values)) => (INT8, values.iter().map(|&v| v as u8).collect()),
            Some(Data::Int32(values)) => {
                (INT32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            _ => (INT8, Vec::new()),
        };
        let mut table = self.plain(name, &dims, kind, bytes);
        if let Some(q) = &one.quantization {
            let zero_points = vec![i64::from(q.zero_point); q.scales.len()];
            let parameters = vec![
                (quantization::SCALE as u16, Value::floats(&q.scales)),
                (quantization::ZERO_POINT as u16, Value::longs(&zero_points)),
                (quantization::DIMENSION as u16, Value::Int(dimension)),
            ];
            table.push((tensor::QUANTIZATION as u16, Value::Table(parameters)));
        }
        self.tensors.push(table);
        self.tensors.len() as i32 - 1
    }

    fn int32s(&mut self, name: &str, dims: Vec<i32>, values: &[i32]) -> i32 {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let table = self.plain(name, &dims, INT32, bytes.collect());
        self.tensors.push(table);
        self.tensors.len() as i32 - 1
    }

    fn plain(&mut self, name: &str, dims: &[i32], kind: i8, bytes: Vec<u8>) -> Table {
        let buffer = if bytes.is_empty() {
            0
        } else {
            let data = (buffer::DATA, Value::Vector(bytes, 1));
            self.buffers.push(vec![data]);
            self.buffers.len() as i32 - 1
        };
        vec![
            (tensor::SHAPE as u16, Value::ints(dims)),
            (tensor::TYPE as u16, Value::Byte(kind as u8)),
            (tensor::BUFFER as u16, Value::Int(buffer)),
            (tensor::NAME as u16, Value::Text(name.to_owned())),
        ]
    }
}

fn activation_code(activation: Activation) -> u8 {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 3,
    }
}

fn padding_code(padding: Padding) -> Option<u8> {
    match padding {
        Padding::Same => Some(0),
        Padding::Valid => Some(1),
        Padding::Explicit { .. } => None,
    }
}

/// `Conv2DOptions`, or `DepthwiseConv2DOptions`, which have the multiplier between.
fn conv_options(conv: &Conv, multiplier: Option<i32>) -> Option<Table> {
    let mut table = vec![
        (0, Value::Byte(padding_code(conv.padding)?)),
        (1, Value::Int(i32::from(conv.stride[1]))),
        (2, Value::Int(i32::from(conv.stride[0]))),
    ];
    table.extend(multiplier.map(|multiplier| (3, Value::Int(multiplier))));
    let next = table.len() as u16;
    table.extend([
        (next, Value::Byte(activation_code(conv.activation))),
        (next + 1, Value::Int(i32::from(conv.dilation[1]))),
        (next + 2, Value::Int(i32::from(conv.dilation[0]))),
    ]);
    Some(table)
}

/// `Pool2DOptions`; outer `None` where the padding is explicit.
fn pool_options(pool: &Pool) -> Option<Options> {
    let table = vec![
        (0, Value::Byte(padding_code(pool.padding)?)),
        (1, Value::Int(i32::from(pool.stride[1]))),
        (2, Value::Int(i32::from(pool.stride[0]))),
        (3, Value::Int(i32::from(pool.window[1]))),
        (4, Value::Int(i32::from(pool.window[0]))),
        (5, Value::Byte(activation_code(pool.activation))),
    ];
    Some(Some((5, table)))
}
