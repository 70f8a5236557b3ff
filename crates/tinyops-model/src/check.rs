//! Everything that can be wrong with a graph.

mod general;
mod int16;

use tinyops_nn::record::Element;

use crate::graph::{Conv, Data, Graph, Op, OpKind, Padding, Tensor, TensorId};

/// 256 Mi; sums over shapes of this size overflow nothing.
const ELEMENTS_MAX: u64 = 1 << 28;

/// One thing that is wrong with a graph. Ops count from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The graph takes nothing or makes nothing.
    #[error("the graph has no {0}")]
    Without(&'static str),
    /// A list names a tensor that is not there.
    #[error("{what} names tensor {tensor}, which is not there")]
    NoSuchTensor {
        /// Who names it.
        what: String,
        /// Which tensor.
        tensor: TensorId,
    },
    /// A tensor contradicts itself.
    #[error("tensor {tensor} `{name}`: {fault}")]
    Tensor {
        /// Which tensor.
        tensor: TensorId,
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// An op does not fit its tensors.
    #[error("op {op} {kind}: {fault}")]
    Op {
        /// Which op.
        op: usize,
        /// The operator.
        kind: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// A tensor is read before, or instead of, being made.
    #[error("{what} reads tensor {tensor}, which nothing has made")]
    NotMade {
        /// Who reads it.
        what: String,
        /// Which tensor.
        tensor: TensorId,
    },
}

impl Graph {
    /// Whether the graph holds together: every tensor there, made once before it is read, every
    /// shape and scale as its op demands.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn check(&self) -> Result<(), Vec<GraphError>> {
        let mut faults = Vec::new();
        if self.inputs.is_empty() {
            faults.push(GraphError::Without("input"));
        }
        if self.outputs.is_empty() {
            faults.push(GraphError::Without("output"));
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            faults.extend(tensor_fault(tensor).map(|fault| GraphError::Tensor {
                tensor: TensorId(index as u32),
                name: tensor.name.clone(),
                fault,
            }));
        }
        let mut order = Order::new(self);
        for &input in &self.inputs {
            order.make("the input list", input, &mut faults);
        }
        for state in &self.states {
            order.make("the list of states", state.before, &mut faults);
        }
        for (index, op) in self.ops.iter().enumerate() {
            let before = faults.len();
            let what = format!("op {index} {}", op.kind.name());
            for &input in &op.inputs {
                order.read(&what, input, &mut faults);
            }
            order.make(&what, op.output, &mut faults);
            if faults.len() == before {
                faults.extend(op_faults(self, op).into_iter().map(|fault| GraphError::Op {
                    op: index,
                    kind: op.kind.name(),
                    fault,
                }));
            }
        }
        for &output in &self.outputs {
            order.read("the output list", output, &mut faults);
        }
        for state in &self.states {
            if let Some(after) = state.after {
                order.read("the list of states", after, &mut faults);
            }
        }
        if faults.is_empty() {
            self.states
                .iter()
                .for_each(|state| faults.extend(general::state_fault(self, state)));
        }
        if let Some(embedding) = self.embedding {
            order.read("the embedding", embedding, &mut faults);
            let tensor = self.tensors.get(embedding.0 as usize);
            let is_int16 = tensor.is_some_and(|tensor| tensor.element() == Element::Int16);
            faults.extend(is_int16.then(|| GraphError::Tensor {
                tensor: embedding,
                name: "the embedding".to_owned(),
                fault: "is int16; statistics are kept of int8",
            }));
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

/// Which tensors have been made so far.
struct Order<'g> {
    graph: &'g Graph,
    made: Vec<bool>,
}

impl<'g> Order<'g> {
    fn new(graph: &'g Graph) -> Order<'g> {
        Order {
            graph,
            made: graph
                .tensors
                .iter()
                .map(|tensor| tensor.data.is_some())
                .collect(),
        }
    }

    fn read(&self, what: &str, tensor: TensorId, faults: &mut Vec<GraphError>) {
        match self.made.get(tensor.0 as usize) {
            None => faults.push(GraphError::NoSuchTensor {
                what: what.to_owned(),
                tensor,
            }),
            Some(false) => faults.push(GraphError::NotMade {
                what: what.to_owned(),
                tensor,
            }),
            Some(true) => {}
        }
    }

    fn make(&mut self, what: &str, tensor: TensorId, faults: &mut Vec<GraphError>) {
        match self.made.get_mut(tensor.0 as usize) {
            None => faults.push(GraphError::NoSuchTensor {
                what: what.to_owned(),
                tensor,
            }),
            Some(made @ false) => *made = true,
            Some(true) => faults.push(GraphError::Tensor {
                tensor,
                name: self.graph.tensor(tensor).name.clone(),
                fault: "is made twice, or is a constant that something makes",
            }),
        }
    }
}

fn tensor_fault(tensor: &Tensor) -> Option<&'static str> {
    if tensor.shape.contains(&0) {
        return Some("has a dimension of 0");
    }
    if tensor.data.is_none() && tensor.shape[0] != 1 {
        return Some("is an activation with a batch other than 1");
    }
    let elements = elements(tensor);
    if elements > ELEMENTS_MAX {
        return Some("has more values than any board has memory");
    }
    if tensor
        .data
        .as_ref()
        .is_some_and(|data| data.len() as u64 != elements)
    {
        return Some("has another count of numbers than its shape");
    }
    if let Some(Data::Float32(values)) = &tensor.data
        && values.iter().any(|value| !value.is_finite())
    {
        return Some("holds a number that is not finite");
    }
    let quantization = tensor.quantization.as_ref()?;
    if quantization.scales.is_empty() || (tensor.data.is_none() && quantization.scales.len() != 1) {
        return Some("has another count of scales than 1");
    }
    if !quantization
        .scales
        .iter()
        .all(|scale| scale.is_normal() && *scale > 0.0)
    {
        return Some("has a scale that is not a positive number");
    }
    let is_int16 = quantization.element == Element::Int16;
    if is_int16 && quantization.zero_point != 0 {
        return Some("is int16 with a zero point other than 0");
    }
    if is_int16 && !matches!(tensor.data, None | Some(Data::Int16(_)))
        || !is_int16 && matches!(tensor.data, Some(Data::Int16(_)))
    {
        return Some("holds other numbers than it says");
    }
    // The operand of a function of two values may have one; filters are held to 0 with their ops.
    let may_have = matches!(tensor.data, None | Some(Data::Int8(_)));
    (!may_have && quantization.zero_point != 0)
        .then_some("is a constant with a zero point other than 0")
}

fn op_faults(graph: &Graph, op: &Op) -> Vec<String> {
    let (least, greatest) = match op.kind {
        OpKind::Conv2d(_) | OpKind::DepthwiseConv2d(_) | OpKind::Dense(_) => (2, 3),
        OpKind::DenseRows(_) => (2, 3),
        OpKind::Add(_) | OpKind::Binary { .. } | OpKind::Rearrange { .. } => (2, 2),
        OpKind::Product(_) | OpKind::Table => (2, 2),
        OpKind::Svdf(_) => (4, 5),
        OpKind::Lstm(_) => (14, 14),
        OpKind::Concat { .. } => (1, general::JOINED_MAX),
        _ => (1, 1),
    };
    if !(least..=greatest).contains(&op.inputs.len()) {
        return vec![format!("has {} inputs", op.inputs.len())];
    }
    let tensors: Vec<&Tensor> = op.inputs.iter().map(|&input| graph.tensor(input)).collect();
    let output = graph.tensor(op.output);
    let mut faults = Vec::new();
    let activations = match op.kind {
        OpKind::Add(_) => 2,
        OpKind::Concat { .. } => tensors.len(),
        OpKind::Constant => 0,
        _ => 1,
    };
    if tensors[..activations]
        .iter()
        .any(|tensor| tensor.data.is_some())
    {
        faults.push("takes a constant where it needs an activation".to_owned());
    }
    let takes_either = matches!(
        op.kind,
        OpKind::Binary { .. } | OpKind::Product(_) | OpKind::Svdf(_) | OpKind::Lstm(_)
    );
    if !takes_either
        && tensors[activations..]
            .iter()
            .any(|tensor| tensor.data.is_none())
    {
        faults.push("takes an activation where it needs a constant".to_owned());
    }
    let quantized = output.quantization.is_some();
    if tensors
        .iter()
        .any(|tensor| tensor.quantization.is_some() != quantized)
    {
        faults.push("mixes quantized and real tensors".to_owned());
    }
    if let Some(expected) = expected_shape(op, &tensors, &mut faults)
        && (output.shape.map(u32::from) != expected)
    {
        faults.push(format!(
            "makes shape {expected:?}, its output has {:?}",
            output.shape
        ));
    }
    if matches!(op.kind, OpKind::Reshape) && elements(tensors[0]) != elements(output) {
        faults.push("changes the count of values".to_owned());
    }
    general::faults(op, &tensors, output, &mut faults);
    if quantized && faults.is_empty() {
        if int16::concerns(&tensors, output) {
            int16::faults(op, &tensors, output, &mut faults);
        } else {
            quantization_faults(op, &tensors, output, &mut faults);
        }
    }
    faults
}

fn expected_shape(op: &Op, tensors: &[&Tensor], faults: &mut Vec<String>) -> Option<[u32; 4]> {
    let input = tensors[0].shape;
    let channels = u32::from(input[3]);
    match op.kind {
        OpKind::Conv2d(conv) => {
            let filter = tensors[1].shape;
            if filter[3] != input[3] {
                faults.push(format!(
                    "has a filter for {} channels, gets {channels}",
                    filter[3]
                ));
            }
            bias_fault(tensors, filter[0], faults);
            let [height, width] = convolved(&conv, input, [filter[1], filter[2]], faults);
            Some([1, height, width, u32::from(filter[0])])
        }
        OpKind::DepthwiseConv2d(conv) => {
            let filter = tensors[1].shape;
            if filter[0] != 1 || !filter[3].is_multiple_of(input[3]) {
                faults.push(format!("has a filter {filter:?} for {channels} channels"));
            }
            bias_fault(tensors, filter[3], faults);
            let [height, width] = convolved(&conv, input, [filter[1], filter[2]], faults);
            Some([1, height, width, u32::from(filter[3])])
        }
        OpKind::Dense(_) => {
            let filter = tensors[1].shape;
            let reads = u64::from(filter[1]) * u64::from(filter[2]) * u64::from(filter[3]);
            if reads != elements(tensors[0]) {
                faults.push(format!(
                    "reads {reads} values, gets {}",
                    elements(tensors[0])
                ));
            }
            bias_fault(tensors, filter[0], faults);
            Some([1, 1, 1, u32::from(filter[0])])
        }
        OpKind::MaxPool2d(pool) | OpKind::AveragePool2d(pool) => {
            let conv = Conv {
                stride: pool.stride,
                dilation: [1, 1],
                padding: pool.padding,
                activation: pool.activation,
            };
            let [height, width] = convolved(&conv, input, pool.window, faults);
            Some([1, height, width, channels])
        }
        OpKind::Mean => Some([1, 1, 1, channels]),
        OpKind::Pad(padding) => {
            if !matches!(padding, Padding::Explicit { .. }) {
                faults.push("needs explicit padding".to_owned());
            }
            let padded = |axis: usize| {
                let (before, after) = padding.around(axis, input[axis + 1], 1, 1);
                u32::from(input[axis + 1]) + before + after
            };
            Some([1, padded(0), padded(1), channels])
        }
        OpKind::Add(_) => {
            if tensors[1].shape != input {
                faults.push(format!("adds shapes {input:?} and {:?}", tensors[1].shape));
            }
            Some(input.map(u32::from))
        }
        OpKind::Softmax { .. }
        | OpKind::Logistic
        | OpKind::Activate(_)
        | OpKind::Unary(_)
        | OpKind::Table
        | OpKind::Normalize
        | OpKind::Binary { .. } => Some(input.map(u32::from)),
        OpKind::Reshape
        | OpKind::Concat { .. }
        | OpKind::Rearrange { .. }
        | OpKind::Reduce { .. }
        | OpKind::ResizeBilinear { .. }
        | OpKind::Constant
        | OpKind::Svdf(_)
        | OpKind::Lstm(_)
        | OpKind::Product(_)
        | OpKind::Extreme { .. }
        | OpKind::DenseRows(_) => None,
    }
}

fn bias_fault(tensors: &[&Tensor], outputs: u16, faults: &mut Vec<String>) {
    if let Some(bias) = tensors.get(2)
        && elements(bias) != u64::from(outputs)
    {
        faults.push(format!(
            "has {} biases for {outputs} outputs",
            elements(bias)
        ));
    }
}

fn convolved(conv: &Conv, input: [u16; 4], kernel: [u16; 2], faults: &mut Vec<String>) -> [u32; 2] {
    if conv.stride.contains(&0) || conv.dilation.contains(&0) || kernel.contains(&0) {
        faults.push("has a stride, dilation or window of 0".to_owned());
    }
    [0, 1].map(|axis| {
        let (stride, dilation) = (conv.stride[axis], conv.dilation[axis]);
        let len = conv
            .padding
            .output_len(axis, input[axis + 1], kernel[axis], dilation, stride);
        if len == 0 {
            faults.push("has a window larger than its padded input".to_owned());
        }
        len
    })
}

fn quantization_faults(op: &Op, tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let same = matches!(
        op.kind,
        OpKind::MaxPool2d(_) | OpKind::AveragePool2d(_) | OpKind::Reshape | OpKind::Pad(_)
    );
    if same && tensors[0].quantization != output.quantization {
        faults.push("needs one scale and zero point for input and output".to_owned());
    }
    if let (OpKind::Softmax { .. } | OpKind::Logistic, Some(quantization)) =
        (op.kind, &output.quantization)
        && (quantization.scale() != 1.0 / 256.0 || quantization.zero_point != -128)
    {
        faults.push("needs an output of scale 1/256 and zero point -128".to_owned());
    }
    let is_operand = matches!(
        op.kind,
        OpKind::Binary { .. }
            | OpKind::Rearrange { .. }
            | OpKind::Product(_)
            | OpKind::Table
            | OpKind::Svdf(_)
            | OpKind::Lstm(_)
    );
    let filter = tensors.get(1).filter(|tensor| tensor.data.is_some());
    let Some(filter) = filter.filter(|_| !is_operand) else {
        return;
    };
    if filter
        .quantization
        .as_ref()
        .is_some_and(|q| q.zero_point != 0)
    {
        faults.push("has a filter with a zero point other than 0".to_owned());
    }
    if !matches!(filter.data, Some(Data::Int8(_))) {
        faults.push("needs an int8 filter".to_owned());
    }
    let outputs = usize::from(output.shape[3]);
    let scales = filter
        .quantization
        .as_ref()
        .map_or(0, |quantization| quantization.scales.len());
    if scales != 1 && scales != outputs {
        faults.push(format!(
            "has {scales} filter scales for {outputs} output channels"
        ));
    }
    if tensors
        .get(2)
        .is_some_and(|bias| !matches!(bias.data, Some(Data::Int32(_))))
    {
        faults.push("needs an int32 bias".to_owned());
    }
}

fn elements(tensor: &Tensor) -> u64 {
    tensor.shape.iter().map(|&dim| u64::from(dim)).product()
}
