//! What can be wrong with ops over int16 activations: what TFLM does not compute so.

use tinyops_nn::record::{BinaryFunction, Element};

use crate::graph::{Activation, Data, Op, OpKind, Reduction, Tensor, Unary};

/// Sums of 64 bits are rescaled exactly below this.
const SUM_MAX: u64 = 1 << 47;

/// Whether an op reads or makes int16 values.
pub(super) fn concerns(tensors: &[&Tensor], output: &Tensor) -> bool {
    let mut all = tensors.iter().chain([&output]);
    all.any(|tensor| tensor.element() == Element::Int16)
}

/// Adds what is wrong with the types and scales of such an op; its shapes are sound.
pub(super) fn faults(op: &Op, tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let is_quantize = op.kind == OpKind::Activate(Activation::None);
    let activations = tensors.iter().filter(|tensor| tensor.data.is_none());
    let mut elements = activations.chain([&output]).map(|tensor| tensor.element());
    if !is_quantize && elements.any(|element| element != Element::Int16) {
        faults.push(
            "mixes int8 and int16 activations; QUANTIZE leads from one to the other".to_owned(),
        );
    }
    let scales = |tensor: &Tensor| tensor.quantization.as_ref().map_or(0.0, |q| q.scale());
    match op.kind {
        OpKind::Conv2d(_)
        | OpKind::DepthwiseConv2d(_)
        | OpKind::Dense(_)
        | OpKind::DenseRows(_) => weight_faults(tensors, output, faults),
        OpKind::Softmax { .. } | OpKind::Logistic | OpKind::Unary(Unary::Tanh) => {
            // TFLM takes what rounds to 2^-15.
            if (scales(output) * 32_768.0 - 1.0).abs() > 5e-4 {
                faults.push("needs an output of scale 1/32768".to_owned());
            }
        }
        OpKind::Activate(Activation::Relu6) => {
            if scales(tensors[0]) != scales(output) {
                faults.push("needs one scale for input and output".to_owned());
            }
        }
        OpKind::Binary { function, .. } => {
            let suits = match (&tensors[1].data, function) {
                (Some(Data::Int8(_)), BinaryFunction::Prelu) => true,
                (_, BinaryFunction::Prelu) => false,
                (Some(Data::Int16(_)) | None, _) => true,
                _ => false,
            };
            if !suits {
                faults.push("needs an int16 operand, a PRELU constant int8 slopes".to_owned());
            }
        }
        OpKind::MaxPool2d(_) | OpKind::AveragePool2d(_) | OpKind::Reshape | OpKind::Pad(_)
            if tensors[0].quantization != output.quantization =>
        {
            faults.push("needs one scale for input and output".to_owned());
        }
        OpKind::MaxPool2d(_)
        | OpKind::AveragePool2d(_)
        | OpKind::Mean
        | OpKind::Add(_)
        | OpKind::Activate(_)
        | OpKind::Reshape
        | OpKind::Pad(_)
        | OpKind::Unary(Unary::LeakyRelu { .. })
        | OpKind::Concat { .. }
        | OpKind::Rearrange { .. }
        | OpKind::Constant
        | OpKind::Reduce {
            function: Reduction::Mean | Reduction::Sum,
            ..
        } => {}
        _ => faults.push("has no int16 kernel".to_owned()),
    }
}

fn weight_faults(tensors: &[&Tensor], output: &Tensor, faults: &mut Vec<String>) {
    let filter = tensors[1];
    let quantization = filter.quantization.as_ref();
    if !matches!(filter.data, Some(Data::Int8(_)))
        || quantization.is_some_and(|q| q.zero_point != 0)
    {
        faults.push("needs an int8 filter of zero point 0".to_owned());
    }
    let scales = quantization.map_or(0, |quantization| quantization.scales.len());
    let outputs = usize::from(output.shape[3]);
    if scales != 1 && scales != outputs {
        faults.push(format!(
            "has {scales} filter scales for {outputs} output channels"
        ));
    }
    let Some(bias) = tensors.get(2) else { return };
    match &bias.data {
        Some(Data::Int64(values)) => {
            if values
                .iter()
                .any(|value| value.unsigned_abs() >= SUM_MAX / 2)
            {
                faults.push("has a bias beyond 2^46".to_owned());
            }
        }
        Some(Data::Int32(_)) => {}
        _ => faults.push("needs an int64 or int32 bias".to_owned()),
    }
}
