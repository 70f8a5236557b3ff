//! What of the operators is read for int16 activations: what TFLM itself computes so.

use tinyops_nn::record::Element;

use crate::graph::{Data, Quantization, Tensor, TensorId};
use crate::tflite::facts::TensorFacts;
use crate::tflite::import::{Answer, Import};
use crate::tflite::schema::{INT16, INT32};

/// The operators that TFLM runs over int16 activations with int8 filters, by name.
const OPERATORS: [&str; 38] = [
    "ADD",
    "AVERAGE_POOL_2D",
    "BROADCAST_TO",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "EXPAND_DIMS",
    "FULLY_CONNECTED",
    "LEAKY_RELU",
    "LOGISTIC",
    "MAXIMUM",
    "MAX_POOL_2D",
    "MEAN",
    "MINIMUM",
    "MUL",
    "PACK",
    "PAD",
    "PADV2",
    "PRELU",
    "QUANTIZE",
    "RELU",
    "RELU6",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_V2",
    "SLICE",
    "SOFTMAX",
    "SPLIT",
    "SPLIT_V",
    "SQUARED_DIFFERENCE",
    "SQUEEZE",
    "STRIDED_SLICE",
    "SUB",
    "SUM",
    "TANH",
    "TRANSPOSE",
    "TRANSPOSE_CONV",
    "UNPACK",
];

/// Whether an operator of this name is read over int16 activations too.
#[must_use]
pub fn runs_int16(operator: &str) -> bool {
    OPERATORS.contains(&operator)
}

/// Refuses an operator over int16 that TFLM has for int8 alone, or with other biases.
pub(super) fn suits(
    import: &Import<'_>,
    operator: &str,
    inputs: &[i32],
    outputs: &[i32],
) -> Answer<()> {
    if runs_int16(operator) {
        let (input, bias) = match operator {
            "DEPTHWISE_CONV_2D" => (inputs.first(), inputs.get(2)),
            "TRANSPOSE_CONV" => (inputs.get(2), inputs.get(3)),
            _ => return Ok(Ok(())),
        };
        let (Some(&input), Some(&bias)) = (input, bias.filter(|&&bias| bias >= 0)) else {
            return Ok(Ok(()));
        };
        let bias = import.facts(bias)?;
        let is_refused = bias.kind == INT32 && input >= 0 && import.facts(input)?.kind == INT16;
        return Ok(match is_refused {
            true => Err(format!(
                "bias `{}` is int32; with int16 activations an int64 bias is read here",
                bias.name
            )),
            false => Ok(()),
        });
    }
    // Weights of time may have 16 bits where the activations have 8.
    let inputs = match operator {
        "SVDF" => inputs.get(..1).unwrap_or_default(),
        _ => inputs,
    };
    for &number in inputs.iter().chain(outputs).filter(|&&number| number >= 0) {
        let facts = import.facts(number)?;
        if facts.kind == INT16 {
            return Ok(Err(format!(
                "tensor `{}` is int16, and TFLM has no int16 kernel for it; int8 is read: QUANTIZE before and after, or quantize this layer to int8",
                facts.name
            )));
        }
    }
    Ok(Ok(()))
}

/// What an activation of this kind has in the graph.
pub(super) fn element(kind: i8) -> Element {
    match kind {
        INT16 => Element::Int16,
        _ => Element::Int8,
    }
}

/// The scale of an int16 activation, or why it is none.
pub(super) fn quantization(facts: &TensorFacts<'_>) -> Result<Quantization, String> {
    let name = &facts.name;
    let &[scale] = &facts.scales[..] else {
        return Err(format!(
            "tensor `{name}` needs one scale and one zero point"
        ));
    };
    if facts.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(format!(
            "tensor `{name}` is int16 with a zero point other than 0; zero point 0 is read"
        ));
    }
    Ok(Quantization::int16(scale))
}

/// An int16 constant that a function of two values takes; `None` if it has not one scale.
pub(super) fn operand(facts: &TensorFacts<'_>, shape: [u16; 4]) -> Option<Tensor> {
    let values = facts.data.as_chunks().0.iter();
    Some(Tensor {
        name: facts.name.clone(),
        shape,
        quantization: Some(quantization(facts).ok()?),
        data: Some(Data::Int16(
            values.map(|&v| i16::from_le_bytes(v)).collect(),
        )),
    })
}

/// The numbers of an int64 constant.
pub(super) fn int64s(data: &[u8]) -> Vec<i64> {
    let words = data.as_chunks().0.iter();
    words.map(|&word| i64::from_le_bytes(word)).collect()
}

/// Adds the bias that an operator over int16 has where the file has none and says that its sums
/// have 32 bits.
pub(super) fn without_bias(
    import: &mut Import<'_>,
    bias_type: i8,
    ids: &mut Vec<TensorId>,
) -> Answer<()> {
    let input = import.tensor(ids[0]).element();
    if bias_type != INT32 || ids.len() != 2 || input != Element::Int16 {
        return Ok(Ok(()));
    }
    let filter = import.tensor(ids[1]);
    let outputs = filter.shape[0];
    let bias = Tensor {
        name: format!("{} bias", filter.name),
        shape: [1, 1, 1, outputs],
        quantization: Some(Quantization::per_tensor(1.0, 0)),
        data: Some(Data::Int32(vec![0; usize::from(outputs)])),
    };
    ids.push(import.push(bias));
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tflite::operators::operators;

    #[test]
    fn what_runs_over_int16_is_read_over_int8_too() {
        let mut all = operators()
            .iter()
            .filter(|operator| runs_int16(operator.name));
        assert!(all.all(|operator| operator.accepted.is_some()));
        let known = |name: &&&str| operators().iter().any(|operator| operator.name == **name);
        assert_eq!(OPERATORS.iter().filter(known).count(), OPERATORS.len());
    }
}
