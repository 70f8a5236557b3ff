//! Operators that join, move, reduce and compare values.

use crate::graph::{Activation, Conv, Op, OpKind, Padding, Reduction, TensorId, Unary};
use crate::tflite::import::{Answer, Import, ImportError, op_of, shape_of};
use crate::tflite::operator::{Options, bytes, filter_shape, or_refuse, weights};
use tinyops_nn::record::BinaryFunction;

mod places;

/// Reads one of these operators; `None` where it is another.
pub(super) fn read(
    import: &mut Import<'_>,
    options: &Options<'_>,
    name: &str,
    inputs: &[i32],
    outputs: &[i32],
) -> Result<Option<Result<Vec<Op>, String>>, ImportError> {
    let call = Call {
        options,
        name,
        inputs,
        outputs,
    };
    let read: fn(&mut Import<'_>, &Call<'_>) -> Answer<Vec<Op>> = match name {
        "ADD" | "SUB" | "MUL" | "MAXIMUM" | "MINIMUM" | "PRELU" => binary,
        "TANH" | "LEAKY_RELU" | "HARD_SWISH" => unary,
        "CONCATENATION" | "PACK" => join,
        "MEAN" | "SUM" | "REDUCE_MAX" | "REDUCE_MIN" => reduce,
        "RESIZE_BILINEAR" => resize,
        "TRANSPOSE_CONV" => transpose_conv,
        "BATCH_MATMUL" => multiply,
        "SLICE"
        | "STRIDED_SLICE"
        | "SPLIT"
        | "SPLIT_V"
        | "UNPACK"
        | "TRANSPOSE"
        | "PAD"
        | "PADV2"
        | "MIRROR_PAD"
        | "GATHER"
        | "RESIZE_NEAREST_NEIGHBOR"
        | "SPACE_TO_DEPTH"
        | "DEPTH_TO_SPACE"
        | "REVERSE_V2"
        | "TILE"
        | "BROADCAST_TO" => places::read,
        _ => return Ok(None),
    };
    read(import, &call).map(Some)
}

/// One operator as the file has it.
struct Call<'a> {
    options: &'a Options<'a>,
    name: &'a str,
    inputs: &'a [i32],
    outputs: &'a [i32],
}

impl Call<'_> {
    fn input(&self, index: usize) -> Answer<i32> {
        let input = self.inputs.get(index).filter(|&&input| input >= 0);
        Ok(input
            .copied()
            .ok_or_else(|| format!("has no input {index}")))
    }

    fn output(&self) -> Answer<i32> {
        Ok(match self.outputs {
            &[output] if output >= 0 => Ok(output),
            _ => Err("has not one output".to_owned()),
        })
    }
}

fn binary(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let [first, second] = [or_refuse!(call.input(0)), or_refuse!(call.input(1))];
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let activation = match call.name {
        "ADD" | "SUB" | "MUL" => or_refuse!(call.options.activation(0)),
        _ => Activation::None,
    };
    let mut operand = |number: i32| -> Answer<TensorId> {
        if import.facts(number)?.data.is_empty() {
            import.activation(number)
        } else {
            import.operand(number)
        }
    };
    let [first, second] = [or_refuse!(operand(first)), or_refuse!(operand(second))];
    let shape = |id: TensorId| import.tensor(id).shape;
    let is_whole = |id: TensorId| import.tensor(id).data.is_none() && shape(id) == shape(output);
    if call.name == "ADD" && is_whole(first) && is_whole(second) {
        return Ok(Ok(vec![op_of(
            OpKind::Add(activation),
            vec![first, second],
            output,
        )]));
    }
    let swapped = !is_whole(first);
    if swapped && (!is_whole(second) || call.name == "PRELU") {
        return Ok(Err(format!(
            "takes shapes {:?} and {:?} to {:?}; one operand must be an activation as large as the result",
            shape(first),
            shape(second),
            shape(output)
        )));
    }
    let function = match call.name {
        "ADD" => BinaryFunction::Add,
        "SUB" if swapped => BinaryFunction::SubtractFrom,
        "SUB" => BinaryFunction::Subtract,
        "MUL" => BinaryFunction::Multiply,
        "MAXIMUM" => BinaryFunction::Maximum,
        "MINIMUM" => BinaryFunction::Minimum,
        _ => BinaryFunction::Prelu,
    };
    let operands = if swapped {
        vec![second, first]
    } else {
        vec![first, second]
    };
    let kind = OpKind::Binary {
        function,
        activation,
    };
    Ok(Ok(vec![op_of(kind, operands, output)]))
}

fn unary(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let input = or_refuse!(import.made(or_refuse!(call.input(0))));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let function = match call.name {
        "TANH" => Unary::Tanh,
        "HARD_SWISH" => Unary::HardSwish,
        _ => Unary::LeakyRelu {
            alpha: call.options.float(0, 0.0)?,
        },
    };
    Ok(Ok(vec![op_of(
        OpKind::Unary(function),
        vec![input],
        output,
    )]))
}

fn join(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let packs = call.name == "PACK";
    let axis = call.options.int(usize::from(packs), 0)?;
    if !packs && call.options.byte(1, 0)? != 0 {
        return Ok(Err("has a fused activation; none is read".to_owned()));
    }
    let output = or_refuse!(call.output());
    let dims = import.facts(output)?.dims;
    let Some(axis) = place_of(axis, dims.len()) else {
        return Ok(Err(format!("joins along axis {axis} of shape {dims:?}")));
    };
    let made = or_refuse!(import.activation(output));
    let mut joined = Vec::new();
    for &input in call.inputs {
        let theirs = import.facts(input)?.dims;
        let mut expected = dims.clone();
        if packs {
            expected.remove(axis);
        } else {
            expected[axis] = theirs.get(axis).copied().unwrap_or(-1);
        }
        if theirs != expected {
            return Ok(Err(format!("joins shape {theirs:?} into {dims:?}")));
        }
        joined.push(or_refuse!(import.made(input)));
    }
    let outer: i64 = dims[..axis].iter().map(|&dim| i64::from(dim)).product();
    let Ok(outer) = u32::try_from(outer) else {
        return Ok(Err(format!("has shape {dims:?}")));
    };
    Ok(Ok(vec![op_of(OpKind::Concat { outer }, joined, made)]))
}

fn reduce(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let number = or_refuse!(call.input(0));
    let dims = import.facts(number)?.dims;
    let axes = or_refuse!(import.int32_constant(or_refuse!(call.input(1))));
    let input = or_refuse!(import.made(number));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let mut gone = [false; 4];
    for axis in axes {
        let Some(axis) = place_of(axis, dims.len()) else {
            return Ok(Err(format!("reduces axis {axis} of shape {dims:?}")));
        };
        gone[axis + 4 - dims.len()] = true;
    }
    let axes = [gone[1], gone[2], gone[3]];
    let channels = import.tensor(input).shape[3];
    let function = match call.name {
        "MEAN" => Reduction::Mean,
        "SUM" => Reduction::Sum,
        "REDUCE_MAX" => Reduction::Maximum,
        _ => Reduction::Minimum,
    };
    let over_pixels = axes == [true, true, false]
        && import.tensor(output).shape == [1, 1, 1, channels]
        && function == Reduction::Mean;
    let kind = if over_pixels {
        OpKind::Mean
    } else {
        OpKind::Reduce { function, axes }
    };
    Ok(Ok(vec![op_of(kind, vec![input], output)]))
}

fn resize(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let input = or_refuse!(import.made(or_refuse!(call.input(0))));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let kind = OpKind::ResizeBilinear {
        align_corners: call.options.byte(2, 0)? != 0,
        half_pixel: call.options.byte(3, 0)? != 0,
    };
    Ok(Ok(vec![op_of(kind, vec![input], output)]))
}

/// A transposed convolution: the input spread over the places that it reaches, then a convolution
/// with the filter turned round. The same sums in another order, so the same bytes.
fn transpose_conv(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let filter = or_refuse!(call.input(1));
    let input = or_refuse!(import.made(or_refuse!(call.input(2))));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let padding = or_refuse!(call.options.padding(0));
    let stride = [call.options.int(2, 0)?, call.options.int(1, 0)?];
    let Some(stride) = bytes(stride) else {
        return Ok(Err(format!("has stride {stride:?}; 1 to 255 are read")));
    };
    let activation = or_refuse!(call.options.activation(3));
    let shape = or_refuse!(filter_shape(&import.facts(filter)?.dims, 4));
    let [from, to] = [input, output].map(|id| import.tensor(id).shape);
    let values = from.iter().map(|&dim| u64::from(dim)).product::<u64>();
    if values > i32::MAX as u64 {
        return Ok(Err(format!("takes {values} values")));
    }
    let mut lens = [0; 2];
    let mut places = Vec::new();
    for axis in [0, 1] {
        let (kernel, step) = (i32::from(shape[axis + 1]), i32::from(stride[axis]));
        let (before, _) =
            padding.around(axis, to[axis + 1], u32::from(shape[axis + 1]), stride[axis]);
        let before = kernel - 1 - before as i32;
        let len = i32::from(to[axis + 1]) + kernel - 1;
        let Ok(len) = u16::try_from(len) else {
            return Ok(Err(format!("has a result of shape {to:?}")));
        };
        let row = match axis {
            0 => i32::from(from[2]) * i32::from(from[3]),
            _ => i32::from(from[3]),
        };
        let place = |at: i32| {
            let at = at - before;
            let inside = at >= 0 && at % step == 0 && at / step < i32::from(from[axis + 1]);
            if inside { at / step * row } else { -1 }
        };
        places.extend((0..i32::from(len)).map(place));
        lens[axis] = len;
    }
    places.extend(0..i32::from(from[3]));
    if import.tensor(input).quantization.is_none() {
        return Ok(Err("has an input without scale".to_owned()));
    }
    let fill = import
        .tensor(input)
        .quantization
        .as_ref()
        .map_or(0, |q| q.zero_point);
    let places = or_refuse!(import.places(places));
    let spread = import.between(input, [1, lens[0], lens[1], from[3]]);
    let mut ids = vec![spread];
    let inputs = [
        call.inputs[2],
        filter,
        call.inputs.get(3).copied().unwrap_or(-1),
    ];
    or_refuse!(weights(import, &inputs, &mut ids, shape, 0));
    let (taps, channels) = (
        usize::from(shape[1]) * usize::from(shape[2]),
        usize::from(shape[3]),
    );
    if let Some(values) = import.int8s_mut(ids[1])
        && values.len() == usize::from(shape[0]) * taps * channels
    {
        for row in values.chunks_exact_mut(taps * channels) {
            for tap in 0..taps / 2 {
                for channel in 0..channels {
                    row.swap(
                        tap * channels + channel,
                        (taps - 1 - tap) * channels + channel,
                    );
                }
            }
        }
    }
    let conv = Conv {
        padding: Padding::Valid,
        ..Conv::valid(activation)
    };
    Ok(Ok(vec![
        op_of(OpKind::Rearrange { fill }, vec![input, places], spread),
        op_of(OpKind::Conv2d(conv), ids, output),
    ]))
}

/// A product with a constant matrix is a dense layer over rows.
fn multiply(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let (first, second) = (or_refuse!(call.input(0)), or_refuse!(call.input(1)));
    let facts = import.facts(second)?;
    if facts.data.is_empty() || call.options.byte(0, 0)? != 0 {
        return Ok(Err(
            "multiplies two activations, or turns the first; a constant second matrix is read"
                .to_owned(),
        ));
    }
    let turned = call.options.byte(1, 0)? != 0;
    let rank = facts.dims.len();
    let shape = shape_of(&facts.dims).filter(|shape| rank >= 2 && shape[..2] == [1, 1]);
    let Some([_, _, rows, columns]) = shape else {
        return Ok(Err(format!(
            "has a second matrix of shape {:?}; one matrix for all is read",
            facts.dims
        )));
    };
    let [values, results] = if turned {
        [columns, rows]
    } else {
        [rows, columns]
    };
    let input = or_refuse!(import.made(first));
    let output = or_refuse!(import.activation(or_refuse!(call.output())));
    let mut ids = vec![input];
    or_refuse!(weights(
        import,
        &[first, second],
        &mut ids,
        [results, 1, 1, values],
        0
    ));
    let (values, results) = (usize::from(values), usize::from(results));
    if let Some(data) = import.int8s_mut(ids[1])
        && !turned
        && data.len() == values * results
    {
        let made = (0..data.len()).map(|at| data[at % values * results + at / values]);
        *data = made.collect();
    }
    let kind = OpKind::DenseRows(Activation::None);
    Ok(Ok(vec![op_of(kind, ids, output)]))
}

/// An axis counted from the front, or from behind where it is negative.
fn place_of(axis: i32, rank: usize) -> Option<usize> {
    let rank = i32::try_from(rank).ok().filter(|&rank| rank <= 4)?;
    let axis = if axis < 0 { axis + rank } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}
