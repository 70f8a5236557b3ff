//! Operators that remember something between runs.

use super::Call;
use crate::graph::{Data, Lstm, Op, OpKind, Quantization, State, Svdf, Tensor};
use crate::tflite::import::{Answer, Import, op_of, product};
use crate::tflite::operator::{filter_shape, or_refuse};
use crate::tflite::schema::{INT8, INT16};

/// A filter over features and time.
pub(super) fn svdf(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let [number, features, time, state] = [
        or_refuse!(call.input(0)),
        or_refuse!(call.input(1)),
        or_refuse!(call.input(2)),
        or_refuse!(call.input(4)),
    ];
    let rank = call.options.int(0, 0)?;
    let input = or_refuse!(import.made(number));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let dims = import.facts(number)?.dims;
    let [_, _, filters, values] = or_refuse!(filter_shape(&import.facts(features)?.dims, 2));
    let filter = or_refuse!(import.filter(features, [filters, 1, 1, values], 0));
    let weights = import.facts(time)?;
    let is_wide = weights.kind == INT16;
    let (&[rows, memory], &[scale]) = (&weights.dims[..], &weights.scales[..]) else {
        return Ok(Err(format!(
            "has weights of time of shape {:?} and {} scales",
            weights.dims,
            weights.scales.len()
        )));
    };
    let (Ok(memory), Ok(rank)) = (u16::try_from(memory), u16::try_from(rank)) else {
        return Ok(Err(format!("has rank {rank} and {memory} steps of memory")));
    };
    let bytes = if is_wide { 2 } else { 1 };
    let row_bytes = memory.checked_mul(bytes).filter(|&bytes| bytes > 0);
    let (true, Some(row_bytes)) = (rows == i32::from(filters), row_bytes) else {
        return Ok(Err(format!(
            "has weights of time for {rows} filters of {filters}"
        )));
    };
    if weights.kind != INT8 && !is_wide || weights.zero_points.iter().any(|&z| z != 0) {
        return Ok(Err(
            "has weights of time that are neither int8 nor int16 of zero point 0".to_owned(),
        ));
    }
    // TFLM clamps to int8 alone, which is what RELU does to an output of zero point -128.
    let ends_at_zero = import
        .tensor(output)
        .quantization
        .as_ref()
        .is_some_and(|q| q.zero_point == i8::MIN);
    let activation = call.options.byte(1, 0)?;
    if activation != 0 && !(activation == 1 && ends_at_zero) {
        return Ok(Err(format!(
            "has fused activation {activation}; none is read, and RELU where the output's zero point is -128"
        )));
    }
    let batches = product(&dims[..dims.len().saturating_sub(1)]);
    if batches != 1 {
        return Ok(Err(format!("takes {batches} batches; one is read")));
    }
    import.take_bytes(weights.data.len())?;
    let shape = [1, 1, filters, row_bytes];
    let time = import.push(Tensor {
        name: weights.name,
        shape,
        quantization: Some(Quantization::per_tensor(scale, 0)),
        data: Some(Data::Int8(
            weights.data.iter().map(|&byte| byte as i8).collect(),
        )),
    });
    let (state, state_scale) = or_refuse!(import.own_state(state, weights.kind, shape));
    let mut inputs = vec![input, filter, time, state];
    if let Some(&bias) = call.inputs.get(3).filter(|&&bias| bias >= 0) {
        inputs.push(or_refuse!(import.bias(bias, vec![state_scale * scale])));
    }
    let svdf = Svdf {
        rank,
        memory,
        is_wide,
        state_scale,
    };
    Ok(Ok(vec![op_of(OpKind::Svdf(svdf), inputs, output)]))
}

/// Where the tensors of the operator stand in its list.
const GATES: [[usize; 3]; 4] = [[1, 5, 12], [2, 6, 13], [3, 7, 14], [4, 8, 15]];
const UNREAD: [(usize, &str); 9] = [
    (9, "peepholes"),
    (10, "peepholes"),
    (11, "peepholes"),
    (16, "a projection"),
    (17, "a projection"),
    (20, "layer normalization"),
    (21, "layer normalization"),
    (22, "layer normalization"),
    (23, "layer normalization"),
];

/// Long short-term memory over a sequence.
pub(super) fn lstm(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    for (index, what) in UNREAD {
        if call.inputs.get(index).is_some_and(|&input| input >= 0) {
            return Ok(Err(format!("has {what}; the layer that Keras has is read")));
        }
    }
    // UnidirectionalSequenceLSTMOptions: activation, cell clip, projection clip, time major.
    let activation = call.options.byte(0, 0)?;
    if activation != 4 {
        return Ok(Err(format!(
            "has activation {activation}; TANH, 4, is read"
        )));
    }
    let cell_clip = call.options.float(1, 0.0)?;
    let number = or_refuse!(call.input(0));
    let dims = import.facts(number)?.dims;
    let made = or_refuse!(call.output());
    let batch_at = usize::from(call.options.byte(3, 0)? != 0);
    let (&[.., values], 3, Some(&1)) = (&dims[..], dims.len(), dims.get(batch_at)) else {
        return Ok(Err(format!(
            "takes shape {dims:?}; one batch of steps of values is read"
        )));
    };
    let units = import.facts(made)?.dims.last().copied().unwrap_or(0);
    let (Ok(values), Ok(units)) = (u16::try_from(values), u16::try_from(units)) else {
        return Ok(Err(format!("makes {units} values of {values}")));
    };
    let input = or_refuse!(import.made(number));
    let output = or_refuse!(import.activation(made));
    let state_bytes = units.checked_mul(3).filter(|&bytes| bytes > 0);
    let Some(state_bytes) = state_bytes else {
        return Ok(Err(format!("has {units} units; up to 21,845 are read")));
    };
    let hidden = import.facts(or_refuse!(call.input(18)))?;
    let cell = import.facts(or_refuse!(call.input(19)))?;
    let same = import
        .tensor(output)
        .quantization
        .as_ref()
        .is_some_and(|q| {
            hidden.scales == [q.scale()] && hidden.zero_points == [i64::from(q.zero_point)]
        });
    if hidden.variable != Some(INT8) || !same {
        return Ok(Err(
            "has an output state that is no int8 variable of the output's scale".to_owned(),
        ));
    }
    let exponent = match (cell.variable, &cell.scales[..]) {
        (Some(INT16), &[scale]) if scale > 0.0 => libm::log2f(scale),
        _ => {
            return Ok(Err(
                "has cells that are no int16 variable of one scale".to_owned()
            ));
        }
    };
    let cell_exponent = exponent as i8;
    if f32::from(cell_exponent) != exponent || !(-15..=-9).contains(&cell_exponent) {
        return Ok(Err(format!(
            "has cells of scale 2^{exponent}; whole powers from -15 to -9 are read"
        )));
    }
    let state = import.push(Tensor {
        name: cell.name,
        shape: [1, 1, 1, state_bytes],
        quantization: Some(Quantization::per_tensor(1.0, 0)),
        data: None,
    });
    let mut inputs = vec![input, state];
    for places in GATES {
        let [of_input, of_memory, bias] = [
            or_refuse!(call.input(places[0])),
            or_refuse!(call.input(places[1])),
            or_refuse!(call.input(places[2])),
        ];
        inputs.push(or_refuse!(import.filter(
            of_input,
            [units, 1, 1, values],
            0
        )));
        inputs.push(or_refuse!(import.filter(
            of_memory,
            [units, 1, 1, units],
            0
        )));
        inputs.push(or_refuse!(import.bias(bias, vec![1.0])));
    }
    import.graph.states.push(State {
        before: state,
        after: None,
    });
    let lstm = Lstm {
        cell_exponent,
        cell_clip,
    };
    Ok(Ok(vec![op_of(OpKind::Lstm(lstm), inputs, output)]))
}
