//! One operator of a `.tflite` file as one op of a graph.

use crate::graph::{Activation, Conv, Op, OpKind, Padding, Pool, TensorId};
use crate::tflite::facts::shape_of;
use crate::tflite::flatbuffer::Table;
use crate::tflite::import::{Answer, Import, ImportError, op_of};
use crate::tflite::operators::{instead, is_read};
use crate::tflite::outline::Outline;
use crate::tflite::{general, int16, islands, variables, windows};

/// Unwraps an [`Answer`], handing a refusal on.
macro_rules! or_refuse {
    ($answer:expr) => {
        match $answer? {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        }
    };
}
pub(super) use or_refuse;

/// Reads one operator as the ops that do its work; the inner error says why it cannot be imported.
pub(super) fn read(import: &mut Import<'_>, outline: &Outline<'_>) -> Answer<Vec<Op>> {
    let Outline {
        name,
        inputs,
        outputs,
        options,
    } = outline;
    let options = Options(*options);
    if let Some(ops) = or_refuse!(variables::read(import, outline)) {
        return Ok(ops);
    }
    if let Some(ops) = or_refuse!(islands::read(import, outline)) {
        return Ok(ops);
    }
    or_refuse!(int16::suits(import, name, inputs, outputs));
    if let Some(ops) = general::read(import, &options, name, inputs, outputs)? {
        return Ok(ops);
    }
    // Some are read only where they stand at the ends, or compute with shapes.
    let elsewhere = matches!(
        name.as_str(),
        "DEQUANTIZE" | "SHAPE" | "CAST" | "BROADCAST_ARGS" | "REDUCE_PROD"
    );
    if !is_read(name) || elsewhere {
        return Ok(Err(instead(name)));
    }
    let (&[output], Some(&input)) = (&outputs[..], inputs.first()) else {
        return Ok(Err("has no input, or not one output".to_owned()));
    };
    let weighted = matches!(
        name.as_str(),
        "CONV_2D" | "DEPTHWISE_CONV_2D" | "FULLY_CONNECTED"
    );
    if weighted && inputs.len() < 2 {
        return Ok(Err("has no filter".to_owned()));
    }
    if let "CONV_2D" | "DEPTHWISE_CONV_2D" = name.as_str() {
        return windows::convolution(import, &options, name, inputs, output);
    }
    let mut ids = Vec::new();
    let kind = match name.as_str() {
        "AVERAGE_POOL_2D" | "MAX_POOL_2D" => {
            let pool = or_refuse!(options.pool());
            let is_one_row = pool.window[0] == 1 && pool.stride[0] == 1;
            ids.push(or_refuse!(import.picture(input, is_one_row)));
            if name == "MAX_POOL_2D" {
                OpKind::MaxPool2d(pool)
            } else {
                OpKind::AveragePool2d(pool)
            }
        }
        _ => {
            ids.push(or_refuse!(import.made(input)));
            match name.as_str() {
                "FULLY_CONNECTED" => or_refuse!(dense(import, &options, inputs, &mut ids)),
                "SOFTMAX" => OpKind::Softmax {
                    beta: options.float(0, 0.0)?,
                },
                "LOGISTIC" => OpKind::Logistic,
                "RELU" => OpKind::Activate(Activation::Relu),
                "RELU6" => OpKind::Activate(Activation::Relu6),
                "QUANTIZE" => OpKind::Activate(Activation::None),
                "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => OpKind::Reshape,
                other => return Ok(Err(instead(other))),
            }
        }
    };
    let output = or_refuse!(import.activation(output));
    Ok(Ok(vec![op_of(kind, ids, output)]))
}

fn dense(
    import: &mut Import<'_>,
    options: &Options<'_>,
    inputs: &[i32],
    ids: &mut Vec<TensorId>,
) -> Answer<OpKind> {
    let activation = or_refuse!(options.activation(0));
    if options.byte(1, 0)? != 0 {
        return Ok(Err(
            "has shuffled weights; only the default format is read".to_owned()
        ));
    }
    let dims = import.facts(inputs[1])?.dims;
    let [_, _, outputs, values] = or_refuse!(filter_shape(&dims, 2));
    or_refuse!(weights(import, inputs, ids, [outputs, 1, 1, values], 0));
    or_refuse!(int16::without_bias(import, options.byte(4, 0)?, ids));
    let shape = import.tensor(ids[0]).shape;
    let all = shape.iter().map(|&dim| u64::from(dim)).product::<u64>();
    Ok(Ok(if all == u64::from(values) {
        OpKind::Dense(activation)
    } else {
        OpKind::DenseRows(activation)
    }))
}

/// Adds filter and bias to the inputs of an op.
pub(super) fn weights(
    import: &mut Import<'_>,
    inputs: &[i32],
    ids: &mut Vec<TensorId>,
    shape: [u16; 4],
    channel_dimension: i32,
) -> Answer<()> {
    let filter = or_refuse!(import.filter(inputs[1], shape, channel_dimension));
    ids.push(filter);
    if let Some(&bias) = inputs.get(2).filter(|&&bias| bias >= 0) {
        let scale_of = |id| import.tensor(id).quantization.as_ref();
        let input_scale = scale_of(ids[0]).map_or(1.0, |quantization| quantization.scale());
        let filter_scales = scale_of(filter).map_or(&[][..], |quantization| &quantization.scales);
        let scales = filter_scales
            .iter()
            .map(|scale| scale * input_scale)
            .collect();
        ids.push(or_refuse!(import.bias(bias, scales)));
    }
    Ok(Ok(()))
}

pub(super) fn filter_shape(dims: &[i32], rank: usize) -> Answer<[u16; 4]> {
    let shape = shape_of(dims).filter(|_| dims.len() == rank);
    Ok(shape.ok_or_else(|| format!("has a filter of shape {dims:?}")))
}

/// The options of an operator, each with the schema's default where it is left out.
pub(super) struct Options<'a>(pub(super) Option<Table<'a>>);

impl Options<'_> {
    pub(super) fn byte(&self, number: usize, default: i8) -> Result<i8, ImportError> {
        self.0
            .map_or(Ok(default), |table| Ok(table.scalar(number, default)?))
    }

    pub(super) fn int(&self, number: usize, default: i32) -> Result<i32, ImportError> {
        self.0
            .map_or(Ok(default), |table| Ok(table.scalar(number, default)?))
    }

    pub(super) fn float(&self, number: usize, default: f32) -> Result<f32, ImportError> {
        self.0
            .map_or(Ok(default), |table| Ok(table.scalar(number, default)?))
    }

    pub(super) fn activation(&self, number: usize) -> Answer<Activation> {
        Ok(match self.byte(number, 0)? {
            0 => Ok(Activation::None),
            1 => Ok(Activation::Relu),
            3 => Ok(Activation::Relu6),
            other => Err(format!(
                "has fused activation {other}; none, RELU and RELU6 are read"
            )),
        })
    }

    pub(super) fn padding(&self, number: usize) -> Answer<Padding> {
        Ok(match self.byte(number, 0)? {
            0 => Ok(Padding::Same),
            1 => Ok(Padding::Valid),
            other => Err(format!("has padding {other}")),
        })
    }

    /// Fields: padding, stride width and height, activation, dilation width and height.
    pub(super) fn conv(&self, fields: [usize; 6]) -> Answer<Conv> {
        let padding = or_refuse!(self.padding(fields[0]));
        let activation = or_refuse!(self.activation(fields[3]));
        let stride = [self.int(fields[2], 0)?, self.int(fields[1], 0)?];
        let dilation = [self.int(fields[5], 1)?, self.int(fields[4], 1)?];
        let (Some(stride), Some(dilation)) = (bytes(stride), bytes(dilation)) else {
            return Ok(Err(format!(
                "has stride {stride:?}, dilation {dilation:?}; 1 to 255 are read"
            )));
        };
        Ok(Ok(Conv {
            stride,
            dilation,
            padding,
            activation,
        }))
    }

    fn pool(&self) -> Answer<Pool> {
        // Pool2DOptions: padding, stride w, stride h, filter width, filter height, activation.
        let padding = or_refuse!(self.padding(0));
        let activation = or_refuse!(self.activation(5));
        let stride = [self.int(2, 0)?, self.int(1, 0)?];
        let window = [self.int(4, 0)?, self.int(3, 0)?];
        let in_range = |len: i32| u16::try_from(len).ok().filter(|&len| len > 0);
        let (Some(stride), [Some(height), Some(width)]) = (bytes(stride), window.map(in_range))
        else {
            return Ok(Err(format!("has stride {stride:?}, window {window:?}")));
        };
        Ok(Ok(Pool {
            window: [height, width],
            stride,
            padding,
            activation,
        }))
    }
}

pub(super) fn bytes(pair: [i32; 2]) -> Option<[u8; 2]> {
    let byte = |value: i32| u8::try_from(value).ok().filter(|&value| value > 0);
    Some([byte(pair[0])?, byte(pair[1])?])
}
