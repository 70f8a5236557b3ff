//! A model as bytes and back; the layout is told in `docs/formats/model.md`.

mod embedding;
mod general;

use tinyops_dsp::FrontEnd;
use tinyops_nn::EmbeddingDistance;
use tinyops_nn::record::Element;
use tinyops_sketch::Baseline;

use crate::bytes::{Reader, Writer};
use crate::check::GraphError;
use crate::graph::{
    Activation, Conv, Data, Graph, Op, OpKind, Padding, Pool, Quantization, State, Tensor, TensorId,
};
use crate::model::{Body, Decision, Model, OwnedScaler, Task};

const MAGIC: [u8; 4] = *b"TMDL";
/// What a model needs whose baseline does not watch embeddings.
const VERSION: u16 = 2;
/// With where the embeddings of the training windows lie, after the baseline.
const VERSION_EMBEDDING: u16 = 3;
/// More than any front end takes; its own encoder tells how many it took.
const FRONT_END_BYTES_MAX: usize = 4096;

/// Why bytes are not a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the model does.
    #[error("the bytes end before the model does")]
    Truncated,
    /// The bytes go on after the model.
    #[error("bytes follow the model")]
    Trailing,
    /// Another file.
    #[error("not a model")]
    Magic,
    /// A version that this crate does not know.
    #[error("model format version {0} is unknown, this program reads versions 2 and 3")]
    Version(u16),
    /// A field has a value that it cannot have.
    #[error("{0} has an impossible value")]
    Value(&'static str),
    /// The graph does not hold together.
    #[error("the graph has {} faults, the first: {}", .0.len(), .0[0])]
    Graph(Vec<GraphError>),
}

impl Model {
    /// The model's bytes; the same model has the same bytes.
    ///
    /// # Panics
    /// If the front end does not pass its own check, which every trained one does.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend(MAGIC);
        out.u16(match self.embedding.is_empty() {
            true => VERSION,
            false => VERSION_EMBEDDING,
        });
        out.text(&self.name);
        out.u8(match self.task {
            Task::Classify => 0,
            Task::Regress => 1,
            Task::Anomaly => 2,
        });
        self.encode_features(&mut out);
        encode_body(&self.body, &mut out);
        out.count(self.labels.len());
        self.labels.iter().for_each(|label| out.text(label));
        out.f32(self.decision.threshold);
        out.f32(self.decision.min_confidence);
        let mut baseline = vec![0; self.baseline.encoded_len()];
        let baseline_bytes = self
            .baseline
            .encode(&mut baseline)
            .expect("the buffer has the length that was asked");
        out.count(baseline_bytes);
        out.bytes.extend(&baseline[..baseline_bytes]);
        if !self.embedding.is_empty() {
            out.count(self.embedding.len());
            out.bytes.extend(&self.embedding);
        }
        out.bytes
    }

    /// Writes what makes the features.
    fn encode_features(&self, out: &mut Writer) {
        let mut front_end = [0; FRONT_END_BYTES_MAX];
        let front_end_bytes = self
            .front_end
            .encode(&mut front_end)
            .expect("a trained front end has been checked");
        out.count(front_end_bytes);
        out.bytes.extend(&front_end[..front_end_bytes]);
        out.f32s(&self.scaler.mean);
        out.f32s(&self.scaler.inv_std);
    }

    /// Reads a model and checks its graph.
    ///
    /// # Errors
    /// [`DecodeError`]; whatever the bytes are, nothing panics and no more memory is asked for
    /// than a small multiple of their length.
    pub fn decode(bytes: &[u8]) -> Result<Model, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.take(4)? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = reader.u16()?;
        if !(VERSION..=VERSION_EMBEDDING).contains(&version) {
            return Err(DecodeError::Version(version));
        }
        let name = reader.text()?;
        let task = match reader.u8()? {
            0 => Task::Classify,
            1 => Task::Regress,
            2 => Task::Anomaly,
            _ => return Err(DecodeError::Value("task")),
        };
        let front_end_bytes = reader.count()?;
        let (front_end, used) = FrontEnd::decode(reader.take(front_end_bytes)?)
            .map_err(|_| DecodeError::Value("front end"))?;
        if used != front_end_bytes {
            return Err(DecodeError::Value("front end"));
        }
        let scaler = OwnedScaler {
            mean: reader.f32s()?,
            inv_std: reader.f32s()?,
        };
        let body = decode_body(&mut reader)?;
        let labels = reader.items(4, Reader::text)?;
        let decision = Decision {
            threshold: reader.f32()?,
            min_confidence: reader.f32()?,
        };
        let baseline_bytes = reader.count()?;
        let baseline = Baseline::decode(reader.take(baseline_bytes)?)
            .map_err(|_| DecodeError::Value("baseline"))?;
        let embedding = match version {
            VERSION => Vec::new(),
            _ => decode_embedding(&mut reader)?,
        };
        if embedding.is_empty() != baseline.embedding_channel().is_none() {
            return Err(DecodeError::Value("baseline or embedding"));
        }
        if !reader.is_empty() {
            return Err(DecodeError::Trailing);
        }
        Ok(Model {
            name,
            task,
            front_end,
            scaler,
            body,
            labels,
            decision,
            baseline,
            embedding,
        })
    }
}

fn decode_embedding(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let count = reader.count()?;
    let bytes = reader.take(count)?;
    EmbeddingDistance::decode(bytes).map_err(|_| DecodeError::Value("embedding"))?;
    Ok(bytes.to_vec())
}

fn encode_body(body: &Body, out: &mut Writer) {
    match body {
        Body::Network(graph) => {
            out.u8(0);
            encode_graph(graph, out);
        }
        Body::Autoencoder(graph) => {
            out.u8(1);
            encode_graph(graph, out);
        }
        Body::KMeans { centres, radii } => {
            out.u8(2);
            out.f32s(centres);
            out.f32s(radii);
        }
        Body::Mahalanobis {
            mean,
            inverse_covariance,
        } => {
            out.u8(3);
            out.f32s(mean);
            out.f32s(inverse_covariance);
        }
    }
}

fn decode_body(reader: &mut Reader<'_>) -> Result<Body, DecodeError> {
    Ok(match reader.u8()? {
        0 => Body::Network(decode_graph(reader)?),
        1 => Body::Autoencoder(decode_graph(reader)?),
        2 => Body::KMeans {
            centres: reader.f32s()?,
            radii: reader.f32s()?,
        },
        3 => Body::Mahalanobis {
            mean: reader.f32s()?,
            inverse_covariance: reader.f32s()?,
        },
        _ => return Err(DecodeError::Value("body")),
    })
}

fn encode_graph(graph: &Graph, out: &mut Writer) {
    out.count(graph.tensors.len());
    graph
        .tensors
        .iter()
        .for_each(|tensor| encode_tensor(tensor, out));
    out.count(graph.ops.len());
    graph.ops.iter().for_each(|op| encode_op(op, out));
    encode_ids(&graph.inputs, out);
    encode_ids(&graph.outputs, out);
    out.u32(graph.embedding.map_or(u32::MAX, |id| id.0));
    out.count(graph.states.len());
    for state in &graph.states {
        out.u32(state.before.0);
        out.u32(state.after.map_or(u32::MAX, |id| id.0));
    }
}

fn decode_graph(reader: &mut Reader<'_>) -> Result<Graph, DecodeError> {
    let graph = Graph {
        tensors: reader.items(14, decode_tensor)?,
        ops: reader.items(9, decode_op)?,
        inputs: decode_ids(reader)?,
        outputs: decode_ids(reader)?,
        embedding: decode_optional(reader)?,
        states: reader.items(8, |reader| {
            Ok(State {
                before: TensorId(reader.u32()?),
                after: decode_optional(reader)?,
            })
        })?,
    };
    graph.check().map_err(DecodeError::Graph)?;
    Ok(graph)
}

fn decode_optional(reader: &mut Reader<'_>) -> Result<Option<TensorId>, DecodeError> {
    Ok(Some(reader.u32()?)
        .filter(|&id| id != u32::MAX)
        .map(TensorId))
}

fn encode_tensor(tensor: &Tensor, out: &mut Writer) {
    out.text(&tensor.name);
    tensor.shape.iter().for_each(|&dim| out.u16(dim));
    match &tensor.quantization {
        None => out.u8(0),
        Some(quantization) => {
            out.u8(1 + quantization.element as u8);
            out.f32s(&quantization.scales);
            out.u8(quantization.zero_point as u8);
        }
    }
    match &tensor.data {
        None => out.u8(0),
        Some(Data::Int8(values)) => {
            out.u8(1);
            out.count(values.len());
            out.bytes.extend(values.iter().map(|&value| value as u8));
        }
        Some(Data::Int32(values)) => {
            out.u8(2);
            out.count(values.len());
            values.iter().for_each(|&value| out.u32(value as u32));
        }
        Some(Data::Float32(values)) => {
            out.u8(3);
            out.f32s(values);
        }
        Some(Data::Int16(values)) => {
            out.u8(4);
            out.count(values.len());
            values.iter().for_each(|&value| out.u16(value as u16));
        }
        Some(Data::Int64(values)) => {
            out.u8(5);
            out.count(values.len());
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            out.bytes.extend(bytes);
        }
    }
}

fn decode_tensor(reader: &mut Reader<'_>) -> Result<Tensor, DecodeError> {
    let name = reader.text()?;
    let shape = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    let quantization = match reader.u8()? {
        0 => None,
        tag @ (1 | 2) => Some(Quantization {
            scales: reader.f32s()?,
            zero_point: reader.u8()? as i8,
            element: match tag {
                1 => Element::Int8,
                _ => Element::Int16,
            },
        }),
        _ => return Err(DecodeError::Value("quantization")),
    };
    let data = match reader.u8()? {
        0 => None,
        1 => {
            let count = reader.count()?;
            Some(Data::Int8(
                reader.take(count)?.iter().map(|&byte| byte as i8).collect(),
            ))
        }
        2 => Some(Data::Int32(
            reader.items(4, |reader| Ok(reader.u32()? as i32))?,
        )),
        3 => Some(Data::Float32(reader.f32s()?)),
        4 => Some(Data::Int16(
            reader.items(2, |reader| Ok(reader.u16()? as i16))?,
        )),
        5 => Some(Data::Int64(reader.items(8, |reader| {
            let [low, high] = [reader.u32()?, reader.u32()?];
            Ok(i64::from(high) << 32 | i64::from(low))
        })?)),
        _ => return Err(DecodeError::Value("tensor data")),
    };
    Ok(Tensor {
        name,
        shape,
        quantization,
        data,
    })
}

fn encode_op(op: &Op, out: &mut Writer) {
    match op.kind {
        OpKind::Conv2d(conv) => {
            out.u8(1);
            encode_conv(&conv, out);
        }
        OpKind::DepthwiseConv2d(conv) => {
            out.u8(2);
            encode_conv(&conv, out);
        }
        OpKind::Dense(activation) => {
            out.u8(3);
            encode_activation(activation, out);
        }
        OpKind::MaxPool2d(pool) => {
            out.u8(4);
            encode_pool(&pool, out);
        }
        OpKind::AveragePool2d(pool) => {
            out.u8(5);
            encode_pool(&pool, out);
        }
        OpKind::Mean => out.u8(6),
        OpKind::Add(activation) => {
            out.u8(7);
            encode_activation(activation, out);
        }
        OpKind::Softmax { beta } => {
            out.u8(8);
            out.f32(beta);
        }
        OpKind::Logistic => out.u8(9),
        OpKind::Activate(activation) => {
            out.u8(10);
            encode_activation(activation, out);
        }
        OpKind::Reshape => out.u8(11),
        OpKind::Pad(padding) => {
            out.u8(12);
            encode_padding(padding, out);
        }
        general => general::encode(general, out),
    }
    encode_ids(&op.inputs, out);
    out.u32(op.output.0);
}

fn decode_op(reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
    let kind = match reader.u8()? {
        1 => OpKind::Conv2d(decode_conv(reader)?),
        2 => OpKind::DepthwiseConv2d(decode_conv(reader)?),
        3 => OpKind::Dense(decode_activation(reader)?),
        4 => OpKind::MaxPool2d(decode_pool(reader)?),
        5 => OpKind::AveragePool2d(decode_pool(reader)?),
        6 => OpKind::Mean,
        7 => OpKind::Add(decode_activation(reader)?),
        8 => OpKind::Softmax {
            beta: reader.f32()?,
        },
        9 => OpKind::Logistic,
        10 => OpKind::Activate(decode_activation(reader)?),
        11 => OpKind::Reshape,
        12 => OpKind::Pad(decode_padding(reader)?),
        code => general::decode(code, reader)?,
    };
    Ok(Op {
        kind,
        inputs: decode_ids(reader)?,
        output: TensorId(reader.u32()?),
    })
}

fn encode_conv(conv: &Conv, out: &mut Writer) {
    out.bytes.extend(conv.stride);
    out.bytes.extend(conv.dilation);
    encode_padding(conv.padding, out);
    encode_activation(conv.activation, out);
}

fn decode_conv(reader: &mut Reader<'_>) -> Result<Conv, DecodeError> {
    Ok(Conv {
        stride: [reader.u8()?, reader.u8()?],
        dilation: [reader.u8()?, reader.u8()?],
        padding: decode_padding(reader)?,
        activation: decode_activation(reader)?,
    })
}

fn encode_pool(pool: &Pool, out: &mut Writer) {
    out.u16(pool.window[0]);
    out.u16(pool.window[1]);
    out.bytes.extend(pool.stride);
    encode_padding(pool.padding, out);
    encode_activation(pool.activation, out);
}

fn decode_pool(reader: &mut Reader<'_>) -> Result<Pool, DecodeError> {
    Ok(Pool {
        window: [reader.u16()?, reader.u16()?],
        stride: [reader.u8()?, reader.u8()?],
        padding: decode_padding(reader)?,
        activation: decode_activation(reader)?,
    })
}

fn encode_padding(padding: Padding, out: &mut Writer) {
    match padding {
        Padding::Same => out.u8(0),
        Padding::Valid => out.u8(1),
        Padding::Explicit {
            top,
            bottom,
            left,
            right,
        } => {
            out.u8(2);
            [top, bottom, left, right]
                .into_iter()
                .for_each(|places| out.u16(places));
        }
    }
}

fn decode_padding(reader: &mut Reader<'_>) -> Result<Padding, DecodeError> {
    Ok(match reader.u8()? {
        0 => Padding::Same,
        1 => Padding::Valid,
        2 => Padding::Explicit {
            top: reader.u16()?,
            bottom: reader.u16()?,
            left: reader.u16()?,
            right: reader.u16()?,
        },
        _ => return Err(DecodeError::Value("padding")),
    })
}

fn encode_activation(activation: Activation, out: &mut Writer) {
    out.u8(match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
    });
}

fn decode_activation(reader: &mut Reader<'_>) -> Result<Activation, DecodeError> {
    Ok(match reader.u8()? {
        0 => Activation::None,
        1 => Activation::Relu,
        2 => Activation::Relu6,
        _ => return Err(DecodeError::Value("activation")),
    })
}

fn encode_ids(ids: &[TensorId], out: &mut Writer) {
    out.count(ids.len());
    ids.iter().for_each(|id| out.u32(id.0));
}

fn decode_ids(reader: &mut Reader<'_>) -> Result<Vec<TensorId>, DecodeError> {
    reader.items(4, |reader| reader.u32().map(TensorId))
}
